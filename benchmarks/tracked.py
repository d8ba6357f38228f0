"""A tracked run in process, from submission to completion, against the bare cost of its statements and against MLflow.

Everybody writes the same: 5 params, 10 metrics, 1 artifact (a text file of 1 kB), with one client that is already
connected. The bare cost is that of the same statements with the same parameters, in the same transactions, recorded
from tracked runs and sent through the raw driver into a fresh copy of the database, whose connection is warm: as many
were sent before, untimed. MLflow writes to SQLite directly,
in a process of its own from an environment of its own (`make bench` makes it from benchmarks/mlflow.lock): once with a
call for each metric, which is how such a program is written, and once in the fewest calls that it has. Blocks of runs
take turns, so what disturbs the machine disturbs all of them; the figures are medians over blocks.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import _ledgers
import psycopg
from _ledgers import Databases
from sqlalchemy import Engine, event, make_url

from optaic.bootstrap import open_runtime
from optaic.client import Ledger
from optaic.ledger.session import SQLITE_PRAGMAS
from optaic.settings import Settings
from optaic.storage.objects import open_store

PEER = _ledgers.ROOT / ".venv-mlflow" / "bin" / "python"
PARAMS = {"window": 20, "top": 0.2, "costs_bps": 10, "universe": "sp500", "neutral": True}
METRICS = {f"metric_{number}": number / 7 for number in range(10)}
TARGET = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs in a block")
    parser.add_argument("--blocks", type=int, default=9)
    given = parser.parse_args()
    _ledgers.say_conditions(f"tracked runs: medians of {given.blocks} blocks of {given.runs}, milliseconds a run")
    times: dict[str, list[float]] = defaultdict(list)
    with _ledgers.servers() as servers, _ledgers.temporary_folder() as folder, mlflow(folder, given.runs) as peer:
        sides = {name: Side(name, databases, folder, given.runs) for name, databases in servers.items()}
        for number in range(given.blocks + 1):
            measured: dict[str, float] = {}
            for name, side in sides.items():
                measured[f"optaic, {name}"], measured[f"bare, {name}"] = side.measure()
            measured["artifact alone"] = sides["SQLite"].put_artifacts()
            for style in ("one by one", "batched"):
                if peer is not None:
                    measured[f"mlflow, {style}"] = peer(style)
            if number:  # the first warms caches and connections
                for name, seconds in measured.items():
                    times[name].append(seconds / given.runs)
        for side in sides.values():
            side.close()
        report({name: _ledgers.median_ms(seconds) for name, seconds in times.items()}, sides)


def report(medians: dict[str, float], sides: dict[str, Side]) -> None:
    for name, side in sides.items():
        ours, bare = medians[f"optaic, {name}"], medians[f"bare, {name}"]
        counts = f"{side.statements:g} statements in {side.transactions:g} transactions"
        print(f"  optaic, {name:12} {ours:6.2f}   its own {counts}: {bare:5.2f}, ratio {ours / bare:4.1f}")
    print(f"  of it, the artifact: written, synced, hashed, linked {medians['artifact alone']:5.2f}")
    for style in ("one by one", "batched"):
        theirs = medians.get(f"mlflow, {style}")
        if theirs is None:
            print("  MLflow was not measured: make bench BENCH=benchmarks/tracked.py makes its environment")
            return
        shares = ", ".join(f"{name} {medians[f'optaic, {name}'] / theirs:.2f}" for name in sides)
        print(f"  mlflow, SQLite, {style:12} {theirs:6.2f}   optaic's share of it: {shares} (wanted: {TARGET})")


@dataclass
class Tape:
    """What the tracked runs of a block sent to the database: its committed transactions, in order.

    Each is a list of (statement, parameters, whether there are many of them).
    """

    transactions: list[list[tuple[str, Any, bool]]] = field(default_factory=list[list[tuple[str, Any, bool]]])
    _open: dict[int, list[tuple[str, Any, bool]]] = field(default_factory=dict[int, list[tuple[str, Any, bool]]])

    def listen(self, engine: Engine) -> None:
        """Hear what an engine does from now on."""

        def execute(conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:  # noqa: FBT001 - as the library calls it
            # On SQLite the BEGIN is a statement of ours; psycopg sends its own.
            self._open.setdefault(id(conn.connection.dbapi_connection), []).append((statement, parameters, many))

        def commit(conn: Any) -> None:
            self.transactions.append(self._open.pop(id(conn.connection.dbapi_connection), []))

        def rollback(conn: Any) -> None:
            self._open.pop(id(conn.connection.dbapi_connection), None)

        event.listen(engine, "before_cursor_execute", execute)
        event.listen(engine, "commit", commit)
        event.listen(engine, "rollback", rollback)


class Side:
    """Tracked runs on one database system, and their statements through its raw driver."""

    def __init__(self, name: str, databases: Databases, folder: Path, runs: int) -> None:
        self._databases = databases
        self._is_sqlite = name == "SQLite"
        self._runs = runs
        self._settings = Settings(
            project_root=folder, database_url="", storage_url=str(folder / f"objects-{name}"), lease_seconds=30.0
        )
        self._file = folder / "notes.txt"
        self._file.write_text("x" * 1000)
        self._serial = 0
        with closing(self._open(_ledgers.migrated(databases, "base"))) as ledger:
            self._track(ledger, 1)  # makes the experiment
        with self._copy() as url, closing(self._open(url)) as ledger:
            tape = Tape()
            tape.listen(ledger.runtime.database.engine)
            self._track(ledger, 2 * runs)
            self._tape = tape.transactions
        # Like MLflow's, this ledger lives as long as the benchmark.
        self._ledger = self._open(databases.create_database("kept", template="base"))
        self.transactions = len(self._tape) / (2 * runs)
        sent = [statement for one in self._tape for statement, _, _ in one]
        self.statements = sum(not statement.startswith("BEGIN") for statement in sent) / (2 * runs)

    @contextmanager
    def _copy(self) -> Generator[str]:
        self._serial += 1
        name = f"copy_{self._serial}"
        try:
            yield self._databases.create_database(name, template="base")
        finally:
            self._databases.drop_database(name)

    def _open(self, url: str) -> Ledger:
        return Ledger(open_runtime(replace(self._settings, database_url=url)))

    def _track(self, ledger: Ledger, count: int) -> None:
        for number in range(count):
            with ledger.track("idea", params=PARAMS) as run:
                for key, value in METRICS.items():
                    run.log_metric(key, value + number)
                run.log_file("notes.txt", self._file)

    def measure(self) -> tuple[float, float]:
        """Time a block of tracked runs, and the same number through the raw driver."""
        tracked = timed(lambda: self._track(self._ledger, self._runs))
        with self._copy() as url, closing(self._connect(url)) as connection:
            half = len(self._tape) // 2
            self._replay(connection, self._tape[:half])
            bare = timed(lambda: self._replay(connection, self._tape[half:]))
        return tracked, bare

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _connect(self, url: str) -> Any:
        if self._is_sqlite:
            connection = sqlite3.connect(make_url(url).database or "", isolation_level=None)
            for pragma in SQLITE_PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            return connection
        connection = psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string())
        connection.execute("SELECT 1")
        connection.commit()
        return connection

    def _replay(self, connection: Any, transactions: list[list[tuple[str, Any, bool]]]) -> None:
        for transaction in transactions:
            for statement, parameters, is_many in transaction:
                cursor = connection.cursor()
                (cursor.executemany if is_many else cursor.execute)(statement, parameters)
                if cursor.description is not None:
                    cursor.fetchall()
            connection.commit()

    def put_artifacts(self) -> float:
        """Time a block of artifacts, stored without any run."""
        store = open_store(self._settings.storage_url)
        return timed(lambda: [store.put(f"alone/{uuid.uuid4()}/notes.txt", self._file) for _ in range(self._runs)])


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


MLFLOW = """
import sys, time, logging
from pathlib import Path
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

logging.disable(logging.WARNING)
folder, params, metrics = Path(sys.argv[1]), *map(eval, sys.argv[2:4])
mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
mlflow.create_experiment("idea", artifact_location=str(folder / "mlflow-artifacts"))
mlflow.set_experiment("idea")
file = folder / "mlflow-notes" / "notes.txt"
file.parent.mkdir()
file.write_text("x" * 1000)

def one_by_one():
    with mlflow.start_run():
        mlflow.log_params(params)
        for key, value in metrics.items():
            mlflow.log_metric(key, value)
        mlflow.log_artifact(str(file))

def batched():
    with mlflow.start_run():
        mlflow.log_params(params)
        mlflow.log_metrics(metrics)
        mlflow.log_artifact(str(file))

styles = {"one by one": one_by_one, "batched": batched}
print("ready", mlflow.__version__, flush=True)
for line in sys.stdin:
    style, count = line.strip().split(",")
    started = time.perf_counter()
    for _ in range(int(count)):
        styles[style]()
    print(time.perf_counter() - started, flush=True)
"""


@contextmanager
def mlflow(folder: Path, runs: int) -> Generator[Callable[[str], float] | None]:
    """Give what makes MLflow write a block of runs, and tells the seconds; None where it is not installed."""
    if not PEER.exists():
        yield None
        return
    command = [str(PEER), "-c", MLFLOW, str(folder), repr(PARAMS), repr(METRICS)]
    environment = {**os.environ, "MLFLOW_ENABLE_ASYNC_LOGGING": "false", "GIT_PYTHON_REFRESH": "quiet"}
    with (folder / "mlflow.log").open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=environment
        )
    assert process.stdin is not None
    assert process.stdout is not None
    speak, hear = process.stdin, process.stdout
    if not hear.readline().startswith("ready"):
        raise SystemExit((folder / "mlflow.log").read_text())

    def measure(style: str) -> float:
        speak.write(f"{style},{runs}\n")
        speak.flush()
        return float(hear.readline())

    try:
        yield measure
    finally:
        speak.close()
        process.wait(30)
        hear.close()


if __name__ == "__main__":
    main()
