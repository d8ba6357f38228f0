"""Plans: what is staged, claimed or cancelled while they run."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from optaic.domain.plan import PlanStatus, StepStatus
from optaic.domain.status import RunStatus
from optaic.errors import ConflictError
from optaic.ledger import catalog, declaration, freshness, runs, tables
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, lock_graph
from optaic.lifecycle.cancel import cancel, cancel_plan
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import end_attempt
from tests.factories import LEASE, add_dataset, claim_run, submit_run
from tests.planning import (
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
from tests.rows import counted, put


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with open_diamond(database_url) as opened:
        yield opened


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
        "left": "cancelled",
        "right": "cancelled",
        "signal": "cancelled",
    }
    assert sorted(work(database)) == ["left", "mixed", "other"]
    assert again(database, second).status is PlanStatus.COMPLETED
    with pytest.raises(ConflictError, match="already completed"):
        cancel_plan(database, second.id)


def test_a_cancelled_plan_shows_all_its_steps_also_those_that_another_goes_on_with(database: Database) -> None:
    first, second = plan(database, "signal"), plan(database, "signal")
    finish(database, claim_run(database))
    ended = cancel_plan(database, first.id)
    assert ended.status is PlanStatus.CANCELLED
    assert steps(database, first) == {
        "prices": "done",
        "left": "cancelled",
        "right": "cancelled",
        "signal": "cancelled",
    }
    target = again(database, first).target_step
    assert target is not None
    assert target.reason is not None
    assert target.reason["next_step"] == f"optaic plan {second.id}"
    assert [step.upstream_ids for step in again(database, first).steps] == [step.upstream_ids for step in second.steps]
    assert sorted(work(database)) == ["left", "right", "signal"]
    assert again(database, second).status is PlanStatus.COMPLETED
    assert set(steps(database, second).values()) == {"done"}
    assert steps(database, first)["signal"] == "cancelled"


def test_what_is_archived_while_a_plan_runs_is_told_so_and_not_as_not_needed(database: Database) -> None:
    add_dataset(database, "later", inputs={"signal": "signal"})
    make_ready(database)
    plan(database, "later")
    work(database)
    make_stale(database, "prices")
    made = plan(database, "later", smart=True)
    with database.write() as tx:
        lock_graph(tx)
        for name in ("later", "signal"):
            declaration.archive(tx, catalog.find_flow(tx, name).instance_id)
    work(database)
    assert steps(database, made)["signal"] == "cancelled"
    assert steps(database, made)["later"] == "blocked"
    for step in again(database, made).steps[-2:]:
        assert step.reason is not None
        assert step.reason["message"] == "signal was archived while the plan ran"
        assert step.reason["next_step"]
    assert again(database, made).status is PlanStatus.FAILED


def test_a_failed_step_says_what_to_do(database: Database) -> None:
    made = plan(database)
    end_attempt(database, claim_run(database).run.id, 1, FAILED)
    failed = again(database, made).steps[0]
    assert failed.reason is not None
    assert failed.reason["next_step"] == FAILED.next_step


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
