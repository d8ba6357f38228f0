"""Writing segments, and reading any part of any view of them."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from optaic.domain.version import KNOWN_AT, DatasetVersion, SegmentRole
from optaic.errors import InvalidInputError, ObjectExistsError, ObjectMissingError, StorageError
from optaic.storage.dtype import parse_dtype, schema_of
from optaic.storage.objects import ObjectStore, open_store
from optaic.storage.segments import read, scan, split_rows, write_segment
from optaic.storage.view import INSTANT
from tests.refreshing import START, Dataset, table

JANUARY = [dt.date(2024, 1, day) for day in range(1, 32)]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def dataset(store: ObjectStore) -> Dataset:
    """Three versions: days 2 and 3; then day 4, and B of day 2 revised; then A of day 3 withdrawn."""
    one = Dataset(store)
    one.refresh(table((2, "A", 1.0), (2, "B", 2.0), (3, "A", 3.0)))
    one.refresh(table((2, "B", 2.5), (4, "A", 4.0)), mode="incremental")
    one.refresh(table((2, "A", 1.0), (2, "B", 2.5), (4, "A", 4.0)), mode="full")
    return one


def rows(frame: pl.DataFrame) -> list[tuple[int, str, float]]:
    return [(row["date"].day, row["symbol"], row["close"]) for row in frame.to_dicts()]


def latest(dataset: Dataset) -> DatasetVersion:
    assert dataset.current is not None
    return dataset.current


def test_each_version_has_its_own_view(dataset: Dataset) -> None:
    views = [rows(read(dataset.store, version)) for version in dataset.versions]
    assert views == [
        [(2, "A", 1.0), (2, "B", 2.0), (3, "A", 3.0)],
        [(2, "A", 1.0), (2, "B", 2.5), (3, "A", 3.0), (4, "A", 4.0)],
        [(2, "A", 1.0), (2, "B", 2.5), (4, "A", 4.0)],
    ]


def test_as_of_shows_what_was_known_then(dataset: Dataset) -> None:
    version = latest(dataset)
    day = dt.timedelta(days=1)
    assert read(dataset.store, version, as_of=START).is_empty()
    assert rows(read(dataset.store, version, as_of=START + day)) == rows(read(dataset.store, dataset.versions[0]))
    assert rows(read(dataset.store, version, as_of=START + 2 * day)) == rows(read(dataset.store, dataset.versions[1]))
    elsewhere = (START + 2 * day).astimezone(dt.timezone(dt.timedelta(hours=-5)))
    assert rows(read(dataset.store, version, as_of=elsewhere)) == rows(read(dataset.store, dataset.versions[1]))


def test_a_correction_of_a_column_is_no_news_of_another(store: ObjectStore) -> None:
    closes = ((2, 1.0, 10), (2, 1.0, 11), (2, 2.0, 11), (2, 1.0, 12), (2, 1.0, 13), (2, 1.0, 13), (2, 1.0, 13))
    one = Dataset(store)
    for day, close, volume in closes:
        one.refresh(table((day, "A", close)).with_columns(volume=pl.lit(volume, dtype=pl.Int64)))
    last = latest(one)

    def known(*columns: str, version: DatasetVersion = last, as_of: dt.datetime | None = None) -> list[dt.datetime]:
        return read(store, version, columns=columns or None, as_of=as_of)[KNOWN_AT].to_list()

    every = [known(version=version)[0] for version in one.versions]
    assert sorted(set(every)) == every
    assert len(every) == 5, "the first, three corrections of one or both, and one of the volume alone"
    # The close is what it was at first again since the third correction; the volume changed once more after it.
    assert known("close") == [every[3]]
    assert known("volume") == known("volume", "close") == known() == [every[4]]
    assert known("close", version=one.versions[1]) == [every[0]]
    assert known("close", as_of=every[1]) == [every[0]]
    assert known() != known(version=one.versions[0])
    one.refresh(table((3, "A", 1.0)).with_columns(volume=pl.lit(1, dtype=pl.Int64)), mode="full")
    assert known("close", version=latest(one), as_of=every[4]) == [every[3]]


def test_filters_are_inclusive_and_columns_come_after_the_key(dataset: Dataset) -> None:
    version = latest(dataset)
    assert rows(read(dataset.store, version, start=dt.date(2024, 1, 4))) == [(4, "A", 4.0)]
    assert rows(read(dataset.store, version, end=dt.date(2024, 1, 2))) == [(2, "A", 1.0), (2, "B", 2.5)]
    assert rows(read(dataset.store, version, symbols=["B", "C"])) == [(2, "B", 2.5)]
    assert read(dataset.store, version, columns=[]).columns == ["date", "symbol", KNOWN_AT]
    assert read(dataset.store, version, columns=["known_at", "close"]).columns == ["date", "symbol", "close", KNOWN_AT]
    assert read(dataset.store, version, start=dt.date(2030, 1, 1)).schema == read(dataset.store, version).schema


def test_only_touched_segments_are_read(dataset: Dataset) -> None:
    version = latest(dataset)
    later = [one for one in version.segments if one.first_date > dt.date(2024, 1, 3)]
    assert later
    for one in version.segments:
        if one not in later:
            dataset.store.delete(one.key)
    assert rows(read(dataset.store, version, start=dt.date(2024, 1, 4))) == [(4, "A", 4.0)]
    with pytest.raises(ObjectMissingError):
        read(dataset.store, version)


def test_unknown_columns_are_refused_with_those_there_are(dataset: Dataset) -> None:
    with pytest.raises(InvalidInputError, match=r"'volume'.*date, symbol, close, known_at"):
        scan(dataset.store, latest(dataset), columns=["volume"])


def test_as_of_needs_a_zone(dataset: Dataset) -> None:
    with pytest.raises(InvalidInputError, match="time zone"):
        scan(dataset.store, replace(latest(dataset), segments=()), as_of=START.replace(tzinfo=None))


def test_broken_segment_is_an_error_of_the_store(dataset: Dataset) -> None:
    version = latest(dataset)
    assert dataset.store.root is not None
    (dataset.store.root / version.segments[0].key).write_bytes(b"nothing of Parquet")
    with pytest.raises(StorageError):
        read(dataset.store, version)


def test_many_overlapping_segments_come_out_sorted(store: ObjectStore) -> None:
    dataset = Dataset(store)
    for number in range(12):  # each brings a symbol over the same dates
        dataset.refresh(table(*((day, f"S{11 - number:02d}", number) for day in (2, 3))), mode="incremental")
    frame = read(store, latest(dataset))
    assert frame.height == 24
    assert frame.equals(frame.sort("date", "symbol"))


def test_segment_describes_its_rows(store: ObjectStore) -> None:
    frame = table((2, "A", 1.0), (3, "A", 2.0)).with_columns(pl.Series(KNOWN_AT, [START, START], dtype=INSTANT))
    one = write_segment(store, "t1/a.parquet", frame, role=SegmentRole.INSERT, key_columns=["date", "symbol"])
    assert (one.row_count, one.first_date, one.last_date) == (2, dt.date(2024, 1, 2), dt.date(2024, 1, 3))
    assert one.first_known_at == one.last_known_at == START
    again = write_segment(store, "t1/b.parquet", frame, role=SegmentRole.INSERT, key_columns=["date", "symbol"])
    assert again.sha256 == one.sha256
    with pytest.raises(ObjectExistsError):
        write_segment(store, "t1/a.parquet", frame, role=SegmentRole.INSERT, key_columns=["date", "symbol"])
    with pytest.raises(InvalidInputError):
        write_segment(store, "t1/c.parquet", frame.clear(), role=SegmentRole.INSERT, key_columns=["date", "symbol"])
    assert sorted(one.key for one in store.list()) == ["t1/a.parquet", "t1/b.parquet"]


@pytest.mark.parametrize("max_rows", [1, 4, 7, 1000])
def test_splitting_keeps_dates_whole(max_rows: int) -> None:
    frame = pl.concat([pl.DataFrame({"date": [day] * (1 + day.day % 3)}) for day in JANUARY])
    parts = split_rows(frame, "date", max_rows=max_rows)
    assert pl.concat(parts).equals(frame)
    for one, other in itertools.pairwise(parts):
        assert one["date"][-1] < other["date"][0]
    assert max(part.height for part in parts) <= max(max_rows, 3)


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Float64(),
        pl.Int8(),
        pl.UInt64(),
        pl.String(),
        pl.Boolean(),
        pl.Date(),
        pl.Time(),
        pl.Binary(),
        pl.Datetime("ns"),
        pl.Datetime("us", "America/New_York"),
        pl.Duration("ms"),
        pl.Decimal(20, 4),
    ],
)
def test_types_survive_the_ledger_and_the_file(dtype: pl.DataType, store: ObjectStore) -> None:
    assert parse_dtype(str(dtype)) == dtype
    dataset = Dataset(store)
    dataset.refresh(table((2, "A", 1.0)).with_columns(pl.lit(None, dtype=dtype).alias("value")))
    assert schema_of(latest(dataset))["value"] == dtype
    assert read(store, latest(dataset)).schema["value"] == dtype


@pytest.mark.parametrize("text", ["List(Int64)", "Object", "", "Float64(3)", "__class__", "Datetime(time_unit='s')"])
def test_other_types_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_dtype(text)
