"""The graph, read: which flows read which, and which runs read what other runs made. A statement for each step away."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, Select, and_, literal, or_, select

from optaic.domain.kind import FlowKind, InstanceKind, main_flow_kind
from optaic.domain.status import Freshness
from optaic.ledger import freshness
from optaic.ledger.columns import among
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flow_inputs, flows, instance_revisions, instances, run_inputs, runs, versions


def unready_upstreams(tx: Transaction, flow_id: uuid.UUID) -> set[uuid.UUID]:
    """Read the flows that may explain why a flow is not ready: itself, and what lies upstream and is not ready.

    Two statements. Where the clock has overtaken the cache, everything upstream is given.
    """
    is_cached = not freshness.late_flows(tx)
    upstream = flows.alias("upstream")
    reached = select(flows.c.id).where(flows.c.tenant_id == tx.tenant_id, flows.c.id == flow_id)
    reached = reached.cte("reached", recursive=True)
    reached = reached.union(
        select(flow_inputs.c.upstream_flow_id)
        .join(reached, reached.c.id == flow_inputs.c.flow_id)
        .join(
            upstream,
            and_(upstream.c.tenant_id == flow_inputs.c.tenant_id, upstream.c.id == flow_inputs.c.upstream_flow_id),
        )
        .where(
            flow_inputs.c.tenant_id == tx.tenant_id,
            flow_inputs.c.ended_at.is_(None),
            flow_inputs.c.selector == "current",
            or_(literal(not is_cached), upstream.c.freshness != Freshness.READY.value),
        )
    )
    return set(tx.conn.execute(select(reached.c.id)).scalars())


def edges(tx: Transaction, flow_ids: Collection[uuid.UUID], *, is_upstream: bool) -> list[Row[Any]]:
    """Read the live edges into some flows, or out of them, by their names' order of declaration."""
    near = flow_inputs.c.flow_id if is_upstream else flow_inputs.c.upstream_flow_id
    query = (
        select(flow_inputs)
        .where(
            flow_inputs.c.tenant_id == tx.tenant_id,
            flow_inputs.c.ended_at.is_(None),
            among(near, flow_ids, is_postgresql=tx.is_postgresql),
        )
        .order_by(flow_inputs.c.flow_id, flow_inputs.c.position, flow_inputs.c.id)
    )
    return list(tx.conn.execute(query).all())


def inputs_of(tx: Transaction, run_ids: Collection[uuid.UUID]) -> list[Row[Any]]:
    """Read which versions some runs consumed, and which runs had made those."""
    query = _consumed().where(
        run_inputs.c.tenant_id == tx.tenant_id,
        among(run_inputs.c.run_id, run_ids, is_postgresql=tx.is_postgresql),
    )
    return list(tx.conn.execute(query.order_by(run_inputs.c.run_id, run_inputs.c.role)).all())


def consumers_of(tx: Transaction, run_ids: Collection[uuid.UUID]) -> list[Row[Any]]:
    """Read which runs consumed the versions that some runs made, oldest first."""
    query = (
        _consumed()
        .join(runs, and_(runs.c.tenant_id == run_inputs.c.tenant_id, runs.c.id == run_inputs.c.run_id))
        .where(
            run_inputs.c.tenant_id == tx.tenant_id,
            among(versions.c.run_id, run_ids, is_postgresql=tx.is_postgresql),
        )
    )
    return list(tx.conn.execute(query.order_by(runs.c.submitted_at, runs.c.id, run_inputs.c.role)).all())


def _consumed() -> Select[Any]:
    query = select(
        run_inputs.c.run_id,
        run_inputs.c.role,
        run_inputs.c.selector,
        run_inputs.c.columns,
        run_inputs.c.first_date,
        run_inputs.c.last_date,
        run_inputs.c.as_of,
        versions.c.run_id.label("made_by"),
        versions.c.number,
        flows.c.kind,
        instances.c.name.label("instance"),
        instances.c.kind.label("instance_kind"),
    ).join(versions, and_(versions.c.tenant_id == run_inputs.c.tenant_id, versions.c.id == run_inputs.c.version_id))
    query = query.join(
        flows, and_(flows.c.tenant_id == run_inputs.c.tenant_id, flows.c.id == run_inputs.c.upstream_flow_id)
    )
    return query.join(
        instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id)
    )


def target_of(row: Row[Any]) -> str:
    """Say how people name the flow of a row that has `instance, instance_kind, kind`."""
    main = main_flow_kind(InstanceKind(row.instance_kind))
    return row.instance if main is FlowKind(row.kind) else f"{row.instance}.{row.kind}"


def made_by(tx: Transaction, run_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Row[Any]]:
    """Read the version that each of some runs made; runs that made none are missing."""
    query = select(versions.c.run_id, versions.c.number, versions.c.created_at).where(
        versions.c.tenant_id == tx.tenant_id,
        among(versions.c.run_id, run_ids, is_postgresql=tx.is_postgresql),
    )
    return {row.run_id: row for row in tx.conn.execute(query)}


def revisions_of(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, dict[int, Row[Any]]]:
    """Read all config revisions of some flows' instances, by flow and number."""
    query = (
        select(
            flows.c.id.label("flow_id"),
            flows.c.kind,
            instance_revisions.c.number,
            instance_revisions.c.config,
            instance_revisions.c.created_at,
        )
        .join(
            instance_revisions,
            and_(
                instance_revisions.c.tenant_id == flows.c.tenant_id,
                instance_revisions.c.instance_id == flows.c.instance_id,
            ),
        )
        .where(flows.c.tenant_id == tx.tenant_id, among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql))
    )
    found: dict[uuid.UUID, dict[int, Row[Any]]] = {}
    for row in tx.conn.execute(query):
        found.setdefault(row.flow_id, {})[row.number] = row
    return found
