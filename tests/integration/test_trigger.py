"""A flow with `schedule: {when: upstream}` runs by itself: never early, never twice for the same, never lost."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from optaic.domain.principal import SYSTEM_ID
from optaic.domain.reason import Reason
from optaic.domain.run import Run
from optaic.ledger import catalog, runs, schedules, tables
from optaic.ledger.session import Database
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.trigger import fire_all, pause
from tests.factories import add_dataset, claim_run, dataset_result, submit_run

FAILED = Reason(code="flow_error", message="the vendor sent nonsense", next_step="look at the log")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Two sources; `spread` reads both and runs by itself."""
    opened = Database(database_url)
    add_dataset(opened, "left")
    add_dataset(opened, "right")
    add_dataset(opened, "spread", inputs={"left": "left", "right": "right"})
    watch(opened, "spread")
    yield opened
    opened.close()


def watch(database: Database, name: str) -> None:
    with database.write() as tx:
        schedules.declare(tx, catalog.find_flow(tx, name).id, {"when": "upstream"})


def refresh(database: Database, name: str, *, is_changed: bool = True) -> None:
    held = claim_run(database, submit_run(database, name))
    complete(database, held.run.id, 1, dataset_result(held, is_changed=is_changed))


def waiting(database: Database, name: str = "spread") -> list[Run]:
    with database.read() as tx:
        flow_id = catalog.find_flow(tx, name).id
        query = runs.select_runs().where(runs.IS_PENDING)
        return [run for run in map(runs.to_run, tx.conn.execute(query)) if run.flow_id == flow_id]


def finish(database: Database, run: Run, *, is_changed: bool = True) -> None:
    held = claim_run(database, run)
    complete(database, run.id, 1, dataset_result(held, is_changed=is_changed))


def triggered_by(database: Database, run_id: uuid.UUID) -> dict[str, Any]:
    with database.read() as tx:
        return tx.conn.execute(select(tables.runs.c.triggered_by).where(tables.runs.c.id == run_id)).scalar_one()


def test_it_waits_until_all_upstreams_are_ready(database: Database) -> None:
    refresh(database, "left")
    assert waiting(database) == []
    refresh(database, "right")
    (run,) = waiting(database)
    assert (run.trigger, run.standing, run.submitted_by) == ("upstream", "official", SYSTEM_ID)


def test_the_run_lists_what_set_it_off(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right")
    (first,) = waiting(database)
    finish(database, first)
    refresh(database, "left")
    (second,) = waiting(database)
    facts = triggered_by(database, second.id)
    assert facts["versions"] == [{"upstream": "left", "version": 2}, {"upstream": "right", "version": 1}]
    assert [(one["upstream"], one["version"]) for one in facts["new"]] == [("left", 2)]


def test_nothing_new_sets_nothing_off(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right")
    finish(database, waiting(database)[0])
    refresh(database, "left", is_changed=False)
    assert waiting(database) == []
    assert fire_all(database) == []


def test_what_is_published_while_it_runs_sets_it_off_again_when_it_ends(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right")
    (run,) = waiting(database)
    held = claim_run(database, run)
    refresh(database, "left")
    assert waiting(database) == [], "one run of a flow at a time"
    complete(database, run.id, 1, dataset_result(held))
    assert len(waiting(database)) == 1


def test_what_is_published_while_it_is_paused_is_not_lost(database: Database) -> None:
    pause(database, "spread", is_paused=True)
    refresh(database, "left")
    refresh(database, "right")
    assert waiting(database) == []
    assert fire_all(database) == []
    pause(database, "spread", is_paused=False)
    assert len(waiting(database)) == 1


def test_a_failure_is_not_repeated_without_end(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right")
    (run,) = waiting(database)
    held = claim_run(database, run)
    end_attempt(database, run.id, held.attempt, FAILED)
    assert fire_all(database) == []
    assert waiting(database) == []
    refresh(database, "right")
    assert len(waiting(database)) == 1, "something new is another chance"


def test_it_goes_from_flow_to_flow(database: Database) -> None:
    add_dataset(database, "signal", inputs={"spread": "spread"})
    watch(database, "signal")
    refresh(database, "left")
    refresh(database, "right")
    finish(database, waiting(database)[0])
    (run,) = waiting(database, "signal")
    finish(database, run)
    refresh(database, "left")
    assert waiting(database, "signal") == [], "spread is stale: it would be early"
    finish(database, waiting(database)[0], is_changed=False)
    assert waiting(database, "signal") == [], "spread has nothing new"


def test_a_run_that_waits_already_is_enough(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right")
    refresh(database, "left")
    refresh(database, "right")
    assert len(waiting(database)) == 1
