"""Rule 12: what a request, a config or a row names is never imported or executed by the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.errors import ProjectFileError
from optaic.ledger import catalog, declaration, runs, search
from optaic.ledger.session import Database
from optaic.lifecycle.complete import complete
from optaic.lifecycle.publish import events_after, relay
from optaic.lifecycle.retry import retry
from optaic.project import read_project
from tests.factories import add_dataset, claim_run, dataset_result, submit_run
from tests.rows import dump

WORDS = ("__import__('os').abort()", "!!python/object/apply:os.abort []", "{0.__class__}", "'; DROP TABLE runs; --")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a module on the path that leaves a trace when it is imported."""
    trace = tmp_path / "trace"
    (tmp_path / "bomb.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield trace
    sys.modules.pop("bomb", None)


def test_the_ledger_imports_nothing_that_it_names(database: Database, bomb: Path) -> None:
    add_dataset(database)
    with database.write() as tx:
        _, version = declaration.put_definition(
            tx,
            code_ref="bomb:explode",
            code_digest="1" * 64,
            params_schema={"open": True},
            distribution=None,
            distribution_version=None,
        )
        flow = catalog.find_flow(tx, "prices")
        declaration.set_flows(tx, flow.instance_id, definition_version_id=version)
    run = submit_run(database)
    held = claim_run(database)
    assert held.task.code_ref == "bomb:explode"
    complete(database, run.id, 1, dataset_result(held))
    retry(database, run.id)
    with database.read() as tx:
        assert len(search.search(tx, search.Search())) == 2
    assert not bomb.exists()
    assert "bomb" not in sys.modules


@pytest.mark.parametrize("word", WORDS)
def test_words_stay_words(database: Database, word: str) -> None:
    add_dataset(database)
    run = submit_run(database, params={"x": word, word: [word]}, idempotency_key=word)
    claim_run(database, worker=word)
    relay(database)
    with database.read() as tx:
        found = runs.get(tx, run.id)
    assert found.params == {"x": word, word: [word]}
    assert found.worker == word
    assert events_after(database, 0)
    assert len(dump(database)["runs"]) == 1


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.abort []",
        "!!python/name:os.abort",
        "!!python/module:bomb",
        "!!python/object/new:bomb.X {}",
    ],
)
def test_a_project_file_makes_no_objects(tmp_path: Path, bomb: Path, tag: str) -> None:
    path = tmp_path / "optaic.yaml"
    path.write_text(
        f"project: p\ninstances:\n  prices:\n    kind: dataset\n    definition: m:f\n    params: {{x: {tag}}}\n"
    )
    with pytest.raises(ProjectFileError):
        read_project(path)
    assert not bomb.exists()
