"""What cannot be reproduced is said in words, and nothing is lost: lost sources, other environments, tracked runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from optaic.engines.process import ForkServer
from optaic.engines.supervise import supervise
from optaic.errors import ConflictError, InvalidInputError, StorageError
from optaic.handle import RunHandle
from optaic.ledger import versions
from optaic.ledger.tables import source_snapshots
from optaic.lifecycle.claim import claim
from optaic.lifecycle.original import source_of
from tests.projects import Project, open_project
from tests.reproductions import MORE_SOURCES, reproduced, verdict


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        server.warm()
        yield server


@pytest.fixture
def project(tmp_path: Path, database_url: str, server: ForkServer) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url, lease_seconds=20) as project:
        with (project.root / "sources.py").open("a") as file:
            file.write(MORE_SOURCES)
        yield project


def test_a_file_that_is_no_source_is_missed_in_words(project: Project, server: ForkServer) -> None:
    project.declare("reads_own_file")
    project.say("local", "2.0")  # written after the source was stored
    run = project.execute(server, "reads_own_file")
    assert run.status == "completed"
    again = reproduced(project, server, run)
    assert again.status == "failed"
    assert again.record.reason is not None
    assert "a reproduction has the project's source as it was applied" in again.record.reason.next_step
    assert again.comparison is not None
    assert again.comparison["verdict"] == "different"


def snapshot_path(project: Project, run: RunHandle) -> Path:
    with project.database.read() as tx:
        source = source_of(tx, run.record)
    assert source is not None
    assert project.store.root is not None
    return project.store.root / source.archive.key


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_source_that_is_gone_or_damaged_is_said_before_anything_is_recorded(
    project: Project, server: ForkServer, damage: str
) -> None:
    project.declare("prices")
    run = project.execute(server, "prices")
    path = snapshot_path(project, run)
    kept = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(kept[:-9] + b"x" * 9)
    before = project.dump()
    with pytest.raises(StorageError, match=r"is gone" if damage == "gone" else r"is not what was stored") as raised:
        project.ledger.reproduce(run.id)
    assert "optaic doctor" in (raised.value.next_step or "")
    assert project.dump() == before
    path.write_bytes(kept)
    assert verdict(reproduced(project, server, run)) == ("identical", [])


def test_a_source_that_is_lost_after_the_submission_fails_the_reproduction_with_its_reason(
    project: Project, server: ForkServer
) -> None:
    project.declare("prices")
    run = project.execute(server, "prices")
    again = project.ledger.reproduce(run.id, detach=True)
    snapshot_path(project, run).unlink()
    thread, failures = project.supervising(server, again)
    thread.join(60.0)
    assert failures == []
    again.refresh()
    assert again.record.reason is not None
    assert (again.status, again.record.reason.code) == ("failed", "storage_error")
    assert "is gone" in again.record.reason.message
    assert run.refresh().status == "completed"


def test_a_source_archive_that_is_another_than_its_digest_is_not_executed(project: Project, server: ForkServer) -> None:
    """The row of the archive and its bytes agree, and the files in it are not those that were digested."""
    project.declare("prices")
    run = project.execute(server, "prices")
    code = project.root / "sources.py"
    code.write_text(code.read_text() + "\n\n# another\n")
    project.ledger.apply()
    other = project.execute(server, "prices")
    with project.database.read() as tx:
        rows = {row.digest: row for row in tx.conn.execute(select(source_snapshots))}
    theirs = rows[str(other.record.source_digest)]
    with project.database.write() as tx:
        tx.conn.execute(
            source_snapshots.update()
            .where(source_snapshots.c.digest == run.record.source_digest)
            .values(storage_key=theirs.storage_key, size_bytes=theirs.size_bytes, sha256=theirs.sha256)
        )
    reproduction = project.ledger.reproduce(run.id, detach=True)
    thread, _ = project.supervising(server, reproduction)
    thread.join(60.0)
    assert reproduction.refresh().record.reason is not None
    assert "is not what was stored" in (reproduction.reason or "")


def test_another_version_of_the_distribution_that_provides_the_code_is_said(
    project: Project, server: ForkServer
) -> None:
    project.declare("prices")
    run = project.execute(server, "prices")
    again = project.ledger.reproduce(run.id, detach=True)
    held = claim(project.database, worker="here", lease=project.settings.lease, run_id=again.id)
    assert held is not None
    # The digest covers name and version of the distribution; that of the original is another than what is found here.
    held = replace(held, task=replace(held.task, code_digest="0" * 64))
    ended = supervise(project.database, server, held, project.settings)
    assert ended.reason is not None
    assert ended.reason.code == "code_mismatch"
    assert "the environment differs, in the version of the distribution" in ended.reason.message
    assert str(run.id) in ended.reason.message


def test_what_cannot_be_reproduced_is_refused_in_words(project: Project, server: ForkServer) -> None:
    project.declare("prices", "waits")
    with project.ledger.track("idea", params={"n": 1}) as tracked:
        tracked.log_metric("ic", 0.5)
    with pytest.raises(InvalidInputError, match="the ledger has its params, seed, inputs, metrics, log and files, but"):
        project.ledger.reproduce(tracked.id)
    pending = project.ledger.submit("waits")
    with pytest.raises(ConflictError, match="only a run that has ended can be reproduced"):
        project.ledger.reproduce(pending.id)
    project.ledger.cancel(pending.id)
    with pytest.raises(InvalidInputError, match="never started"):
        project.ledger.reproduce(pending.id)
    assert len(project.ledger.runs()) == 2


def test_an_original_whose_file_is_damaged_gives_no_verdict(project: Project, server: ForkServer) -> None:
    project.declare("chance")
    run = project.execute(server, "chance", params={"scale": 2.0})
    again = project.ledger.reproduce(run.id, detach=True)
    assert project.store.root is not None
    with project.database.read() as tx:
        (files,) = versions.artifacts_of(tx, [run.id]).values()
    stored = next(item.stored for item in files if item.name == "fetched.parquet")
    path = project.store.root / stored.key
    path.write_bytes(b"x" * stored.size_bytes)
    # The bytes are read only where the digests differ: another seed makes them differ.
    held = claim(project.database, worker="here", lease=project.settings.lease, run_id=again.id)
    assert held is not None
    ended = supervise(project.database, server, replace(held, task=replace(held.task, seed=99)), project.settings)
    assert ended.reason is not None
    assert (ended.status, ended.reason.code) == ("failed", "storage_error")
    assert run.refresh().status == "completed"
