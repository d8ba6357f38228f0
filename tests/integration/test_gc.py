"""What `gc` removes, and above all what it does not."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.domain.artifact import Artifact, attempt_prefix
from optaic.domain.reason import Reason
from optaic.flows.task import Result
from optaic.ledger.session import Database
from optaic.lifecycle.claim import Claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.gc import find_garbage, remove
from optaic.storage.objects import Listed, ObjectStore, open_store
from tests.factories import add_dataset, claim_run, dataset_result, submit_run

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "objects"))


def later() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + 2 * HOUR


def write_file(store: ObjectStore, held: Claim, name: str = "scores.parquet") -> Artifact:
    stored = store.put(f"{attempt_prefix(1, held.run.id, held.attempt)}/{name}", b"bytes of a file")
    return Artifact(name=name, kind="file", media_type="application/octet-stream", stored=stored)


def finish(database: Database, held: Claim, *files: Artifact) -> None:
    change = dataset_result(held).dataset
    complete(database, held.run.id, held.attempt, Result(artifacts=files, dataset=change))


def fail(database: Database, held: Claim) -> None:
    reason = Reason(code="flow_error", message="ValueError: no", next_step="look at its log")
    end_attempt(database, held.run.id, held.attempt, reason)


def garbage(database: Database, store: ObjectStore) -> list[str]:
    return sorted(item.key for item in find_garbage(database, store, grace=HOUR, now=later()).orphans)


def test_only_files_of_runs_that_did_not_complete_are_garbage(database: Database, store: ObjectStore) -> None:
    add_dataset(database)
    submit_run(database)
    kept = claim_run(database)
    finish(database, kept, write_file(store, kept))
    submit_run(database)
    failed = claim_run(database)
    lost = write_file(store, failed)
    segment_key = f"t1/datasets/prices/{failed.run.id}-1-0.parquet"
    store.put(segment_key, b"rows")
    fail(database, failed)
    assert garbage(database, store) == sorted([lost.stored.key, segment_key])

    found = find_garbage(database, store, grace=HOUR, now=later())
    assert remove(store, found.orphans) == 2
    assert garbage(database, store) == []
    assert [item.key for item in store.list()] == [f"{attempt_prefix(1, kept.run.id, 1)}/scores.parquet"]


def test_files_of_runs_that_are_pending_or_running_are_left(database: Database, store: ObjectStore) -> None:
    add_dataset(database)
    run = submit_run(database)
    store.put(f"{attempt_prefix(1, run.id, 1)}/of-an-earlier-attempt.txt", b"x")
    assert garbage(database, store) == []
    held = claim_run(database)
    write_file(store, held)
    assert garbage(database, store) == []
    fail(database, held)
    assert len(garbage(database, store)) == 2


def test_young_files_are_left(database: Database, store: ObjectStore) -> None:
    add_dataset(database)
    submit_run(database)
    held = claim_run(database)
    write_file(store, held)
    fail(database, held)
    found = find_garbage(database, store, grace=HOUR, now=dt.datetime.now(dt.UTC))
    assert (found.orphans, found.young_count) == ((), 1)


def test_a_run_that_completes_while_gc_looks_keeps_its_files(database: Database, store: ObjectStore) -> None:
    add_dataset(database)
    submit_run(database)
    held = claim_run(database)
    written = write_file(store, held)

    class CompletingStore(ObjectStore):
        """The same folder; the run completes after its files were listed and before the references are read."""

        def list(self, prefix: str = "") -> Iterator[Listed]:
            yield from super().list(prefix)
            finish(database, held, written)

    listing = CompletingStore(store._backend, url=store.url, root=store.root)
    found = find_garbage(database, listing, grace=HOUR, now=later())
    assert found.orphans == ()


def test_objects_that_no_run_writes_are_never_touched(database: Database, store: ObjectStore) -> None:
    store.put("t1/sources/0123abcd.tar.gz", b"a snapshot that the next apply may refer to")
    store.put("t1/notes/readme.txt", b"somebody's own")
    store.put("t2/runs/01999999-0000-7000-8000-000000000000/1/other-tenant.txt", b"not ours")
    found = find_garbage(database, store, grace=HOUR, now=later())
    assert (found.orphans, found.unknown_count, found.objects) == ((), 2, 2)


def test_unfinished_files_of_killed_writers_are_removed(database: Database, store: ObjectStore) -> None:
    path = store.scratch_path(".parquet")
    path.write_bytes(b"half a fi")
    old = dt.datetime.now(dt.UTC).timestamp() - 7_200
    os.utime(path, (old, old))
    found = find_garbage(database, store, grace=HOUR, now=dt.datetime.now(dt.UTC))
    assert [item.size_bytes for item in found.orphans] == [9]
    remove(store, found.orphans)
    assert not path.exists()
