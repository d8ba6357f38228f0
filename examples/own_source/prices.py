"""A source of one's own: any function that returns a table. This one draws random walks, so that it needs no vendor."""

import datetime as dt
import random

import polars as pl

import optaic


@optaic.pipeline
def walk(
    ctx: optaic.RunContext,
    start: dt.date | None = None,  # the last date that the ledger has; None for a full refresh
    *,
    symbols: list[str],
    first: dt.date = dt.date(2024, 1, 2),
    days: int = 250,
) -> pl.DataFrame:
    dates = [first + dt.timedelta(days=day) for day in range(days)]
    rows: list[dict[str, object]] = []
    for done, symbol in enumerate(symbols, start=1):
        # The recorded seed: the same run draws the same prices.
        draw = random.Random(f"{symbol}:{ctx.seed}")  # noqa: S311 - prices, not secrets
        price = 100.0
        for date in dates:
            price *= 1 + draw.gauss(0.0003, 0.01)
            if start is None or date >= start:
                rows.append({"date": date, "symbol": symbol, "close": round(price, 2)})
        ctx.progress(100 * done / len(symbols), symbol)
    ctx.log.info("drew %d prices of %d symbols", len(rows), len(symbols))
    return pl.DataFrame(rows, schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64})
