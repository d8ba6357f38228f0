"""Cancel: end a pending run at once; leave a note on a running one, which its supervisor reads; and so for a plan."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import update

from optaic.domain import run as transitions
from optaic.domain.plan import Plan, PlanStatus, StepStatus
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.run import Run
from optaic.domain.status import RunStatus
from optaic.errors import ConflictError, IllegalTransitionError
from optaic.ledger import activities, attempts, bulk, plans, runs, steps
from optaic.ledger.columns import among, db_now
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.tables import runs as runs_table
from optaic.lifecycle import trigger
from optaic.lifecycle.advance import advance, close


def cancel(database: Database, run_id: uuid.UUID) -> Run:
    """Ask a run to stop.

    Returns
    -------
    Run
        `cancelled` if it was pending; still `running`, with the note, if an attempt holds it.

    Raises
    ------
    NotFoundError
        If there is no such run.
    IllegalTransitionError
        If it has ended.
    """
    with database.write() as tx:
        # What a plan does next is decided under this lock, which comes before the run's.
        lock_graph(tx)
        run = _stop(tx, run_id)
        advance(tx, run)
        if run.status.is_terminal:
            trigger.fire(tx, [run.flow_id])
        return run


def cancel_plan(database: Database, plan_id: uuid.UUID) -> Plan:
    """Stop what no other plan needs: steps that wait end at once, and runs as `cancel` does; however many there are.

    Returns
    -------
    Plan
        `cancelled` if none of its runs is running; else still `running`, until these have stopped.

    Raises
    ------
    NotFoundError
        If there is no such plan.
    ConflictError
        If it has ended.
    """
    with database.write(correlation_id=plan_id) as tx:
        lock_graph(tx)
        asked = plans.get(tx, plan_id, with_steps=False)
        if asked.status is not PlanStatus.RUNNING:
            raise ConflictError(f"plan {plan_id} of {asked.target} has already {asked.status}")
        if asked.cancel_requested_at is None:
            steps.ask_to_stop(tx, plan_id)
            activities.record(tx, "plan.cancel_requested", plan_id, {"target": asked.target})
        told = {
            "code": ReasonCode.CANCELLED,
            "message": f"plan {plan_id} was cancelled",
            "next_step": f"to plan it again: optaic run {asked.target} --recursive",
        }
        mine = plans.leave_shared(tx, plan_id, told)
        # Who claims, completes or gives back a run at this moment comes before or after, not in between.
        found = bulk.lock_runs(tx, [run_id for run_id in mine.values() if run_id is not None])
        running = {run.id for run in found if run.status is RunStatus.RUNNING}
        reason = Reason(
            code=ReasonCode.CANCELLED,
            message=f"plan {plan_id} was cancelled before it started",
            next_step=told["next_step"],
        )
        bulk.cancel_pending(tx, [run for run in found if run.id not in running], reason)
        _ask_to_stop(tx, [run for run in found if run.id in running])
        over = [step_id for step_id, run_id in mine.items() if run_id not in running]
        steps.end_steps(tx, over, StepStatus.CANCELLED, told)
        if len(over) == len(mine):
            close(tx, plan_id)
        return plans.get(tx, plan_id)


def _stop(tx: Transaction, run_id: uuid.UUID) -> Run:
    """End a pending run, or ask a running one to stop."""
    # Who claims, completes or gives back the run at this moment comes before or after, not in between.
    attempts.lock_run(tx, run_id)
    run = runs.get(tx, run_id)
    if run.status is RunStatus.PENDING:
        reason = Reason(
            code=ReasonCode.CANCELLED,
            message="cancelled on request before it started",
            next_step=f"to run it again: optaic retry {run.id}",
        )
        runs.change(tx, run, transitions.cancel_pending(run, reason))
    elif run.status is not RunStatus.RUNNING:
        raise IllegalTransitionError(run_id, run.status, RunStatus.CANCELLED)
    else:
        _ask_to_stop(tx, [run])
    return runs.get(tx, run_id)


def _ask_to_stop(tx: Transaction, running: Collection[Run]) -> None:
    """Leave the note that asks running runs to stop; those that have it keep it."""
    asked = [run for run in running if run.cancel_requested_at is None]
    if not asked:
        return
    tx.conn.execute(
        update(runs_table)
        .where(
            runs_table.c.tenant_id == tx.tenant_id,
            among(runs_table.c.id, [run.id for run in asked], is_postgresql=tx.is_postgresql),
            runs.IS_RUNNING,
        )
        .values(cancel_requested_at=db_now(), cancel_requested_by=tx.actor_id)
    )
    by_slug: dict[str, list[tuple[uuid.UUID | str, Mapping[str, Any]]]] = {}
    for run in asked:
        facts = {"instance_id": str(run.instance_id), "instance": run.instance, "attempt": run.attempt}
        by_slug.setdefault(run.slug, []).append((run.id, facts))
    for slug, told in by_slug.items():
        activities.record_all(tx, f"{slug}.cancel_requested", told)
