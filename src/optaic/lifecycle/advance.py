"""What goes on in plans when one of their runs ends, in the transaction that ended it: the runs that waited for it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optaic.domain.plan import PlanStatus, StepStatus
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.run import Run
from optaic.domain.status import RunStatus
from optaic.ledger import activities, catalog, freshness, plans, state, steps
from optaic.ledger.bulk import insert_runs
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Transaction
from optaic.lifecycle.submit import official_values


def record_runs(tx: Transaction, plan_id: uuid.UUID, wanted: Sequence[tuple[Flow, uuid.UUID]]) -> list[uuid.UUID]:
    """Record the runs of some steps of one plan; give their ids, in order."""
    return insert_runs(
        tx,
        [
            (
                flow,
                official_values(flow)
                | {"trigger": "plan", "triggered_by": {"plan_id": str(plan_id)}, "plan_step_id": step_id},
            )
            for flow, step_id in wanted
        ],
    )


def advance(tx: Transaction, run: Run) -> None:
    """Let plans go on after the end of a run of theirs, in the transaction that ended it.

    A run that waits for another attempt has not ended, and changes nothing.

    Parameters
    ----------
    tx
        The transaction of the change; it holds the graph lock, and has settled freshness.
    run
        The run after the change.
    """
    if run.plan_step_id is None or not run.status.is_terminal:
        return
    step = steps.of_run(tx, run.id)
    if step is None:
        return  # the plan was cancelled, and its step ended with it
    if run.status is not RunStatus.COMPLETED:
        is_cancelled = run.status is RunStatus.CANCELLED
        own = None if run.reason is None else _plain(run.reason, run)
        steps.end_steps(tx, [step.id], StepStatus.CANCELLED if is_cancelled else StepStatus.FAILED, own)
        _close(tx, {step.id} | steps.block_followers(tx, step.id, _because(run)))
        return
    steps.end_steps(tx, [step.id], StepStatus.DONE)
    if step.current_version_id is not None:
        steps.pin_result(tx, step.id, step.flow_id, step.current_version_id)
    ended = {step.id}
    if step.is_delayed and step.own_blocks_from < freshness.NEVER:
        reason = _plain(
            Reason(
                code=ReasonCode.UPSTREAM_NOT_READY,
                message=f"{run.instance} has run, but its source does not have the data that are due",
                next_step=f"see what is missing: optaic why {run.instance}",
            ),
            run,
        )
        ended |= steps.block_followers(tx, step.id, reason, reading_from=step.own_blocks_from)
    _close(tx, ended | _go_on(tx, ended))


def _because(run: Run) -> dict[str, Any]:
    verb = "was cancelled" if run.status is RunStatus.CANCELLED else "failed"
    why = "" if run.reason is None else f": {run.reason.message}"
    return _plain(
        Reason(
            code=ReasonCode.UPSTREAM_FAILED,
            message=f"run {run.id} of {run.instance} {verb}{why}",
            next_step=f"optaic show {run.id}",
        ),
        run,
    )


def _plain(reason: Reason, run: Run) -> dict[str, Any]:
    return {
        "code": reason.code,
        "message": reason.message,
        "next_step": reason.next_step,
        "run_id": str(run.id),
        "instance": run.instance,
    }


def _go_on(tx: Transaction, ended: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Decide what waited for some steps; give the steps that turned out not to be needed, or could not run."""
    over: set[uuid.UUID] = set()
    frontier = set(ended)
    while frontier:
        candidates = {row.id: row for row in steps.next_steps(tx, frontier)}
        # What was archived meanwhile is not "not needed": its step cannot run, and `_start` says so.
        needed = {row.id for row in candidates.values() if row.is_needed or row.is_archived}
        needed |= _touched(tx, {row.id: row.flow_id for row in candidates.values() if row.id not in needed})
        frontier = candidates.keys() - needed
        if frontier:
            steps.end_steps(tx, frontier, StepStatus.NOT_NEEDED)
        over |= frontier
        over |= _start(tx, {row.id: row.flow_id for row in candidates.values() if row.id in needed})
    return over


def _touched(tx: Transaction, flow_of: Mapping[uuid.UUID, uuid.UUID]) -> set[uuid.UUID]:
    """Tell which steps would read something else than the current runs of their flows have read."""
    limits: dict[uuid.UUID, dict[uuid.UUID, int]] = {}
    for pin in steps.new_pins(tx, flow_of.keys()) if flow_of else ():
        limits.setdefault(pin.step_id, {})[pin.upstream_flow_id] = pin.number
    if not limits:
        return set()
    facts = {flow.id: flow for flow in state.load_facts(tx, {flow_of[step_id] for step_id in limits})}
    return {
        step_id
        for step_id, pinned in limits.items()
        if flow_of[step_id] in facts
        and any(
            edge.touches(change)
            for edge in facts[flow_of[step_id]].edges
            if edge.is_current
            for change in edge.changes
            if change.number <= pinned.get(edge.upstream_id, 0)
        )
    }


def _start(tx: Transaction, flow_of: Mapping[uuid.UUID, uuid.UUID]) -> set[uuid.UUID]:
    """Record the runs of steps that wait for nothing more; give those that ended instead, with what needed them."""
    if not flow_of:
        return set()
    by_flow = {flow.id: flow for flow in catalog.live_flows(tx, set(flow_of.values()))}
    by_plan: dict[tuple[uuid.UUID, uuid.UUID], list[uuid.UUID]] = {}
    makers = steps.makers(tx, flow_of.keys())
    for step_id, flow_id in flow_of.items():
        if flow_id in by_flow:
            by_plan.setdefault(makers[step_id], []).append(step_id)
    for (plan_id, actor_id), step_ids in by_plan.items():
        asker = replace(tx, actor_id=actor_id, correlation_id=plan_id)
        wanted = [(by_flow[flow_of[step_id]], step_id) for step_id in step_ids]
        steps.start_steps(tx, list(zip(step_ids, record_runs(asker, plan_id, wanted), strict=True)))
    over: set[uuid.UUID] = set()
    for step_id, flow_id in flow_of.items():
        if flow_id not in by_flow:
            name = catalog.get_flow(tx, flow_id).instance
            reason = {
                "code": ReasonCode.CANCELLED,
                "message": f"{name} was archived while the plan ran",
                "next_step": "see what is declared now: optaic status; then plan it again",
                "instance": name,
            }
            steps.end_steps(tx, [step_id], StepStatus.CANCELLED, reason)
            over |= {step_id} | steps.block_followers(tx, step_id, reason | {"code": ReasonCode.UPSTREAM_FAILED})
    return over


def _close(tx: Transaction, step_ids: Collection[uuid.UUID]) -> None:
    """End the plans whose last step has ended."""
    for plan_id in steps.finished_plans(tx, step_ids):
        close(tx, plan_id)


def close(tx: Transaction, plan_id: uuid.UUID) -> None:
    """End a plan whose steps have all ended, and tell of it."""
    counts = plans.step_counts(tx, plan_id)
    plan = plans.get(tx, plan_id, with_steps=False)
    status = PlanStatus.COMPLETED
    if plan.cancel_requested_at is not None:
        status = PlanStatus.CANCELLED
    elif counts.get(StepStatus.FAILED) or counts.get(StepStatus.BLOCKED):
        status = PlanStatus.FAILED
    elif counts.get(StepStatus.CANCELLED):
        status = PlanStatus.CANCELLED
    reason: dict[str, Any] | None = None
    if status is not PlanStatus.COMPLETED:
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(counts.items()))
        code = ReasonCode.CANCELLED if status is PlanStatus.CANCELLED else ReasonCode.UPSTREAM_FAILED
        reason = {"code": code, "message": f"steps: {told}"}
    steps.end_plan(tx, plan_id, status, reason)
    facts = {"target": plan.target, "steps": {str(name): count for name, count in counts.items()}}
    activities.record(tx, f"plan.{status}", plan_id, facts)
