"""Runs side by side: what differs first, and which is best."""

from __future__ import annotations

import math

import pytest

from optaic.domain.contrast import Row, contrast
from optaic.domain.kind import RunType

PIPELINE = [RunType.PIPELINE]


def by_name(rows: tuple[Row, ...]) -> dict[str, Row]:
    return {row.name: row for row in rows}


def test_what_differs_comes_first_in_the_order_of_the_sections() -> None:
    one = {("metrics", "ic"): 1.0, ("params", "n"): 1, ("run", "seed"): 0, ("run", "mode"): "full"}
    other = {("metrics", "ic"): 2.0, ("params", "n"): 1, ("run", "seed"): 0, ("run", "mode"): "incremental"}
    rows = contrast([one, other])
    assert [(row.name, row.is_different) for row in rows] == [
        ("mode", True),
        ("ic", True),
        ("seed", False),
        ("n", False),
    ]


def test_durations_come_last_among_the_metrics() -> None:
    one = {("metrics", "duration_seconds"): 1.0, ("metrics", "rows_fetched"): 1, ("artifacts", "a"): "x"}
    other = {("metrics", "duration_seconds"): 2.0, ("metrics", "rows_fetched"): 2, ("artifacts", "a"): "y"}
    assert [row.name for row in contrast([one, other], PIPELINE)] == ["rows_fetched", "duration_seconds", "a"]


def test_to_have_something_and_to_have_it_not_differ() -> None:
    row = by_name(contrast([{("params", "n"): None}, {}]))["n"]
    assert (row.values, row.present, row.is_different) == ((None, None), (True, False), True)


def test_the_best_and_the_worst_are_marked_where_one_way_is_better() -> None:
    facts = [
        {("metrics", "duration_seconds"): value, ("metrics", "rows_fetched"): value}
        for value in (3.0, 1.0, math.nan, 3.0)
    ]
    rows = by_name(contrast([*facts, {}], PIPELINE))
    assert (rows["duration_seconds"].best, rows["duration_seconds"].worst) == ((1,), (0, 3))
    assert (rows["rows_fetched"].best, rows["rows_fetched"].worst) == ((), ())
    equal = by_name(contrast(facts[:1] * 2, PIPELINE))["duration_seconds"]
    assert (equal.best, equal.worst, equal.is_different) == ((), (), False)


def test_two_runs_have_a_difference_second_less_first() -> None:
    rows = by_name(contrast([{("metrics", "ic"): 0.5, ("metrics", "d"): "a"}, {("metrics", "ic"): 0.25}]))
    assert rows["ic"].difference == -0.25
    assert rows["d"].difference is None
    three = contrast([{("metrics", "ic"): 0.5}] * 3)
    assert three[0].difference is None


@pytest.mark.parametrize(
    ("values", "best", "worst"),
    [
        ((0.0, 2e-16), (), ()),  # what a solver leaves of a constraint
        ((1.0, 1.0 + 1e-10), (), ()),
        ((1.0, 1.0 + 1e-8), (0,), (1,)),
        ((1e-7, 2e-7), (0,), (1,)),
        ((2.0, 1.0, 1.0 + 1e-12), (1, 2), (0,)),
    ],
)
def test_what_differs_by_rounding_alone_is_neither_best_nor_worst(
    values: tuple[float, ...], best: tuple[int, ...], worst: tuple[int, ...]
) -> None:
    facts = [{("metrics", "constraint_residual"): value} for value in values]
    [row] = contrast(facts, [RunType.PORTFOLIO_OPTIMIZATION])
    assert (row.best, row.worst) == (best, worst)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (RunType.BACKTEST, "sharpe_ratio_standard_error"),
        (RunType.BACKTEST, "tracking_error"),
        (RunType.MONITORING, "sharpe_ratio_standard_error"),
        (RunType.PORTFOLIO_OPTIMIZATION, "effective_n"),
        (RunType.PORTFOLIO_OPTIMIZATION, "concentration"),
        (RunType.PORTFOLIO_OPTIMIZATION, "iterations"),
    ],
)
def test_what_describes_a_run_and_makes_it_no_better_is_not_ranked(kind: RunType, name: str) -> None:
    [row] = contrast([{("metrics", name): 1.0}, {("metrics", name): 2.0}], [kind])
    assert (row.better, row.best, row.worst, row.difference) == (None, (), (), 1.0)
