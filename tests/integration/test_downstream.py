"""What a change makes of everything downstream, for random graphs, edges and dates, worked out in each possible way."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import delete, insert, select, update

from optaic.domain.freshness import EVERYTHING, NEVER
from optaic.domain.status import Freshness
from optaic.ledger import downstream
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction
from optaic.ledger.tables import flow_inputs, flows
from optaic.lifecycle.propagate import sweep
from tests.factories import add_dataset
from tests.recomputed import in_each_way

SIZE = 9
DATES = (EVERYTHING, dt.date(2024, 1, 2), dt.date(2024, 1, 3), dt.date(2024, 1, 4), NEVER)


@dataclass
class Drawn:
    """A graph of flows by number, upstreams first: from when each blocks by itself, and until when each edge reads."""

    own: list[dt.date]
    edges: dict[tuple[int, int], dt.date | None]

    def inherited(self) -> list[dt.date]:
        """Work out by hand from when each is stale because of its upstreams."""
        found: list[dt.date] = []
        for flow in range(SIZE):
            reaching = [NEVER]
            for upstream in range(flow):
                until = self.edges.get((upstream, flow))
                if until is not None and (since := min(self.own[upstream], found[upstream])) <= until:
                    reaching.append(since)
            found.append(min(reaching))
        return found

    @classmethod
    def draw(cls, chance: random.Random) -> Drawn:
        """Draw one: an edge that is None was not read."""
        pairs = [(upstream, flow) for flow in range(SIZE) for upstream in range(flow)]
        edges = {pair: chance.choice([None, *DATES[1:], NEVER, NEVER]) for pair in pairs if chance.random() < 0.35}
        return cls(own=[chance.choice([*DATES, NEVER, NEVER]) for _ in range(SIZE)], edges=edges)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def store(tx: Transaction, ids: list[uuid.UUID], drawn: Drawn) -> None:
    tx.conn.execute(delete(flow_inputs))
    rows = [
        {
            "tenant_id": tx.tenant_id,
            "id": uuid.UUID(int=number + 1),
            "flow_id": ids[flow],
            "upstream_flow_id": ids[upstream],
            "role": f"role_{upstream}",
            "kind": "data_dependency",
            "position": upstream,
            "is_read": int(until is not None),
            "read_until": until or NEVER,
        }
        for number, ((upstream, flow), until) in enumerate(drawn.edges.items())
    ]
    if rows:
        tx.conn.execute(insert(flow_inputs).values(created_at=db_now()), rows)
    for flow, (own, inherited) in enumerate(zip(drawn.own, drawn.inherited(), strict=True)):
        store_own(tx, ids[flow], own)
        values = {"inherited_stale_from": inherited, "freshness": freshness(own, inherited)}
        tx.conn.execute(update(flows).where(flows.c.id == ids[flow]).values(values))


def store_own(tx: Transaction, flow_id: uuid.UUID, own: dt.date) -> None:
    values = {"own_stale_from": own, "own_blocks_from": own, "current_run_id": flow_id}
    tx.conn.execute(update(flows).where(flows.c.id == flow_id).values(values))


def freshness(own: dt.date, inherited: dt.date) -> Freshness:
    return Freshness.READY if own == inherited == NEVER else Freshness.STALE


def said(tx: Transaction, ids: list[uuid.UUID]) -> list[tuple[dt.date, str]]:
    query = select(flows.c.id, flows.c.inherited_stale_from, flows.c.freshness)
    rows = {row[0]: (row[1], row[2]) for row in tx.conn.execute(query)}
    return [rows[flow_id] for flow_id in ids]


@in_each_way
def test_what_no_longer_blocks_leaves_each_flow_stale_for_what_still_does(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int, many: int
) -> None:
    monkeypatch.setattr(downstream, "FEW", few)
    monkeypatch.setattr(downstream, "MANY", many)
    ids = [add_dataset(database, f"flow_{number}") for number in range(SIZE)]
    lasting = 0
    with database.write() as tx:
        for number in range(60):
            chance = random.Random(number)
            drawn = Drawn.draw(chance)
            store(tx, ids, drawn)
            before = drawn.inherited()
            released: dict[int, dt.date] = {}
            for flow in chance.sample(range(SIZE), 3):
                blocked, later = drawn.own[flow], [date for date in DATES if date > drawn.own[flow]]
                if later and blocked < before[flow]:
                    drawn.own[flow] = chance.choice([NEVER, *later])
                    store_own(tx, ids[flow], drawn.own[flow])
                    released[flow] = blocked
            changed = downstream.inherit(tx, [ids[flow] for flow in released], {*released.values()})
            now = drawn.inherited()
            lasting += sum(a == b < NEVER for a, b in zip(before, now, strict=True))
            found = said(tx, ids)
            assert [since for since, _ in found] == now, number
            assert changed == {ids[flow]: found[flow][1] for flow in range(SIZE) if now[flow] != before[flow]}, number
            for flow in range(SIZE):
                if ids[flow] in changed:
                    assert found[flow][1] == freshness(drawn.own[flow], now[flow])
    assert lasting > 50  # flows that stay stale, from the same date, for another reason


def test_what_has_never_run_is_not_announced_as_late(database_url: str) -> None:
    database = Database(database_url)
    flow_id = add_dataset(database)
    with database.write() as tx:
        tx.conn.execute(update(flows).where(flows.c.id == flow_id).values(ready_until=db_now(-60.0)))
    assert sweep(database) == 0
    database.close()
