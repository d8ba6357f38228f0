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
