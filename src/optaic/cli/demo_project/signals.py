"""The demo's own code: prices with a correction, and three datasets that are made from them.

A function gets a context: `ctx.input(role)` is exactly the version that its run reads, whatever is refreshed meanwhile.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import polars as pl

from optaic.sources import sp500_prices

if TYPE_CHECKING:
    from optaic import RunContext


def prices(
    ctx: RunContext,
    start: dt.date | None = None,
    *,
    end: dt.date | None = None,
    correction: dict[str, Any] | None = None,
) -> pl.DataFrame:
    """Give daily closes of 20 stocks (US dollars, adjusted), one of them perhaps corrected: date, symbol, close."""
    table = sp500_prices(ctx, start, end=end)
    if correction is None:
        return table
    date = dt.date.fromisoformat(correction["date"])
    is_corrected = (pl.col("date") == date) & (pl.col("symbol") == correction["symbol"])
    return table.with_columns(close=pl.when(is_corrected).then(correction["close"]).otherwise("close"))


def returns(ctx: RunContext) -> pl.DataFrame:
    """Give simple daily returns, as fractions, from the second session of each symbol on: date, symbol, return."""
    change = pl.col("close") / pl.col("close").shift(1).over("symbol", order_by="date") - 1
    table = ctx.input("close").frame()
    return table.select("date", "symbol", change.alias("return")).drop_nulls()


def volatility(ctx: RunContext, *, window: int = 63) -> pl.DataFrame:
    """Give the standard deviation of the last `window` daily returns, annualised by 252: date, symbol, volatility."""
    spread = pl.col("return").rolling_std(window, ddof=1).over("symbol", order_by="date") * 252**0.5
    table = ctx.input("returns").frame()
    return table.select("date", "symbol", spread.alias("volatility")).drop_nulls()


def crisis(ctx: RunContext) -> pl.DataFrame:
    """Give the largest fall of each stock from a peak, as a fraction, in 2007 to 2009; nothing later is read."""
    table = ctx.input("close").frame(start=dt.date(2007, 1, 1), end=dt.date(2009, 12, 31))
    fall = pl.col("close") / pl.col("close").cum_max().over("symbol", order_by="date") - 1
    worst = table.with_columns(fall=fall).group_by("symbol").agg(pl.col("fall").min(), pl.col("date").max())
    return worst.select("date", "symbol", "fall").sort("symbol")
