"""The samples of a training: their labels are of the market, whatever the features are."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from optaic.errors import InvalidInputError
from optaic.flows.calendar import sessions
from optaic.flows.sample import read_samples
from optaic.storage.objects import ObjectStore, open_store
from tests.refreshing import Dataset, opened

DAYS = sessions(dt.date(2024, 1, 2), dt.date(2024, 2, 1), "XNYS")
NAMES = ["A", "B", "C", "D"]
TARGET = {"horizon": 2, "lag": 1, "transform": "cs_rank"}


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(tmp_path.as_uri())


def dataset(store: ObjectStore, number: int, name: str, values: np.ndarray) -> Dataset:
    found = Dataset(store, known_at={"lag": "close"})
    found.runs = 10 * number
    keys = {"date": [day for day in DAYS for _ in NAMES], "symbol": NAMES * len(DAYS)}
    found.refresh(pl.DataFrame({**keys, name: values.ravel()}).filter(pl.col(name).is_not_nan()))
    return found


@pytest.mark.parametrize("has_universe", [False, True])
def test_a_feature_that_is_missing_for_some_changes_no_label_of_the_others(
    store: ObjectStore, has_universe: bool
) -> None:
    random = np.random.default_rng(4)
    closes = 100.0 * np.cumprod(1.0 + random.normal(0.0, 0.02, (len(DAYS), 4)), axis=0)
    sparse = random.normal(size=closes.shape)
    sparse[random.random(closes.shape) < 0.4] = np.nan
    read = {"prices": dataset(store, 0, "close", closes), "sparse": dataset(store, 1, "value", sparse)}
    ahead = closes[3:] / closes[1:-2] - 1.0
    ranked = (np.argsort(np.argsort(ahead, axis=1), axis=1) + 1.0) / 4.0
    if has_universe:
        # D is no member: three names are ranked.
        universe = Dataset(store, known_at={"lag": "close"})
        universe.runs = 30
        universe.refresh(pl.DataFrame({"date": [DAYS[0]] * 3, "symbol": NAMES[:3], "member": [True] * 3}))
        read["universe"] = universe
        ranked = (np.argsort(np.argsort(ahead[:, :3], axis=1), axis=1) + 1.0) / 3.0
    with opened(told=None, as_of=None, config=None, columns=None, **read) as context:
        found = read_samples(context, TARGET, calendar="XNYS", keeps_gaps=False)
    there = np.isfinite(sparse[:-3, : ranked.shape[1]])
    is_labelled = np.isfinite(found.labels)
    np.testing.assert_allclose(found.labels[is_labelled], ranked[there], rtol=1e-12)


@pytest.mark.parametrize("price", [0.0, -2.0, np.inf])
def test_prices_that_cannot_be_are_refused_in_the_words_of_a_backtest(store: ObjectStore, price: float) -> None:
    closes = np.full((len(DAYS), 4), 10.0)
    closes[3, 1] = closes[5, 0] = price
    read = {"prices": dataset(store, 0, "close", closes), "own": dataset(store, 1, "value", closes)}
    with (
        opened(told=None, as_of=None, config=None, columns=None, **read) as context,
        pytest.raises(InvalidInputError, match=rf"the price of B on {DAYS[3]} is {price:g} \(2 such values\)"),
    ):
        read_samples(context, TARGET, calendar="XNYS", keeps_gaps=False)
