"""Two tables, value by value: which rows and columns differ, where first, and by how much."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from optaic.domain.comparison import FLOOR, IDENTICAL, TOLERANCE, Part, Place, Verdict, verdict_of

_ROW = "\0row"
_OTHER = "\0other"


def compare_frames(
    part: Part,
    name: str,
    original: pl.DataFrame,
    reproduction: pl.DataFrame,
    *,
    keys: Sequence[Sequence[str]] | None = None,
) -> Iterator[Place]:
    """Compare two tables value by value, rows of the same key with each other.

    Parameters
    ----------
    part, name
        What the tables are.
    original, reproduction
        The tables. Null equals null and NaN equals NaN.
    keys
        Columns that may identify a row; the first that do in both tables are taken. By default the fewest leading
        columns of dates, instants, texts, whole numbers and truth values that do. Without any, rows are compared by
        their place.

    Yields
    ------
    Place
        One for each column that differs, however little: the first row where it does, how many do, and the largest
        relative difference. It is relative to the larger of both magnitudes, or to a millionth of the largest
        magnitude in the column where that is more.

    Examples
    --------
    >>> one = pl.DataFrame({"date": ["d1", "d2"], "x": [1.0, 2.0]})
    >>> (place,) = compare_frames(Part.ARTIFACT, "x.parquet", one, one.with_columns(x=pl.Series([1.0, 4.0])))
    >>> place.column, place.key, place.original, place.reproduction, place.gap
    ('x', {'date': 'd2'}, 2.0, 4.0, 0.5)
    """
    original, reproduction = _plain(original), _plain(reproduction)
    for column in [*original.columns, *(column for column in reproduction.columns if column not in original.columns)]:
        if column not in original.columns or column not in reproduction.columns:
            where = "original" if column in original.columns else "reproduction"
            yield Place(part=part, name=name, column=column, note=f"the column is only in the {where}")
        elif original.schema[column] != reproduction.schema[column]:
            types = str(original.schema[column]), str(reproduction.schema[column])
            yield Place(part=part, name=name, column=column, original=types[0], reproduction=types[1], note="its type")
    shared = [column for column in original.columns if original.schema[column] == reproduction.schema.get(column)]
    key = _key_of(original.select(shared), reproduction.select(shared), keys)
    one, other, lone = _aligned(original.select(shared), reproduction.select(shared), key)
    for where, rows in lone.items():
        if rows.height:
            yield Place(
                part=part,
                name=name,
                key=_shown(rows, key, 0),
                count=rows.height,
                note=f"the row is only in the {where}",
            )
    for column in shared:
        if column not in key:
            place = _compare_column(one, other, column, key)
            if place is not None:
                yield replace(place, part=part, name=name)


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Make texts of categories: those of two files may be numbered differently."""
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def _key_of(
    original: pl.DataFrame, reproduction: pl.DataFrame, keys: Sequence[Sequence[str]] | None
) -> tuple[str, ...]:
    if keys is None:
        leading: list[str] = []
        for column, dtype in original.schema.items():
            if not (dtype.is_temporal() or dtype.is_integer() or dtype in (pl.String(), pl.Boolean())):
                break
            leading.append(column)
        keys = [leading[:count] for count in range(1, len(leading) + 1)]
    for key in keys:
        is_there = all(column in original.columns for column in key)
        if is_there and not any(frame.select(key).is_duplicated().any() for frame in (original, reproduction)):
            return tuple(key)
    return ()


def _aligned(
    original: pl.DataFrame, reproduction: pl.DataFrame, key: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, pl.DataFrame]]:
    """Put rows of the same key side by side; and give the rows that only one of the tables has."""
    if not key:
        height = min(original.height, reproduction.height)
        numbered = {"original": original, "reproduction": reproduction}
        lone = {where: frame.with_row_index(_ROW).slice(height) for where, frame in numbered.items()}
        return original.head(height), reproduction.head(height), lone
    if original.select(key).equals(reproduction.select(key)):
        return original, reproduction, {}
    ours = original.select(key).with_row_index(_ROW)
    theirs = reproduction.select(key).with_row_index(_OTHER)
    both = ours.join(theirs, on=key, how="inner", nulls_equal=True, maintain_order="left")
    lone = {
        "original": ours.join(theirs, on=key, how="anti", nulls_equal=True, maintain_order="left"),
        "reproduction": theirs.join(ours, on=key, how="anti", nulls_equal=True, maintain_order="left"),
    }
    return original[both[_ROW]], reproduction[both[_OTHER]], lone


def _compare_column(
    original: pl.DataFrame, reproduction: pl.DataFrame, column: str, key: tuple[str, ...]
) -> Place | None:
    one, other = original[column], reproduction[column]
    differs = one.ne_missing(other)
    if not differs.any():
        return None
    if not one.dtype.is_float():
        return _place(original, (one, other), key, differs, None)
    gaps = _gaps(one, other)
    # What is worst is shown: a value beyond tolerance, else one beyond what counts as identical, else any.
    is_worst = differs & (gaps.is_null() | (gaps > TOLERANCE))
    largest = None if (differs & gaps.is_null()).any() else float(gaps.filter(differs).to_numpy().max())
    is_noise = differs & gaps.is_not_null() & (gaps > IDENTICAL)
    shown = is_worst if is_worst.any() else is_noise if is_noise.any() else differs
    counted = differs if verdict_of(largest) is Verdict.IDENTICAL else is_worst | is_noise
    place = _place(original, (one, other), key, shown, largest)
    return replace(place, count=int(counted.sum()))


def _gaps(one: pl.Series, other: pl.Series) -> pl.Series:
    """Give the relative differences of two columns; null where one of them has no finite number."""
    frame = pl.DataFrame({"a": one.cast(pl.Float64), "b": other.cast(pl.Float64)})
    a, b = pl.col("a"), pl.col("b")
    is_finite = a.is_finite() & b.is_finite()
    size = pl.max_horizontal(a.abs(), b.abs())
    floor = size.filter(is_finite).max().fill_null(0.0) * FLOOR
    gap = (a - b).abs() / pl.max_horizontal(size, floor)
    return frame.select(gap=pl.when(is_finite).then(pl.when(a == b).then(0.0).otherwise(gap)))["gap"]


def _place(
    frame: pl.DataFrame, values: tuple[pl.Series, pl.Series], key: tuple[str, ...], shown: pl.Series, gap: float | None
) -> Place:
    first = shown.arg_true()[0]
    one, other = values
    return Place(
        part=Part.ARTIFACT,
        name="",
        column=one.name,
        key=_shown(frame, key, first) if key else {"row": first},
        original=_value(one[first]),
        reproduction=_value(other[first]),
        gap=gap if gap is None or math.isfinite(gap) else None,
        count=int(shown.sum()),
    )


def _shown(rows: pl.DataFrame, key: tuple[str, ...], number: int) -> dict[str, Any]:
    """Name a row."""
    row = rows.row(number, named=True)
    return {column: _value(row[column]) for column in key} if key else {"row": row[_ROW]}


def _value(value: object) -> Any:
    """Give a value of a table as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
