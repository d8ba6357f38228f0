"""When decisions are taken: just before the next session opens, and never after what they could be traded at."""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Sequence

import polars as pl

from optaic.flows.calendar import opens, sessions
from optaic.flows.grid import DATE


def decision_times(
    dates: Sequence[dt.date] | pl.Series, calendar: str, *, trading: Sequence[dt.date] | pl.Series | None = None
) -> pl.DataFrame:
    """Say until when something must have been known to be decided on at each date.

    Parameters
    ----------
    dates
        Dates, ascending, each once.
    calendar
        Whose sessions.
    trading
        The dates of the prices that decisions are traded at, ascending; `dates` themselves if left out.

    Returns
    -------
    DataFrame
        `date` (Date) and `decided_at` (Datetime, UTC): the open of the first session after the date; but where the next
        date of `trading` comes before that and is no session, the beginning of that day (UTC), for nobody knows when
        it opened.

    Raises
    ------
    InvalidInputError
        If there is no such calendar, or it does not know these dates.

    Examples
    --------
    Prices of every day of a week, and the calendar of New York: Friday's decision is traded on Saturday.

    >>> friday = dt.date(2024, 1, 5)
    >>> decision_times([friday], "XNYS")["decided_at"].item().isoformat()
    '2024-01-08T14:30:00+00:00'
    >>> days = [friday + dt.timedelta(days=number) for number in range(4)]
    >>> decision_times([friday], "XNYS", trading=days)["decided_at"].item().isoformat()
    '2024-01-06T00:00:00+00:00'
    """
    days: list[dt.date] = list(dates)
    traded: list[dt.date] = days if trading is None else list(trading)
    instants = opens([day + dt.timedelta(days=1) for day in days], calendar)
    outside = set(outside_sessions(traded, calendar))
    for place, day in enumerate(days):
        following = bisect.bisect_right(traded, day)
        if following < len(traded) and (next_date := traded[following]) in outside:
            begin = dt.datetime(next_date.year, next_date.month, next_date.day, tzinfo=dt.UTC)
            instants[place] = min(instants[place], begin)
    decided_at = pl.Series("decided_at", instants, dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({DATE: pl.Series(DATE, days, dtype=pl.Date), "decided_at": decided_at})


def outside_sessions(dates: Sequence[dt.date], calendar: str) -> list[dt.date]:
    """Give those of some ascending dates that are no sessions of a calendar.

    Raises
    ------
    InvalidInputError
        If there is no such calendar.
    """
    if not dates:
        return []
    known = set(sessions(dates[0], dates[-1], calendar))
    return [date for date in dates if date not in known]
