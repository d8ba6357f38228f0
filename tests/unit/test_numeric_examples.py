"""The examples in the docstrings of the numerics are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import optaic.quant

MODULES = sorted(module.name for module in pkgutil.walk_packages(optaic.quant.__path__, "optaic.quant."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs={"np": np})
    assert failed == 0


def test_public_numeric_functions_have_an_example() -> None:
    from optaic.quant import performance

    finder = doctest.DocTestFinder(exclude_empty=True)
    with_examples = {test.name.rpartition(".")[2] for test in finder.find(performance) if test.examples}
    assert {"sharpe_ratio", "sortino_ratio", "cagr", "volatility", "var_95"} <= with_examples
