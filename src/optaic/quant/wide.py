"""From frames of dates and symbols, long or wide, to arrays of shape (n_sessions, n_symbols)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from optaic.errors import InvalidInputError
from optaic.quant.panel import Dates, Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wide:
    """Values on a grid.

    Attributes
    ----------
    dates : ndarray of shape (n_sessions,), datetime64[D]
        Increasing, each once.
    symbols : list of str
        In alphabetical order, each once.
    values : ndarray of shape (n_sessions, n_symbols), float64
        NaN where the frame has nothing.
    """

    dates: Dates
    symbols: list[str]
    values: Floats


def read_frame(frame: Any, name: str) -> pl.DataFrame:
    """Take a table as a Polars frame with a column `date` of dates.

    Parameters
    ----------
    frame : polars.DataFrame, polars.LazyFrame or pandas.DataFrame
        Dates stand in the column `date`, in the only column of dates, or in the index of a pandas frame.
    name : str
        What the table is, for messages.

    Returns
    -------
    polars.DataFrame
        The column `date` (Date) and all others; of pandas, NaN has become null.

    Raises
    ------
    InvalidInputError
        If it is no such table, if it has no dates or several columns of them, or if a date is null or has a time of
        day.
    """
    table = _as_polars(frame, name)
    temporal = [column for column, kind in table.schema.items() if _is_temporal(kind)]
    if "date" in table.columns:
        temporal = ["date"]
    if len(temporal) != 1:
        raise InvalidInputError(
            f"{name} has no column `date`, and {len(temporal) or 'no'} columns of dates",
            next_step="name the column of sessions `date`",
        )
    table = table.rename({temporal[0]: "date"})
    kind = table.schema["date"]
    if not _is_temporal(kind):
        raise InvalidInputError(
            f"the dates of {name} are of type {kind}",
            next_step='convert them, for example by pl.col("date").str.to_date()',
        )
    dates = table["date"]
    if dates.null_count():
        raise InvalidInputError(f"{name} has {dates.null_count()} rows without a date", next_step="leave them out")
    if kind == pl.Datetime and (late := dates.filter(dates.dt.time() != dt.time())).len():
        raise InvalidInputError(
            f"{name} has dates with a time of day, the first is {late[0]}",
            next_step="give one row per session, by its date",
        )
    return table.with_columns(pl.col("date").dt.date())


def spread(table: pl.DataFrame, value: str, name: str) -> Wide:
    """Lay a table out on the grid of its dates and symbols.

    Parameters
    ----------
    table : polars.DataFrame
        From `read_frame`. With a column `symbol` it is long, and `value` is the column of values; without one it is
        wide: each column but `date` is a symbol. The order of rows and columns is of no importance.
    value : str
        The column of values of a long table.
    name : str
        What the table is, for messages.

    Returns
    -------
    Wide
        The grid; null and NaN are both NaN there.

    Raises
    ------
    InvalidInputError
        If a long table lacks `value`, if a symbol is null, if two rows have the same key, or if values are no numbers.
    """
    if "symbol" not in table.columns:
        return _spread_wide(table, name)
    if value not in table.columns:
        raise InvalidInputError(
            f"{name} has the columns {', '.join(table.columns)}",
            next_step=f"a long table has date, symbol and {value}; a wide one has date and a column for each symbol",
        )
    table = table.select("date", pl.col("symbol").cast(pl.String), value)
    if table["symbol"].null_count():
        raise InvalidInputError(f"{name} has rows without a symbol", next_step="leave them out")
    _check_numbers(table, [value], name)
    days, symbols = table["date"].unique().sort(), table["symbol"].unique().sort()
    rows = np.searchsorted(_days(days), _days(table["date"]))
    columns = table["symbol"].cast(pl.Enum(symbols)).to_physical().to_numpy()
    _check_keys(table, rows * len(symbols) + columns, name)
    values = np.full((len(days), len(symbols)), np.nan)
    values[rows, columns] = table[value].cast(pl.Float64).to_numpy()
    return Wide(dates=_days(days).astype("datetime64[D]"), symbols=symbols.to_list(), values=values)


def align(wide: Wide, onto: Wide, name: str, *, absent: float) -> Floats:
    """Lay values out on another grid, which must hold all their dates and symbols.

    Parameters
    ----------
    wide, onto : Wide
        The values, and the grid of prices.
    name : str
        What the values are, for messages.
    absent : float
        The value where there is none: not in the grid of `wide`, or NaN there.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols) of `onto`, float64
        The same array where the grids are the same.

    Raises
    ------
    InvalidInputError
        If a date of the values is no session of the prices, or if a symbol has no prices.
    """
    outside = np.isin(wide.dates, onto.dates, invert=True)
    if outside.any():
        raise InvalidInputError(
            f"{name}: {int(outside.sum())} of {len(wide.dates)} dates are no sessions of the prices, the first is "
            f"{wide.dates[outside][0]}",
            next_step="move them to the session before, or give prices of these days",
        )
    known = set(onto.symbols)
    unknown = [symbol for symbol in wide.symbols if symbol not in known]
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise InvalidInputError(
            f"{name}: there are no prices of {', '.join(unknown[:3])}{more}",
            next_step="give them, or leave these symbols out",
        )
    if wide.symbols == onto.symbols and len(wide.dates) == len(onto.dates):
        values = wide.values if wide.values.flags.writeable else wide.values.copy()
    else:
        rows = np.searchsorted(onto.dates, wide.dates)
        columns = np.searchsorted(onto.symbols, wide.symbols)
        values = np.full(onto.values.shape, absent)
        values[np.ix_(rows, columns)] = wide.values
    if not np.isnan(absent):
        values[np.isnan(values)] = absent
    return values


def refuse_values(wide: Wide, bad: np.ndarray[Any, np.dtype[np.bool_]], name: str, next_step: str) -> None:
    """Refuse the values where `bad` is True, naming the first of them by date and symbol.

    Parameters
    ----------
    wide : Wide
        The values.
    bad : ndarray of shape (n_sessions, n_symbols), bool
        Which of them are wrong.
    name, next_step : str
        What they are, and what to do.

    Raises
    ------
    InvalidInputError
        If there is one.
    """
    if not bad.any():
        return
    row, column = (int(index) for index in np.unravel_index(int(bad.argmax()), bad.shape))
    raise InvalidInputError(
        f"{name} of {wide.symbols[column]} on {wide.dates[row]} is {wide.values[row, column]:g} "
        f"({int(bad.sum())} such values)",
        next_step=next_step,
    )


def _as_polars(frame: Any, name: str) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect(engine="in-memory")  # the streaming engine sums in an order that changes
    if isinstance(frame, pl.DataFrame):
        return frame
    if type(frame).__module__.partition(".")[0] != "pandas" or not hasattr(frame, "columns"):
        raise InvalidInputError(
            f"{name} is of type {type(frame).__name__}", next_step="give a Polars or a pandas frame, long or wide"
        )
    # Column by column, because the conversion in one piece asks for a further library.
    table = frame if frame.index.names == [None] and str(frame.index.dtype).startswith("int") else frame.reset_index()
    columns: dict[str, pl.Series] = {}
    for column in table.columns:
        columns[str(column)] = _as_series(table[column]).alias(str(column))
    if len(columns) != len(table.columns):
        raise InvalidInputError(f"{name} has two columns of the same name", next_step="name each column once")
    return pl.DataFrame(columns)


def _as_series(column: Any) -> pl.Series:
    kind = column.dtype.kind
    if kind == "M":
        local = column if getattr(column.dtype, "tz", None) is None else column.dt.tz_localize(None)
        return pl.Series(local.to_numpy().astype("datetime64[us]"))
    if kind == "f" or (kind in "iu" and column.hasnans):
        return pl.Series(column.to_numpy(dtype=np.float64, na_value=np.nan)).fill_nan(None)
    return pl.Series(column.to_numpy() if kind in "iub" else column.tolist())


def _spread_wide(table: pl.DataFrame, name: str) -> Wide:
    table = table if table["date"].is_sorted() else table.sort("date")
    days = _days(table["date"])
    _check_keys(table, days - days.min(initial=0), name)
    symbols = sorted(column for column in table.columns if column != "date")
    _check_numbers(table, symbols, name)
    values = (
        table.select(pl.col(symbols).cast(pl.Float64)).to_numpy(order="c") if symbols else np.zeros((len(table), 0))
    )
    return Wide(dates=days.astype("datetime64[D]"), symbols=symbols, values=values)


def _days(dates: pl.Series) -> Integers:
    return dates.to_physical().cast(pl.Int64).to_numpy()


def _check_numbers(table: pl.DataFrame, columns: list[str], name: str) -> None:
    schema = table.schema  # made anew at each call, which for thousands of columns takes time
    wrong = [f"{column} ({schema[column]})" for column in columns if not _is_number(schema[column])]
    if wrong:
        raise InvalidInputError(
            f"{name} has columns that are no numbers: {', '.join(wrong[:3])}",
            next_step="convert or drop them; a long table names its symbols in a column `symbol`",
        )


def _is_temporal(kind: pl.DataType) -> bool:
    return isinstance(kind, (pl.Date, pl.Datetime))


def _is_number(kind: pl.DataType) -> bool:
    return kind.is_numeric() or kind == pl.Null


def _check_keys(table: pl.DataFrame, keys: Integers, name: str) -> None:
    seen = np.zeros(int(keys.max(initial=-1)) + 1, dtype=np.bool_)
    seen[keys] = True
    if np.count_nonzero(seen) == len(keys):
        return
    order = np.argsort(keys, kind="stable")
    twice = int(order[np.flatnonzero(np.diff(keys[order]) == 0)[0]])
    symbol = f" for {table['symbol'][twice]}" if "symbol" in table.columns else ""
    raise InvalidInputError(
        f"{name} has two rows{symbol} on {table['date'][twice]}", next_step="keep one row for each date and symbol"
    )
