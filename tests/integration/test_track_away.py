"""A database that is away for a moment within a tracked block does not cost the run."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from optaic import holding
from optaic.errors import LedgerError
from optaic.flows.report import Batch
from optaic.ledger import attempts, session
from optaic.lifecycle.report import Unwritten
from optaic.lifecycle.rescue import rescue
from tests.commands import wait_until
from tests.postgres import PostgresServer
from tests.projects import Project, open_project


@contextmanager
def lost_answer(project: Project) -> Generator[None]:
    """Let the connection break between the last commit of a report or an end and the answer to it, once."""
    lost: list[bool] = []

    def lose(conn: Connection) -> None:
        if lost or not wrote:
            return
        lost.append(True)
        assert conn.connection.dbapi_connection is not None
        conn.connection.dbapi_connection.commit()
        raise OperationalError("COMMIT", None, Exception("the server closed the connection"))

    wrote: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE attempts"):
            wrote.append(statement)

    event.listen(project.database.engine, "after_cursor_execute", note)
    event.listen(project.database.engine, "commit", lose)
    try:
        yield
    finally:
        event.remove(project.database.engine, "commit", lose)
        event.remove(project.database.engine, "after_cursor_execute", note)
    assert lost == [True]


def test_a_block_completes_after_a_restart_of_the_database(tmp_path: Path, private_postgres: PostgresServer) -> None:
    with open_project(tmp_path / "project", private_postgres.url, lease_seconds=30.0) as project:
        with project.ledger.track("idea") as run:
            run.log_metric("a", 1.0)
            private_postgres.kill9()
            private_postgres.restart()
            run.log_metric("b", 2.0)
        found = project.ledger.get(run.id)
        assert (found.status, found.metrics) == ("completed", {"a": 1.0, "b": 2.0})


def test_a_block_that_ends_while_the_database_stays_away_says_so_and_its_run_is_found_lost(
    tmp_path: Path, private_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "END_SECONDS", 0.5)
    with open_project(tmp_path / "project", private_postgres.url, lease_seconds=1.0) as project:
        run = project.ledger.track("idea")

        def work() -> None:
            with run:
                run.log_metric("a", 1.0)
                private_postgres.kill9()

        with pytest.raises(LedgerError, match=r"the ledger at .* could not be used"):
            work()
        private_postgres.restart()
        wait_until(lambda: rescue(project.database), "the run is found lost")
        found = project.ledger.get(run.id)
        assert found.status == "failed"
        assert found.reason is not None


def test_a_block_goes_on_while_its_reports_cannot_be_written(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_BUSY_TIMEOUT_MS", 300)
    kept = tuple(pragma for pragma in session.SQLITE_PRAGMAS if "busy_timeout" not in pragma)
    monkeypatch.setattr(session, "SQLITE_PRAGMAS", kept)
    with open_project(tmp_path / "project", sqlite_url, lease_seconds=30.0) as project:
        with project.ledger.track("idea") as run:
            run.log_metric("a", 1.0)
            run.log.info("before")
            other = sqlite3.connect(str(make_url(sqlite_url).database), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            assert run._hold is not None
            run._hold.context.flush()
            assert run._hold.unwritten, "the flush met the lock, and gave up"
            other.execute("ROLLBACK")
            other.close()
            run.log.info("after")
            run.log_metric("b", 2.0)
        found = project.ledger.get(run.id)
        assert (found.status, found.metrics) == ("completed", {"a": 1.0, "b": 2.0})
        assert project.text(found) == ["before", "after"]


def test_reports_whose_commit_was_not_answered_are_written_once(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url, lease_seconds=30.0) as project:
        with project.ledger.track("idea") as run:
            run.log_metric("a", 1.0)
            run.log.info("before")
            assert run._hold is not None
            with lost_answer(project):
                run._hold.context.flush()
            run.log.info("after")
            run.log_metric("b", 2.0)
        found = project.ledger.get(run.id)
        assert (found.status, found.metrics) == ("completed", {"a": 1.0, "b": 2.0})
        assert project.text(found) == ["before", "after"]
        with project.database.read() as tx:
            assert [point.key for point in attempts.points(tx, run.id)] == ["a", "b"]


def test_an_end_whose_commit_was_not_answered_is_an_end(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url, lease_seconds=30.0) as project:
        with lost_answer(project), project.ledger.track("idea") as run:
            run.log_metric("a", 1.0)
        assert project.ledger.get(run.id).status == "completed"


def test_of_too_many_reports_that_wait_the_last_are_kept_and_the_log_says_so() -> None:
    unwritten = Unwritten()
    for number in range(5):
        unwritten.add(Batch(points=[("a", float(number), step, 0.0) for step in range(40_000)]))
    report = unwritten.report()
    assert {value for _, _, value, _ in report.points} == {3.0, 4.0}
    (line,) = report.lines
    assert line["text"].startswith("120000 metric values and log lines were dropped here")
