"""Plan: record what must run for a target on one snapshot of versions.

A plan is made in one transaction under the graph lock. From then on nothing drives it: whoever ends one of its runs
records, in the same transaction, the runs that waited for it (`advance`). What runs of the plan read is the snapshot,
and what the plan's own steps made of it; what others publish meanwhile never mixes in.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from optaic.domain.fingerprint import digest_of
from optaic.domain.identifier import new_id
from optaic.domain.plan import Plan, PlanMode, PlannedStep, PlanStatus, make_steps
from optaic.domain.sharing import Read, shared_steps
from optaic.domain.text import check_text
from optaic.errors import CodeChangedError, IdempotencyMismatchError, InvalidInputError
from optaic.ledger import activities, catalog, freshness, plans, selected, snapshots, steps
from optaic.ledger.catalog import Flow
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.tables import plans as plans_table
from optaic.ledger.tables import submissions
from optaic.ledger.targets import find_target
from optaic.lifecycle import gate
from optaic.lifecycle.advance import record_runs
from optaic.lifecycle.propagate import propagate
from optaic.lifecycle.submit import MAX_KEY_LENGTH


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
    run_ids = record_runs(tx, plan_id, [(by_flow[flow_id], ids[flow_id]) for flow_id in first])
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
