"""A process forked inside of a tracked block is not the block, and has connections of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil

from tests.projects import Project, end_process, open_project


def run_script(project: Project, text: str) -> int | None:
    """Run a program to its end, and give its exit code; None if it does not come to an end."""
    process = project.start_script(text)
    try:
        return process.wait(30.0)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        return None
    finally:
        end_process(process)


LEAVES = """
import os, sys, optaic
ledger = optaic.connect()
with ledger.track("idea") as run:
    run.log_metric("a", 1.0)
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    run.log_metric("b", 2.0)
"""

WRITES = """
import os, optaic
ledger = optaic.connect()
with ledger.track("idea") as run:
    run.log_metric("a", 1.0)
    pid = os.fork()
    if pid == 0:
        try:
            run.log_file("optaic.yaml", "optaic.yaml")
        except optaic.InvalidInputError as error:
            print("refused:", error.message, error.next_step, flush=True)
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
"""

TRACKS = """
import multiprocessing, optaic
ledger = optaic.connect()

def work(number):
    with ledger.track("child") as run:
        run.log_metric("n", number)

list(ledger.runs())  # a connection is open
workers = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in range(4)]
for one in workers:
    one.start()
for one in workers:
    one.join()
assert [one.exitcode for one in workers] == [0] * 4
assert len(list(ledger.runs(instance="child"))) == 4
"""


def test_a_forked_process_that_leaves_the_block_does_not_end_its_run(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url, lease_seconds=5) as project:
        assert run_script(project, LEAVES) == 0, project.output()
        (found,) = project.ledger.runs(instance="idea")
        assert (found.status, found.metrics) == ("completed", {"a": 1.0, "b": 2.0})


def test_a_forked_process_that_writes_for_the_run_is_refused(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url, lease_seconds=5) as project:
        assert run_script(project, WRITES) == 0, project.output()
        (found,) = project.ledger.runs(instance="idea")
        assert (found.status, found.artifacts) == ("completed", [])
        assert "refused: a process that was forked" in project.output()


def test_forked_workers_track_runs_of_their_own(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url, lease_seconds=5) as project:
        assert run_script(project, TRACKS) == 0, project.output()
        assert [run.status for run in project.ledger.runs(instance="child")] == ["completed"] * 4
