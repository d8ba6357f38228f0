"""Five nested expressions on a panel of 2,520 sessions x 3,000 symbols, against the same written by hand in Polars.

By hand is what a researcher writes: rolling expressions over symbols, aggregates over dates, a column for each step. It
takes no care of NaN, of cross-sections without deviation, or of digits lost to offsets. Both start from the same frame,
sorted by symbol and date, and give one column; their results are compared before anything is timed.

By hand is timed with both engines of Polars: in memory, as ours, whose sums are the same in every call, and streaming,
whose sums are not (docs/decisions/0009-sums-without-the-streaming-engine.md).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import time
from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from optaic.quant.expression import evaluate

C, V, Z = pl.col("close"), pl.col("volume"), pl.col("z")
Hand = Callable[[pl.LazyFrame], pl.LazyFrame]


def momentum(frame: pl.LazyFrame) -> pl.LazyFrame:
    x = C.shift(21).over("symbol") / C.shift(252).over("symbol") - 1
    return frame.with_columns(z=x).with_columns(value=(Z - Z.mean().over("date")) / Z.std().over("date"))


def reversal(frame: pl.LazyFrame) -> pl.LazyFrame:
    x = (C - C.rolling_mean(20).over("symbol")) / C.rolling_std(20).over("symbol")
    return frame.with_columns(z=-x).with_columns(value=Z.rank().over("date") / Z.count().over("date"))


def smoothed(frame: pl.LazyFrame) -> pl.LazyFrame:
    frame = frame.with_columns(z=V / V.rolling_mean(63).over("symbol"))
    frame = frame.with_columns(z=Z.rank().over("date") / Z.count().over("date"))
    frame = frame.with_columns(z=Z.rolling_mean(5).over("symbol"))
    return frame.with_columns(value=Z - Z.mean().over("date"))


def correlation(frame: pl.LazyFrame) -> pl.LazyFrame:
    frame = frame.with_columns(z=C / C.shift(1).over("symbol") - 1, w=V / V.shift(1).over("symbol") - 1)
    frame = frame.with_columns(z=-pl.rolling_corr("z", "w", window_size=20).over("symbol"))
    return frame.with_columns(value=Z.rank().over("date") / Z.count().over("date"))


def within_sectors(frame: pl.LazyFrame) -> pl.LazyFrame:
    frame = frame.with_columns(z=C / C.shift(1).over("symbol") - 1)
    frame = frame.with_columns(z=Z.rolling_std(21).over("symbol"))
    mean, deviation = Z.mean().over("date", "sector"), Z.std().over("date", "sector")
    return frame.with_columns(value=(Z - mean) / deviation)


CASES: list[tuple[str, Hand]] = [
    ("CS_ZSCORE(TS_REF(close, 21) / TS_REF(close, 252) - 1)", momentum),
    ("CS_RANK(-TS_ZSCORE(close, 20))", reversal),
    ("CS_DEMEAN(TS_MEAN(CS_RANK(volume / TS_MEAN(volume, 63)), 5))", smoothed),
    ("CS_RANK(-TS_CORR(TS_RETURN(close), TS_RETURN(volume), 20))", correlation),
    ("GROUP_ZSCORE(TS_STD(TS_RETURN(close), 21), sector)", within_sectors),
]


def make_panel(sessions: int, symbols: int) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (symbols, sessions)), axis=1))
    first = dt.date(2015, 1, 1)
    dates = pl.Series([first + dt.timedelta(days=day) for day in range(sessions)])
    sectors = rng.choice(np.array([f"sector {number}" for number in range(11)]), symbols)
    cells = sessions * symbols
    return pl.DataFrame(
        {
            "date": pl.concat([dates] * symbols, rechunk=True),
            "symbol": np.repeat([f"S{number:05d}" for number in range(symbols)], sessions),
            "sector": np.repeat(sectors, sessions),
            "close": close.ravel(),
            "volume": rng.lognormal(13, 1, cells),
        }
    ).with_columns(pl.when(pl.Series(rng.random(cells) > 0.001)).then(pl.col("close", "volume")))


def timed(action: Callable[[], pl.DataFrame]) -> tuple[float, float, pl.DataFrame]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=2520)
    parser.add_argument("--symbols", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    frame = make_panel(arguments.sessions, arguments.symbols)
    print(f"{frame.height:,} rows, medians of {arguments.rounds}, load {os.getloadavg()[0]:.1f}")
    print(
        f"{'seconds: wall, CPU':62s} {'ours':>12s} {'in memory':>12s} {'ratio':>11s} {'streaming':>12s} {'ratio':>11s}"
    )
    totals = np.zeros(6)
    for text, by_hand in CASES:
        rounds: list[tuple[float, ...]] = []
        for number in range(arguments.rounds):
            *ours, result = timed(lambda text=text: evaluate(text, frame))
            asked = by_hand(frame.lazy()).select("value")
            *memory, expected = timed(lambda asked=asked: asked.collect(engine="in-memory"))
            *streaming, _ = timed(lambda asked=asked: asked.collect(engine="streaming"))
            rounds.append((*ours, *memory, *streaming))
            if number == 0:
                _compare(text, result["value"].to_numpy(), expected["value"].to_numpy())
        medians = np.median(np.array(rounds), axis=0)
        totals += medians
        _print(text, medians)
    _print("all five", totals)


def _compare(text: str, ours: NDArray[np.float64], by_hand: NDArray[np.float64]) -> None:
    """Refuse other results, ties apart: where two ways of rounding break one, ranks differ in single places."""
    both = np.isfinite(ours) & np.isfinite(by_hand)
    assert both.mean() > 0.5, text
    assert np.quantile(np.abs(ours[both] - by_hand[both]), 0.999) < 1e-9, text


def _print(text: str, seconds: NDArray[np.float64]) -> None:
    """Print wall and CPU of ours, and of each engine with the ratio of ours to it."""
    ours = seconds[:2]
    shown = f"{text:62s} {ours[0]:6.2f} {ours[1]:5.2f}"
    for theirs in (seconds[2:4], seconds[4:]):
        ratio = ours / theirs
        shown += f" {theirs[0]:6.2f} {theirs[1]:5.2f} {ratio[0]:5.2f} {ratio[1]:5.2f}"
    print(shown, flush=True)


if __name__ == "__main__":
    main()
