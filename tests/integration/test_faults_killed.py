"""Kill -9, at chosen moments: the processes of the runs die too, and the work is taken up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from optaic.handle import RunHandle
from optaic.lifecycle.claim import claim
from optaic.lifecycle.rescue import rescue
from optaic.worker import work
from tests.postgres import PostgresServer
from tests.processes import is_alive, parent_of, until
from tests.projects import Project, end_process, open_project, processes_of
from tests.whole import check_whole

LEASE = 1.0


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url, lease_seconds=LEASE) as project:
        yield project
        check_whole(project.database, project.store)


@contextmanager
def standby(project: Project, slots: int = 4) -> Generator[None]:
    """Have a worker in this process."""
    shutdown, failures = threading.Event(), list[BaseException]()

    def serve() -> None:
        try:
            work(project.database, project.runtime.server, project.settings, slots=slots, shutdown=shutdown)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        shutdown.set()
        thread.join(60.0)
    assert failures == []


def submit_waiting(project: Project, count: int) -> list[RunHandle]:
    project.declare("waits")
    return [project.ledger.submit("waits", params={"tag": str(number)}) for number in range(count)]


def pids_of(project: Project, count: int, attempt: int = 1) -> list[int]:
    return [int(project.wait_for(f"waiting-{number}-{attempt}").split()[0]) for number in range(count)]


def test_when_a_worker_is_killed_its_runs_die_with_it_and_are_taken_up_within_two_lease_periods(
    project: Project,
) -> None:
    handles = submit_waiting(project, 3)
    worker = project.start("worker", "-n", "3")
    try:
        pids = pids_of(project, 3)
        others = [pid for found in processes_of(worker.pid).values() for pid in found]
        with standby(project):
            ready = project.ledger.submit("waits", params={"tag": "standby"})
            project.wait_for("waiting-standby-1")
            worker.kill()
            worker.wait()
            killed = time.monotonic()
            until(lambda: all(handle.refresh().record.attempt == 2 for handle in handles), 2 * LEASE + 1.0)
            taken = time.monotonic() - killed
            assert not any(is_alive(pid) for pid in (*pids, *others))
            project.say("go")
            for handle in (*handles, ready):
                project.reached(handle, "completed")
        # The wait before the next attempt (at most 0.1 s) and looking for work come on top of the leases.
        assert taken < 2 * LEASE + 0.5
        for handle in handles:
            assert project.attempts(handle.id) == [(1, "lost", "worker_lost"), (2, "completed", None)]
    finally:
        end_process(worker)


def test_a_worker_that_is_killed_between_claim_and_first_heartbeat_loses_nothing(project: Project) -> None:
    (run,) = submit_waiting(project, 1)
    project.say("go")
    assert claim(project.database, worker="died at once", lease=project.settings.lease) is not None
    with standby(project):
        project.reached(run, "completed", 10.0)
    assert project.attempts(run.id) == [(1, "lost", "worker_lost"), (2, "completed", None)]


@pytest.mark.parametrize("victim", ["runners", "guardians"])
def test_a_killed_runner_or_guardian_ends_the_attempt_at_once_and_the_worker_goes_on(
    project: Project, victim: str
) -> None:
    (run,) = submit_waiting(project, 1)
    with standby(project):
        (pid,) = pids_of(project, 1)
        server = project.runtime.server.pid
        assert server is not None
        os.kill(pid if victim == "runners" else parent_of(pid), signal.SIGKILL)
        until(lambda: run.refresh().record.attempt == 2)
        assert not is_alive(pid)
        project.say("go")
        project.reached(run, "completed")
    assert project.attempts(run.id) == [(1, "failed", "process_died"), (2, "completed", None)]


def test_a_killed_fork_server_harms_no_run(project: Project) -> None:
    handles = submit_waiting(project, 2)
    with standby(project):
        pids_of(project, 2)
        server = project.runtime.server.pid
        assert server is not None
        os.kill(server, signal.SIGKILL)
        later = project.ledger.submit("waits", params={"tag": "later"})
        project.wait_for("waiting-later-1")
        assert [handle.refresh().status for handle in handles] == ["running", "running"]
        project.say("go")
        for handle in (*handles, later):
            project.reached(handle, "completed")
            assert handle.record.attempt == 1
    assert project.runtime.server.pid != server


def test_after_kill_9_of_a_lone_run_command_reads_say_lost_and_the_next_writer_rescues(project: Project) -> None:
    project.declare("waits", "prices")
    lone = project.start("run", "waits")
    try:
        pid = int(project.wait_for("waiting-x-1").split()[0])
        (run,) = project.ledger.runs()
        assert run.status == "running"
    finally:
        end_process(lone)
    until(lambda: not is_alive(pid), 5.0)
    until(lambda: run.refresh().status_text == "lost (lease expired)", 3 * LEASE)
    before = project.dump()
    project.ledger.runs()
    project.ledger.get(run.id)
    project.ledger.status()
    assert project.dump() == before  # who only reads changes nothing
    assert project.ledger.run("prices").status == "completed"
    assert run.refresh().status_text == "pending (retry)"
    project.say("go")
    assert project.ledger.execute(run).status == "completed"
    assert project.attempts(run.id) == [(1, "lost", "worker_lost"), (2, "completed", None)]


def test_a_run_whose_workers_always_die_fails_in_the_end_with_the_reason(project: Project) -> None:
    (run,) = submit_waiting(project, 1)
    while run.refresh().status == "pending":
        if claim(project.database, worker="doomed", lease=project.settings.lease / 5) is not None:
            until(lambda: rescue(project.database) == [run.id], 5.0)
    assert project.attempts(run.id) == [(number, "lost", "worker_lost") for number in (1, 2, 3)]
    assert run.status == "failed"
    assert run.reason is not None
    assert run.reason.endswith("[worker_lost]")
    assert run.record.reason is not None
    assert run.record.reason.next_step == f"to run it again: optaic retry {run.id}"


def test_a_cancelled_run_whose_worker_dies_is_cancelled_and_not_repeated(project: Project) -> None:
    (run,) = submit_waiting(project, 1)
    worker = project.start("worker")
    try:
        pids_of(project, 1)
        os.kill(worker.pid, signal.SIGSTOP)  # so that it does not see the note
        project.ledger.cancel(run.id)
    finally:
        end_process(worker)
    with standby(project):
        project.reached(run, "cancelled", 10.0)
    assert project.attempts(run.id)[0][:2] == (1, "lost")


def test_postgresql_may_be_killed_and_come_back_and_the_worker_and_its_runs_go_on(
    tmp_path: Path, private_postgres: PostgresServer
) -> None:
    with open_project(tmp_path / "project", private_postgres.url, lease_seconds=20) as project:
        handles = submit_waiting(project, 2)
        with standby(project):
            pids = pids_of(project, 2)
            private_postgres.kill9()
            project.say("go")  # so they end while nobody can be told
            until(lambda: not any(is_alive(pid) for pid in pids))
            private_postgres.restart()
            for handle in handles:
                project.reached(handle, "completed")
                assert handle.record.attempt == 1  # back within the lease: the answer was kept and is taken
            again = project.ledger.submit("waits", params={"tag": "again"})
            project.reached(again, "completed")
        check_whole(project.database, project.store)


def test_when_postgresql_stays_away_for_longer_than_a_lease_the_runs_are_stopped_and_later_taken_up(
    tmp_path: Path, private_postgres: PostgresServer
) -> None:
    with open_project(tmp_path / "project", private_postgres.url, lease_seconds=LEASE) as project:
        handles = submit_waiting(project, 2)
        with standby(project):
            pids = pids_of(project, 2)
            private_postgres.kill9()
            until(lambda: not any(is_alive(pid) for pid in pids), LEASE + 5.0)  # nobody knows whose they are by now
            project.say("go")
            private_postgres.restart()
            for handle in handles:
                project.reached(handle, "completed")
                assert handle.record.attempt == 2
        check_whole(project.database, project.store)
