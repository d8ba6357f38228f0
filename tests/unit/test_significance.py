"""How much of a Sharpe ratio could be luck: published worked examples, skfolio, and simulation."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
import scipy.stats
import skfolio.measures
from hypothesis import given
from hypothesis import strategies as st

from optaic.errors import InvalidInputError
from optaic.quant import performance, significance
from optaic.quant.overfitting import probability_of_backtest_overfitting
from tests.market import index_returns, portfolio_returns, stock_prices

SESSION_OF_MONTHS = 1.585 / math.sqrt(12)


def test_the_probability_of_bailey_and_lopez_de_prado_2012() -> None:
    probability = significance.probabilistic_sharpe_ratio(
        SESSION_OF_MONTHS, n_sessions=24, skewness=-2.448, kurtosis=10.164
    )
    assert probability == pytest.approx(0.913234, abs=5e-7)
    assert significance.probabilistic_sharpe_ratio(SESSION_OF_MONTHS, n_sessions=24) == pytest.approx(
        0.981591, abs=5e-7
    )


@pytest.mark.parametrize(("trials", "expected"), [(10, 1.574598), (100, 2.530603), (1000, 3.255122)])
def test_the_expected_best_of_many_trials(trials: int, expected: float) -> None:
    assert significance.expected_max_sharpe(trials) == pytest.approx(expected, abs=5e-7)


def test_the_expected_best_is_what_trials_without_skill_show() -> None:
    best = np.random.default_rng(1).standard_normal((20_000, 100)).max(axis=1)
    # The approximation is known to exceed the exact expectation by about one per cent.
    assert significance.expected_max_sharpe(100) == pytest.approx(float(best.mean()), rel=0.02)


def test_the_deflated_ratio_of_bailey_and_lopez_de_prado_2014() -> None:
    days, variance = 250, 0.5 / 250
    threshold = math.sqrt(variance) * significance.expected_max_sharpe(100)
    assert threshold == pytest.approx(0.1132, abs=5e-5)
    deflated = significance.deflated_sharpe_ratio(
        2.5 / math.sqrt(days), n_sessions=1250, n_trials=100, trial_variance=variance, skewness=-3, kurtosis=10
    )
    assert deflated == pytest.approx(0.900397, abs=5e-7)


def test_the_minimum_track_record_of_bailey_and_lopez_de_prado_2012() -> None:
    length = significance.minimum_track_record_length(2 / math.sqrt(250), threshold=1 / math.sqrt(250))
    assert length / 250 == pytest.approx(2.7312, abs=5e-5)


@given(st.floats(0.01, 0.5), st.floats(-1, 1), st.floats(0, 6), st.floats(0.6, 0.999), st.floats(0.1, 0.9))
def test_a_record_of_the_minimum_length_is_just_significant(
    ratio: float, skewness: float, tails: float, confidence: float, part: float
) -> None:
    moments = {"skewness": skewness, "kurtosis": skewness**2 + 1 + tails}
    length = significance.minimum_track_record_length(ratio, threshold=part * ratio, confidence=confidence, **moments)
    shorter, longer = (
        significance.probabilistic_sharpe_ratio(ratio, n_sessions=n, threshold=part * ratio, **moments)
        for n in (max(math.floor(length), 2), math.ceil(length) + 1)
    )
    assert longer >= confidence - 1e-12
    assert shorter <= confidence + 1e-12 or math.floor(length) < 2


@pytest.mark.parametrize("returns", [portfolio_returns(), index_returns(), portfolio_returns()[:60]])
def test_probability_and_deflation_of_real_returns_are_those_of_skfolio(returns: np.ndarray) -> None:
    moments = {"skewness": performance.skewness(returns), "kurtosis": performance.kurtosis(returns)}
    ratio = performance.session_sharpe_ratio(returns)
    expected = skfolio.measures.probabilistic_sharpe_ratio(returns, benchmark_sharpe_ratio=0.01)
    assert significance.probabilistic_sharpe_ratio(
        ratio, n_sessions=len(returns), threshold=0.01, **moments
    ) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("value", [-12.0, -3.0, -0.5, 0.0, 1.0, 5.0])
def test_the_normal_distribution_keeps_its_digits_in_the_tails(value: float) -> None:
    # One session's ratio of `value` standard errors: with normal moments and SR near 0 the error is 1 / sqrt(T - 1).
    probability = significance.probabilistic_sharpe_ratio(0.0, n_sessions=10_001, threshold=-value / 100)
    assert probability == pytest.approx(float(scipy.stats.norm.cdf(value)), rel=1e-12)


@pytest.mark.parametrize("trials", [2, 7, 1e3, 1e6, 1e12])
def test_quantiles_of_very_many_trials_are_those_of_scipy(trials: float) -> None:
    g = 0.5772156649015329
    expected = (1 - g) * scipy.stats.norm.isf(1 / trials) + g * scipy.stats.norm.isf(1 / (trials * math.e))
    assert significance.expected_max_sharpe(trials) == pytest.approx(expected, rel=1e-12)


def test_the_standard_error_is_the_spread_of_estimates() -> None:
    returns = np.random.default_rng(5).normal(0.002, 0.01, (4_000, 250))
    estimates = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
    assert significance.sharpe_ratio_standard_error(0.2, n_sessions=250) == pytest.approx(estimates.std(), rel=0.03)


def test_one_trial_is_not_deflated_and_more_trials_deflate_more() -> None:
    one, ten, thousand = (
        significance.deflated_sharpe_ratio(0.1, n_sessions=500, n_trials=n, trial_variance=0.001) for n in (1, 10, 1000)
    )
    assert one == significance.probabilistic_sharpe_ratio(0.1, n_sessions=500)
    assert one > ten > thousand
    assert significance.expected_max_sharpe(1.05) == 0.0


def test_what_has_no_answer_is_nan() -> None:
    assert math.isnan(significance.sharpe_ratio_standard_error(0.1, n_sessions=1))
    assert math.isnan(significance.probabilistic_sharpe_ratio(0.1, n_sessions=1))
    assert math.isnan(significance.minimum_track_record_length(0.1, threshold=0.1))


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="no distribution has skewness 0 and kurtosis 0"):
        significance.sharpe_ratio_standard_error(0.1, n_sessions=10, kurtosis=0.0)
    with pytest.raises(InvalidInputError, match=r"0\.5 trials"):
        significance.expected_max_sharpe(0.5)
    with pytest.raises(InvalidInputError, match="variance"):
        significance.deflated_sharpe_ratio(0.1, n_sessions=9, n_trials=2, trial_variance=-1.0)
    with pytest.raises(InvalidInputError, match="confidence"):
        significance.minimum_track_record_length(0.1, confidence=1.0)


def test_effective_trials_take_the_mean_pairwise_correlation() -> None:
    prices = stock_prices()
    returns = prices[1:] / prices[:-1] - 1
    correlations = np.atleast_2d(np.corrcoef(returns.T))
    rho = correlations[np.triu_indices(20, 1)].mean()
    assert significance.effective_trials(returns) == pytest.approx(rho + (1 - rho) * 20, rel=1e-12)


def test_effective_trials_between_one_and_all() -> None:
    one = np.random.default_rng(2).normal(0, 0.01, (300, 1))
    assert significance.effective_trials(np.repeat(one, 8, axis=1)) == pytest.approx(1.0)
    assert significance.effective_trials(np.hstack([one, -one])) == 2.0  # rho is floored at 0
    assert significance.effective_trials(np.hstack([one, one, np.zeros((300, 1))])) == pytest.approx(1 / 3 + 2 / 3 * 3)
    assert significance.effective_trials(one) == 1.0
    assert significance.effective_trials(np.zeros((10, 0))) == 0.0
    with pytest.raises(InvalidInputError, match="missing"):
        significance.effective_trials([[0.1, math.nan], [0.1, 0.2]])


def test_the_best_of_pure_noise_is_overfit_half_of_the_time() -> None:
    found = [
        probability_of_backtest_overfitting(np.random.default_rng(seed).normal(0, 0.01, (160, 10)))
        for seed in range(200)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("n_sessions", "n_blocks"), [(67, 6), (48, 8), (9, 4), (5, 2)])
def test_overfitting_in_the_slow_way_of_the_paper(n_sessions: int, n_blocks: int) -> None:
    chance = np.random.default_rng(11)
    edges = [n_sessions * block // n_blocks for block in range(n_blocks + 1)]
    blocks = [np.arange(start, end) for start, end in pairwise(edges)]
    for _ in range(10):
        returns = chance.normal(0.003, 0.01, (n_sessions, 5))
        overfit: list[bool] = []
        for inside in combinations(range(n_blocks), n_blocks // 2):
            halves = [
                returns[np.concatenate([blocks[b] for b in range(n_blocks) if (b in inside) is wanted])]
                for wanted in (True, False)
            ]
            ratios = [half.mean(axis=0) / half.std(axis=0, ddof=1) for half in halves]
            rank = scipy.stats.rankdata(ratios[1])[np.argmax(ratios[0])] / 6
            overfit.append(math.log(rank / (1 - rank)) <= 0)
        assert probability_of_backtest_overfitting(returns, n_blocks=n_blocks) == pytest.approx(np.mean(overfit))


def test_a_trial_that_is_truly_best_is_not_overfit() -> None:
    returns = np.random.default_rng(3).normal(0, 0.01, (320, 20))
    returns[:, 7] += 0.01
    assert probability_of_backtest_overfitting(returns) == 0.0


def test_trials_that_never_trade_are_all_of_the_middle_rank() -> None:
    assert probability_of_backtest_overfitting(np.zeros((64, 4))) == 1.0


def test_overfitting_needs_trials_blocks_and_sessions() -> None:
    assert math.isnan(probability_of_backtest_overfitting(np.zeros((64, 1))))
    with pytest.raises(InvalidInputError, match="15 blocks"):
        probability_of_backtest_overfitting(np.zeros((64, 2)), n_blocks=15)
    with pytest.raises(InvalidInputError, match="20 sessions are too few"):
        probability_of_backtest_overfitting(np.zeros((20, 2)))
    with pytest.raises(InvalidInputError, match="missing"):
        probability_of_backtest_overfitting(np.full((64, 2), math.nan))
