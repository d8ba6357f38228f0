"""Figures of the quality of a table: what is missing, what lies far off, what repeats, and where sessions are gaps.

A table has one row for each event date and series: a symbol, or several columns together; one row a date where there is
no series. Columns that are measured are named by the caller.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

NORMAL_MAD = 1.4826022185056018
"""1 / Phi^-1(3/4): the median absolute deviation of a normal distribution times this is its standard deviation."""

MIN_HISTORY = 30
"""Fewer values than this say nothing of what is usual."""


def missing_shares(
    frame: pl.DataFrame, columns: Sequence[str], *, date: str = "date", series: Sequence[str] = ("symbol",)
) -> dict[str, float]:
    """Compute by column the share of cells without a value: null, NaN, or in a row that is not there.

    Parameters
    ----------
    frame
        The rows.
    columns
        What is measured; of any type.
    date, series
        The event date, and the columns that together name a series; none where the table has one row a date.

    Returns
    -------
    dict
        Fractions in [0, 1]. A series is expected on each date of the table from its own first row to its last one, so
        names that come and go are not missing. NaN without rows.

    Examples
    --------
    >>> days = [dt.date(2024, 1, day) for day in (2, 3, 4)]
    >>> rows = {"date": [*days, days[0], days[2]], "symbol": ["A"] * 3 + ["B"] * 2, "close": [1.0, None, 3.0, 1.0, 2.0]}
    >>> round(missing_shares(pl.DataFrame(rows), ["close"])["close"], 6)  # one null, and B on the second day, of six
    0.333333
    """
    if frame.is_empty():
        return dict.fromkeys(columns, math.nan)
    place = frame.select(*series, place=pl.col(date).rank("dense").cast(pl.Int64))
    spans = (place.group_by(*series) if series else place.group_by(pl.lit(0))).agg(
        expected=pl.col("place").max() - pl.col("place").min() + 1, present=pl.col("place").n_unique()
    )
    expected = int(spans["expected"].sum())
    absent = expected - int(spans["present"].sum())
    cells = frame.height + absent
    return {name: (int(_is_missing(frame[name]).sum()) + absent) / cells for name in columns}


def _is_missing(column: pl.Series) -> pl.Series:
    if column.dtype.is_float():
        return column.is_null() | column.is_nan().fill_null(value=False)
    return column.is_null()


def duplicate_share(
    frame: pl.DataFrame, columns: Sequence[str], *, date: str = "date", series: Sequence[str] = ("symbol",)
) -> float:
    """Compute the share of rows that repeat, in all columns, the row before of the same series.

    They are what a source delivers that stands still. A key that stands in two rows counts too, whatever its values
    are; a dataset of the ledger has none. Rows without any value are missing, and repeat nothing.

    Parameters
    ----------
    frame
        The rows.
    columns
        What is compared; null is equal to null, NaN to NaN.
    date, series
        As for `missing_shares`.

    Returns
    -------
    float
        A fraction of all rows. The first row of a series repeats nothing. NaN without rows or without columns.

    Examples
    --------
    >>> days = [dt.date(2024, 1, day) for day in (2, 3, 4)]
    >>> duplicate_share(pl.DataFrame({"date": days, "close": [1.0, 1.0, 2.0]}), ["close"], series=())  # the second row
    0.3333333333333333
    """
    if frame.is_empty() or not columns:
        return math.nan
    ordered = frame.select(date, *series, *columns).sort(*series, date, maintain_order=True)
    before = ordered[:-1]
    rows = ordered[1:]

    def equal(name: str) -> pl.Series:
        return rows[name].eq_missing(before[name])

    same_series = same_values = pl.repeat(value=True, n=rows.height, dtype=pl.Boolean(), eager=True)
    is_known = ~same_values
    for name in series:
        same_series &= equal(name)
    for name in columns:
        same_values &= equal(name)
        is_known |= ~_is_missing(rows[name])
    return int((same_series & (same_values & is_known | equal(date))).sum()) / frame.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Outliers:
    """Values of a column that lie far from its own history.

    Attributes
    ----------
    share
        Of the values in the window, as a fraction; NaN where it cannot be said.
    history_share
        The same of the values before the window, which is what is usual.
    largest
        The greatest distance in the window, in robust standard deviations; NaN likewise.
    measured
        `changes` or `values`: what was looked at.
    count, history_count
        Values in the window, and before it.
    """

    share: float
    history_share: float
    largest: float
    measured: str
    count: int
    history_count: int


def find_outliers(
    frame: pl.DataFrame,
    column: str,
    *,
    start: dt.date,
    date: str = "date",
    series: Sequence[str] = ("symbol",),
    mads: float = 5.0,
) -> Outliers:
    """Measure how far the values of a window lie from the history of their column, in robust standard deviations.

    A column that is positive everywhere (prices, volumes) is looked at by its changes: log(x_t / x_{t-1}), to the row
    before of the same series, since its level may grow for ever. Any other is looked at by its values. With the median
    m and the median absolute deviation of all series before the window, the distance of x is |x - m| / (1.4826 MAD),
    and x lies far off if it is above `mads`.

    Parameters
    ----------
    frame
        The rows, of the window and before it.
    column
        Of numbers; null and what is not finite is left out.
    start
        The first event date of the window.
    date, series
        As for `missing_shares`.
    mads
        From which distance on a value lies far off.

    Returns
    -------
    Outliers
        NaN with fewer than 30 values before the window, and where half of them are equal (their MAD is 0).

    Examples
    --------
    >>> days = [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(60)]
    >>> values = [(-1.0) ** number * (1 + number % 3) for number in range(59)] + [1000.0]
    >>> found = find_outliers(pl.DataFrame({"date": days, "x": values}), "x", start=days[50], series=())
    >>> found.share, found.measured
    (0.1, 'values')
    """
    value = pl.col(column).cast(pl.Float64)
    ordered = frame.select(date, *series, pl.when(value.is_finite()).then(value).alias(column)).sort(*series, date)
    is_positive = ordered[column].drop_nulls().len() > 0 and float(ordered[column].drop_nulls().to_numpy().min()) > 0
    if is_positive:
        change = pl.col(column).log().diff()
        ordered = ordered.with_columns((change.over(*series) if series else change).alias(column))
    known = ordered.select(date, column).drop_nulls()
    is_new = (known[date] >= start).to_numpy()
    values = known[column].to_numpy()
    window, history = values[is_new], values[~is_new]
    center = float(np.median(history)) if history.size else math.nan
    spread = NORMAL_MAD * float(np.median(np.abs(history - center))) if history.size else 0.0
    share = history_share = largest = math.nan
    if history.size >= MIN_HISTORY and spread > 0:
        distances, usual = np.abs(window - center) / spread, np.abs(history - center) / spread
        history_share = float(np.mean(usual > mads))
        if window.size:
            share, largest = float(np.mean(distances > mads)), float(distances.max())
    return Outliers(
        share=share,
        history_share=history_share,
        largest=largest,
        measured="changes" if is_positive else "values",
        count=int(window.size),
        history_count=int(history.size),
    )


def find_gaps(dates: Sequence[dt.date], sessions: Sequence[dt.date]) -> list[dt.date]:
    """Give the sessions between the first and the last date that are no date; holidays are no sessions, so no gaps.

    Examples
    --------
    >>> monday = dt.date(2024, 7, 1)
    >>> week = [monday + dt.timedelta(days=number) for number in range(5)]
    >>> sessions = [day for day in week if day != dt.date(2024, 7, 4)]
    >>> find_gaps([week[0], week[1], week[4]], sessions)  # Wednesday; Thursday is a holiday
    [datetime.date(2024, 7, 3)]
    """
    there = set(dates)
    return [] if not there else [day for day in sessions if min(there) < day < max(there) and day not in there]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChanges:
    """How the columns of a table differ from those before, each sorted by name."""

    new: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many columns differ."""
        return len(self.new) + len(self.vanished) + len(self.retyped)


def compare_schemas(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> SchemaChanges:
    """Compare two lists of columns, name to type; a type that is None is equal to any.

    Examples
    --------
    >>> changes = compare_schemas({"close": "Float64", "volume": "Int64"}, {"close": "Int64", "open": "Float64"})
    >>> changes.new, changes.vanished, changes.retyped, changes.count
    (('open',), ('volume',), ('close',), 3)
    """
    both = before.keys() & after.keys()
    return SchemaChanges(
        new=tuple(sorted(after.keys() - both)),
        vanished=tuple(sorted(before.keys() - both)),
        retyped=tuple(
            sorted(name for name in both if None not in (before[name], after[name]) and before[name] != after[name])
        ),
    )
