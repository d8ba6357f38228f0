"""Every view of every version of a dataset is what a brute-force reading of its history says."""

from __future__ import annotations

import datetime as dt
import functools
import math
import tempfile
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optaic.storage.objects import open_store
from optaic.storage.segments import read
from tests.refreshing import START, Dataset

DAYS = [dt.date(2024, 1, day) for day in range(2, 8)]
KEYS = [(day, symbol) for day in DAYS for symbol in "AB"]

Key = tuple[dt.date, str]
Row = tuple[dt.datetime, Any]

values = st.sampled_from([1.0, 2.0, math.nan, None])
contents = st.dictionaries(st.sampled_from(KEYS), values, min_size=1, max_size=8)
modes = st.sampled_from(["full", "incremental"])
histories = st.lists(st.tuples(modes, contents), min_size=1, max_size=6)
lags = st.sampled_from(["observed", {"lag": "date + 1d"}, {"lag": "close - 1h", "calendar": "weekdays"}])
hours = st.integers(-24 * 4, 24 * 12)
vintages = st.dictionaries(st.tuples(st.sampled_from(KEYS), hours), values, min_size=1, max_size=10)
vintage_histories = st.lists(st.tuples(modes, vintages), min_size=1, max_size=6)


def same(one: Any, other: Any) -> bool:
    both = isinstance(one, float) and isinstance(other, float)
    return one == other or (both and math.isnan(one) and math.isnan(other))


class Model:
    """A dataset as a list of everything ever written: (key, known_at, value or DELETED), in order."""

    DELETED = object()

    def __init__(self) -> None:
        self.rows: list[tuple[Key, dt.datetime, Any]] = []

    def view(self, as_of: dt.datetime | None = None) -> dict[Key, Row]:
        last = self.last(as_of)
        return {key: row for key, row in last.items() if row[1] is not Model.DELETED}

    def last(self, as_of: dt.datetime | None = None) -> dict[Key, Row]:
        found: dict[Key, Row] = {}
        for key, known, value in self.rows:
            if (as_of is None or known <= as_of) and (key not in found or known >= found[key][0]):
                found[key] = (known, value)
        return found

    def copy(self) -> Model:
        other = Model()
        other.rows = list(self.rows)
        return other


def rule_instant(day: dt.date, rule: Any, at: dt.datetime) -> dt.datetime:
    if rule == "observed":
        return at
    midnight = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
    if rule["lag"] == "date + 1d":
        return midnight + dt.timedelta(days=1)
    while midnight.weekday() > 4:
        midnight += dt.timedelta(days=1)
    return midnight + dt.timedelta(hours=23)


def apply(model: Model, mode: str, content: dict[Key, Any], rule: Any, at: dt.datetime) -> dict[str, int]:
    """Do to the model what the definition says that a refresh does."""
    counts = {"inserted": 0, "updated": 0, "deleted": 0, "unchanged": 0}
    last = model.last()
    for key, value in content.items():
        ruled = rule_instant(key[0], rule, at)
        if key not in last:
            counts["inserted"] += 1
            model.rows.append((key, ruled, value))
        elif same(last[key][1], value):
            counts["unchanged"] += 1
        else:
            counts["inserted" if last[key][1] is Model.DELETED else "updated"] += 1
            model.rows.append((key, max(ruled, at, last[key][0]), value))
    if mode == "full":
        for key, (known, value) in last.items():
            if key not in content and value is not Model.DELETED:
                counts["deleted"] += 1
                model.rows.append((key, max(rule_instant(key[0], rule, at), at, known), Model.DELETED))
    return counts


def frame_of(content: dict[Key, Any]) -> pl.DataFrame:
    return pl.DataFrame(
        [(*key, value) for key, value in content.items()],
        schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64},
        orient="row",
    )


def check_views(dataset: Dataset, models: list[Model], instants: list[dt.datetime]) -> None:
    for version, model in zip(dataset.versions, models, strict=True):
        for as_of in (None, *instants):
            frame = read(dataset.store, version, as_of=as_of)
            expected = model.view(as_of)
            rows = frame.rows()
            assert [row[:2] for row in rows] == sorted(expected), (version.number, as_of)
            for day, symbol, close, known in rows:
                assert known == expected[day, symbol][0]
                assert same(close, expected[day, symbol][1])
                assert as_of is None or known <= as_of
        assert version.row_count == len(model.view())
        dates = [day for day, _ in model.view()]
        assert (version.first_data_date, version.last_data_date) == (min(dates), max(dates))


@settings(max_examples=40)
@given(history=histories, rule=lags, instants=st.lists(hours, max_size=4))
def test_views_agree_with_brute_force(
    history: list[tuple[str, dict[Key, Any]]], rule: Any, instants: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(open_store(folder), known_at=rule)
        model, models = Model(), list[Model]()
        for mode, content in history:
            at = START + dt.timedelta(days=dataset.runs + 1)
            counts = apply(model, mode, content, rule, at)
            change = dataset.refresh(frame_of(content), mode=mode, at=at).dataset
            assert change is not None
            found = (change.rows_inserted, change.rows_updated, change.rows_deleted, change.rows_unchanged)
            assert found == tuple(counts.values())
            assert bool(change.segments) == any((change.rows_inserted, change.rows_updated, change.rows_deleted))
            if change.segments:
                models.append(model.copy())
            again = dataset.refresh(frame_of(content), mode=mode, at=at).dataset
            assert again is not None
            assert not again.segments
            assert again.changed_from is None
        known = sorted({known for _, known, _ in model.rows})
        check_views(dataset, models, [*known, *(START + dt.timedelta(hours=hour) for hour in instants)])


@settings(max_examples=40)
@given(history=vintage_histories, instants=st.lists(hours, max_size=4))
def test_vintages_agree_with_brute_force(
    history: list[tuple[str, dict[tuple[Key, int], Any]]], instants: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(open_store(folder), known_at={"column": "published"})
        model, models = Model(), list[Model]()
        for mode, content in history:
            at = START + dt.timedelta(days=dataset.runs + 1)
            apply_vintages(model, mode, content, at)
            frame = pl.DataFrame(
                [(*key, START + dt.timedelta(hours=hour), value) for (key, hour), value in content.items()],
                schema={
                    "date": pl.Date,
                    "symbol": pl.String,
                    "published": pl.Datetime("us", "UTC"),
                    "close": pl.Float64,
                },
                orient="row",
            )
            change = dataset.refresh(frame, mode=mode, at=at).dataset
            assert change is not None
            assert change.rows_inserted + change.rows_updated + change.rows_unchanged == len(content)
            assert change.row_count == len(model.view())
            if change.segments:
                models.append(model.copy())
            again = dataset.refresh(frame, mode=mode, at=at + dt.timedelta(hours=1)).dataset
            assert again is not None
            assert not again.segments
        known = sorted({known for _, known, _ in model.rows})
        check_views(dataset, models, [*known, *(START + dt.timedelta(hours=hour) for hour in instants)])


def apply_vintages(model: Model, mode: str, content: dict[tuple[Key, int], Any], at: dt.datetime) -> None:
    last = model.last()
    stored: dict[tuple[Key, dt.datetime], Any] = {(key, known): value for key, known, value in model.rows}
    withdrawn = {key: known for key, known, value in sorted(model.rows, key=lambda r: r[1]) if value is Model.DELETED}
    fetched = {(key, START + dt.timedelta(hours=hour)): value for (key, hour), value in content.items()}
    latest: dict[Key, dt.datetime] = {}
    for key, known in fetched:
        latest[key] = max(known, latest.get(key, known))
    fresh = {place: value for place, value in fetched.items() if place not in stored or not same(stored[place], value)}
    for (key, known), value in fresh.items():
        model.rows.append((key, known, value))
    for key, known in latest.items():
        is_hidden = key in withdrawn and withdrawn[key] >= known
        if is_hidden and (last[key][1] is Model.DELETED or (key, known) in fresh):
            model.rows.append((key, max(at, last[key][0]), fetched[key, known]))
    if mode == "full":
        for key, (known, value) in last.items():
            if key not in latest and value is not Model.DELETED:
                model.rows.append((key, max(at, known), Model.DELETED))


@pytest.mark.parametrize(("max_rows", "parts"), [(1, 8), (3, 7)])
def test_splitting_changes_no_view(max_rows: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from optaic.flows import refresh

    content = {key: float(number) for number, key in enumerate(KEYS)}
    frames: list[pl.DataFrame] = []
    split = refresh.split_rows
    for rows in (max_rows, 10**6):
        monkeypatch.setattr(refresh, "split_rows", functools.partial(split, max_rows=rows))
        with tempfile.TemporaryDirectory() as folder:
            dataset = Dataset(open_store(folder))
            dataset.refresh(frame_of(content))
            dataset.refresh(frame_of({**content, KEYS[0]: None, KEYS[7]: -1.0}))
            assert dataset.current is not None
            assert len(dataset.current.segments) == (parts if rows < 10**6 else 2)
            frames.append(read(dataset.store, dataset.current))
    assert frames[0].equals(frames[1])
