"""What a fast command does not load, in a project with runs; the time itself depends on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from optaic import bootstrap
from tests.commands import Project
from tests.factories import add_dataset, submit_run

_MODULES_AFTER = """
import json, sys
from optaic.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as exit:
    assert exit.code == 0, exit.code
print("\\n" + json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    mine = Project(tmp_path_factory.mktemp("imports"))
    (mine.root / "optaic.yaml").write_text("project: mine\ninstances: {}\n")
    settings = bootstrap.locate(mine.root)
    bootstrap.make_home(settings)
    runtime = bootstrap.open_runtime(settings)
    add_dataset(runtime.database)
    submit_run(runtime.database)
    runtime.close()
    return mine


def modules_after(project: Project, *arguments: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", _MODULES_AFTER, *arguments],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "command", ["runs", "status", "show prices@latest", "logs prices@latest", "cancel prices@latest"]
)
def test_looking_at_runs_loads_no_library_of_tables(project: Project, command: str) -> None:
    loaded = modules_after(project, *command.split())
    assert "sqlalchemy" in loaded
    assert not loaded & {"alembic", "exchange_calendars", "numpy", "obstore", "pandas", "polars", "pydantic", "yaml"}


def test_plain_output_needs_no_rich(project: Project) -> None:
    assert "rich" not in modules_after(project, "runs")


def test_paths_of_the_project_are_found_from_a_folder_inside_it(project: Project) -> None:
    inside = Path(project.root / "notebooks" / "deep")
    inside.mkdir(parents=True)
    project.run("runs")
    assert "prices.refresh" in Project(inside).run("runs").stdout
