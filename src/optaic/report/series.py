"""A line over dates: read from a frame, and thinned without losing a peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from optaic.errors import InvalidInputError

_LIMIT = 1e300
"""Beyond it, differences of two values have no float."""


_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, in days since 1970-01-01."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """Values over dates.

    Attributes
    ----------
    label
        What it is called in the legend.
    days
        int64 of shape (n,), days since 1970-01-01, ascending.
    values
        float64 of shape (n,); what is not finite is a gap.
    is_quiet
        Drawn behind the others and lighter: a benchmark.
    """

    label: str
    days: NDArray[np.int64]
    values: NDArray[np.float64]
    is_quiet: bool = False


def read_series(frame: pl.DataFrame, column: str, *, label: str, is_quiet: bool = False) -> Series:
    """Take a column of a frame over its dates.

    Parameters
    ----------
    frame
        `date` (Date or Datetime; rows without one are left out) and the column (any number).
    column
        Which one.
    label
        What the line is called.
    is_quiet
        Whether it stands behind the others.

    Returns
    -------
    Series
        Sorted by date; null, NaN, infinities and magnitudes above 1e300 are gaps. An empty frame gives an empty one.

    Raises
    ------
    InvalidInputError
        If the frame lacks the column or `date`, they are of another type, or a date lies outside the years 1 to 9999.
    """
    for name in ("date", column):
        if name not in frame.columns:
            raise InvalidInputError(
                f"a frame of the report has no column {name}: it has {', '.join(frame.columns) or 'none'}",
                next_step=f"give a frame with the columns date and {column}",
            )
    types = frame.schema
    if not isinstance(types["date"], pl.Date | pl.Datetime | pl.Null) or not (
        types[column].is_numeric() or isinstance(types[column], pl.Null)
    ):
        raise InvalidInputError(
            f"columns of the report's frame have the wrong type: date {types['date']}, {column} {types[column]}",
            next_step="date must be a Date, the value a number",
        )
    clean = frame.select(pl.col("date").cast(pl.Date), pl.col(column).cast(pl.Float64)).drop_nulls("date").sort("date")
    days = clean["date"].to_physical().to_numpy().astype(np.int64)
    if days.size and (days[0] < _FIRST_DAY or days[-1] > _LAST_DAY):
        raise InvalidInputError(
            "a date of the report's frame lies outside the years 1 to 9999", next_step="mend the column date"
        )
    values = clean[column].fill_null(float("nan")).to_numpy().astype(np.float64)
    with np.errstate(invalid="ignore"):
        values = np.where(np.abs(values) < _LIMIT, values, np.nan)
    return Series(label=label, days=days, values=values, is_quiet=is_quiet)


def thin(series: Series, buckets: int) -> list[Series]:
    """Cut a series at its gaps, and keep of each stretch of time only what shows: first, last, least and greatest.

    Parameters
    ----------
    series
        Any.
    buckets
        Into how many equal stretches its time is cut; about one for each pixel or two of the drawing.

    Returns
    -------
    list of Series
        The pieces between gaps, in order, none empty, all values finite; together at most `4 x buckets` points.
        The least and the greatest value are among them. A series of at most `2 x buckets` points keeps all.

    Notes
    -----
    The four points of M4 (Jugel, Jerzak, Hackenbroich, Markl 2014), with which a line is drawn without error at that
    width.
    """
    finite = np.isfinite(series.values)
    if not finite.any():
        return []
    piece = np.cumsum(~finite)[finite]
    days, values = series.days[finite], series.values[finite]
    if days.size > 2 * buckets:
        kept = _outstanding(days, values, buckets)
        piece, days, values = piece[kept], days[kept], values[kept]
    cuts = np.flatnonzero(np.diff(piece)) + 1
    return [
        Series(label=series.label, days=d, values=v, is_quiet=series.is_quiet)
        for d, v in zip(np.split(days, cuts), np.split(values, cuts), strict=True)
    ]


def _outstanding(days: NDArray[np.int64], values: NDArray[np.float64], buckets: int) -> NDArray[np.intp]:
    span = max(int(days[-1] - days[0]), 1)
    bucket = np.minimum((days - days[0]) * buckets // span, buckets - 1)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(bucket)) + 1))
    ends = np.concatenate((starts[1:] - 1, [days.size - 1]))
    by_value = np.lexsort((values, bucket))  # within each bucket from the least to the greatest
    return np.unique(np.concatenate((starts, ends, by_value[starts], by_value[ends])))
