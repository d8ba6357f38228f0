"""Who may import whom, and what a fast command may not import at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.repository import PACKAGE, ROOT

_MODULES_AFTER_HELP = """
import json, sys
from optaic.cli.app import main
sys.argv = ["optaic", "--help"]
try:
    main()
except SystemExit as exit:
    assert exit.code in (0, None), exit.code
print("\\n" + json.dumps(sorted(sys.modules)))
"""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def test_import_contracts_are_kept() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(not (PACKAGE / "cli" / "app.py").exists(), reason="there is no command line yet")
@pytest.mark.parametrize("library", ["alembic", "pandas", "polars", "pydantic", "rich", "sqlalchemy"])
def test_help_is_fast_because_it_imports_no_heavy_library(library: str, modules_after_help: frozenset[str]) -> None:
    assert library not in modules_after_help


@pytest.fixture(scope="module")
def modules_after_help() -> frozenset[str]:
    result = subprocess.run(
        [sys.executable, "-c", _MODULES_AFTER_HELP], env=_environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return frozenset(json.loads(result.stdout.splitlines()[-1]))
