"""Two at once, on purpose: threads that stop at a chosen statement, and a check that a ledger is whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import event, select, text

from optaic.ledger import tables
from optaic.ledger.session import Database
from tests.rows import foreign_keys_hold

T = TypeVar("T")
_threads = ThreadPoolExecutor(max_workers=8)
PATIENCE = 20.0
"""Seconds after which a test gives up on another thread."""


def spawn(action: Callable[[], T]) -> Future[T]:
    """Start an action in another thread."""
    return _threads.submit(action)


class Stop:
    """A place at which a thread waits: `reached` is set by it, `go` by the test."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Wait until the thread is there."""
        assert self.reached.wait(PATIENCE), "the statement at which to stop was never sent"


@contextmanager
def stopped_before(database: Database, fragment: str) -> Generator[Stop]:
    """Let whoever uses this database object stop before the first statement with this text, in its open transaction.

    `COMMIT` stops before the first commit.
    """
    stop = Stop()

    def hold(*facts: object) -> None:
        if (fragment == "COMMIT" or fragment in str(facts[2])) and not stop.reached.is_set():
            stop.reached.set()
            assert stop.go.wait(PATIENCE)

    moment = "commit" if fragment == "COMMIT" else "before_cursor_execute"
    event.listen(database.engine, moment, hold)
    try:
        yield stop
    finally:
        stop.go.set()
        event.remove(database.engine, moment, hold)


def wait_until_blocked(database: Database, future: Future[T]) -> None:
    """Wait until a connection of this PostgreSQL database waits for a lock of another, or the action is over."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not future.done():
        with database.read() as tx:
            if tx.conn.execute(query).scalar_one():
                return
        time.sleep(0.005)
    assert future.done(), "nobody waits"


def cross(*actions: Callable[[], object]) -> list[object]:
    """Start actions at the same moment; give what each returned or raised."""
    barrier = threading.Barrier(len(actions))

    def go(action: Callable[[], object]) -> object:
        barrier.wait(PATIENCE)
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - what it raised is the answer
            return error

    return [future.result(PATIENCE) for future in [_threads.submit(go, action) for action in actions]]


def assert_whole(database: Database) -> None:
    """Check that nothing in the ledger is half done."""
    with database.read() as tx:
        runs = {row.id: row for row in tx.conn.execute(select(tables.runs))}
        attempts = tx.conn.execute(select(tables.attempts)).all()
        versions = tx.conn.execute(select(tables.versions)).all()
        parts = set(tx.conn.execute(select(tables.version_segments.c.version_id)).scalars())
        verbs = tx.conn.execute(select(tables.activities.c.resource_id, tables.activities.c.verb)).all()
        extended = set(tx.conn.execute(select(tables.pipeline_runs.c.run_id)).scalars())
        flows = tx.conn.execute(select(tables.flows)).all()
    assert extended == set(runs)
    submitted = [item.resource_id for item in verbs if item.verb.endswith("_run.submitted")]
    assert sorted(submitted) == sorted(str(run_id) for run_id in runs)
    for run_id, run in runs.items():
        own = sorted((row for row in attempts if row.run_id == run_id), key=lambda row: row.number)
        assert [row.number for row in own] == list(range(1, run.attempt + 1))
        assert sum(row.ended_at is None for row in own) == (run.status == "running")
        told = [item.verb.partition(".")[2] for item in verbs if item.resource_id == str(run_id)]
        assert told.count("started") == run.attempt
        for status in ("completed", "failed", "cancelled"):
            assert told.count(status) == (run.status == status)
        # A run that waits has been given back once for each attempt; one that was cancelled may have waited then.
        given_back = {"pending": {run.attempt}, "cancelled": {run.attempt, run.attempt - 1}}
        assert told.count("retried") in given_back.get(run.status, {max(run.attempt - 1, 0)})
    assert len({row.run_id for row in versions}) == len(versions)
    for row in versions:
        assert (runs[row.run_id].status, runs[row.run_id].standing) == ("completed", "official")
        assert row.id in parts
    changed = {run_id for run_id, run in runs.items() if (run.metrics_json or {}).get("rows_inserted")}
    assert {row.run_id for row in versions} == {
        run_id for run_id in changed if (runs[run_id].status, runs[run_id].standing) == ("completed", "official")
    }
    for flow in flows:
        numbers = sorted(row.number for row in versions if row.flow_id == flow.id)
        assert numbers == list(range(1, len(numbers) + 1))
        newest = [row.id for row in versions if row.flow_id == flow.id and row.number == len(numbers)]
        assert flow.current_version_id == (newest[0] if newest else None)
    assert foreign_keys_hold(database)
