"""Rule 13: whatever ends without its outputs has a code, a sentence and a next step, in the run and in its activity."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.status import RunStatus
from optaic.ledger import attempts, runs, tables
from optaic.ledger.session import Database
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.complete import end_attempt
from optaic.lifecycle.rescue import rescue
from tests.factories import add_dataset, claim_run, submit_run

GONE = dt.timedelta(seconds=-60)
ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    add_dataset(opened, policies={"retry": {"max_attempts": 2, "backoff_seconds": 0.0}})
    yield opened
    opened.close()


def cancel_waiting(database: Database) -> uuid.UUID:
    run = submit_run(database)
    cancel(database, run.id)
    return run.id


def cancel_running(database: Database) -> uuid.UUID:
    run = claim_run(database, submit_run(database)).run
    cancel(database, run.id)
    end_attempt(database, run.id, 1, ERROR, outcome=AttemptOutcome.CANCELLED)
    return run.id


def cancel_lost(database: Database) -> uuid.UUID:
    run = claim_run(database, submit_run(database), lease=GONE).run
    cancel(database, run.id)
    rescue(database)
    return run.id


def fail(database: Database) -> uuid.UUID:
    run = claim_run(database, submit_run(database)).run
    end_attempt(database, run.id, 1, ERROR)
    return run.id


def lose(database: Database) -> uuid.UUID:
    run = claim_run(database, submit_run(database), lease=GONE).run
    rescue(database)
    return run.id


def lose_too_often(database: Database) -> uuid.UUID:
    run = submit_run(database)
    for _ in range(2):
        claim_run(database, run, lease=GONE)
        rescue(database)
    return run.id


@pytest.mark.parametrize(
    ("end", "status", "code", "outcome"),
    [
        (cancel_waiting, RunStatus.CANCELLED, ReasonCode.CANCELLED, None),
        (cancel_running, RunStatus.CANCELLED, ReasonCode.CANCELLED, AttemptOutcome.CANCELLED),
        (cancel_lost, RunStatus.CANCELLED, ReasonCode.CANCELLED, AttemptOutcome.LOST),
        (fail, RunStatus.FAILED, ReasonCode.FLOW_ERROR, AttemptOutcome.FAILED),
        (lose, RunStatus.PENDING, ReasonCode.WORKER_LOST, AttemptOutcome.LOST),
        (lose_too_often, RunStatus.FAILED, ReasonCode.WORKER_LOST, AttemptOutcome.LOST),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_an_end_says_why_and_what_to_do(
    database: Database,
    end: Callable[[Database], uuid.UUID],
    status: RunStatus,
    code: ReasonCode,
    outcome: AttemptOutcome | None,
) -> None:
    run_id = end(database)
    with database.read() as tx:
        run = runs.get(tx, run_id)
        tries = attempts.history(tx, run_id)
        table = tables.activities
        told = tx.conn.execute(
            select(table.c.payload).where(table.c.resource_id == str(run_id)).order_by(table.c.at, table.c.id)
        ).scalars()
        last = list(told)[-1]
    assert run.reason is not None
    assert (run.status, run.reason.code) == (status, code)
    assert " " in run.reason.message
    assert run.reason.next_step
    assert (last["status"], last["reason_code"], last["reason"]) == (status, code, run.reason.message)
    assert [row.outcome for row in tries[-1:]] == ([outcome] if outcome else [])
    assert all(row.reason_code and row.reason_message for row in tries)
