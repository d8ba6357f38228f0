"""Runs that the asking process executes itself: interrupted at the worst moment, and without a database for a while."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.postgres import PostgresServer
from tests.processes import is_alive, until
from tests.projects import Project, end_process, open_project
from tests.whole import check_whole


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url) as project:
        project.declare("waits")
        yield project
        check_whole(project.database, project.store)


# A signal that comes when the waiting thread has just entered a lock. What a handler raises there leaves it locked.
WORST_MOMENT = """
import os, signal, sys, threading
import optaic
from optaic.cli.app import main

enter, signals = threading.Condition.__enter__, [signal.{name}]

def enter_and_be_signalled(condition):
    entered = enter(condition)
    if signals and sys._getframe(2).f_code.co_name == "step" and os.path.exists("waiting-x-1"):
        os.kill(os.getpid(), signals.pop())
    return entered

threading.Condition.__enter__ = enter_and_be_signalled
{program}
"""


def test_sigterm_at_the_worst_moment_gives_a_lone_run_back(project: Project) -> None:
    lone = project.start_script(WORST_MOMENT.format(name="SIGTERM", program='main(["run", "waits"])'))
    try:
        assert lone.wait(60.0) == 1, project.output()
    finally:
        end_process(lone)
    (run,) = project.ledger.runs()
    assert (run.status, project.attempts(run.id)) == ("pending", [(1, "released", "released")])


def test_ctrl_c_at_the_worst_moment_stops_the_run_of_a_program(project: Project) -> None:
    program = 'print("it is", optaic.connect().run("waits").status, flush=True)'
    lone = project.start_script(WORST_MOMENT.format(name="SIGINT", program=program))
    try:
        assert lone.wait(60.0) == 0, project.output()
    finally:
        end_process(lone)
    assert "it is cancelled" in project.output()


def test_a_second_ctrl_c_leaves_when_the_run_is_stopped(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url, cancel_grace_seconds=5) as project:
        project.declare("waits")
        lone = project.start_script('import optaic; optaic.connect().run("waits")')
        try:
            project.wait_for("waiting-x-1")
            lone.send_signal(signal.SIGINT)
            (run,) = project.ledger.runs()
            until(lambda: run.refresh().status_text == "running (cancelling)")
            lone.send_signal(signal.SIGINT)
            assert lone.wait(60.0) == -signal.SIGINT
        finally:
            end_process(lone)
        assert run.refresh().status == "cancelled"


def has_left(program: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Tell whether a program has ended; else send it a signal, and leave it a moment."""
    if program.poll() is None:
        program.send_signal(number)
        time.sleep(0.3)  # signals that come together are one, as keys that nobody can press so fast
    return program.poll() is not None


def test_one_more_ctrl_c_leaves_also_when_the_database_does_not_answer(tmp_path: Path, postgres_url: str) -> None:
    with open_project(tmp_path / "project", postgres_url) as project:
        project.declare("waits")
        lone = project.start("run", "waits")
        try:
            pid = int(project.wait_for("waiting-x-1").split()[0])
            with project.database.write() as tx:
                tx.conn.execute(text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))
                until(lambda: has_left(lone, signal.SIGINT), 30.0)
            assert lone.returncode == 1
        finally:
            end_process(lone)
        until(lambda: not is_alive(pid), 5.0)


def test_a_lone_run_outlasts_a_restart_of_postgresql(tmp_path: Path, private_postgres: PostgresServer) -> None:
    with open_project(tmp_path / "project", private_postgres.url, lease_seconds=20) as project:
        project.declare("waits")
        handle = project.ledger.submit("waits")
        with ThreadPoolExecutor() as pool:
            lone = pool.submit(project.ledger.execute, handle)
            project.wait_for("waiting-x-1")
            private_postgres.kill9()
            with pytest.raises(TimeoutError):  # time enough to look at the run in vain
                lone.result(1.0)
            private_postgres.restart()
            project.say("go")
            assert lone.result(60.0).status == "completed"
        assert project.attempts(handle.id) == [(1, "completed", None)]


def test_a_lone_plan_outlasts_a_restart_of_postgresql(tmp_path: Path, private_postgres: PostgresServer) -> None:
    with open_project(tmp_path / "project", private_postgres.url, lease_seconds=20) as project:
        project.declare("waits", reads={"inputs": "{close: waits}"})
        lone = project.start("run", "reads", "--recursive")
        try:
            project.wait_for("waiting-x-1")
            private_postgres.kill9()
            with pytest.raises(subprocess.TimeoutExpired):  # time enough to look at the plan in vain
                lone.wait(1.5)
            private_postgres.restart()
            project.say("go")
            assert lone.wait(60.0) == 0, project.output()
        finally:
            end_process(lone)
        (last, first) = project.ledger.runs()
        assert [(run.instance, project.attempts(run.id)) for run in (first, last)] == [
            ("waits", [(1, "completed", None)]),
            ("reads", [(1, "completed", None)]),
        ]


@pytest.mark.parametrize("options", [[], ["--recursive"]])
def test_what_waits_in_vain_for_postgresql_says_how_the_run_is_left(
    tmp_path: Path, private_postgres: PostgresServer, options: list[str]
) -> None:
    with open_project(tmp_path / "project", private_postgres.url, lease_seconds=1) as project:
        project.declare("waits")
        lone = project.start("run", "waits", *options)
        try:
            project.wait_for("waiting-x-1")
            private_postgres.kill9()
            assert lone.wait(60.0) == 1, project.output()
        finally:
            end_process(lone)
            private_postgres.restart()
        (run,) = project.ledger.runs()
        told = " ".join(project.output().split())
        assert str(run.id) in told
        assert "tried again" in told
        assert "optaic worker --until-idle" in told
