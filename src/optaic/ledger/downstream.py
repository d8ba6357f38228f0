"""What settled flows change downstream: done by the database, in statements over sets, without reading any facts.

Planners guess badly here: they take a step of a walk for a large part of the graph, and read whole tables to be ready
for it. Both databases are told that a step is small, so that each edge and each flow is found through its index.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from optaic.domain.freshness import NEVER
from optaic.domain.status import Freshness
from optaic.ledger.cache import FRESHNESS, blocks_from
from optaic.ledger.columns import among, among_given, given_ids
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flow_inputs, flows

FEW = 1_000
"""Until so many flows have changed they are worked out step by step: most often it ends after one or two."""

MANY = 20_000
"""From so many flows on, one look at all flows is cheaper than looking at what each of them reads."""


def spread(tx: Transaction, sources: Mapping[dt.date, Collection[uuid.UUID]]) -> dict[uuid.UUID, Freshness]:
    """Carry dates downstream from flows that became stale: one statement for each date.

    It stops at flows whose readers know of that date, or an earlier one, already.

    Parameters
    ----------
    tx
        A transaction.
    sources
        The flows that became stale, by the date from which they are.

    Returns
    -------
    dict
        Those that are stale from an earlier date now, with their freshness after.
    """
    found: dict[uuid.UUID, Freshness] = {}
    # The earliest date first: what it has reached, the later ones do not walk through again.
    for since, flow_ids in sorted(sources.items()):
        found |= _execute(tx, _spread(tx.is_postgresql), flow_ids, since=since)
    return found


def inherit(tx: Transaction, flow_ids: Collection[uuid.UUID], dates: Collection[dt.date]) -> dict[uuid.UUID, Freshness]:
    """Work out anew how far what is downstream of some flows is stale, when these no longer are, or from a later date.

    What is no longer stale because of one upstream may be because of another, from another date, and that is not known
    before all of them are. So at first it is one statement for each step away, which goes on only from flows that have
    changed. When many have, most of what is further down will change too. It is taken for ready then, all of it
    at once, and from what still blocks the dates are carried downstream again.

    Parameters
    ----------
    tx
        A transaction.
    flow_ids
        The flows that block their readers less than before.
    dates
        From which event dates these blocked, or others that have just changed.

    Returns
    -------
    dict
        Those that have changed, with their freshness after.
    """
    found: dict[uuid.UUID, Freshness] = {}
    frontier: Collection[uuid.UUID] = flow_ids
    while frontier and len(found) <= FEW:
        step = _execute(tx, _inherit(tx.is_postgresql), frontier)
        found |= step
        frontier = step.keys()
    if not frontier:
        return found
    released: dict[dt.date, dict[uuid.UUID, Freshness]] = {}
    for since in sorted(dates):
        released[since] = _execute(tx, _release(tx.is_postgresql), frontier, since=since)
    before = found.copy()
    for changed in released.values():
        found |= changed
    for since, blocking in sorted(_blocking(tx, found.keys() - before.keys()).items()):
        for flow_id, freshness in _execute(tx, _spread(tx.is_postgresql), blocking, since=since).items():
            if flow_id in released.get(since, ()) and flow_id not in before:
                del found[flow_id]  # it is as it was
            else:
                found[flow_id] = freshness
    return found


def _blocking(tx: Transaction, released: Collection[uuid.UUID]) -> dict[dt.date, list[uuid.UUID]]:
    """Read which flows block readers that do not know of it, by the date from which they do.

    Parameters
    ----------
    tx
        A transaction.
    released
        The only flows that may not know of it.
    """
    if not released:
        return {}
    given: dict[str, Any] = {"tenant": tx.tenant_id}
    is_some = len(released) < MANY
    if is_some:
        given["ids"] = given_ids(released, is_postgresql=tx.is_postgresql)
    found: dict[dt.date, list[uuid.UUID]] = {}
    for flow_id, since in tx.conn.execute(_unknown(tx.is_postgresql, is_some), given).tuples():
        found.setdefault(since, []).append(flow_id)
    return found


def reached_from(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> Select[Any]:
    """Give the query of some flows and everything downstream of them."""
    reached = (
        select(flows.c.id)
        .where(flows.c.tenant_id == tx.tenant_id, among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql))
        .cte("reached", recursive=True)
    )
    reached = reached.union(
        select(flow_inputs.c.flow_id).where(
            flow_inputs.c.tenant_id == tx.tenant_id,
            flow_inputs.c.upstream_flow_id == reached.c.id,
            flow_inputs.c.ended_at.is_(None),
            flow_inputs.c.selector == "current",
        )
    )
    return select(reached.c.id)


def _is_rare(condition: ColumnElement[bool], *, is_postgresql: bool) -> ColumnElement[Any]:
    """Tell SQLite that few rows meet a condition: else it takes a step of a walk for a million flows."""
    return condition if is_postgresql else func.likelihood(condition, text("0.0001"))


def _freshness(inherited: ColumnElement[dt.date]) -> ColumnElement[str]:
    """Give the freshness of a flow that is stale from a date because of its upstreams."""
    return case(
        (flows.c.current_run_id.is_(None), Freshness.NOT_INITIALIZED.value),
        (inherited < NEVER, Freshness.STALE.value),
        (flows.c.is_delayed == 1, Freshness.STALE_SOURCE_DELAYED.value),
        (flows.c.own_stale_from < NEVER, Freshness.STALE.value),
        else_=Freshness.READY.value,
    )


def _execute(
    tx: Transaction, statement: ReturningUpdate[Any], flow_ids: Collection[uuid.UUID], **values: Any
) -> dict[uuid.UUID, Freshness]:
    given = {"tenant": tx.tenant_id, "ids": given_ids(flow_ids, is_postgresql=tx.is_postgresql), **values}
    rows = tx.conn.execute(statement, given).tuples().all()
    if tx.is_postgresql:
        return {flow_id: FRESHNESS[freshness] for flow_id, freshness in rows}
    return {uuid.UUID(int=int(flow_id, 16)): FRESHNESS[freshness] for flow_id, freshness in rows}


def _changed(*, is_postgresql: bool) -> list[ColumnElement[Any]]:
    """List what is returned of the flows that a statement changed; SQLite's ids as text, for they may be many."""
    return [flows.c.id if is_postgresql else type_coerce(flows.c.id, String()), flows.c.freshness]


def _followed(tenant: ColumnElement[int]) -> list[ColumnElement[bool]]:
    """List the conditions on edges over which staleness goes downstream, apart from the date until which they read."""
    return [
        flow_inputs.c.tenant_id == tenant,
        flow_inputs.c.ended_at.is_(None),
        flow_inputs.c.selector == "current",
        flow_inputs.c.is_read == 1,
    ]


# Building a statement takes longer than sending it, so those of every step are built once.
@cache
def _spread(is_postgresql: bool) -> ReturningUpdate[Any]:  # noqa: FBT001 - the key of a cache
    """Give the statement that makes what is downstream of some flows stale from a date, unless it is from an earlier.

    It does not walk through flows that block from that date, or an earlier one, anyway.
    """
    since = bindparam("since", type_=Date())
    freshness = case((flows.c.current_run_id.is_(None), Freshness.NOT_INITIALIZED.value), else_=Freshness.STALE.value)
    return _walk(
        lambda table: table.c.inherited_stale_from > since,
        {"inherited_stale_from": since, "freshness": freshness},
        is_postgresql=is_postgresql,
    )


@cache
def _release(is_postgresql: bool) -> ReturningUpdate[Any]:  # noqa: FBT001 - the key of a cache
    """Give the statement that takes what is downstream of some flows for no longer stale because of a date.

    It changes flows that are stale from that very date because of an upstream, and walks through those of them that do
    not block from it by themselves.
    """
    since = bindparam("since", type_=Date())
    return _walk(
        lambda table: table.c.inherited_stale_from == since,
        {"inherited_stale_from": literal(NEVER, Date()), "freshness": _freshness(literal(NEVER, Date()))},
        is_postgresql=is_postgresql,
    )


def _walk(
    is_met: Callable[[Any], ColumnElement[bool]], values: Mapping[str, Any], *, is_postgresql: bool
) -> ReturningUpdate[Any]:
    """Give the statement that changes what meets a condition downstream of given flows, over edges that reach `since`.

    It walks through flows that meet it and do not block by themselves from that date or an earlier one.
    """
    tenant, since = bindparam("tenant", type_=Integer()), bindparam("since", type_=Date())
    followed = and_(*_followed(tenant), flow_inputs.c.read_until >= since)
    direct = select(flow_inputs.c.flow_id).where(
        followed, among_given(flow_inputs.c.upstream_flow_id, is_postgresql=is_postgresql)
    )
    reached = direct.cte("reached", recursive=True)
    passed = flows.alias("passed")
    reached = reached.union(
        select(flow_inputs.c.flow_id)
        .select_from(reached)
        .where(_is_rare(reached.c.flow_id.is_not(None), is_postgresql=is_postgresql))
        .join(
            passed,
            and_(
                passed.c.tenant_id == tenant,
                passed.c.id == reached.c.flow_id,
                passed.c.own_blocks_from > since,
                is_met(passed),
            ),
        )
        .join(flow_inputs, and_(followed, flow_inputs.c.upstream_flow_id == reached.c.flow_id))
    )
    return (
        update(flows)
        .where(flows.c.tenant_id == tenant, flows.c.id.in_(select(reached.c.flow_id)), is_met(flows))
        .values(values)
        .returning(*_changed(is_postgresql=is_postgresql))
    )


@cache
def _unknown(is_postgresql: bool, is_some: bool) -> Select[Any]:  # noqa: FBT001 - the key of a cache
    """Give the query of flows, with the date from which they block, that a reader does not know of; of given readers,
    or of all.
    """
    tenant, reader = bindparam("tenant", type_=Integer()), flows.alias("reader")
    since = blocks_from(flows)
    blocks: ColumnElement[Any] = or_(flows.c.own_blocks_from < NEVER, flows.c.inherited_stale_from < NEVER)
    if is_some:
        some = [among_given(flow_inputs.c.flow_id, is_postgresql=is_postgresql)]
    else:
        some = []
        blocks = _is_rare(blocks, is_postgresql=is_postgresql)  # begin with the flows that block, not with all edges
    return (
        select(flows.c.id, since)
        .join(
            flow_inputs,
            and_(flow_inputs.c.tenant_id == flows.c.tenant_id, flow_inputs.c.upstream_flow_id == flows.c.id),
        )
        .join(reader, and_(reader.c.tenant_id == flow_inputs.c.tenant_id, reader.c.id == flow_inputs.c.flow_id))
        .where(
            flows.c.tenant_id == tenant,
            blocks,
            *_followed(tenant),
            flow_inputs.c.read_until >= since,
            reader.c.inherited_stale_from > since,
            *some,
        )
        .distinct()
    )


@cache
def _inherit(is_postgresql: bool) -> ReturningUpdate[Any]:  # noqa: FBT001 - the key of a cache
    """Give the statement that works out anew how far the readers of some flows are stale because of their upstreams.

    It changes, and returns, only those for which this is now another date.
    """
    tenant = bindparam("tenant", type_=Integer())
    one_step = flow_inputs.alias("one_step")
    readers = select(one_step.c.flow_id).where(
        one_step.c.tenant_id == tenant,
        one_step.c.ended_at.is_(None),
        one_step.c.selector == "current",
        among_given(one_step.c.upstream_flow_id, is_postgresql=is_postgresql),
    )
    upstream = flows.alias("upstream")
    since = blocks_from(upstream)
    reaches = and_(flow_inputs.c.is_read == 1, since <= flow_inputs.c.read_until)
    inherited = (
        select(
            flow_inputs.c.flow_id,
            func.min(case((reaches, since), else_=literal(NEVER))).label("since"),
        )
        .join(
            upstream,
            and_(upstream.c.tenant_id == flow_inputs.c.tenant_id, upstream.c.id == flow_inputs.c.upstream_flow_id),
        )
        .where(
            flow_inputs.c.tenant_id == tenant,
            flow_inputs.c.ended_at.is_(None),
            flow_inputs.c.selector == "current",
            flow_inputs.c.flow_id.in_(readers),
        )
        .group_by(flow_inputs.c.flow_id)
        .subquery()
    )
    return (
        update(flows)
        .where(
            flows.c.tenant_id == tenant,
            flows.c.id == inherited.c.flow_id,
            flows.c.inherited_stale_from != inherited.c.since,
        )
        .values(inherited_stale_from=inherited.c.since, freshness=_freshness(inherited.c.since))
        .returning(*_changed(is_postgresql=is_postgresql))
    )
