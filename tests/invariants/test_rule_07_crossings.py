"""Rule 7 with several at once: nothing is lost between two transactions, nobody waits in a circle, no edges form one.

SQLite has one writer at a time; there whoever crosses another waits for its turn.
"""

from __future__ import annotations

import copy
import datetime as dt
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import select

from optaic.domain.freshness import CauseKind
from optaic.domain.lease import AttemptOutcome
from optaic.domain.lineage import find_cycle
from optaic.domain.plan import PlanMode
from optaic.domain.reason import Reason
from optaic.domain.status import Freshness
from optaic.errors import (
    ConflictError,
    IllegalTransitionError,
    InvalidInputError,
    LeaseLostError,
    NotFoundError,
    UpstreamNotReadyError,
)
from optaic.ledger import catalog, freshness
from optaic.ledger import runs as ledger_runs
from optaic.ledger.session import Database
from optaic.ledger.tables import flows, plans, runs
from optaic.lifecycle.apply import apply
from optaic.lifecycle.cancel import cancel, cancel_plan
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.plan import PlanRequest, create
from optaic.lifecycle.propagate import sweep
from optaic.lifecycle.rescue import rescue
from optaic.project import InputSpec
from optaic.storage.objects import open_store
from tests.clock import Clock
from tests.crossing import assert_whole, cross, spawn, stopped_before, wait_until_blocked
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run
from tests.graphs import Declared, write_project
from tests.planned import check_running_plans

ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")
CROSSINGS = 500
"""Pairs of steps on each of the two databases: a thousand in all."""

OWNED = {"one": ("a", "c", "e"), "two": ("b", "d")}
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


class Actor:
    """Whoever takes steps, on connections and in a project of its own; what is refused is an answer like another."""

    def __init__(self, url: str, folder: Path, project: str, seed: int) -> None:
        self.database = Database(url)
        self.clock = Clock(self.database)
        self.random = random.Random(seed)
        self.project = project
        self.folder = folder / project
        self.folder.mkdir()
        self.store = open_store(str(folder / "objects"))
        self.declared = {
            name: Declared(expectation={"frequency": "interval", "every": "1h"} if name in "ab" else {})
            for name in OWNED[project]
        }
        self.taken: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def step(self) -> None:
        steps = [self.apply, self.submit, self.start, self.end, self.plan, self.cancel_plan, self.cancel, self.lose]
        action = self.random.choices(steps, weights=[2, 2, 4, 5, 2, 1, 1, 1])[0]
        try:
            action(self.random.choice(NAMES))
        except (UpstreamNotReadyError, LeaseLostError, IllegalTransitionError, NotFoundError) as error:
            self.refused[f"{action.__name__}: {type(error).__name__}"] += 1
        else:
            self.taken[action.__name__] += 1

    def submit(self, name: str) -> None:
        submit_run(self.database, name, is_forced=True, seed=self.random.choice([None, None, 7]))

    def start(self, _name: str) -> None:
        claim(self.database, worker="w", lease=LEASE)

    def end(self, _name: str) -> None:
        with self.database.read() as tx:
            query = select(runs.c.id).where(runs.c.status == "running").order_by(runs.c.id)
            found = [ledger_runs.get(tx, run_id) for run_id in tx.conn.execute(query).scalars()]
        if not found:
            return
        run = self.random.choice(found)
        if self.random.random() < 0.8:
            held = SimpleNamespace(
                run=run, attempt=run.attempt, task=SimpleNamespace(tenant_id=1, instance=run.instance)
            )
            result = dataset_result(cast("Claim", held), is_changed=self.random.random() < 0.7)
            complete(self.database, run.id, run.attempt, result)
        else:
            outcome = self.random.choice([AttemptOutcome.FAILED, AttemptOutcome.RELEASED])
            end_attempt(self.database, run.id, run.attempt, ERROR, outcome=outcome)

    def cancel(self, _name: str) -> None:
        with self.database.read() as tx:
            query = select(runs.c.id).where(runs.c.status.in_(["pending", "running"])).order_by(runs.c.id)
            found = list(tx.conn.execute(query).scalars())
        if found:
            cancel(self.database, self.random.choice(found))

    def lose(self, _name: str) -> None:
        rescue(self.database)
        sweep(self.database)

    def plan(self, name: str) -> None:
        create(self.database, PlanRequest(target=name, mode=self.random.choice(list(PlanMode))))

    def cancel_plan(self, _name: str) -> None:
        with self.database.read() as tx:
            query = select(plans.c.id).where(plans.c.status == "running").order_by(plans.c.id)
            found = list(tx.conn.execute(query).scalars())
        if found:
            with suppress(ConflictError):  # it has ended meanwhile
                cancel_plan(self.database, self.random.choice(found))

    def apply(self, name: str) -> None:
        """Change the code, an edge, or what there is: to a cycle, or without what others read, if nobody refuses it."""
        before = copy.deepcopy(self.declared)
        own = self.random.choice(OWNED[self.project])
        if own not in self.declared:
            self.declared[own] = Declared()
        elif self.random.random() < 0.25:
            del self.declared[own]
            for other in self.declared.values():
                other.inputs.pop(own, None)
        elif self.random.random() < 0.3:
            self.declared[own].code ^= 1
        elif self.declared[own].inputs:
            self.declared[own].inputs.clear()
        elif name != own:
            self.declared[own].inputs[name] = InputSpec(role=name, instance=name)
        try:
            self.declare()
        except (InvalidInputError, ConflictError) as error:
            self.declared = before
            self.refused["cycle" if "cycle" in error.message else "apply"] += 1

    def declare(self) -> None:
        apply(self.database, self.store, write_project(self.folder, self.declared, self.project), prune=True)


def check_edges(database: Database) -> None:
    with database.read() as tx:
        edges = [(edge.upstream_flow_id, edge.flow_id) for edge in catalog.all_inputs(tx)]
    assert find_cycle(edges) is None


def test_a_thousand_crossings_end_without_a_deadlock_or_a_cycle_and_in_agreement(
    database: Database, tmp_path: Path
) -> None:
    actors = [Actor(database.url, tmp_path, project, seed) for seed, project in enumerate(OWNED)]
    clocks = [Clock(database), *(one.clock for one in actors)]
    crossings = 0
    try:
        for one in actors:
            one.declare()
        while crossings < CROSSINGS:
            outcomes = cross(*(one.step for one in actors))
            assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
            crossings += 1
            check_edges(database)
            if crossings % 20 == 0:
                with database.read() as tx:
                    check_running_plans(tx)
                agree(database)
                for clock in clocks:  # nobody crosses now
                    clock.tick(dt.timedelta(minutes=10))
    finally:
        for one in actors:
            one.database.close()
    assert_whole(database)
    taken = sum((one.taken for one in actors), Counter[str]())
    refused = sum((one.refused for one in actors), Counter[str]())
    assert taken.total() + refused.total() - refused["cycle"] - refused["apply"] == 2 * crossings
    assert min(taken[step] for step in ("apply", "submit", "start", "end", "plan", "cancel_plan", "cancel")) >= 20
    assert refused["cycle"] > 0
    assert refused["apply"] > 0
