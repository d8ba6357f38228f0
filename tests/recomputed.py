"""Freshness decided anew, and as it is stored, to compare the two."""

from __future__ import annotations

import uuid
from collections.abc import Collection

import pytest
from sqlalchemy import select

from optaic.domain.freshness import FlowState, evaluate
from optaic.ledger import downstream
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.state import database_clock, load_facts
from optaic.ledger.tables import flows

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


def summary(state: FlowState) -> tuple[object, ...]:
    return (state.freshness, state.own_from, state.own_blocks_from, state.inherited_from)


def stored(tx: Transaction) -> dict[uuid.UUID, tuple[object, ...]]:
    names = ("freshness", "own_stale_from", "own_blocks_from", "inherited_stale_from")
    query = select(flows.c.id, *(flows.c[name] for name in names)).where(flows.c.archived_at.is_(None))
    return {row.id: tuple(row[1:]) for row in tx.conn.execute(query)}
