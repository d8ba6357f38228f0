"""A full disk: the run fails with a sentence and a next step, nothing half-written is visible, and space heals it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.engines.process import ForkServer
from optaic.errors import LedgerError
from optaic.ledger.session import migrate
from tests.projects import Project, open_project
from tests.whole import check_whole


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB; only root can mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill a disk but for some bytes."""
    path = folder / "ballast"
    free = os.statvfs(folder)
    path.write_bytes(b"\0" * max(free.f_bavail * free.f_frsize - leave, 0))
    return path


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.name != "ballast"}


@pytest.mark.parametrize("source", ["writes_much", "writes_many_rows", "prices"])
def test_a_full_store_fails_the_run_and_after_space_is_freed_a_retry_succeeds(
    tmp_path: Path, database_url: str, small_disk: Path, server: ForkServer, source: str
) -> None:
    with open_project(tmp_path / "project", database_url, storage_url=str(small_disk / "objects")) as project:
        project.declare(source)
        ballast = fill(small_disk, leave=0 if source == "prices" else 400_000)
        run = project.execute(server, source)
        reason = run.record.reason
        assert run.status == "failed"
        assert reason is not None
        assert reason.code == "storage_error"
        assert "the disk is full" in reason.message
        assert "optaic gc" in reason.next_step
        assert (run.version, run.artifacts, project.ledger.versions(source)) == (None, [], [])
        # What was written whole before stays until it is collected; of the rest there is nothing.
        assert not files_in(small_disk / "objects" / ".scratch")
        check_whole(project.database, project.store)
        ballast.unlink()
        if source == "writes_much":  # four times 300 KB never fit
            subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
        elif source == "writes_many_rows":
            subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
        again = project.ledger.retry(run.id)
        thread, failures = project.supervising(server, again)
        thread.join(60.0)
        assert failures == []
        assert (again.refresh().status, again.version) == ("completed", 1)
        check_whole(project.database, project.store)


def test_a_full_disk_under_sqlite_itself_is_told_and_loses_nothing(
    tmp_path: Path, small_disk: Path, server: ForkServer
) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    url = f"sqlite:///{small_disk / 'ledger.db'}"
    migrate(url)
    with open_project(tmp_path / "project", url) as project:
        project.declare("prices")
        before = project.execute(server, "prices")
        ballast = fill(small_disk)
        refused = exhaust(project)
        assert "full" in refused.message
        assert refused.next_step is not None
        count = len(project.ledger.runs(limit=10_000))
        check_whole(project.database, project.store)
        ballast.unlink()
        later = project.ledger.submit("prices")
        assert len(project.ledger.runs(limit=10_000)) == count + 1
        assert before.refresh().version == 1
        thread, failures = project.supervising(server, later)
        thread.join(60.0)
        assert failures == []
        assert later.refresh().status == "completed"
        check_whole(project.database, project.store)


def exhaust(project: Project) -> LedgerError:
    """Submit until the ledger has no room any more."""
    for _ in range(2000):
        try:
            project.ledger.submit("prices", params={"close": 2.0})
        except LedgerError as error:
            return error
    raise AssertionError("the disk was never full")
