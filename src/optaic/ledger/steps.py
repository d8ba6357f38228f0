"""Steps of plans: which can go on when others end, and how that is written."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, bindparam, exists, insert, select, update

from optaic.domain.plan import PlanStatus, StepStatus
from optaic.domain.sharing import Read
from optaic.ledger.columns import among, db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import (
    flow_inputs,
    flows,
    plan_members,
    plan_pins,
    plan_step_edges,
    plan_steps,
    plans,
    run_inputs,
    versions,
)


def pins_of(tx: Transaction, step_id: uuid.UUID) -> dict[Read, uuid.UUID]:
    """Read the versions that a step reads, by flow and selector; plans that share it agree on them."""
    plan_id = (
        select(plan_members.c.plan_id)
        .where(plan_members.c.tenant_id == tx.tenant_id, plan_members.c.step_id == step_id)
        .limit(1)
        .scalar_subquery()
    )
    reads = (
        select(flow_inputs.c.upstream_flow_id)
        .join(
            plan_steps,
            and_(plan_steps.c.tenant_id == flow_inputs.c.tenant_id, plan_steps.c.flow_id == flow_inputs.c.flow_id),
        )
        .where(plan_steps.c.tenant_id == tx.tenant_id, plan_steps.c.id == step_id)
    )
    query = select(plan_pins.c.flow_id, plan_pins.c.selector, plan_pins.c.version_id).where(
        plan_pins.c.tenant_id == tx.tenant_id, plan_pins.c.plan_id == plan_id, plan_pins.c.flow_id.in_(reads)
    )
    return {(row.flow_id, row.selector): row.version_id for row in tx.conn.execute(query)}


def end_steps(
    tx: Transaction, step_ids: Collection[uuid.UUID], status: StepStatus, reason: Mapping[str, Any] | None = None
) -> None:
    """End steps that have not ended."""
    tx.conn.execute(
        update(plan_steps)
        .where(
            plan_steps.c.tenant_id == tx.tenant_id,
            plan_steps.c.ended_at.is_(None),
            among(plan_steps.c.id, step_ids, is_postgresql=tx.is_postgresql),
        )
        .values(status=status, reason=None if reason is None else dict(reason), ended_at=db_now())
    )


def of_run(tx: Transaction, run_id: uuid.UUID) -> Row[Any] | None:
    """Read the step that a run carries out, if it has not ended: `id`, and the settled state of its flow.

    That is `flow_id`, `current_version_id`, `own_blocks_from` and `is_delayed`.
    """
    query = (
        select(
            plan_steps.c.id,
            plan_steps.c.flow_id,
            flows.c.current_version_id,
            flows.c.own_blocks_from,
            flows.c.is_delayed,
        )
        .join(flows, and_(flows.c.tenant_id == plan_steps.c.tenant_id, flows.c.id == plan_steps.c.flow_id))
        .where(plan_steps.c.tenant_id == tx.tenant_id, plan_steps.c.run_id == run_id, plan_steps.c.ended_at.is_(None))
    )
    return tx.conn.execute(query).one_or_none()


def pin_result(tx: Transaction, step_id: uuid.UUID, flow_id: uuid.UUID, version_id: uuid.UUID) -> None:
    """Let the plans of a step read what its flow has now that its run has completed."""
    mine = (
        select(plan_members.c.plan_id)
        .join(plans, and_(plans.c.tenant_id == plan_members.c.tenant_id, plans.c.id == plan_members.c.plan_id))
        .where(
            plan_members.c.tenant_id == tx.tenant_id,
            plan_members.c.step_id == step_id,
            plans.c.status == PlanStatus.RUNNING,
        )
    )
    plan_ids = set(tx.conn.execute(mine).scalars())
    had = set(
        tx.conn.execute(
            update(plan_pins)
            .where(
                plan_pins.c.tenant_id == tx.tenant_id,
                plan_pins.c.flow_id == flow_id,
                plan_pins.c.selector == "current",
                among(plan_pins.c.plan_id, plan_ids, is_postgresql=tx.is_postgresql),
            )
            .values(version_id=version_id)
            .returning(plan_pins.c.plan_id)
        ).scalars()
    )
    if plan_ids - had:
        tx.conn.execute(
            insert(plan_pins),
            [
                {
                    "tenant_id": tx.tenant_id,
                    "plan_id": plan_id,
                    "flow_id": flow_id,
                    "selector": "current",
                    "version_id": version_id,
                }
                for plan_id in plan_ids - had
            ],
        )


def next_steps(tx: Transaction, ended_ids: Collection[uuid.UUID]) -> list[Row[Any]]:
    """Read the steps that waited for some that have ended well, and wait for nothing more.

    Returns
    -------
    list of Row
        `id`, `flow_id`, `is_needed` and `is_archived` (whether its flow was archived since), in the order of planning.
    """
    upstream, waits = plan_steps.alias("upstream"), plan_step_edges.alias("waits")
    open_upstream = exists().where(
        waits.c.tenant_id == plan_steps.c.tenant_id,
        waits.c.step_id == plan_steps.c.id,
        upstream.c.tenant_id == waits.c.tenant_id,
        upstream.c.id == waits.c.upstream_step_id,
        upstream.c.status.not_in([StepStatus.DONE, StepStatus.NOT_NEEDED]),
    )
    is_archived = flows.c.archived_at.is_not(None).label("is_archived")
    query = (
        select(plan_steps.c.id, plan_steps.c.flow_id, plan_steps.c.is_needed, is_archived)
        .join(flows, and_(flows.c.tenant_id == plan_steps.c.tenant_id, flows.c.id == plan_steps.c.flow_id))
        .where(
            plan_steps.c.tenant_id == tx.tenant_id,
            plan_steps.c.status == StepStatus.WAITING,
            plan_steps.c.id.in_(_followers(tx, ended_ids)),
            ~open_upstream,
        )
    )
    return list(tx.conn.execute(query.order_by(plan_steps.c.id)).all())


def _followers(tx: Transaction, step_ids: Collection[uuid.UUID]) -> Any:
    return select(plan_step_edges.c.step_id).where(
        plan_step_edges.c.tenant_id == tx.tenant_id,
        among(plan_step_edges.c.upstream_step_id, step_ids, is_postgresql=tx.is_postgresql),
    )


class NewPin(NamedTuple):
    """A version that a step would read of a flow, and that its own flow's current run did not."""

    step_id: uuid.UUID
    upstream_flow_id: uuid.UUID
    number: int


def new_pins(tx: Transaction, step_ids: Collection[uuid.UUID]) -> list[NewPin]:
    """Read what some steps would read that the current runs of their flows have not read."""
    query = (
        select(plan_steps.c.id, plan_pins.c.flow_id, versions.c.number)
        .join(
            plan_members,
            and_(plan_members.c.tenant_id == plan_steps.c.tenant_id, plan_members.c.step_id == plan_steps.c.id),
        )
        .join(flows, and_(flows.c.tenant_id == plan_steps.c.tenant_id, flows.c.id == plan_steps.c.flow_id))
        .join(
            run_inputs,
            and_(
                run_inputs.c.tenant_id == flows.c.tenant_id,
                run_inputs.c.run_id == flows.c.current_run_id,
                run_inputs.c.selector == "current",
            ),
        )
        .join(
            plan_pins,
            and_(
                plan_pins.c.tenant_id == plan_members.c.tenant_id,
                plan_pins.c.plan_id == plan_members.c.plan_id,
                plan_pins.c.flow_id == run_inputs.c.upstream_flow_id,
                plan_pins.c.selector == run_inputs.c.selector,
                plan_pins.c.version_id != run_inputs.c.version_id,
            ),
        )
        .join(versions, and_(versions.c.tenant_id == plan_pins.c.tenant_id, versions.c.id == plan_pins.c.version_id))
        .where(
            plan_steps.c.tenant_id == tx.tenant_id,
            among(plan_steps.c.id, step_ids, is_postgresql=tx.is_postgresql),
        )
        .distinct()
    )
    return [NewPin(*row) for row in tx.conn.execute(query)]


def block_followers(
    tx: Transaction, step_id: uuid.UUID, reason: Mapping[str, Any], *, reading_from: Any = None
) -> set[uuid.UUID]:
    """Block what waits for a step, and what waits for that; give the steps.

    Parameters
    ----------
    tx
        An open transaction.
    step_id
        The step that came to nothing.
    reason
        Why, as JSON.
    reading_from
        Block only who reads event dates from this one on, and who waits for them; None for all.
    """
    first = select(plan_step_edges.c.step_id).where(
        plan_step_edges.c.tenant_id == tx.tenant_id, plan_step_edges.c.upstream_step_id == step_id
    )
    if reading_from is not None:
        reader, upstream = plan_steps.alias("reader"), plan_steps.alias("upstream")
        first = (
            first.join(
                reader,
                and_(reader.c.tenant_id == plan_step_edges.c.tenant_id, reader.c.id == plan_step_edges.c.step_id),
            )
            .join(
                upstream,
                and_(
                    upstream.c.tenant_id == plan_step_edges.c.tenant_id,
                    upstream.c.id == plan_step_edges.c.upstream_step_id,
                ),
            )
            .join(
                flow_inputs,
                and_(
                    flow_inputs.c.tenant_id == reader.c.tenant_id,
                    flow_inputs.c.flow_id == reader.c.flow_id,
                    flow_inputs.c.upstream_flow_id == upstream.c.flow_id,
                ),
            )
            .where(
                flow_inputs.c.ended_at.is_(None),
                flow_inputs.c.is_read == 1,
                flow_inputs.c.read_until >= reading_from,
            )
        )
    below = first.cte("below", recursive=True)
    below = below.union(
        select(plan_step_edges.c.step_id).where(
            plan_step_edges.c.tenant_id == tx.tenant_id, plan_step_edges.c.upstream_step_id == below.c.step_id
        )
    )
    statement = (
        update(plan_steps)
        .where(
            plan_steps.c.tenant_id == tx.tenant_id,
            plan_steps.c.status == StepStatus.WAITING,
            plan_steps.c.id.in_(select(below.c.step_id)),
        )
        .values(status=StepStatus.BLOCKED, reason=dict(reason), ended_at=db_now())
        .returning(plan_steps.c.id)
    )
    return set(tx.conn.execute(statement).scalars())


def start_steps(tx: Transaction, started: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> None:
    """Write which runs steps became."""
    if started:
        tx.conn.execute(
            update(plan_steps)
            .where(plan_steps.c.tenant_id == tx.tenant_id, plan_steps.c.id == bindparam("step"))
            .values(status=StepStatus.RUNNING, run_id=bindparam("run")),
            [{"step": step_id, "run": run_id} for step_id, run_id in started],
        )


def need(tx: Transaction, step_ids: Collection[uuid.UUID]) -> None:
    """Let steps run whatever their upstream steps publish."""
    if step_ids:
        tx.conn.execute(
            update(plan_steps)
            .where(
                plan_steps.c.tenant_id == tx.tenant_id,
                among(plan_steps.c.id, step_ids, is_postgresql=tx.is_postgresql),
            )
            .values(is_needed=1)
        )


def makers(tx: Transaction, step_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, tuple[uuid.UUID, uuid.UUID]]:
    """Read for which plan each of some steps runs, the oldest of those that need it, and who asked for that."""
    query = (
        select(plan_members.c.step_id, plans.c.id, plans.c.created_by)
        .join(plans, and_(plans.c.tenant_id == plan_members.c.tenant_id, plans.c.id == plan_members.c.plan_id))
        .where(
            plan_members.c.tenant_id == tx.tenant_id,
            plans.c.status == PlanStatus.RUNNING,
            among(plan_members.c.step_id, step_ids, is_postgresql=tx.is_postgresql),
        )
        .order_by(plans.c.created_at.desc(), plans.c.id.desc())
    )
    return {row.step_id: (row.id, row.created_by) for row in tx.conn.execute(query)}


def finished_plans(tx: Transaction, step_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Read the plans of some steps that still run although all their steps have ended."""
    mine = select(plan_members.c.plan_id).where(
        plan_members.c.tenant_id == tx.tenant_id,
        among(plan_members.c.step_id, step_ids, is_postgresql=tx.is_postgresql),
    )
    member = plan_members.alias("member")
    has_open = exists().where(
        member.c.tenant_id == plans.c.tenant_id,
        member.c.plan_id == plans.c.id,
        plan_steps.c.tenant_id == member.c.tenant_id,
        plan_steps.c.id == member.c.step_id,
        plan_steps.c.ended_at.is_(None),
    )
    query = select(plans.c.id).where(
        plans.c.tenant_id == tx.tenant_id, plans.c.status == PlanStatus.RUNNING, plans.c.id.in_(mine), ~has_open
    )
    return list(tx.conn.execute(query).scalars())


def end_plan(tx: Transaction, plan_id: uuid.UUID, status: PlanStatus, reason: Mapping[str, Any] | None = None) -> None:
    """End a plan."""
    tx.conn.execute(
        update(plans)
        .where(plans.c.tenant_id == tx.tenant_id, plans.c.id == plan_id)
        .values(status=status, reason=None if reason is None else dict(reason), ended_at=db_now())
    )


def ask_to_stop(tx: Transaction, plan_id: uuid.UUID) -> None:
    """Note that a plan is to end."""
    tx.conn.execute(
        update(plans)
        .where(plans.c.tenant_id == tx.tenant_id, plans.c.id == plan_id)
        .values(cancel_requested_at=db_now())
    )
