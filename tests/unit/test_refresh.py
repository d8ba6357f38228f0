"""A refresh: how the source is called, what is refused, what is counted, and what is kept."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from optaic.domain.artifact import StoredObject
from optaic.domain.status import Standing
from optaic.domain.version import KNOWN_AT, SegmentRole
from optaic.errors import (
    DuplicateKeysError,
    InvalidInputError,
    InvalidOutputError,
    NoOutputError,
    ObjectExistsError,
    SchemaChangedError,
    StorageError,
)
from optaic.flows.context import RunContext
from optaic.flows.task import Result
from optaic.storage.objects import ObjectStore, open_store
from optaic.storage.segments import read
from tests.refreshing import START, Dataset, table

FIRST = table((2, "A", 1.0), (2, "B", 2.0), (3, "A", 3.0))


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def dataset(store: ObjectStore) -> Dataset:
    return Dataset(store)


def counts(result: Result) -> tuple[object, ...]:
    return tuple(result.metrics[f"rows_{name}"] for name in ("fetched", "inserted", "updated", "deleted", "unchanged"))


def view(dataset: Dataset) -> pl.DataFrame:
    assert dataset.current is not None
    return read(dataset.store, dataset.current)


def artifact(dataset: Dataset, result: Result, name: str) -> bytes:
    stored: Mapping[str, StoredObject] = {one.name: one.stored for one in result.artifacts}
    return dataset.store.get(stored[name])


def test_rows_are_counted_and_the_change_is_described(dataset: Dataset) -> None:
    first = dataset.refresh(FIRST)
    assert counts(first) == (3, 3, 0, 0, 0)
    assert first.metrics["last_data_date"] == "2024-01-03"
    assert first.dataset is not None
    assert first.dataset.changed_from == dt.date(2024, 1, 2)
    second = dataset.refresh(table((2, "A", 1.0), (3, "A", 3.5), (4, "A", None)), mode="full")
    assert counts(second) == (3, 1, 1, 1, 1)
    change = second.dataset
    assert change is not None
    assert (change.row_count, change.changed_columns) == (3, ())
    assert (change.first_data_date, change.last_data_date) == (dt.date(2024, 1, 2), dt.date(2024, 1, 4))
    third = dataset.refresh(table((3, "A", 9.0)), mode="incremental")
    assert third.dataset is not None
    assert third.dataset.changed_columns == ("close",)
    assert third.dataset.changed_from == dt.date(2024, 1, 3)
    assert [one.role for one in third.dataset.segments] == [SegmentRole.REVISE]


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_nothing_new_writes_no_segment(dataset: Dataset, mode: str) -> None:
    frame = FIRST.vstack(table((4, "A", float("nan")), (4, "B", None)))
    dataset.refresh(frame)
    before = {one.key for one in dataset.store.list("t1/datasets")}
    again = dataset.refresh(frame.reverse(), mode=mode)
    assert counts(again) == (5, 0, 0, 0, 5)
    assert again.dataset is not None
    assert (again.dataset.segments, again.dataset.changed_from) == ((), None)
    assert {one.key for one in dataset.store.list("t1/datasets")} == before
    assert "difference.parquet" not in {one.name for one in again.artifacts}


def test_empty_incremental_fetch_is_nothing_new(dataset: Dataset) -> None:
    dataset.refresh(FIRST)
    result = dataset.refresh(
        pl.DataFrame(schema={"date": pl.Null, "symbol": pl.Null, "close": pl.Null}), mode="incremental"
    )
    assert counts(result) == (0, 0, 0, 0, 0)
    assert result.metrics["last_data_date"] == "2024-01-03"


def test_withdrawn_row_that_returns_is_inserted(dataset: Dataset) -> None:
    dataset.refresh(FIRST)
    dataset.refresh(FIRST.head(2), mode="full")
    result = dataset.refresh(FIRST, mode="full")
    assert counts(result) == (3, 1, 0, 0, 2)
    assert view(dataset)["known_at"].to_list() == [START + dt.timedelta(days=day) for day in (1, 1, 3)]


def test_lag_dates_rows_by_their_session_and_restatements_by_the_run(store: ObjectStore) -> None:
    dataset = Dataset(store, known_at={"lag": "close + 2h"})
    # A Friday, a Saturday, and the early close after Thanksgiving.
    days = [dt.date(2023, 11, 17), dt.date(2023, 11, 18), dt.date(2023, 11, 24)]
    dataset.refresh(table(*((day, "A", 1.0) for day in days)))
    known = [dt.datetime(2023, 11, day, hour, tzinfo=dt.UTC) for day, hour in ((17, 23), (20, 23), (24, 20))]
    assert view(dataset)[KNOWN_AT].to_list() == known
    at = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    dataset.refresh(table((days[0], "A", 2.0)), mode="incremental", at=at)
    assert view(dataset)[KNOWN_AT].to_list() == [at, *known[1:]]


def test_column_says_when_rows_were_known(store: ObjectStore) -> None:
    dataset = Dataset(store, known_at={"column": "published"})
    days = [dt.datetime(2024, 2, day) for day in (1, 9)]  # noqa: DTZ001 - naive means UTC
    frame = table((2, "A", 1.0), (2, "A", 2.0)).with_columns(pl.Series("published", days))
    assert counts(dataset.refresh(frame)) == (2, 2, 0, 0, 0)
    assert dataset.current is not None
    assert [column.name for column in dataset.current.columns] == ["date", "symbol", "close"]
    assert dataset.current.row_count == 1
    then = dt.datetime(2024, 2, 5, tzinfo=dt.UTC)
    assert read(store, dataset.current, as_of=then)["close"].to_list() == [1.0]
    assert view(dataset)["close"].to_list() == [2.0]
    assert counts(dataset.refresh(frame, mode="full")) == (2, 0, 0, 0, 2)


def test_tables_of_pandas_and_lazy_frames_are_taken(dataset: Dataset) -> None:
    dataset.refresh(FIRST.lazy())
    frame = pd.DataFrame(
        {
            "date": pd.to_datetime(["2024-01-02", "2024-01-02", "2024-01-03"]),
            "symbol": pd.Categorical(["A", "B", "A"]),
            "close": [1.0, 2.0, 3.0],
        }
    )
    assert counts(dataset.refresh(frame, mode="full")) == (3, 0, 0, 0, 3)
    assert counts(dataset.refresh(frame.set_index(["date", "symbol"]), mode="full")) == (3, 0, 0, 0, 3)


def test_integers_are_taken_for_a_column_of_floats(dataset: Dataset) -> None:
    dataset.refresh(FIRST)
    result = dataset.refresh(FIRST.with_columns(pl.col("close").cast(pl.Int32)), mode="full")
    assert counts(result) == (3, 0, 0, 0, 3)


def test_columns_that_are_gone_are_named_with_what_helps(dataset: Dataset) -> None:
    dataset.refresh(FIRST.with_columns(volume=1, sector=pl.lit("Energy")))
    with pytest.raises(SchemaChangedError, match="'volume', 'sector' are missing") as refused:
        dataset.refresh(FIRST, mode="full")
    assert refused.value.next_step is not None
    assert "return 'volume', 'sector' too" in refused.value.next_step
    assert "--mode full" not in refused.value.next_step


def test_new_column_is_taken_in_full_mode_only(dataset: Dataset) -> None:
    dataset.refresh(FIRST)
    wider = FIRST.with_columns(volume=pl.Series([7, None, 9]))
    with pytest.raises(SchemaChangedError, match="'volume' is new"):
        dataset.refresh(wider, mode="incremental")
    result = dataset.refresh(wider, mode="full")
    assert counts(result) == (3, 0, 2, 0, 1)
    assert result.dataset is not None
    assert result.dataset.changed_columns == ("volume",)
    assert view(dataset)["volume"].to_list() == [7, None, 9]
    assert read(dataset.store, dataset.versions[0]).columns == ["date", "symbol", "close", KNOWN_AT]


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (None, NoOutputError, "returned None"),
        (FIRST.clear(), NoOutputError, "no rows"),
        ([1, 2], InvalidOutputError, "list"),
        (FIRST.drop("symbol"), InvalidOutputError, "'symbol'"),
        (FIRST.with_columns(symbol=pl.lit(None, dtype=pl.String)), InvalidOutputError, "3 missing values"),
        (FIRST.with_columns(pl.lit(None).alias("x")), InvalidOutputError, "only nulls"),
        (FIRST.with_columns(pl.lit(value=True).alias("_deleted")), InvalidOutputError, "_deleted"),
        (FIRST.with_columns(pl.lit(1).alias("known_at")), InvalidOutputError, "known_at"),
        (FIRST.with_columns(x=pl.Series([[1], [2], [3]])), InvalidOutputError, "'x' is List"),
        (FIRST.with_columns(x=pl.Series([object()] * 3, dtype=pl.Object)), InvalidOutputError, "'x' is Object"),
        (FIRST.with_columns(date=pl.lit("2024-01-02")), InvalidOutputError, "'date' is String"),
        (FIRST.with_columns(date=pl.lit(dt.datetime(2024, 1, 2, 9))), InvalidOutputError, "midnight"),  # noqa: DTZ001 - naive
        (FIRST.vstack(FIRST.head(1)), DuplicateKeysError, "date=2024-01-02, symbol=A"),
    ],
)
def test_what_cannot_be_published_is_refused(dataset: Dataset, frame: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        dataset.refresh(frame)
    assert not list(dataset.store.list("t1/datasets"))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FIRST.drop("close"), "'close' is missing"),
        (FIRST.with_columns(pl.col("close").cast(pl.String)), "'close' is String"),
        (FIRST.rename({"symbol": "ticker"}), "'symbol'"),
        (FIRST.with_columns(close=pl.lit(2**53 + 1)), "'close' is Int64"),
    ],
)
@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_schema_is_kept(dataset: Dataset, frame: pl.DataFrame, message: str, mode: str) -> None:
    dataset.refresh(FIRST)
    with pytest.raises(SchemaChangedError, match=message):
        dataset.refresh(frame, mode=mode)


def test_floats_do_not_become_integers(dataset: Dataset) -> None:
    dataset.refresh(FIRST.with_columns(pl.col("close").cast(pl.Int64)))
    with pytest.raises(SchemaChangedError):
        dataset.refresh(FIRST, mode="full")


def test_key_of_a_dataset_cannot_change(dataset: Dataset) -> None:
    dataset.refresh(FIRST)
    dataset.config["key"] = ["date", "close"]
    with pytest.raises(SchemaChangedError, match="the key is"):
        dataset.refresh(FIRST)


@pytest.mark.parametrize("key", [[], ["date", "date"], ["known_at"]])
def test_impossible_keys_are_refused(store: ObjectStore, key: list[str]) -> None:
    with pytest.raises(InvalidInputError):
        Dataset(store, key=key).refresh(FIRST)


def test_float_key_may_not_be_nan(store: ObjectStore) -> None:
    frame = table((2, "A", float("nan")))
    with pytest.raises(InvalidOutputError, match="'close' has 1 missing"):
        Dataset(store, key=["date", "close"]).refresh(frame)


def test_source_is_called_with_what_its_signature_takes(dataset: Dataset) -> None:
    calls: list[object] = []

    def plain(ctx: RunContext) -> pl.DataFrame:
        calls.append(ctx.params["end"])
        return FIRST

    def since(ctx: RunContext, start: dt.date | None, *, end: dt.date | None = None, n: int = 3) -> pl.DataFrame:
        calls.append((start, end, n))
        return FIRST

    def catch(_: RunContext, **params: Any) -> pl.DataFrame:
        calls.append(params)
        return FIRST

    params = {"end": "2024-01-31", "other": 1}
    for source in (plain, since, since, catch):
        dataset.refresh(source, params=params)
    dataset.refresh(since, params={"end": None, "n": 4}, mode="full")
    end = dt.date(2024, 1, 31)
    assert calls == [
        "2024-01-31",
        (dt.date(2024, 1, 3), end, 3),
        (dt.date(2024, 1, 3), end, 3),
        params,
        (None, None, 4),
    ]


def test_text_that_is_no_date_is_refused(dataset: Dataset) -> None:
    def source(_: RunContext, *, end: dt.date) -> pl.DataFrame:
        raise AssertionError(end)

    with pytest.raises(InvalidInputError, match="'end' is 'soon'"):
        dataset.refresh(source, params={"end": "soon"})


def test_unknown_mode_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InvalidInputError, match="'half'"):
        dataset.refresh(FIRST, mode="half")


def test_trial_counts_but_writes_no_segment(dataset: Dataset) -> None:
    dataset.refresh(FIRST)
    result = dataset.refresh(FIRST.vstack(table((4, "A", 4.0))), mode="full", standing=Standing.TRIAL)
    assert counts(result) == (4, 1, 0, 0, 3)
    assert result.dataset is not None
    assert (result.dataset.segments, result.dataset.bytes_written) == ((), 0)
    assert result.dataset.changed_from == dt.date(2024, 1, 4)
    assert len(dataset.versions) == 1
    assert pl.read_parquet(io.BytesIO(artifact(dataset, result, "fetched.parquet"))).height == 4


def test_artifacts_tell_what_was_fetched_and_what_differs(dataset: Dataset) -> None:
    full = dataset.refresh(FIRST)
    assert {one.name for one in full.artifacts} == {"difference.parquet", "quality.json"}
    result = dataset.refresh(table((3, "A", None), (4, "A", 4.0)), mode="incremental")
    fetched = pl.read_parquet(io.BytesIO(artifact(dataset, result, "fetched.parquet")))
    assert fetched.equals(table((3, "A", None), (4, "A", 4.0)))
    difference = pl.read_parquet(io.BytesIO(artifact(dataset, result, "difference.parquet")))
    assert difference.select("date", "change").rows() == [
        (dt.date(2024, 1, 4), "inserted"),
        (dt.date(2024, 1, 3), "updated"),
    ]
    quality = json.loads(artifact(dataset, result, "quality.json"))
    assert quality == {
        "rows": 2,
        "nulls": {"date": 0, "symbol": 0, "close": 1},
        "duplicates": 0,
        "first_date": "2024-01-03",
        "last_date": "2024-01-04",
    }


def test_same_inputs_give_the_same_digests(tmp_path: Path) -> None:
    frame = pl.concat(
        [table((day, f"S{number:03d}", number * day / 7)) for day in range(1, 4) for number in range(300)]
    )
    digests: set[str] = set()
    for number in range(3):
        dataset = Dataset(open_store(str(tmp_path / str(number))))
        dataset.refresh(frame.sample(fraction=1, shuffle=True, seed=number))
        dataset.refresh(frame.with_columns(pl.col("close") * 2).sample(fraction=1, shuffle=True, seed=number))
        assert dataset.current is not None
        digests.add(dataset.current.content_digest)
    assert len(digests) == 1


def test_segment_is_never_written_twice(dataset: Dataset) -> None:
    dataset.refresh(FIRST)
    dataset.runs = 0  # the same run and attempt again
    with pytest.raises(ObjectExistsError):
        dataset.refresh(table((9, "A", 1.0)), mode="incremental")


def test_full_disk_leaves_nothing_behind(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full.parquet"
    full.symlink_to("/dev/full")  # removed as scratch files are; the device stays

    def scratch_path(_: str) -> Path:
        return full

    monkeypatch.setattr(dataset.store, "scratch_path", scratch_path)
    with pytest.raises(StorageError, match="disk is full"):
        dataset.refresh(FIRST)
    assert not list(dataset.store.list())
    assert not full.is_symlink()


def test_an_input_that_is_passed_through_is_told_to_leave_out_when_it_was_known(dataset: Dataset) -> None:
    with pytest.raises(InvalidOutputError, match="'known_at'") as caught:
        dataset.refresh(FIRST.with_columns(pl.lit(1).alias("known_at")))
    assert '.drop("known_at")' in (caught.value.next_step or "")
    with pytest.raises(InvalidOutputError) as other:
        dataset.refresh(FIRST.with_columns(pl.lit(1).alias("_deleted")))
    assert other.value.next_step == "rename it"
