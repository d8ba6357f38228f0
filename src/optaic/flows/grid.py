"""Tables of dates and symbols, and the arrays of sessions by symbols that are computed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.domain.suggestion import did_you_mean
from optaic.domain.version import KNOWN_AT
from optaic.errors import InvalidInputError, InvalidOutputError
from optaic.flows.input import Input
from optaic.flows.table import as_polars
from optaic.storage.dtype import parse_dtype

DATE, SYMBOL, VALUE = "date", "symbol", "value"

Floats = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One value for each session and symbol.

    Attributes
    ----------
    dates : ndarray of shape (n_sessions,), datetime64[D]
        Ascending, each once.
    symbols : tuple of str, of length n_symbols
        Ascending, each once.
    values : ndarray of shape (n_sessions, n_symbols), float64
        NaN where there is none.
    """

    dates: Dates
    symbols: tuple[str, ...]
    values: Floats


def to_grid(
    frame: pl.DataFrame, column: str, *, dates: Dates | None = None, symbols: Sequence[str] | None = None
) -> Grid:
    """Spread the rows of a table over sessions and symbols.

    Parameters
    ----------
    frame
        `date` (Date), `symbol` (String) and the column, each key once.
    column
        The numbers or truth values to spread; null and what is not finite become NaN.
    dates, symbols
        The axes, ascending; rows beyond them are left out. None for those of the table.
    """
    if dates is None:
        dates = frame[DATE].unique().sort().to_numpy().astype("datetime64[D]")
    if symbols is None:
        symbols = frame[SYMBOL].unique().sort().to_list()
    values = np.full((len(dates), len(symbols)), np.nan)
    if len(dates) and len(symbols) and not frame.is_empty():
        row_dates = frame[DATE].to_numpy().astype("datetime64[D]")
        rows = np.minimum(np.searchsorted(dates, row_dates), len(dates) - 1)
        places = pl.DataFrame({SYMBOL: list(symbols), "place": np.arange(len(symbols))})
        columns = frame.select(SYMBOL).join(places, on=SYMBOL, how="left", maintain_order="left")["place"]
        is_known = (dates[rows] == row_dates) & columns.is_not_null().to_numpy()
        found = frame[column].cast(pl.Float64).to_numpy()
        values[rows[is_known], columns.fill_null(0).to_numpy()[is_known]] = found[is_known]
        values[~np.isfinite(values)] = np.nan
    return Grid(dates=dates, symbols=tuple(symbols), values=values)


def take_signal(table: object, *, instance: str) -> tuple[pl.DataFrame, str]:
    """Check a table that should be a signal, or another value for each date and symbol.

    Returns
    -------
    tuple of (DataFrame, str)
        `date` (Date), `symbol` (String), the value (Float64, null where it is missing or not finite) and `known_at` if
        it was there, sorted by date and symbol; and the name of the value.

    Raises
    ------
    InvalidOutputError
        If it is no such table: not a table, without these columns, with several columns of numbers, or a key twice.
    """
    frame = as_polars(table)
    if frame is None:
        raise InvalidOutputError(
            f"the definition of {instance} returned a {type(table).__name__}, which is not a table"
        )
    missing = [name for name in (DATE, SYMBOL) if name not in frame.columns]
    if missing:
        has = ", ".join(frame.columns)
        raise InvalidOutputError(
            f"{instance}: the table has no column {' and no column '.join(missing)}; it has: {has}",
            next_step="return date, symbol and one column of values",
        )
    others = [name for name in frame.columns if name not in (DATE, SYMBOL, KNOWN_AT)]
    column = VALUE if VALUE in others else others[0] if len(others) == 1 else None
    if column is None:
        raise InvalidOutputError(
            f"{instance}: which column is the value? There are: {', '.join(others) or 'none'}",
            next_step="return date, symbol and one column of values, or name one of them `value`",
        )
    if not (frame.schema[column].is_numeric() or frame.schema[column] in (pl.Boolean(), pl.Null())):
        raise InvalidOutputError(f"{instance}: column {column!r} is {frame.schema[column]}, which is no number")
    if frame.schema[DATE] != pl.Date():
        frame = _with_dates(frame, instance)
    value = pl.col(column).cast(pl.Float64)
    kept = [KNOWN_AT] if KNOWN_AT in frame.columns else []
    frame = frame.select(
        DATE,
        pl.col(SYMBOL).cast(pl.String),
        pl.when(value.is_finite()).then(value).alias(column),
        *kept,
    ).sort(DATE, SYMBOL)
    if frame[DATE].null_count() or frame[SYMBOL].null_count():
        raise InvalidOutputError(f"{instance}: some rows have no date or no symbol", next_step="leave them out")
    if frame.select(DATE, SYMBOL).is_duplicated().any():
        raise InvalidOutputError(f"{instance}: a date and symbol stand in two rows", next_step="keep one row of each")
    return frame, column


def _with_dates(frame: pl.DataFrame, instance: str) -> pl.DataFrame:
    try:
        return frame.with_columns(pl.col(DATE).cast(pl.Date))
    except pl.exceptions.PolarsError as error:
        raise InvalidOutputError(f"{instance}: column 'date' is {frame.schema[DATE]}, which is no date") from error


def value_column(source: Input, *preferred: str) -> str:
    """Say which column of an input is meant: the only one, or the only one declared, else the first preferred one.

    Raises
    ------
    InvalidInputError
        If there are several, and none of them is preferred; or the one that is meant is not there.
    """
    columns = source.columns
    if len(columns) == 1:
        _check_column(source, columns[0])
        return columns[0]
    for name in preferred or (VALUE,):
        if name in columns:
            _check_column(source, name)
            return name
    raise InvalidInputError(
        f"{source.instance} has the columns {', '.join(columns)}: which one is read?",
        next_step=f"declare it in inputs, as {source.instance}[{columns[0] if columns else 'close'}]",
    )


def number_column(source: Input, *preferred: str) -> str:
    """Say which column of an input is meant, as `value_column` does, and refuse one that holds no numbers.

    Raises
    ------
    InvalidInputError
        As `value_column` says; or if the column is neither of numbers nor of truth values.
    """
    column = value_column(source, *preferred)
    dtype = source.types[column]
    kind = parse_dtype(dtype)
    if not (kind.is_numeric() or kind in (pl.Boolean(), pl.Null())):
        raise InvalidInputError(
            f"{source.instance}[{column}] is {dtype}, which is no number",
            next_step=f"name a column that is one, as {source.role}: {source.instance}[a]",
        )
    return column


def refuse_prices(frame: pl.DataFrame, column: str) -> None:
    """Refuse prices that cannot be, in the words of a backtest: zero, negative and infinite ones.

    Parameters
    ----------
    frame
        `date`, `symbol` and the column.
    column
        The prices; null and NaN are where there is none.

    Raises
    ------
    InvalidInputError
        If there is one; it names the first by date and symbol.
    """
    bad = impossible_prices(frame, column)
    if bad.is_empty():
        return
    first = bad.sort(DATE, SYMBOL).row(0, named=True)
    raise InvalidInputError(
        f"the price of {first[SYMBOL]} on {first[DATE]} is {first[column]:g} ({bad.height} such values)",
        next_step="give null where there is no price",
    )


def impossible_prices(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Give the rows whose price is zero, negative or infinite."""
    return frame.filter(~is_possible(column))


def is_possible(column: str) -> pl.Expr:
    """Say of each price whether it can be one: it is above zero and finite; null and NaN are no price, and can be."""
    price = pl.col(column).cast(pl.Float64)
    return ((price > 0) & ~price.is_infinite()).fill_null(value=True)


def _check_column(source: Input, name: str) -> None:
    if name not in source.all_columns and name not in source.keys:
        raise InvalidInputError(
            f"{source.instance} has no column {name!r}{did_you_mean(name, source.all_columns)}",
            next_step=f"name one of its columns: {', '.join(source.all_columns) or 'it has none'}",
        )
