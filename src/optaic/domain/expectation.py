"""What a dataset's calendar expects of it: when data of which event date must be there."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from optaic.domain.duration import MAX_DURATION
from optaic.domain.known import DEFAULT_CALENDAR, Anchor, parse_lag
from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError

FIELDS = (
    "frequency", "calendar", "day_of_week", "day_of_month", "n", "every", "deadline", "zone", "grace", "on_delayed",
)  # fmt: skip

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?:\s*\+\s*([1-9]\d?)\s*d)?")
_EVERY = re.compile(r"(\d+(?:\.\d+)?)\s*(m|h|d|w)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Frequency(StrEnum):
    """How often data of a new event date are due."""

    IRREGULAR = "irregular"
    """Never: a version is good for as long as there is no other."""
    DAILY = "daily"
    """Each session of the calendar."""
    WEEKLY = "weekly"
    """One session a week: that of `day_of_week`, or the last one before it in the same week."""
    MONTHLY = "monthly"
    """One session a month: that of `day_of_month`, or the last one before it in the same month, else the next."""
    QUARTERLY = "quarterly"
    """The same, in March, June, September and December."""
    EVERY_N_SESSIONS = "every_n_sessions"
    """The n-th session after the last one that data reach."""
    INTERVAL = "interval"
    """So long after the last completed refresh, whatever dates its data have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a calendar expects.

    Attributes
    ----------
    frequency
        How often.
    calendar
        Whose sessions: an exchange's code, `weekdays`, or `daily` for every day.
    day_of_week
        0 is Monday; for `weekly`.
    day_of_month
        1 to 31, the last day in shorter months; for `monthly` and `quarterly`.
    n
        For `every_n_sessions`.
    every
        For `interval`.
    anchor
        What the deadline counts from: the session's open or close, or the local midnight at which its date begins.
    offset
        Its distance from there; with `DATE`, as wall-clock time.
    zone
        The IANA time zone of a deadline that is a time of day.
    grace
        How many due dates may be missed before the data are overdue.
    waits
        Whether readers wait when the source is late (`on_delayed: wait`), or go on with what there is (`run`).
    """

    frequency: Frequency
    calendar: str = DEFAULT_CALENDAR
    day_of_week: int = 4
    day_of_month: int = 31
    n: int = 1
    every: dt.timedelta = dt.timedelta(days=1)
    anchor: Anchor = Anchor.CLOSE
    offset: dt.timedelta = dt.timedelta()
    zone: str = "UTC"
    grace: int = 0
    waits: bool = True


Problem = tuple[str, str, str]
"""A mistake: the field, what is wrong, what to do."""


def find_problems(spec: Mapping[str, Any]) -> list[Problem]:
    """Say what is wrong with a `freshness:` of a project file: each mistake with its field, empty for the whole."""
    frequencies = [one.value for one in Frequency]
    frequency = spec.get("frequency")
    if frequency is None:
        return [("", "freshness has no frequency", f"add one of: {', '.join(frequencies)}")]
    if frequency not in frequencies:
        hint = did_you_mean(str(frequency), frequencies)
        problem = f"{str(frequency)[:60]!r} is not a frequency{hint}"
        return [("frequency", problem, f"use one of: {', '.join(frequencies)}")]
    found = [
        (field, f"{field} is nothing to a frequency of {frequency}", f"it belongs to: {', '.join(of)}")
        for field, of in _ONLY.items()
        if field in spec and frequency not in of
    ]
    if frequency == Frequency.EVERY_N_SESSIONS and "n" not in spec:
        found.append(("frequency", "every_n_sessions does not say how many", "add n: 5"))
    if frequency == Frequency.INTERVAL and "every" not in spec:
        found.append(("frequency", "interval does not say how long", "add every: 6h"))
    return found + _number_problems(spec) + _text_problems(spec)


def _number_problems(spec: Mapping[str, Any]) -> list[Problem]:
    found: list[Problem] = []
    for field, first, last in (("day_of_month", 1, 31), ("n", 1, 366), ("grace", 0, 100)):
        value = spec.get(field, first)
        if isinstance(value, bool) or not isinstance(value, int) or not first <= value <= last:
            step = f"write a whole number from {first} to {last}"
            found.append((field, f"{field} is {str(value)[:60]!r}", step))
    return found


def _text_problems(spec: Mapping[str, Any]) -> list[Problem]:
    found: list[Problem] = []
    shown = {field: f"{str(value)[:60]!r}" for field, value in spec.items()}
    if "day_of_week" in spec and str(spec["day_of_week"]).lower() not in _DAYS:
        hint = did_you_mean(str(spec["day_of_week"]), _DAYS)
        found.append(("day_of_week", f"{shown['day_of_week']} is no day{hint}", f"use one of: {', '.join(_DAYS)}"))
    if "every" in spec and _duration(spec["every"]) is None:
        found.append(
            ("every", f"{shown['every']} is not a length of time", "write for example 30m, 6h, 2d or 1w, at most 366d")
        )
    if "deadline" in spec:
        try:
            _deadline(spec["deadline"])
        except InvalidInputError:
            step = 'write a time of day, "18:00" or "06:00 + 1d", or a distance, "close + 2h"'
            found.append(("deadline", f"{shown['deadline']} is not a deadline", step))
    if "zone" in spec and str(spec["zone"]) not in available_timezones():
        hint = did_you_mean(str(spec["zone"]), sorted(available_timezones()))
        found.append(("zone", f"{shown['zone']} is no time zone{hint}", "use a name such as America/New_York"))
    if "on_delayed" in spec and spec["on_delayed"] not in ("wait", "run"):
        found.append(("on_delayed", f"on_delayed is {shown['on_delayed']}", "use wait or run"))
    return found


_ONLY = {
    "day_of_week": (Frequency.WEEKLY,),
    "day_of_month": (Frequency.MONTHLY, Frequency.QUARTERLY),
    "n": (Frequency.EVERY_N_SESSIONS,),
    "every": (Frequency.INTERVAL,),
    "deadline": tuple(one for one in Frequency if one not in (Frequency.IRREGULAR, Frequency.INTERVAL)),
    "zone": tuple(one for one in Frequency if one not in (Frequency.IRREGULAR, Frequency.INTERVAL)),
    "grace": tuple(one for one in Frequency if one is not Frequency.IRREGULAR),
    "on_delayed": tuple(one for one in Frequency if one is not Frequency.IRREGULAR),
}


def parse_expectation(spec: Mapping[str, Any] | None, *, zone: str = "UTC") -> Expectation:
    """Read what a calendar expects.

    Parameters
    ----------
    spec
        A `freshness:` of a project file; None is irregular.
    zone
        The zone of a deadline that names none: that of the exchange.

    Raises
    ------
    InvalidInputError
        If anything is wrong with it.
    """
    if spec is None:
        return Expectation(frequency=Frequency.IRREGULAR)
    for _, problem, step in find_problems(spec):
        raise InvalidInputError(problem, next_step=step)
    # Without a deadline, the data of a session are due when its day is over.
    anchor, offset = _deadline(spec["deadline"]) if "deadline" in spec else (Anchor.DATE, dt.timedelta(days=1))
    return Expectation(
        frequency=Frequency(spec["frequency"]),
        calendar=str(spec.get("calendar") or DEFAULT_CALENDAR),
        day_of_week=_DAYS.index(str(spec.get("day_of_week", "friday")).lower()),
        day_of_month=spec.get("day_of_month", 31),
        n=spec.get("n", 1),
        every=_duration(spec.get("every")) or dt.timedelta(days=1),
        anchor=anchor,
        offset=offset,
        zone=str(spec.get("zone") or zone),
        grace=spec.get("grace", 0),
        waits=spec.get("on_delayed", "wait") == "wait",
    )


def _deadline(text: object) -> tuple[Anchor, dt.timedelta]:
    match = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        anchor, offset = parse_lag(text)
        if abs(offset) > MAX_DURATION:
            raise InvalidInputError(f"the deadline {text!r} is more than {MAX_DURATION.days} days away")
        return anchor, offset
    return Anchor.DATE, dt.timedelta(days=int(match[3] or 0), hours=int(match[1]), minutes=int(match[2]))


def _duration(text: object) -> dt.timedelta | None:
    match = _EVERY.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or float(match[1]) > 1e6:
        return None
    duration = dt.timedelta(**{_UNITS[match[2]]: float(match[1])})
    return duration if dt.timedelta() < duration <= MAX_DURATION else None


def local_instant(date: dt.date, offset: dt.timedelta, zone: str) -> dt.datetime:
    """Give the instant (UTC) of a wall-clock time: so long after midnight of a date, as the clocks of the zone show it.

    A time that the clocks skip is as long after midnight as the clocks before the change would say; of a time that
    comes twice it is the first.
    """
    # Adding to an aware datetime moves its wall clock, whatever the zone does in between.
    return (dt.datetime(date.year, date.month, date.day, tzinfo=ZoneInfo(zone)) + offset).astimezone(dt.UTC)
