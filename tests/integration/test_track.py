"""Tracking a block of one's own program: a trial, held by heartbeats, ended as the block ended."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from optaic.engines.process import ForkServer
from optaic.errors import ConflictError, InvalidInputError, NoOutputError, NotFoundError, UpstreamNotReadyError
from optaic.handle import RunHandle
from optaic.ledger import attempts
from optaic.lifecycle.rescue import rescue
from tests.processes import until
from tests.projects import Project, end_process, open_project
from tests.whole import check_whole


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url, lease_seconds=1.0) as project:
        yield project
        check_whole(project.database, project.store)


def test_a_tracked_block_makes_its_experiment_and_is_a_trial_with_all_that_it_logged(project: Project) -> None:
    frame = pl.DataFrame({"symbol": ["A", "B"], "score": [0.5, -0.5]})
    note = project.root / "note.txt"
    note.write_text("good")
    with project.ledger.track("idea", params={"window": 20}, seed=3) as tracked:
        assert project.ledger.get(tracked.id).status == "running"
        for step in range(3):
            tracked.log_metric("ic", 0.01 * step, step=step)
        tracked.progress(50, "half")
        tracked.log_frame("scores", frame)
        tracked.log_file("note.txt", note)
        tracked.log.info("a line")
    run = project.ledger.get(tracked.id)
    assert (run.type, run.instance, run.flow_kind) == ("ExperimentRun", "idea", "preview")
    assert (run.status, run.standing, run.record.trigger, run.record.seed) == ("completed", "trial", "track", 3)
    assert (run.params, run.metrics, run.version) == ({"window": 20}, {"ic": 0.02}, None)
    assert run.frame("scores").equals(frame)
    assert run.artifact("note.txt") == b"good"
    assert "a line" in project.text(run)
    with project.database.read() as tx:
        assert [(point.step, point.value) for point in attempts.points(tx, run.id)] == [(0, 0.0), (1, 0.01), (2, 0.02)]
    with project.ledger.track("idea") as again:
        again.log_metric("ic", 0.5)
    assert [run.id for run in project.ledger.runs(instance="idea")] == [again.id, tracked.id]


def test_declared_inputs_are_pinned_at_entry_and_a_refresh_meanwhile_does_not_change_what_is_read(
    project: Project, server: ForkServer
) -> None:
    project.declare("market")
    project.execute(server, "market")
    with project.ledger.track("idea", inputs=["market"]) as tracked:
        project.say("market", "2.0")
        assert project.execute(server, "market").version == 2
        assert tracked.input("market").frame()["close"].to_list() == [1.0, 1.0]
        tracked.log_metric("ic", 0.1)
    (read,) = project.ledger.get(tracked.id).inputs
    assert (read.instance, read.version, read.role) == ("market", 1, "market")
    with project.ledger.track("idea", inputs={"now": "market[close]", "then": "market@1"}) as tracked:
        assert tracked.input("now").frame()["close"].to_list() == [2.0, 2.0]
        assert tracked.input("then").frame()["close"].to_list() == [1.0, 1.0]
        tracked.log_metric("ic", 0.1)
    assert {read.role: read.version for read in project.ledger.get(tracked.id).inputs} == {"now": 2, "then": 1}


def test_inputs_that_are_not_there_are_refused_at_entry_and_nothing_is_recorded(project: Project) -> None:
    project.declare("market")
    before = project.dump()
    with pytest.raises(UpstreamNotReadyError), project.ledger.track("idea", inputs=["market"]):
        pass
    with pytest.raises(NotFoundError), project.ledger.track("idea", inputs=["markets"]):
        pass
    assert project.dump() == before


def test_a_block_that_outlasts_its_lease_keeps_its_run(project: Project) -> None:
    with project.ledger.track("idea") as tracked:
        with project.database.read() as tx:
            first = attempts.history(tx, tracked.id)[0].lease_expires_at
        until(lambda: project.record(tracked.id).ledger_now > first)
        assert rescue(project.database) == []
        tracked.log_metric("ic", 0.1)
    assert project.record(tracked.id).status == "completed"


def test_an_exception_fails_the_run_with_its_words_and_goes_on(project: Project) -> None:
    tracked = project.ledger.track("idea")

    def work_on_it() -> None:
        with tracked:
            tracked.log_metric("ic", 0.1)
            raise ZeroDivisionError("no volume")

    with pytest.raises(ZeroDivisionError, match="no volume"):
        work_on_it()
    run = project.ledger.get(tracked.id)
    assert (run.status, run.reason) == ("failed", "ZeroDivisionError: no volume [flow_error]")
    assert run.metrics == {"ic": 0.1}
    assert any('raise ZeroDivisionError("no volume")' in line for line in project.text(run))
    assert project.attempts(run.id) == [(1, "failed", "flow_error")]


def test_a_block_that_logged_nothing_has_failed_and_is_told(project: Project) -> None:
    with pytest.raises(NoOutputError) as nothing, project.ledger.track("idea") as tracked:
        tracked.log.info("only words")
    assert nothing.value.next_step is not None
    run = project.ledger.get(tracked.id)
    assert run.status == "failed"
    assert run.record.reason is not None
    assert run.record.reason.code == "no_output"


def test_a_name_that_belongs_to_a_dataset_is_refused(project: Project) -> None:
    project.declare("market")
    before = project.dump()
    with pytest.raises(ConflictError, match="another kind of instance") as refused, project.ledger.track("market"):
        pass
    assert refused.value.next_step == "track under another name"
    assert project.dump() == before


TRICKS = ("../outside", "/etc/passwd", "a/../../b", "a//b", "", ".hidden", "a\\b", "a\0b", "x" * 500, "a/", "~/x", "ü")


@pytest.mark.parametrize("name", TRICKS)
def test_names_with_tricks_are_refused_and_leave_nothing(project: Project, name: str) -> None:
    before = {path for path in project.root.rglob("*") if ".optaic" in path.parts and path.is_file()}
    source = project.root / "sources.py"
    with project.ledger.track("idea") as tracked:
        with pytest.raises(InvalidInputError):
            tracked.log_file(name, source)
        if name:
            with pytest.raises(InvalidInputError):
                tracked.log_frame(name, pl.DataFrame({"x": [1]}))
        tracked.log_metric("ic", 0.1)
    assert project.ledger.get(tracked.id).artifacts == []
    after = {path for path in project.root.rglob("*") if ".optaic" in path.parts and path.is_file()}
    assert {path for path in after - before if "objects" in path.parts} == set()


def test_a_name_used_twice_gets_a_sequence(project: Project) -> None:
    with project.ledger.track("idea") as tracked:
        for number in range(3):
            tracked.log_frame("scores", pl.DataFrame({"x": [number]}))
            tracked.log_file("plots/a.txt", project.root / "optaic.yaml")
    run = project.ledger.get(tracked.id)
    assert sorted(run.artifacts) == sorted(
        ["scores.parquet", "scores-2.parquet", "scores-3.parquet", "plots/a.txt", "plots/a-2.txt", "plots/a-3.txt"]
    )
    assert [run.frame(name)["x"][0] for name in ("scores", "scores-2", "scores-3")] == [0, 1, 2]


def test_two_blocks_in_two_threads_do_not_mix(project: Project) -> None:
    both = threading.Barrier(2, timeout=30.0)
    found: dict[str, RunHandle] = {}

    def block(name: str, value: float) -> None:
        with project.ledger.track(name) as tracked:
            both.wait()
            for step in range(50):
                tracked.log_metric("value", value, step=step)
            both.wait()
        found[name] = project.ledger.get(tracked.id)

    threads = [threading.Thread(target=block, args=args) for args in (("left", 1.0), ("right", 2.0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert {name: (run.status, run.metrics) for name, run in found.items()} == {
        "left": ("completed", {"value": 1.0}),
        "right": ("completed", {"value": 2.0}),
    }
    with project.database.read() as tx:
        for name, value in (("left", 1.0), ("right", 2.0)):
            assert [point.value for point in attempts.points(tx, found[name].id)] == [value] * 50


def test_a_cancel_reaches_the_block_which_may_end_as_it_likes(project: Project) -> None:
    with project.ledger.track("idea") as tracked:
        assert not tracked.cancelled
        assert project.ledger.cancel(tracked.id).status_text == "running (cancelling)"
        until(lambda: tracked.cancelled, 5.0)
        tracked.log_metric("ic", 0.1)
    # The note asks; the block did its work all the same, and what was done is not denied.
    assert project.record(tracked.id).status == "completed"


def test_an_interrupt_from_the_keyboard_fails_the_run_with_that_reason(project: Project) -> None:
    with pytest.raises(KeyboardInterrupt), project.ledger.track("idea") as tracked:
        raise KeyboardInterrupt
    run = project.ledger.get(tracked.id)
    assert run.status == "failed"
    assert run.reason == "interrupted from the keyboard [cancelled]"


NOTEBOOK = """
import sys
from pathlib import Path
import optaic

with optaic.connect() as ledger, ledger.track("idea") as run:
    run.log_metric("ic", 0.1)
    Path("tracking").write_text(str(run.id))
    sys.stdin.readline()
    for what in (lambda: run.log_frame("scores", __import__("polars").DataFrame({"x": [1]})),
                 lambda: run.log_file("late.txt", "optaic.yaml")):
        try:
            what()
        except optaic.LeaseLostError as error:
            print("refused:", error.message, flush=True)
    try:
        while True:
            run.log_metric("ic", 9.0)
            run.log.info("a late line")
    except optaic.LeaseLostError as error:
        print("refused:", error.message, flush=True)
"""


def test_a_killed_notebook_leaves_a_failed_run_that_is_not_repeated(project: Project) -> None:
    notebook = project.start_script(NOTEBOOK)
    try:
        project.wait_for("tracking")
    finally:
        end_process(notebook)
    (run,) = project.ledger.runs()
    until(lambda: run.refresh().status_text == "lost (lease expired)", 5.0)
    assert rescue(project.database) == [run.id]
    assert run.refresh().status == "failed"
    assert run.record.reason is not None
    assert run.record.reason.code == "worker_lost"
    assert project.attempts(run.id) == [(1, "lost", "worker_lost")]
    with pytest.raises(InvalidInputError, match="tracked"):
        project.ledger.retry(run.id)


def test_a_notebook_that_slept_through_its_lease_is_told_and_changes_nothing(project: Project) -> None:
    notebook = project.start_script(NOTEBOOK)
    try:
        project.wait_for("tracking")
        os.kill(notebook.pid, signal.SIGSTOP)
        until(lambda: len(rescue(project.database)) == 1, 5.0)
        before = project.dump()
        assert notebook.stdin is not None
        notebook.stdin.write("go on\n")
        notebook.stdin.flush()
        os.kill(notebook.pid, signal.SIGCONT)
        assert notebook.wait(30.0) != 0  # leaving the block raises, as nobody caught it there
    finally:
        end_process(notebook)
    (run,) = project.ledger.runs()
    assert (run.status, run.artifacts) == ("failed", [])
    assert project.dump() == before
    output = project.output()
    assert output.count("refused: ") == 3, output
    error, step = output.rstrip().splitlines()[-2:]
    assert error.startswith("optaic.errors.LeaseLostError")
    assert step.startswith("next: look at the run with: optaic show ")
