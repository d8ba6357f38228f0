"""Plans: one snapshot, runs that follow each other, and what becomes of them when something comes between."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest

from optaic.domain.plan import PlanStatus, StepStatus
from optaic.errors import IdempotencyMismatchError
from optaic.ledger import catalog, declaration, freshness
from optaic.ledger.session import Database
from optaic.lifecycle.cancel import cancel_plan
from optaic.lifecycle.claim import claim
from optaic.lifecycle.complete import end_attempt
from tests.factories import LEASE, add_dataset, claim_run, submit_run
from tests.planning import (
    AGAIN,
    FAILED,
    again,
    finish,
    make_ready,
    make_stale,
    open_diamond,
    plan,
    read_versions,
    refresh,
    run_of,
    steps,
    work,
)
from tests.rows import counted


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with open_diamond(database_url) as opened:
        yield opened


def test_a_plan_runs_what_has_never_run_in_order(database: Database) -> None:
    made = plan(database)
    assert [(step.target, step.batch, step.status) for step in made.steps] == [
        ("prices", 1, "running"),
        ("left", 2, "waiting"),
        ("right", 2, "waiting"),
        ("signal", 3, "waiting"),
    ]
    assert work(database) == ["prices", "left", "right", "signal"]
    ended = again(database, made)
    assert ended.status is PlanStatus.COMPLETED
    assert {step.status for step in ended.steps} == {StepStatus.DONE}
    run = run_of(database, made, "signal")
    assert (run.trigger, run.standing, run.plan_step_id) == ("plan", "official", ended.steps[-1].id)


def test_steps_of_one_batch_can_run_at_once(database: Database) -> None:
    plan(database)
    finish(database, claim_run(database))
    left, right = claim_run(database, worker="worker-1"), claim_run(database, worker="worker-2")
    assert {left.run.instance, right.run.instance} == {"left", "right"}
    finish(database, left)
    assert claim(database, worker="worker-1", lease=LEASE) is None, "signal waits for both"
    finish(database, right)
    assert claim_run(database).run.instance == "signal"


def test_smart_does_nothing_where_everything_is_ready(database: Database) -> None:
    make_ready(database)
    made = plan(database, smart=True)
    assert (made.status, made.steps) == (PlanStatus.COMPLETED, ())
    assert [step.target for step in plan(database).steps] == ["signal"], "recursive runs the target in any case"


def test_what_changed_nothing_stops_what_waited_for_it(database: Database) -> None:
    make_ready(database)
    make_stale(database, "prices")
    made = plan(database, smart=True)
    assert [step.target for step in made.steps] == ["prices", "left", "right", "signal"]
    assert work(database, "prices") == ["prices"]
    assert steps(database, made) == {
        "prices": "done",
        "left": "not_needed",
        "right": "not_needed",
        "signal": "not_needed",
    }
    assert again(database, made).status is PlanStatus.COMPLETED
    with database.read() as tx:
        assert {state.freshness for state in freshness.all_states(tx)[1].values()} == {"ready"}


def test_the_target_of_a_recursive_plan_runs_all_the_same(database: Database) -> None:
    make_ready(database)
    make_stale(database, "prices")
    made = plan(database)
    assert work(database, "prices") == ["prices", "signal"]
    assert steps(database, made)["left"] == "not_needed"


def test_one_of_two_ways_that_changed_is_enough(database: Database) -> None:
    make_ready(database)
    make_stale(database, "prices")
    made = plan(database, smart=True)
    assert work(database, "left") == ["prices", "left", "right", "signal"]
    assert read_versions(database, run_of(database, made, "signal").id) == [1, 2]


def test_a_failure_blocks_what_needed_it_and_the_rest_goes_on(database: Database) -> None:
    made = plan(database, "mixed")
    held = {one.run.instance: one for one in (claim_run(database), claim_run(database))}
    end_attempt(database, held["prices"].run.id, 1, FAILED)
    assert steps(database, made) == {"prices": "failed", "other": "running", "left": "blocked", "mixed": "blocked"}
    assert again(database, made).status is PlanStatus.RUNNING
    finish(database, held["other"])
    ended = again(database, made)
    assert ended.status is PlanStatus.FAILED
    (blocked,) = [step for step in ended.steps if step.target == "mixed"]
    assert blocked.reason is not None
    assert (blocked.reason["code"], blocked.reason["run_id"]) == ("upstream_failed", str(held["prices"].run.id))
    assert "the vendor sent nonsense" in blocked.reason["message"]


def test_a_retry_in_progress_is_no_failure(database: Database) -> None:
    made = plan(database)
    finish(database, claim_run(database))
    left = claim_run(database, run_of(database, made, "left"))
    end_attempt(database, left.run.id, 1, AGAIN, is_repeatable=True)
    assert steps(database, made) == {"prices": "done", "left": "running", "right": "running", "signal": "waiting"}
    assert sorted(work(database)) == ["left", "right", "signal"]
    assert again(database, made).status is PlanStatus.COMPLETED


def test_what_others_publish_meanwhile_never_mixes_in(database: Database) -> None:
    make_ready(database)
    make_stale(database, "left")
    make_stale(database, "right")
    made = plan(database, smart=True)
    finish(database, claim_run(database, run_of(database, made, "left")))
    refresh(database, "prices")
    finish(database, claim_run(database, run_of(database, made, "right")))
    finish(database, claim_run(database, run_of(database, made, "signal")))
    assert read_versions(database, run_of(database, made, "left").id) == [1]
    assert read_versions(database, run_of(database, made, "right").id) == [1], "not the version 2 that came meanwhile"
    assert read_versions(database, run_of(database, made, "signal").id) == [2, 2]
    assert again(database, made).status is PlanStatus.COMPLETED
    with database.read() as tx:
        assert catalog.find_flow(tx, "signal").freshness == "stale", "the plan was of another moment"


def test_two_plans_share_a_refresh(database: Database) -> None:
    first, second = plan(database, "signal"), plan(database, "mixed")
    shared = {step.id for step in first.steps} & {step.id for step in second.steps}
    assert {step.target for step in first.steps if step.id in shared} == {"prices", "left"}
    assert sorted(work(database)) == ["left", "mixed", "other", "prices", "right", "signal"]
    assert {again(database, one).status for one in (first, second)} == {PlanStatus.COMPLETED}


def test_what_would_read_something_else_is_not_shared(database: Database) -> None:
    make_ready(database)
    make_stale(database, "left")
    first = plan(database, "signal", smart=True)
    refresh(database, "prices")
    second = plan(database, "mixed", smart=True)
    assert not {step.id for step in first.steps} & {step.id for step in second.steps}
    work(database)
    assert read_versions(database, run_of(database, first, "left").id) == [1]
    assert read_versions(database, run_of(database, second, "left").id) == [2]


def test_the_same_key_gives_the_same_plan(database: Database) -> None:
    made = plan(database, key="k")
    assert plan(database, key="k").id == made.id
    work(database)
    assert plan(database, key="k").id == made.id
    with pytest.raises(IdempotencyMismatchError, match=str(made.id)):
        plan(database, "mixed", key="k")
    with pytest.raises(IdempotencyMismatchError, match=str(made.id)):
        submit_run(database, "other", idempotency_key="k")


def test_the_same_key_at_the_same_moment_gives_one_plan(database: Database) -> None:
    barrier, made = threading.Barrier(4), list[uuid.UUID]()

    def ask() -> None:
        barrier.wait()
        made.append(plan(database, key="k").id)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1


def test_workers_at_the_same_time_run_each_step_once(database: Database) -> None:
    made, other = plan(database, "signal"), plan(database, "mixed")
    barrier, done = threading.Barrier(2), list[str]()

    def serve() -> None:
        barrier.wait()
        while not {again(database, one).status for one in (made, other)} <= {PlanStatus.COMPLETED, PlanStatus.FAILED}:
            held = claim(database, worker="worker", lease=LEASE)
            if held is not None:
                finish(database, held)
                done.append(held.run.instance)

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["left", "mixed", "other", "prices", "right", "signal"]


def test_a_plan_takes_as_many_statements_however_long_it_is(database: Database) -> None:
    with counted(database) as few:
        plan(database, "left")
    for number in range(20):
        add_dataset(database, f"n{number}", inputs={"x": f"n{number - 1}" if number else "prices"})
    add_dataset(database, "last", inputs={f"x{number}": f"n{number}" for number in range(20)})
    with counted(database) as many:
        made = plan(database, "last")
    assert len(made.steps) == 22
    assert len(many) <= len(few) + 5, "what is shared is looked up besides"


def test_a_plan_gives_way_to_what_has_been_made_of_newer_versions_meanwhile(database: Database) -> None:
    make_ready(database)
    made = plan(database, "mixed")
    refresh(database, "prices")
    refresh(database, "left")
    refresh(database, "mixed")
    with database.read() as tx:
        before = {name: catalog.find_flow(tx, name).current_version_id for name in ("left", "mixed")}
    assert work(database) == []
    with database.read() as tx:
        assert {name: catalog.find_flow(tx, name).current_version_id for name in before} == before
        mixed = catalog.find_flow(tx, "mixed").id
        assert freshness.states(tx, [mixed])[mixed].freshness == "ready"
    ended = again(database, made)
    assert ended.status is not PlanStatus.RUNNING
    run = run_of(database, made, ended.steps[0].target)
    assert run.reason is not None
    assert (run.status, run.reason.code) == ("cancelled", "overtaken")


def test_a_plan_goes_on_where_what_was_made_meanwhile_read_nothing_newer(database: Database) -> None:
    make_ready(database)
    make_stale(database, "left")
    made = plan(database, "mixed")
    # In spite of its stale upstream, and after the plan was made: of the version that the plan is about to replace.
    finish(database, claim_run(database, submit_run(database, "mixed", is_forced=True)))
    assert work(database) == ["left", "mixed"]
    assert again(database, made).status is PlanStatus.COMPLETED


def test_what_waits_for_something_that_is_read_no_more_is_not_shared(database: Database) -> None:
    first = plan(database, "signal")
    with database.write() as tx:
        left_id = catalog.find_flow(tx, "left").id
        declaration.end_inputs(tx, [edge.id for edge in catalog.inputs_of(tx, [left_id])])
    second = plan(database, "left")
    assert not {step.id for step in first.steps} & {step.id for step in second.steps}
    cancel_plan(database, first.id)
    assert work(database) == ["left"]
    assert again(database, second).status is PlanStatus.COMPLETED, "it did not wait for what the other plan cancelled"
