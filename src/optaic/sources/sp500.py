"""Real market data that needs no network: the data sets inside the skfolio package.

Prices are adjusted for splits and dividends, by their provider. Stocks are 20 members of the S&P 500, chosen in
hindsight: what is computed from them is subject to survivorship bias.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from optaic.errors import InvalidInputError

if TYPE_CHECKING:
    from optaic.flows.context import RunContext


def sp500_prices(
    ctx: RunContext,
    start: dt.date | None = None,
    *,
    end: dt.date | None = None,
    symbols: list[str] | None = None,
) -> pl.DataFrame:
    """Give daily closes of 20 stocks, 1990-01-02 to 2022-12-28, 8,313 sessions without gaps.

    Parameters
    ----------
    ctx
        The run's context.
    start, end
        First and last event date, inclusive; None for all.
    symbols
        Only these; None for all.

    Returns
    -------
    DataFrame
        `date` (Date), `symbol` (String), `close` (Float64, US dollars, adjusted), sorted by date and symbol.

    Raises
    ------
    InvalidInputError
        If a symbol is unknown, or the package that carries the data is not installed.
    """
    wide = _read("sp500_dataset")
    known = sorted(set(wide.columns) - {"date"})
    unknown = sorted(set(symbols or []) - set(known))
    if unknown:
        raise InvalidInputError(f"there are no prices of {', '.join(unknown)}", next_step=f"use: {', '.join(known)}")
    ctx.progress(30, "read")
    return _long(_between(wide, start, end).select("date", *(symbols or known)), "close")


def sp500_index(ctx: RunContext, start: dt.date | None = None, *, end: dt.date | None = None) -> pl.DataFrame:
    """Give daily closes of the S&P 500 price index (dividends are not in it), same sessions.

    Parameters
    ----------
    ctx
        The run's context.
    start, end
        First and last event date, inclusive; None for all.

    Returns
    -------
    DataFrame
        `date` (Date), `symbol` (String, always `SP500`), `close` (Float64, index points), sorted by date.

    Raises
    ------
    InvalidInputError
        If the package that carries the data is not installed.
    """
    ctx.progress(30, "read")
    return _long(_between(_read("sp500_index"), start, end), "close")


def factors(ctx: RunContext, start: dt.date | None = None, *, end: dt.date | None = None) -> pl.DataFrame:
    """Give daily closes of five factor funds (MTUM, QUAL, SIZE, USMV, VLUE), 2014-01-02 to 2022-12-28.

    Parameters
    ----------
    ctx
        The run's context.
    start, end
        First and last event date, inclusive; None for all.

    Returns
    -------
    DataFrame
        `date` (Date), `symbol` (String), `close` (Float64, US dollars, adjusted), sorted by date and symbol.

    Raises
    ------
    InvalidInputError
        If the package that carries the data is not installed.
    """
    ctx.progress(30, "read")
    return _long(_between(_read("factors_dataset"), start, end), "close")


def _read(name: str) -> pl.DataFrame:
    """Read a data file of skfolio without importing it: that takes five seconds, and nothing else of it is needed."""
    spec = importlib.util.find_spec("skfolio")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / "datasets" / "data" / f"{name}.csv.gz"
        if path.is_file():
            return pl.read_csv(path, try_parse_dates=True).rename({"Date": "date"}).sort("date")
    raise InvalidInputError(
        f"the package that carries {name} is not installed", next_step="in the clone: pip install '.[quant]'"
    )


def _between(frame: pl.DataFrame, start: dt.date | None, end: dt.date | None) -> pl.DataFrame:
    if start is not None:
        frame = frame.filter(pl.col("date") >= start)
    if end is not None:
        frame = frame.filter(pl.col("date") <= end)
    return frame


def _long(wide: pl.DataFrame, value: str) -> pl.DataFrame:
    return (
        wide.unpivot(index="date", variable_name="symbol", value_name=value)
        .with_columns(pl.col(value).cast(pl.Float64))
        .drop_nulls(value)
        .sort("date", "symbol")
    )
