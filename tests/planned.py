"""What must hold of all plans of a ledger at any moment: their order, and that none waits for nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, select

from optaic.domain.plan import PlanStatus, StepStatus
from optaic.ledger.session import Transaction
from optaic.ledger.tables import plan_members, plan_step_edges, plan_steps, plans, runs

ENDED_WELL = {StepStatus.DONE, StepStatus.NOT_NEEDED}
OPEN = {StepStatus.WAITING, StepStatus.RUNNING}
CAME_TO_NOTHING = {StepStatus.FAILED, StepStatus.BLOCKED}


def check_running_plans(tx: Transaction) -> None:
    """Check every plan and every step, in one snapshot; asserts."""
    steps = {row.id: row for row in tx.conn.execute(select(plan_steps))}
    run_of = {row.id: row for row in tx.conn.execute(select(runs).where(runs.c.plan_step_id.is_not(None)))}
    upstream: dict[Any, set[str]] = defaultdict(set)
    for row in tx.conn.execute(select(plan_step_edges)):
        upstream[row.step_id].add(steps[row.upstream_step_id].status)
    for step in steps.values():
        run = None if step.run_id is None else run_of[step.run_id]
        _check_step(step, run, upstream[step.id])
    assert {run.id for run in run_of.values()} == {step.run_id for step in steps.values() if step.run_id is not None}
    members: dict[Any, list[Row[Any]]] = defaultdict(list)
    for row in tx.conn.execute(select(plan_members)):
        members[row.plan_id].append(steps[row.step_id])
    for plan in tx.conn.execute(select(plans)):
        _check_plan(plan, members[plan.id], run_of)


def _check_step(step: Row[Any], run: Row[Any] | None, upstream: Collection[str]) -> None:
    assert (step.ended_at is None) == (step.status in OPEN)
    if run is not None:
        assert ENDED_WELL.issuperset(upstream), f"{step} has run before what it follows: {upstream}"
        assert run.plan_step_id == step.id
    match StepStatus(step.status):
        case StepStatus.WAITING:
            assert run is None
            assert OPEN.intersection(upstream), f"{step} waits for nothing: {upstream}"
            assert (ENDED_WELL | OPEN).issuperset(upstream), f"{step} waits for what will not come: {upstream}"
        case StepStatus.RUNNING:
            assert run is not None
            assert run.status in ("pending", "running")
        case StepStatus.DONE:
            assert run is not None
            assert run.status == "completed"
        case StepStatus.FAILED:
            assert run is not None
            assert run.status == "failed"
        case StepStatus.NOT_NEEDED:
            assert run is None
            assert upstream
            assert ENDED_WELL.issuperset(upstream)
        case StepStatus.BLOCKED:
            assert run is None
        case StepStatus.CANCELLED:
            assert run is None or run.status == "cancelled"


def _check_plan(plan: Row[Any], steps: Collection[Row[Any]], run_of: dict[Any, Row[Any]]) -> None:
    statuses = {step.status for step in steps}
    if plan.status == PlanStatus.RUNNING:
        assert plan.ended_at is None
        # What waits waits, in the end, for what runs; where nothing is left to do the plan has ended.
        assert StepStatus.RUNNING in statuses, f"{plan} runs, and nothing of it does: {statuses}"
        if plan.cancel_requested_at is not None:
            left = [step for step in steps if step.status in OPEN]
            assert all(run_of[step.run_id].cancel_requested_at is not None for step in left)
        return
    assert plan.ended_at is not None
    assert not OPEN.intersection(statuses), f"{plan} has ended before its steps: {statuses}"
    if plan.cancel_requested_at is not None:
        wanted = PlanStatus.CANCELLED
    elif CAME_TO_NOTHING.intersection(statuses):
        wanted = PlanStatus.FAILED
    else:
        wanted = PlanStatus.CANCELLED if StepStatus.CANCELLED in statuses else PlanStatus.COMPLETED
    assert plan.status == wanted
