"""Figures of signals: information coefficients, their significance, persistence, quantiles and labels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from optaic.errors import InvalidInputError
from optaic.quant import labels, predictions, quantiles, signals
from optaic.quant.ranks import rank_rows
from optaic.quant.signals import Method
from tests.market import stock_prices

Array = npt.NDArray[np.float64]
NAN = math.nan
PANELS = npst.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 14)),
    elements=st.one_of(st.integers(-3, 3).map(float), st.just(NAN), st.floats(-1, 1)),
)


def spearman(left: Array, right: Array) -> float:
    """Give the correlation as scipy does."""
    return float(np.asarray(scipy.stats.spearmanr(left, right))[0])


def random_panels(*, sessions: int = 60, names: int = 30, missing: float = 0.2) -> tuple[Array, Array]:
    """Give a signal with ties and its labels, related, each with values missing."""
    chance = np.random.default_rng(4)
    signal = chance.normal(size=(sessions, names)).round(1)
    label = 0.3 * signal + chance.normal(size=(sessions, names))
    for panel in (signal, label):
        panel[chance.random(panel.shape) < missing] = NAN
    return signal, label


@given(PANELS)
def test_ranks_are_those_of_pandas(panel: Array) -> None:
    expected = pd.DataFrame(panel).rank(axis=1).to_numpy()
    np.testing.assert_array_equal(rank_rows(panel), expected)


def test_coefficients_are_the_spearman_correlations_of_scipy_date_by_date() -> None:
    signal, label = random_panels()
    found = signals.information_coefficients(signal, label)
    for session in range(len(signal)):
        both = ~np.isnan(signal[session]) & ~np.isnan(label[session])
        expected = spearman(signal[session, both], label[session, both])
        assert found[session] == pytest.approx(expected, abs=1e-12)
    assert signals.ic(found) == pytest.approx(found.mean())
    assert signals.ic_ir(found) == pytest.approx(found.mean() / found.std(ddof=1))
    assert signals.hit_rate(found) == np.mean(found > 0)


def test_the_coefficient_is_averaged_over_dates_never_pooled() -> None:
    # On each date the order is exactly wrong; pooled, the level of the dates would make it look right.
    names = np.arange(12.0)
    signal = np.array([names, names + 100])
    label = np.array([-names, 100 - names])
    assert spearman(signal.ravel(), label.ravel()) > 0.4
    assert signals.ic(signals.information_coefficients(signal, label)) == pytest.approx(-1.0)


def test_nine_names_have_no_coefficient_and_ten_have() -> None:
    signal = np.vstack([np.arange(12.0), np.arange(12.0)])
    signal[0, :3], signal[1, :2] = NAN, NAN
    found = signals.information_coefficients(signal, np.vstack([np.arange(12.0)] * 2))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(1.0)


def test_who_is_no_member_is_left_out() -> None:
    signal, label = random_panels(missing=0.0)
    members = np.random.default_rng(0).random(signal.shape) < 0.6
    expected = signals.information_coefficients(np.where(members, signal, NAN), label)
    np.testing.assert_array_equal(signals.information_coefficients(signal, label, members=members), expected)
    with pytest.raises(InvalidInputError, match="members"):
        signals.information_coefficients(signal, label, members=members[:3])


def test_a_signal_without_differences_has_no_coefficient() -> None:
    flat = signals.information_coefficients(np.ones((3, 20)), np.random.default_rng(0).normal(size=(3, 20)))
    assert np.isnan(flat).all()
    assert math.isnan(signals.ic(flat))
    assert math.isnan(signals.ic_ir(flat))
    assert math.isnan(signals.hit_rate(flat))
    assert signals.ic_t_statistic(flat, horizon=5).method is Method.UNDEFINED
    assert math.isnan(signals.ic_t_statistic(flat, horizon=5).value)


@pytest.mark.parametrize("horizon", [1, 2, 5, 21])
def test_the_t_statistic_is_that_of_hansen_and_hodrick_in_statsmodels(horizon: int) -> None:
    from statsmodels.regression.linear_model import OLS

    chance = np.random.default_rng(horizon)
    coefficients = 0.02 + np.convolve(chance.normal(0, 0.1, 520), np.ones(horizon) / horizon, mode="valid")
    fit = OLS(coefficients, np.ones(len(coefficients))).fit(
        cov_type="HAC", cov_kwds={"maxlags": horizon - 1, "kernel": "uniform", "use_correction": False}
    )
    found = signals.ic_t_statistic(coefficients, horizon=horizon)
    assert found.value == pytest.approx(float(fit.tvalues[0]), rel=1e-10)
    assert (found.method, found.observations) == (Method.HANSEN_HODRICK, len(coefficients))


def test_overlap_makes_the_naive_statistic_too_large_and_this_one_not() -> None:
    chance = np.random.default_rng(8)
    naive: list[float] = []
    ours: list[float] = []
    for _ in range(300):
        noise = np.convolve(chance.normal(size=1024), np.ones(5) / 5, mode="valid")
        naive.append(noise.mean() / noise.std(ddof=1) * math.sqrt(len(noise)))
        ours.append(signals.ic_t_statistic(noise, horizon=5).value)
    assert np.std(naive) == pytest.approx(math.sqrt(5), rel=0.15)
    assert np.std(ours) == pytest.approx(1.0, rel=0.15)


def test_where_the_variance_is_not_positive_dates_that_do_not_overlap_are_taken() -> None:
    # Alternating signs: g_1 is nearly -g_0, so g_0 + 2 g_1 is below 0.
    coefficients = np.array([NAN, 0.30, -0.10, 0.32, -0.12, 0.28, -0.08, 0.31, NAN])
    found = signals.ic_t_statistic(coefficients, horizon=2)
    every_second = np.array([0.30, 0.32, 0.28, 0.31])
    assert found.method is Method.NON_OVERLAPPING
    assert found.observations == 4
    assert found.value == pytest.approx(every_second.mean() / (every_second.std(ddof=1) / 2))


def test_dates_without_a_coefficient_keep_their_place_among_the_lags() -> None:
    coefficients = np.array([0.1, NAN, 0.3, 0.2, NAN, 0.0])
    x = np.nan_to_num(coefficients - 0.15)
    covariance = x @ x + 2 * (x[1:] @ x[:-1])
    found = signals.ic_t_statistic(coefficients, horizon=2)
    assert found.value == pytest.approx(0.15 / (math.sqrt(covariance) / 4))
    # Missing dates at either end change nothing.
    assert signals.ic_t_statistic([NAN, *coefficients, NAN], horizon=2).value == pytest.approx(found.value)


def test_a_horizon_of_no_session_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        signals.ic_t_statistic([0.1, 0.2], horizon=0)
    with pytest.raises(InvalidInputError):
        labels.forward_returns([[1.0]], horizon=0)
    with pytest.raises(InvalidInputError):
        labels.forward_returns([[1.0]], horizon=1, lag=-1)


def test_autocorrelation_is_that_of_ranks_one_session_apart() -> None:
    signal, _ = random_panels(sessions=6)
    found = signals.signal_autocorrelations(signal)
    assert np.isnan(found[0])
    for session in range(1, 6):
        both = ~np.isnan(signal[session]) & ~np.isnan(signal[session - 1])
        expected = spearman(signal[session, both], signal[session - 1, both])
        assert found[session] == pytest.approx(expected, abs=1e-12)
    assert signals.signal_autocorrelation(signal) == pytest.approx(np.nanmean(found))
    constant = np.tile(np.arange(12.0), (5, 1))
    assert signals.signal_autocorrelation(constant) == pytest.approx(1.0)
    assert len(signals.signal_autocorrelations(np.zeros((0, 3)))) == 0


@given(PANELS, st.integers(2, 5))
def test_quantiles_hold_equal_signals_together_and_rise(panel: Array, count: int) -> None:
    found = quantiles.assign_quantiles(panel, quantiles=count)
    for row, places in zip(panel, found, strict=True):
        there = ~np.isnan(row)
        if there.sum() < count:
            assert not places.any()
            continue
        assert (places[~there] == 0).all()
        assert ((places[there] >= 1) & (places[there] <= count)).all()
        assert (np.diff(places[there][np.argsort(row[there], kind="stable")]) >= 0).all()
        assert len({*zip(row[there], places[there], strict=True)}) == len({*row[there]})


@pytest.mark.parametrize(("names", "count"), [(10, 5), (20, 5), (12, 3), (49, 7)])
def test_quantiles_are_of_equal_size_where_names_divide(names: int, count: int) -> None:
    found = quantiles.assign_quantiles(np.random.default_rng(0).permutation(names)[None, :] / 3, quantiles=count)
    assert np.bincount(found[0]).tolist() == [0] + [names // count] * count


def test_quantile_returns_are_means_of_means() -> None:
    signal, label = random_panels()
    found = quantiles.quantile_returns(signal, label, quantiles=3)
    places = quantiles.assign_quantiles(signal, quantiles=3)
    frame = pd.DataFrame({"t": np.repeat(np.arange(60), 30), "q": places.ravel(), "y": label.ravel()})
    expected = frame[frame.q > 0].pivot_table(index="t", columns="q", values="y")
    assert found == pytest.approx(expected.to_numpy(), nan_ok=True)
    assert quantiles.mean_by_quantile(found) == pytest.approx(expected.mean().to_numpy())
    assert (np.diff(quantiles.mean_by_quantile(found)) > 0).all()


def test_turnover_is_the_share_of_new_names_in_each_quantile() -> None:
    signal, _ = random_panels(sessions=8)
    found = quantiles.quantile_turnovers(signal, quantiles=3)
    places = quantiles.assign_quantiles(signal, quantiles=3)
    assert np.isnan(found[0]).all()
    for session in range(1, 8):
        for quantile in (1, 2, 3):
            now, before = (set(np.flatnonzero(places[t] == quantile)) for t in (session, session - 1))
            assert found[session, quantile - 1] == pytest.approx(len(now - before) / len(now))
    assert quantiles.signal_turnover(signal, quantiles=3) == pytest.approx(np.nanmean(found))
    assert quantiles.signal_turnover(np.tile(np.arange(12.0), (5, 1))) == 0.0
    assert math.isnan(quantiles.signal_turnover(np.full((5, 12), NAN)))


def test_turnover_after_a_session_without_quantiles_is_not_known() -> None:
    signal = np.tile(np.arange(10.0), (4, 1))
    signal[1] = NAN
    assert np.isnan(quantiles.quantile_turnovers(signal)).all(axis=1).tolist() == [True, True, True, False]


def test_one_quantile_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="1 quantiles"):
        quantiles.assign_quantiles([[1.0]], quantiles=1)


def test_direction_and_fit_of_predictions() -> None:
    predicted, realised = [0.1, -0.2, 0.0, 0.3, NAN, 0.2], [0.2, 0.1, 0.0, 0.4, 0.5, NAN]
    assert predictions.direction_accuracy(predicted, realised) == 0.75
    # Errors 0.1, 0.3, 0, 0.1; against a training mean of 0.1: 0.1, 0, 0.1, 0.3.
    expected = 1 - (0.01 + 0.09 + 0.01) / (0.01 + 0.0 + 0.01 + 0.09)
    assert predictions.r2_out_of_sample(predicted, realised, training_mean=0.1) == pytest.approx(expected)
    by_fit = [0.1, 0.1, 0.0, 0.0, NAN, NAN]
    expected = 1 - 0.11 / (0.01 + 0.0 + 0.0 + 0.16)
    assert predictions.r2_out_of_sample(predicted, realised, training_mean=by_fit) == pytest.approx(expected)


def test_fit_is_measured_against_the_training_mean_not_that_of_the_sample() -> None:
    chance = np.random.default_rng(1)
    realised = chance.normal(1.0, 1.0, 500)
    mean_of_training = np.zeros(500)
    assert predictions.r2_out_of_sample(mean_of_training, realised, training_mean=0.0) == 0.0
    assert predictions.r2_out_of_sample(np.ones(500), realised, training_mean=0.0) == pytest.approx(0.5, abs=0.05)


def test_predictions_that_cannot_be_compared() -> None:
    assert math.isnan(predictions.direction_accuracy([], []))
    assert math.isnan(predictions.r2_out_of_sample([1.0], [2.0], training_mean=2.0))
    with pytest.raises(InvalidInputError, match=r"shape \(1,\) have outcomes of shape \(2,\)"):
        predictions.direction_accuracy([1.0], [1.0, 2.0])
    with pytest.raises(InvalidInputError, match="training means"):
        predictions.r2_out_of_sample([1.0, 2.0], [1.0, 2.0], training_mean=[1.0, 2.0, 3.0])
    with pytest.raises(InvalidInputError, match="not finite"):
        predictions.r2_out_of_sample([1.0, 2.0], [1.0, 2.0], training_mean=NAN)
    with pytest.raises(InvalidInputError, match="signal has 1 dimensions"):
        signals.information_coefficients([1.0], [1.0])
    with pytest.raises(InvalidInputError, match="labels has shape"):
        signals.information_coefficients([[1.0]], [[1.0, 2.0]])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (2, 2)])
def test_panels_too_small_for_any_figure_have_none(shape: tuple[int, int]) -> None:
    panel = np.ones(shape)
    label = labels.forward_returns(panel, horizon=1)
    assert label.shape == shape
    for transform in labels.Transform:
        assert labels.transform_labels(label, transform, prices=panel, horizon=1).shape == shape
    found = signals.information_coefficients(panel, label)
    assert found.shape == shape[:1]
    assert math.isnan(signals.ic(found))
    assert math.isnan(signals.ic_t_statistic(found, horizon=3).value)
    assert math.isnan(signals.signal_autocorrelation(panel))
    assert math.isnan(quantiles.signal_turnover(panel))
    assert np.isnan(quantiles.mean_by_quantile(quantiles.quantile_returns(panel, label))).all()


def test_momentum_of_twenty_stocks_end_to_end() -> None:
    prices = stock_prices()
    momentum = np.full(prices.shape, NAN)
    momentum[252:] = prices[231:-21] / prices[:-252] - 1
    label = labels.forward_returns(prices, horizon=5)
    found = signals.information_coefficients(momentum, label)
    assert np.flatnonzero(~np.isnan(found))[[0, -1]].tolist() == [252, len(prices) - 7]
    expected = pd.DataFrame(momentum).rank(axis=1).corrwith(pd.DataFrame(label).rank(axis=1), axis=1)
    assert signals.ic(found) == pytest.approx(expected[252:].mean(), abs=1e-10)
    statistic = signals.ic_t_statistic(found, horizon=5)
    naive = signals.ic_ir(found) * math.sqrt(np.count_nonzero(~np.isnan(found)))
    assert statistic.method is Method.HANSEN_HODRICK
    assert abs(statistic.value) < abs(naive) / 1.5
    assert 0.95 < signals.signal_autocorrelation(momentum) < 1.0
    assert 0.0 < quantiles.signal_turnover(momentum) < 0.2
