"""What flows select of their upstreams and is not there."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import and_, func, select

from optaic.domain.freshness import Cause
from optaic.domain.kind import target_name
from optaic.domain.selector import lacks_version
from optaic.ledger.columns import among
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flow_inputs, flows, instances, versions


def lacking(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[Cause]]:
    """Read which versions some flows select by number and are not there, by flow: one statement."""
    if not flow_ids:
        return {}
    upstream = flows.alias("upstream")
    last = (
        select(func.max(versions.c.number))
        .where(versions.c.tenant_id == tx.tenant_id, versions.c.flow_id == flow_inputs.c.upstream_flow_id)
        .correlate(flow_inputs)
        .scalar_subquery()
    )
    query = (
        select(
            flow_inputs.c.flow_id,
            flow_inputs.c.upstream_flow_id,
            flow_inputs.c.selector_version,
            upstream.c.kind,
            instances.c.name,
            instances.c.kind.label("instance_kind"),
            last.label("last"),
        )
        .join(
            upstream,
            and_(upstream.c.tenant_id == flow_inputs.c.tenant_id, upstream.c.id == flow_inputs.c.upstream_flow_id),
        )
        .join(instances, and_(instances.c.tenant_id == upstream.c.tenant_id, instances.c.id == upstream.c.instance_id))
        .where(
            flow_inputs.c.tenant_id == tx.tenant_id,
            flow_inputs.c.ended_at.is_(None),
            flow_inputs.c.selector == "version",
            among(flow_inputs.c.flow_id, flow_ids, is_postgresql=tx.is_postgresql),
        )
        .order_by(flow_inputs.c.flow_id, flow_inputs.c.position)
    )
    found: dict[uuid.UUID, list[Cause]] = {}
    for row in tx.conn.execute(query):
        if row.last is None or row.selector_version > row.last:
            cause = lacks_version(
                upstream_id=row.upstream_flow_id,
                upstream=target_name(row.name, row.instance_kind, row.kind),
                number=row.selector_version,
                last=row.last,
            )
            found.setdefault(row.flow_id, []).append(cause)
    return found
