"""Returns of somebody's own, measured as those of a backtest are."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from optaic.backtesting import Backtest, backtest
from optaic.errors import InvalidInputError
from optaic.flows.calendar import sessions
from optaic.flows.returns import measure_returns
from optaic.quant.summary import UNITS

FROM_RETURNS = list(UNITS)[: list(UNITS).index("turnover")]
DAYS = sessions(dt.date(2023, 12, 20), dt.date(2024, 4, 30))
PRICES = pl.DataFrame(
    {"date": DAYS, "A": 100.0 * np.cumprod(1.0 + np.random.default_rng(7).normal(0, 0.01, len(DAYS)))}
)
INDEX = pl.DataFrame(
    {"date": DAYS, "close": 50.0 * np.cumprod(1.0 + np.random.default_rng(8).normal(0, 0.01, len(DAYS)))}
)
RATES = pl.DataFrame({"date": [DAYS[0], DAYS[40]], "rate": [0.05, 0.04]})


def simulated(**given: Any) -> Backtest:
    weights = pl.DataFrame({"date": DAYS[:1], "A": [0.9]})
    return backtest(weights=weights, prices=PRICES, **given)


@pytest.mark.parametrize("given", [{}, {"benchmark": INDEX}, {"benchmark": INDEX, "cash_rates": RATES}])
def test_returns_of_a_backtest_give_the_metrics_of_the_backtest(given: dict[str, Any]) -> None:
    done = simulated(**given)
    frame, figures = measure_returns(done.returns, **given)
    assert frame.equals(done.returns)
    expected = done.metrics
    if "benchmark" not in given:
        expected |= dict.fromkeys(("beta", "alpha", "tracking_error", "information_ratio"))
    assert {name: figures[name] for name in FROM_RETURNS} == {name: expected[name] for name in FROM_RETURNS}
    assert figures["risk_free"] == ("series" if "cash_rates" in given else "none")
    assert {figures[name] for name in UNITS if name not in FROM_RETURNS} == {None}


def test_the_same_returns_in_any_form_give_the_same_metrics() -> None:
    frame = simulated().returns
    expected = measure_returns(frame)[1]
    series = pd.Series(frame["return"].to_numpy(), index=pd.DatetimeIndex(frame["date"].to_list()), name="mine")
    table = series.rename("return").rename_axis("date").reset_index()
    for same in (series, series.to_frame(), table, frame.rename({"date": "day", "return": "r"}), frame.reverse()):
        assert measure_returns(same)[1] == expected


def test_growth_is_counted_from_the_session_before_the_first_return_or_from_where_it_is_said() -> None:
    monday = pl.DataFrame({"date": [dt.date(2024, 1, 8)], "return": [0.01]})
    from_friday, from_start = measure_returns(monday)[1], measure_returns(monday, start=dt.date(2024, 1, 1))[1]
    assert from_friday["cagr"] == pytest.approx(1.01 ** (365.25 / 3) - 1, rel=1e-12)
    assert from_start["cagr"] == pytest.approx(1.01 ** (365.25 / 7) - 1, rel=1e-12)
    every_day = measure_returns(monday, calendar="daily")[1]
    assert every_day["cagr"] == pytest.approx(1.01**365.25 - 1, rel=1e-12)
    assert (from_friday["sessions_per_year"], every_day["sessions_per_year"]) == (252.0, 365.0)


def test_monthly_returns_are_annualised_by_twelve() -> None:
    months = [dt.date(2024, month, 28) for month in range(1, 7)]
    frame = pl.DataFrame({"date": months, "return": [0.01, -0.02, 0.03, 0.0, 0.01, 0.02]})
    figures = measure_returns(frame, sessions_per_year=12, start=dt.date(2023, 12, 28))[1]
    values = frame["return"].to_numpy()
    assert figures["sharpe_ratio"] == pytest.approx(np.sqrt(12) * values.mean() / values.std(ddof=1), rel=1e-12)


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (pl.DataFrame({"return": [0.1]}), "no columns of dates"),
        (pl.DataFrame({"date": DAYS[:2], "return": [0.1, float("nan")]}), "the return of 2023-12-21 is nan"),
        (pl.DataFrame({"date": DAYS[:2], "return": [0.1, None]}), "the return of 2023-12-21 is nan"),
        (pl.DataFrame({"date": [DAYS[0]] * 2, "return": [0.1, 0.2]}), "2023-12-20"),
        (pl.DataFrame({"date": DAYS[:1], "a": [0.1], "b": [0.1]}), "date, a, b"),
        (pl.DataFrame({"date": DAYS[:1], "symbol": ["A"], "return": [0.1]}), "date, symbol, return"),
        (pl.DataFrame({"date": DAYS[:1], "return": ["0.1"]}), "returns"),
        (pl.DataFrame(schema={"date": pl.Date, "return": pl.Float64}), "there are no returns"),
        ([0.1, 0.2], "returns"),
        (None, "returns"),
    ],
)
def test_what_is_no_series_of_returns_is_refused(returns: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        measure_returns(returns)


def test_a_benchmark_that_begins_too_late_and_a_start_after_the_first_return_are_refused() -> None:
    frame = simulated().returns
    with pytest.raises(InvalidInputError, match="benchmark: there is no close up to 2023-12-20"):
        measure_returns(frame, benchmark=INDEX[5:])
    with pytest.raises(InvalidInputError, match="start is 2024-01-05"):
        measure_returns(frame, start=dt.date(2024, 1, 5))
    with pytest.raises(InvalidInputError, match="not a calendar"):
        measure_returns(frame, calendar="XNYX")
