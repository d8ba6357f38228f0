"""What must never get into the stored source of a project."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from optaic.flows.source import source_snapshot


def names(root: Path) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(source_snapshot(root).data)) as archive:
        return set(archive.getnames())


@pytest.mark.parametrize("is_repository", [True, False])
def test_files_of_environment_variables_are_not_stored(tmp_path: Path, is_repository: bool) -> None:
    if is_repository:
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for name in ("optaic.yaml", "sources.py", ".env", ".env.local", "sub/.env", "environment.py", ".envrc.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("TOKEN=secret\n")
    assert names(tmp_path) == {"optaic.yaml", "sources.py", "environment.py", ".envrc.md"}
