"""What a standard metric is: a name, a unit, which way is better, and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """What a metric is counted in."""

    ROWS = "rows"
    BYTES = "bytes"
    SECONDS = "seconds"
    HOURS = "hours"
    DATE = "date"
    FRACTION = "fraction"
    """0.01 is one percent."""
    RATIO = "ratio"
    """Without a unit."""
    VALUE = "value"
    """In the unit of what is described."""
    COUNT = "count"
    SESSIONS = "sessions"
    MONEY = "money"
    """In the currency of the prices."""
    TEXT = "text"


class Better(StrEnum):
    """Which way a metric is better, where there is one."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A standard metric.

    Attributes
    ----------
    name
        Its key, in the run's metrics and in searches.
    unit
        What it is counted in.
    better
        Which way is better.
    meaning
        A sentence.
    """

    name: str
    unit: Unit
    better: Better
    meaning: str


def metric(name: str, unit: Unit, better: Better, meaning: str) -> Metric:
    """Make a metric, for tables of them."""
    return Metric(name=name, unit=unit, better=better, meaning=meaning)
