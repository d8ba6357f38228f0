"""Verdicts: identical within 1e-9, within tolerance up to 1e-6, else different, and where."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.comparison import (
    MAX_PLACES,
    Part,
    Place,
    Verdict,
    compare_documents,
    compare_ends,
    compare_metrics,
    conclude,
    gap_of,
    is_incidental,
)
from optaic.domain.kind import RunType
from optaic.domain.reason import Reason

FAILED = Reason(code="flow_error", message="ValueError: no", next_step="look")


@pytest.mark.parametrize(
    ("one", "other", "gap"),
    [
        (1.0, 1.0, 0.0),
        (100.0, 99.0, 0.01),
        (-100.0, -99.0, 0.01),
        (1.0, -1.0, 2.0),
        (0.0, -0.0, 0.0),
        (2, 2.0, 0.0),
        (2, 3, None),
        (2, 2.5, 0.2),
        (math.nan, math.nan, 0.0),
        (math.nan, 1.0, None),
        (math.inf, math.inf, 0.0),
        (math.inf, 1e308, None),
        (1e308, -1e308, None),
        (None, None, 0.0),
        (None, 0.0, None),
        ("a", "b", None),
        (True, 1, None),
        (True, True, 0.0),
    ],
)
def test_the_relative_difference_of_two_values(one: object, other: object, gap: float | None) -> None:
    assert gap_of(one, other) == gap
    assert gap_of(other, one) == gap


@given(st.floats(), st.floats())
def test_a_relative_difference_is_a_number_from_0_to_2_or_none(one: float, other: float) -> None:
    gap = gap_of(one, other)
    assert gap is None or 0.0 <= gap <= 2.0
    assert gap == gap_of(other, one)


def test_metrics_are_compared_by_name_and_durations_are_not() -> None:
    original = {"ic": 0.5, "rows_fetched": 10, "duration_seconds": 1.0, "bytes_processed": 7, "latency_ms": 3.0}
    same = {"rows_fetched": 10, "ic": 0.5, "duration_seconds": 9.0, "bytes_processed": 8, "latency_ms": 4.0}
    assert list(compare_metrics(RunType.PIPELINE, original, same)) == []
    other = {"ic": 0.75, "rows_fetched": 11, "hits": 1.0}
    found = {place.name: place for place in compare_metrics(RunType.PIPELINE, original, other)}
    assert list(found) == ["ic", "rows_fetched", "hits"]
    assert found["ic"].gap == pytest.approx(1 / 3)
    assert found["rows_fetched"].gap is None
    assert (found["hits"].original, found["hits"].note) == (None, "only in the reproduction")


def test_a_verdict_is_the_word_that_the_ledger_has_of_it() -> None:
    again = {"verdict": Verdict.IDENTICAL}
    assert list(compare_metrics(RunType.MONITORING, {"verdict": "identical"}, again)) == []
    assert len(list(compare_metrics(RunType.MONITORING, {"verdict": "different"}, again))) == 1


def test_only_a_pipelines_bytes_are_the_machines() -> None:
    assert is_incidental("bytes_processed", RunType.PIPELINE)
    assert not is_incidental("bytes_processed", RunType.BACKTEST)
    assert is_incidental("started_at")
    assert not is_incidental("seconds")


def test_documents_are_compared_value_by_value_with_the_path() -> None:
    original: dict[str, Any] = {"folds": [{"ic": 0.1, "at": "x", "took_seconds": 1}, {"ic": 0.2}], "n": 2, "gone": None}
    other: dict[str, Any] = {"folds": [{"ic": 0.1, "at": "x", "took_seconds": 2}, {"ic": 0.4}, {}], "n": 3, "new": 1}
    found = {place.column: place for place in compare_documents("cv.json", original, other)}
    assert list(found) == ["folds", "folds[1].ic", "n", "gone", "new"]
    assert found["folds[1].ic"].gap == 0.5
    assert (found["folds"].original, found["folds"].reproduction) == (2, 3)
    assert found["gone"].note == "only in the original"
    assert list(compare_documents("cv.json", original, original)) == []


def test_ends_are_compared_by_status_and_reason() -> None:
    assert compare_ends(("failed", FAILED), ("failed", FAILED)).verdict == "identical"
    other = compare_ends(("failed", FAILED), ("completed", None))
    assert [(place.name, place.original, place.reproduction) for place in other.places] == [
        ("status", "failed", "completed"),
        ("reason", "flow_error", None),
    ]
    said = Reason(code="flow_error", message="ValueError: yes", next_step="look")
    assert [place.name for place in compare_ends(("failed", FAILED), ("failed", said)).places] == ["message"]


def place(gap: float | None, name: str = "x", part: Part = Part.METRIC) -> Place:
    return Place(part=part, name=name, gap=gap)


def test_the_worst_place_decides_and_comes_first() -> None:
    told = conclude([place(1e-7, "near"), place(None, "off"), place(1e-10, "same"), place(0.5, "far", Part.DATASET)])
    assert told.verdict == "different"
    assert [one.name for one in told.places] == ["far", "off", "near"]
    assert (told.place_count, told.largest_difference) == (3, 0.5)
    assert conclude([place(1e-7), place(1e-10)]).verdict == "within_tolerance"
    within = conclude([place(1e-10), place(1e-9)])
    assert (within.verdict, within.places, within.largest_difference) == ("identical", (), 1e-9)
    assert conclude([]).verdict == "identical"


def test_many_places_are_counted_and_the_first_are_told() -> None:
    told = conclude(place(None, str(number)) for number in range(MAX_PLACES + 5))
    assert (len(told.places), told.place_count) == (MAX_PLACES, MAX_PLACES + 5)
    assert len(told.to_json()["places"]) == MAX_PLACES
