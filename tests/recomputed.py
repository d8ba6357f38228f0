"""Freshness and plans decided anew, by brute force, and freshness as it is stored: to compare with what is read."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping

import pytest
from sqlalchemy import select

from optaic.domain.freshness import NEVER, FlowFacts, FlowState, blocking_causes, evaluate, upstream_first
from optaic.domain.kind import FlowKind
from optaic.domain.plan import PlanMode, PlannedStep, make_steps
from optaic.domain.status import Freshness
from optaic.ledger import downstream, snapshots
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction
from optaic.ledger.state import database_clock, load_facts
from optaic.ledger.tables import flows
from optaic.overview import statuses

in_each_way = pytest.mark.parametrize(
    ("few", "many"),
    [(downstream.FEW, downstream.MANY), (0, downstream.MANY), (0, 0)],
    ids=["few change", "many change", "most change"],
)
"""What becomes ready is worked out in three ways, by how much there is; each must be right for every graph."""


def by_brute_force(tx: Transaction) -> dict[uuid.UUID, FlowState]:
    return evaluate(load_facts(tx), database_clock(tx))


def overdue(tx: Transaction) -> Collection[uuid.UUID]:
    return set(tx.conn.execute(select(flows.c.id).where(flows.c.ready_until <= db_now())).scalars())


def check_statuses(tx: Transaction, truth: Mapping[uuid.UUID, FlowState]) -> None:
    """Compare what people are told of all flows with their states."""
    said = {flow_id: (item["freshness"], item["causes"]) for flow_id, item in statuses(tx).items()}
    assert said == {
        flow_id: (state.freshness, [cause.to_json() for cause in state.causes]) for flow_id, state in truth.items()
    }


def summary(state: FlowState) -> tuple[object, ...]:
    return (state.freshness, state.own_from, state.own_blocks_from, state.inherited_from)


def stored(tx: Transaction) -> dict[uuid.UUID, tuple[object, ...]]:
    names = ("freshness", "own_stale_from", "own_blocks_from", "inherited_stale_from")
    query = select(flows.c.id, *(flows.c[name] for name in names)).where(flows.c.archived_at.is_(None))
    return {row.id: tuple(row[1:]) for row in tx.conn.execute(query)}


def steps_by_brute_force(
    facts: Iterable[FlowFacts], states: Mapping[uuid.UUID, FlowState], target_id: uuid.UUID, mode: PlanMode
) -> tuple[PlannedStep, ...]:
    """Decide what must run for a target from all facts and states of a tenant whose flows are all datasets.

    What a run of a step may not read now is a step too, and so on; among the steps, each waits for all that it follows.
    """
    by_id = {flow.id: flow for flow in facts}
    if mode is PlanMode.SMART and states[target_id].freshness is Freshness.READY:
        return ()
    found, stack = set[uuid.UUID](), [target_id]
    while stack:
        flow_id = stack.pop()
        found.add(flow_id)
        blocking = {cause.upstream_id for cause in blocking_causes(by_id[flow_id], states)}
        stack.extend(one for one in blocking if one is not None and one not in found)
    upstreams = {
        flow_id: tuple(
            dict.fromkeys(
                edge.upstream_id for edge in by_id[flow_id].edges if edge.is_current and edge.upstream_id in found
            )
        )
        for flow_id in found
    }
    batches: dict[uuid.UUID, int] = {}
    for flow_id in upstream_first(upstreams):
        batches[flow_id] = 1 + max((batches[one] for one in upstreams[flow_id]), default=0)

    def is_needed(flow_id: uuid.UUID) -> bool:
        if flow_id == target_id:
            return mode is PlanMode.RECURSIVE or states[flow_id].own_from < NEVER
        return not upstreams[flow_id] or states[flow_id].own_blocks_from < NEVER

    return tuple(
        PlannedStep(
            flow_id=flow_id,
            target=by_id[flow_id].target,
            instance=by_id[flow_id].target,
            flow_kind=FlowKind.REFRESH,
            causes=states[flow_id].causes,
            upstream_ids=upstreams[flow_id],
            batch=batches[flow_id],
            is_needed=is_needed(flow_id),
        )
        for flow_id in sorted(found, key=lambda one: (batches[one], by_id[one].target))
    )


def check_plans(database: Database) -> None:
    """Compare what is planned for each flow with what must run by brute force."""
    with database.read() as tx:
        facts, truth = load_facts(tx), by_brute_force(tx)
        for flow_id in truth:
            found = snapshots.candidates(tx, flow_id)
            for mode in PlanMode:
                assert make_steps(found, flow_id, mode) == steps_by_brute_force(facts, truth, flow_id, mode)
