"""Prices that cannot be: what an optimiser makes of them, in a backtest and by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from optaic.errors import (
    InvalidInputError,
)
from optaic.flows.evidence import gather
from optaic.flows.optimize import complete_setup
from tests.optimising import Follower, long, walk, weekdays

Floats = npt.NDArray[np.float64]
DAYS = weekdays(60)
EQUAL = "skfolio.optimization:EqualWeighted"
MINIMUM = "skfolio.optimization:MeanRisk"


def follower(tmp_path: Path, closes: Floats, definition: str = EQUAL, **setup: Any) -> Follower:
    made = Follower(tmp_path, definition, **cast("dict[str, Any]", {"lookback": 10, **setup}))
    made.pin("prices", long(DAYS[: len(closes)], closes))
    return made


def lines(one: Follower) -> list[tuple[str, str, str]]:
    one.contexts[-1].flush()
    return one.told.lines


def test_prices_that_cannot_be_are_missing_to_an_optimiser_and_counted(tmp_path: Path) -> None:
    closes = walk(60, 2)
    closes[3, 0] = 0.0
    one = follower(tmp_path, closes)
    one.run(start=DAYS[12], rebalance=10)
    said = [text for _, text, _ in lines(one) if "zero, negative or infinite" in text]
    assert len(said) == 1
    assert "1 prices that the_prices has or had" in said[0]
    assert f"one is of A on {DAYS[3]}" in said[0]


def test_an_optimiser_by_itself_refuses_prices_that_cannot_be(tmp_path: Path) -> None:
    closes = walk(60, 2)
    closes[55, 1] = -1.0
    one = follower(tmp_path, closes)
    with pytest.raises(InvalidInputError, match=rf"the price of B on {DAYS[55]} is -1 \(1 such values\)"):
        gather(one.context(), complete_setup(one.detail["optimizer"]))
