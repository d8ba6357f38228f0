"""The examples run as they stand in the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("examples") / "own_source"
    shutil.copytree(ROOT / "examples" / "own_source", folder, ignore=shutil.ignore_patterns(".optaic", "__pycache__"))
    mine = Project(folder)
    mine.run("init")
    mine.run("apply")
    mine.run("run", "prices")
    return mine


def test_a_function_of_ones_own_is_a_source(project: Project) -> None:
    run = project.last("prices")
    assert run["metrics"]["rows_inserted"] == 3 * 250
    assert "drew 750 prices of 3 symbols" in project.run("logs", run["id"]).stdout
    assert run["mode"] == "full", "how it was refreshed is known, also if nobody chose"


def test_the_same_prices_again_make_no_version(project: Project) -> None:
    project.run("run", "prices", "--mode", "incremental")
    assert project.last("prices")["version"] is None


def test_a_tracked_loop_pins_what_it_reads(project: Project) -> None:
    script = Path(ROOT / "examples" / "notebook" / "idea.py")
    result = subprocess.run(
        [sys.executable, script], cwd=project.root, env=project.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    run = project.last("idea")
    assert (run["status"], run["standing"], run["params"]) == ("completed", "trial", {"window": 20})
    assert [(item["instance"], item["version"]) for item in run["inputs"]] == [("prices", 1)]
    assert -1 <= run["metrics"]["ic"] <= 1
    assert [item["name"] for item in run["artifacts"]] == ["scores.parquet"]
