"""Freshness as the ledger stores it: settled when something changes, read everywhere, never believed over the clock.

What is stored of a flow says how far it is stale by itself and how far because of its upstreams. Whoever changes what
decides this (a completion, an apply, the clock) settles the flows concerned under the graph lock; what follows
downstream is done by the database, one statement for each step away, and stops where nothing changes.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Date,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from optaic.domain.freshness import (
    CLOCK_CAUSES,
    NEVER,
    Cause,
    CauseKind,
    FlowFacts,
    FlowState,
    blocking_causes,
    decide,
    evaluate,
    upstream_first,
)
from optaic.domain.status import Freshness
from optaic.ledger.columns import among, among_given, db_now, given_ids
from optaic.ledger.session import Transaction
from optaic.ledger.state import database_clock, load_facts, sync_edges
from optaic.ledger.tables import flow_inputs, flows


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What settling some flows changed.

    Attributes
    ----------
    own
        Of the flows that were asked about and changed: freshness before and after.
    downstream
        Flows downstream that changed, with their freshness after; some only in how far they are stale.
    """

    own: Mapping[uuid.UUID, tuple[Freshness, Freshness]]
    downstream: Mapping[uuid.UUID, Freshness]


def states(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, FlowState]:
    """Read whether some flows are ready, and if not, why: a constant number of statements, however many upstreams.

    Nothing is written. What time has changed since the cache was settled is taken into account.
    """
    return with_upstreams(tx, flow_ids)[1]


def with_upstreams(
    tx: Transaction, flow_ids: Collection[uuid.UUID]
) -> tuple[list[FlowFacts], dict[uuid.UUID, FlowState], dict[uuid.UUID, FlowState]]:
    """Read the facts of some flows, their states, and the states of what they read (without causes)."""
    facts = load_facts(tx, flow_ids)
    now = database_clock(tx)
    upstreams = _upstream_states(tx, facts, now)
    return facts, {flow.id: decide(flow, upstreams, now) for flow in facts}, upstreams


def blockers(tx: Transaction, flow_id: uuid.UUID) -> list[tuple[Cause, FlowState]]:
    """Read which upstreams a run of a flow may not read now, each with its state and causes."""
    facts, _, upstreams = with_upstreams(tx, [flow_id])
    found = [cause for flow in facts for cause in blocking_causes(flow, upstreams)]
    if not found:
        return []
    explained = states(tx, {cause.upstream_id for cause in found if cause.upstream_id is not None})
    return [(cause, explained[cause.upstream_id]) for cause in found if cause.upstream_id is not None]


def _upstream_states(tx: Transaction, facts: Collection[FlowFacts], now: dt.datetime) -> dict[uuid.UUID, FlowState]:
    """Read the states of what some flows read: as they are stored, unless the clock has overtaken that."""
    known: dict[uuid.UUID, FlowState] = {}
    late = late_flows(tx)
    if late:
        reached = set(tx.conn.execute(_downstream(tx, late)).scalars())
        known = _decide_all(tx, load_facts(tx, reached), now)
    return _cached(tx, {edge.upstream_id for flow in facts for edge in flow.edges} - known.keys()) | known


def all_states(tx: Transaction) -> tuple[list[FlowFacts], dict[uuid.UUID, FlowState]]:
    """Read the facts and the freshness of every live flow, decided anew: a constant number of statements."""
    facts = load_facts(tx)
    return facts, evaluate(facts, database_clock(tx))


def late_flows(tx: Transaction) -> list[uuid.UUID]:
    """Read the flows whose data are due by now, which the cache does not know yet."""
    query = select(flows.c.id).where(
        flows.c.tenant_id == tx.tenant_id,
        flows.c.is_overdue == 0,
        flows.c.current_run_id.is_not(None),
        flows.c.ready_until <= db_now(),
        flows.c.archived_at.is_(None),
    )
    return list(tx.conn.execute(query).scalars())


def settle(tx: Transaction, flow_ids: Iterable[uuid.UUID]) -> Settled:
    """Bring the cache to the truth for some flows and for everything downstream of them.

    The caller holds the graph lock. Flows whose time has come are settled too.
    """
    wanted = {*flow_ids, *late_flows(tx)}
    if not wanted:
        return Settled(own={}, downstream={})
    sync_edges(tx, wanted)
    facts = load_facts(tx, wanted)
    before = _stored(tx, wanted)
    after = _decide_all(tx, facts, database_clock(tx))
    changed = {flow_id: state for flow_id, state in after.items() if _row(state) != before[flow_id]}
    _store(tx, changed)
    earlier: dict[dt.date, list[uuid.UUID]] = {}
    later: list[uuid.UUID] = []
    for flow_id, state in changed.items():
        blocked_from = _state(before[flow_id]).blocks_from
        if state.blocks_from < blocked_from:
            earlier.setdefault(state.blocks_from, []).append(flow_id)
        elif state.blocks_from > blocked_from:
            later.append(flow_id)
    downstream: dict[uuid.UUID, Freshness] = {}
    # The earliest date first: what it has reached, the later ones do not walk through again.
    for since, seeds in sorted(earlier.items()):
        downstream |= _execute(tx, _spread(tx.is_postgresql), seeds, since=since)
    # What became ready again may be stale for another reason, from another date: that is decided flow by flow.
    frontier: Collection[uuid.UUID] = later
    while frontier:
        step = _execute(tx, _inherit(tx.is_postgresql), frontier)
        downstream |= step
        frontier = step.keys()
    own = {
        flow_id: (Freshness(before[flow_id].freshness), downstream.pop(flow_id, state.freshness))
        for flow_id, state in changed.items()
    }
    return Settled(own=own, downstream=downstream)


def _decide_all(tx: Transaction, facts: Collection[FlowFacts], now: dt.datetime) -> dict[uuid.UUID, FlowState]:
    """Decide some flows, upstreams first; what they read beyond them is taken from the cache."""
    by_id = {flow.id: flow for flow in facts}
    upstreams = {flow.id: [edge.upstream_id for edge in flow.edges] for flow in facts}
    known = _cached(tx, {one for ids in upstreams.values() for one in ids} - by_id.keys())
    decided: dict[uuid.UUID, FlowState] = {}
    for flow_id in upstream_first(upstreams):
        decided[flow_id] = known[flow_id] = decide(by_id[flow_id], known, now)
    return decided


class _Row(NamedTuple):
    """What is stored of a flow."""

    freshness: str
    own_stale_from: dt.date
    own_blocks_from: dt.date
    inherited_stale_from: dt.date
    is_delayed: int
    is_overdue: int


def _stored(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, _Row]:
    if not flow_ids:
        return {}
    query = select(flows.c.id, *(flows.c[name] for name in _Row._fields)).where(
        flows.c.tenant_id == tx.tenant_id, among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql)
    )
    return {row.id: _Row(*row[1:]) for row in tx.conn.execute(query)}


def _cached(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, FlowState]:
    """Read the states of some flows as they are stored: without causes."""
    return {flow_id: _state(row) for flow_id, row in _stored(tx, flow_ids).items()}


def _state(row: _Row) -> FlowState:
    return FlowState(
        freshness=Freshness(row.freshness),
        own_from=row.own_stale_from,
        own_blocks_from=row.own_blocks_from,
        inherited_from=row.inherited_stale_from,
    )


def _row(state: FlowState) -> _Row:
    own = [cause.kind for cause in state.causes if cause.kind is not CauseKind.UPSTREAM_NOT_READY]
    return _Row(
        freshness=state.freshness.value,
        own_stale_from=state.own_from,
        own_blocks_from=state.own_blocks_from,
        inherited_stale_from=state.inherited_from,
        is_delayed=int(own == [CauseKind.SOURCE_DELAYED]),
        is_overdue=int(bool(CLOCK_CAUSES.intersection(own))),
    )


def _store(tx: Transaction, changed: Mapping[uuid.UUID, FlowState]) -> None:
    if changed:
        tx.conn.execute(
            update(flows)
            .where(flows.c.tenant_id == tx.tenant_id, flows.c.id == bindparam("flow"))
            .values({name: bindparam(f"new_{name}") for name in _Row._fields}),
            [
                {"flow": flow_id, **{f"new_{name}": value for name, value in _row(state)._asdict().items()}}
                for flow_id, state in changed.items()
            ],
        )


def _earlier(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((one < other, one), else_=other)


def _execute(
    tx: Transaction, statement: ReturningUpdate[Any], flow_ids: Collection[uuid.UUID], **values: Any
) -> dict[uuid.UUID, Freshness]:
    given = {"tenant": tx.tenant_id, "ids": given_ids(flow_ids, is_postgresql=tx.is_postgresql), **values}
    rows = tx.conn.execute(statement, given)
    return {flow_id: _FRESHNESS[freshness] for flow_id, freshness in rows.tuples()}


_FRESHNESS = {freshness.value: freshness for freshness in Freshness}


# Building a statement takes longer than sending it, so those of every step are built once.
@cache
def _spread(is_postgresql: bool) -> ReturningUpdate[Any]:  # noqa: FBT001 - the key of a cache
    """Give the statement that carries a date downstream from some flows that became stale from that date.

    It stops at flows whose readers know of that date, or an earlier one, already.
    """
    tenant, since = bindparam("tenant", type_=Integer()), bindparam("since", type_=Date())
    followed = and_(
        flow_inputs.c.tenant_id == tenant,
        flow_inputs.c.ended_at.is_(None),
        flow_inputs.c.selector == "current",
        flow_inputs.c.is_read == 1,
        flow_inputs.c.read_until >= since,
    )
    direct = select(flow_inputs.c.flow_id).where(
        followed, among_given(flow_inputs.c.upstream_flow_id, is_postgresql=is_postgresql)
    )
    reached = direct.cte("reached", recursive=True)
    passed = flows.alias("passed")
    reached = reached.union(
        select(flow_inputs.c.flow_id)
        .select_from(reached)
        .join(
            passed,
            and_(
                passed.c.tenant_id == tenant,
                passed.c.id == reached.c.flow_id,
                passed.c.own_blocks_from > since,
                passed.c.inherited_stale_from > since,
            ),
        )
        .join(flow_inputs, and_(followed, flow_inputs.c.upstream_flow_id == reached.c.flow_id))
    )
    freshness = case((flows.c.current_run_id.is_(None), Freshness.NOT_INITIALIZED.value), else_=Freshness.STALE.value)
    return (
        update(flows)
        .where(
            flows.c.tenant_id == tenant,
            flows.c.id.in_(select(reached.c.flow_id)),
            flows.c.inherited_stale_from > since,
        )
        .values(inherited_stale_from=since, freshness=freshness)
        .returning(flows.c.id, flows.c.freshness)
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
    blocks_from = _earlier(upstream.c.own_blocks_from, upstream.c.inherited_stale_from)
    reaches = and_(flow_inputs.c.is_read == 1, blocks_from <= flow_inputs.c.read_until)
    inherited = (
        select(
            flow_inputs.c.flow_id,
            func.min(case((reaches, blocks_from), else_=literal(NEVER))).label("since"),
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
    freshness = case(
        (flows.c.current_run_id.is_(None), Freshness.NOT_INITIALIZED.value),
        (inherited.c.since < NEVER, Freshness.STALE.value),
        (flows.c.is_delayed == 1, Freshness.STALE_SOURCE_DELAYED.value),
        (flows.c.own_stale_from < NEVER, Freshness.STALE.value),
        else_=Freshness.READY.value,
    )
    return (
        update(flows)
        .where(
            flows.c.tenant_id == tenant,
            flows.c.id == inherited.c.flow_id,
            flows.c.inherited_stale_from != inherited.c.since,
        )
        .values(inherited_stale_from=inherited.c.since, freshness=freshness)
        .returning(flows.c.id, flows.c.freshness)
    )


def _downstream(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> Select[Any]:
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
