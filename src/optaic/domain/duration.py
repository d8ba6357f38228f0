"""Lengths of time as people write them: `90s`, `10m`, `1.5h`, `2d`."""

from __future__ import annotations

import datetime as dt
import re

from optaic.errors import InvalidInputError

MAX_DURATION = dt.timedelta(days=366)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhd])")
_UNITS = {
    "d": dt.timedelta(days=1),
    "h": dt.timedelta(hours=1),
    "m": dt.timedelta(minutes=1),
    "s": dt.timedelta(seconds=1),
}


def parse_duration(text: str) -> dt.timedelta:
    """Read a duration: a number and one of s, m, h, d.

    Raises
    ------
    InvalidInputError
        If it is not of this form, zero, or longer than 366 days.

    Examples
    --------
    >>> parse_duration("1.5h")
    datetime.timedelta(seconds=5400)
    """
    match = _DURATION.fullmatch(text.strip())
    duration = dt.timedelta() if match is None else float(match[1]) * _UNITS[match[2]]
    if not dt.timedelta() < duration <= MAX_DURATION:
        raise InvalidInputError(
            f"{text[:60]!r} is not a duration", next_step="write a number above 0 and one of s, m, h, d: 90s, 10m, 1.5h"
        )
    return duration


def format_duration(duration: dt.timedelta) -> str:
    """Write a duration that is not negative in the largest unit that gives a whole number; else in seconds.

    Examples
    --------
    >>> format_duration(dt.timedelta(hours=1.5))
    '90m'
    """
    for name, unit in _UNITS.items():
        if not duration % unit:
            return f"{duration // unit}{name}"
    return f"{duration // _UNITS['s']}.{duration.microseconds:06d}".rstrip("0") + "s"
