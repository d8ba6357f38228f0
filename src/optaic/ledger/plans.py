"""Plans and their steps: how they are read, and how they are written in bulk."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, and_, delete, func, or_, select

from optaic.domain.identifier import new_id, prefix_range
from optaic.domain.kind import target_name
from optaic.domain.plan import Plan, PlanMode, PlannedStep, PlanStatus, Step, StepStatus, distinct_causes
from optaic.domain.run import Run
from optaic.errors import InvalidInputError, NotFoundError
from optaic.ledger import runs
from optaic.ledger.bulk import insert_columns, plain_id
from optaic.ledger.columns import among
from optaic.ledger.session import Transaction
from optaic.ledger.tables import (
    attempts,
    flows,
    instances,
    plan_members,
    plan_step_edges,
    plan_steps,
    plans,
)
from optaic.ledger.tables import runs as runs_table


def insert_steps(
    tx: Transaction,
    plan_id: uuid.UUID,
    own: Sequence[PlannedStep],
    *,
    ids: Mapping[uuid.UUID, uuid.UUID],
    run_ids: Mapping[uuid.UUID, uuid.UUID],
    members: Sequence[tuple[uuid.UUID, int]],
) -> None:
    """Insert the steps of a plan, and the order among them: one statement for each table.

    Parameters
    ----------
    tx
        An open transaction.
    plan_id
        The plan.
    own
        The steps that no other plan has.
    ids
        The id of each of its steps, by flow.
    run_ids
        The runs of those that wait for nothing, by flow.
    members
        All its steps, each with its batch.
    """
    causes = {key: json.dumps(cause.to_json()) for key, cause in distinct_causes(own).items()}
    insert_columns(
        tx,
        plan_steps,
        {
            "id": [ids[step.flow_id] for step in own],
            "flow_id": [step.flow_id for step in own],
            "status": [StepStatus.WAITING if step.upstream_ids else StepStatus.RUNNING for step in own],
            "causes": [f"[{', '.join([causes[id(cause)] for cause in step.causes])}]" for step in own],
            "is_needed": [int(step.is_needed) for step in own],
            "run_id": [run_ids.get(step.flow_id) for step in own],
        },
        now="created_at",
    )
    insert_columns(
        tx,
        plan_step_edges,
        {
            "step_id": [ids[step.flow_id] for step in own for _ in step.upstream_ids],
            "upstream_step_id": [ids[upstream_id] for step in own for upstream_id in step.upstream_ids],
        },
    )
    insert_columns(
        tx,
        plan_members,
        {
            "plan_id": [plan_id] * len(members),
            "step_id": [step_id for step_id, _ in members],
            "batch": [batch for _, batch in members],
        },
    )


def get(tx: Transaction, plan_id: uuid.UUID, *, with_steps: bool = True) -> Plan:
    """Read a plan: one statement, three with its steps.

    Raises
    ------
    NotFoundError
        If this tenant has no such plan.
    """
    row = tx.conn.execute(_select_plans(tx).where(plans.c.id == plan_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no plan {plan_id}")
    return _to_plan(row, _steps(tx, plan_id) if with_steps else ())


def find(tx: Transaction, reference: str) -> Plan | None:
    """Read the plan whose id, or the beginning of it, a person gives; without steps. None if there is none.

    Raises
    ------
    InvalidInputError
        If the beginning fits several plans.
    """
    try:
        first, last = prefix_range(reference)
    except InvalidInputError:
        return None
    rows = tx.conn.execute(_select_plans(tx).where(plans.c.id.between(first, last)).limit(2)).all()
    if len(rows) > 1:
        raise InvalidInputError(
            f"{reference} is the beginning of several plans: {rows[0].id}, {rows[1].id}, ...",
            next_step="give more characters of the id",
        )
    return _to_plan(rows[0], ()) if rows else None


def _select_plans(tx: Transaction) -> Select[Any]:
    return (
        select(plans, flows.c.kind, instances.c.name.label("instance"), instances.c.kind.label("instance_kind"))
        .join(flows, and_(flows.c.tenant_id == plans.c.tenant_id, flows.c.id == plans.c.target_flow_id))
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .where(plans.c.tenant_id == tx.tenant_id)
    )


def _to_plan(row: Row[Any], steps: Iterable[Step]) -> Plan:
    return Plan(
        id=row.id,
        target_flow_id=row.target_flow_id,
        target=target_name(row.instance, row.instance_kind, row.kind),
        mode=PlanMode(row.mode),
        status=PlanStatus(row.status),
        reason=row.reason,
        created_at=row.created_at,
        cancel_requested_at=row.cancel_requested_at,
        ended_at=row.ended_at,
        steps=tuple(steps),
    )


def _steps(tx: Transaction, plan_id: uuid.UUID) -> list[Step]:
    members = (plan_members.c.tenant_id == tx.tenant_id, plan_members.c.plan_id == plan_id)
    of_step = plan_members.c.step_id
    query = (
        select(
            plain_id(plan_steps.c.id, tx).label("id"),
            plain_id(plan_steps.c.flow_id, tx).label("flow_id"),
            plan_steps.c.status,
            plan_steps.c.causes,
            plan_steps.c.run_id,
            plan_steps.c.reason,
            plan_members.c.batch,
            flows.c.kind,
            instances.c.name.label("instance"),
            instances.c.kind.label("instance_kind"),
        )
        .join(plan_members, and_(plan_members.c.tenant_id == plan_steps.c.tenant_id, of_step == plan_steps.c.id))
        .join(flows, and_(flows.c.tenant_id == plan_steps.c.tenant_id, flows.c.id == plan_steps.c.flow_id))
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .where(*members)
        .order_by(plan_members.c.batch, instances.c.name, flows.c.kind)
    )
    rows = tx.conn.execute(query).all()
    # Each id is made once, however many edges name it: that would take longer than all else.
    flow_of = {row.id: uuid.UUID(row.flow_id) for row in rows}
    reads: dict[str, list[uuid.UUID]] = {step_id: [] for step_id in flow_of}
    edges = (
        select(plain_id(plan_step_edges.c.step_id, tx), plain_id(plan_step_edges.c.upstream_step_id, tx))
        .join(
            plan_members,
            and_(plan_members.c.tenant_id == plan_step_edges.c.tenant_id, of_step == plan_step_edges.c.step_id),
        )
        .where(*members)
    )
    for step_id, upstream_step_id in tx.conn.execute(edges).all():
        if upstream_step_id in flow_of:
            reads[step_id].append(flow_of[upstream_step_id])
    return [
        Step(
            id=uuid.UUID(row.id),
            flow_id=flow_of[row.id],
            target=target_name(row.instance, row.instance_kind, row.kind),
            instance=row.instance,
            flow_kind=row.kind,
            batch=row.batch,
            status=StepStatus(row.status),
            causes=row.causes,
            run_id=row.run_id,
            reason=row.reason,
            upstream_ids=tuple(reads[row.id]),
        )
        for row in rows
    ]


def step_counts(tx: Transaction, plan_id: uuid.UUID) -> dict[StepStatus, int]:
    """Count the steps of a plan by status."""
    query = (
        select(plan_steps.c.status, func.count().label("steps"))
        .join(
            plan_members,
            and_(plan_members.c.tenant_id == plan_steps.c.tenant_id, plan_members.c.step_id == plan_steps.c.id),
        )
        .where(plan_members.c.tenant_id == tx.tenant_id, plan_members.c.plan_id == plan_id)
        .group_by(plan_steps.c.status)
    )
    return {StepStatus(row.status): row.steps for row in tx.conn.execute(query)}


def running_runs(tx: Transaction, plan_id: uuid.UUID) -> list[Run]:
    """Read the runs of a plan that are running."""
    mine = select(plan_members.c.step_id).where(
        plan_members.c.tenant_id == tx.tenant_id, plan_members.c.plan_id == plan_id
    )
    query = runs.select_runs().where(
        runs_table.c.tenant_id == tx.tenant_id, runs.IS_RUNNING, runs_table.c.plan_step_id.in_(mine)
    )
    return [runs.to_run(row) for row in tx.conn.execute(query.order_by(runs_table.c.started_at))]


def attempts_since(tx: Transaction, plan_id: uuid.UUID, since: dt.datetime) -> list[Row[Any]]:
    """Read the attempts of a plan's runs that are open, or began or ended since an instant of the database's clock.

    Rows have `run_id, number, claimed_at, ended_at`.
    """
    query = (
        select(attempts.c.run_id, attempts.c.number, attempts.c.claimed_at, attempts.c.ended_at)
        .join(runs_table, and_(runs_table.c.tenant_id == attempts.c.tenant_id, runs_table.c.id == attempts.c.run_id))
        .join(
            plan_members,
            and_(
                plan_members.c.tenant_id == runs_table.c.tenant_id,
                plan_members.c.step_id == runs_table.c.plan_step_id,
            ),
        )
        .where(
            plan_members.c.tenant_id == tx.tenant_id,
            plan_members.c.plan_id == plan_id,
            or_(attempts.c.ended_at.is_(None), attempts.c.ended_at >= since, attempts.c.claimed_at >= since),
        )
    )
    return list(tx.conn.execute(query).all())


def _keep_cancelled(
    tx: Transaction,
    plan_id: uuid.UUID,
    left: Sequence[Row[Any]],
    batches: Mapping[uuid.UUID, int],
    *,
    others: Mapping[uuid.UUID, uuid.UUID],
    reason: Mapping[str, Any],
) -> None:
    """Give a plan steps of its own that have ended as cancelled, in the place of those that it has left."""
    copies = {row.id: new_id() for row in left}
    told = [
        {**reason, "message": f"{reason['message']}; plan {other} goes on with it", "next_step": f"optaic plan {other}"}
        for other in (others[row.id] for row in left)
    ]
    insert_columns(
        tx,
        plan_steps,
        {
            "id": list(copies.values()),
            "flow_id": [row.flow_id for row in left],
            "status": [StepStatus.CANCELLED] * len(left),
            "causes": [json.dumps(row.causes) for row in left],
            "is_needed": [row.is_needed for row in left],
            "reason": [json.dumps(one) for one in told],
            "created_at": [row.created_at for row in left],
        },
        now="ended_at",
    )
    insert_columns(
        tx,
        plan_members,
        {
            "plan_id": [plan_id] * len(left),
            "step_id": list(copies.values()),
            "batch": [batches[row.id] for row in left],
        },
    )
    # Their order, among themselves and with the plan's other steps; nothing waits for what has ended.
    query = select(plan_step_edges.c.step_id, plan_step_edges.c.upstream_step_id).where(
        plan_step_edges.c.tenant_id == tx.tenant_id,
        among(plan_step_edges.c.step_id, batches.keys(), is_postgresql=tx.is_postgresql),
    )
    edges = [
        (copies.get(row.step_id, row.step_id), copies.get(row.upstream_step_id, row.upstream_step_id))
        for row in tx.conn.execute(query)
        if row.step_id in copies or row.upstream_step_id in copies
    ]
    insert_columns(
        tx, plan_step_edges, {"step_id": [one for one, _ in edges], "upstream_step_id": [other for _, other in edges]}
    )


def leave_shared(tx: Transaction, plan_id: uuid.UUID, reason: Mapping[str, Any]) -> dict[uuid.UUID, uuid.UUID | None]:
    """Take a plan out of the steps that have not ended and that another plan needs too.

    The plan keeps a step of its own in the place of each, which has ended as cancelled: so it shows all that it had.

    Parameters
    ----------
    tx
        An open transaction.
    plan_id
        The plan, which has been asked to stop.
    reason
        Why, as JSON; which other plan goes on with the step is added.

    Returns
    -------
    dict
        Its other steps that have not ended, and the run of each.
    """
    # By lists of ids, not by joins: of a plan that was just recorded PostgreSQL has no statistics, and would go through
    # all steps for each step.
    is_postgresql = tx.is_postgresql
    members = select(plan_members.c.step_id, plan_members.c.batch).where(
        plan_members.c.tenant_id == tx.tenant_id, plan_members.c.plan_id == plan_id
    )
    batches = {row.step_id: row.batch for row in tx.conn.execute(members)}
    query = select(plan_steps).where(
        plan_steps.c.tenant_id == tx.tenant_id,
        plan_steps.c.ended_at.is_(None),
        among(plan_steps.c.id, batches.keys(), is_postgresql=is_postgresql),
    )
    open_steps = {row.id: row for row in tx.conn.execute(query)}
    running = select(plans.c.id).where(
        plans.c.tenant_id == tx.tenant_id, plans.c.status == PlanStatus.RUNNING, plans.c.id != plan_id
    )
    others = select(plan_members.c.step_id, plan_members.c.plan_id).where(
        plan_members.c.tenant_id == tx.tenant_id,
        plan_members.c.plan_id.in_(running),
        among(plan_members.c.step_id, open_steps.keys(), is_postgresql=is_postgresql),
    )
    shared = {row.step_id: row.plan_id for row in tx.conn.execute(others)}
    if shared:
        tx.conn.execute(
            delete(plan_members).where(
                plan_members.c.tenant_id == tx.tenant_id,
                plan_members.c.plan_id == plan_id,
                among(plan_members.c.step_id, shared, is_postgresql=is_postgresql),
            )
        )
        _keep_cancelled(tx, plan_id, [open_steps[one] for one in shared], batches, others=shared, reason=reason)
    return {step_id: row.run_id for step_id, row in open_steps.items() if step_id not in shared}
