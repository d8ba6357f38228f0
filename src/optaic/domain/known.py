"""The rules by which each row of a dataset gets the instant at which it was known."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from optaic.errors import InvalidInputError

DEFAULT_CALENDAR = "XNYS"
"""The sessions of a dataset that names no calendar."""

_RULE = re.compile(r"(close|open|date)((?:\s*[+-]\s*\d+(?:\.\d+)?\s*[a-z]+)*)")
_TERM = re.compile(r"([+-])\s*(\d+(?:\.\d+)?)\s*([a-z]+)")
_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), dt.timedelta(seconds=1)),
    **dict.fromkeys(("m", "min", "minute", "minutes"), dt.timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour", "hours"), dt.timedelta(hours=1)),
    **dict.fromkeys(("d", "day", "days"), dt.timedelta(days=1)),
    **dict.fromkeys(("w", "week", "weeks"), dt.timedelta(weeks=1)),
}
_NEXT_STEP = (
    'write for example `known_at: {lag: "close + 2h"}`, `{lag: "open - 30m", calendar: XLON}`, `{lag: "date + 1d"}`, '
    "`{column: published_at}`, or `observed`"
)


class Anchor(StrEnum):
    """The instant of an event date that a lag counts from."""

    CLOSE = "close"
    """The close of its session; of the next session if the date is none."""
    OPEN = "open"
    """The open of its session; of the next session if the date is none."""
    DATE = "date"
    """Its midnight, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Rows are known from the start of the run that brought them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Rows are known at a fixed distance from their event date; what restates them, from the start of its run.

    Attributes
    ----------
    anchor
        Where the distance starts.
    offset
        The distance; may be negative.
    calendar
        Whose sessions: an exchange's code, `weekdays` or `daily`.
    """

    anchor: Anchor
    offset: dt.timedelta
    calendar: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FromColumn:
    """The source says, in a column, at which instant each row was known; a key may have several vintages.

    Attributes
    ----------
    name
        The column in what the source returns; it is stored as `known_at`.
    """

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """Rows are known when the last of what they are made of is: the source says so, in the column `known_at`.

    A row that is made anew with another value, of nothing that was known later, is known from the start of its run.
    """


DERIVED = "derived"
"""What a config says of such rows."""

DECLARE = (
    'declare when rows are known, known_at: {lag: "close + 2h"}, in a dataset of a new name: what is '
    "published keeps when it was known"
)
"""What to do where nothing was known in time."""

KnownRule = Observed | Lag | FromColumn | Derived


def parse_known(config: Mapping[str, Any]) -> KnownRule:
    """Read the rule from a dataset's config.

    Parameters
    ----------
    config
        Has the rule under `known_at`; `observed` if there is none. A lag without a calendar takes that of `freshness`,
        then XNYS.

    Returns
    -------
    Observed, Lag, FromColumn or Derived
        The rule.

    Raises
    ------
    InvalidInputError
        If it is none of the forms that are known.

    Examples
    --------
    >>> parse_known({"known_at": {"lag": "close + 2h"}})
    Lag(anchor=<Anchor.CLOSE: 'close'>, offset=datetime.timedelta(seconds=7200), calendar='XNYS')
    """
    rule = config.get("known_at")
    if rule is None or rule == "observed":
        return Observed()
    if rule == DERIVED:
        return Derived()
    if isinstance(rule, Mapping):
        parts = cast("Mapping[str, Any]", rule)
        given = set(parts)
        if "column" in given and given <= {"column", "calendar"} and isinstance(parts["column"], str):
            return FromColumn(name=parts["column"])
        if "lag" in given and given <= {"lag", "calendar"}:
            anchor, offset = parse_lag(parts["lag"])
            return Lag(anchor=anchor, offset=offset, calendar=calendar_of(config))
    raise InvalidInputError(f"known_at: {rule!r} is not a rule", next_step=_NEXT_STEP)


def calendar_of(config: Mapping[str, Any]) -> str:
    """Give the calendar of a dataset: that of its `known_at`, then of its `freshness`, then XNYS."""
    for section in ("known_at", "freshness"):
        part = config.get(section)
        if isinstance(part, Mapping):
            name = cast("Mapping[str, Any]", part).get("calendar")
            if name:
                return str(name)
    return DEFAULT_CALENDAR


def parse_lag(text: object) -> tuple[Anchor, dt.timedelta]:
    """Read a lag: an anchor and what is added to it.

    Parameters
    ----------
    text
        `close`, `close + 2h`, `open - 30m`, `date + 1d + 12h` and the like; units are s, m, h, d and w.

    Returns
    -------
    tuple of (Anchor, timedelta)
        Where the lag starts, and its length.

    Raises
    ------
    InvalidInputError
        If it is not of this form.

    Examples
    --------
    >>> parse_lag("date + 1d + 30m")
    (<Anchor.DATE: 'date'>, datetime.timedelta(days=1, seconds=1800))
    """
    match = _RULE.fullmatch(text.strip().lower()) if isinstance(text, str) else None
    if match is None:
        raise InvalidInputError(f"known_at: the lag {text!r} cannot be read", next_step=_NEXT_STEP)
    offset = dt.timedelta()
    for sign, number, unit in _TERM.findall(match[2]):
        if unit not in _UNITS:
            raise InvalidInputError(
                f"known_at: the lag {text!r} has the unknown unit {unit!r}", next_step="use s, m, h, d or w"
            )
        try:
            step = float(number) * _UNITS[unit]
            offset += step if sign == "+" else -step
        except OverflowError:
            raise InvalidInputError(f"known_at: the lag {match[0][:60]!r} is too long", next_step=_NEXT_STEP) from None
    return Anchor(match[1]), offset
