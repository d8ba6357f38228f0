"""Rows of an input as they become known: read once, and brought forward from decision to decision."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.domain.version import DELETED, KNOWN_AT
from optaic.flows.grid import DATE, SYMBOL

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Dates = npt.NDArray[np.datetime64]

_PLACE = "place\0"  # no column that a person names has a null character
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Known:
    """What is known of an input at an instant, on a grid of its event dates and some symbols.

    Nothing is known at first; `advance` moves to an instant, and never back. Each row is looked at once, however many
    decisions there are.

    Parameters
    ----------
    rows
        As `Input.history` gives them: `date`, `symbol`, the columns, `known_at` and `_deleted`, in the order in which
        they became known.
    columns
        The columns of numbers or truth values that are followed.
    symbols
        The names, in the order of the grid's columns; rows of others are left out.

    Attributes
    ----------
    dates : ndarray of shape (n_dates,), datetime64[D]
        Of all rows, known by now or not; ascending.
    values : dict of ndarray of shape (n_dates, n_symbols), float64
        By column, what is known now; NaN where there is nothing, or nothing finite.
    is_there : ndarray of shape (n_dates, n_symbols), bool
        Where a row is known now, and not withdrawn.
    """

    def __init__(self, rows: pl.DataFrame, columns: Sequence[str], symbols: Sequence[str]) -> None:
        self.dates: Dates = rows[DATE].unique().sort().to_numpy().astype("datetime64[D]")
        places = pl.DataFrame({SYMBOL: pl.Series(symbols, dtype=pl.String), _PLACE: np.arange(len(symbols))})
        rows = rows.join(places, on=SYMBOL, how="inner", maintain_order="left")
        self._row = np.searchsorted(self.dates, rows[DATE].to_numpy().astype("datetime64[D]"))
        self._column = rows[_PLACE].to_numpy()
        self._known_at = rows[KNOWN_AT].dt.epoch("us").to_numpy()
        self._kept: Booleans = ~rows[DELETED].to_numpy()
        self._given: dict[str, Floats] = {}
        shape = (len(self.dates), len(symbols))
        self.values: dict[str, Floats] = {}
        for name in columns:
            given = rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            self._given[name] = np.where(self._kept & np.isfinite(given), given, np.nan)
            self.values[name] = np.full(shape, np.nan)
        self.is_there: Booleans = np.zeros(shape, dtype=np.bool_)
        self._end = 0

    @property
    def is_blind(self) -> bool:
        """Whether there are rows, and none of them is known by now."""
        return self._end == 0 and len(self._known_at) > 0

    def advance(self, instant: dt.datetime | None) -> None:
        """Take in what became known up to an instant, inclusive; None for all that there is."""
        end = len(self._known_at)
        if instant is not None:
            end = int(np.searchsorted(self._known_at, (instant - _EPOCH) // dt.timedelta(microseconds=1), side="right"))
        new = slice(self._end, max(end, self._end))
        # Of an index that is there twice the last value stays: that of the row that became known later.
        row, column = self._row[new], self._column[new]
        for name, given in self._given.items():
            self.values[name][row, column] = given[new]
        self.is_there[row, column] = self._kept[new]
        self._end = new.stop

    def count_until(self, date: np.datetime64) -> int:
        """Count the dates up to one, inclusive."""
        return int(np.searchsorted(self.dates, date, side="right"))

    def last_rows(self, column: str, date: np.datetime64) -> tuple[Integers, Booleans]:
        """Find, for each symbol, its last date up to one that has a value in a column.

        Returns
        -------
        tuple of (ndarray of int64, ndarray of bool), both of shape (n_symbols,)
            The row of that date, and whether there is one; where there is none the row means nothing.
        """
        values = self.values[column][: self.count_until(date)]
        has_value = np.isfinite(values)
        if not len(values):
            symbols: int = values.shape[1]
            return np.zeros(symbols, dtype=np.int64), np.zeros(symbols, dtype=np.bool_)
        rows = len(values) - 1 - np.asarray(has_value[::-1].argmax(axis=0), dtype=np.int64)
        return rows, np.asarray(has_value.any(axis=0), dtype=np.bool_)
