"""Returns that somebody's own program earned, measured as those of a backtest are."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl

from optaic.errors import InvalidInputError
from optaic.flows.calendar import DEFAULT, annual_sessions, check_calendar, sessions
from optaic.quant.market import benchmark_returns, read_rates
from optaic.quant.panel import cash_returns
from optaic.quant.summary import Figure, summarize
from optaic.quant.wide import read_frame, spread

_LONGEST_PAUSE = dt.timedelta(days=31)
"""No exchange was closed for longer within the lives of the calendars; what is further back is not looked at."""


def measure_returns(
    returns: Any,
    *,
    benchmark: Any = None,
    cash_rates: Any = None,
    calendar: str = DEFAULT,
    sessions_per_year: float | None = None,
    start: dt.date | None = None,
) -> tuple[pl.DataFrame, dict[str, Figure]]:
    """Measure returns by the standard metrics of a backtest, as far as they follow from returns alone.

    Parameters
    ----------
    returns : frame or series of Polars or pandas
        Simple returns per session, net of costs, as fractions. A frame has dates and one more column, or `return`; of
        pandas the dates may be the index.
    benchmark : frame, optional
        Prices (date, close) to measure against; a session without one takes the last before it.
    cash_rates : float or frame, optional
        Annual simple rate of cash as a fraction, Act/360: one number, or a frame (date, rate). It is the risk-free
        return; without it that is 0.
    calendar : str
        An exchange's code, `weekdays` or `daily`.
    sessions_per_year : float, optional
        What annualises; None for the calendar's constant. Of monthly returns 12.
    start : datetime.date, optional
        When the value was 1: the close before the first return. None for the calendar's last session before it.

    Returns
    -------
    polars.DataFrame
        The returns: date (Date), return (Float64), in the order of dates.
    dict of str to float, int, bool, str or None
        By metric; None where one is not defined, and for those of what was held and traded.

    Raises
    ------
    InvalidInputError
        If it is no series of finite returns with a date each, there is no such calendar, or the benchmark or the rates
        begin too late.
    """
    table = _one_column(returns)
    check_calendar(calendar)
    grid = spread(table, "return", "returns")
    values = grid.values[:, 0]
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise InvalidInputError(
            f"the return of {grid.dates[wrong[0]]} is {values[wrong[0]]}",
            next_step="give 0 where nothing was earned, and no row for days without a session",
        )
    first: dt.date = grid.dates[0].astype(object)
    if start is not None and start >= first:
        raise InvalidInputError(f"start is {start}, and the first return is of {first}", next_step="give a day before")
    since = start or _session_before(first, calendar)
    dates = np.concatenate([np.array([since], dtype="datetime64[D]"), grid.dates])
    rates = read_rates(cash_rates, dates)
    figures = summarize(
        values,
        sessions_per_year=annual_sessions(calendar) if sessions_per_year is None else sessions_per_year,
        calendar_days=int((dates[-1] - dates[0]).astype(np.int64)),
        risk_free=None if rates is None else cash_returns(dates, rates)[1:],
        benchmark=None if benchmark is None else benchmark_returns(benchmark, dates),
    )
    return pl.DataFrame({"date": grid.dates, "return": values}), figures


def _one_column(returns: Any) -> pl.DataFrame:
    """Take what has dates and one column of returns as a frame: date, return."""
    if hasattr(returns, "to_frame") and not hasattr(returns, "columns"):
        returns = returns.rename("return").to_frame()
    table = read_frame(returns, "returns")
    names = [name for name in table.columns if name != "date"]
    value = "return" if "return" in names and "symbol" not in names else names[0] if len(names) == 1 else None
    if value is None:
        raise InvalidInputError(
            f"returns have the columns {', '.join(table.columns)}",
            next_step="give the returns of one portfolio: a column of dates, and one of returns",
        )
    if table.is_empty():
        raise InvalidInputError("there are no returns", next_step="log them when there are some")
    return table.select("date", pl.col(value).alias("return"))


def _session_before(date: dt.date, calendar: str) -> dt.date:
    day = dt.timedelta(days=1)
    before = sessions(date - _LONGEST_PAUSE, date - day, calendar)
    return before[-1] if before else date - day
