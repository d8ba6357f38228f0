"""Plans: one snapshot, runs that follow each other, and what becomes of them when something comes between."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from optaic.domain.plan import Plan, PlanMode, PlanStatus, StepStatus
from optaic.domain.reason import Reason
from optaic.domain.run import Run
from optaic.domain.status import RunStatus
from optaic.errors import ConflictError, IdempotencyMismatchError
from optaic.ledger import catalog, freshness, plans, runs, tables
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, lock_graph
from optaic.lifecycle.cancel import cancel, cancel_plan
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.plan import PlanRequest, create
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run
from tests.rows import counted, put

FAILED = Reason(code="flow_error", message="the vendor sent nonsense", next_step="look at the log")
AGAIN = Reason(code="retryable_error", message="the vendor is busy", next_step="wait")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A diamond: `left` and `right` read `prices`, `signal` reads both; `other` is a source, `mixed` reads it too."""
    opened = Database(database_url)
    add_dataset(opened)
    add_dataset(opened, "left", inputs={"close": "prices"}, policies={"retry": {"backoff_seconds": 0.0}})
    add_dataset(opened, "right", inputs={"close": "prices"})
    add_dataset(opened, "signal", inputs={"left": "left", "right": "right"})
    add_dataset(opened, "other")
    add_dataset(opened, "mixed", inputs={"left": "left", "other": "other"})
    yield opened
    opened.close()


def plan(database: Database, target: str = "signal", *, smart: bool = False, key: str | None = None) -> Plan:
    mode = PlanMode.SMART if smart else PlanMode.RECURSIVE
    return create(database, PlanRequest(target=target, mode=mode, idempotency_key=key))


def finish(database: Database, held: Claim, *, is_changed: bool = True) -> None:
    complete(database, held.run.id, held.attempt, dataset_result(held, is_changed=is_changed))


def work(database: Database, *unchanged: str) -> list[str]:
    """Complete what can be claimed until nothing is left; give the instances in order."""
    done: list[str] = []
    while (held := claim(database, worker="worker-1", lease=LEASE)) is not None:
        done.append(held.run.instance)
        finish(database, held, is_changed=held.run.instance not in unchanged)
    return done


def make_ready(database: Database) -> None:
    for target in ("signal", "mixed"):
        plan(database, target)
        work(database)


def refresh(database: Database, name: str, *, is_changed: bool = True) -> None:
    finish(database, claim_run(database, submit_run(database, name)), is_changed=is_changed)


def make_stale(database: Database, name: str) -> None:
    """Let a flow have other code than its last run."""
    with database.write() as tx:
        flow = catalog.find_flow(tx, name)
        row = tx.conn.execute(
            select(tables.definition_versions).where(tables.definition_versions.c.id == flow.definition_version_id)
        ).one()
        version_id = uuid.uuid4()
        tx.conn.execute(
            tables.definition_versions.insert().values(
                {**row._mapping, "id": version_id, "code_digest": version_id.hex * 2}
            )
        )
        tx.conn.execute(
            update(tables.flows).where(tables.flows.c.id == flow.id).values(definition_version_id=version_id)
        )
        freshness.settle(tx, [flow.id])


def steps(database: Database, made: Plan) -> dict[str, StepStatus]:
    return {step.target: step.status for step in again(database, made).steps}


def again(database: Database, made: Plan) -> Plan:
    with database.read() as tx:
        return plans.get(tx, made.id)


def run_of(database: Database, made: Plan, target: str) -> Run:
    (step,) = [step for step in again(database, made).steps if step.target == target]
    assert step.run_id is not None
    with database.read() as tx:
        return runs.get(tx, step.run_id)


def read_versions(database: Database, run_id: uuid.UUID) -> list[int]:
    query = (
        select(tables.versions.c.number)
        .join(tables.run_inputs, tables.run_inputs.c.version_id == tables.versions.c.id)
        .where(tables.run_inputs.c.run_id == run_id)
        .order_by(tables.run_inputs.c.role)
    )
    with database.read() as tx:
        return list(tx.conn.execute(query).scalars())


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


def read_by_stage(database: Database, name: str) -> None:
    """Let a flow read the champion of what it reads, instead of what is current."""
    with database.write() as tx:
        flow_id = catalog.find_flow(tx, name).id
        tx.conn.execute(
            update(tables.flow_inputs)
            .where(tables.flow_inputs.c.flow_id == flow_id)
            .values(selector="stage", selector_stage="champion")
        )


def make_champion(database: Database, name: str, number: int) -> None:
    with database.write() as tx:
        lock_graph(tx)
        flow_id = catalog.find_flow(tx, name).id
        stages, versions = tables.version_stages, tables.versions
        tx.conn.execute(update(stages).where(stages.c.flow_id == flow_id).values(ended_at=db_now()))
        version_id = tx.conn.execute(
            select(versions.c.id).where(versions.c.flow_id == flow_id, versions.c.number == number)
        ).scalar_one()
        put(tx, stages, flow_id=flow_id, version_id=version_id, stage="champion", set_by=tx.actor_id)
        readers = tx.conn.execute(
            select(tables.flow_inputs.c.flow_id).where(tables.flow_inputs.c.upstream_flow_id == flow_id)
        ).scalars()
        freshness.settle(tx, set(readers))


def test_a_champion_made_meanwhile_never_mixes_in(database: Database) -> None:
    make_ready(database)
    refresh(database, "prices")
    make_champion(database, "prices", 1)
    read_by_stage(database, "left")
    make_stale(database, "left")
    made = plan(database, smart=True)
    make_champion(database, "prices", 2)
    work(database)
    assert read_versions(database, run_of(database, made, "left").id) == [1], "the champion of the plan's moment"
    assert read_versions(database, run_of(database, made, "right").id) == [2], "current is pinned beside it"
    with database.read() as tx:
        (cause,) = freshness.states(tx, [catalog.find_flow(tx, "left").id])[catalog.find_flow(tx, "left").id].causes
    assert "stage:champion" in cause.detail, "what came meanwhile is told afterwards"


def test_a_run_outside_of_plans_reads_the_champion_of_its_own_moment(database: Database) -> None:
    make_ready(database)
    refresh(database, "prices")
    make_champion(database, "prices", 1)
    read_by_stage(database, "left")
    run = submit_run(database, "left")
    make_champion(database, "prices", 2)
    claim_run(database, run)
    assert read_versions(database, run.id) == [2]


@pytest.mark.parametrize("is_moved", [False, True])
def test_what_would_read_another_champion_is_not_shared(database: Database, *, is_moved: bool) -> None:
    make_ready(database)
    refresh(database, "prices")
    make_champion(database, "prices", 1)
    read_by_stage(database, "left")
    make_stale(database, "left")
    first = plan(database, "signal", smart=True)
    if is_moved:
        make_champion(database, "prices", 2)
    second = plan(database, "mixed", smart=True)
    shared = {step.id for step in first.steps} & {step.id for step in second.steps}
    assert {step.target for step in first.steps if step.id in shared} == (set() if is_moved else {"left"})
    work(database)
    assert read_versions(database, run_of(database, first, "left").id) == [1]
    assert read_versions(database, run_of(database, second, "left").id) == [2 if is_moved else 1]


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


def test_cancelling_a_plan_leaves_what_another_needs(database: Database) -> None:
    first, second = plan(database, "signal"), plan(database, "mixed")
    finish(database, claim_run(database, run_of(database, first, "prices")))
    held = claim_run(database, run_of(database, first, "right"))
    asked = cancel_plan(database, first.id)
    assert asked.status is PlanStatus.RUNNING, "right still runs"
    with database.read() as tx:
        assert runs.get(tx, held.run.id).cancel_requested_at is not None
    end_attempt(database, held.run.id, 1, FAILED)
    ended = again(database, first)
    assert ended.status is PlanStatus.CANCELLED
    assert {step.target: step.status for step in ended.steps} == {
        "prices": "done",
        "right": "cancelled",
        "signal": "cancelled",
    }
    assert sorted(work(database)) == ["left", "mixed", "other"]
    assert again(database, second).status is PlanStatus.COMPLETED
    with pytest.raises(ConflictError, match="already completed"):
        cancel_plan(database, second.id)


def test_a_plan_that_nothing_runs_of_is_cancelled_at_once(database: Database) -> None:
    made = plan(database)
    ended = cancel_plan(database, made.id)
    assert ended.status is PlanStatus.CANCELLED
    assert {step.status for step in ended.steps} == {StepStatus.CANCELLED}
    assert run_of(database, made, "prices").status is RunStatus.CANCELLED
    assert work(database) == []


def test_what_has_not_started_of_a_cancelled_plan_says_why_and_what_to_do(database: Database) -> None:
    made = plan(database)
    cancel_plan(database, made.id)
    run = run_of(database, made, "prices")
    assert run.reason is not None
    assert run.reason.code == "cancelled"
    assert str(made.id) in run.reason.message
    assert "optaic run signal --recursive" in run.reason.next_step
    with database.read() as tx:
        told = tx.conn.execute(
            select(tables.activities).where(
                tables.activities.c.resource_id == str(run.id), tables.activities.c.verb == "pipeline_run.cancelled"
            )
        ).one()
    assert told.payload["status"] == "cancelled"
    assert told.payload["reason_code"] == "cancelled"
    assert told.correlation_id == made.id


@pytest.mark.parametrize("claimed", [0, 1])
def test_a_cancel_takes_as_many_statements_however_many_runs_there_are(database: Database, *, claimed: int) -> None:
    counts: list[int] = []
    for width in (2, 12):
        for number in range(width):
            add_dataset(database, f"s{width}_{number}")
        add_dataset(database, f"wide{width}", inputs={f"x{number}": f"s{width}_{number}" for number in range(width)})
        made = plan(database, f"wide{width}")
        for number in range(claimed * (width - 1)):
            claim_run(database, run_of(database, made, f"s{width}_{number}"))
        with counted(database) as seen:
            ended = cancel_plan(database, made.id)
        counts.append(len(seen))
        assert ended.status is (PlanStatus.RUNNING if claimed else PlanStatus.CANCELLED)
        found = [run_of(database, made, f"s{width}_{number}") for number in range(width)]
        assert [run.cancel_requested_at is not None for run in found] == [True] * (claimed * (width - 1)) + [False] * (
            width - claimed * (width - 1)
        )
        assert {run.status for run in found[claimed * (width - 1) :]} == {RunStatus.CANCELLED}
    assert counts[0] == counts[1]


def test_a_claim_at_the_same_moment_as_a_cancel_is_cancelled_or_noted(database: Database) -> None:
    """Whichever comes first, each run has ended as cancelled or has the note."""
    for number in range(4):
        add_dataset(database, f"s{number}")
    add_dataset(database, "wide", inputs={f"x{number}": f"s{number}" for number in range(4)})
    for _ in range(5):
        made = plan(database, "wide")
        barrier, held = threading.Barrier(2), list[Claim]()

        def serve(barrier: threading.Barrier = barrier, held: list[Claim] = held) -> None:
            barrier.wait()
            while (one := claim(database, worker="worker", lease=LEASE)) is not None:
                held.append(one)

        thread = threading.Thread(target=serve)
        thread.start()
        barrier.wait()
        cancel_plan(database, made.id)
        thread.join()
        for number in range(4):
            run = run_of(database, made, f"s{number}")
            assert run.status is RunStatus.CANCELLED or run.cancel_requested_at is not None
        for one in held:
            end_attempt(database, one.run.id, one.attempt, FAILED)
        assert again(database, made).status is PlanStatus.CANCELLED


def test_cancelling_one_run_of_a_plan_blocks_what_needed_it(database: Database) -> None:
    made = plan(database)
    cancel(database, run_of(database, made, "prices").id)
    assert steps(database, made) == {
        "prices": "cancelled",
        "left": "blocked",
        "right": "blocked",
        "signal": "blocked",
    }
    assert again(database, made).status is PlanStatus.FAILED


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
