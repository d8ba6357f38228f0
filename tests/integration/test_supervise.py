"""Supervised runs: live while they work, stopped for good, and their end in the ledger, with its reason."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.domain.reason import ReasonCode
from optaic.domain.run import Run
from optaic.engines.process import ForkServer
from optaic.errors import CodeChangedError
from optaic.handle import RunHandle
from optaic.ledger import attempts
from optaic.lifecycle.submit import Submission, submit
from tests.processes import is_alive, until
from tests.projects import Project, open_project


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        server.warm()
        yield server


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url) as project:
        yield project


def reason(handle: RunHandle) -> tuple[str, str, str]:
    """Give the reason of an end: code, sentence, next step; it must have all three."""
    why = handle.record.reason
    assert why is not None
    assert why.message
    assert why.next_step
    return why.code, why.message, why.next_step


def test_a_run_completes_and_publishes_what_it_returned(project: Project, server: ForkServer) -> None:
    project.declare("prices")
    run = project.execute(server, "prices")
    assert (run.status, run.standing, run.version, run.record.attempt) == ("completed", "official", 1, 1)
    assert run.reason is None
    assert run.metrics["rows_inserted"] == 2
    assert run.metrics["duration_seconds"] > 0
    assert project.ledger.data("prices")["close"].to_list() == [1.0, 1.0]
    assert project.attempts(run.id) == [(1, "completed", None)]
    # The same again is no version, and the same with another param speaks for nobody.
    assert (project.execute(server, "prices").version, len(project.ledger.versions("prices"))) == (None, 1)
    trial = project.execute(server, "prices", params={"close": 9.0})
    assert (trial.status, trial.standing, trial.version) == ("completed", "trial", None)
    assert project.ledger.data("prices")["close"].to_list() == [1.0, 1.0]


def test_log_lines_metrics_and_progress_are_in_the_ledger_while_the_run_works(
    project: Project, server: ForkServer
) -> None:
    project.declare("tells")
    with project.executing(server, "tells") as run:
        project.wait_for("told")
        started = time.monotonic()
        until(lambda: {"logged at once", "printed at once"} <= set(project.text(run)))
        until(lambda: run.refresh().record.progress_note == "a quarter")
        with project.database.read() as tx:
            assert [(point.key, point.value) for point in attempts.points(tx, run.id)] == [("loss", 0.5)]
        assert time.monotonic() - started < 5.0
        assert (run.status, run.record.progress_pct, run.metrics) == ("running", 25.0, {})
        assert run.artifacts == []
        project.say("go")
    run.refresh()
    assert (run.status, run.metrics["loss"], run.record.progress_pct) == ("completed", 0.25, 100.0)
    assert "scores.parquet" in run.artifacts
    assert run.frame("scores")["symbol"].to_list() == ["A", "B"]


def test_a_source_that_raises_fails_its_run_with_the_exceptions_words_and_its_traceback_in_the_log(
    project: Project, server: ForkServer
) -> None:
    project.declare("raises")
    run = project.execute(server, "raises")
    code, message, next_step = reason(run)
    assert (run.status, code, message) == ("failed", "flow_error", "ValueError: the vendor sent no prices")
    assert next_step == f"read the log with: optaic logs {run.id}"
    log = "\n".join(project.text(run))
    assert 'raise ValueError("the vendor sent no prices")' in log
    assert "sources.py" in log
    assert project.attempts(run.id) == [(1, "failed", "flow_error")]


def test_a_source_that_hangs_is_dead_within_five_seconds_of_its_timeout(project: Project, server: ForkServer) -> None:
    project.declare(hangs={"timeout": "1s"})
    with project.executing(server, "hangs") as run:
        pid = int(project.wait_for("hanging"))
        project.reached(run, "failed", 1.0 + 5.0)
        assert not is_alive(pid)
    code, message, next_step = reason(run)
    assert (code, message) == ("timed_out", "ran longer than its timeout of 1 seconds, and was stopped")
    assert "timeout" in next_step
    assert project.attempts(run.id) == [(1, "failed", "timed_out")]


WRONG = {
    "returns_nothing": ("no_output", "nothing"),
    "wrong_schema": ("invalid_output", "date"),
}


@pytest.mark.parametrize("source", sorted(WRONG))
def test_what_a_source_must_not_return_fails_its_run_and_nothing_is_published(
    project: Project, server: ForkServer, source: str
) -> None:
    project.declare(source)
    run = project.execute(server, source)
    code, message, _ = reason(run)
    expected, word = WRONG[source]
    assert (run.status, code) == ("failed", expected)
    assert word in message
    assert (run.version, project.ledger.versions(source)) == (None, [])


def test_a_source_whose_columns_changed_fails_its_run_and_the_version_stays(
    project: Project, server: ForkServer
) -> None:
    project.declare("changed_schema")
    assert project.execute(server, "changed_schema").version == 1
    project.say("changed")
    run = project.execute(server, "changed_schema")
    assert (run.status, reason(run)[0]) == ("failed", "schema_changed")
    assert project.ledger.data("changed_schema")["close"].to_list() == [1.0, 1.0]
    (status,) = project.ledger.status()
    assert (status["status"], status["version"]) == ("error", 1)


def attempt_again(project: Project, server: ForkServer, run: RunHandle) -> Run:
    """Supervise the next attempt of a run when its wait is over."""
    until(lambda: project.record(run.id).available_at <= project.record(run.id).ledger_now)
    thread, failures = project.supervising(server, run)
    thread.join(60.0)
    assert failures == []
    return run.refresh().record


STALL = 0.5
"""Seconds that pass between two statements of one transaction on a busy machine."""


def test_a_retryable_error_is_tried_again_with_growing_waits_and_then_fails_with_the_reason(
    project: Project, server: ForkServer
) -> None:
    project.declare("never_answers")
    run = project.execute(server, "never_answers")
    waits: list[float] = []
    while run.status == "pending":
        assert run.status_text == "pending (retry)"
        assert reason(run)[0] == ReasonCode.RETRYABLE_ERROR
        with project.database.read() as tx:
            last = attempts.history(tx, run.id)[-1]
        waits.append((run.record.available_at - last.ended_at).total_seconds())
        attempt_again(project, server, run)
    assert (run.status, run.record.attempt) == ("failed", 3)
    code, message, _ = reason(run)
    assert code == "retryable_error"
    assert "the vendor is busy" in message
    # 0.1 s and 0.2 s, each with a jitter of a half to the whole; the two instants are taken by two statements, between
    # which a busy machine may take its time.
    assert len(waits) == 2
    assert 0.05 <= waits[0] <= 0.1 + STALL
    assert 0.1 <= waits[1] <= 0.2 + STALL
    assert project.attempts(run.id) == [(number, "failed", "retryable_error") for number in (1, 2, 3)]


def test_an_error_that_the_retry_policy_names_is_tried_again_until_it_goes_well(
    project: Project, server: ForkServer
) -> None:
    project.declare("answers_at_last")
    run = project.execute(server, "answers_at_last")
    seed = run.record.seed
    while run.status == "pending":
        attempt_again(project, server, run)
    assert (run.status, run.record.attempt, run.version, run.reason) == ("completed", 3, 1, None)
    assert run.record.seed == seed
    assert [outcome for _, outcome, _ in project.attempts(run.id)] == ["failed", "failed", "completed"]


def test_code_that_changed_after_apply_is_refused_at_submission_and_again_by_the_runner(
    project: Project, server: ForkServer
) -> None:
    project.declare("prices")
    waiting = project.ledger.submit("prices")
    source = project.root / "sources.py"
    source.write_text(source.read_text().replace("return table(close)", "return table(close + 1)"))
    with pytest.raises(CodeChangedError) as refused:
        project.ledger.submit("prices")
    assert "optaic apply" in (refused.value.next_step or "")
    # Whoever submits without the project at hand is refused by the process that has it.
    blind = submit(project.database, Submission(target="prices", params={"close": 3.0}))
    for run_id in (waiting.id, blind.id):
        handle = project.ledger.get(run_id)
        thread, failures = project.supervising(server, handle)
        thread.join(60.0)
        assert failures == []
        code, _, next_step = reason(handle.refresh())
        assert (handle.status, code) == ("failed", "code_mismatch")
        assert "optaic apply" in next_step
    assert project.ledger.versions("prices") == []
    project.ledger.apply()
    assert project.execute(server, "prices").status == "completed"


SECRET = "hunter2-very-secret"


def test_a_missing_secret_fails_the_run_and_names_the_variable(project: Project, server: ForkServer) -> None:
    project.declare(leaks={"params": '{token: "${env:NOBODY_SET_THIS}"}'})
    run = project.execute(server, "leaks")
    code, message, _ = reason(run)
    assert (run.status, code) == ("failed", "secret_missing")
    assert "NOBODY_SET_THIS" in message


@pytest.mark.parametrize("how", ["well", "raise", "name"])
def test_a_secret_is_in_no_log_metric_reason_artifact_or_row(
    project: Project, server: ForkServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("VENDOR_TOKEN", SECRET)
    project.declare(leaks={"params": '{token: "${env:VENDOR_TOKEN}"}'})
    run = project.execute(server, "leaks", params={"how": how})
    assert run.status == ("completed" if how == "well" else "failed")
    assert "printed [secret]" in project.text(run)
    assert "logged [secret]" in project.text(run)
    if how == "raise":
        assert reason(run)[1] == "ValueError: [secret] was refused"
    if how == "well":
        assert run.metrics["calls"] == 2.0
        assert run.params["token"] == "${env:VENDOR_TOKEN}"
    assert SECRET not in repr(project.dump())
    assert SECRET not in "\n".join(item.key for item in project.store.list())
    if how != "name":
        assert not [path for path in project.root.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("source", ["burn", "stubborn", "children", "daemon"])
def test_a_run_is_cancelled_only_when_all_its_processes_are_dead_and_that_within_five_seconds(
    project: Project, server: ForkServer, source: str
) -> None:
    project.declare(**{source: {"definition": f"flows:{source}"}})
    with project.executing(server, source) as run:
        text = project.wait_for("ready")
        pids = [int(word) for word in text.split()]
        until(lambda: run.refresh().record.worker is not None)
        asked = time.monotonic()
        note = project.ledger.cancel(run.id)
        assert (note.status, note.status_text) == ("running", "running (cancelling)")
        while run.refresh().status == "running":
            assert time.monotonic() - asked < 5.0
            time.sleep(0.002)
        assert not any(is_alive(pid) for pid in pids)
        assert time.monotonic() - asked < 5.0
    assert (run.status, reason(run)[0]) == ("cancelled", "cancelled")
    assert "optaic retry" in reason(run)[2]
    assert project.attempts(run.id)[0][:2] == (1, "cancelled")
    assert run.version is None


def test_a_flow_that_looks_is_cancelled_in_good_order_without_a_signal(project: Project, server: ForkServer) -> None:
    project.declare(polite={"definition": "flows:until_cancelled"})
    with project.executing(server, "polite") as run:
        project.wait_for("ready")
        project.ledger.cancel(run.id)
    assert (run.refresh().status, reason(run)[0]) == ("cancelled", "cancelled")
    with project.database.read() as tx:
        assert attempts.history(tx, run.id)[0].exit_code == 1


def test_a_released_run_loses_nothing_and_its_next_attempt_has_the_same_pins_and_seed(
    project: Project, server: ForkServer
) -> None:
    project.declare("market", reads={"inputs": "{close: market}", "seed": "77"})
    project.execute(server, "market")
    shutdown = threading.Event()
    with project.executing(server, "reads", shutdown=shutdown) as run:
        assert project.wait_for("read-1") == "77 1.0"
        shutdown.set()
    run.refresh()
    assert (run.status, run.status_text, reason(run)[0]) == ("pending", "pending (retry)", "released")
    pins, fingerprint = run.inputs, run.record.fingerprint
    project.say("market", "2.0")
    assert project.execute(server, "market").version == 2  # meanwhile the upstream has moved on
    project.say("go")
    attempt_again(project, server, run)
    assert (run.status, run.record.attempt, run.record.seed) == ("completed", 2, 77)
    assert project.wait_for("read-2") == "77 1.0"
    assert ([pin.version for pin in run.inputs], run.record.fingerprint) == ([pins[0].version], fingerprint)
    assert project.ledger.data("reads")["close"].to_list() == [1.0, 1.0]
    assert [outcome for _, outcome, _ in project.attempts(run.id)] == ["released", "completed"]


def test_a_runner_that_is_killed_is_told_as_that_and_tried_again(project: Project, server: ForkServer) -> None:
    project.declare("waits")
    with project.executing(server, "waits") as run:
        os.kill(int(project.wait_for("waiting-x-1").split()[0]), 9)
    assert (run.refresh().status, reason(run)[0]) == ("pending", "process_died")
    assert "SIGKILL" in reason(run)[1]
    project.say("go")
    assert attempt_again(project, server, run).status == "completed"
    with project.database.read() as tx:
        assert [row.exit_code for row in attempts.history(tx, run.id)] == [-9, 0]
