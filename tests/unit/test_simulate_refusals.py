"""What the simulator refuses, and what it says; and that the examples of its docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import numpy as np
import pytest

from optaic.errors import InvalidInputError
from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Panel
from optaic.quant.simulate import simulate

DATES = np.datetime64("2024-01-01") + np.arange(3)
CLOSE = np.full((3, 2), 10.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capital": 0.0}, "capital is 0.0"),
        ({"capital": "much"}, "capital is 'much'"),
        ({"execution": "noon"}, "execution is 'noon'"),
        ({"lag": 0}, "may have seen"),
        ({"lag": -1}, "lag is -1"),
        ({"lag": 1.5}, "lag is 1.5"),
        ({"lag": 2, "same_bar": True}, "contradict each other"),
        ({"costs_bps": -1.0}, r"costs_bps is -1\.0"),
        ({"slippage_bps": float("nan")}, "slippage_bps is nan"),
        ({"borrow_bps": float("inf")}, "borrow_bps is inf"),
        ({"borrow_bps": None}, "borrow_bps is None"),
        ({"max_weight": 0.0}, r"max_weight is 0\.0"),
        ({"gross": -1.0}, r"gross is -1\.0"),
        ({"net": -0.1}, r"net is -0\.1"),
        ({"no_trade_band": -0.1}, "no_trade_band"),
        ({"max_turnover": 0.0}, "max_turnover"),
        ({"delisting_return": -1.1}, "delisting_return"),
        ({"tranches": 4}, "overlapping portfolios are not simulated yet"),
        ({"impact": True}, "market impact is not simulated yet"),
    ],
)
def test_an_option_out_of_its_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        SimulatorOptions(**options)
    assert caught.value.next_step


def test_same_bar_alone_is_a_lag_of_0() -> None:
    assert SimulatorOptions(same_bar=True).delay == 0
    assert SimulatorOptions(same_bar=True, lag=0).delay == 0
    assert SimulatorOptions(lag=3).delay == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dates": DATES[::-1]}, "do not increase"),
        ({"dates": DATES.astype("datetime64[ns]")}, "dtype datetime64"),
        ({"dates": DATES[[0, 0, 1]]}, "do not increase"),
        ({"dates": np.array(["2024-01-01", "NaT", "2024-01-03"], dtype="datetime64[D]")}, "do not increase"),
        ({"dates": DATES[:2]}, "close has shape"),
        ({"close": CLOSE[0]}, "close has shape"),
        ({"close": CLOSE.astype(np.float32)}, "dtype float32"),
        ({"close": CLOSE * 0}, "close holds 0"),
        ({"close": np.where(CLOSE > 0, np.inf, 0)}, "infinite"),
        ({"open": CLOSE - 11}, "open holds -1"),
        ({"open": CLOSE[:2]}, "open has shape"),
        ({"dividends": -CLOSE}, "dividends holds -10"),
        ({"splits": CLOSE * 0}, "splits holds 0"),
        ({"delisting_returns": np.array([-2.0, 0.0])}, "delisting_returns holds -2"),
        ({"cash_rates": np.array([0.01, np.nan, 0.01])}, "no cash rate on 2024-01-02"),
    ],
)
def test_a_panel_that_is_no_market_is_refused(change: dict[str, Any], message: str) -> None:
    arrays: dict[str, Any] = {"dates": DATES, "close": CLOSE, **change}
    with pytest.raises(InvalidInputError, match=message) as caught:
        Panel(**arrays)
    assert caught.value.next_step


def test_targets_that_are_not_finite_are_refused_where_they_are_decided() -> None:
    panel = Panel(dates=DATES, close=CLOSE)
    targets = np.full((3, 2), 0.5)
    targets[1, 1] = np.nan
    with pytest.raises(InvalidInputError, match="2024-01-02 is not finite"):
        simulate(panel, targets)
    decided = np.array([True, False, True])
    assert simulate(panel, targets, decided=decided).value[-1] > 0


def test_shapes_that_differ_are_refused() -> None:
    panel = Panel(dates=DATES, close=CLOSE)
    with pytest.raises(InvalidInputError, match="targets have shape"):
        simulate(panel, np.ones((3, 1)))
    with pytest.raises(InvalidInputError, match="decided has shape"):
        simulate(panel, np.ones((3, 2)), decided=np.ones(2, dtype=np.bool_))


def test_trading_at_the_open_needs_open_prices() -> None:
    with pytest.raises(InvalidInputError, match="there are no open prices"):
        simulate(Panel(dates=DATES, close=CLOSE), np.ones((3, 2)), options=SimulatorOptions(execution="open"))


@pytest.mark.parametrize("module", ["panel", "rebalance", "selection", "simulate"])
def test_the_examples_of_docstrings_are_true(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"optaic.quant.{module}"), extraglobs={"np": np})
    assert found.attempted > 0
    assert found.failed == 0
