"""The life of a run in the ledger, step by step, on both databases."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator

import pytest

from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason
from optaic.domain.status import RunStatus, Standing
from optaic.errors import (
    ConflictError,
    IdempotencyMismatchError,
    IllegalTransitionError,
    LeaseLostError,
    NoOutputError,
    NotFoundError,
    UpstreamNotReadyError,
)
from optaic.flows.task import Result
from optaic.ledger import attempts, catalog, runs, versions
from optaic.ledger.session import Database
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.rescue import find_lost, rescue
from optaic.lifecycle.retry import retry
from optaic.lifecycle.submit import Submission, submit
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run

GONE = dt.timedelta(seconds=-1)
ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def test_a_run_is_recorded_claimed_and_completed_and_publishes_a_version(database: Database) -> None:
    flow_id = add_dataset(database)
    run = submit_run(database)
    assert (run.status, run.standing, run.attempt) == (RunStatus.PENDING, Standing.OFFICIAL, 0)

    held = claim_run(database)
    assert (held.run.id, held.attempt, held.task.mode) == (run.id, 1, None)
    done = complete(database, run.id, 1, dataset_result(held))

    assert done.status is RunStatus.COMPLETED
    assert done.metrics["rows_inserted"] == 1
    assert done.ended_at is not None
    with database.read() as tx:
        flow = catalog.get_flow(tx, flow_id)
        assert flow.current_run_id == run.id
        assert flow.current_version_id is not None
        version = versions.get_dataset(tx, flow.current_version_id)
    assert (version.number, len(version.segments)) == (1, 1)


def test_a_refresh_that_changed_nothing_makes_no_version(database: Database) -> None:
    flow_id = add_dataset(database)
    submit_run(database)
    first = claim_run(database)
    complete(database, first.run.id, 1, dataset_result(first))
    submit_run(database)
    second = claim_run(database)
    assert second.task.mode is None
    assert second.task.current is not None
    complete(database, second.run.id, 1, dataset_result(second, is_changed=False))
    with database.read() as tx:
        flow = catalog.get_flow(tx, flow_id)
        assert flow.current_run_id == second.run.id
        assert flow.current_version_id == second.task.current.id


def test_a_completion_without_a_data_date_does_not_erase_the_one_that_is_known(database: Database) -> None:
    flow_id = add_dataset(database)
    submit_run(database)
    first = claim_run(database)
    complete(database, first.run.id, 1, dataset_result(first))
    submit_run(database)
    second = claim_run(database)
    complete(database, second.run.id, 1, dataset_result(second, is_changed=False, day=None))
    with database.read() as tx:
        assert catalog.get_flow(tx, flow_id).last_data_date == dt.date(2024, 1, 2)


def test_a_trial_publishes_nothing(database: Database) -> None:
    flow_id = add_dataset(database)
    run = submit_run(database, seed=7)
    assert run.standing is Standing.TRIAL
    held = claim_run(database)
    complete(database, run.id, 1, dataset_result(held))
    with database.read() as tx:
        flow = catalog.get_flow(tx, flow_id)
        assert (flow.current_version_id, flow.current_run_id, flow.last_attempt_run_id) == (None, None, None)


def test_success_without_output_is_refused_and_changes_nothing(database: Database) -> None:
    add_dataset(database)
    run = submit_run(database)
    claim_run(database)
    with pytest.raises(NoOutputError):
        complete(database, run.id, 1, Result())
    with database.read() as tx:
        assert runs.get(tx, run.id).status is RunStatus.RUNNING


def test_a_late_completion_is_refused_and_told_so(database: Database) -> None:
    flow_id = add_dataset(database)
    run = submit_run(database)
    late = claim_run(database, lease=GONE)
    assert rescue(database) == [run.id]
    with pytest.raises(LeaseLostError, match="attempt 1"):
        complete(database, run.id, 1, dataset_result(late))
    with pytest.raises(LeaseLostError), database.write() as tx:
        attempts.renew(tx, run.id, 1, LEASE)
    with database.read() as tx:
        assert catalog.get_flow(tx, flow_id).current_version_id is None
        assert runs.get(tx, run.id).status is RunStatus.PENDING


def test_a_lost_run_waits_with_backoff_and_is_taken_up_as_a_new_attempt(database: Database) -> None:
    add_dataset(database, policies={"retry": {"backoff_seconds": 0.0}})
    run = submit_run(database)
    claim_run(database, lease=GONE)
    rescue(database)
    with database.read() as tx:
        waiting = runs.get(tx, run.id)
    assert waiting.reason is not None
    assert waiting.reason.code == "worker_lost"
    again = claim_run(database)
    assert (again.run.id, again.attempt) == (run.id, 2)
    assert again.task.started_at == waiting.started_at


def test_a_run_waits_for_its_backoff(database: Database) -> None:
    add_dataset(database, policies={"retry": {"backoff_seconds": 1000.0, "max_backoff_seconds": 1000.0}})
    submit_run(database)
    claim_run(database, lease=GONE)
    rescue(database)
    assert claim(database, worker="w", lease=LEASE) is None


def test_a_run_that_is_lost_too_often_fails(database: Database) -> None:
    add_dataset(database, policies={"retry": {"max_attempts": 2, "backoff_seconds": 0.0}})
    run = submit_run(database)
    for _ in range(2):
        claim_run(database, lease=GONE)
        rescue(database)
    with database.read() as tx:
        ended = runs.get(tx, run.id)
    assert ended.status is RunStatus.FAILED
    assert ended.reason is not None
    assert (ended.reason.code, ended.attempt) == ("worker_lost", 2)


def test_released_attempts_do_not_count_against_the_policy(database: Database) -> None:
    add_dataset(database, policies={"retry": {"max_attempts": 1, "backoff_seconds": 0.0}})
    run = submit_run(database)
    for number in (1, 2, 3):
        claim_run(database)
        released = Reason(code="released", message="shut down", next_step="wait")
        after = end_attempt(database, run.id, number, released, outcome=AttemptOutcome.RELEASED, is_repeatable=True)
        assert (after.status, after.attempt) == (RunStatus.PENDING, number)


def test_a_lease_that_is_renewed_after_the_rescuer_read_is_left_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_dataset(database)
    run = submit_run(database)
    claim_run(database, lease=GONE)
    read = find_lost(database)
    assert [item[0] for item in read] == [run.id]
    with database.write() as tx:
        attempts.renew(tx, run.id, 1, LEASE)

    # The rescuer goes on with what it has read.
    def read_before(_: Database) -> list[tuple[uuid.UUID, int, str]]:
        return read

    monkeypatch.setattr("optaic.lifecycle.rescue.find_lost", read_before)
    assert rescue(database) == []
    with database.read() as tx:
        assert runs.get(tx, run.id).status is RunStatus.RUNNING


def test_a_pending_run_is_cancelled_at_once_and_a_running_one_by_a_note(database: Database) -> None:
    add_dataset(database)
    waiting = submit_run(database)
    assert cancel(database, waiting.id).status is RunStatus.CANCELLED
    with pytest.raises(IllegalTransitionError):
        cancel(database, waiting.id)

    run = submit_run(database)
    claim_run(database)
    noted = cancel(database, run.id)
    assert noted.status is RunStatus.RUNNING
    assert noted.cancel_requested_at is not None
    with database.write() as tx:
        assert attempts.renew(tx, run.id, 1, LEASE).is_cancel_requested
    ended = end_attempt(database, run.id, 1, ERROR, outcome=AttemptOutcome.CANCELLED)
    assert ended.status is RunStatus.CANCELLED
    assert ended.reason is not None
    assert ended.reason.code == "cancelled"


def test_a_lost_run_that_was_asked_to_stop_is_cancelled(database: Database) -> None:
    add_dataset(database)
    run = submit_run(database)
    claim_run(database, lease=GONE)
    cancel(database, run.id)
    rescue(database)
    with database.read() as tx:
        assert runs.get(tx, run.id).status is RunStatus.CANCELLED


def test_only_one_official_run_of_a_flow_is_running(database: Database) -> None:
    add_dataset(database)
    first, second = submit_run(database), submit_run(database)
    held = claim_run(database)
    assert held.run.id == first.id
    assert claim(database, worker="w", lease=LEASE) is None
    trial = submit_run(database, seed=1)
    assert claim_run(database).run.id == trial.id
    complete(database, first.id, 1, dataset_result(held))
    assert claim_run(database).run.id == second.id


def test_higher_priority_first_then_oldest(database: Database) -> None:
    for name in ("a", "b", "c"):
        add_dataset(database, name)
    low, high, later = submit_run(database, "a"), submit_run(database, "b", priority=5), submit_run(database, "c")
    assert [claim_run(database).run.id for _ in range(3)] == [high.id, low.id, later.id]


def test_the_same_key_gives_the_same_run_and_another_request_is_a_conflict(database: Database) -> None:
    add_dataset(database)
    run = submit_run(database, idempotency_key="k")
    assert submit_run(database, idempotency_key="k").id == run.id
    with pytest.raises(IdempotencyMismatchError):
        submit_run(database, idempotency_key="k", seed=3)


def test_the_same_key_from_eight_threads_gives_one_run(database: Database) -> None:
    add_dataset(database)
    barrier = threading.Barrier(8)
    found: list[object] = []

    def go() -> None:
        barrier.wait()
        found.append(submit(database, Submission(target="prices", idempotency_key="same")).id)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_eight_claimers_take_each_run_once(database: Database) -> None:
    names = [f"d{number}" for number in range(12)]
    for name in names:
        add_dataset(database, name)
        submit_run(database, name)
    barrier = threading.Barrier(8)
    taken: list[object] = []

    def go(number: int) -> None:
        barrier.wait()
        while (held := claim(database, worker=f"w{number}", lease=LEASE)) is not None:
            taken.append(held.run.id)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 12


def test_inputs_are_pinned_when_the_first_attempt_starts(database: Database) -> None:
    add_dataset(database, "prices")
    add_dataset(database, "returns", inputs={"close": "prices"})
    with pytest.raises(UpstreamNotReadyError) as refused:
        submit_run(database, "returns")
    assert refused.value.next_step == "optaic run returns --recursive"

    submit_run(database, "prices")
    first = claim_run(database)
    complete(database, first.run.id, 1, dataset_result(first))
    reader = submit_run(database, "returns")
    held = claim_run(database, reader, lease=GONE)
    assert [pin.version.number for pin in held.task.inputs] == [1]

    submit_run(database, "prices")
    newer = claim_run(database)
    complete(database, newer.run.id, 1, dataset_result(newer))
    rescue(database)
    with database.write() as tx:
        from sqlalchemy import update

        from optaic.ledger.columns import db_now
        from optaic.ledger.tables import runs as table

        tx.conn.execute(update(table).where(table.c.id == reader.id).values(available_at=db_now(-1.0)))
    again = claim_run(database, reader)
    assert again.attempt == 2
    assert [pin.version.number for pin in again.task.inputs] == [1]


def test_a_retry_is_a_new_run_that_names_the_old_one(database: Database) -> None:
    add_dataset(database)
    run = submit_run(database)
    with pytest.raises(ConflictError):
        retry(database, run.id)
    claim_run(database)
    end_attempt(database, run.id, 1, ERROR)
    again = retry(database, run.id)
    assert (again.retry_of_id, again.standing, again.status) == (run.id, Standing.OFFICIAL, RunStatus.PENDING)


def test_another_tenant_sees_nothing(database: Database) -> None:
    add_dataset(database)
    run = submit_run(database)
    other = Database(database.url, tenant_id=2)
    with pytest.raises(NotFoundError), other.read() as tx:
        runs.get(tx, run.id)
    with pytest.raises(NotFoundError):
        cancel(other, run.id)
    assert claim(other, worker="w", lease=LEASE) is None
    other.close()


def test_what_a_run_read_of_its_inputs_is_recorded_with_open_ends_left_open(database: Database) -> None:
    from dataclasses import replace

    from optaic.ledger import search

    add_dataset(database, "prices")
    add_dataset(database, "index")
    add_dataset(database, "factors")
    for name in ("prices", "index", "factors"):
        submit_run(database, name)
        held = claim_run(database)
        complete(database, held.run.id, 1, dataset_result(held))
    add_dataset(database, "reader", inputs={"close": "prices", "level": "index", "other": "factors"})
    run = submit_run(database, "reader")
    held = claim_run(database)
    day = dt.date(2024, 1, 2)
    slices = {"close": (day, None), "level": (None, day), "other": None}
    complete(database, run.id, 1, replace(dataset_result(held), slices=slices))
    with database.read() as tx:
        rows = {row.role: row for row in search.inputs_of_runs(tx, [run.id])[run.id]}
    assert (rows["close"].first_date, rows["close"].last_date, rows["close"].columns) == (day, None, None)
    assert (rows["level"].first_date, rows["level"].last_date, rows["level"].columns) == (None, day, None)
    assert rows["other"].columns == []
