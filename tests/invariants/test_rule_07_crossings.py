"""Rule 7 with several at once: nothing is lost between two transactions, nobody waits in a circle; on PostgreSQL.

SQLite has one writer at a time; there the same steps are taken one after the other.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from sqlalchemy import select, update

from optaic.domain.freshness import CauseKind
from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason
from optaic.domain.status import Freshness
from optaic.errors import IllegalTransitionError, LeaseLostError, UpstreamNotReadyError
from optaic.ledger import catalog, declaration, freshness
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, lock_graph
from optaic.ledger.tables import flow_inputs, flows, runs
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.propagate import propagate, sweep
from optaic.lifecycle.rescue import rescue
from tests.crossing import assert_whole, cross, spawn, stopped_before, wait_until_blocked
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run

ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")
CROSSINGS = 1_000
NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as made:
        yield made


def refresh(database: Database, name: str) -> None:
    held = claim_run(database, submit_run(database, name, is_forced=True))
    complete(database, held.run.id, held.attempt, dataset_result(held))


def agree(database: Database) -> None:
    """Check that what is stored is what the definition says of every flow."""
    sweep(database)
    with database.read() as tx:
        _, truth = freshness.all_states(tx)
        names = ("freshness", "own_stale_from", "own_blocks_from", "inherited_stale_from")
        rows = tx.conn.execute(select(flows.c.id, *(flows.c[name] for name in names)))
        said = {row.id: tuple(row[1:]) for row in rows}
    for flow_id, state in truth.items():
        assert said[flow_id] == (state.freshness, state.own_from, state.own_blocks_from, state.inherited_from)


@pytest.mark.parametrize("first", ["publication", "completion"])
@pytest.mark.parametrize("moment", ["INSERT INTO activities", "UPDATE flows"])
def test_a_completion_that_read_the_old_version_is_stale_whoever_comes_first(
    database: Database, first: str, moment: str
) -> None:
    add_dataset(database, "prices")
    refresh(database, "prices")
    reader_id = add_dataset(database, "returns", inputs={"close": "prices"})
    add_dataset(database, "signal", inputs={"returns": "returns"})
    refresh(database, "returns")
    refresh(database, "signal")
    reader = claim_run(database, submit_run(database, "returns"))  # it has read the old prices
    publisher = claim_run(database, submit_run(database, "prices"))

    def end(who: Database, held: Claim) -> Callable[[], object]:
        return lambda: complete(who, held.run.id, held.attempt, dataset_result(held))

    one, other = (publisher, reader) if first == "publication" else (reader, publisher)
    with (
        closing(Database(database.url)) as stopping,
        closing(Database(database.url)) as waiting,
        stopped_before(stopping, moment) as stop,
    ):
        held_back = spawn(end(stopping, one))
        stop.wait()
        follower = spawn(end(waiting, other))
        if database.engine.dialect.name == "postgresql":
            wait_until_blocked(database, follower)
        assert not follower.done()
        stop.go.set()
        held_back.result()
        follower.result()
    with database.read() as tx:
        (state,) = freshness.states(tx, [reader_id]).values()
    assert state.freshness is Freshness.STALE
    assert [cause.kind for cause in state.causes] == [CauseKind.INPUT_CHANGED]
    agree(database)


class Crowd:
    """Steps that anybody may take at any moment; what is refused is an answer like another."""

    def __init__(self, url: str, seed: int) -> None:
        self.database = Database(url)
        self.random = random.Random(seed)

    def step(self) -> None:
        name = self.random.choice(NAMES)
        action = self.random.choice(
            [self.cancel, self.apply, self.tick, self.lose, *[self.submit, self.start] * 2, *[self.end] * 3]
        )
        with suppress(UpstreamNotReadyError, LeaseLostError, IllegalTransitionError):
            action(name)

    def submit(self, name: str) -> None:
        submit_run(self.database, name, is_forced=True, seed=self.random.choice([None, None, 7]))

    def start(self, _name: str) -> None:
        claim(self.database, worker="w", lease=LEASE)

    def running(self) -> tuple[uuid.UUID, int] | None:
        with self.database.read() as tx:
            query = select(runs.c.id, runs.c.attempt).where(runs.c.status == "running").order_by(runs.c.id)
            found = tx.conn.execute(query).all()
        return tuple(self.random.choice(found)) if found else None

    def end(self, _name: str) -> None:
        if (found := self.running()) is None:
            return
        with self.database.read() as tx:
            from optaic.ledger import runs as ledger_runs

            run = ledger_runs.get(tx, found[0])
        held = _as_held(run, found[1])
        if self.random.random() < 0.8:
            result = dataset_result(held, is_changed=self.random.random() < 0.7)
            complete(self.database, *found, result)
        else:
            outcome = self.random.choice([AttemptOutcome.FAILED, AttemptOutcome.RELEASED])
            end_attempt(self.database, *found, ERROR, outcome=outcome)

    def cancel(self, _name: str) -> None:
        with self.database.read() as tx:
            open_ones = select(runs.c.id).where(runs.c.status.in_(["pending", "running"])).order_by(runs.c.id)
            found = list(tx.conn.execute(open_ones).scalars())
        if found:
            cancel(self.database, self.random.choice(found))

    def lose(self, _name: str) -> None:
        rescue(self.database)

    def apply(self, name: str) -> None:
        """Change an edge and a config, as an apply does: under the graph lock, settled in the same transaction."""
        with self.database.write() as tx:
            lock_graph(tx)
            flow = catalog.find_flow(tx, name)
            edges = catalog.inputs_of(tx, [flow.id])
            if edges:
                declaration.end_inputs(tx, [edges[0].id])
            elif name != NAMES[0]:
                upstream = catalog.find_flow(tx, self.random.choice(NAMES[: NAMES.index(name)]))
                declaration.add_input(
                    tx,
                    flow_id=flow.id,
                    upstream_flow_id=upstream.id,
                    role=upstream.instance,
                    columns=(),
                    selector="current",
                    position=0,
                )
            propagate(tx, [flow.id], cause={"kind": "apply"})

    def tick(self, name: str) -> None:
        with self.database.write() as tx:
            lock_graph(tx)
            late = update(flows).where(flows.c.id == catalog.find_flow(tx, name).id, flows.c.is_overdue == 0)
            tx.conn.execute(late.values(ready_until=db_now(-1.0)))
        sweep(self.database)


def _as_held(run: object, attempt: int) -> Claim:
    from types import SimpleNamespace
    from typing import Any, cast

    known: Any = run
    task = SimpleNamespace(tenant_id=1, instance=known.instance)
    return cast(Claim, SimpleNamespace(run=known, attempt=attempt, task=task))


def test_a_thousand_crossings_end_without_a_deadlock_and_in_agreement(postgres_url: str) -> None:
    with closing(Database(postgres_url)) as database:
        add_dataset(database, "a")
        refresh(database, "a")
        for upstream, name in itertools.pairwise(NAMES):
            add_dataset(database, name, inputs={upstream: upstream})
            refresh(database, name)
        crowd = [Crowd(postgres_url, seed) for seed in range(4)]
        try:
            for _ in range(CROSSINGS // len(crowd)):
                outcomes = cross(*(one.step for one in crowd))
                assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
        finally:
            for one in crowd:
                one.database.close()
        agree(database)
        assert_whole(database)
        with database.read() as tx:
            assert tx.conn.execute(select(flow_inputs.c.id)).first() is not None
