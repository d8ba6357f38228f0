"""Rule 5: outputs are written before they are referenced, under keys that are never overwritten."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optaic.domain.artifact import Artifact, attempt_prefix
from optaic.domain.reason import Reason
from optaic.errors import LeaseLostError, ObjectExistsError
from optaic.ledger import versions
from optaic.ledger.session import Database
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.gc import find_garbage, remove
from optaic.lifecycle.rescue import rescue
from optaic.storage.objects import ObjectStore, open_store
from tests.factories import add_dataset, claim_run, dataset_result, submit_run

AGE = dt.timedelta(days=1)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "objects"))


def write(store: ObjectStore, database: Database, run_id: object, attempt: int, text: bytes) -> Artifact:
    """Write an artifact as an attempt does: the bytes, and no word of it in the ledger."""
    import uuid

    key = f"{attempt_prefix(database.tenant_id, uuid.UUID(str(run_id)), attempt)}/notes.txt"
    return Artifact(name="notes.txt", kind="file", media_type="text/plain", stored=store.put(key, text))


def visible(database: Database) -> set[str]:
    with database.read() as tx:
        return versions.referenced_keys(tx)


def garbage(database: Database, store: ObjectStore) -> set[str]:
    later = dt.datetime.now(dt.UTC) + 2 * AGE
    return {item.key for item in find_garbage(database, store, grace=AGE, now=later).orphans}


def test_what_an_attempt_wrote_is_invisible_until_its_run_completes(database: Database, store: ObjectStore) -> None:
    add_dataset(database)
    run = submit_run(database)
    held = claim_run(database)
    artifact = write(store, database, run.id, 1, b"one")
    assert artifact.stored.key not in visible(database)
    assert garbage(database, store) == set()
    complete(database, run.id, 1, replace(dataset_result(held), artifacts=(artifact,)))
    assert artifact.stored.key in visible(database)
    assert store.get(artifact.stored) == b"one"


def test_what_a_failed_run_wrote_stays_invisible_and_is_removed_after_the_grace(
    database: Database, store: ObjectStore
) -> None:
    add_dataset(database)
    run = submit_run(database)
    claim_run(database)
    artifact = write(store, database, run.id, 1, b"half")
    end_attempt(database, run.id, 1, Reason(code="flow_error", message="no", next_step="mend it"))
    assert visible(database) == set()
    now = dt.datetime.now(dt.UTC)
    assert find_garbage(database, store, grace=AGE, now=now).orphans == ()
    found = find_garbage(database, store, grace=AGE, now=now + 2 * AGE).orphans
    assert [item.key for item in found] == [artifact.stored.key]
    remove(store, found)
    assert list(store.list()) == []


def test_a_late_attempt_cannot_write_over_the_one_that_completed(database: Database, store: ObjectStore) -> None:
    add_dataset(database, policies={"retry": {"backoff_seconds": 0.0}})
    run = submit_run(database)
    late = claim_run(database, lease=dt.timedelta(seconds=-1))
    lost = write(store, database, run.id, 1, b"late")
    rescue(database)
    held = claim_run(database)
    kept = write(store, database, run.id, 2, b"kept")
    complete(database, run.id, 2, replace(dataset_result(held), artifacts=(kept,)))
    with pytest.raises(LeaseLostError):
        complete(database, run.id, 1, replace(dataset_result(late), artifacts=(lost,)))
    with pytest.raises(ObjectExistsError):
        write(store, database, run.id, 2, b"again")
    assert store.get(kept.stored) == b"kept"
    assert lost.stored.key not in visible(database)
    assert garbage(database, store) == {lost.stored.key}
