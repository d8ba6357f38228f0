"""A flow with `schedule: {when: upstream}` runs by itself: never early, never twice for the same, never lost."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from optaic.domain import trigger as domain_trigger
from optaic.domain.fingerprint import digest_of
from optaic.domain.principal import SYSTEM_ID
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.run import Run
from optaic.ledger import catalog, declaration, runs, schedules, tables
from optaic.ledger.session import Database
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.propagate import propagate
from optaic.lifecycle.trigger import fire_all, listed, pause
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run
from tests.planning import make_stale

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


def fail(database: Database, run: Run, reason: Reason = FAILED) -> None:
    held = claim_run(database, run)
    end_attempt(database, run.id, held.attempt, reason)


def pending(database: Database) -> Run:
    (run,) = waiting(database)
    return run


def get(database: Database, run: Run) -> Run:
    with database.read() as tx:
        return runs.get(tx, run.id)


def last_run(database: Database, name: str) -> Run:
    with database.read() as tx:
        return runs.find(tx, f"{name}@latest")


def change_config(database: Database, name: str) -> None:
    """Let a flow have another config than its last run; `make_stale` does the same for the code."""
    with database.write() as tx:
        flow = catalog.find_flow(tx, name)
        config = {**flow.config, "params": {"n": 2}}
        digest, definition_id = (
            digest_of(config),
            declaration.put_definition(
                tx,
                code_ref=f"sources:{name}",
                code_digest="0" * 64,
                params_schema={"open": True},
                distribution=None,
                distribution_version=None,
            )[0],
        )
        declaration.add_revision(tx, flow, config=config, config_digest=digest, definition_id=definition_id)
        propagate(tx, [flow.id], cause={"kind": "apply"})


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
    assert [(one["upstream"], one["version"]) for one in facts["versions"]] == [("left", 2), ("right", 1)]
    assert facts["new"] == [{"upstream": "left", "version": 2, "run_id": str(last_run(database, "left").id)}]
    assert facts["new"] == facts["versions"][:1]
    assert triggered_by(database, first.id)["new"] == triggered_by(database, first.id)["versions"]


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
    fail(database, failed := pending(database))
    assert fire_all(database) == []
    with database.read() as tx:
        (item,) = listed(tx)
    assert item["waits"] is not None
    assert (item["waits"]["run_id"], item["waits"]["until"]) == (str(failed.id), None)
    assert item["waits"]["next_step"] == "mend it, then: optaic apply; or as it is: optaic run spread"
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


OUTSIDE = [
    ReasonCode.CODE_MISMATCH,
    ReasonCode.WORKER_LOST,
    ReasonCode.STORAGE_ERROR,
    ReasonCode.SECRET_MISSING,
    ReasonCode.ENGINE_ERROR,
]


@pytest.mark.parametrize("code", OUTSIDE)
def test_an_end_for_a_reason_outside_the_flow_loses_nothing(database: Database, code: ReasonCode) -> None:
    refresh(database, "left")
    refresh(database, "right")
    outside = Reason(code=code, message="it was not the flow", next_step="look there")
    fail(database, first := pending(database), outside)
    second = pending(database)
    assert second.id != first.id
    assert triggered_by(database, second.id)["versions"] == triggered_by(database, first.id)["versions"]
    fail(database, second, outside)
    assert waiting(database) == [], "after the second time it waits for a while, so that nothing goes round and round"
    with database.read() as tx:
        (item,) = listed(tx)
    ended_at = get(database, second).ended_at
    assert ended_at is not None
    assert item["waits"]["until"] == ended_at + dt.timedelta(minutes=1)
    assert fire_all(database) == []


def test_the_wait_after_an_outside_reason_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_trigger, "FIRST_WAIT", dt.timedelta(0))
    refresh(database, "left")
    refresh(database, "right")
    lost = Reason(code=ReasonCode.WORKER_LOST, message="the worker died", next_step="wait")
    for tries in range(3):
        run = pending(database)
        assert triggered_by(database, run.id)["tries"] == tries
        fail(database, run, lost)
    assert len(waiting(database)) == 1


@pytest.mark.parametrize("change", [make_stale, change_config])
def test_other_code_or_config_is_another_chance_after_a_failure(
    database: Database, change: Callable[[Database, str], None]
) -> None:
    refresh(database, "left")
    refresh(database, "right")
    fail(database, pending(database))
    change(database, "spread")
    assert len(fire_all(database)) == 1
    finish(database, pending(database))
    assert fire_all(database) == []


def test_what_a_person_cancelled_waits_for_something_new(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right")
    cancel(database, pending(database).id)
    assert waiting(database) == []
    assert fire_all(database) == []
    refresh(database, "left")
    running = claim_run(database, pending(database))
    cancel(database, running.run.id)
    end_attempt(database, running.run.id, 1, FAILED)
    assert get(database, running.run).status == "cancelled"
    assert waiting(database) == []
    refresh(database, "right")
    assert len(waiting(database)) == 1


def test_what_a_cancelled_run_of_a_person_would_have_read_is_not_lost(database: Database) -> None:
    refresh(database, "left")
    pause(database, "spread", is_paused=True)
    refresh(database, "right")
    manual = submit_run(database, "spread")
    pause(database, "spread", is_paused=False)
    assert [run.id for run in waiting(database)] == [manual.id], "one official run at a time"
    cancel(database, manual.id)
    assert pending(database).trigger == "upstream"


def test_an_upstream_that_is_not_ready_when_it_would_start_is_waited_for(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right")
    early = pending(database)
    make_stale(database, "left")
    assert claim(database, worker="worker", lease=LEASE) is None
    ended = get(database, early)
    assert ended.reason is not None
    assert (ended.status, ended.reason.code) == ("failed", "upstream_not_ready")
    assert fire_all(database) == [], "left is not ready"
    refresh(database, "left", is_changed=False)
    assert len(waiting(database)) == 1


def test_what_a_person_has_run_meanwhile_is_not_run_again(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right")
    waits = pending(database)
    manual = submit_run(database, "spread")
    finish(database, manual)
    assert claim(database, worker="worker", lease=LEASE) is None
    ended = get(database, waits)
    assert ended.reason is not None
    assert (ended.status, ended.reason.code) == ("cancelled", "superseded")
    assert str(manual.id) in ended.reason.message
    assert ended.reason.next_step
    assert waiting(database) == []
    refresh(database, "left")
    assert len(waiting(database)) == 1


def test_what_came_after_a_run_of_a_person_is_run(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right")
    waits = pending(database)
    finish(database, submit_run(database, "spread"))
    refresh(database, "left")
    finish(database, waits)
    assert waiting(database) == []


@pytest.mark.parametrize("change", [make_stale, change_config])
def test_a_run_that_waits_is_recorded_anew_with_other_code_or_config(
    database: Database, change: Callable[[Database, str], None]
) -> None:
    refresh(database, "left")
    refresh(database, "right")
    before = pending(database)
    change(database, "spread")
    held = claim(database, worker="worker", lease=LEASE)
    assert held is not None
    assert held.run.id != before.id
    assert get(database, before).status == "cancelled"
    complete(database, held.run.id, 1, dataset_result(held))
    assert fire_all(database) == []


def test_an_upstream_without_a_version_is_waited_for(database: Database) -> None:
    refresh(database, "left")
    refresh(database, "right", is_changed=False)
    assert waiting(database) == []
    refresh(database, "right")
    assert len(waiting(database)) == 1
