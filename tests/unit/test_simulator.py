"""The simulator as the definition of a backtest: when it decides, by the sessions of an exchange."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest

from optaic.backtesting import Backtest
from optaic.errors import InSampleInputError, InvalidInputError, NothingKnownError
from optaic.flows.calendar import sessions
from optaic.procedures.expression import evaluate
from optaic.procedures.simulator import simulate
from optaic.storage.objects import ObjectStore, open_store
from tests.contexts import Told
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


def earned(done: Backtest) -> float:
    value = done.equity_curve["value"].to_list()
    return value[-1] / value[0] - 1.0


@pytest.mark.parametrize(
    "days",
    [
        [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(50)],  # of every day, also at weekends
        sessions(dt.date(2023, 1, 2), dt.date(2023, 12, 29), "weekdays"),  # also on holidays
    ],
)
def test_a_signal_that_is_known_after_the_trade_earns_nothing_also_where_prices_have_more_dates_than_the_calendar(
    store: ObjectStore, days: list[dt.date]
) -> None:
    random = np.random.default_rng(5)
    closes = 100.0 * np.cumprod(1.0 + random.normal(0.0, 0.02, (len(days), 4)), axis=0)
    names = ["A", "B", "C", "D"]
    keys = {"date": [day for day in days for _ in names], "symbol": names * len(days)}
    prices = Dataset(store, known_at={"lag": "date + 23h"})
    prices.refresh(pl.DataFrame({**keys, "close": closes.ravel()}))
    # What no decision of t may know: the return that follows the trade at t + 1, told in the evening of t + 1.
    ahead = np.full(closes.shape, np.nan)
    ahead[:-2] = closes[2:] / closes[1:-1] - 1.0
    known = [dt.datetime.combine(day, dt.time(23), dt.UTC) for day in days[1:-1]]
    frame = pl.DataFrame({**keys, "value": ahead.ravel()}).filter(pl.col("value").is_not_nan())
    signal = Dataset(store, known_at={"column": "published_at"})
    signal.runs = 9
    signal.refresh(frame.with_columns(published_at=pl.Series([one for one in known for _ in names])))
    told = Told()
    with (
        opened(prices=prices, signal=signal, told=told) as ctx,
        pytest.raises(NothingKnownError, match="no row of signal was known when it was decided"),
    ):
        simulate(ctx, adjusted=True, rebalance="daily", costs_bps=0.0)
    assert ["are no sessions of XNYS" in text for _, text, _ in told.lines] == [True]
    with opened(prices=prices, signal=signal) as ctx:
        absurd = simulate(ctx, adjusted=True, rebalance="daily", costs_bps=0.0, view="latest")
    assert earned(absurd) > 1.0, "the signal is what it is said to be"


def fitted(store: ObjectStore, first: dt.date, last: dt.date) -> Dataset:
    """Predictions of a fit that has seen the label of each of their dates."""
    found = Dataset(store, known_at={"lag": "close"})
    found.runs = 9
    rows = panel(first, last, "prediction", A=1.0, B=2.0)
    found.refresh(rows.with_columns(label_end=pl.lit(last)))
    return found


@pytest.mark.parametrize("role", ["signal", "weights"])
@pytest.mark.parametrize("columns", [(), ("prediction",)])
@pytest.mark.parametrize("view", ["replay", "latest"])
def test_predictions_that_are_in_sample_are_refused_in_every_role_and_view(
    store: ObjectStore, role: str, columns: tuple[str, ...], view: Literal["replay", "latest"]
) -> None:
    first, last = dt.date(2024, 1, 2), dt.date(2024, 2, 29)
    prices = Dataset(store, known_at={"lag": "close"})
    prices.refresh(panel(first, last, "close", A=10.0, B=20.0))
    read: dict[str, Any] = {role: fitted(store, first, last)}
    with (
        opened(prices=prices, columns={role: columns}, **read) as context,
        pytest.raises(InSampleInputError, match=f"rows of {role} are in-sample") as refused,
    ):
        simulate(context, adjusted=True, view=view)
    assert "allow_in_sample: true" in str(refused.value.next_step)


def test_an_expression_over_predictions_that_are_in_sample_is_refused(store: ObjectStore) -> None:
    read = fitted(store, dt.date(2024, 1, 2), dt.date(2024, 2, 29))
    config = {"kind": "dataset", "expression": "CS_RANK(p)"}
    with (
        opened(p=read, columns={"p": ("prediction",)}, config=config) as context,
        pytest.raises(InSampleInputError, match="rows of p are in-sample"),
    ):
        evaluate(context)


def test_what_it_is_measured_against_does_not_depend_on_when_it_decides(store: ObjectStore) -> None:
    first, last = dt.date(2024, 1, 2), dt.date(2024, 6, 28)
    days = sessions(first, last, "XNYS")
    closes = 100.0 * np.cumprod(1.0 + np.random.default_rng(2).normal(0.0, 0.02, (len(days), 2)), axis=0)
    keys = {"date": [day for day in days for _ in "AB"], "symbol": ["A", "B"] * len(days)}
    prices = Dataset(store, known_at={"lag": "close"})
    prices.refresh(pl.DataFrame({**keys, "close": closes.ravel()}))
    signal, universe = Dataset(store, known_at={"lag": "close"}), Dataset(store, known_at={"lag": "close"})
    signal.runs, universe.runs = 9, 19
    signal.refresh(panel(first, last, "value", A=2.0, B=1.0))
    # B leaves in the midst of a month.
    told = [(days[0], "A", True), (days[0], "B", True), (days[30], "B", False)]
    universe.refresh(pl.DataFrame(told, schema=["date", "symbol", "member"], orient="row"))
    found: list[list[float]] = []
    for rebalance in ("daily", "monthly", 17):
        with opened(prices=prices, signal=signal, universe=universe) as context:
            found.append(simulate(context, adjusted=True, rebalance=rebalance).benchmark.tolist())
    assert found[0] == found[1] == found[2]
    alone = closes[32:, 0] / closes[31:-1, 0] - 1.0
    assert found[0][31:] == pytest.approx(alone.tolist(), abs=1e-12), "from the session on in which B is sold"


def test_a_column_that_an_input_does_not_have_is_named_with_what_may_have_been_meant(store: ObjectStore) -> None:
    first, last = dt.date(2024, 1, 2), dt.date(2024, 2, 29)
    prices, signal = Dataset(store, known_at={"lag": "close"}), Dataset(store, known_at={"lag": "close"})
    prices.refresh(panel(first, last, "close", A=10.0, B=20.0))
    signal.runs = 9
    signal.refresh(panel(first, last, "value", A=1.0, B=2.0))
    for role, column, meant in (("signal", "valu", "value"), ("prices", "closes", "close")):
        with (
            opened(prices=prices, signal=signal, columns={role: (column,)}) as context,
            pytest.raises(InvalidInputError, match=f"{role} has no column '{column}'; did you mean '{meant}'"),
        ):
            simulate(context, adjusted=True)


def test_a_signal_of_texts_is_refused_and_not_read_as_numbers(store: ObjectStore) -> None:
    first, last = dt.date(2024, 1, 2), dt.date(2024, 3, 28)
    prices = Dataset(store, known_at={"lag": "close"})
    prices.refresh(panel(first, last, "close", A=10.0, B=20.0))
    signal = Dataset(store, known_at={"lag": "close"})
    signal.runs = 9
    signal.refresh(panel(first, last, "value", A=1.0, B=2.0).with_columns(pl.col("value").cast(pl.String)))
    with (
        opened(prices=prices, signal=signal) as context,
        pytest.raises(InvalidInputError, match=r"\[value\] is String, which is no number"),
    ):
        simulate(context, adjusted=True)
