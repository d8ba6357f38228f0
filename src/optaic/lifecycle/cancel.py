"""Cancel: end a pending run at once; leave a note on a running one, which its supervisor reads; and so for a plan."""

from __future__ import annotations

import uuid

from sqlalchemy import update

from optaic.domain import run as transitions
from optaic.domain.plan import Plan, PlanStatus, StepStatus
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.run import Run
from optaic.domain.status import RunStatus
from optaic.errors import ConflictError, IllegalTransitionError
from optaic.ledger import activities, attempts, plans, runs, steps
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.tables import runs as runs_table
from optaic.lifecycle import plan


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
        plan.advance(tx, run)
        return run


def cancel_plan(database: Database, plan_id: uuid.UUID) -> Plan:
    """Stop what no other plan needs: steps that wait end at once, and runs as `cancel` does.

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
        found = plans.get(tx, plan_id, with_steps=False)
        if found.status is not PlanStatus.RUNNING:
            raise ConflictError(f"plan {plan_id} of {found.target} has already {found.status}")
        if found.cancel_requested_at is None:
            steps.ask_to_stop(tx, plan_id)
            activities.record(tx, "plan.cancel_requested", plan_id, {"target": found.target})
        mine = steps.leave_shared(tx, plan_id)
        reason = {"code": ReasonCode.CANCELLED, "message": f"plan {plan_id} was cancelled"}
        over = [step_id for step_id, run_id in mine.items() if run_id is None]
        for step_id, run_id in mine.items():
            if run_id is not None and _stop(tx, run_id).status is RunStatus.CANCELLED:
                over.append(step_id)
        steps.end_steps(tx, over, StepStatus.CANCELLED, reason)
        if len(over) == len(mine):
            plan.close(tx, plan_id)
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
    elif run.cancel_requested_at is None:
        tx.conn.execute(
            update(runs_table)
            .where(runs_table.c.tenant_id == tx.tenant_id, runs_table.c.id == run_id, runs.IS_RUNNING)
            .values(cancel_requested_at=db_now(), cancel_requested_by=tx.actor_id)
        )
        facts = {"instance_id": str(run.instance_id), "instance": run.instance, "attempt": run.attempt}
        activities.record(tx, f"{run.slug}.cancel_requested", run.id, facts)
    return runs.get(tx, run_id)
