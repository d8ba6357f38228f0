"""Labels: the returns that follow a signal, as a position would earn them, and their transforms."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from optaic.errors import InvalidInputError
from optaic.quant import labels
from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Panel
from optaic.quant.simulate import simulate
from tests.market import stock_prices

Array = npt.NDArray[np.float64]
NAN = math.nan


def test_the_label_starts_after_the_lag_and_ends_a_horizon_later() -> None:
    prices = np.array([[100.0], [110.0], [121.0], [96.8], [96.8], [145.2]])
    assert labels.forward_returns(prices, horizon=2, lag=1).ravel() == pytest.approx(
        [96.8 / 110 - 1, 96.8 / 121 - 1, 0.5, NAN, NAN, NAN], nan_ok=True
    )
    assert labels.forward_returns(prices, horizon=1, lag=0).ravel() == pytest.approx(
        [0.1, 0.1, -0.2, 0.0, 0.5, NAN], nan_ok=True
    )
    assert np.isnan(labels.forward_returns(prices, horizon=6)).all()


def test_delisted_names_are_never_dropped() -> None:
    # The first name has no price in the second session, and comes back; the second has none after the third.
    prices = np.full((11, 2), NAN)
    prices[:, 0] = 10.0, NAN, *range(12, 21)
    prices[:3, 1] = 10.0, 10.0, 8.0
    found = labels.forward_returns(prices, horizon=6, lag=0, delisting_returns=[-0.9, -0.5])
    assert found[:, 0] == pytest.approx([0.6, NAN, 18 / 12 - 1, 19 / 13 - 1, 20 / 14 - 1, *[NAN] * 6], nan_ok=True)
    # At 8 for five sessions; in the sixth without a price, the ninth of all, half of it.
    assert found[:, 1] == pytest.approx([-0.2, -0.2, -0.5, *[NAN] * 8], nan_ok=True)
    without = labels.forward_returns(prices, horizon=6, lag=0)
    assert without[:3, 1] == pytest.approx([-0.2, -0.2, 0.0])
    with pytest.raises(InvalidInputError, match="3 delisting returns for 2"):
        labels.forward_returns(prices, horizon=2, delisting_returns=[0.0, 0.0, 0.0])


@pytest.mark.parametrize("horizon", [1, 5, 9])
@pytest.mark.parametrize("lag", [0, 1, 3])
def test_a_label_is_what_a_position_earns_in_the_simulator(horizon: int, lag: int) -> None:
    chance = np.random.default_rng(horizon + 10 * lag)
    close = 50 * np.exp(chance.normal(0, 0.03, (40, 12)).cumsum(axis=0))
    for name in range(11):
        first = chance.integers(0, 40)
        close[first : first + chance.integers(1, 14), name] = NAN
    close[25:, 0], close[36:, 1], close[:9, 2] = NAN, NAN, NAN
    after = chance.uniform(-0.9, 0.1, 12)
    found = labels.forward_returns(close, horizon=horizon, lag=lag, delisting_returns=after)
    panel = Panel(
        dates=np.arange("2024-01-01", "2024-02-10", dtype="datetime64[D]"), close=close, delisting_returns=after
    )
    options = SimulatorOptions(same_bar=True, costs_bps=0.0)
    checked = 0
    for session, name in np.argwhere(~np.isnan(found)).tolist():
        targets = np.zeros((40, 12))
        targets[session + lag, name] = 1.0
        decided = np.arange(40) == session + lag
        value = simulate(panel, targets, decided=decided, options=options).value
        assert value[session + lag + horizon] / options.capital - 1 == pytest.approx(found[session, name], abs=1e-12)
        checked += 1
    is_there = ~np.isnan(close[lag : 40 - horizon])
    assert checked == is_there.sum() > 100


def test_no_label_needs_a_price_before_its_entry_and_none_knows_less_than_its_exit() -> None:
    prices = stock_prices()[:80].copy()
    before = labels.forward_returns(prices, horizon=5, lag=1)
    changed = prices.copy()
    changed[:31] = 1.0
    changed[37:] = 1.0
    after = labels.forward_returns(changed, horizon=5, lag=1)
    np.testing.assert_array_equal(after[30], before[30])
    assert (after[31] != before[31]).all()


def test_transforms_of_labels() -> None:
    label = np.array([[0.1, -0.1, 0.3, NAN], [0.2, NAN, NAN, NAN]])
    members = np.array([[True, True, True, True], [True, True, True, True]])
    np.testing.assert_array_equal(labels.transform_labels(label, "raw", members=members), label)
    assert labels.transform_labels(label, "cs_demean") == pytest.approx(
        np.array([[0.0, -0.2, 0.2, NAN], [NAN] * 4]), nan_ok=True
    )
    assert labels.transform_labels(label, "cs_rank") == pytest.approx(
        np.array([[2 / 3, 1 / 3, 1.0, NAN], [NAN] * 4]), nan_ok=True
    )
    members[0, 2] = False
    assert labels.transform_labels(label, "cs_demean", members=members)[0] == pytest.approx(
        [0.1, -0.1, NAN, NAN], nan_ok=True
    )


def test_labels_scaled_by_volatility_are_in_standard_deviations_known_at_t() -> None:
    prices = stock_prices()[:300]
    label = labels.forward_returns(prices, horizon=5)
    scaled = labels.transform_labels(label, "vol_scaled", prices=prices, horizon=5)
    known = pd.DataFrame(prices).pct_change().rolling(63).std().replace(0.0, NAN).to_numpy()
    assert scaled == pytest.approx(label / (known * math.sqrt(5)), rel=1e-9, nan_ok=True)
    assert np.isnan(scaled[:63]).all()
    # One of the stocks, split-adjusted to a few cents, stood still for a quarter of 1990.
    assert np.isnan(known[63:]).any(axis=0).sum() == 1
    assert 0.5 < float(np.nanstd(scaled)) < 2.0


def test_a_price_that_stood_still_has_no_volatility_to_scale_by() -> None:
    prices = np.concatenate([stock_prices()[:200, :1], np.full((70, 1), 50.0), stock_prices()[:20, :1]])
    label = labels.forward_returns(prices, horizon=5)
    scaled = labels.transform_labels(label, "vol_scaled", prices=prices, horizon=5)
    assert labels.trailing_volatility(prices)[265, 0] == 0.0
    assert np.isnan(scaled[264:269]).all()
    assert not np.isnan(scaled[100:200]).any()


def test_unknown_transforms_and_missing_arguments_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="no transform 'zscore'") as caught:
        labels.transform_labels([[0.1]], "zscore")
    assert caught.value.next_step == "use: raw, cs_demean, cs_rank, vol_scaled"
    with pytest.raises(InvalidInputError, match="vol_scaled needs the prices"):
        labels.transform_labels([[0.1]], "vol_scaled")
    with pytest.raises(InvalidInputError, match="window of 1"):
        labels.trailing_volatility([[0.1]], window=1)
