"""How old data are: by when their last event date was first known, whatever is corrected later."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from optaic.domain.kind import FlowKind
from optaic.flows.context import RunContext
from optaic.flows.monitor import monitor
from optaic.flows.report import Batch
from optaic.flows.task import PinnedInput
from optaic.storage.objects import open_store
from tests.refreshing import START, Dataset

DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(40)]
CONFIG = {"kind": "dataset", "monitor": [{"check": "data_quality"}]}


@pytest.fixture
def prices(tmp_path: Path) -> Dataset:
    return Dataset(open_store(str(tmp_path / "store")), known_at={"lag": "date + 1d"})


def closes(**changed: float) -> pl.DataFrame:
    """Give the closes of one name; of some days, named as `first` or `last`, another."""
    places = {DAYS[0]: changed.get("first", 1.0), DAYS[-1]: changed.get("last", 1.0)}
    return pl.DataFrame({"date": DAYS, "symbol": "A", "close": [places.get(day, 1.0) for day in DAYS]})


def staleness(prices: Dataset) -> float:
    """Check the quality of the dataset ten days after the first refresh; give how old it is, in hours."""
    assert prices.current is not None
    subject = PinnedInput(role="subject", instance="prices", version=prices.current)
    at = START + dt.timedelta(days=10)
    task = replace(prices.task(at=at), flow_kind=FlowKind.MONITOR, config=CONFIG, inputs=(subject,))
    context = RunContext(task, store=prices.store, sink=_ignore)
    try:
        value = monitor(task, closes, context, prices.store).metrics["staleness_hours"]
    finally:
        context.close()
    assert isinstance(value, float)
    return value


def _ignore(batch: Batch) -> None:
    """Take a report, and leave it."""


@pytest.mark.parametrize("corrected", ["first", "last"])
def test_a_correction_does_not_hide_that_data_are_stale(prices: Dataset, corrected: str) -> None:
    prices.refresh(closes())
    known = dt.datetime.combine(DAYS[-1] + dt.timedelta(days=1), dt.time(), dt.UTC)
    expected = (START + dt.timedelta(days=10) - known).total_seconds() / 3600
    assert staleness(prices) == pytest.approx(expected, abs=1e-9)
    prices.refresh(closes(**{corrected: 2.0}), mode="full")
    assert len(prices.versions) == 2
    assert staleness(prices) == pytest.approx(expected, abs=1e-9)
