"""A no-op run through an idle worker process, from its submission to its completion, a fresh process each.

The worker is the command `optaic worker`, warm, with 1 and with 4 slots. Latency is that of single runs, submitted
from this process one after the other, each at a random moment of the worker's rhythm: by the database's clock from
`submitted_at` to `claimed_at` of its attempt (the wait) and to `ended_at` (the whole). Throughput is that of a batch of
runs of several flows that is submitted at once: from the first claim to the last end, so that what submitting costs
does not count.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import _ledgers
from sqlalchemy import func, select

from optaic.bootstrap import open_runtime
from optaic.client import Ledger
from optaic.ledger.tables import attempts, runs
from optaic.settings import PROJECT_FILE, read_settings

FLOWS = 8
SOURCE = """
import datetime
import polars as pl

def noop(ctx):
    return pl.DataFrame({"date": [datetime.date(2024, 1, 2)], "symbol": ["A"], "close": [1.0]})
"""
PROJECT = "project: bench\ninstances:\n" + "".join(
    f"  flow_{number}:\n    kind: dataset\n    definition: measured:noop\n    key: [date, symbol]\n"
    for number in range(FLOWS)
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="single runs, for the latency")
    parser.add_argument("--batch", type=int, default=48, help="runs submitted at once, for the throughput")
    given = parser.parse_args()
    random.seed(7)
    _ledgers.say_conditions(
        f"no-op runs through `optaic worker`: {given.runs} single runs, milliseconds; then {given.batch} at once"
    )
    print(f"  {'':24} {'claimed p50':>11} {'ended p50':>10} {'p95':>7} {'runs a second':>14}")
    with _ledgers.servers() as servers:
        for system, databases in servers.items():
            for slots in (1, 4):
                url = _ledgers.migrated(databases, f"worker_{slots}")
                with _project(url) as ledger, _worker(ledger, slots):
                    waits, wholes = _single_runs(ledger, given.runs)
                    rate = _batch(ledger, given.batch)
                claimed, ended = _ledgers.median_ms(waits), _ledgers.median_ms(wholes)
                late = _ledgers.quantile_ms(wholes, 0.95)
                print(f"  {system:12} {slots} slot{'s' * (slots > 1):6} {claimed:11.1f} {ended:10.1f} {late:7.1f} "
                      f"{rate:14.1f}", flush=True)  # fmt: skip


@contextmanager
def _project(url: str) -> Generator[Ledger]:
    with _ledgers.temporary_folder() as root:
        (root / "measured.py").write_text(SOURCE)
        (root / PROJECT_FILE).write_text(PROJECT)
        settings = read_settings(root, {"OPTAIC_DATABASE_URL": url})
        with closing(Ledger(open_runtime(settings))) as ledger:
            ledger.apply()
            yield ledger


@contextmanager
def _worker(ledger: Ledger, slots: int) -> Generator[None]:
    environment = {
        **os.environ,
        "OPTAIC_DATABASE_URL": ledger.settings.database_url,
        "PYTHONPATH": str(_ledgers.ROOT / "src"),
    }
    log = ledger.settings.project_root / "worker.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "optaic.cli.app", "worker", "-n", str(slots)],
            cwd=ledger.settings.project_root,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        for number in range(FLOWS):  # each flow has its version then, and the worker is warm
            _wait(ledger, [ledger.submit(f"flow_{number}").id], process, log)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait(
    ledger: Ledger, ids: Sequence[uuid.UUID], process: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    deadline = time.monotonic() + 60
    query = select(func.count()).where(runs.c.id.in_(ids), runs.c.status == "completed")
    while True:
        with ledger.runtime.database.read() as tx:
            if tx.conn.execute(query).scalar_one() == len(ids):
                return
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            raise SystemExit(f"not all runs completed\n{log.read_text() if log else ''}")
        time.sleep(0.02)


def _single_runs(ledger: Ledger, count: int) -> tuple[list[float], list[float]]:
    ids: list[uuid.UUID] = []
    for number in range(count):
        time.sleep(random.uniform(0.05, 0.15))
        ids.append(ledger.submit(f"flow_{number % FLOWS}").id)
        _wait(ledger, ids[-1:])
    query = (
        select(runs.c.submitted_at, attempts.c.claimed_at, runs.c.ended_at)
        .join(attempts, attempts.c.run_id == runs.c.id)
        .where(runs.c.id.in_(ids))
    )
    with ledger.runtime.database.read() as tx:
        rows = tx.conn.execute(query).all()
    assert len(rows) == count
    waits = [(row.claimed_at - row.submitted_at).total_seconds() for row in rows]
    return waits, [(row.ended_at - row.submitted_at).total_seconds() for row in rows]


def _batch(ledger: Ledger, count: int) -> float:
    ids = [ledger.submit(f"flow_{number % FLOWS}").id for number in range(count)]
    _wait(ledger, ids)
    # Submitting takes a while, and the worker begins at once: count from when all were submitted.
    with ledger.runtime.database.read() as tx:
        rows = tx.conn.execute(select(runs.c.submitted_at, runs.c.ended_at).where(runs.c.id.in_(ids))).all()
    begin = max(row.submitted_at for row in rows)
    ended = sorted(row.ended_at for row in rows if row.ended_at > begin)
    return len(ended) / (ended[-1] - begin).total_seconds()


if __name__ == "__main__":
    main()
