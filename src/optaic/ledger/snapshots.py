"""What planning reads: what is not ready upstream, the versions of the moment, and steps that others plan already."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, and_, literal, select, union_all

from optaic.domain.plan import OpenStep
from optaic.domain.status import Freshness, RunStatus, Standing
from optaic.ledger.columns import Id, among
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flow_inputs, flows, plan_members, plan_pins, plan_step_edges, plan_steps
from optaic.ledger.tables import runs as runs_table

DURATIONS = 3
"""How many of a flow's last runs say how long it takes."""


def unready_upstreams(tx: Transaction, flow_id: uuid.UUID, *, is_settled: bool) -> set[uuid.UUID]:
    """Read a flow and everything upstream that may have to run for it: one statement.

    Parameters
    ----------
    tx
        A transaction.
    flow_id
        The flow.
    is_settled
        Whether the cache is what the clock says; if not, all of the flow's upstreams are read.
    """
    scope = select(literal(flow_id, Id).label("id")).cte("scope", recursive=True)
    further = select(flow_inputs.c.upstream_flow_id).where(
        flow_inputs.c.tenant_id == tx.tenant_id,
        flow_inputs.c.flow_id == scope.c.id,
        flow_inputs.c.ended_at.is_(None),
        flow_inputs.c.selector == "current",
    )
    if is_settled:
        # Looked up edge by edge: as a join, SQLite would go through all flows for each flow that it has found.
        of_upstream = (
            select(flows.c.freshness)
            .where(flows.c.tenant_id == tx.tenant_id, flows.c.id == flow_inputs.c.upstream_flow_id)
            .correlate(flow_inputs)
            .scalar_subquery()
        )
        further = further.where(of_upstream != Freshness.READY)
    return set(tx.conn.execute(select(scope.union(further).c.id)).scalars())


def seconds_of(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, float]:
    """Read how long some flows take: the median of their last completed official runs, in seconds; one statement.

    Flows that have never completed are missing.
    """
    last = runs_table.alias("last")

    def nth(offset: int) -> Select[Any]:
        one = (
            select(last.c.id)
            .where(
                last.c.tenant_id == flows.c.tenant_id,
                last.c.flow_id == flows.c.id,
                last.c.status == RunStatus.COMPLETED,
                last.c.standing == Standing.OFFICIAL,
            )
            .order_by(last.c.submitted_at.desc())
            .limit(1)
            .offset(offset)
            .correlate(flows)
            .scalar_subquery()
        )
        mine = among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql)
        return select(one.label("id")).where(flows.c.tenant_id == tx.tenant_id, mine)

    chosen = union_all(*(nth(offset) for offset in range(DURATIONS))).subquery()
    query = select(runs_table.c.flow_id, runs_table.c.started_at, runs_table.c.ended_at).where(
        runs_table.c.tenant_id == tx.tenant_id, runs_table.c.id.in_(select(chosen.c.id))
    )
    found: dict[uuid.UUID, list[float]] = {}
    for row in tx.conn.execute(query):
        found.setdefault(row.flow_id, []).append((row.ended_at - row.started_at).total_seconds())
    return {flow_id: statistics.median(took) for flow_id, took in found.items()}


def read_by(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """Read the present version of everything that some flows follow, and of themselves; flows without are missing."""
    mine = among(flow_inputs.c.flow_id, flow_ids, is_postgresql=tx.is_postgresql)
    upstreams = select(flow_inputs.c.upstream_flow_id).where(
        flow_inputs.c.tenant_id == tx.tenant_id,
        flow_inputs.c.ended_at.is_(None),
        flow_inputs.c.selector == "current",
        mine,
    )
    query = select(flows.c.id, flows.c.current_version_id).where(
        flows.c.tenant_id == tx.tenant_id,
        flows.c.current_version_id.is_not(None),
        flows.c.id.in_(upstreams) | among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql),
    )
    return {row.id: row.current_version_id for row in tx.conn.execute(query)}


def open_steps(tx: Transaction, flow_ids: Collection[uuid.UUID], read_ids: Collection[uuid.UUID]) -> list[OpenStep]:
    """Read the steps of some flows that have not ended, with what they wait for and their pins of what is read.

    One statement where there are none, three otherwise. Steps that were asked to stop are left out.
    """
    query = (
        select(
            plan_steps.c.id,
            plan_steps.c.flow_id,
            plan_members.c.plan_id,
            plan_steps.c.run_id,
            runs_table.c.revision_id,
            runs_table.c.definition_version_id,
        )
        .join(
            plan_members,
            and_(plan_members.c.tenant_id == plan_steps.c.tenant_id, plan_members.c.step_id == plan_steps.c.id),
        )
        .outerjoin(
            runs_table, and_(runs_table.c.tenant_id == plan_steps.c.tenant_id, runs_table.c.id == plan_steps.c.run_id)
        )
        .where(
            plan_steps.c.tenant_id == tx.tenant_id,
            plan_steps.c.ended_at.is_(None),
            runs_table.c.cancel_requested_at.is_(None),
            among(plan_steps.c.flow_id, flow_ids, is_postgresql=tx.is_postgresql),
        )
        .order_by(plan_steps.c.id)
    )
    found = {row.id: row for row in tx.conn.execute(query)}
    if not found:
        return []
    upstream = plan_steps.alias("upstream")
    waits: dict[uuid.UUID, dict[uuid.UUID, uuid.UUID]] = {}
    for row in tx.conn.execute(
        select(plan_step_edges.c.step_id, upstream.c.id, upstream.c.flow_id)
        .join(
            upstream,
            and_(
                upstream.c.tenant_id == plan_step_edges.c.tenant_id, upstream.c.id == plan_step_edges.c.upstream_step_id
            ),
        )
        .where(
            plan_step_edges.c.tenant_id == tx.tenant_id,
            upstream.c.ended_at.is_(None),
            among(plan_step_edges.c.step_id, found.keys(), is_postgresql=tx.is_postgresql),
        )
    ):
        waits.setdefault(row.step_id, {})[row.flow_id] = row.id
    pins: dict[uuid.UUID, dict[uuid.UUID, uuid.UUID]] = {}
    for row in tx.conn.execute(
        select(plan_pins.c.plan_id, plan_pins.c.flow_id, plan_pins.c.version_id).where(
            plan_pins.c.tenant_id == tx.tenant_id,
            among(plan_pins.c.plan_id, {row.plan_id for row in found.values()}, is_postgresql=tx.is_postgresql),
            among(plan_pins.c.flow_id, read_ids, is_postgresql=tx.is_postgresql),
        )
    ):
        pins.setdefault(row.plan_id, {})[row.flow_id] = row.version_id
    return [
        OpenStep(
            id=row.id,
            flow_id=row.flow_id,
            recorded=None if row.run_id is None else (row.revision_id, row.definition_version_id),
            upstream=waits.get(row.id, {}),
            pins=pins.get(row.plan_id, {}),
        )
        for row in found.values()
    ]
