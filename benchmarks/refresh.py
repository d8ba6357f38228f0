"""A refresh of 2,520 days x 3,000 symbols against plain Polars that writes the same rows to Parquet.

In full; in full again with nothing new; then one more day with 50 revisions spread over history. Medians of runs that
take turns, in a folder of their own, on whatever disk the system keeps temporary files. Nobody's files are synced to
the disk in the plain version; ours are, and are hashed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from optaic.domain.kind import FlowKind
from optaic.domain.status import Standing
from optaic.domain.version import DatasetVersion, content_digest
from optaic.flows.context import RunContext
from optaic.flows.refresh import refresh
from optaic.flows.report import Batch
from optaic.flows.task import Result, Task
from optaic.storage.objects import open_store
from optaic.storage.segments import read

KEYS = ("date", "symbol")
REVISIONS = 50
STARTED = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def make_prices(days: int, symbols: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make prices sorted by date and symbol, and the next day's with revisions of earlier ones."""
    rng = np.random.default_rng(7)
    dates = pl.select(pl.date_range(pl.date(2000, 1, 3), pl.date(2030, 1, 1))).to_series()
    dates = dates.filter(dates.dt.weekday() < 6).head(days + 1)
    names = pl.Series([f"S{number:05d}" for number in range(symbols)])
    count = (days + 1) * symbols
    steps = rng.normal(0, 0.01, (days + 1, symbols))
    frame = pl.DataFrame(
        {
            "date": dates.gather(np.repeat(np.arange(days + 1), symbols)),
            "symbol": names.gather(np.tile(np.arange(symbols), days + 1)),
            "close": (100 * np.exp(np.cumsum(steps, axis=0))).ravel(),
            "volume": rng.integers(0, 10**7, count),
        }
    )
    history, last = frame.head(days * symbols), frame.tail(symbols)
    revised = history.gather_every(history.height // REVISIONS).head(REVISIONS).with_columns(pl.col("close") * 1.01)
    return history, pl.concat([revised, last])


def run(folder: Path, source: pl.DataFrame, current: DatasetVersion | None, *, mode: str, known: object) -> Result:
    task = Task(
        run_id=uuid.uuid4(),
        attempt=1,
        tenant_id=1,
        instance="prices",
        flow_kind=FlowKind.REFRESH,
        code_ref="benchmark:prices",
        code_digest=None,
        config={"key": list(KEYS), "known_at": known},
        params={},
        seed=1,
        as_of=None,
        mode=mode,
        standing=Standing.OFFICIAL,
        started_at=STARTED,
        current=current,
    )
    store = open_store(str(folder))
    context = RunContext(task, store=store, sink=ignore)

    def give(_: RunContext) -> pl.DataFrame:
        return source

    try:
        return refresh(task, give, context, store)
    finally:
        context.close()


def ignore(batch: Batch) -> None:
    """Take a report, for nobody."""


def publish(result: Result, current: DatasetVersion | None) -> DatasetVersion:
    change = result.dataset
    assert change is not None
    segments = (*(current.segments if current else ()), *change.segments)
    return DatasetVersion(
        id=uuid.uuid4(),
        number=current.number + 1 if current else 1,
        key_columns=KEYS,
        columns=change.columns,
        segments=segments,
        row_count=change.row_count,
        first_data_date=change.first_data_date,
        last_data_date=change.last_data_date,
        content_digest=content_digest(segments),
    )


def upsert(path: Path, rows: pl.DataFrame, target: Path) -> None:
    """Do what people do without a ledger: read, replace by key, write."""
    stored = pl.read_parquet(path)
    kept = stored.join(rows, on=KEYS, how="anti", maintain_order="left")
    pl.concat([kept, rows]).sort(KEYS).write_parquet(target)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=2520)
    parser.add_argument("--symbols", type=int, default=3000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--known", default="observed", help='observed, or a lag such as "close + 2h"')
    given = parser.parse_args()
    known = given.known if given.known == "observed" else {"lag": given.known}
    history, day = make_prices(given.days, given.symbols)
    print(f"{history.height:,} rows, then {day.height:,}; known_at: {given.known}; medians of {given.runs}, seconds")
    times: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    root = Path(tempfile.mkdtemp(prefix="optaic-bench-"))
    try:
        for number in range(given.runs + 1):
            measured = measure(root / str(number), history, day, known, sizes)
            shutil.rmtree(root / str(number))
            if number:  # the first warms caches and calendars
                for name, seconds in measured.items():
                    times.setdefault(name, []).append(seconds)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    medians = {name: statistics.median(one) for name, one in times.items()}
    for ours, theirs in (
        ("full", "write_parquet"),
        ("full", "write_parquet lz4"),
        ("full, nothing new", "write_parquet"),
        ("one day", "read+upsert+write"),
        ("read current view", "read_parquet"),
    ):
        mine, plain = medians[ours], medians[theirs]
        print(f"  {ours:18} {mine:6.3f}   plain Polars, {theirs:18} {plain:6.3f}   ratio {mine / plain:5.2f}")
    print("  bytes: " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items()))


def measure(
    folder: Path, history: pl.DataFrame, day: pl.DataFrame, known: object, sizes: dict[str, int]
) -> dict[str, float]:
    """Time each step once."""
    folder.mkdir()
    plain, target = folder / "plain.parquet", folder / "next.parquet"
    found: dict[str, float] = {}
    results: list[Result] = []
    found["write_parquet"] = timed(lambda: history.write_parquet(plain))
    found["write_parquet lz4"] = timed(lambda: history.write_parquet(folder / "lz4.parquet", compression="lz4"))
    found["full"] = timed(lambda: results.append(run(folder / "store", history, None, mode="full", known=known)))
    first = publish(results[-1], None)
    found["full, nothing new"] = timed(
        lambda: results.append(run(folder / "store", history, first, mode="full", known=known))
    )
    assert results[-1].dataset is not None
    assert not results[-1].dataset.segments
    found["one day"] = timed(lambda: results.append(run(folder / "store", day, first, mode="incremental", known=known)))
    second = publish(results[-1], first)
    found["read+upsert+write"] = timed(lambda: upsert(plain, day, target))
    found["read_parquet"] = timed(lambda: pl.read_parquet(target))
    frames: list[pl.DataFrame] = []
    found["read current view"] = timed(lambda: frames.append(read(open_store(str(folder / "store")), second)))
    assert frames[0].drop("known_at").equals(pl.read_parquet(target))
    sizes["plain"] = plain.stat().st_size
    sizes["segments"] = sum(one.size_bytes for one in first.segments)
    return found


if __name__ == "__main__":
    main()
