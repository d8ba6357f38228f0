"""Freshness as the ledger stores it: settled when something changes, read everywhere, never believed over the clock.

What is stored of a flow says how far it is stale by itself and how far because of its upstreams. Whoever changes what
decides this (a completion, an apply, the clock) settles the flows concerned under the graph lock; what follows
downstream is done by the database, one statement for each step away, and stops where nothing changes.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Integer, bindparam, literal_column, select, update

from optaic.domain.freshness import (
    CLOCK_CAUSES,
    HAS_NEVER_RUN,
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
from optaic.ledger import cache, downstream, selected, state
from optaic.ledger.cache import Stored
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flows


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
    return explained(tx, cache.stored(tx, flow_ids))


def explained(tx: Transaction, stored: Mapping[uuid.UUID, Stored]) -> dict[uuid.UUID, FlowState]:
    """Read the same of flows whose cache has been read.

    Facts are read only of flows that something but an upstream has made stale: that a flow has never run, and which
    upstreams make it stale, is all in the cache.
    """
    known = _decided_below(tx, late_flows(tx))
    found: dict[uuid.UUID, FlowState] = {}
    own: dict[uuid.UUID, tuple[Cause, ...]] = {}
    unclear: list[uuid.UUID] = []
    for flow_id, row in stored.items():
        if flow_id in known:
            found[flow_id] = known[flow_id]
        elif row.freshness == Freshness.READY:
            found[flow_id] = _READY
        elif row.freshness == Freshness.NOT_INITIALIZED:
            own[flow_id] = (HAS_NEVER_RUN,)
        elif row.own_stale_from == NEVER:
            own[flow_id] = ()
        else:
            unclear.append(flow_id)
    # What is downstream of a flow whose time has come is known as well; so what the others read is as it is stored.
    inherited = cache.inherited_causes(tx, own)
    for flow_id, causes in own.items():
        if flow_id in inherited or causes:
            found[flow_id] = stored[flow_id].to_state((*causes, *inherited.get(flow_id, ())))
        else:
            unclear.append(flow_id)
    loaded = state.load(tx, unclear)
    if loaded.now is not None:
        upstreams = {**loaded.upstreams, **known}
        found |= {flow.id: decide(flow, upstreams, loaded.now) for flow in loaded.facts}
    # What lacks a version that it selects is not ready for another reason as well: it has never read that version.
    unready = [flow_id for flow_id, known_state in found.items() if known_state.freshness is not Freshness.READY]
    for flow_id, causes in selected.lacking(tx, unready).items():
        found[flow_id] = replace(found[flow_id], causes=(*found[flow_id].causes, *causes))
    return found


_READY = FlowState(freshness=Freshness.READY)


def with_upstreams(
    tx: Transaction, flow_ids: Collection[uuid.UUID]
) -> tuple[list[FlowFacts], dict[uuid.UUID, FlowState], dict[uuid.UUID, FlowState]]:
    """Read the facts of some flows, their states, and the states of what they read (without causes)."""
    late = late_flows(tx)
    loaded = state.load(tx, flow_ids)
    upstreams = {**loaded.upstreams, **_decided_below(tx, late)}
    now = loaded.now
    decided = {} if now is None else {flow.id: decide(flow, upstreams, now) for flow in loaded.facts}
    return loaded.facts, decided, upstreams


def blockers(tx: Transaction, flow_id: uuid.UUID) -> list[tuple[Cause, FlowState]]:
    """Read which upstreams a run of a flow may not read now, each with its state and causes."""
    facts, _, upstreams = with_upstreams(tx, [flow_id])
    found = [cause for flow in facts for cause in blocking_causes(flow, upstreams)]
    if not found:
        return []
    explained = states(tx, {cause.upstream_id for cause in found if cause.upstream_id is not None})
    return [(cause, explained[cause.upstream_id]) for cause in found if cause.upstream_id is not None]


def _decided_below(tx: Transaction, late: Collection[uuid.UUID]) -> dict[uuid.UUID, FlowState]:
    """Decide the flows whose time has come and those downstream of them: there the clock has overtaken the cache."""
    if not late:
        return {}
    loaded = state.load(tx, set(tx.conn.execute(downstream.reached_from(tx, late)).scalars()))
    return {} if loaded.now is None else _decide_all(loaded.facts, loaded.upstreams, loaded.now)


def all_states(tx: Transaction) -> tuple[list[FlowFacts], dict[uuid.UUID, FlowState]]:
    """Read the facts and the freshness of every live flow, decided anew: a constant number of statements."""
    facts = state.load_facts(tx)
    return facts, evaluate(facts, state.database_clock(tx))


def late_flows(tx: Transaction) -> list[uuid.UUID]:
    """Read the flows whose data are due by now, which the cache does not know yet."""
    return list(tx.conn.execute(_LATE, {"tenant": tx.tenant_id}).scalars())


_LATE = select(flows.c.id).where(
    flows.c.tenant_id == bindparam("tenant", type_=Integer()),
    flows.c.is_overdue == literal_column("0"),  # a parameter would keep PostgreSQL from the index that is for 0 alone
    flows.c.current_run_id.is_not(None),
    flows.c.ready_until <= db_now(),
    flows.c.archived_at.is_(None),
)


def settle(tx: Transaction, flow_ids: Iterable[uuid.UUID]) -> Settled:
    """Bring the cache to the truth for some flows and for everything downstream of them.

    The caller holds the graph lock. Flows whose time has come are settled too.
    """
    loaded = state.load(tx, {*flow_ids, *late_flows(tx)})
    if loaded.now is None:
        return Settled(own={}, downstream={})
    state.sync_edges(tx, loaded.unsynced)
    before = loaded.stored
    after = _decide_all(loaded.facts, loaded.upstreams, loaded.now)
    changed = {flow_id: found for flow_id, found in after.items() if _to_stored(found) != before[flow_id]}
    _store(tx, changed)
    earlier: dict[dt.date, list[uuid.UUID]] = {}
    later: list[uuid.UUID] = []
    dates: set[dt.date] = set()
    for flow_id, found in changed.items():
        blocked_from = before[flow_id].to_state().blocks_from
        dates |= {blocked_from, found.blocks_from}
        if found.blocks_from < blocked_from:
            earlier.setdefault(found.blocks_from, []).append(flow_id)
        elif found.blocks_from > blocked_from:
            later.append(flow_id)
    changed_below = downstream.spread(tx, earlier)
    changed_below |= downstream.inherit(tx, later, dates - {NEVER})
    own = {
        flow_id: (Freshness(before[flow_id].freshness), changed_below.pop(flow_id, found.freshness))
        for flow_id, found in changed.items()
    }
    return Settled(own=own, downstream=changed_below)


def _decide_all(
    facts: Collection[FlowFacts], upstreams: Mapping[uuid.UUID, FlowState], now: dt.datetime
) -> dict[uuid.UUID, FlowState]:
    """Decide some flows, upstreams first; what they read beyond them is taken as given."""
    by_id = {flow.id: flow for flow in facts}
    known = dict(upstreams)
    decided: dict[uuid.UUID, FlowState] = {}
    for flow_id in upstream_first({flow.id: [edge.upstream_id for edge in flow.edges] for flow in facts}):
        decided[flow_id] = known[flow_id] = decide(by_id[flow_id], known, now)
    return decided


def _to_stored(found: FlowState) -> Stored:
    own = [cause.kind for cause in found.causes if cause.kind is not CauseKind.UPSTREAM_NOT_READY]
    return Stored(
        freshness=found.freshness.value,
        own_stale_from=found.own_from,
        own_blocks_from=found.own_blocks_from,
        inherited_stale_from=found.inherited_from,
        is_delayed=int(own == [CauseKind.SOURCE_DELAYED]),
        is_overdue=int(bool(CLOCK_CAUSES.intersection(own))),
    )


def _store(tx: Transaction, changed: Mapping[uuid.UUID, FlowState]) -> None:
    if changed:
        tx.conn.execute(
            _STORE,
            [
                {
                    "tenant": tx.tenant_id,
                    "flow": flow_id,
                    **{f"new_{name}": value for name, value in _to_stored(found)._asdict().items()},
                }
                for flow_id, found in changed.items()
            ],
        )


_STORE = (
    update(flows)
    .where(flows.c.tenant_id == bindparam("tenant", type_=Integer()), flows.c.id == bindparam("flow"))
    .values({name: bindparam(f"new_{name}") for name in Stored._fields})
)
