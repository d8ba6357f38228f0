"""Stopping: Ctrl-C, SIGTERM, cancel, and kill -9 of what executes a run."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import SOURCES, Project, dataset, is_alive, send, wait_until

LEASE_SECONDS = "5"
"""Short, so that a lost run is soon seen; long enough for a busy machine to renew it in time."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a source that says when it has started, and goes on when a file `go` is there."""
    mine = Project(tmp_path, {"OPTAIC_LEASE_SECONDS": LEASE_SECONDS, "OPTAIC_SHUTDOWN_GRACE_SECONDS": "0"})
    mine.run("init")
    (tmp_path / "sources.py").write_text(SOURCES)
    mine.declare(dataset("waits", "waits"))
    return mine


@pytest.fixture
def started(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A lone `optaic run` whose source is at work."""
    process = project.start("run", "waits")
    note = project.root / "started-1"
    wait_until(lambda: note.exists() and note.read_text(), "the source begins and has written who it is")
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_progress_is_told_in_plain_lines_where_there_is_no_terminal(
    project: Project, started: subprocess.Popen[str]
) -> None:
    (project.root / "go").touch()
    stdout, stderr = started.communicate(timeout=60)
    assert started.returncode == 0, stderr
    assert "waits.refresh running" in stderr
    assert "version  1" in stdout
    assert "\x1b" not in stdout + stderr


def test_ctrl_c_asks_the_run_to_stop_and_waits_for_it(project: Project, started: subprocess.Popen[str]) -> None:
    stdout, stderr = send(started, signal.SIGINT)
    assert started.returncode == 1, stderr
    assert "asking the run to stop" in stderr
    assert "cancelled" in stdout
    run = project.last("waits")
    assert (run["status"], run["reason"]["code"]) == ("cancelled", "cancelled")


def test_sigterm_gives_the_run_back_and_a_worker_takes_it_up(project: Project, started: subprocess.Popen[str]) -> None:
    _, stderr = send(started, signal.SIGTERM)
    assert started.returncode == 1
    assert "pending" in stderr
    assert "optaic worker" in stderr
    (project.root / "go").touch()
    project.run("worker", "--until-idle")
    run = project.last("waits")
    assert (run["status"], run["attempt"], run["version"]) == ("completed", 2, 1)
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["released", "completed"]


def test_cancel_from_elsewhere_stops_the_run_and_its_process(project: Project, started: subprocess.Popen[str]) -> None:
    pid = int((project.root / "started-1").read_text())
    asked = project.run("cancel", "waits@latest").stdout
    assert "was asked to stop" in asked
    assert started.wait(timeout=60) == 1
    assert not is_alive(pid)
    assert project.last("waits")["status"] == "cancelled"


def test_kill_9_of_a_lone_run_shows_it_lost_until_a_worker_takes_it_up(
    project: Project, started: subprocess.Popen[str]
) -> None:
    pid = int((project.root / "started-1").read_text())
    wait_until(lambda: "started" in project.run("logs", "waits@latest").stdout, "the ledger has the first line")
    send(started, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "the source dies with what executed it")
    wait_until(lambda: "lost" in project.run("runs").stdout, "the lease expires")
    lost = project.last("waits")
    assert (lost["status"], lost["is_lost"]) == ("running", True), "reading must not change it"
    assert "worker" in project.run("show", lost["id"]).stdout.partition("next: ")[2]
    doctor = project.json("doctor")
    assert [check["level"] for check in doctor["items"] if check["name"] == "leases"] == ["warning"]

    worker = project.start("worker")
    wait_until((project.root / "started-2").exists, "a worker begins a second attempt")
    follower = project.start("logs", lost["id"], "-f")
    (project.root / "go").touch()
    log, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert log.index("--- attempt 2 ---") < log.index("going on")
    assert log.count("started") == 2
    stdout, _ = send(worker, signal.SIGTERM)
    assert worker.returncode == 0
    assert lost["id"] in stdout
    done = project.last("waits")
    assert (done["status"], done["version"]) == ("completed", 1)
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["lost", "completed"]


def test_a_worker_that_is_told_to_stop_gives_its_run_back(project: Project) -> None:
    run = project.json("run", "waits", "--detach")
    worker = project.start("worker", "-n", "2")
    wait_until((project.root / "started-1").exists, "the worker begins")
    pid = int((project.root / "started-1").read_text())
    stdout, _ = send(worker, signal.SIGINT)
    assert worker.returncode == 0
    assert "leaves after 1 attempt" in stdout
    assert not is_alive(pid)
    assert project.json("show", run["id"])["status"] == "pending"
