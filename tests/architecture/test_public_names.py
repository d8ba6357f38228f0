"""The names that users reach through `optaic.`: promises, so that taking one away is a decision and not an accident."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest

from tests.architecture.repository import ROOT

PROMISED = {
    "Backtest",
    "CodeChangedError",
    "ConflictError",
    "DigestMismatchError",
    "DuplicateKeysError",
    "EngineError",
    "ExpressionError",
    "FlowError",
    "IdempotencyMismatchError",
    "IllegalTransitionError",
    "FeaturesChangedError",
    "InSampleInputError",
    "UntrustedModelError",
    "InvalidInputError",
    "InvalidOutputError",
    "LeaseLostError",
    "Ledger",
    "LedgerError",
    "LedgerAwayError",
    "NoOutputError",
    "NotFoundError",
    "NothingKnownError",
    "ObjectExistsError",
    "ObjectMissingError",
    "OptaicError",
    "ProjectFileError",
    "RetryableError",
    "RunCancelledError",
    "RunContext",
    "RunHandle",
    "SchemaChangedError",
    "SecretMissingError",
    "SolverFailedError",
    "StorageError",
    "UpstreamNotReadyError",
    "__version__",
    "backtest",
    "connect",
    "pipeline",
}


def test_public_names_are_those_that_are_promised() -> None:
    assert sorted(importlib.import_module("optaic").__all__) == sorted(PROMISED)


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_each_promised_name_is_there(name: str) -> None:
    assert hasattr(importlib.import_module("optaic"), name)


def test_every_error_is_public() -> None:
    errors = vars(importlib.import_module("optaic.errors"))
    assert {name for name in errors if name.endswith("Error")} <= PROMISED


def test_importing_the_package_loads_no_library() -> None:
    script = "import json, sys; before = set(sys.modules); import optaic; print(json.dumps([*{*sys.modules} - before]))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    libraries = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert not libraries & {"click", "numpy", "pandas", "polars", "pydantic", "rich", "sqlalchemy", "yaml"}
