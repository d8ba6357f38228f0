"""Runs side by side: for each thing that is known of them, their values, and what differs first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optaic.domain.comparison import IDENTICAL, gap_of, is_incidental
from optaic.domain.kind import RunType
from optaic.domain.metric import STANDARD_METRICS, Better

SECTIONS = ("run", "params", "config", "code", "source", "inputs", "environment", "metrics", "artifacts")
"""What is known of a run, in the order in which people look at it."""

RANK_FLOOR = 1e-3
"""Numbers are ranked if they differ by more than 1e-9 of the larger, or of this where both are smaller."""

Facts = Mapping[tuple[str, str], Any]
"""Of one run: values as JSON, by section and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that is known of some runs.

    Attributes
    ----------
    section, name
        What it is.
    values
        Of each run, as JSON; None where it has none.
    present
        Whether each run has it at all.
    is_different
        Whether two of them differ, or have it and have it not.
    better
        Which way a metric is better; None for what has no better.
    best, worst
        The places of the runs that have the best and the worst number, up to rounding; empty where all have the same,
        or none is better.
    difference
        The last value less the first, of two numbers.
    """

    section: str
    name: str
    values: tuple[Any, ...]
    present: tuple[bool, ...]
    is_different: bool
    better: Better | None = None
    best: tuple[int, ...] = ()
    worst: tuple[int, ...] = ()
    difference: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        return {
            "section": self.section,
            "name": self.name,
            "values": list(self.values),
            "present": list(self.present),
            "is_different": self.is_different,
            "better": self.better,
            "best": list(self.best),
            "worst": list(self.worst),
            "difference": self.difference,
        }


def contrast(facts: Sequence[Facts], types: Iterable[RunType] = ()) -> tuple[Row, ...]:
    """Put what is known of some runs side by side.

    Parameters
    ----------
    facts
        Of each run.
    types
        Their types, which say what their metrics mean.

    Returns
    -------
    tuple of Row
        What differs first, then what does not; each in the order of `SECTIONS` and of the first run that has it.
        Durations and the like come last in their section.

    Examples
    --------
    >>> rows = contrast([{("run", "seed"): 0, ("params", "n"): 20}, {("run", "seed"): 0, ("params", "n"): 30}])
    >>> [(row.name, row.values, row.is_different) for row in rows]
    [('n', (20, 30), True), ('seed', (0, 0), False)]
    """
    known = tuple(dict.fromkeys(types))
    names = list(dict.fromkeys(name for one in facts for name in one))
    rows = [_row(section, name, facts, known) for section, name in names]
    rows.sort(
        key=lambda row: (
            not row.is_different,
            SECTIONS.index(row.section),
            row.section == "metrics" and any(is_incidental(row.name, one) for one in known or (None,)),
        )
    )
    return tuple(rows)


def _row(section: str, name: str, facts: Sequence[Facts], types: Sequence[RunType]) -> Row:
    present = tuple((section, name) in one for one in facts)
    values = tuple(one.get((section, name)) for one in facts)
    is_different = len(set(present)) > 1 or any(not _is_same(values[0], value) for value in values[1:])
    better = better_of(name, types) if section == "metrics" else None
    numbers = [_number(value) for value in values]
    best, worst = ((), ()) if better is None else _ends(numbers, better)
    difference = None
    if len(numbers) == 2 and section == "metrics" and numbers[0] is not None and numbers[1] is not None:
        difference = numbers[1] - numbers[0]
    return Row(
        section=section,
        name=name,
        values=values,
        present=present,
        is_different=is_different,
        better=better,
        best=best,
        worst=worst,
        difference=difference,
    )


def _is_same(one: object, other: object) -> bool:
    return gap_of(one, other) == 0.0


def _number(value: object) -> float | None:
    """Take a number that can be ranked; None for all else, NaN too."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return None


def _ends(numbers: Sequence[float | None], better: Better) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give the places of the best and of the worst."""
    ranked = {place: number for place, number in enumerate(numbers) if number is not None}
    if not ranked or _is_rounding(min(ranked.values()), max(ranked.values())):
        return (), ()
    least, most = (
        tuple(place for place, number in ranked.items() if _is_rounding(number, end))
        for end in (min(ranked.values()), max(ranked.values()))
    )
    return (most, least) if better is Better.HIGHER else (least, most)


def _is_rounding(one: float, other: float) -> bool:
    """Whether two numbers are too near to each other for one to be the better."""
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return abs(one - other) <= IDENTICAL * max(abs(one), abs(other), RANK_FLOOR)


def better_of(name: str, types: Iterable[RunType]) -> Better | None:
    """Say which way a metric is better in runs of some types; None where neither way is, or it is no standard metric.

    Examples
    --------
    >>> better_of("duration_seconds", [RunType.PIPELINE])
    <Better.LOWER: 'lower'>
    """
    for one in types:
        for metric in STANDARD_METRICS.get(one, ()):
            if metric.name == name and metric.better is not Better.NEITHER:
                return metric.better
    return None
