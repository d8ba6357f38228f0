"""Two tables: which rows and columns differ, where first, and by how much."""

from __future__ import annotations

import datetime as dt
import json
import math

import polars as pl
import pytest

from optaic.domain.comparison import Part, Place
from optaic.flows.difference import compare_frames

DAYS = [dt.date(2024, 1, day) for day in (2, 2, 3, 3)]
TABLE = pl.DataFrame({"date": DAYS, "symbol": ["A", "B", "A", "B"], "close": [1.0, 2.0, 3.0, 4.0], "n": [1, 2, 3, 4]})


def compare(one: pl.DataFrame, other: pl.DataFrame) -> list[Place]:
    found = list(compare_frames(Part.ARTIFACT, "t.parquet", one, other))
    json.dumps([place.to_json() for place in found], allow_nan=False)
    return found


def with_close(values: list[float | None]) -> pl.DataFrame:
    return TABLE.with_columns(close=pl.Series(values, dtype=pl.Float64))


def test_equal_tables_have_no_place_whatever_the_order_of_their_rows() -> None:
    assert compare(TABLE, TABLE) == []
    assert compare(TABLE, TABLE.reverse()) == []
    missing = with_close([1.0, None, math.nan, math.inf])
    assert compare(missing, missing.reverse()) == []
    assert compare(TABLE.clear(), TABLE.clear()) == []


def test_a_value_is_found_by_its_key() -> None:
    (found,) = compare(TABLE, with_close([1.0, 2.0, 3.0, 5.0]).reverse())
    assert found.column == "close"
    assert found.key == {"date": "2024-01-03", "symbol": "B"}
    assert (found.original, found.reproduction, found.gap, found.count) == (4.0, 5.0, 0.2, 1)


def test_the_first_of_the_worst_values_is_shown_and_all_that_count_are_counted() -> None:
    (found,) = compare(TABLE, with_close([1.0 + 1e-12, 2.0 + 1e-7, 3.5, 4.5]))
    assert (found.original, found.reproduction, found.count) == (3.0, 3.5, 3)
    assert found.gap == pytest.approx(0.5 / 3.5)
    (found,) = compare(TABLE, with_close([1.0 + 1e-12, 2.0, 3.0, 4.0]))
    assert (found.verdict, found.count) == ("identical", 1)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_number_that_is_missing_on_one_side_is_different(value: float | None) -> None:
    (found,) = compare(TABLE, with_close([1.0, 2.0, value, 4.0]))
    assert (found.gap, found.verdict, found.original) == (None, "different", 3.0)
    assert found.key == {"date": "2024-01-03", "symbol": "A"}


def test_what_is_left_of_a_sum_that_cancels_out_is_rounding_and_a_small_value_is_not() -> None:
    # Relative to a millionth of the column's largest magnitude, 4: 1e-17 / 4e-6 is nothing.
    (found,) = compare(with_close([0.0, 2.0, 3.0, 4.0]), with_close([1e-17, 2.0, 3.0, 4.0]))
    assert found.verdict == "identical"
    (found,) = compare(with_close([1e-5, 2.0, 3.0, 4.0]), with_close([1.1e-5, 2.0, 3.0, 4.0]))
    assert found.verdict == "different"
    small = TABLE.with_columns(pl.col("close") * 1e-12)
    (found,) = compare(small, small.with_columns(pl.col("close") * 1.001))
    assert found.gap == pytest.approx(0.001 / 1.001)


def test_whole_numbers_and_texts_are_right_or_wrong() -> None:
    (found,) = compare(TABLE, TABLE.with_columns(n=pl.Series([1, 2, 3, 5])))
    assert (found.column, found.gap, found.verdict) == ("n", None, "different")


def test_rows_of_one_table_only_are_told_once_with_their_number() -> None:
    found = compare(TABLE, TABLE.head(2))
    assert [(place.note, place.key, place.count) for place in found] == [
        ("the row is only in the original", {"date": "2024-01-03", "symbol": "A"}, 2)
    ]
    found = compare(TABLE.head(2), TABLE)
    assert [place.note for place in found] == ["the row is only in the reproduction"]
    assert [place.verdict for place in found] == ["different"]


def test_columns_and_types_that_differ_are_told() -> None:
    other = TABLE.drop("n").with_columns(pl.col("close").cast(pl.Float32), pl.lit(1).alias("m"))
    told = [(place.column, place.note) for place in compare(TABLE, other)]
    assert told == [
        ("close", "its type"),
        ("n", "the column is only in the original"),
        ("m", "the column is only in the reproduction"),
    ]


def test_a_table_without_a_key_is_compared_by_place() -> None:
    one = pl.DataFrame({"x": [1.0, 1.0, 2.0]})
    (found,) = compare(one, pl.DataFrame({"x": [1.0, 1.5, 2.0]}))
    assert found.key == {"row": 1}
    told = [(place.note, place.key, place.count) for place in compare(one, one.head(1))]
    assert told == [("the row is only in the original", {"row": 1}, 2)]


def test_categories_are_compared_as_texts_and_lists_as_they_are() -> None:
    one = pl.DataFrame({"symbol": ["B", "A"], "sector": ["x", "y"], "path": [[1.0], [2.0, 3.0]]})
    one = one.with_columns(pl.col("sector").cast(pl.Categorical))
    other = one.reverse().with_columns(pl.col("sector").cast(pl.String).cast(pl.Categorical))
    assert compare(one, other) == []
    (found,) = compare(one, one.with_columns(path=pl.Series([[1.0], [2.0, 4.0]])))
    assert (found.column, found.key, found.verdict) == ("path", {"symbol": "A"}, "different")
