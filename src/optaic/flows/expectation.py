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

_FAR = 9000
"""Years from here on are not looked at: no calendar knows their sessions."""


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
        If there is no such calendar, or it does not know the sessions around that date.
    """
    expectation = read(spec)
    if expectation.frequency is Frequency.IRREGULAR:
        return Reach()
    if expectation.frequency is Frequency.INTERVAL:
        return Reach(ready_until=refreshed_at + expectation.every * (expectation.grace + 1))
    version = calendar.library_version(expectation.calendar)
    if last_data_date is None:
        return Reach(ready_until=refreshed_at, calendar=version)
    dates = due_dates(expectation, last_data_date)
    missing = [next(dates) for _ in range(expectation.grace + 1)]
    return Reach(expected_date=missing[0], ready_until=deadline(expectation, missing[-1]), calendar=version)


def read(spec: Mapping[str, Any] | None) -> Expectation:
    """Read an expectation; a deadline that names no zone is in that of its exchange.

    Raises
    ------
    InvalidInputError
        If anything is wrong with it.
    """
    if spec is None or "zone" in spec or "deadline" not in spec:
        return parse_expectation(spec)
    return parse_expectation(spec, zone=calendar.zone_of(parse_expectation(spec).calendar))


def deadline(expectation: Expectation, date: dt.date) -> dt.datetime:
    """Give the instant (UTC) at which the data of a session are due."""
    if expectation.anchor is Anchor.DATE:
        return local_instant(date, expectation.offset, expectation.zone)
    edges = calendar.opens if expectation.anchor is Anchor.OPEN else calendar.closes
    return edges([date], expectation.calendar)[0] + expectation.offset


def due_dates(expectation: Expectation, after: dt.date) -> Iterator[dt.date]:
    """Give the due event dates after a date, in order, for as far as the calendar knows its sessions."""
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
    while first.year < _FAR:
        last = first + dt.timedelta(days=60)
        yield from calendar.sessions(first, last, name)
        first = last + dt.timedelta(days=1)


def _weekly(expectation: Expectation, after: dt.date) -> Iterator[dt.date]:
    monday = after - dt.timedelta(days=after.weekday())
    while monday.year < _FAR:
        wanted = monday + dt.timedelta(days=expectation.day_of_week)
        found = calendar.sessions(monday, wanted, expectation.calendar)
        if found and found[-1] > after:
            yield found[-1]
        monday += dt.timedelta(days=7)


def _monthly(expectation: Expectation, after: dt.date, step: int) -> Iterator[dt.date]:
    year, month = after.year, after.month
    while year < _FAR:
        if month % step == 0:
            length = months.monthrange(year, month)[1]
            wanted = dt.date(year, month, min(expectation.day_of_month, length))
            found = calendar.sessions(wanted.replace(day=1), wanted.replace(day=length), expectation.calendar)
            before = [session for session in found if session <= wanted]
            due = before[-1] if before else found[0] if found else None
            if due is not None and due > after:
                yield due
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
