"""Rule 3, with two connections: whoever writes second finds out, whichever of the two it is."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from sqlalchemy import select

from optaic.domain.reason import Reason
from optaic.domain.status import RunStatus
from optaic.errors import ConflictError, IllegalTransitionError, LeaseLostError
from optaic.ledger import attempts, limits, runs, tables
from optaic.ledger.session import Database
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.publish import relay
from optaic.lifecycle.rescue import rescue
from tests.crossing import assert_whole, cross, spawn, stopped_before, wait_until_blocked
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run

GONE = dt.timedelta(seconds=-60)
ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")
AT_ONCE = {"retry": {"max_attempts": 3, "backoff_seconds": 0.0}}
END = "INSERT INTO activities"
"""The last statement of a transition: stopped before it, a transaction has written and not committed."""


@pytest.fixture
def one(postgres_url: str) -> Iterator[Database]:
    opened = Database(postgres_url)
    add_dataset(opened, policies=AT_ONCE)
    yield opened
    opened.close()


@pytest.fixture
def two(postgres_url: str) -> Iterator[Database]:
    opened = Database(postgres_url)
    yield opened
    opened.close()


def status_of(database: Database, held: Claim) -> RunStatus:
    with database.read() as tx:
        return runs.get(tx, held.run.id).status


def renew(database: Database, held: Claim) -> attempts.Hold:
    with database.write() as tx:
        return attempts.renew(tx, held.run.id, held.attempt, LEASE)


def finish(database: Database, held: Claim) -> object:
    return complete(database, held.run.id, held.attempt, dataset_result(held))


def hold_run(database: Database, *, lease: dt.timedelta = LEASE) -> Claim:
    return claim_run(database, submit_run(database), lease=lease)


def test_a_heartbeat_between_the_rescuers_read_and_its_write_saves_the_run(one: Database, two: Database) -> None:
    held = hold_run(one, lease=GONE)
    with stopped_before(two, "FROM tenants") as stop:  # it has read which leases expired, and begins to write
        rescuer = spawn(lambda: rescue(two))
        stop.wait()
        renew(one, held)
        stop.go.set()
        assert rescuer.result() == []
    assert status_of(one, held) is RunStatus.RUNNING
    finish(one, held)


def test_a_rescuer_waits_for_an_uncommitted_heartbeat_and_then_looks_again(one: Database, two: Database) -> None:
    held = hold_run(one, lease=GONE)
    with one.write() as tx:
        attempts.renew(tx, held.run.id, 1, LEASE)
        rescuer = spawn(lambda: rescue(two))
        wait_until_blocked(one, rescuer)
    assert rescuer.result() == []
    assert status_of(one, held) is RunStatus.RUNNING


def test_a_heartbeat_waits_for_an_uncommitted_rescue_and_is_told(one: Database, two: Database) -> None:
    held = hold_run(one, lease=GONE)
    with stopped_before(two, END) as stop:
        rescuer = spawn(lambda: rescue(two))
        stop.wait()
        heartbeat = spawn(lambda: renew(one, held))
        wait_until_blocked(two, heartbeat)
        stop.go.set()
        assert rescuer.result() == [held.run.id]
    with pytest.raises(LeaseLostError):
        heartbeat.result()


@pytest.mark.parametrize("place", ["INSERT INTO versions", "UPDATE flows", "UPDATE attempts", "UPDATE runs", END])
def test_a_rescue_that_meets_a_completion_anywhere_changes_nothing(one: Database, two: Database, place: str) -> None:
    held = hold_run(one, lease=GONE)
    with stopped_before(one, place) as stop:
        completion = spawn(lambda: finish(one, held))
        stop.wait()
        rescuer = spawn(lambda: rescue(two))
        wait_until_blocked(two, rescuer)
        stop.go.set()
        completion.result()
        assert rescuer.result() == []
    assert status_of(one, held) is RunStatus.COMPLETED
    assert_whole(one)


@pytest.mark.parametrize("place", ["UPDATE attempts", "UPDATE runs", END, "UPDATE flows"])
def test_a_completion_that_meets_a_rescue_anywhere_is_told(one: Database, two: Database, place: str) -> None:
    held = hold_run(one, lease=GONE)
    with stopped_before(two, place) as stop:
        rescuer = spawn(lambda: rescue(two))
        stop.wait()
        completion = spawn(lambda: finish(one, held))
        wait_until_blocked(two, completion)
        stop.go.set()
        assert rescuer.result() == [held.run.id]
    with pytest.raises(LeaseLostError):
        completion.result()
    assert status_of(one, held) is RunStatus.PENDING
    assert_whole(one)


def test_of_two_completions_one_takes_effect(one: Database, two: Database) -> None:
    held = hold_run(one)
    found = cross(lambda: finish(one, held), lambda: finish(two, held))
    assert sorted(type(item).__name__ for item in found) == ["LeaseLostError", "Run"]
    assert_whole(one)


def test_a_cancel_that_meets_a_claim_becomes_a_note(one: Database, two: Database) -> None:
    run = submit_run(one)
    with stopped_before(one, END) as stop:
        claimer = spawn(lambda: claim(one, worker="w", lease=LEASE))
        stop.wait()
        canceller = spawn(lambda: cancel(two, run.id))
        wait_until_blocked(two, canceller)
        stop.go.set()
        held = claimer.result()
    assert held is not None
    after = canceller.result()
    assert (after.status, after.cancel_requested_at is not None) == (RunStatus.RUNNING, True)
    assert renew(one, held).is_cancel_requested
    assert_whole(one)


def test_a_claim_passes_by_what_is_being_cancelled(one: Database, two: Database) -> None:
    run = submit_run(one)
    with stopped_before(one, END) as stop:
        canceller = spawn(lambda: cancel(one, run.id))
        stop.wait()
        assert claim(two, worker="w", lease=LEASE) is None
        stop.go.set()
        assert canceller.result().status is RunStatus.CANCELLED
    assert_whole(one)


def test_a_cancel_that_meets_a_completion_is_told(one: Database, two: Database) -> None:
    held = hold_run(one)
    with stopped_before(one, END) as stop:
        completion = spawn(lambda: finish(one, held))
        stop.wait()
        canceller = spawn(lambda: cancel(two, held.run.id))
        wait_until_blocked(two, canceller)
        stop.go.set()
        completion.result()
    with pytest.raises(IllegalTransitionError):
        canceller.result()
    assert_whole(one)


def test_a_completion_that_meets_a_cancel_completes(one: Database, two: Database) -> None:
    held = hold_run(one)
    with stopped_before(two, END) as stop:
        canceller = spawn(lambda: cancel(two, held.run.id))
        stop.wait()
        completion = spawn(lambda: finish(one, held))
        wait_until_blocked(two, completion)
        stop.go.set()
        assert canceller.result().status is RunStatus.RUNNING
        completion.result()
    assert status_of(one, held) is RunStatus.COMPLETED
    assert_whole(one)


@pytest.mark.parametrize("place", ["FROM tenants", "UPDATE attempts", "UPDATE runs", END])
def test_a_cancel_while_an_attempt_is_given_back_is_not_forgotten(one: Database, two: Database, place: str) -> None:
    held = hold_run(one)
    with stopped_before(one, place) as stop:
        end = spawn(lambda: end_attempt(one, held.run.id, 1, ERROR, is_repeatable=True))
        stop.wait()
        canceller = spawn(lambda: cancel(two, held.run.id))
        wait_until_blocked(two, canceller)
        stop.go.set()
        end.result()
        canceller.result()
    # Nobody who was told "it will stop" finds it started again.
    assert claim(one, worker="w", lease=LEASE) is None
    assert status_of(one, held) is RunStatus.CANCELLED
    assert_whole(one)


@pytest.mark.parametrize(
    ("scope", "name"), [("tenant", "*"), ("run_type", "PipelineRun"), ("instance", "prices")], ids=str
)
def test_of_two_claimers_one_takes_the_last_slot(one: Database, two: Database, scope: str, name: str) -> None:
    with one.write() as tx:
        limits.set_limit(tx, scope, name, 1)
    for seed in (1, 2):
        submit_run(one, seed=seed)  # trials: nothing but the limit holds them apart
    with stopped_before(one, END) as stop:
        first = spawn(lambda: claim(one, worker="a", lease=LEASE))
        stop.wait()
        second = spawn(lambda: claim(two, worker="b", lease=LEASE))
        wait_until_blocked(two, second)
        stop.go.set()
        held = first.result()
        assert held is not None
        assert second.result() is None
    finish(one, held)
    assert claim(two, worker="b", lease=LEASE) is not None


def test_a_claim_while_a_limit_is_set_again_still_counts(one: Database, two: Database) -> None:
    with one.write() as tx:
        limits.set_limit(tx, "tenant", "*", 1)
    for seed in (1, 2):
        submit_run(one, seed=seed)
    assert claim(one, worker="a", lease=LEASE) is not None
    with one.write() as tx:
        limits.set_limit(tx, "tenant", "*", 1)
        second = spawn(lambda: claim(two, worker="b", lease=LEASE))
        wait_until_blocked(one, second)
    assert second.result() is None


def test_hundreds_of_crossings_end_without_a_deadlock(one: Database, two: Database) -> None:
    chance = random.Random(20240102)
    for _ in range(60):
        held = hold_run(one, lease=GONE)
        actions = possible_actions(held)
        chosen = [actions[name] for name in chance.sample(sorted(actions), 5)]
        found = cross(*(partial(action, (one, two)[index % 2]) for index, action in enumerate(chosen)))
        surprises = [item for item in found if isinstance(item, BaseException) and not isinstance(item, ConflictError)]
        assert surprises == []
        assert_whole(one)
        end_what_is_open(one)


def possible_actions(held: Claim) -> dict[str, Callable[[Database], object]]:
    run_id, attempt = held.run.id, held.attempt
    return {
        "complete": lambda database: finish(database, held),
        "fail": lambda database: end_attempt(database, run_id, attempt, ERROR),
        "repeat": lambda database: end_attempt(database, run_id, attempt, ERROR, is_repeatable=True),
        "rescue": rescue,
        "cancel": lambda database: cancel(database, run_id),
        "renew": lambda database: renew(database, held),
        "claim": lambda database: claim(database, worker="other", lease=GONE),
        "relay": relay,
        "submit": lambda database: submit_run(database, seed=3),
    }


def end_what_is_open(database: Database) -> None:
    """Make way for the next crossing: one official run of the flow at a time."""
    with database.read() as tx:
        query = select(tables.runs.c.id, tables.runs.c.attempt).where(tables.runs.c.ended_at.is_(None))
        left = tx.conn.execute(query).all()
    for row in left:
        if cancel(database, row.id).status is RunStatus.RUNNING:
            end_attempt(database, row.id, row.attempt, ERROR)
