"""A mistake in what is given to track() is told as one, with what to do, and nothing is recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optaic.errors import InvalidInputError
from tests.projects import Project, open_project


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url) as project:
        yield project


MISTAKES: list[dict[str, Any]] = [
    {"params": {"x": object}},
    {"params": {"x": {3}}},
    {"params": {"x": b"x"}},
    {"params": {1: 2}},
    {"params": 3},
    {"params": {"x": dt.datetime(2024, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)}},
    {"seed": 2**63},
    {"seed": -1},
    {"seed": 1.5},
    {"seed": "x"},
    {"seed": None},
    {"as_of": "soon"},
    {"inputs": 3},
    {"inputs": {"a": 3}},
    {"inputs": [["x"]]},
    {"inputs": {3: "market"}},
    {"inputs": {"": "market"}},
    {"inputs": "market@99999999999999999999"},
]


@pytest.mark.parametrize("given", MISTAKES, ids=str)
def test_a_mistake_is_told_and_nothing_is_recorded(project: Project, given: dict[str, Any]) -> None:
    before = project.dump()
    with pytest.raises(InvalidInputError) as told, project.ledger.track("idea", **given):
        pass
    assert told.value.next_step
    assert project.dump() == before


def test_params_may_hold_dates_and_large_numbers(project: Project) -> None:
    params = {"start": dt.date(2024, 1, 1), "at": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "days": (1, 2), "n": 2**70}
    with project.ledger.track("idea", params=params) as run:
        run.log_metric("ic", 0.1)
    recorded = {"start": "2024-01-01", "at": "2024-01-01T00:00:00+00:00", "days": [1, 2], "n": 2**70}
    assert project.ledger.get(run.id).params == recorded
