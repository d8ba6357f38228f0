"""Sessions: when an exchange opens and closes, from a calendar library; and the two calendars that need none."""

from __future__ import annotations

import datetime as dt
import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from optaic.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WEEKDAYS = "weekdays"
"""Monday to Friday; a session opens at midnight UTC and closes at the next."""

DAILY = "daily"
"""Every day; a session opens at midnight UTC and closes at the next."""

DEFAULT = "XNYS"

_SESSIONS_PER_YEAR = {WEEKDAYS: 260.0, DAILY: 365.0, "24/7": 365.0}

_LAST = dt.date(2199, 12, 31)
"""The library counts in nanoseconds, which end in 2262."""

_NO_LIBRARY = "exchange calendars need a library that is not installed"
_NO_LIBRARY_STEP = "in the clone: pip install '.[quant]'; weekdays and daily need none"

CLOSED_ALL_DAY: dict[str, tuple[dt.date, ...]] = {
    # No trading at all under typhoon and rainstorm warnings (HKEX notices of those days); exchange_calendars 4.13
    # still has them as sessions.
    "XHKG": (dt.date(2023, 9, 1), dt.date(2023, 9, 8)),
}
"""Days on which an exchange was closed at short notice and that the calendar library does not know of."""


def check_calendar(name: str) -> str:
    """Return the name of a calendar if there is one of it.

    Raises
    ------
    InvalidInputError
        If there is none, or the calendar library is not installed.
    """
    if name in (WEEKDAYS, DAILY):
        return name
    import difflib

    known: list[str] = _library().get_calendar_names(include_aliases=True)
    if name not in known:
        similar = difflib.get_close_matches(name, known, n=1)
        raise InvalidInputError(
            f"{name!r} is not a calendar" + (f"; did you mean {similar[0]!r}?" if similar else ""),
            next_step="use an exchange's code such as XNYS or XLON, or weekdays, or daily",
        )
    return name


def session_close(date: dt.date, calendar: str = DEFAULT) -> dt.datetime:
    """Give the close (UTC) of the session of a date, or of the last session before it.

    Raises
    ------
    InvalidInputError
        If there is no such calendar, or the date is before its first session.
    """
    day = date
    if calendar == DAILY:
        return _midnight(day + dt.timedelta(days=1))
    if calendar == WEEKDAYS:
        while day.weekday() > 4:
            day -= dt.timedelta(days=1)
        return _midnight(day + dt.timedelta(days=1))
    sessions = _sessions(calendar, day, day)
    import numpy as np  # comes with the calendar library, and is needed only with it

    place = int(np.searchsorted(sessions.days, np.datetime64(day, "D"), side="right")) - 1
    if place < 0:
        raise InvalidInputError(f"{calendar} has no session on or before {date}")
    return _instant(sessions.closes[place])


def closes(dates: Sequence[dt.date], calendar: str = DEFAULT) -> list[dt.datetime]:
    """Give for each date the close (UTC) of its session; of the next one if the date is no session.

    Parameters
    ----------
    dates
        In ascending order, without repetition.
    calendar
        An exchange's code, `weekdays` or `daily`.

    Raises
    ------
    InvalidInputError
        If there is no such calendar.
    """
    return _edges(dates, calendar, "close")


def opens(dates: Sequence[dt.date], calendar: str = DEFAULT) -> list[dt.datetime]:
    """Give for each date the open (UTC) of its session; of the next one if the date is no session.

    Parameters and errors are those of `closes`.
    """
    return _edges(dates, calendar, "open")


def sessions(first: dt.date, last: dt.date, calendar: str = DEFAULT) -> list[dt.date]:
    """Give the dates of the sessions between two dates, both inclusive, for as far as the calendar knows them.

    Raises
    ------
    InvalidInputError
        If there is no such calendar, or the library cannot make it.
    """
    if calendar in (WEEKDAYS, DAILY):
        days = (first + dt.timedelta(days=number) for number in range((last - first).days + 1))
        return [day for day in days if calendar == DAILY or day.weekday() < 5]
    earliest, latest = _bounds(check_calendar(calendar))
    first, last = max(first, earliest), min(last, latest)
    if first > last:
        return []
    known = _sessions(calendar, first, last)
    import numpy as np  # see above

    begin, end = np.searchsorted(known.days, np.array([first, last + dt.timedelta(days=1)], dtype="datetime64[D]"))
    found: list[dt.date] = known.days[begin:end].tolist()
    return found


def next_session(date: dt.date, calendar: str = DEFAULT) -> dt.date | None:
    """Give the date of the first session after a date; None if the calendar does not know one within six weeks.

    Raises
    ------
    InvalidInputError
        If there is no such calendar, or the library cannot make it.
    """
    following = sessions(date + dt.timedelta(days=1), date + dt.timedelta(weeks=6), calendar)
    return following[0] if following else None


def annual_sessions(calendar: str) -> float:
    """Give what annualises: a constant of the calendar (exchanges 252), never a count of a sample."""
    return _SESSIONS_PER_YEAR.get(calendar, 252.0)


def known_until(calendar: str) -> dt.date:
    """Give the last day of which a calendar knows whether it is a session; those of Asia are announced year by year.

    Raises
    ------
    InvalidInputError
        If there is no such calendar, or the library cannot make it.
    """
    return dt.date.max if calendar in (WEEKDAYS, DAILY) else _bounds(check_calendar(calendar))[1]


def zone_of(calendar: str) -> str:
    """Give the IANA name of a calendar's time zone; UTC for those that belong to no exchange.

    Raises
    ------
    InvalidInputError
        If there is no such calendar, or the library cannot make it.
    """
    if check_calendar(calendar) in (WEEKDAYS, DAILY):
        return "UTC"
    return str(_make(calendar).tz)


def library_version(calendar: str) -> str | None:
    """Name the library that knows a calendar's sessions, with its version; None for those that need none.

    Raises
    ------
    InvalidInputError
        If the library is not installed.
    """
    if calendar in (WEEKDAYS, DAILY):
        return None
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"exchange_calendars {version('exchange_calendars')}"
    except PackageNotFoundError as error:
        raise InvalidInputError(_NO_LIBRARY, next_step=_NO_LIBRARY_STEP) from error


def _edges(dates: Sequence[dt.date], calendar: str, edge: str) -> list[dt.datetime]:
    if not dates:
        return []
    if calendar in (WEEKDAYS, DAILY):
        found: list[dt.datetime] = []
        for date in dates:
            day = date
            while calendar == WEEKDAYS and day.weekday() > 4:
                day += dt.timedelta(days=1)
            found.append(_midnight(day + dt.timedelta(days=int(edge == "close"))))
        return found
    sessions = _sessions(calendar, dates[0], dates[-1])
    import numpy as np  # see above

    if np.datetime64(dates[0], "D") < sessions.days[0]:
        raise InvalidInputError(
            f"the sessions of {calendar} are known from {sessions.days[0]} on, not at {dates[0]}",
            next_step="use weekdays or daily for older dates, or a column that says when rows were known",
        )
    places = np.searchsorted(sessions.days, np.array(dates, dtype="datetime64[D]"))
    if places.max() >= len(sessions.days):
        raise InvalidInputError(f"the sessions of {calendar} are not known as far as {dates[-1]}")
    instants = sessions.closes if edge == "close" else sessions.opens
    return [_instant(instant) for instant in instants[places]]


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def _instant(nanoseconds: np.int64) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(nanoseconds) // 1_000_000_000, dt.UTC)


def _library() -> Any:
    try:
        return importlib.import_module("exchange_calendars")
    except ModuleNotFoundError as error:
        raise InvalidInputError(_NO_LIBRARY, next_step=_NO_LIBRARY_STEP) from error


def _make(calendar: str, **limits: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own use of pandas is nothing that a user could mend
            return _library().get_calendar(calendar, **limits)
    except InvalidInputError:
        raise
    except Exception as error:  # a calendar's own rules may raise anything: NotImplementedError for Athens
        where = " to ".join(limits.values())
        raise InvalidInputError(
            f"the calendar library cannot make {calendar}{where and f' from {where}'}: {str(error)[:200]}",
            next_step="use the calendar of an exchange with the same holidays, or weekdays, or daily",
        ) from error


@lru_cache(maxsize=64)
def _bounds(calendar: str) -> tuple[dt.date, dt.date]:
    """Give the first and the last day of which the library can know whether it is a session."""
    known = _make(calendar)
    earliest, latest = known.bound_min(), known.bound_max()
    return (
        dt.date.min if earliest is None else earliest.date(),
        _LAST if latest is None else latest.date(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sessions:
    """Sessions in order: days (datetime64[D]), opens and closes (int64, nanoseconds since 1970, UTC)."""

    days: npt.NDArray[np.datetime64]
    opens: npt.NDArray[np.int64]
    closes: npt.NDArray[np.int64]


def _sessions(calendar: str, first: dt.date, last: dt.date) -> _Sessions:
    """Give the sessions around two dates, by whole decades and a month, so that calendars are built rarely."""
    check_calendar(calendar)
    return _build(calendar, dt.date(first.year // 10 * 10 - 1, 12, 1), dt.date(last.year // 10 * 10 + 10, 1, 31))


@lru_cache(maxsize=16)
def _build(calendar: str, start: dt.date, end: dt.date) -> _Sessions:
    earliest, latest = _bounds(calendar)
    start, end = max(start, earliest), min(end, latest)
    if start > end:
        raise InvalidInputError(f"{calendar} has no sessions between {start.year} and {end.year}")
    built = _make(calendar, start=start.isoformat(), end=end.isoformat())
    import numpy as np  # see above

    days = built.sessions.to_numpy().astype("datetime64[D]")
    closed = CLOSED_ALL_DAY.get(built.name, ())  # the exchange's own code, also where the calendar is an alias of it
    was_open = ~np.isin(days, np.array(closed, dtype="datetime64[D]"))
    return _Sessions(
        days=days[was_open],
        opens=np.asarray(built.opens_nanos, dtype=np.int64)[was_open],
        closes=np.asarray(built.closes_nanos, dtype=np.int64)[was_open],
    )
