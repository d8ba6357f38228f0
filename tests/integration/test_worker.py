"""Workers: how many at once, in which order, and how they leave."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from optaic.engines.process import ForkServer
from optaic.ledger import attempts
from optaic.lifecycle.claim import claim, has_work
from optaic.lifecycle.publish import relay
from optaic.worker import work
from tests.postgres import PostgresServer
from tests.processes import is_alive, until
from tests.projects import Project, end_process, open_project
from tests.rows import calls, counted


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        server.warm()
        yield server


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url) as project:
        yield project


def test_until_idle_serves_what_there_is_and_returns(project: Project, server: ForkServer) -> None:
    project.declare("prices")
    handles = [project.ledger.submit("prices", params={"close": float(number)}) for number in range(2, 8)]
    told: list[str] = []
    served = work(
        project.database,
        server,
        project.settings,
        slots=3,
        until_idle=True,
        on_event=lambda event, run: told.append(f"{event} {run.id}"),
    )
    assert served == 6
    assert {handle.refresh().status for handle in handles} == {"completed"}
    assert sorted(told) == sorted(f"{event} {handle.id}" for handle in handles for event in ("claimed", "ended"))
    assert work(project.database, server, project.settings, until_idle=True) == 0


def serve(project: Project, server: ForkServer, slots: int, shutdown: threading.Event) -> threading.Thread:
    thread = threading.Thread(
        target=work,
        args=(project.database, server, project.settings),
        kwargs={"slots": slots, "shutdown": shutdown},
        daemon=True,
    )
    thread.start()
    return thread


def test_four_slots_execute_four_runs_at_once_and_no_fifth(project: Project, server: ForkServer) -> None:
    project.declare("waits")
    handles = [project.ledger.submit("waits", params={"tag": str(number)}) for number in range(5)]
    shutdown = threading.Event()
    thread = serve(project, server, 4, shutdown)
    for number in range(4):
        project.wait_for(f"waiting-{number}-1")
    assert [handle.refresh().status for handle in handles] == ["running"] * 4 + ["pending"]
    project.say("go")
    for handle in handles:
        project.reached(handle, "completed")
    shutdown.set()
    thread.join(30.0)
    assert not thread.is_alive()


def test_official_runs_of_one_flow_go_one_at_a_time_and_hold_nobody_else_up(
    project: Project, server: ForkServer
) -> None:
    project.declare("waits", "prices")
    first, second = project.ledger.submit("waits"), project.ledger.submit("waits")
    shutdown = threading.Event()
    thread = serve(project, server, 4, shutdown)
    project.wait_for("waiting-x-1")
    other = project.ledger.submit("prices")
    project.reached(other, "completed")  # submitted last, and not held up
    assert (first.refresh().status, second.refresh().status) == ("running", "pending")
    project.say("go")
    project.reached(second, "completed")
    ended, started = first.refresh().record.ended_at, second.record.started_at
    assert ended is not None
    assert started is not None
    assert started >= ended
    shutdown.set()
    thread.join(30.0)


def test_the_highest_priority_is_served_first_then_the_oldest(project: Project, server: ForkServer) -> None:
    project.declare("prices")
    wanted = [
        project.ledger.submit("prices", params={"close": float(number + 2)}, priority=priority)
        for number, priority in enumerate((0, 5, 0, 5))
    ]
    served: list[object] = []
    work(
        project.database,
        server,
        project.settings,
        until_idle=True,
        on_event=lambda event, run: served.append(run.id) if event == "claimed" else None,
    )
    assert served == [wanted[index].id for index in (1, 3, 0, 2)]


@contextmanager
def worker_process(project: Project, **variables: str) -> Generator[subprocess.Popen[str]]:
    """Start a worker process."""
    process = project.start("worker", "-n", "2", **variables)
    try:
        yield process
    finally:
        end_process(process)


def is_signal_pending(pid: int) -> bool:
    """Tell whether the process has signals that it has not received yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    return any(line.startswith(("SigPnd", "ShdPnd")) and int(line.split()[1], 16) for line in status.splitlines())


def test_a_worker_that_is_told_to_stop_lets_its_runs_finish_within_the_grace(project: Project) -> None:
    project.declare("waits")
    run = project.ledger.submit("waits")
    with worker_process(project, OPTAIC_SHUTDOWN_GRACE_SECONDS="30") as worker:
        project.wait_for("waiting-x-1")
        worker.send_signal(signal.SIGTERM)
        until(lambda: not is_signal_pending(worker.pid))
        late = project.ledger.submit("waits", params={"tag": "late"})
        project.say("go")
        assert worker.wait(30.0) == 0
    assert (run.refresh().status, run.record.attempt) == ("completed", 1)
    assert late.refresh().status == "pending"


def test_a_worker_that_is_told_to_stop_gives_back_what_outlasts_the_grace(project: Project, server: ForkServer) -> None:
    project.declare("waits")
    run = project.ledger.submit("waits", params={"tag": "y"}, seed=5)
    with worker_process(project) as worker:
        pid, seed = project.wait_for("waiting-y-1").split()
        started = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30.0) == 0
        assert time.monotonic() - started < 10.0
    assert not is_alive(int(pid))
    assert (run.refresh().status, run.status_text) == ("pending", "pending (retry)")
    assert run.reason == "the worker was shut down and gave the run back [released]"
    project.say("go")
    assert work(project.database, server, project.settings, until_idle=True) == 1
    assert (run.refresh().status, run.record.attempt) == ("completed", 2)
    assert project.wait_for("waiting-y-2").split()[1] == seed == "5"
    assert [outcome for _, outcome, _ in project.attempts(run.id)] == ["released", "completed"]


def test_a_second_signal_ends_a_worker_at_once_and_its_run_is_taken_up_when_the_lease_is_over(
    project: Project, server: ForkServer
) -> None:
    project.declare("waits")
    run = project.ledger.submit("waits")
    with worker_process(project, OPTAIC_SHUTDOWN_GRACE_SECONDS="600", OPTAIC_LEASE_SECONDS="1") as worker:
        pid = int(project.wait_for("waiting-x-1").split()[0])
        while worker.poll() is None:  # signals that come together are one, so they are sent until they have worked
            worker.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        assert worker.returncode == 1
    until(lambda: not is_alive(pid), 5.0)
    until(lambda: run.refresh().status_text == "lost (lease expired)")
    assert run.status == "running"  # reading has changed nothing
    project.say("go")
    shutdown = threading.Event()
    thread = serve(project, server, 1, shutdown)
    project.reached(run, "completed")
    shutdown.set()
    thread.join(30.0)
    assert project.attempts(run.id) == [(1, "lost", "worker_lost"), (2, "completed", None)]


def test_a_worker_is_ready_before_it_claims(project: Project) -> None:
    # Who claims first and then loads libraries has lost a short lease before the run has begun.
    project.declare("prices")
    run = project.ledger.submit("prices")
    with worker_process(project, OPTAIC_LEASE_SECONDS="1"):
        project.reached(run, "completed")
    assert run.record.attempt == 1


class Unwaited(threading.Event):
    """A shutdown that nobody may wait for: a signal that comes meanwhile could not set it."""

    def wait(self, timeout: float | None = None) -> bool:
        raise AssertionError(f"somebody waited {timeout} s for the shutdown")


def test_a_worker_never_waits_for_what_a_signal_handler_sets(project: Project, server: ForkServer) -> None:
    # The handler runs in the thread that serves. Inside a wait that thread holds the event's lock, and `set` needs it.
    project.declare(never_answers={"retry": "{max_attempts: 2, backoff: 2s}"})
    project.ledger.submit("never_answers")
    # Between the two attempts there is nothing to do.
    assert work(project.database, server, project.settings, until_idle=True, shutdown=Unwaited()) == 2


SIGNALLED = """
import os, signal, sys, threading, types
import optaic.cli.worker
from optaic.cli.app import main

class Event(threading.Event):
    def set(self):
        with self._cond:  # as the real one does
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # it is delivered here
                pass
        super().set()

optaic.cli.worker.threading = types.SimpleNamespace(Event=Event)
main(["worker"])
"""


def test_a_second_signal_ends_a_worker_also_while_the_first_is_being_noted(project: Project) -> None:
    worker = project.start_script(SIGNALLED)
    try:
        until(lambda: f"worker {worker.pid} serves" in project.output(), 30.0)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30.0) == 1
    finally:
        end_process(worker)


def test_a_run_that_waits_for_its_next_attempt_is_not_claimed_early(project: Project, server: ForkServer) -> None:
    project.declare(never_answers={"retry": "{max_attempts: 2, backoff: 0.5s}"})
    run = project.ledger.submit("never_answers")
    shutdown = threading.Event()
    thread = serve(project, server, 2, shutdown)
    project.reached(run, "failed")
    shutdown.set()
    thread.join(30.0)
    with project.database.read() as tx:
        first, second = attempts.history(tx, run.id)
    assert (second.claimed_at - first.ended_at).total_seconds() >= 0.25


def test_until_idle_waits_for_the_next_attempt_of_what_it_gave_back(project: Project, server: ForkServer) -> None:
    project.declare(never_answers={"retry": "{max_attempts: 2, backoff: 2s}"})
    run = project.ledger.submit("never_answers")
    assert work(project.database, server, project.settings, until_idle=True) == 2
    assert run.refresh().status == "failed"


def test_until_idle_takes_up_what_a_dead_worker_has_left(project: Project, server: ForkServer) -> None:
    project.declare("prices")
    run = project.ledger.submit("prices")
    assert claim(project.database, worker="gone", lease=dt.timedelta(seconds=2)) is not None
    assert run.refresh().status_text == "running"  # the lease has not expired yet
    settings = replace(project.settings, lease_seconds=1.0)
    assert work(project.database, server, settings, until_idle=True) == 1
    assert run.refresh().status == "completed"
    assert project.attempts(run.id) == [(1, "lost", "worker_lost"), (2, "completed", None)]


class Looked(threading.Event):
    """A shutdown that never comes; does something when a worker has looked for it so many times."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        super().__init__()
        self._left = number
        self._act = act

    def is_set(self) -> bool:
        self._left -= 1
        if self._left == 0:
            self._act()
        return False


def test_until_idle_waits_for_what_another_worker_runs(project: Project, server: ForkServer) -> None:
    project.declare("waits")
    run = project.ledger.submit("waits")
    shutdown = threading.Event()
    other = serve(project, server, 1, shutdown)
    project.wait_for("waiting-x-1")
    # Idle or not is decided at every look: one that would leave has left long before the tenth.
    looks = Looked(10, lambda: project.say("go"))
    assert work(project.database, server, project.settings, until_idle=True, shutdown=looks) == 0
    assert run.refresh().status == "completed"
    shutdown.set()
    other.join(30.0)


def test_until_idle_outlasts_a_database_that_is_away(
    tmp_path: Path, private_postgres: PostgresServer, server: ForkServer
) -> None:
    with open_project(tmp_path / "project", private_postgres.url) as project, ThreadPoolExecutor() as pool:
        project.declare(never_answers={"retry": "{max_attempts: 2, backoff: 2s}"})
        run = project.ledger.submit("never_answers")
        serving = pool.submit(work, project.database, server, project.settings, until_idle=True, shutdown=Unwaited())
        until(lambda: run.refresh().status_text == "pending (retry)")
        private_postgres.kill9()
        with pytest.raises(TimeoutError):  # time enough to look for work, and whether it is idle, in vain
            serving.result(2.0)
        private_postgres.restart()
        assert serving.result(60.0) == 2


def test_an_idle_worker_looks_without_building_a_statement_or_writing(project: Project) -> None:
    project.declare("prices")
    database = project.database
    while relay(database):
        pass
    has_work(database)
    assert calls(lambda: has_work(database)) < 1_000
    with counted(database) as seen:
        relay(database)
    assert [text.split()[0] for text in seen] == ["SELECT"]
