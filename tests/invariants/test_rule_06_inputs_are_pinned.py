"""Rule 6: what a run reads is decided when its first attempt starts, and never again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from optaic.domain.principal import OWNER_ID
from optaic.domain.reason import Reason
from optaic.domain.run import Run
from optaic.domain.status import RunStatus
from optaic.ledger import catalog, runs, tables
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Database
from optaic.lifecycle.claim import claim
from optaic.lifecycle.complete import complete, end_attempt
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run
from tests.planning import make_stale
from tests.rows import put

AGAIN = Reason(code="retryable_error", message="once more", next_step="wait")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    add_dataset(opened)
    add_dataset(opened, "returns", inputs={"close": "prices"}, policies={"retry": {"backoff_seconds": 0.0}})
    yield opened
    opened.close()


def refresh(database: Database, *, is_changed: bool = True) -> uuid.UUID | None:
    held = claim_run(database, submit_run(database))
    complete(database, held.run.id, 1, dataset_result(held, is_changed=is_changed))
    with database.read() as tx:
        return catalog.find_flow(tx, "prices").current_version_id


def select_input(database: Database, **values: Any) -> None:
    with database.write() as tx:
        tx.conn.execute(update(tables.flow_inputs).values(**values))


def pins(database: Database, run_id: uuid.UUID) -> list[Any]:
    with database.read() as tx:
        return list(tx.conn.execute(select(tables.run_inputs).where(tables.run_inputs.c.run_id == run_id)).all())


def test_current_is_what_is_current_when_the_first_attempt_starts(database: Database) -> None:
    refresh(database)
    run = submit_run(database, "returns")
    assert pins(database, run.id) == []
    second = refresh(database)
    held = claim_run(database, run)
    before = pins(database, run.id)
    assert [pin.version_id for pin in before] == [second]
    with database.read() as tx:
        first_fingerprint = runs.get(tx, run.id).fingerprint
    assert first_fingerprint is not None
    refresh(database)
    end_attempt(database, run.id, 1, AGAIN, is_repeatable=True)
    refresh(database)
    again = claim_run(database, run)
    assert again.attempt == 2
    assert pins(database, run.id) == before
    assert again.task.inputs == held.task.inputs
    with database.read() as tx:
        assert runs.get(tx, run.id).fingerprint == first_fingerprint


def test_a_version_that_was_selected_by_number_stays(database: Database) -> None:
    first = refresh(database)
    refresh(database)
    select_input(database, selector="version", selector_version=1)
    run = submit_run(database, "returns")
    claim_run(database, run)
    assert [(pin.version_id, pin.selector) for pin in pins(database, run.id)] == [(first, "version:1")]


def test_the_champion_is_the_one_of_that_moment(database: Database) -> None:
    first = refresh(database)
    select_input(database, selector="stage", selector_stage="champion")
    refused = submit_run(database, "returns")
    assert claim(database, worker="w", lease=LEASE) is None
    with database.read() as tx:
        ended = runs.get(tx, refused.id)
        flow_id = catalog.find_flow(tx, "prices").id
    assert (ended.status, ended.attempt) == (RunStatus.FAILED, 0)
    assert ended.reason is not None
    assert ended.reason.code == "upstream_not_ready"
    assert "stage:champion of prices" in ended.reason.message
    assert pins(database, refused.id) == []

    with database.write() as tx:
        put(tx, tables.version_stages, flow_id=flow_id, version_id=first, stage="champion", set_by=OWNER_ID)
    refresh(database)
    run = submit_run(database, "returns")
    claim_run(database, run)
    assert [(pin.version_id, pin.selector) for pin in pins(database, run.id)] == [(first, "stage:champion")]


def completed(database: Database, target: str = "returns") -> uuid.UUID:
    held = claim_run(database, submit_run(database, target))
    complete(database, held.run.id, 1, dataset_result(held))
    return held.run.id


def state(database: Database, run_id: uuid.UUID) -> tuple[Run, Flow]:
    with database.read() as tx:
        return runs.get(tx, run_id), catalog.find_flow(tx, "returns")


def test_what_was_pinned_before_never_replaces_what_was_made_of_newer_versions(database: Database) -> None:
    refresh(database)
    run = submit_run(database, "returns")
    claim_run(database, run)
    end_attempt(database, run.id, 1, AGAIN, is_repeatable=True)
    refresh(database)
    newer = completed(database)
    assert claim(database, worker="w", lease=LEASE) is None
    ended, flow = state(database, run.id)
    assert (ended.status, ended.attempt) == (RunStatus.CANCELLED, 1)
    assert ended.reason is not None
    assert (ended.reason.code, ended.reason.next_step) == (
        "overtaken",
        "to make returns of what is current: optaic run returns --recursive",
    )
    assert str(newer) in ended.reason.message
    assert flow.current_run_id == newer


def test_an_attempt_is_repeated_where_a_later_run_read_the_same(database: Database) -> None:
    refresh(database)
    run = submit_run(database, "returns")
    claim_run(database, run)
    end_attempt(database, run.id, 1, AGAIN, is_repeatable=True)
    completed(database)
    assert claim_run(database, run).attempt == 2


def test_old_code_never_replaces_what_newer_code_made(database: Database) -> None:
    refresh(database)
    run = submit_run(database, "returns")
    claim_run(database, run)
    end_attempt(database, run.id, 1, AGAIN, is_repeatable=True)
    make_stale(database, "returns")
    newer = completed(database)
    assert claim(database, worker="w", lease=LEASE) is None
    ended, flow = state(database, run.id)
    assert (ended.status, flow.current_run_id) == (RunStatus.CANCELLED, newer)
