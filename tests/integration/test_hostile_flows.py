"""What a flow claims is believed only after a look; what does not fit the ledger fails its run, not the worker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from optaic.domain.artifact import Artifact, StoredObject, attempt_prefix
from optaic.domain.reason import Reason
from optaic.errors import InvalidInputError, InvalidOutputError
from optaic.flows.task import Result
from optaic.ledger import attempts, runs, versions
from optaic.ledger.attempts import Report
from optaic.ledger.session import Database
from optaic.ledger.tables import pipeline_runs
from optaic.lifecycle.claim import Claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.reading import to_instant
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, segment, submit_run

NOW = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def held(database: Database) -> Claim:
    add_dataset(database)
    submit_run(database)
    return claim_run(database)


def artifact(name: str, key: str) -> Artifact:
    stored = StoredObject(key=key, size_bytes=1, sha256="0" * 64)
    return Artifact(name=name, kind="file", media_type="text/plain", stored=stored)


@pytest.mark.parametrize(
    "key", ["t2/datasets/secret/x.parquet", "/etc/passwd", "../../x.parquet", "t1/datasets/prices/other-1-1.parquet"]
)
def test_a_version_refers_to_nothing_but_what_its_attempt_wrote(database: Database, held: Claim, key: str) -> None:
    result = dataset_result(held)
    assert result.dataset is not None
    forged = replace(result, dataset=replace(result.dataset, segments=(segment(key),)))
    with pytest.raises(InvalidOutputError):
        complete(database, held.run.id, 1, forged)
    with database.read() as tx:
        assert versions.referenced_keys(tx) == set()


def test_artifacts_of_other_folders_and_names_used_twice_are_refused(database: Database, held: Claim) -> None:
    own = attempt_prefix(1, held.run.id, 1)
    for items in (
        (artifact("notes.txt", "../../etc/passwd"),),
        (artifact("notes.txt", f"{own}/other.txt"),),
        (artifact("notes.txt", f"{own}/notes.txt"), artifact("notes.txt", f"{own}/notes.txt")),
    ):
        with pytest.raises(InvalidOutputError):
            complete(database, held.run.id, 1, replace(dataset_result(held), artifacts=items))


def test_a_metric_may_have_any_name_and_reaches_no_column_of_its_own(database: Database, held: Claim) -> None:
    result = dataset_result(held)
    named: Result = replace(result, metrics={**result.metrics, "tenant_id": 7.0, "base_version_id": 1.0, "run_id": 2.0})
    done = complete(database, held.run.id, 1, named)
    assert done.metrics["tenant_id"] == 7.0
    with database.read() as tx:
        row = tx.conn.execute(select(pipeline_runs).where(pipeline_runs.c.run_id == held.run.id)).one()
    assert (row.tenant_id, row.base_version_id, row.rows_inserted) == (1, None, 1)


def test_notes_lines_and_reasons_with_odd_characters_are_kept_as_far_as_they_can_be(
    database: Database, held: Claim
) -> None:
    report = Report(
        progress=(5.0, "n\0" + "x" * 600),
        lines=[{"at": NOW.isoformat(), "level": "INFO", "stream": "log", "text": "a\0b\ud800c"}],
    )
    with database.write() as tx:
        attempts.renew(tx, held.run.id, 1, LEASE)
        attempts.write_report(tx, held.run.id, 1, report, position=0)
    end_attempt(database, held.run.id, 1, Reason(code="flow_error", message="bad\0byte \udcff", next_step="mend it"))
    with database.read() as tx:
        ended = runs.get(tx, held.run.id)
        ((_, _, lines),) = attempts.lines_after(tx, held.run.id)
    assert ended.reason is not None
    assert ended.reason.message == "bad\ufffdbyte \ufffd"
    assert ended.progress_note is not None
    assert len(ended.progress_note) == 500
    assert lines[0]["text"] == "a\ufffdb\ufffdc"


def test_the_last_value_of_each_of_many_metrics_is_read(database: Database, held: Claim) -> None:
    points = [(f"m{number % 3000}", number, float(number), NOW) for number in range(6000)]
    with database.write() as tx:
        attempts.renew(tx, held.run.id, 1, LEASE)
        attempts.write_report(tx, held.run.id, 1, Report(points=points), position=0)
        last = attempts.last_values(tx, held.run.id, 1)
    assert last == {f"m{number}": float(number + 3000) for number in range(3000)}


def test_rows_known_before_the_year_1000_can_be_read_again(database: Database, held: Claim) -> None:
    result = dataset_result(held)
    assert result.dataset is not None
    old = replace(result.dataset.segments[0], first_known_at=dt.datetime(900, 1, 2, tzinfo=dt.UTC))
    complete(database, held.run.id, 1, replace(result, dataset=replace(result.dataset, segments=(old,))))
    submit_run(database)
    again = claim_run(database)
    assert again.task.current is not None
    assert again.task.current.segments[0].first_known_at == dt.datetime(900, 1, 2, tzinfo=dt.UTC)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-05:00"])
def test_an_instant_at_the_end_of_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="too far away"):
        to_instant(text)


def test_a_version_has_the_key_that_its_run_was_submitted_with(
    database_url: str, tmp_path: Path, database: Database
) -> None:
    from optaic.lifecycle.apply import apply
    from optaic.project import read_project
    from optaic.storage.objects import open_store

    (tmp_path / "sources.py").write_text("def prices(ctx):\n    ...\n")
    store = open_store(str(tmp_path / "objects"))

    def declare(key: str) -> None:
        path = tmp_path / "optaic.yaml"
        path.write_text(
            f"project: p\ninstances:\n  d: {{kind: dataset, definition: 'sources:prices', key: [date, {key}]}}\n"
        )
        apply(database, store, read_project(path))

    declare("symbol")
    submit_run(database, "d")
    held = claim_run(database)
    declare("venue")
    complete(database, held.run.id, 1, dataset_result(held))
    submit_run(database, "d")
    current = claim_run(database).task.current
    assert current is not None
    assert current.key_columns == ("date", "symbol")
