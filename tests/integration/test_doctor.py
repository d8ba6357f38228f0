"""Doctor finds damaged files; a reader refuses what has another size than was recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.engines.process import ForkServer
from optaic.errors import DigestMismatchError
from optaic.lifecycle.doctor import Check, Level, examine
from tests.projects import Project, open_project


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        server.warm()
        yield server


@pytest.fixture
def project(tmp_path: Path, database_url: str, server: ForkServer) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url) as project:
        project.declare("prices")
        assert project.execute(server, "prices").status == "completed"
        yield project


def segment_of(project: Project) -> Path:
    assert project.store.root is not None
    (path,) = project.store.root.glob("t1/datasets/**/*.parquet")
    return path


def references(project: Project, *, is_deep: bool = False) -> Check:
    checks = examine(project.settings, now=dt.datetime.now(dt.UTC), is_deep=is_deep)
    (found,) = [check for check in checks if check.name == "references"]
    return found


def test_undamaged_objects_are_well(project: Project) -> None:
    for is_deep in (False, True):
        found = references(project, is_deep=is_deep)
        assert (found.level, found.next_step) == (Level.OK, None)
        assert ("SHA-256" in found.message) is is_deep


@pytest.mark.parametrize("data", [b"", b"longer, or shorter, than what was written"])
def test_another_size_is_found_and_never_read(project: Project, data: bytes) -> None:
    path = segment_of(project)
    path.unlink()
    path.write_bytes(data)
    found = references(project)
    assert (found.level, found.next_step is None) == (Level.PROBLEM, False)
    assert path.name in found.message
    with pytest.raises(DigestMismatchError, match=path.name):
        project.ledger.data("prices")


def test_other_bytes_of_the_same_size_are_found_in_depth(project: Project) -> None:
    path = segment_of(project)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    assert references(project).level is Level.OK
    found = references(project, is_deep=True)
    assert found.level is Level.PROBLEM
    assert path.name in found.message


def test_a_missing_object_is_found(project: Project) -> None:
    path = segment_of(project)
    path.unlink()
    for is_deep in (False, True):
        found = references(project, is_deep=is_deep)
        assert found.level is Level.PROBLEM
        assert "missing" in found.message
        assert path.name in found.message


DERIVED = """project: faults
instances:
  market:
    kind: dataset
    definition: sources:market
    known_at: {lag: "close + 2h", calendar: weekdays}
  doubled:
    kind: dataset
    expression: "close * 2"
    inputs: {close: "market[close]"}
"""


@pytest.mark.parametrize("how", ["deleted", "damaged"])
def test_a_full_refresh_makes_a_dataset_anew_of_which_a_file_is_gone(
    project: Project, server: ForkServer, how: str
) -> None:
    (project.root / "optaic.yaml").write_text(DERIVED)
    project.ledger.apply()
    for target in ("market", "doubled"):
        assert project.execute(server, target).status == "completed"
    before = {name: project.ledger.data(name) for name in ("market", "doubled")}
    assert project.store.root is not None
    for path in project.store.root.glob("t1/datasets/[md]*/*.parquet"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.unlink()
        if how == "damaged":
            path.write_bytes(data)
    found = references(project, is_deep=True)
    assert found.level is Level.PROBLEM
    assert found.next_step is not None
    assert "optaic run doubled --mode full, optaic run market --mode full" in found.next_step
    for target in ("market", "doubled"):
        run = project.execute(server, target, mode="full")
        assert (run.status, run.metrics["rows_inserted"]) == ("completed", 2), run.reason
        assert "earlier vintages can no longer be read" in str(run.metrics["rebuilt_because"])
        assert any("known_at follows the dataset's rule anew" in line["text"] for line in run.logs())
        assert project.ledger.data(target).equals(before[target])
    found = references(project, is_deep=True)
    assert found.level is Level.WARNING  # of what only earlier versions read
    assert found.next_step is not None
    assert "--mode full" not in found.next_step
    again = project.execute(server, "market", mode="full")
    assert (again.version, again.metrics["rows_unchanged"]) == (None, 2)


def test_only_a_full_refresh_that_was_asked_for_makes_a_dataset_anew(project: Project, server: ForkServer) -> None:
    segment_of(project).unlink()
    failed = project.execute(server, "prices")
    assert failed.status == "failed"
    assert failed.reason is not None
    assert "storage_error" in failed.reason or "object_missing" in failed.reason


def test_what_helps_where_a_file_of_a_run_is_gone_is_told(project: Project) -> None:
    assert project.store.root is not None
    (run,) = project.ledger.runs()
    for path in project.store.root.glob(f"t1/runs/{run.id}/**/*.json"):
        path.unlink()
    found = references(project)
    assert found.level is Level.PROBLEM
    assert found.next_step is not None
    assert f"optaic reproduce {run.id}" in found.next_step
    assert "--mode full" not in found.next_step
