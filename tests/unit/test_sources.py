"""The data sets that ship with the product are those of the package that carries them."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from optaic.domain.kind import FlowKind
from optaic.domain.status import Standing
from optaic.errors import InvalidInputError
from optaic.flows.context import RunContext
from optaic.flows.task import Task
from optaic.sources import factors, sp500_index, sp500_prices
from optaic.storage.objects import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[RunContext]:
    task = Task(
        run_id=uuid.UUID(int=1),
        attempt=1,
        tenant_id=1,
        instance="prices",
        flow_kind=FlowKind.REFRESH,
        code_ref=None,
        code_digest=None,
        config={},
        params={},
        seed=0,
        as_of=None,
        mode="full",
        standing=Standing.OFFICIAL,
        started_at=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        current=None,
    )
    context = RunContext(task, store=open_store(str(tmp_path)), sink=lambda _: None)
    yield context
    context.close()


def test_the_prices_are_those_of_the_package(ctx: RunContext) -> None:
    from skfolio.datasets import load_sp500_dataset

    wide = load_sp500_dataset()
    expected = pl.DataFrame({"date": wide.index.to_numpy(), **{name: wide[name].to_numpy() for name in wide.columns}})
    long = expected.with_columns(pl.col("date").cast(pl.Date)).unpivot(
        index="date", variable_name="symbol", value_name="close"
    )
    assert sp500_prices(ctx).equals(long.sort("date", "symbol"))


def test_a_slice_of_the_prices(ctx: RunContext) -> None:
    frame = sp500_prices(ctx, dt.date(2022, 12, 27), end=dt.date(2022, 12, 27), symbols=["AAPL", "XOM"])
    assert frame.select("date", "symbol").rows() == [
        (dt.date(2022, 12, 27), "AAPL"),
        (dt.date(2022, 12, 27), "XOM"),
    ]


def test_an_unknown_symbol_is_refused(ctx: RunContext) -> None:
    with pytest.raises(InvalidInputError, match="ENRN"):
        sp500_prices(ctx, symbols=["ENRN"])


def test_index_and_factors(ctx: RunContext) -> None:
    index, funds = sp500_index(ctx), factors(ctx)
    assert (index.height, index["date"].min(), index["date"].max()) == (
        8313,
        dt.date(1990, 1, 2),
        dt.date(2022, 12, 28),
    )
    assert (funds.height, funds["symbol"].n_unique()) == (2264 * 5, 5)
