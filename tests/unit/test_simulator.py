"""The simulator as the definition of a backtest: when it decides, by the sessions of an exchange."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from optaic.flows.calendar import sessions
from optaic.procedures.simulator import simulate
from optaic.storage.objects import ObjectStore, open_store
from tests.refreshing import Dataset, opened


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(tmp_path.as_uri())


def panel(first: dt.date, last: dt.date, name: str, **values: float) -> pl.DataFrame:
    """Give a value of each symbol in each session of New York."""
    rows = [(day, symbol, value) for day in sessions(first, last, "XNYS") for symbol, value in values.items()]
    return pl.DataFrame(rows, schema=["date", "symbol", name], orient="row")


@pytest.mark.parametrize(
    ("last", "skipped"),
    [
        (dt.date(2024, 3, 28), 1),  # before Good Friday, which is a weekday: the last session of March
        (dt.date(2024, 3, 27), 0),
        (dt.date(2021, 12, 31), 1),  # a Friday before a Saturday
        (dt.date(2021, 12, 30), 0),
    ],
)
def test_the_last_session_of_the_data_is_a_decision_if_it_is_the_last_one_of_its_month(
    store: ObjectStore, last: dt.date, skipped: int
) -> None:
    first = last - dt.timedelta(days=60)
    prices = Dataset(store, known_at={"lag": "close"})
    prices.refresh(panel(first, last, "close", A=10.0, B=20.0))
    signal = Dataset(store, known_at={"lag": "close"})
    signal.runs = 9
    # In the last session there is no signal: whether it was decided in shows as a decision that was skipped.
    signal.refresh(panel(first, last - dt.timedelta(days=1), "value", A=1.0, B=2.0))
    with opened(prices=prices, signal=signal) as context:
        done = simulate(context, adjusted=True)
    assert done.metrics["skipped_decisions"] == skipped
