"""Sources that say when each row was known: what a new vintage is said to have changed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from optaic.storage.objects import open_store
from tests.refreshing import Dataset

DAY = dt.date(2024, 1, 2)


def frame(*rows: tuple[int, float | None, float]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date": [DAY] * len(rows),
            "symbol": ["A"] * len(rows),
            "close": [row[1] for row in rows],
            "volume": [row[2] for row in rows],
            "known": [dt.datetime(2024, 1, row[0], tzinfo=dt.UTC) for row in rows],
        },
        schema_overrides={"close": pl.Float64, "volume": pl.Float64},
    )


def test_a_vintage_that_takes_a_value_away_has_changed_that_column(tmp_path: Path) -> None:
    dataset = Dataset(open_store(str(tmp_path)), known_at={"column": "known"})
    dataset.refresh(frame((3, 1.0, 7.0)))
    change = dataset.refresh(frame((3, 1.0, 7.0), (4, None, 7.0))).dataset
    assert change is not None
    assert change.rows_updated == 1
    # Readers of `close` must not go on as if nothing had changed; no columns named means all of them.
    assert change.changed_columns == () or "close" in change.changed_columns


def test_a_restated_vintage_has_changed_only_what_differs(tmp_path: Path) -> None:
    dataset = Dataset(open_store(str(tmp_path)), known_at={"column": "known"})
    dataset.refresh(frame((3, 1.0, 7.0)))
    change = dataset.refresh(frame((3, 1.0, 8.0))).dataset
    assert change is not None
    assert change.changed_columns == ("volume",)
