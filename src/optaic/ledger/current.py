"""The files that the current versions of datasets are made of."""

from __future__ import annotations

from sqlalchemy import and_, select

from optaic.domain.kind import FlowKind, target_name
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flows, instances, segments, version_segments


def current_segments(tx: Transaction) -> dict[str, tuple[str, FlowKind]]:
    """Read of which flow's current version each segment is a part: target and kind, by key; one statement."""
    query = (
        select(segments.c.storage_key, flows.c.kind, instances.c.name, instances.c.kind.label("instance_kind"))
        .join(
            version_segments,
            and_(version_segments.c.tenant_id == segments.c.tenant_id, version_segments.c.segment_id == segments.c.id),
        )
        .join(
            flows,
            and_(
                flows.c.tenant_id == version_segments.c.tenant_id,
                flows.c.current_version_id == version_segments.c.version_id,
            ),
        )
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .where(segments.c.tenant_id == tx.tenant_id, flows.c.archived_at.is_(None))
    )
    return {
        row.storage_key: (target_name(row.name, row.instance_kind, row.kind), FlowKind(row.kind))
        for row in tx.conn.execute(query)
    }
