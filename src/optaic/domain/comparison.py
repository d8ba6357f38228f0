"""What a reproduction says of its original: identical, within tolerance, or different, and where."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from optaic.domain.kind import RunType
from optaic.domain.metric import STANDARD_METRICS, Unit
from optaic.domain.reason import Reason

IDENTICAL = 1e-9
"""Numbers whose relative difference is not larger are identical."""

TOLERANCE = 1e-6
"""Numbers whose relative difference is not larger are within tolerance: other machines round otherwise."""

FLOOR = 1e-6
"""Differences in a column are relative to no less than this share of its largest magnitude: what is left of a sum that
cancels out is rounding, however large it is for itself."""

MAX_PLACES = 100
"""How many places are told; further ones are counted."""

MEDIA_TYPE = "application/vnd.optaic.comparison+json"
"""By which the file that holds a comparison is known among a run's artifacts."""


class Verdict(StrEnum):
    """How a reproduction compares with its original; an earlier one is better."""

    IDENTICAL = "identical"
    """Every value is the same, or a number within 1e-9."""
    WITHIN_TOLERANCE = "within_tolerance"
    """Some numbers differ by more than 1e-9, none by more than 1e-6, and nothing else differs."""
    DIFFERENT = "different"
    """Something else differs."""


class Part(StrEnum):
    """What of a run a place is in, in the order in which places are told."""

    END = "end"
    DATASET = "dataset"
    ARTIFACT = "artifact"
    METRIC = "metric"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a reproduction and its original differ.

    Attributes
    ----------
    part
        What of the run it is in.
    name
        The artifact, the metric, or `changes` for what a dataset's refresh changed.
    column
        The column of a table, or the path in a document; None where the thing as a whole differs.
    key
        The first row that differs: its key, or `{"row": n}` (from 0) in a table without one.
    original, reproduction
        Both values there, as JSON; of what one of them lacks, None and a note.
    gap
        The largest relative difference of the column; None where a value is no number, or is missing.
    count
        How many values of the column differ.
    note
        What cannot be seen from the values.
    """

    part: Part
    name: str
    column: str | None = None
    key: Mapping[str, Any] | None = None
    original: Any = None
    reproduction: Any = None
    gap: float | None = None
    count: int = 1
    note: str | None = None

    @property
    def verdict(self) -> Verdict:
        """What it makes of the whole."""
        return verdict_of(self.gap)

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        return {
            "part": self.part,
            "name": self.name,
            "column": self.column,
            "key": None if self.key is None else dict(self.key),
            "original": self.original,
            "reproduction": self.reproduction,
            "relative_difference": self.gap,
            "count": self.count,
            "note": self.note,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A reproduction compared with its original.

    Attributes
    ----------
    verdict
        The worst of its places; identical if there is none.
    places
        Where they differ, the worst first; at most `MAX_PLACES`.
    place_count
        How many there are.
    largest_difference
        The largest relative difference of all numbers, also of those that count as identical.
    compared
        What was compared, by name.
    left_out
        What was not, by name, and why.
    """

    verdict: Verdict
    places: tuple[Place, ...]
    place_count: int
    largest_difference: float
    compared: tuple[str, ...] = ()
    left_out: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        return {
            "verdict": self.verdict,
            "places": [place.to_json() for place in self.places],
            "place_count": self.place_count,
            "largest_difference": self.largest_difference,
            "compared": list(self.compared),
            "left_out": dict(self.left_out),
        }


def conclude(
    found: Iterable[Place], *, compared: Sequence[str] = (), left_out: Mapping[str, str] | None = None
) -> Comparison:
    """Make a comparison of what was found, numbers that count as identical included.

    Examples
    --------
    >>> conclude([Place(part=Part.METRIC, name="ic", original=1.0, reproduction=1.0 + 1e-8, gap=1e-8)]).verdict
    <Verdict.WITHIN_TOLERANCE: 'within_tolerance'>
    """
    all_found = list(found)
    order = list(Part)
    places = [place for place in all_found if place.verdict is not Verdict.IDENTICAL]
    places.sort(key=lambda place: (place.verdict is not Verdict.DIFFERENT, order.index(place.part)))
    return Comparison(
        verdict=places[0].verdict if places else Verdict.IDENTICAL,
        places=tuple(places[:MAX_PLACES]),
        place_count=len(places),
        largest_difference=max((place.gap for place in all_found if place.gap is not None), default=0.0),
        compared=tuple(compared),
        left_out=dict(left_out or {}),
    )


def verdict_of(gap: float | None) -> Verdict:
    """Judge a relative difference; None, of what has none, is different.

    Examples
    --------
    >>> [str(verdict_of(gap)) for gap in (0.0, 1e-9, 1e-6, 2e-6, None)]
    ['identical', 'identical', 'within_tolerance', 'different', 'different']
    """
    if gap is None or not gap <= TOLERANCE:
        return Verdict.DIFFERENT
    return Verdict.IDENTICAL if gap <= IDENTICAL else Verdict.WITHIN_TOLERANCE


def gap_of(one: object, other: object) -> float | None:
    """Give the relative difference of two values: |a - b| / max(|a|, |b|).

    Returns
    -------
    float or None
        0.0 for values that are equal, NaN and NaN too; None for others that are not both finite numbers, and for two
        different whole numbers (`int`): counts are right or wrong.

    Examples
    --------
    >>> gap_of(2.0, 1.0), gap_of("a", "a"), gap_of(3, 4), gap_of(None, 1.0)
    (0.5, 0.0, None, None)
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return 0.0 if one is other else None
    if isinstance(one, str) and isinstance(other, str):
        return 0.0 if one == other else None  # also a member of an enumeration with what the ledger made of it
    if not isinstance(one, int | float) or not isinstance(other, int | float):
        return 0.0 if type(one) is type(other) and one == other else None
    if one == other or (one != one and other != other):  # noqa: PLR0124 - NaN is not equal to itself
        return 0.0
    if isinstance(one, int) and isinstance(other, int):
        return None
    gap = abs(one / 2 - other / 2) / max(abs(one) / 2, abs(other) / 2) if math.isfinite(one - other) else math.inf
    return gap if math.isfinite(gap) else None


def compare_ends(original: tuple[str, Reason | None], reproduction: tuple[str, Reason | None]) -> Comparison:
    """Compare how two runs ended of which one at least has no outputs: by status, then by reason.

    Parameters
    ----------
    original, reproduction
        The status, and why.
    """
    places: list[Place] = []
    (status, reason), (other_status, other_reason) = original, reproduction
    if status != other_status:
        places.append(Place(part=Part.END, name="status", original=status, reproduction=other_status))
    pairs = (("reason", "code"), ("message", "message"))
    for name, field in pairs:
        one, other = (None if why is None else getattr(why, field) for why in (reason, other_reason))
        if one != other:
            places.append(Place(part=Part.END, name=name, original=one, reproduction=other))
            break
    return conclude(places, compared=["status", "reason"])


def compare_metrics(run_type: RunType, original: Mapping[str, Any], reproduction: Mapping[str, Any]) -> Iterator[Place]:
    """Compare metrics by name, in the original's order; figures of time and of the machine's work are left aside.

    Yields
    ------
    Place
        Where values differ, however little.
    """
    for name in [*original, *(name for name in reproduction if name not in original)]:
        if is_incidental(name, run_type):
            continue
        if name not in original or name not in reproduction:
            where = "original" if name in original else "reproduction"
            yield Place(
                part=Part.METRIC,
                name=name,
                original=original.get(name),
                reproduction=reproduction.get(name),
                note=f"only in the {where}",
            )
            continue
        one, other = original[name], reproduction[name]
        gap = gap_of(one, other)
        if gap != 0.0:
            yield Place(part=Part.METRIC, name=name, original=one, reproduction=other, gap=gap)


def compare_documents(name: str, original: object, reproduction: object, path: str = "") -> Iterator[Place]:
    """Compare two JSON documents, value by value; what `is_incidental` is left aside.

    Yields
    ------
    Place
        Where values differ, however little; `column` is the path, such as `folds[2].ic`.
    """
    if isinstance(original, dict) and isinstance(reproduction, dict):
        mine, theirs = cast("dict[str, object]", original), cast("dict[str, object]", reproduction)
        for key in [*mine, *(key for key in theirs if key not in mine)]:
            if is_incidental(key):
                continue
            inner = f"{path}.{key}" if path else key
            if key in mine and key in theirs:
                yield from compare_documents(name, mine[key], theirs[key], inner)
            else:
                where = "original" if key in mine else "reproduction"
                yield _of_document(name, inner, mine.get(key), theirs.get(key), note=f"only in the {where}")
        return
    if isinstance(original, list) and isinstance(reproduction, list):
        items, others = cast("list[object]", original), cast("list[object]", reproduction)
        if len(items) != len(others):
            yield _of_document(name, path, len(items), len(others), note="how many items it has")
        for number, (item, other) in enumerate(zip(items, others, strict=False)):
            yield from compare_documents(name, item, other, f"{path}[{number}]")
        return
    one, other = cast("object", original), reproduction
    gap = gap_of(one, other)
    if gap != 0.0:
        yield _of_document(name, path, one, other, gap=gap)


def _of_document(
    name: str, path: str, original: object, reproduction: object, *, gap: float | None = None, note: str | None = None
) -> Place:
    return Place(
        part=Part.ARTIFACT,
        name=name,
        column=path or None,
        original=original,
        reproduction=reproduction,
        gap=gap,
        note=note,
    )


def is_incidental(name: str, run_type: RunType | None = None) -> bool:
    """Whether a figure tells of the execution and not of its result: durations, instants, bytes processed.

    These are names that end in `_seconds`, `_ms` or `_at`, and the standard metrics of a run type that are counted in
    seconds or bytes.

    Examples
    --------
    >>> is_incidental("fit_seconds"), is_incidental("bytes_processed", RunType.PIPELINE), is_incidental("ic")
    (True, True, False)
    """
    if name.endswith(("_seconds", "_ms", "_at")):
        return True
    metrics = () if run_type is None else STANDARD_METRICS.get(run_type, ())
    return any(metric.name == name and metric.unit in (Unit.SECONDS, Unit.BYTES) for metric in metrics)
