"""The simulator's values are those of vectorbt's `from_orders`, as stored by benchmarks/_vectorbt.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Panel
from optaic.quant.simulate import simulate

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "vectorbt.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_values_are_those_of_vectorbt(case: dict[str, Any]) -> None:
    close = np.array(case["close"], dtype=np.float64)
    found = simulate(
        Panel(dates=np.datetime64("2024-01-01") + np.arange(len(close)), close=close),
        np.array(case["targets"]),
        decided=np.array(case["decided"]),
        options=SimulatorOptions(capital=case["capital"], costs_bps=case["fees"] * 1e4, borrow_bps=0.0),
    )
    expected = case["vectorbt"]
    np.testing.assert_allclose(found.value, expected["value"], rtol=1e-12)
    np.testing.assert_allclose(found.cash, expected["cash"], rtol=0, atol=1e-12 * case["capital"])
    shares, _ = list(found.replay())[-1]
    np.testing.assert_allclose(shares, expected["shares"], rtol=1e-10)
    assert len(found.fill_shares) == expected["fills"]
