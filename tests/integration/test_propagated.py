"""What is told of a change that travels downstream: one event with its change set, however many flows it reaches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Row, select

from optaic.domain.principal import SYSTEM_ID
from optaic.domain.reason import Reason
from optaic.domain.run import Run
from optaic.ledger import catalog
from optaic.ledger.session import Database
from optaic.ledger.tables import activities
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.propagate import sweep
from tests.clock import Clock
from tests.factories import add_dataset, claim_run, dataset_result, submit_run
from tests.planning import make_stale

READERS = tuple(f"reader_{number}" for number in range(20))
NO = Reason(code="flow_error", message="ValueError: no", next_step="mend it")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A source, twenty that read it, one that reads these, and one beside them: all ready, and nothing told yet."""
    opened = Database(database_url)
    add_dataset(opened, freshness={"frequency": "interval", "every": "1h"})
    for name in READERS:
        add_dataset(opened, name, inputs={"close": "prices"})
    add_dataset(opened, "last", inputs={name: name for name in READERS})
    add_dataset(opened, "other")
    for name in ("prices", *READERS, "last", "other"):
        refresh(opened, name)
    forget(opened)
    yield opened
    opened.close()


def forget(database: Database) -> None:
    with database.write() as tx:
        tx.conn.execute(activities.delete())


def refresh(database: Database, name: str, *, seed: int | None = None, is_changed: bool = True) -> Run:
    held = claim_run(database, submit_run(database, name, seed=seed, is_forced=True))
    return complete(database, held.run.id, held.attempt, dataset_result(held, is_changed=is_changed))


def told(database: Database, verb: str = "lineage.staleness_propagated") -> list[Row[Any]]:
    with database.read() as tx:
        return list(tx.conn.execute(select(activities).where(activities.c.verb == verb)).all())


def changed(event: Row[Any]) -> dict[str, set[str]]:
    """Give the change set of an event; it counts what it lists."""
    found = {status: set(ids) for status, ids in event.payload["changed"].items()}
    assert event.payload["flows"] == sum(len(ids) for ids in event.payload["changed"].values())
    return found


def ids(database: Database, *names: str) -> set[str]:
    with database.read() as tx:
        return {str(catalog.find_flow(tx, name).id) for name in names}


def test_a_publication_tells_of_all_that_it_makes_stale_in_one_event(database: Database) -> None:
    run = refresh(database, "prices")
    (event,) = told(database)
    assert changed(event) == {"stale": ids(database, *READERS, "last")}
    assert event.payload["cause"] == {"kind": "run", "run_id": str(run.id)}
    assert (event.resource_id, event.actor_id, event.durable) == (str(run.id), SYSTEM_ID, True)
    assert told(database, "flow.status_changed") == [], "the source was ready, and is"


def test_readers_of_the_last_flow_but_one_are_told_of_in_the_same_way(database: Database) -> None:
    run = refresh(database, READERS[0])
    (event,) = told(database)
    assert changed(event) == {"stale": ids(database, "last")}
    assert event.payload["cause"]["run_id"] == str(run.id)


def test_early_cutoff_tells_of_all_that_it_makes_ready_again_in_one_event(database: Database) -> None:
    make_stale(database, "prices")
    forget(database)
    run = refresh(database, "prices", is_changed=False)
    (event,) = told(database)
    assert changed(event) == {"ready": ids(database, *READERS, "last")}
    (own,) = told(database, "flow.status_changed")
    assert {own.resource_id} == ids(database, "prices")
    assert own.payload == {"old_freshness": "stale", "freshness": "ready", "cause": event.payload["cause"]}
    assert event.payload["cause"] == {"kind": "run", "run_id": str(run.id)}


def test_the_clock_tells_of_all_that_it_makes_stale_in_one_event(database: Database) -> None:
    Clock(database).tick(dt.timedelta(hours=1))
    assert sweep(database) == 1
    (event,) = told(database)
    assert changed(event) == {"stale": ids(database, *READERS, "last")}
    assert event.payload["cause"] == {"kind": "clock"}
    assert {own.resource_id for own in told(database, "flow.status_changed")} == ids(database, "prices")
    sweep(database)
    assert len(told(database)) == 1, "it is told once"


def test_what_changes_nothing_downstream_tells_of_nothing(database: Database) -> None:
    refresh(database, "prices", is_changed=False)
    refresh(database, "last")
    refresh(database, "other")
    held = claim_run(database, submit_run(database))
    end_attempt(database, held.run.id, held.attempt, NO)
    assert told(database) == []
    refresh(database, "prices")
    refresh(database, "prices")
    assert len(told(database)) == 1, "what is stale already is not told of again"


def test_a_trial_tells_of_nothing(database: Database) -> None:
    assert refresh(database, "prices", seed=7).standing == "trial"
    assert told(database) == told(database, "flow.status_changed") == []
