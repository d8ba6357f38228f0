"""Figures of a simulated backtest: what its episodes earned is what the portfolio earned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.quant.figures import episodes_of, equal_weight_returns, measure
from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Panel
from optaic.quant.simulate import simulate
from optaic.quant.simulation import Simulation

DATES = np.busday_offset(np.datetime64("2024-01-01"), np.arange(60)).astype("datetime64[D]")


def random_simulation(seed: int) -> Simulation:
    """A market with gaps, names that end, splits, dividends and a cash rate; longs and shorts, traded at chance."""
    chance = np.random.default_rng(seed)
    shape = (len(DATES), 5)
    close = 50 * np.exp(np.cumsum(chance.normal(0, 0.02, shape), axis=0))
    splits = np.where(chance.random(shape) < 0.02, 2.0, np.nan)
    close /= np.cumprod(np.where(np.isnan(splits), 1.0, splits), axis=0)
    close[chance.random(shape) < 0.05] = np.nan
    close[40:, 4] = np.nan
    panel = Panel(
        dates=DATES,
        close=close,
        splits=splits,
        dividends=np.where(chance.random(shape) < 0.03, 0.5, np.nan),
        delisting_returns=np.array([np.nan, np.nan, np.nan, np.nan, -0.4]),
        cash_rates=np.full(len(DATES), 0.03),
    )
    targets = chance.uniform(-0.3, 0.3, shape)
    options = SimulatorOptions(capital=1e6, costs_bps=15, borrow_bps=100)
    return simulate(panel, targets, decided=chance.random(len(DATES)) < 0.3, options=options)


@given(st.integers(0, 2**32 - 1))
def test_the_profits_of_all_episodes_and_the_interest_of_cash_are_all_that_was_earned(seed: int) -> None:
    done = random_simulation(seed)
    earned = done.value[-1] - done.options.capital
    episodes = episodes_of(done)
    assert episodes.profit.sum() + done.interest.sum() == pytest.approx(earned, rel=1e-9, abs=1e-3)


def test_one_share_held_through_a_split_and_a_dividend_is_one_episode() -> None:
    close = np.array([[100.0], [100.0], [55.0], [60.0], [60.0]])
    splits = np.array([[np.nan], [np.nan], [2.0], [np.nan], [np.nan]])
    dividends = np.array([[np.nan], [np.nan], [np.nan], [1.0], [np.nan]])
    panel = Panel(dates=DATES[:5], close=close, splits=splits, dividends=dividends)
    targets = np.array([[1.0], [0.0], [0.0], [0.0], [0.0]])
    decided = np.array([True, False, False, True, False])
    done = simulate(panel, targets, decided=decided, options=SimulatorOptions(capital=100.0, costs_bps=0.0))
    episodes = episodes_of(done)
    # Bought for 100 in session 1; two shares from session 2 on, each paid 1 in session 3 and sold for 60 in session 4.
    assert (episodes.opened.tolist(), episodes.closed.tolist()) == ([1], [4])
    assert (episodes.notional.tolist(), episodes.profit.tolist()) == ([100.0], [22.0])
    assert done.value[-1] == pytest.approx(122.0)
    figures = measure(done)
    assert (figures["win_rate"], figures["avg_trade_return"], figures["avg_holding_period"]) == (1.0, 0.22, 3.0)


def test_turnover_is_one_way_a_year_without_the_first_purchase() -> None:
    panel = Panel(dates=DATES[:5], close=np.full((5, 2), 10.0))
    targets = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    decided = np.array([True, True, False, False, False])
    done = simulate(panel, targets, decided=decided, options=SimulatorOptions(costs_bps=0.0))
    # All of one name is sold and all of another is bought, once in four sessions: 1 a quarter of 252 times a year.
    assert measure(done)["turnover"] == pytest.approx(252 / 4)


def test_survivorship_counts_days_in_names_that_are_alive_at_the_end() -> None:
    close = np.full((12, 2), 10.0)
    close[3:, 1] = np.nan
    panel = Panel(dates=DATES[:12], close=close)
    targets = np.full((12, 2), 0.5)
    decided = np.arange(12) == 0
    done = simulate(panel, targets, decided=decided, options=SimulatorOptions(costs_bps=0.0))
    # The second name is held in sessions 1 to 7: five without a price are a gap, in the sixth it is gone.
    assert done.held_sessions.tolist() == [11, 7]
    assert measure(done)["survivorship"] == pytest.approx(11 / 18)


def test_the_equal_weight_is_the_mean_of_what_has_a_return() -> None:
    closes = np.array([[10.0, 20.0, np.nan], [11.0, np.nan, 5.0], [11.0, 22.0, 6.0]])
    assert equal_weight_returns(closes).tolist() == pytest.approx([0.1, 0.1])
    assert equal_weight_returns(np.zeros((1, 3))).tolist() == []
