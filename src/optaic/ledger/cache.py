"""What is stored of the freshness of flows, and what follows from it alone: an answer that reads no facts."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, String, and_, bindparam, select, type_coerce

from optaic.domain.freshness import NEVER, Cause, FlowState, blocked_by
from optaic.domain.kind import target_name
from optaic.domain.status import Freshness
from optaic.ledger.columns import among_given, given_ids
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flow_inputs, flows, instances

_TENANT = bindparam("tenant", type_=Integer())


class Stored(NamedTuple):
    """What is stored of a flow: the cache of its freshness. The fields are columns of `flows`."""

    freshness: str
    own_stale_from: dt.date
    own_blocks_from: dt.date
    inherited_stale_from: dt.date
    is_delayed: int
    is_overdue: int

    def to_state(self) -> FlowState:
        """Give the state that it says, without causes."""
        return FlowState(
            freshness=Freshness(self.freshness),
            own_from=self.own_stale_from,
            own_blocks_from=self.own_blocks_from,
            inherited_from=self.inherited_stale_from,
        )


def stored_of(table: Any) -> list[ColumnElement[Any]]:
    """List the columns of the cache, as the last of a row; `Stored` takes them."""
    return [table.c[name] for name in Stored._fields]


def stored(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Stored]:
    """Read what is stored of some flows, of those that are live."""
    if not flow_ids:
        return {}
    given = {"tenant": tx.tenant_id, "ids": given_ids(flow_ids, is_postgresql=tx.is_postgresql)}
    rows = tx.conn.execute(_stored(tx.is_postgresql), given).all()
    return {row[0]: Stored(*row[1:]) for row in rows}


@cache
def _stored(is_postgresql: bool) -> Select[Any]:  # noqa: FBT001 - the key of a cache
    return select(flows.c.id, *stored_of(flows)).where(
        flows.c.tenant_id == _TENANT,
        flows.c.archived_at.is_(None),
        among_given(flows.c.id, is_postgresql=is_postgresql),
    )


def inherited_causes(
    tx: Transaction, flow_ids: Collection[uuid.UUID], known: Mapping[uuid.UUID, FlowState]
) -> dict[uuid.UUID, list[Cause]]:
    """Read which upstreams make some flows stale, from what is stored: two statements.

    Parameters
    ----------
    tx
        A transaction.
    flow_ids
        The flows.
    known
        States of upstreams that are known better than they are stored.
    """
    if not flow_ids:
        return {}
    given = {"tenant": tx.tenant_id, "ids": given_ids(flow_ids, is_postgresql=tx.is_postgresql)}
    edges = tx.conn.execute(_followed(tx.is_postgresql), given).tuples().all()
    upstreams = {edge[1] for edge in edges}
    given["ids"] = list(upstreams) if tx.is_postgresql else json.dumps(list(upstreams))
    causes: dict[Any, Cause] = {}
    for row in tx.conn.execute(_upstreams(tx.is_postgresql), given).all():
        found = known.get(row[0]) or Stored(*row[4:]).to_state()
        if found.blocks_from != NEVER:
            key = row[0] if tx.is_postgresql else row[0].hex
            causes[key] = blocked_by(row[0], target_name(row[1], row[2], row[3]), found)
    by_flow: dict[Any, list[Cause]] = {}
    for flow_id, upstream_id, until in edges:
        cause = causes.get(upstream_id)
        if cause is not None and cause.stale_from <= until:
            by_flow.setdefault(flow_id, []).append(cause)
    return by_flow if tx.is_postgresql else {uuid.UUID(flow_id): found for flow_id, found in by_flow.items()}


@cache
def _followed(is_postgresql: bool) -> Select[Any]:  # noqa: FBT001 - the key of a cache
    """Give the query of the edges over which some flows are stale if their upstreams are; SQLite's ids as text."""
    ids = [flow_inputs.c.flow_id, flow_inputs.c.upstream_flow_id]
    return (
        select(*(ids if is_postgresql else [type_coerce(one, String()) for one in ids]), flow_inputs.c.read_until)
        .where(
            flow_inputs.c.tenant_id == _TENANT,
            flow_inputs.c.ended_at.is_(None),
            flow_inputs.c.selector == "current",
            flow_inputs.c.is_read == 1,
            among_given(flow_inputs.c.flow_id, is_postgresql=is_postgresql),
        )
        .order_by(flow_inputs.c.flow_id, flow_inputs.c.position)
    )


@cache
def _upstreams(is_postgresql: bool) -> Select[Any]:  # noqa: FBT001 - the key of a cache
    """Give the query of some flows by name, with what is stored of them."""
    return (
        select(flows.c.id, instances.c.name, instances.c.kind, flows.c.kind, *stored_of(flows))
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .where(flows.c.tenant_id == _TENANT, among_given(flows.c.id, is_postgresql=is_postgresql))
    )
