"""Plan: record what must run for a target on one snapshot of versions, and what goes on when a run of it ends.

A plan is made in one transaction under the graph lock. From then on nothing drives it: whoever ends one of its runs
records, in the same transaction, the runs that waited for it. What runs of the plan read is the snapshot, and what the
plan's own steps made of it; what others publish meanwhile never mixes in.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from optaic.domain.fingerprint import digest_of
from optaic.domain.identifier import new_id
from optaic.domain.plan import Plan, PlanMode, PlannedStep, PlanStatus, StepStatus, make_steps
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.run import Run
from optaic.domain.sharing import Read, shared_steps
from optaic.domain.status import RunStatus
from optaic.domain.text import check_text
from optaic.errors import CodeChangedError, IdempotencyMismatchError, InvalidInputError
from optaic.ledger import activities, catalog, freshness, plans, selected, snapshots, state, steps
from optaic.ledger.bulk import insert_runs
from optaic.ledger.catalog import Flow
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.tables import plans as plans_table
from optaic.ledger.tables import submissions
from optaic.ledger.targets import find_target
from optaic.lifecycle import gate
from optaic.lifecycle.propagate import propagate
from optaic.lifecycle.submit import MAX_KEY_LENGTH, official_values


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """A request to run what a target needs.

    Attributes
    ----------
    target
        `instance` or `instance.flow_kind`.
    mode
        Whether the target runs although it is ready.
    idempotency_key
        The same key gives the same plan.
    code_digests
        Digest of the code in the caller's project now, by its reference; compared with what was applied.
    """

    target: str
    mode: PlanMode = PlanMode.RECURSIVE
    idempotency_key: str | None = None
    code_digests: Mapping[str, str] | None = None


def preview(tx: Transaction, flow_id: uuid.UUID, mode: PlanMode) -> tuple[PlannedStep, ...]:
    """Decide what would run for a flow now; nothing is written. A constant number of statements."""
    planned = make_steps(snapshots.candidates(tx, flow_id), flow_id, mode)
    lacking = selected.lacking(tx, [step.flow_id for step in planned])
    return tuple(replace(step, causes=(*step.causes, *lacking.get(step.flow_id, ()))) for step in planned)


def create(database: Database, request: PlanRequest) -> Plan:
    """Record a plan, its steps, and the runs that can go at once.

    Returns
    -------
    Plan
        The new plan, or the one that the same idempotency key made before. One without steps is completed.

    Raises
    ------
    NotFoundError
        If there is no such instance or flow.
    InvalidInputError
        If the target or the key cannot be one.
    IdempotencyMismatchError
        If the key was used for another request.
    UpstreamNotReadyError
        If something that would run selects a version that is not there.
    CodeChangedError
        If the caller's code of something that would run is not the code that was applied.
    """
    check_text(request.target, "the target")
    key = request.idempotency_key
    if key is not None and not 0 < len(check_text(key, "the idempotency key")) <= MAX_KEY_LENGTH:
        raise InvalidInputError(f"an idempotency key has 1 to {MAX_KEY_LENGTH} characters, not {len(key)}")
    try:
        return _create(database, request)
    except IntegrityError:
        if key is None:
            raise
        # A single run with this key committed between our look and our insert: it is there now.
        return _create(database, request)


def planned_before(database: Database, request: PlanRequest) -> Plan | None:
    """Read the plan that the same request with the same idempotency key made before; None if there is none.

    Raises
    ------
    IdempotencyMismatchError
        If the key was used for another request.
    """
    with database.read() as tx:
        return _earlier(tx, request)


def _create(database: Database, request: PlanRequest) -> Plan:
    plan_id = new_id()
    with database.write(correlation_id=plan_id) as tx:
        lock_graph(tx)
        earlier = _earlier(tx, request)
        if earlier is not None:
            return earlier
        flow = find_target(tx, request.target).flow
        late = freshness.late_flows(tx)
        if late:
            propagate(tx, late, cause={"kind": "clock"})
        planned = preview(tx, flow.id, request.mode)
        _check_selected(tx, planned, flow)
        tx.conn.execute(
            insert(plans_table).values(
                tenant_id=tx.tenant_id,
                id=plan_id,
                target_flow_id=flow.id,
                mode=request.mode,
                status=PlanStatus.RUNNING if planned else PlanStatus.COMPLETED,
                created_at=db_now(),
                created_by=tx.actor_id,
                ended_at=None if planned else db_now(),
            )
        )
        if planned:
            _write_steps(tx, plan_id, planned, request)
        if request.idempotency_key is not None:
            _remember(tx, request, plan_id)
        activities.record(tx, "plan.submitted", plan_id, {"target": flow.target, "steps": len(planned)})
        return plans.get(tx, plan_id)


def _check_selected(tx: Transaction, planned: Sequence[PlannedStep], flow: Flow) -> None:
    """Refuse a plan with a step that selects a version which is not there: nothing that runs before can make it."""
    found = [(step, cause) for step in planned for cause in step.causes if cause.next_step is not None]
    if found:
        told = "; ".join(f"{step.target} cannot run: {cause.detail}" for step, cause in found)
        own = [(cause.upstream_id, cause.upstream, cause) for step, cause in found if step.flow_id == flow.id]
        others = [(step.flow_id, step.target, cause) for step, cause in found if step.flow_id != flow.id]
        raise gate.refusal(tx, flow.target, own + others, told=told)


def _earlier(tx: Transaction, request: PlanRequest) -> Plan | None:
    if request.idempotency_key is None:
        return None
    row = tx.conn.execute(
        select(submissions).where(submissions.c.tenant_id == tx.tenant_id, submissions.c.key == request.idempotency_key)
    ).one_or_none()
    if row is None:
        return None
    if row.request_digest != _digest(request) or row.plan_id is None:
        raise IdempotencyMismatchError(request.idempotency_key, row.run_id, plan_id=row.plan_id)
    return plans.get(tx, row.plan_id)


def _remember(tx: Transaction, request: PlanRequest, plan_id: uuid.UUID) -> None:
    tx.conn.execute(
        insert(submissions).values(
            tenant_id=tx.tenant_id,
            key=request.idempotency_key,
            request_digest=_digest(request),
            plan_id=plan_id,
            submitted_at=db_now(),
        )
    )


def _digest(request: PlanRequest) -> str:
    return digest_of({"target": request.target, "plan": request.mode})


def _write_steps(tx: Transaction, plan_id: uuid.UUID, planned: Sequence[PlannedStep], request: PlanRequest) -> None:
    flow_ids = [step.flow_id for step in planned]
    if request.code_digests:
        _check_code(snapshots.code_of(tx, flow_ids), request.code_digests)
    shared = _shared(tx, planned)
    ids = {step.flow_id: shared.get(step.flow_id) or new_id() for step in planned}
    own = [step for step in planned if step.flow_id not in shared]
    first = [step.flow_id for step in own if not step.upstream_ids]
    by_flow = {flow.id: flow for flow in catalog.live_flows(tx, first)}
    run_ids = _record(tx, plan_id, [(by_flow[flow_id], ids[flow_id]) for flow_id in first])
    plans.insert_steps(
        tx,
        plan_id,
        own,
        ids=ids,
        run_ids=dict(zip(first, run_ids, strict=True)),
        members=[(ids[step.flow_id], step.batch) for step in planned],
    )
    snapshots.pin_present(tx, plan_id, flow_ids)
    steps.need(tx, [ids[step.flow_id] for step in planned if step.is_needed and step.flow_id in shared])


def _check_code(applied: Sequence[snapshots.Code], code_digests: Mapping[str, str]) -> None:
    for one in applied:
        if code_digests.get(one.code_ref, one.code_digest) != one.code_digest:
            raise CodeChangedError(
                f"the code of {one.instance} ({one.code_ref}) is not the code that was applied",
                next_step="apply the new code with: optaic apply",
            )


def _shared(tx: Transaction, planned: Sequence[PlannedStep]) -> dict[uuid.UUID, uuid.UUID]:
    """Find the steps that other plans have already."""
    found = snapshots.open_steps(tx, [step.flow_id for step in planned])
    if not found:
        return {}
    flow_ids = {one.flow_id for one in found}
    reads: dict[uuid.UUID, list[Read]] = {}
    for item in catalog.inputs_of(tx, flow_ids):
        if item.selector != "version":
            reads.setdefault(item.flow_id, []).append((item.upstream_flow_id, item.selector_text))
    present = {flow.id: (flow.revision_id, flow.definition_version_id) for flow in catalog.live_flows(tx, flow_ids)}
    pins = snapshots.present_pins(tx, flow_ids)
    return shared_steps(planned, open_steps=found, reads=reads, pins=pins, present=present)


def _record(tx: Transaction, plan_id: uuid.UUID, wanted: Sequence[tuple[Flow, uuid.UUID]]) -> list[uuid.UUID]:
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
        steps.start_steps(tx, list(zip(step_ids, _record(asker, plan_id, wanted), strict=True)))
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
