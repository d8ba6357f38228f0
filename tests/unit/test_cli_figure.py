"""Metrics as a person reads them: in their units."""

from __future__ import annotations

import datetime as dt

import polars as pl

from optaic.cli.figure import units_of, write_metric
from optaic.flows.returns import measure_returns

DAYS = [dt.date(2024, 1, day) for day in (3, 4, 5, 8)]


def test_returns_that_were_logged_are_shown_in_the_units_of_a_backtest() -> None:
    _, figures = measure_returns(pl.DataFrame({"date": DAYS, "return": [0.5, 1.0, 2.0, 0.6]}))
    tracked, backtest = units_of(("ExperimentRun", figures)), units_of(("BacktestRun", figures))
    for name in ("total_return", "volatility", "max_drawdown", "sharpe_ratio", "cagr", "skewness"):
        assert write_metric(name, figures, tracked) == write_metric(name, figures, backtest), name
    assert write_metric("total_return", figures, tracked) == "1,340 %"


def test_numbers_of_ones_own_that_are_called_likewise_stay_as_they_were_logged() -> None:
    mine = {"total_return": 14.99, "volatility": 20.0}
    assert write_metric("total_return", mine, units_of(("ExperimentRun", mine))) == "14.99"
