"""Reading datasets: wrong arguments are refused, because to a notebook they would look like an empty answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optaic.errors import InvalidInputError
from optaic.reading import read_dataset
from tests.projects import open_project


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"symbols": "AAPL"}, "symbols is the text 'AAPL'"),
        ({"symbols": ["AAPL", 1]}, "1 in symbols is no text"),
        ({"symbols": 3}, "symbols is 3"),
        ({"start": "2024-02-01", "end": "2024-01-01"}, "start 2024-02-01 is after end 2024-01-01"),
    ],
)
def test_arguments_that_would_select_nothing_are_refused(
    tmp_path: Path, database_url: str, wrong: dict[str, Any], said: str
) -> None:
    given: dict[str, Any] = dict.fromkeys(("version", "as_of", "columns", "start", "end", "symbols"))
    with (
        open_project(tmp_path / "project", database_url) as project,
        pytest.raises(InvalidInputError) as raised,
    ):
        read_dataset(project.ledger.runtime, "prices", **{**given, **wrong})
    assert said in raised.value.message
    assert raised.value.next_step
