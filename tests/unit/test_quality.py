"""What is missing, lies far off, repeats, or is a gap: counted by hand."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest

from optaic.flows.calendar import sessions
from optaic.quant.quality import (
    NORMAL_MAD,
    compare_schemas,
    duplicate_share,
    find_gaps,
    find_outliers,
    missing_shares,
)

DAYS = [dt.date(2024, 1, day) for day in range(1, 31)]


def test_missing_are_null_and_nan_and_rows_that_are_not_there() -> None:
    rows = [(0, "A", 1.0, "x"), (1, "A", None, "x"), (2, "A", math.nan, None), (0, "B", 1.0, "x"), (2, "B", 1.0, "x")]
    frame = pl.DataFrame(
        [(DAYS[day], symbol, value, text) for day, symbol, value, text in rows],
        schema=["date", "symbol", "value", "text"],
        orient="row",
    )
    # B has no row on the second day; of six cells of each column two more are missing, and one.
    assert missing_shares(frame, ["value", "text"]) == {"value": 3 / 6, "text": 2 / 6}


def test_names_that_come_and_go_are_not_missing() -> None:
    rows = [(0, "A"), (1, "A"), (1, "B"), (2, "B"), (2, "C")]
    frame = pl.DataFrame([(DAYS[day], name, 1.0) for day, name in rows], schema=["date", "symbol", "x"], orient="row")
    assert missing_shares(frame, ["x"]) == {"x": 0.0}


def test_a_table_without_series_has_a_row_a_date() -> None:
    frame = pl.DataFrame({"date": DAYS[:4], "x": [1.0, None, 2.0, 2.0]})
    assert missing_shares(frame, ["x"], series=()) == {"x": 0.25}
    assert duplicate_share(frame, ["x"], series=()) == 0.25
    assert math.isnan(missing_shares(frame.clear(), ["x"], series=())["x"])
    assert math.isnan(duplicate_share(frame.clear(), ["x"], series=()))


def test_a_row_repeats_the_one_before_of_its_own_series_in_all_columns() -> None:
    rows = [
        (0, "A", 1.0, 5), (0, "B", 1.0, 5),  # B's first row repeats nothing, though A's is equal
        (1, "A", 1.0, 5), (1, "B", 1.0, 6),  # A's repeats, B's differs in one column
        (2, "A", None, None), (3, "A", None, None),  # rows without any value are missing, not repeated
    ]  # fmt: skip
    frame = pl.DataFrame(
        [(DAYS[day], name, x, n) for day, name, x, n in rows], schema=["date", "symbol", "x", "n"], orient="row"
    )
    assert duplicate_share(frame, ["x", "n"]) == 1 / 6
    twice = pl.concat([frame, frame.filter(pl.col("date") == DAYS[0]).with_columns(x=9.0)])
    assert duplicate_share(twice, ["x", "n"]) == 2 / 8


def test_an_outlier_is_told_by_the_median_and_the_median_deviation_before_the_window() -> None:
    usual = np.tile([-3.0, -1.0, 0.0, 1.0, 3.0], 8)
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(44)]
    frame = pl.DataFrame({"date": days, "x": [*usual, 0.0, 7.0, -8.0, None]})
    found = find_outliers(frame, "x", start=days[40], series=())
    # Median 0, median deviation 1: 7 is 4.72 robust deviations off, -8 is 5.40.
    assert found.largest == pytest.approx(8 / NORMAL_MAD, rel=1e-12)
    assert (found.share, found.history_share, found.count, found.history_count) == (1 / 3, 0.0, 3, 40)
    assert find_outliers(frame, "x", start=days[40], series=(), mads=4.5).share == 2 / 3


def test_a_column_that_is_positive_is_measured_by_its_changes_so_growth_is_no_outlier() -> None:
    random = np.random.default_rng(5)
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=number) for number in range(500)]
    level = np.exp(np.cumsum(random.normal(0.01, 0.01, 500)))  # up 150-fold
    names = pl.DataFrame({"date": days, "symbol": "A", "close": level})
    both = pl.concat([names, names.with_columns(symbol=pl.lit("B"), close=pl.col("close") * 1000)])
    found = find_outliers(both, "close", start=days[440])
    assert (found.measured, found.share, found.count) == ("changes", 0.0, 120)
    assert found.largest < 5


def test_what_has_no_history_or_no_spread_is_not_judged() -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(60)]
    constant = pl.DataFrame({"date": days, "x": [-2.0] * 59 + [5.0]})
    assert math.isnan(find_outliers(constant, "x", start=days[40], series=()).share)
    short = pl.DataFrame({"date": days, "x": np.random.default_rng(1).normal(size=60)})
    assert math.isnan(find_outliers(short, "x", start=days[29], series=()).share)
    assert not math.isnan(find_outliers(short, "x", start=days[30], series=()).share)
    nothing = pl.DataFrame({"date": days, "x": [None] * 60}, schema_overrides={"x": pl.Float64()})
    assert math.isnan(find_outliers(nothing, "x", start=days[40], series=()).share)


def test_thanksgiving_is_no_gap_and_the_friday_after_it_is_a_session() -> None:
    week = [dt.date(2024, 11, day) for day in (25, 26, 27, 29)]
    known = sessions(week[0], week[-1], "XNYS")
    assert find_gaps(week, known) == []
    without_wednesday = [week[0], week[1], week[3]]
    assert find_gaps(without_wednesday, known) == [dt.date(2024, 11, 27)]
    # By weekdays it would be one; what lies outside the dates is no gap.
    assert find_gaps(week, sessions(week[0], week[-1], "weekdays")) == [dt.date(2024, 11, 28)]
    assert find_gaps(week[:2], sessions(dt.date(2024, 11, 1), week[-1], "XNYS")) == []
    assert find_gaps([], known) == []


def test_columns_are_new_vanished_or_of_another_type() -> None:
    changes = compare_schemas({"a": "Float64", "b": None, "c": "Int64"}, {"a": "Int64", "b": "String", "d": None})
    assert (changes.new, changes.vanished, changes.retyped, changes.count) == (("d",), ("c",), ("a",), 3)
    assert compare_schemas({"a": None}, {"a": "Int64"}).count == 0
