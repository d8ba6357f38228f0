"""Kill -9 at seeded moments of the lives of runs: afterwards the ledger is whole, and no work is lost or done twice.

A moment is one run in flight when something of it was killed: its worker, fork server, guardian, its own process, the
lone `optaic run` that executes it, the program whose tracked block it is, or PostgreSQL. FAULT_MOMENTS sets how many
over both databases, 200 by default: two to three minutes on two busy cores. FAULT_SEED sets which.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from optaic.domain.status import RunStatus
from optaic.errors import LedgerError
from optaic.handle import RunHandle
from optaic.ledger import runs
from optaic.ledger.tables import attempts
from tests.postgres import PostgresServer
from tests.processes import is_alive, until
from tests.projects import Project, end_process, open_project, processes_of
from tests.whole import check_whole

LOG = logging.getLogger(__name__)
"""What was measured: `pytest --log-cli-level=INFO` shows it."""

MOMENTS = int(os.environ.get("FAULT_MOMENTS", "200")) // 2
SEED = os.environ.get("FAULT_SEED", "1")
LEASE = 1.0
SLACK = 2.0
DATASETS = ("one", "two", "three", "four", "five", "six")
VICTIMS = ("runners", "runners", "guardians", "servers", "worker", "worker")


TRACKS = """
import random
import time

import polars as pl

import optaic

ledger = optaic.connect()
chance = random.Random({number})
while True:
    with ledger.track("idea", params={{"number": {number}}}) as run:
        for step in range(3):
            run.log.info("step %d", step)
            run.log_metric("loss", chance.random(), step=step)
            run.progress(30.0 * step)
            time.sleep(chance.uniform(0.0, 0.1))
        run.log_frame("scores", pl.DataFrame({{"loss": [chance.random()]}}))
"""


class Siege:
    """Two workers that always have work, and what is killed under them."""

    def __init__(self, project: Project, chance: random.Random) -> None:
        self.project = project
        self.chance = chance
        self.workers = [self.hire(), self.hire()]
        self.beside: subprocess.Popen[str] | None = None
        self.submitted: list[RunHandle] = []
        self.moments = 0
        self.moments_beside = 0
        self.kills = 0

    def hire(self) -> subprocess.Popen[str]:
        return self.project.start("worker", "-n", "4")

    def feed_until(self, in_flight: int, seconds: float) -> None:
        """Feed until so many are in flight at once, whether the database answers already or not yet."""

        def is_fed() -> bool:
            try:
                self.feed()
                return self.in_flight() >= in_flight
            except LedgerError:
                return False

        until(is_fed, seconds)

    def feed(self) -> None:
        """Keep enough runs waiting; two in three are official."""
        with self.project.database.read() as tx:
            waiting = len(tx.conn.execute(runs.select_runs().where(runs.IS_PENDING)).all())
        for _ in range(12 - waiting):
            number = len(self.submitted)
            params = {"number": number} if number % 3 == 2 else None
            self.submitted.append(self.project.ledger.submit(DATASETS[number % len(DATASETS)], params=params))

    def in_flight(self, worker: int | None = None) -> int:
        """Count the open attempts, of one worker or of all."""
        query = select(attempts.c.worker).where(attempts.c.ended_at.is_(None))
        with self.project.database.read() as tx:
            holders = [str(row.worker).split(":")[1] for row in tx.conn.execute(query)]
        return sum(worker is None or int(holder) == worker for holder in holders)

    def is_rescuer_ready(self, rescuer: int) -> bool:
        """Tell whether a worker is at work, and nobody waits for its rescue: then it can be left alone."""
        beside = self.beside
        living = [one.pid for one in (*self.workers, *([beside] if beside else []))]
        return self.in_flight(rescuer) > 0 and self.in_flight() == sum(self.in_flight(pid) for pid in living)

    def strike(self) -> None:
        """Kill something, after a while."""
        time.sleep(self.chance.uniform(0.0, 0.4))  # the moment
        victim = self.chance.choice(VICTIMS)
        index = self.chance.randrange(2)
        worker = self.workers[index]
        if victim == "worker" and not self.is_rescuer_ready(self.workers[1 - index].pid):
            victim = "runners"
        if victim == "worker":
            self.moments += self.in_flight(worker.pid)
            family = [pid for found in processes_of(worker.pid).values() for pid in found]
            end_process(worker)
            self.workers[index] = self.hire()
            until(lambda: not any(is_alive(pid) for pid in family), 5.0)
        else:
            if victim == "servers":
                self.moments += self.in_flight(worker.pid)
            for one in self.workers:
                for pid in processes_of(one.pid)[victim] if victim != "servers" or one is worker else ():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        self.moments += victim != "servers"
        self.kills += 1

    @contextmanager
    def striking_beside(self, chance: random.Random) -> Generator[None]:
        """Kill, beside the workers, programs that execute runs of their own."""
        is_over = threading.Event()

        def strike() -> None:
            for number in itertools.count(1_000_000, 2):
                self.strike_beside(self.project.start("run", DATASETS[0], "--param", f"number={number}"), chance)
                self.strike_beside(self.project.start_script(TRACKS.format(number=number + 1)), chance)
                if is_over.is_set():
                    return

        with ThreadPoolExecutor() as pool:
            striking = pool.submit(strike)
            try:
                yield
            finally:
                is_over.set()
            striking.result()

    def strike_beside(self, program: subprocess.Popen[str], chance: random.Random) -> None:
        """Kill a program at some moment after it has begun a run."""
        self.beside = program
        try:
            until(lambda: self.in_flight(program.pid) > 0 or program.poll() is not None, 60.0)
            time.sleep(chance.uniform(0.0, 2.5))  # the moment
            self.moments_beside += self.in_flight(program.pid)
        finally:
            end_process(program)
        assert program.returncode in (0, -signal.SIGKILL), self.project.output()[-3000:]

    def calm(self) -> None:
        """Let the workers bring everything to its end, then send them home."""
        until(self.is_over, 120.0)
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
            # One that was hired a moment ago may not have learnt to leave gracefully; it holds nothing yet.
            assert worker.wait(30.0) in (0, -signal.SIGTERM), self.project.output()[-3000:]
        self.close()

    def is_over(self) -> bool:
        query = runs.select_runs().where(runs.IS_PENDING | runs.IS_RUNNING)
        with self.project.database.read() as tx:
            return not tx.conn.execute(query).all()

    def close(self) -> None:
        for worker in self.workers:
            end_process(worker)


def check_after(project: Project, submitted: list[RunHandle], *, is_prompt: bool) -> None:
    """Check that the ledger is whole, each run has had its effect once, and no lost attempt stayed open for long."""
    check_whole(project.database, project.store)
    with project.database.read() as tx:
        recorded = [runs.to_run(row) for row in tx.conn.execute(runs.select_runs())]
    assert {run.id for run in recorded} >= {handle.id for handle in submitted}
    for handle in (project.ledger.get(run.id) for run in recorded):
        if handle.record.type == "ExperimentRun":
            check_tracked(project, handle)
            continue
        is_official = handle.standing == "official"
        assert handle.record.status is RunStatus.COMPLETED, f"{handle}: {handle.reason}"
        # Each run answers differently, so an official one publishes exactly one version, and a trial none.
        assert (handle.version is not None) == is_official
        assert {f"step {step}" for step in range(3)} <= set(project.text(handle))
    if not is_prompt:  # without a database nobody can be rescued
        return
    with project.database.read() as tx:
        lost = tx.conn.execute(select(attempts).where(attempts.c.outcome == "lost")).all()
    waits = [(row.ended_at - (row.heartbeat_at or row.claimed_at)).total_seconds() for row in lost]
    LOG.info(
        "%d lost attempts, the longest for %.2f s after its last sign of life", len(waits), max(waits, default=0.0)
    )
    # Within two lease periods, and what a busy machine adds to that.
    assert all(wait < 2 * LEASE + SLACK for wait in waits)


def check_tracked(project: Project, handle: RunHandle) -> None:
    """Check that a tracked block has completed, or is lost and has left nothing."""
    if handle.status == "completed":
        assert project.attempts(handle.id) == [(1, "completed", None)]
        assert handle.artifacts
        return
    assert handle.status == "failed"
    assert project.attempts(handle.id) == [(1, "lost", "worker_lost")]
    assert not handle.artifacts


def declare(project: Project) -> None:
    fields = {"definition": "sources:lives", "retry": "{max_attempts: 100, backoff: 0.05s, max_backoff: 0.2s}"}
    project.declare(**dict.fromkeys(DATASETS, fields))


@pytest.mark.slow
def test_at_whatever_moment_something_is_killed_the_ledger_is_whole_and_every_run_takes_effect_once(
    tmp_path: Path, database_url: str
) -> None:
    with open_project(tmp_path / "project", database_url, lease_seconds=LEASE) as project:
        declare(project)
        seed = f"{SEED}-{database_url.partition(':')[0]}"
        siege = Siege(project, random.Random(seed))
        started = time.monotonic()
        try:
            siege.feed_until(1, 60.0)
            with siege.striking_beside(random.Random(f"{seed}-beside")):
                while siege.moments + siege.moments_beside < MOMENTS:
                    siege.feed()
                    siege.strike()
                    if siege.kills % 10 == 0:
                        check_whole(project.database, project.store)  # in the middle of it too
            siege.calm()
        finally:
            siege.close()
        seconds = time.monotonic() - started
        moments = f"{siege.moments} moments, {siege.moments_beside} beside"
        LOG.info("%d kills, %s, %d runs in %.0f s", siege.kills, moments, len(siege.submitted), seconds)
        check_after(project, siege.submitted, is_prompt=True)


@pytest.mark.slow
def test_at_whatever_moment_postgresql_is_killed_the_ledger_is_whole_and_the_workers_go_on(
    tmp_path: Path, private_postgres: PostgresServer
) -> None:
    chance = random.Random(f"{SEED}-server")
    with open_project(tmp_path / "project", private_postgres.url, lease_seconds=LEASE) as project:
        declare(project)
        siege = Siege(project, chance)
        try:
            for _ in range(max(MOMENTS // 25, 2)):
                siege.feed_until(4, 60.0)
                time.sleep(chance.uniform(0.0, 0.4))  # the moment
                siege.moments += siege.in_flight()
                private_postgres.kill9()
                time.sleep(chance.uniform(0.0, 1.5 * LEASE))  # for shorter and for longer than a lease
                private_postgres.restart()
                assert [worker.poll() for worker in siege.workers] == [None, None], project.output()[-3000:]
                siege.feed_until(0, 10.0)
            siege.calm()
        finally:
            siege.close()
        LOG.info("%d moments, %d runs", siege.moments, len(siege.submitted))
        check_after(project, siege.submitted, is_prompt=False)
