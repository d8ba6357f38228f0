"""The grid of all sessions x symbols, on which n counts sessions and not rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import polars as pl

from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError
from optaic.quant.expression.plan import session_count

KNOWN_AT = "known_at"
"""The column of a dataset that says when a row was known."""


def known_column(name: str) -> str:
    """Name the column of the grid that says when the cells of an input were known.

    Examples
    --------
    >>> known_column("close")
    'close.known_at'
    """
    return f"{name}.{KNOWN_AT}"


def to_grid(
    inputs: Mapping[str, pl.DataFrame],
    sessions: Sequence[dt.date] | pl.Series,
    *,
    date: str = "date",
    symbol: str = "symbol",
) -> pl.DataFrame:
    """Put long inputs on the grid of all sessions x symbols.

    Parameters
    ----------
    inputs
        For each input by name a frame with the columns `date` and `symbol`, a column of its cells that has its name (or
        is the only one left), and perhaps `known_at`. A symbol of any input is a symbol of the grid.
    sessions
        The dates of the grid. Rows on other dates are left out.
    date, symbol
        Names of the key columns, which the grid has too.

    Returns
    -------
    DataFrame
        Sorted by symbol and date, each pair once: `date`, `symbol`, and for each input a column of its name and, if it
        has `known_at`, one of the name that `known_column` gives. Null where an input has no row.

    Raises
    ------
    InvalidInputError
        If an input lacks a column, or has a key twice.

    Examples
    --------
    >>> close = pl.DataFrame({"date": [dt.date(2024, 1, 3)], "symbol": ["A"], "close": [7.0]})
    >>> to_grid({"close": close}, [dt.date(2024, 1, 2), dt.date(2024, 1, 3)])["close"].to_list()
    [None, 7.0]
    """
    dates = pl.Series(date, sessions).unique().sort()
    columns = {name: _value_column(name, frame, date, symbol) for name, frame in inputs.items()}
    kinds = {frame.schema[symbol] for frame in inputs.values()}
    key_type = kinds.pop() if len(kinds) == 1 else pl.String()
    symbols = [frame.get_column(symbol).cast(key_type) for frame in inputs.values()]
    every = pl.concat(symbols).drop_nulls().unique().sort() if symbols else pl.Series(symbol, [], pl.String)
    grid = every.to_frame(symbol).join(dates.to_frame(), how="cross").select(date, symbol)
    for name, frame in inputs.items():
        known = [pl.col(KNOWN_AT).alias(known_column(name))] if KNOWN_AT in frame.columns else []
        cells = frame.select(
            pl.col(date).cast(dates.dtype), pl.col(symbol).cast(key_type), pl.col(columns[name]).alias(name), *known
        )
        twice = cells.filter(pl.struct(date, symbol).is_duplicated())
        if twice.height:
            row = twice.row(0, named=True)
            raise InvalidInputError(
                f"the input {name} has more than one row for {row[symbol]} on {row[date]}",
                next_step="give one row for each date and symbol, as known at one instant",
            )
        grid = grid.join(cells, on=[date, symbol], how="left", maintain_order="left")
    return grid


def _value_column(name: str, frame: pl.DataFrame, date: str, symbol: str) -> str:
    missing = [column for column in (date, symbol) if column not in frame.columns]
    if missing:
        raise InvalidInputError(
            f"the input {name} has no column {missing[0]}{did_you_mean(missing[0], frame.columns)}",
            next_step=f"its columns are: {', '.join(frame.columns)}",
        )
    others = [column for column in frame.columns if column not in {date, symbol, KNOWN_AT}]
    if name in others:
        return name
    if len(others) == 1:
        return others[0]
    raise InvalidInputError(
        f"the input {name} has no column {name}, and not one other column alone",
        next_step=f"its columns are: {', '.join(frame.columns)}",
    )


def check_grid(frame: pl.DataFrame, date: str, symbol: str) -> pl.DataFrame:
    """Refuse a frame that is no grid.

    Parameters
    ----------
    frame
        Any frame with the two columns.
    date, symbol
        Their names.

    Returns
    -------
    DataFrame
        The frame itself, marked as sorted by symbol where that is so.

    Raises
    ------
    InvalidInputError
        If it is not sorted by symbol and date, or a pair of session and symbol is missing or there twice.
    """
    symbols, dates = frame.get_column(symbol), frame.get_column(date)
    rows = frame.height
    if not rows:
        return frame
    sessions = session_count(symbols)
    starts, ends = symbols.gather_every(sessions), symbols.gather_every(sessions, sessions - 1)
    calendar = dates.head(sessions)
    whole = (
        rows % sessions == 0
        and not symbols.has_nulls()
        and starts.equals(ends, check_names=False)
        and starts.n_unique() == len(starts)
        and bool((calendar.diff().drop_nulls().dt.total_microseconds() > 0).all())
        and _repeats(dates, sessions)
    )
    if not whole:
        raise InvalidInputError(
            "the frame is not the grid of all sessions and symbols",
            next_step=f"sort it by {symbol} and {date}, with each pair once; to_grid() makes one from long frames",
        )
    if (starts.dtype == pl.String or starts.dtype.is_integer()) and starts.is_sorted():
        return frame.with_columns(pl.col(symbol).set_sorted())
    return frame


def _repeats(dates: pl.Series, sessions: int) -> bool:
    numbers = dates.to_physical().to_numpy().reshape(-1, sessions)
    return bool((numbers == numbers[0]).all())
