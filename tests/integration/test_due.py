"""Data that are due: what a completed refresh stores of its calendar, and who waits for a source that is late."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from optaic.domain.freshness import CauseKind, FlowState
from optaic.domain.plan import PlanMode
from optaic.domain.run import Run
from optaic.errors import UpstreamNotReadyError
from optaic.ledger import catalog, freshness
from optaic.ledger.session import Database
from optaic.ledger.tables import flows, pipeline_runs
from optaic.lifecycle.complete import complete
from optaic.lifecycle.plan import preview
from optaic.lifecycle.propagate import sweep
from tests.clock import Clock
from tests.factories import add_dataset, claim_run, dataset_result, submit_run
from tests.recomputed import by_brute_force, stored, summary

TUESDAY, WEDNESDAY, FRIDAY = dt.date(2024, 7, 2), dt.date(2024, 7, 3), dt.date(2024, 7, 5)
EXCHANGE = {"frequency": "daily", "calendar": "XNYS", "deadline": "close + 2h"}


def utc(day: int, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2024, 7, day, hour, minute, tzinfo=dt.UTC)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def clock(database: Database) -> Clock:
    """After the close of Tuesday, in the week of a short Wednesday and a closed Thursday."""
    return Clock(database, utc(2, 21))


def refresh(database: Database, name: str, *, day: dt.date | None, is_changed: bool = True) -> Run:
    held = claim_run(database, submit_run(database, name))
    return complete(database, held.run.id, held.attempt, dataset_result(held, day=day, is_changed=is_changed))


def expected(database: Database, flow_id: uuid.UUID) -> tuple[dt.date | None, dt.datetime | None]:
    with database.read() as tx:
        query = select(flows.c.expected_date, flows.c.ready_until).where(flows.c.id == flow_id)
        return tuple(tx.conn.execute(query).one())


def calendar_of(database: Database, run: Run) -> str | None:
    with database.read() as tx:
        query = select(pipeline_runs.c.calendar).where(pipeline_runs.c.run_id == run.id)
        return tx.conn.execute(query).scalar_one()


def state(database: Database, flow_id: uuid.UUID) -> FlowState:
    """Read the state of a flow; what is read, and after a sweep what is stored, is what the definition says."""
    with database.read() as tx:
        found = freshness.states(tx, [flow_id])[flow_id]
        assert found == by_brute_force(tx)[flow_id]
    sweep(database)
    with database.read() as tx:
        assert {one: summary(truth) for one, truth in by_brute_force(tx).items()} == stored(tx)
    return found


def planned(database: Database, flow_id: uuid.UUID) -> list[str]:
    with database.read() as tx:
        return [step.target for step in preview(tx, flow_id, PlanMode.SMART)]


def test_a_refresh_stores_which_date_is_due_next_and_when_and_which_library_knew(
    database: Database, clock: Clock
) -> None:
    flow_id = add_dataset(database, freshness=EXCHANGE)
    version = f"exchange_calendars {importlib.metadata.version('exchange_calendars')}"
    assert calendar_of(database, refresh(database, "prices", day=TUESDAY)) == version
    assert expected(database, flow_id) == (WEDNESDAY, utc(3, 19)), "that session closes at one in New York"
    clock.set(utc(3, 18))
    assert state(database, flow_id).freshness == "ready"
    refresh(database, "prices", day=WEDNESDAY)
    assert expected(database, flow_id) == (FRIDAY, utc(5, 22)), "the Thursday is a holiday"
    clock.set(utc(5, 21, 59))
    assert state(database, flow_id).freshness == "ready"


def test_a_refresh_that_found_no_rows_keeps_the_date_that_is_due(database: Database, clock: Clock) -> None:
    flow_id = add_dataset(database, freshness=EXCHANGE)
    refresh(database, "prices", day=TUESDAY)
    refresh(database, "prices", day=None, is_changed=False)
    assert expected(database, flow_id) == (WEDNESDAY, utc(3, 19))


def test_an_interval_counts_from_when_the_source_was_asked(database: Database, clock: Clock) -> None:
    flow_id = add_dataset(database, freshness={"frequency": "interval", "every": "6h"})
    held = claim_run(database, submit_run(database))
    clock.tick(dt.timedelta(hours=1))
    ended = complete(database, held.run.id, held.attempt, dataset_result(held))
    assert ended.started_at is not None
    assert expected(database, flow_id) == (None, ended.started_at + dt.timedelta(hours=6))
    assert calendar_of(database, ended) is None, "no library was asked"
    clock.tick(dt.timedelta(hours=5))
    assert [cause.kind for cause in state(database, flow_id).causes] == [CauseKind.PAST_EXPECTED_DATE]


def test_what_nobody_has_asked_for_since_it_was_due_is_stale(database: Database, clock: Clock) -> None:
    flow_id = add_dataset(database, freshness=EXCHANGE)
    run = refresh(database, "prices", day=TUESDAY)
    clock.set(utc(3, 18, 59))
    refresh(database, "prices", day=TUESDAY, is_changed=False)
    clock.tick(dt.timedelta(minutes=1))
    found = state(database, flow_id)
    assert found.freshness == "stale"
    (cause,) = found.causes
    assert (cause.kind, cause.date, cause.stale_from) == (CauseKind.PAST_EXPECTED_DATE, WEDNESDAY, WEDNESDAY)
    assert cause.run_id != run.id, "the last that was asked for"


@pytest.mark.parametrize("on_delayed", ["wait", "run"])
def test_a_source_that_was_asked_when_its_data_were_due_and_had_none_is_delayed_and_readers_wait_or_go_on(
    database: Database, clock: Clock, on_delayed: str
) -> None:
    prices_id = add_dataset(database, freshness={**EXCHANGE, "on_delayed": on_delayed})
    returns_id = add_dataset(database, "returns", inputs={"close": "prices"})
    refresh(database, "prices", day=TUESDAY)
    refresh(database, "returns", day=TUESDAY)
    clock.set(utc(3, 19))
    assert state(database, returns_id).freshness == "stale", "of prices that nobody has asked for, whatever they say"
    run = refresh(database, "prices", day=TUESDAY, is_changed=False)
    found = state(database, prices_id)
    assert found.freshness == "stale_source_delayed"
    (cause,) = found.causes
    assert (cause.kind, cause.date, cause.run_id) == (CauseKind.SOURCE_DELAYED, WEDNESDAY, run.id)
    if on_delayed == "wait":
        assert state(database, returns_id).freshness == "stale"
        assert planned(database, returns_id) == ["prices", "returns"]
        with pytest.raises(UpstreamNotReadyError, match="prices is stale source delayed from 2024-07-03 on"):
            submit_run(database, "returns")
    else:
        assert state(database, returns_id).freshness == "ready"
        assert planned(database, returns_id) == []
        refresh(database, "returns", day=TUESDAY)
    refresh(database, "prices", day=WEDNESDAY)
    assert state(database, prices_id).freshness == "ready"
    assert [one.kind for one in state(database, returns_id).causes] == [CauseKind.INPUT_CHANGED]
    refresh(database, "returns", day=WEDNESDAY)
    assert state(database, returns_id).freshness == "ready"
    with database.read() as tx:
        assert catalog.find_flow(tx, "prices").last_data_date == WEDNESDAY
