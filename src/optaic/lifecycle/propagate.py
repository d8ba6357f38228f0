"""Propagate: what a change makes stale or ready downstream, in the transaction of the change."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Integer, Uuid, bindparam, select

from optaic.domain.identifier import new_id
from optaic.domain.principal import SYSTEM_ID
from optaic.ledger import activities, freshness
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.tables import flow_inputs


def readers_of(tx: Transaction, flow_id: uuid.UUID) -> list[uuid.UUID]:
    """Read which flows read a flow directly."""
    return list(tx.conn.execute(_READERS, {"tenant": tx.tenant_id, "flow": flow_id}).scalars())


_READERS = (
    select(flow_inputs.c.flow_id)
    .where(
        flow_inputs.c.tenant_id == bindparam("tenant", type_=Integer()),
        flow_inputs.c.upstream_flow_id == bindparam("flow", type_=Uuid()),
        flow_inputs.c.ended_at.is_(None),
    )
    .distinct()
)


def propagate(
    tx: Transaction, flow_ids: Iterable[uuid.UUID], *, cause: Mapping[str, Any], readers: Iterable[uuid.UUID] = ()
) -> freshness.Settled:
    """Settle some flows and everything downstream, and tell of what changed.

    What follows over edges is told in one activity with its change set, however many flows it reaches.

    Parameters
    ----------
    tx
        The transaction of the change; it holds the graph lock.
    flow_ids
        Whose own facts have changed; each whose freshness differs has an activity of its own.
    cause
        What happened, as JSON: the run, the apply, or the clock.
    readers
        Who reads what has changed: part of what follows.
    """
    changed_ids = set(flow_ids)
    reader_ids = set(readers) - changed_ids
    settled = freshness.settle(tx, changed_ids | reader_ids)
    told: list[tuple[uuid.UUID | str, Mapping[str, Any]]] = [
        (flow_id, {"old_freshness": before, "freshness": after, "cause": dict(cause)})
        for flow_id, (before, after) in settled.own.items()
        if before is not after and flow_id not in reader_ids
    ]
    activities.record_all(tx, "flow.status_changed", told)
    reached = {flow_id: after for flow_id, (_, after) in settled.own.items() if flow_id in reader_ids}
    reached |= settled.downstream
    changed: dict[str, list[str]] = {}
    for flow_id, after in reached.items():
        changed.setdefault(after, []).append(str(flow_id))
    if changed:
        facts = {"cause": dict(cause), "flows": len(reached), "changed": changed}
        activities.record(tx, "lineage.staleness_propagated", str(cause.get("run_id", tx.tenant_id)), facts)
    return settled


def sweep(database: Database) -> int:
    """Settle the flows whose data have become due by the database's clock; give how many there were.

    It only announces: reads compare with the clock themselves.
    """
    with database.read() as tx:
        if not freshness.late_flows(tx):
            return 0
    with database.write(actor_id=SYSTEM_ID, correlation_id=new_id()) as tx:
        lock_graph(tx)
        late = freshness.late_flows(tx)
        propagate(tx, late, cause={"kind": "clock"})
        return len(late)
