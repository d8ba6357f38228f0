"""A universe says who is a member where that begins or ends; between its dates its last word holds."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optaic import backtest
from optaic.errors import InvalidInputError, NothingKnownError
from optaic.flows.features import read_features
from optaic.flows.universe import carried, members_by
from optaic.procedures.expression import evaluate
from optaic.storage.objects import ObjectStore, open_store
from optaic.storage.segments import read
from tests.contexts import Told
from tests.refreshing import START, Dataset, opened

CONFIG = {"kind": "dataset", "expression": "CS_RANK(close)"}
DAYS = [dt.date(2024, 3, day) for day in range(1, 8)]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(tmp_path.as_uri())


def rows(*said: tuple[dt.date, str, bool | None]) -> pl.DataFrame:
    return pl.DataFrame(said, schema={"date": pl.Date, "symbol": pl.String, "member": pl.Boolean}, orient="row")


def universe(store: ObjectStore, *said: tuple[dt.date, str, bool | None], runs: int = 0) -> Dataset:
    """Publish a universe; `runs` sets what is written apart from that of other datasets in the store."""
    dataset = Dataset(store, known_at={"lag": "date + 0d"})
    dataset.runs = runs
    dataset.refresh(rows(*said))
    return dataset


def by_day(found: pl.DataFrame) -> dict[dt.date, str]:
    """Join the members of each date."""
    return {date: "".join(names["symbol"]) for (date,), names in found.group_by("date", maintain_order=True)}


def decisions(days: list[dt.date], *, hour: int | None = None) -> pl.DataFrame:
    frame = pl.DataFrame({"date": days})
    if hour is None:
        return frame
    instants = [dt.datetime(day.year, day.month, day.day, hour, tzinfo=dt.UTC) for day in days]
    return frame.with_columns(pl.Series("decided_at", instants, dtype=pl.Datetime("us", "UTC")))


@pytest.mark.parametrize("hour", [None, 21])
def test_a_name_is_a_member_from_the_row_that_says_so_to_the_row_that_says_otherwise(
    store: ObjectStore, hour: int | None
) -> None:
    said = [(DAYS[1], "A", True), (DAYS[1], "B", True), (DAYS[3], "A", False), (DAYS[4], "C", True)]
    # What null says is that it is no member.
    dataset = universe(store, *said, (DAYS[5], "B", None))
    with opened(universe=dataset) as context:
        found = by_day(members_by(context, decisions(DAYS, hour=hour)))
        assert context.input("universe").slice == (None, DAYS[-1])
    assert found == dict(zip(DAYS[1:], ["AB", "AB", "B", "BC", "C", "C"], strict=True))


def test_a_row_that_was_not_known_at_the_decision_is_passed_over(store: ObjectStore) -> None:
    dataset = Dataset(store, known_at="observed")
    dataset.refresh(rows((DAYS[0], "A", True)), at=dt.datetime(2024, 3, 1, 12, tzinfo=dt.UTC))
    # On the 6th it becomes known that it has left on the 3rd.
    left = rows((DAYS[0], "A", True), (DAYS[2], "A", False))
    dataset.refresh(left, at=dt.datetime(2024, 3, 6, 12, tzinfo=dt.UTC))
    with opened(universe=dataset) as context:
        then = by_day(members_by(context, decisions(DAYS, hour=21)))
        now = by_day(members_by(context, decisions(DAYS)))
    assert list(then) == DAYS[:5]
    assert list(now) == DAYS[:2]


def test_where_nothing_was_known_in_time_it_is_said(store: ObjectStore) -> None:
    dataset = Dataset(store, known_at="observed")
    dataset.refresh(rows((DAYS[0], "A", True)), at=START)
    with opened(universe=dataset) as context, pytest.raises(NothingKnownError, match="known when it was decided"):
        members_by(context, decisions(DAYS[:1], hour=21))


def test_before_the_first_row_nobody_is_a_member(store: ObjectStore) -> None:
    with opened(universe=universe(store, (DAYS[3], "A", True))) as context:
        assert by_day(members_by(context, decisions(DAYS[:2], hour=21))) == {}


def test_a_column_of_words_is_refused(store: ObjectStore) -> None:
    dataset = Dataset(store, known_at="observed")
    dataset.refresh(rows((DAYS[0], "A", True)).with_columns(pl.lit("yes").alias("member")))
    with opened(universe=dataset) as context, pytest.raises(InvalidInputError, match="does not say who is a member"):
        members_by(context, decisions(DAYS))


def test_a_universe_in_which_nobody_ever_leaves_though_names_end_is_warned_of(store: ObjectStore) -> None:
    told = Told()
    with opened(told=told, universe=universe(store, (DAYS[0], "A", True), (DAYS[1], "B", True))) as context:
        members_by(context, decisions(DAYS))
    assert ["give a row with false where a name leaves" in text for _, text, _ in told.lines] == [True]
    quiet = Told()
    ends = universe(store, (DAYS[0], "A", True), (DAYS[1], "B", True), (DAYS[1], "A", False), runs=10)
    with opened(told=quiet, universe=ends) as context:
        members_by(context, decisions(DAYS))
    assert quiet.lines == []


contents = st.dictionaries(
    st.tuples(st.sampled_from(DAYS), st.sampled_from("AB")), st.sampled_from([True, False, None]), min_size=1
)


@settings(max_examples=60, deadline=None)
@given(st.lists(contents, min_size=1, max_size=4), st.lists(st.integers(1, 6), min_size=4, max_size=4))
def test_members_are_what_a_reading_as_of_each_decision_says(
    history: list[dict[tuple[dt.date, str], bool | None]], days: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(open_store(folder), known_at="observed")
        for content, day in zip(history, sorted(days), strict=False):
            at = dt.datetime(2024, 3, day, 12, tzinfo=dt.UTC) + dt.timedelta(minutes=dataset.runs)
            said = rows(*((date, symbol, member) for (date, symbol), member in content.items()))
            dataset.refresh(said, at=at, mode="full")
        version = dataset.current
        assert version is not None
        asked = decisions(DAYS, hour=21)
        with opened(universe=dataset) as context:
            try:
                found = by_day(members_by(context, asked))
            except NothingKnownError:
                found = {}
            cells = carried(context, pl.Series("date", DAYS))
        for day, decided_at in asked.iter_rows():
            then = read(dataset.store, version, as_of=decided_at, end=day).sort("date").group_by("symbol").last()
            assert found.get(day, "") == "".join(sorted(then.filter("member")["symbol"])), day
            # What a session's membership is, and is known by then, it also is in what was known then.
            with opened(universe=dataset, as_of=decided_at) as context:
                before = carried(context, pl.Series("date", DAYS))
            known = cells.filter(pl.col("known_at") <= decided_at).drop("known_at").to_dicts()
            assert [cell for cell in known if cell not in before.drop("known_at").to_dicts()] == []


def test_cross_sections_of_an_expression_see_those_who_are_members_since(store: ObjectStore) -> None:
    close = Dataset(store, known_at={"lag": "date + 0d"})
    days = [dt.date(2024, 3, 1), dt.date(2024, 3, 4), dt.date(2024, 3, 5)]
    close.refresh(
        pl.DataFrame(
            [(day, symbol, value) for day in days for symbol, value in (("A", 1.0), ("B", 2.0), ("C", 3.0))],
            schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64},
            orient="row",
        )
    )
    # A Saturday is no session of the prices, and becomes none.
    said = [(dt.date(2024, 2, 1), name, True) for name in "AB"]
    members = universe(store, *said, (dt.date(2024, 3, 2), "A", False), (dt.date(2024, 3, 2), "C", True), runs=9)
    with opened(config=CONFIG, close=close, universe=members) as context:
        found = evaluate(context)
    assert by_day(found) == {days[0]: "AB", days[1]: "BC", days[2]: "BC"}
    assert found["value"].to_list() == [0.5, 1.0] * 3


def test_a_model_sees_the_features_of_those_who_are_members_since(store: ObjectStore) -> None:
    days = [dt.date(2024, 3, 1), dt.date(2024, 3, 4)]
    size = Dataset(store, known_at={"lag": "date + 0d"})
    size.refresh(
        pl.DataFrame({"date": [days[0]] * 2 + [days[1]] * 2, "symbol": ["A", "B"] * 2, "size": [1.0, 2.0, 3.0, 4.0]})
    )
    said = [(dt.date(2024, 2, 1), "A", True), (days[1], "A", False), (days[1], "B", True)]
    with opened(size=size, universe=universe(store, *said, runs=9)) as context:
        found = read_features(context, pl.Series("date", days), calendar="weekdays", keeps_gaps=False)
    assert by_day(found.frame) == {days[0]: "A", days[1]: "B"}
    assert found.members == 2


def test_the_simulator_as_a_function_takes_a_universe_in_the_same_way() -> None:
    days = [dt.date(2024, 3, day) for day in (1, 4, 5, 6)]
    closes = {"A": [1.0, 1.0, 2.0, 2.0], "B": [1.0, 1.0, 1.0, 2.0]}
    prices = pl.DataFrame({"date": days, **closes})
    weights = pl.DataFrame({"date": days[:1], "A": [1.0], "B": [0.0]})
    # B joins on the second day, A does not leave with it.
    members = rows((days[0], "A", True), (days[1], "B", True))
    done = backtest(weights=weights, prices=prices, universe=members)
    assert done.benchmark.tolist()[-2:] == pytest.approx([0.5, 0.5])
