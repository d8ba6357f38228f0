"""Text that no database takes is refused before anything is written, wherever it comes in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from optaic.client import Ledger
from optaic.errors import InvalidInputError
from tests.projects import open_project

WAYS: list[Callable[[Ledger, str], object]] = [
    lambda ledger, bad: ledger.submit("waits", idempotency_key=bad),
    lambda ledger, bad: ledger.submit(bad),
    lambda ledger, bad: ledger.submit(bad, idempotency_key="k"),
    lambda ledger, bad: ledger.submit("waits", params={"tag": bad}),
    lambda ledger, bad: ledger.runs(where=f"{bad} > 1"),
    lambda ledger, bad: ledger.runs(sort=bad),
    lambda ledger, bad: ledger.runs(instance=bad),
    lambda ledger, bad: ledger.get(f"{bad}@latest"),
    lambda ledger, bad: ledger.data(bad),
    lambda ledger, bad: ledger.versions(bad),
    lambda ledger, bad: ledger.track(bad).__enter__(),
    lambda ledger, bad: ledger.track("idea", params={"x": [bad]}).__enter__(),
]


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"], ids=["nul", "surrogate"])
def test_it_is_refused_everywhere(tmp_path: Path, database_url: str, bad: str) -> None:
    with open_project(tmp_path / "project", database_url) as project:
        project.declare("waits")
        before = project.dump()
        for ask in WAYS:
            with pytest.raises(InvalidInputError) as caught:
                ask(project.ledger, bad)
            caught.value.message.encode()
        assert project.dump() == before
