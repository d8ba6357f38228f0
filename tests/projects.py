"""Real projects in temporary folders: sources that misbehave, a ledger on a given database, workers as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import select

from optaic import bootstrap
from optaic.client import Ledger
from optaic.domain.run import Run
from optaic.engines.process import ForkServer
from optaic.engines.supervise import supervise
from optaic.handle import RunHandle
from optaic.ledger import attempts, runs
from optaic.ledger.session import Database
from optaic.ledger.tables import metadata
from optaic.lifecycle.claim import claim
from optaic.storage.objects import ObjectStore
from tests.processes import until, write_project

ROOT = Path(__file__).parents[1]

SOURCES = '''
"""Sources of a researcher, good and bad. The working directory is the project's folder."""

import datetime as dt
import os
import random
import time
from pathlib import Path

import polars as pl

from optaic.errors import RetryableError


def table(close=1.0):
    return pl.DataFrame({"date": [dt.date(2024, 1, 2)] * 2, "symbol": ["A", "B"], "close": [close, close]})


def say(name, text=""):
    # Written whole, then renamed: who sees the file sees all of it.
    path = Path(f"{name}.{os.getpid()}")
    path.write_text(str(text))
    path.rename(name)


def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.005)


def prices(ctx, *, close: float = 1.0):
    return table(close)


def market(ctx):
    """What the file says: another price whenever somebody writes it."""
    path = Path("market")
    return table(float(path.read_text()) if path.exists() else 1.0)


def tells(ctx):
    ctx.log.info("logged at once")
    print("printed at once")
    ctx.progress(25, "a quarter")
    ctx.log_metric("loss", 0.5, step=1)
    say("told", os.getpid())
    wait_for("go")
    ctx.log_metric("loss", 0.25, step=2)
    ctx.log_frame("scores", table())
    return table()


def waits(ctx, *, tag: str = "x"):
    say(f"waiting-{tag}-{ctx.attempt}", f"{os.getpid()} {ctx.seed}")
    wait_for("go")
    return table()


def reads(ctx, *, seed_only: bool = False):
    close = ctx.input("close").frame()["close"][0]
    say(f"read-{ctx.attempt}", f"{ctx.seed} {close}")
    wait_for("go")
    return table(close)


def raises(ctx):
    raise ValueError("the vendor sent no prices")


def hangs(ctx):
    say("hanging", os.getpid())
    while True:
        time.sleep(60)


def returns_nothing(ctx):
    return None


def wrong_schema(ctx):
    return pl.DataFrame({"day": [1], "price": [2.0]})


def changed_schema(ctx):
    frame = table()
    return frame.rename({"close": "last"}) if Path("changed").exists() else frame


def never_answers(ctx):
    raise RetryableError("the vendor is busy")


def answers_at_last(ctx):
    if ctx.attempt < 3:
        raise ConnectionResetError("the vendor hung up")
    return table()


def leaks(ctx, *, token: str, how: str = "well"):
    print("printed", token)
    ctx.log.warning("logged %s", token)
    ctx.progress(10, f"asking with {token}")
    ctx.log_metric(f"calls_{token}", 1.0)
    ctx.log_metric("calls", 2.0)
    if how == "raise":
        raise ValueError(f"{token} was refused")
    if how == "name":
        ctx.log_frame(f"answer_{token}", table())
    return table()


def counts(ctx, *, number: int = 0):
    """As little as a refresh can do; leaves a file for each attempt that took place."""
    with open(f"effects/{number}-{ctx.attempt}", "x"):
        return table()


def lives(ctx, *, number: int = 0):
    """Something of everything, for a while; never twice the same answer."""
    chance = random.Random(f"{ctx.run_id}-{ctx.attempt}")
    for step in range(3):
        ctx.log.info("step %d", step)
        ctx.log_metric("loss", chance.random(), step=step)
        ctx.progress(30.0 * step)
        time.sleep(chance.uniform(0.0, 0.1))
    ctx.log_frame("scores", table())
    return table(float(ctx.run_id.int % 2**50))


def writes_much(ctx):
    for number in range(4):
        ctx.log_frame("noise", pl.DataFrame({"x": [random.random() for _ in range(40_000)]}))
    return table()


def writes_many_rows(ctx):
    days = [dt.date(2000, 1, 1) + dt.timedelta(days=day) for day in range(100_000)]
    return pl.DataFrame({"date": days, "symbol": "A", "close": [random.random() for _ in days]})
'''

RETRY = "{max_attempts: 3, backoff: 0.1s}"


class Project:
    """A project with instances, its ledger open in this process.

    Parameters
    ----------
    root
        A new folder.
    database_url
        A migrated database.
    settings
        Of `optaic.settings`; short leases and graces by default.
    """

    def __init__(self, root: Path, database_url: str, **settings: float | str) -> None:
        self.root = write_project(root)
        (root / "sources.py").write_text(SOURCES)
        (root / "optaic.yaml").write_text("project: faults\n")
        (root / "effects").mkdir()
        chosen = {"database_url": database_url, "lease_seconds": 3, "cancel_grace_seconds": 0.5} | settings
        chosen = {"kill_grace_seconds": 0.5, "shutdown_grace_seconds": 0.3} | chosen
        self.variables = {f"OPTAIC_{name.upper()}": str(value) for name, value in chosen.items()}
        self.settings = bootstrap.locate(root, self.variables)
        self.runtime = bootstrap.open_runtime(self.settings)
        self.ledger = Ledger(self.runtime)

    @property
    def database(self) -> Database:
        return self.runtime.database

    @property
    def store(self) -> ObjectStore:
        return self.runtime.store

    def declare(self, *names: str, **instances: Mapping[str, str]) -> None:
        """Declare datasets and apply: by the name of a function of sources.py, or with lines of their own."""
        lines = ["project: faults", "instances:"]
        for name, fields in {**{name: {} for name in names}, **instances}.items():
            given = {"kind": "dataset", "definition": f"sources:{name}", "retry": RETRY, **fields}
            lines += [f"  {name}:", *(f"    {field}: {value}" for field, value in given.items())]
        (self.root / "optaic.yaml").write_text("\n".join(lines) + "\n")
        self.ledger.apply()

    def say(self, name: str, text: str = "") -> None:
        """Write a file that a source waits for."""
        (self.root / name).write_text(text)

    def wait_for(self, name: str) -> str:
        """Wait until a source has said something; give its words."""
        path = self.root / name
        try:
            until(path.exists, 30.0)
        except AssertionError:
            told = [(run, self.attempts(run.id)) for run in self.ledger.runs()]
            raise AssertionError(f"no source said {name}; {told}; {self.output()}") from None
        return path.read_text()

    def execute(self, server: ForkServer, target: str, **request: Any) -> RunHandle:
        """Submit a run and supervise it here to the end of its first attempt."""
        with self.executing(server, target, **request) as handle:
            pass
        return handle.refresh()

    @contextmanager
    def executing(
        self, server: ForkServer, target: str, *, shutdown: threading.Event | None = None, **request: Any
    ) -> Generator[RunHandle]:
        """Submit a run and supervise it in a thread; the end of the block waits for the end of the attempt."""
        handle = self.ledger.submit(target, **request)
        thread, failures = self.supervising(server, handle, shutdown=shutdown)
        yield handle
        thread.join(60.0)
        assert not thread.is_alive(), f"{handle.refresh()} has not ended"
        assert failures == []

    def supervising(
        self, server: ForkServer, handle: RunHandle, *, shutdown: threading.Event | None = None
    ) -> tuple[threading.Thread, list[BaseException]]:
        """Claim a run and supervise it in a thread."""
        held = claim(self.database, worker="here", lease=self.settings.lease, run_id=handle.id)
        assert held is not None
        failures: list[BaseException] = []

        def serve() -> None:
            try:
                supervise(self.database, server, held, self.settings, shutdown=shutdown)
            except BaseException as error:  # noqa: BLE001 - told to the test
                failures.append(error)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        return thread, failures

    def reached(self, handle: RunHandle, status: str, seconds: float = 60.0) -> RunHandle:
        """Wait until a run has a status."""
        until(lambda: handle.refresh().status == status, seconds)
        return handle

    def attempts(self, run_id: uuid.UUID) -> list[tuple[int, str | None, str | None]]:
        """Give the attempts of a run: number, outcome, reason code."""
        with self.database.read() as tx:
            return [(row.number, row.outcome, row.reason_code) for row in attempts.history(tx, run_id)]

    def record(self, run_id: uuid.UUID) -> Run:
        """Read a run."""
        with self.database.read() as tx:
            return runs.get(tx, run_id)

    def text(self, handle: RunHandle) -> list[str]:
        """Give the texts of a run's log."""
        return [line["text"] for line in handle.logs()]

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Give the ledger, whole: the rows of every table."""
        with self.database.read() as tx:
            rows = {table.name: tx.conn.execute(select(table)).all() for table in metadata.tables.values()}
        return {name: sorted((tuple(row) for row in found), key=repr) for name, found in rows.items()}

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start the command line in the project, with its output in a file."""
        return self._popen([sys.executable, "-m", "optaic.cli.app", *arguments], variables)

    def start_script(self, text: str) -> subprocess.Popen[str]:
        """Start a program of the user's, such as a notebook."""
        return self._popen([sys.executable, "-c", text], {})

    def _popen(self, command: list[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
        environment = {**os.environ, **self.variables, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", **variables}
        with (self.root / "output").open("a") as output:
            return subprocess.Popen(
                command,
                cwd=self.root,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def output(self) -> str:
        """Give what the project's processes have written so far."""
        path = self.root / "output"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()


@contextmanager
def open_project(root: Path, database_url: str, **settings: float | str) -> Generator[Project]:
    """Make a project for the length of a block."""
    project = Project(root, database_url, **settings)
    try:
        yield project
    finally:
        project.close()


def end_process(process: subprocess.Popen[str]) -> None:
    """Kill a process that a test started, if it still runs, and reap it."""
    process.kill()
    process.wait(30.0)
    if process.stdin is not None:
        process.stdin.close()


def processes_of(worker: int) -> dict[str, list[int]]:
    """Find a worker's fork server, guardians and runners, as they are now."""
    found: dict[str, list[int]] = {"servers": [], "guardians": [], "runners": []}
    level = [worker]
    for name in found:
        below: list[int] = []
        for pid in level:
            try:
                below += [child.pid for child in psutil.Process(pid).children()]
            except psutil.NoSuchProcess:
                continue
        found[name] = level = below
    return found
