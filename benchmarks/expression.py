"""Five nested expressions on a panel of 2,520 sessions x 3,000 symbols, against the same written by hand in Polars.

By hand is what a researcher writes: rolling expressions over symbols, aggregates over dates, a column for each step. It
takes no care of NaN, of cross-sections without deviation, or of digits lost to offsets. Both start from the same frame,
sorted by symbol and date, and give one column; their results are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import statistics
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
    print(f"{'':62s} {'ours':>12s} {'by hand':>12s} {'ratio':>11s}   seconds: wall, CPU")
    totals = np.zeros(4)
    for text, by_hand in CASES:
        rounds: list[tuple[float, float, float, float]] = []
        for number in range(arguments.rounds):
            ours, our_cpu, result = timed(lambda text=text: evaluate(text, frame))
            hand, hand_cpu, expected = timed(lambda by_hand=by_hand: by_hand(frame.lazy()).select("value").collect())
            rounds.append((ours, our_cpu, hand, hand_cpu))
            if number == 0:
                _compare(text, result["value"].to_numpy(), expected["value"].to_numpy())
        ours, our_cpu, hand, hand_cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        totals += (ours, our_cpu, hand, hand_cpu)
        _print(text, ours, our_cpu, hand, hand_cpu)
    _print("all five", *(float(total) for total in totals))


def _compare(text: str, ours: NDArray[np.float64], by_hand: NDArray[np.float64]) -> None:
    """Refuse other results, ties apart: where two ways of rounding break one, ranks differ in single places."""
    both = np.isfinite(ours) & np.isfinite(by_hand)
    assert both.mean() > 0.5, text
    assert np.quantile(np.abs(ours[both] - by_hand[both]), 0.999) < 1e-9, text


def _print(text: str, ours: float, our_cpu: float, hand: float, hand_cpu: float) -> None:
    ratios = f"{ours / hand:5.2f} {our_cpu / hand_cpu:5.2f}"
    print(f"{text:62s} {ours:6.2f} {our_cpu:5.2f} {hand:6.2f} {hand_cpu:5.2f} {ratios}", flush=True)


if __name__ == "__main__":
    main()
