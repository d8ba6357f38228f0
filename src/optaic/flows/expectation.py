"""Until when data are good: the due dates of an expectation, by the sessions of its calendar."""

from __future__ import annotations

import calendar as months
import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optaic.domain.expectation import Expectation, Frequency, local_instant, parse_expectation
from optaic.domain.known import Anchor
from optaic.flows import calendar

_FIRST = dt.date(1970, 1, 1)
"""Nothing is expected of days before: of data that end there, or of years that no library knows, they are overdue."""

_LAST = dt.date(2200, 1, 1)
"""Data that reach it are good for ever: 9999-12-31 is how many sources write that something has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far data are good.

    Attributes
    ----------
    expected_date
        The first event date that is due and that the data do not reach; None if no date is expected.
    ready_until
        The instant (UTC) from which the data are overdue: they are if and only if it has come. None for never.
    calendar
        The library that knew the sessions, with its version; None if none was asked.
    """

    expected_date: dt.date | None = None
    ready_until: dt.datetime | None = None
    calendar: str | None = None


def reach(spec: Mapping[str, Any] | None, last_data_date: dt.date | None, refreshed_at: dt.datetime) -> Reach:
    """Say how far data are good.

    Parameters
    ----------
    spec
        The `freshness:` of the dataset; None is irregular.
    last_data_date
        The last event date that the data reach; None if there are no rows.
    refreshed_at
        When the last refresh was completed (UTC).

    Raises
    ------
    InvalidInputError
        If anything is wrong with the expectation, there is no such calendar, or the library cannot make it.
    """
    expectation = read(spec)
    if expectation.frequency is Frequency.IRREGULAR:
        return Reach()
    if expectation.frequency is Frequency.INTERVAL:
        return Reach(ready_until=refreshed_at + expectation.every * (expectation.grace + 1))
    version = calendar.library_version(expectation.calendar)
    if last_data_date is None:
        return Reach(ready_until=refreshed_at, calendar=version)
    if last_data_date >= _LAST:
        return Reach(calendar=version)
    dates = due_dates(expectation, max(last_data_date, _FIRST - dt.timedelta(days=1)))
    missing = [next(dates) for _ in range(expectation.grace + 1)]
    return Reach(expected_date=missing[0], ready_until=deadline(expectation, missing[-1]), calendar=version)


def read(spec: Mapping[str, Any] | None) -> Expectation:
    """Read an expectation; a deadline that names no zone is in that of its exchange.

    Raises
    ------
    InvalidInputError
        If anything is wrong with it.
    """
    expectation = parse_expectation(spec)
    is_clock_time = expectation.anchor is Anchor.DATE and expectation.frequency not in (
        Frequency.IRREGULAR,
        Frequency.INTERVAL,
    )
    if spec is None or "zone" in spec or not is_clock_time:
        return expectation
    return parse_expectation(spec, zone=calendar.zone_of(expectation.calendar))


def deadline(expectation: Expectation, date: dt.date) -> dt.datetime:
    """Give the instant (UTC) at which the data of a session are due."""
    if expectation.anchor is Anchor.DATE:
        return local_instant(date, expectation.offset, expectation.zone)
    edges = calendar.opens if expectation.anchor is Anchor.OPEN else calendar.closes
    name = expectation.calendar if date <= calendar.known_until(expectation.calendar) else calendar.WEEKDAYS
    return edges([date], name)[0] + expectation.offset


def next_deadline(spec: Mapping[str, Any] | None, after: dt.date | None, now: dt.datetime) -> dt.datetime | None:
    """Give the next instant (UTC) at which data are due of an event date after one; None where no dates are expected.

    Raises
    ------
    InvalidInputError
        If anything is wrong with the expectation, there is no such calendar, or the library cannot make it.
    """
    expectation = read(spec)
    if after is None or expectation.frequency in (Frequency.IRREGULAR, Frequency.INTERVAL):
        return None
    # Dates long past are passed by at once: data may be years behind.
    start = max(after, (now - dt.timedelta(days=400)).date())
    return next((at for date in due_dates(expectation, start) if (at := deadline(expectation, date)) > now), None)


def due_dates(expectation: Expectation, after: dt.date) -> Iterator[dt.date]:
    """Give the due event dates after a date, in order; none for a frequency that has no sessions."""
    match expectation.frequency:
        case Frequency.DAILY:
            yield from _sessions(expectation.calendar, after)
        case Frequency.EVERY_N_SESSIONS:
            for place, session in enumerate(_sessions(expectation.calendar, after), start=1):
                if place % expectation.n == 0:
                    yield session
        case Frequency.WEEKLY:
            yield from _weekly(expectation, after)
        case Frequency.MONTHLY:
            yield from _monthly(expectation, after, 1)
        case Frequency.QUARTERLY:
            yield from _monthly(expectation, after, 3)
        case _:
            return


def _sessions(name: str, after: dt.date) -> Iterator[dt.date]:
    """Give the sessions after a date, by pieces."""
    first = after + dt.timedelta(days=1)
    while True:
        last = first + dt.timedelta(days=60)
        yield from _between(first, last, name)
        first = last + dt.timedelta(days=1)


def _between(first: dt.date, last: dt.date, name: str) -> list[dt.date]:
    """Give the sessions between two dates; after the last day that the calendar knows, the weekdays.

    Nothing at all would be worse: late data would stay ready, and nobody would hear of it.
    """
    until = calendar.known_until(name)
    found = calendar.sessions(first, min(last, until), name)
    if last > until:
        found += calendar.sessions(max(first, until + dt.timedelta(days=1)), last, calendar.WEEKDAYS)
    return found


def _weekly(expectation: Expectation, after: dt.date) -> Iterator[dt.date]:
    monday = after - dt.timedelta(days=after.weekday())
    while True:
        wanted = monday + dt.timedelta(days=expectation.day_of_week)
        found = _between(monday, wanted, expectation.calendar)
        if found and found[-1] > after:
            yield found[-1]
        monday += dt.timedelta(days=7)


def _monthly(expectation: Expectation, after: dt.date, step: int) -> Iterator[dt.date]:
    year, month = after.year, after.month
    while True:
        if month % step == 0:
            length = months.monthrange(year, month)[1]
            wanted = dt.date(year, month, min(expectation.day_of_month, length))
            found = _between(wanted.replace(day=1), wanted.replace(day=length), expectation.calendar)
            before = [session for session in found if session <= wanted]
            due = before[-1] if before else found[0] if found else None
            if due is not None and due > after:
                yield due
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
