"""The present state of flows, as the definition of freshness needs it: a constant number of statements."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Row, and_, func, select

from optaic.domain.freshness import Change, Consumed, FlowFacts
from optaic.ledger import catalog
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Transaction
from optaic.ledger.tables import (
    definition_versions,
    flows,
    instance_revisions,
    instances,
    run_inputs,
    runs,
    versions,
)


def load_facts(tx: Transaction) -> tuple[list[Flow], list[FlowFacts]]:
    """Read all live flows with the facts that decide their freshness: five statements, however many flows there are."""
    live = catalog.live_flows(tx)
    edges: dict[uuid.UUID, list[tuple[uuid.UUID, str, str, str]]] = {}
    for item in catalog.all_inputs(tx):
        edge = (item.upstream_flow_id, item.upstream_instance, item.role, item.selector)
        edges.setdefault(item.flow_id, []).append(edge)
    current = {row.flow_id: row for row in tx.conn.execute(_current_runs(tx))}
    changes = _changes(tx)
    consumed: dict[uuid.UUID, list[Consumed]] = {}
    for row in tx.conn.execute(_consumed(tx)):
        if row.columns == []:
            continue  # pinned, but not read
        later = tuple(change for change in changes.get(row.upstream_flow_id, ()) if change.number > (row.number or 0))
        consumed.setdefault(row.flow_id, []).append(
            Consumed(
                upstream_id=row.upstream_flow_id,
                upstream=row.instance,
                role=row.role,
                selector=row.selector,
                last_date=row.last_date,
                columns=tuple(row.columns or ()),
                changes=later,
            )
        )
    facts = [
        FlowFacts(
            id=flow.id,
            has_output=flow.current_run_id is not None,
            config_digest=flow.config_digest,
            code_digest=flow.code_digest,
            run_config_digest=_get(current.get(flow.id), "config_digest"),
            run_code_digest=_get(current.get(flow.id), "code_digest"),
            upstreams=tuple(edges.get(flow.id, ())),
            consumed=tuple(consumed.get(flow.id, ())),
        )
        for flow in live
    ]
    return live, facts


def _get(row: Row[Any] | None, name: str) -> Any:
    return None if row is None else getattr(row, name)


def _current_runs(tx: Transaction) -> Any:
    return (
        select(
            flows.c.id.label("flow_id"),
            instance_revisions.c.config_digest,
            definition_versions.c.code_digest,
        )
        .join(runs, and_(runs.c.tenant_id == flows.c.tenant_id, runs.c.id == flows.c.current_run_id))
        .join(
            instance_revisions,
            and_(instance_revisions.c.tenant_id == runs.c.tenant_id, instance_revisions.c.id == runs.c.revision_id),
        )
        .outerjoin(
            definition_versions,
            and_(
                definition_versions.c.tenant_id == runs.c.tenant_id,
                definition_versions.c.id == runs.c.definition_version_id,
            ),
        )
        .where(flows.c.tenant_id == tx.tenant_id, flows.c.archived_at.is_(None))
    )


def _consumed(tx: Transaction) -> Any:
    upstream = flows.alias("upstream")
    return (
        select(
            flows.c.id.label("flow_id"),
            run_inputs.c.upstream_flow_id,
            run_inputs.c.role,
            run_inputs.c.selector,
            run_inputs.c.columns,
            run_inputs.c.last_date,
            instances.c.name.label("instance"),
            versions.c.number,
        )
        .join(
            run_inputs, and_(run_inputs.c.tenant_id == flows.c.tenant_id, run_inputs.c.run_id == flows.c.current_run_id)
        )
        .join(
            upstream,
            and_(upstream.c.tenant_id == run_inputs.c.tenant_id, upstream.c.id == run_inputs.c.upstream_flow_id),
        )
        .join(instances, and_(instances.c.tenant_id == upstream.c.tenant_id, instances.c.id == upstream.c.instance_id))
        .outerjoin(
            versions, and_(versions.c.tenant_id == run_inputs.c.tenant_id, versions.c.id == run_inputs.c.version_id)
        )
        .where(flows.c.tenant_id == tx.tenant_id, flows.c.archived_at.is_(None))
    )


def _changes(tx: Transaction) -> dict[uuid.UUID, list[Change]]:
    """Read the versions published after any that a current run consumed, by flow."""
    consumed = versions.alias("consumed")
    oldest = (
        select(run_inputs.c.upstream_flow_id, func.min(consumed.c.number).label("number"))
        .join(flows, and_(flows.c.tenant_id == run_inputs.c.tenant_id, flows.c.current_run_id == run_inputs.c.run_id))
        .join(consumed, and_(consumed.c.tenant_id == run_inputs.c.tenant_id, consumed.c.id == run_inputs.c.version_id))
        .where(run_inputs.c.tenant_id == tx.tenant_id, flows.c.archived_at.is_(None))
        .group_by(run_inputs.c.upstream_flow_id)
        .subquery()
    )
    query = (
        select(versions.c.flow_id, versions.c.number, versions.c.changed_from, versions.c.changed_columns)
        .join(oldest, oldest.c.upstream_flow_id == versions.c.flow_id)
        .where(versions.c.tenant_id == tx.tenant_id, versions.c.number > oldest.c.number)
        .order_by(versions.c.flow_id, versions.c.number)
    )
    found: dict[uuid.UUID, list[Change]] = {}
    for row in tx.conn.execute(query):
        found.setdefault(row.flow_id, []).append(
            Change(number=row.number, changed_from=row.changed_from, columns=tuple(row.changed_columns or ()))
        )
    return found
