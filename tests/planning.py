"""Plans of a diamond of datasets, and what tests of them do again and again."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import select, update

from optaic.domain.plan import Plan, PlanMode, StepStatus
from optaic.domain.reason import Reason
from optaic.domain.run import Run
from optaic.ledger import catalog, freshness, plans, runs, tables
from optaic.ledger.session import Database
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete
from optaic.lifecycle.plan import PlanRequest, create
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run

FAILED = Reason(code="flow_error", message="the vendor sent nonsense", next_step="look at the log")
AGAIN = Reason(code="retryable_error", message="the vendor is busy", next_step="wait")


def plan(database: Database, target: str = "signal", *, smart: bool = False, key: str | None = None) -> Plan:
    mode = PlanMode.SMART if smart else PlanMode.RECURSIVE
    return create(database, PlanRequest(target=target, mode=mode, idempotency_key=key))


def finish(database: Database, held: Claim, *, is_changed: bool = True) -> None:
    complete(database, held.run.id, held.attempt, dataset_result(held, is_changed=is_changed))


def work(database: Database, *unchanged: str) -> list[str]:
    """Complete what can be claimed until nothing is left; give the instances in order."""
    done: list[str] = []
    while (held := claim(database, worker="worker-1", lease=LEASE)) is not None:
        done.append(held.run.instance)
        finish(database, held, is_changed=held.run.instance not in unchanged)
    return done


def make_ready(database: Database) -> None:
    for target in ("signal", "mixed"):
        plan(database, target)
        work(database)


def refresh(database: Database, name: str, *, is_changed: bool = True) -> None:
    finish(database, claim_run(database, submit_run(database, name)), is_changed=is_changed)


def make_stale(database: Database, name: str) -> None:
    """Let a flow have other code than its last run."""
    with database.write() as tx:
        flow = catalog.find_flow(tx, name)
        row = tx.conn.execute(
            select(tables.definition_versions).where(tables.definition_versions.c.id == flow.definition_version_id)
        ).one()
        version_id = uuid.uuid4()
        tx.conn.execute(
            tables.definition_versions.insert().values(
                {**row._mapping, "id": version_id, "code_digest": version_id.hex * 2}
            )
        )
        tx.conn.execute(
            update(tables.flows).where(tables.flows.c.id == flow.id).values(definition_version_id=version_id)
        )
        freshness.settle(tx, [flow.id])


def steps(database: Database, made: Plan) -> dict[str, StepStatus]:
    return {step.target: step.status for step in again(database, made).steps}


def again(database: Database, made: Plan) -> Plan:
    with database.read() as tx:
        return plans.get(tx, made.id)


def run_of(database: Database, made: Plan, target: str) -> Run:
    (step,) = [step for step in again(database, made).steps if step.target == target]
    assert step.run_id is not None
    with database.read() as tx:
        return runs.get(tx, step.run_id)


def read_versions(database: Database, run_id: uuid.UUID) -> list[int]:
    query = (
        select(tables.versions.c.number)
        .join(tables.run_inputs, tables.run_inputs.c.version_id == tables.versions.c.id)
        .where(tables.run_inputs.c.run_id == run_id)
        .order_by(tables.run_inputs.c.role)
    )
    with database.read() as tx:
        return list(tx.conn.execute(query).scalars())


@contextmanager
def open_diamond(database_url: str) -> Generator[Database]:
    """A diamond: `left` and `right` read `prices`, `signal` reads both; `other` is a source, `mixed` reads it too."""
    opened = Database(database_url)
    add_dataset(opened)
    add_dataset(opened, "left", inputs={"close": "prices"}, policies={"retry": {"backoff_seconds": 0.0}})
    add_dataset(opened, "right", inputs={"close": "prices"})
    add_dataset(opened, "signal", inputs={"left": "left", "right": "right"})
    add_dataset(opened, "other")
    add_dataset(opened, "mixed", inputs={"left": "left", "other": "other"})
    yield opened
    opened.close()
