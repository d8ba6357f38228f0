"""What is stored of the freshness of flows, and what follows from it alone: an answer that reads no facts."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, String, and_, bindparam, case, select, type_coerce

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

    def to_state(self, causes: tuple[Cause, ...] = ()) -> FlowState:
        """Give the state that it says, with its causes if they are known."""
        return FlowState(
            freshness=FRESHNESS[self.freshness],
            causes=causes,
            own_from=self.own_stale_from,
            own_blocks_from=self.own_blocks_from,
            inherited_from=self.inherited_stale_from,
        )


FRESHNESS = {freshness.value: freshness for freshness in Freshness}
"""By what is stored; thousands are looked up, and a call of the enumeration takes five times as long."""


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


def inherited_causes(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, tuple[Cause, ...]]:
    """Read which upstreams make some flows stale, from what is stored: two statements.

    Readers of one upstream share its cause.
    """
    if not flow_ids:
        return {}
    given = {"tenant": tx.tenant_id, "ids": given_ids(flow_ids, is_postgresql=tx.is_postgresql)}
    ids: dict[Any, uuid.UUID] = {one if tx.is_postgresql else one.hex: one for one in flow_ids}
    edges: dict[Any, list[tuple[Any, dt.date]]] = {}
    # In parts: of many rows that live at once, the collector of garbage takes as long as the reading.
    for part in tx.conn.execute(_followed(tx.is_postgresql), given).tuples().partitions(_PART):
        for flow_id, upstream_id, until in part:
            edges.setdefault(flow_id, []).append((upstream_id, until))
    upstreams = list({upstream_id for reads in edges.values() for upstream_id, _ in reads})
    given["ids"] = upstreams if tx.is_postgresql else json.dumps(upstreams)
    causes: dict[Any, Cause] = {}
    for key, instance, instance_kind, kind, freshness, since in tx.conn.execute(_blocking(tx.is_postgresql), given):
        name = target_name(instance, instance_kind, kind)
        causes[key] = blocked_by(ids.get(key) or _as_id(key), name, FRESHNESS[freshness], since)
    found: dict[uuid.UUID, tuple[Cause, ...]] = {}
    for flow_id, reads in edges.items():
        reached = [causes[key] for key, until in reads if key in causes and causes[key].stale_from <= until]
        if reached:
            found[ids[flow_id]] = tuple(reached)
    return found


_PART = 1_000


def _as_id(key: uuid.UUID | str) -> uuid.UUID:
    return key if isinstance(key, uuid.UUID) else uuid.UUID(key)


def _ids(columns: Sequence[ColumnElement[Any]], *, is_postgresql: bool) -> list[ColumnElement[Any]]:
    """Read ids as they are stored: SQLite's as text, for they may be many."""
    return list(columns) if is_postgresql else [type_coerce(one, String()) for one in columns]


@cache
def _followed(is_postgresql: bool) -> Select[Any]:  # noqa: FBT001 - the key of a cache
    """Give the query of the edges over which some flows are stale if their upstreams are."""
    return (
        select(
            *_ids([flow_inputs.c.flow_id, flow_inputs.c.upstream_flow_id], is_postgresql=is_postgresql),
            flow_inputs.c.read_until,
        )
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
def _blocking(is_postgresql: bool) -> Select[Any]:  # noqa: FBT001 - the key of a cache
    """Give the query of those of some flows that block their readers: name, freshness, and from which date."""
    since = blocks_from(flows)
    return (
        select(
            *_ids([flows.c.id], is_postgresql=is_postgresql),
            instances.c.name,
            instances.c.kind,
            flows.c.kind,
            flows.c.freshness,
            since,
        )
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .where(flows.c.tenant_id == _TENANT, since < NEVER, among_given(flows.c.id, is_postgresql=is_postgresql))
    )


def blocks_from(table: Any) -> ColumnElement[dt.date]:
    """Give from which date a flow blocks its readers, of a table of flows."""
    own, inherited = table.c.own_blocks_from, table.c.inherited_stale_from
    return case((own < inherited, own), else_=inherited)
