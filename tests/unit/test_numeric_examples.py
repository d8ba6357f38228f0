"""The examples in the docstrings of the numerics are there, and true; the base install is enough for them."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import optaic.quant

MODULES = sorted(module.name for module in pkgutil.walk_packages(optaic.quant.__path__, "optaic.quant."))
FIGURES = [
    f"optaic.quant.{name}"
    for name in (
        "benchmark",
        "drawdown",
        "holdings",
        "labels",
        "overfitting",
        "performance",
        "periods",
        "predictions",
        "quantiles",
        "signals",
        "significance",
        "summary",
        "trades",
    )
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert failed == 0


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_an_example(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    functions = [
        node
        for node in ast.parse(Path(spec.origin).read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert functions
    assert [node.name for node in functions if ">>>" not in (ast.get_docstring(node) or "")] == []


def test_figures_need_no_more_than_the_base_install() -> None:
    script = f"import json, sys, {', '.join(FIGURES)}; print(json.dumps(sorted(sys.modules)))"
    listing = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    roots = {name.partition(".")[0] for name in json.loads(listing)}
    assert "numpy" in roots
    assert not roots & {"exchange_calendars", "pandas", "scipy", "skfolio", "sklearn", "statsmodels"}
