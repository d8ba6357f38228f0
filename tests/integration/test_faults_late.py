"""Who comes late changes nothing, and is told so."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from optaic.domain.artifact import Artifact
from optaic.domain.reason import Reason
from optaic.errors import LeaseLostError
from optaic.flows.task import Result
from optaic.ledger import attempts
from optaic.ledger.attempts import Report
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.rescue import rescue
from optaic.worker import work
from tests.factories import dataset_result
from tests.processes import until
from tests.projects import Project, end_process, open_project
from tests.whole import check_whole

AT = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
LEASE = dt.timedelta(seconds=60)
REASON = Reason(code="flow_error", message="too late", next_step="none")


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url, lease_seconds=1.0) as project:
        yield project
        check_whole(project.database, project.store)


def report(project: Project, held: Claim, what: Report) -> None:
    """Report as supervisors do: the lease is renewed in the same transaction."""
    with project.database.write() as tx:
        attempts.renew(tx, held.run.id, held.attempt, LEASE)
        attempts.write_report(tx, held.run.id, held.attempt, what, position=0)


def with_artifact(project: Project, held: Claim) -> Result:
    stored = project.store.put(f"t1/runs/{held.run.id}/{held.attempt}/late.txt", b"late")
    return Result(
        metrics={},
        artifacts=(Artifact(name="late.txt", kind="file", media_type="text/plain", stored=stored),),
        dataset=dataset_result(held).dataset,
    )


LATE: dict[str, Callable[[Project, Claim], object]] = {
    "completion": lambda project, held: complete(project.database, held.run.id, held.attempt, dataset_result(held)),
    "artifact": lambda project, held: complete(
        project.database, held.run.id, held.attempt, with_artifact(project, held)
    ),
    "failure": lambda project, held: end_attempt(project.database, held.run.id, held.attempt, REASON),
    "metric": lambda project, held: report(project, held, Report(points=[("loss", 1, 0.5, AT)])),
    "log line": lambda project, held: report(project, held, Report(lines=[{"text": "late"}])),
    "progress": lambda project, held: report(project, held, Report(progress=(50.0, "late"))),
    "heartbeat": lambda project, held: report(project, held, Report()),
}


@pytest.mark.parametrize("what", sorted(LATE))
@pytest.mark.parametrize("now", ["pending", "running", "completed"])
def test_what_a_late_attempt_writes_is_refused_and_changes_nothing(project: Project, what: str, now: str) -> None:
    project.declare("prices")
    run = project.ledger.submit("prices")
    late = claim(project.database, worker="late", lease=dt.timedelta(seconds=-1), run_id=run.id)
    assert late is not None
    assert rescue(project.database) == [run.id]
    if now != "pending":
        until(lambda: project.record(run.id).available_at <= project.record(run.id).ledger_now)
        held = claim(project.database, worker="next", lease=LEASE, run_id=run.id)
        assert held is not None
        if now == "completed":
            assert project.store  # the real thing: a version that a late attempt could spoil
            complete(project.database, run.id, held.attempt, dataset_result(held, is_changed=False))
    assert run.refresh().status == now
    before = project.dump()
    with pytest.raises(LeaseLostError) as refused:
        LATE[what](project, late)
    assert "nothing was changed" in refused.value.message
    assert refused.value.next_step == f"look at the run with: optaic show {run.id}"
    assert project.dump() == before
    if now == "running":
        end_attempt(project.database, run.id, 2, REASON)


def fall_asleep(pid: int, database_url: str) -> None:
    """Stop a process between two of its transactions: on SQLite nobody else writes while one is open."""
    url = make_url(database_url)
    while True:
        os.kill(pid, signal.SIGSTOP)
        if url.get_backend_name() != "sqlite":
            return
        with closing(sqlite3.connect(url.database or "", timeout=0.1, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
            else:
                other.execute("ROLLBACK")
                return


def test_a_worker_that_slept_through_its_lease_leaves_the_next_attempts_work_alone(project: Project) -> None:
    project.declare("waits")
    run = project.ledger.submit("waits")
    sleepy = project.start("worker")
    try:
        project.wait_for("waiting-x-1")
        fall_asleep(sleepy.pid, project.settings.database_url)
        until(lambda: rescue(project.database) == [run.id], 5.0)
        until(lambda: project.record(run.id).available_at <= project.record(run.id).ledger_now)
        project.say("go")  # both attempts finish now; the first cannot be heard
        assert work(project.database, project.runtime.server, project.settings, until_idle=True) == 1
        assert (run.refresh().status, run.version) == ("completed", 1)
        before = project.dump()
        os.kill(sleepy.pid, signal.SIGCONT)
        until(lambda: f"{run.id}  waits.refresh  completed" in project.output())
        sleepy.send_signal(signal.SIGTERM)
        assert sleepy.wait(30.0) == 0
    finally:
        end_process(sleepy)
    after = project.dump()
    for name in ("activities", "tenants"):  # the worker may have numbered activities meanwhile
        del before[name], after[name]
    assert after == before
    assert project.attempts(run.id) == [(1, "lost", "worker_lost"), (2, "completed", None)]
