"""Random histories of runs, each step compared with a model that fits on a page; on both databases.

After every step: statuses moved only along the table, attempt numbers never fell, an attempt is open if and only if its
run is running, at most one official run of a flow is running, the current version belongs to a completed official run,
there are as many versions as official completions that changed something, every end has a reason, and every transition
has exactly one activity, in order. Late writes of every old attempt change nothing at all and are told so.
"""

from __future__ import annotations

import datetime as dt
import uuid
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, update

from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason
from optaic.domain.status import TRANSITIONS, RunStatus, Standing
from optaic.errors import ConflictError, IllegalTransitionError, LeaseLostError, NoOutputError, UpstreamNotReadyError
from optaic.flows.task import Result
from optaic.ledger import attempts as ledger_attempts
from optaic.ledger import catalog, tables
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.rescue import rescue
from optaic.lifecycle.retry import retry
from tests.conftest import NewDatabase
from tests.factories import LEASE, add_dataset, dataset_result, submit_run
from tests.rows import dump, foreign_keys_hold

MAX_ATTEMPTS = 2
ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")
AT = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
POLICIES = {"retry": {"max_attempts": MAX_ATTEMPTS, "backoff_seconds": 0.0}}


@dataclass
class Expected:
    """What a run should be."""

    target: str
    standing: Standing
    priority: int
    status: RunStatus = RunStatus.PENDING
    attempt: int = 0
    counted: int = 0
    is_noted: bool = False
    is_expired: bool = False
    positions: int = 0
    verbs: list[str] = field(default_factory=lambda: ["submitted"])
    held: Claim | None = None

    @property
    def is_official(self) -> bool:
        return self.standing is Standing.OFFICIAL


class History(RuleBasedStateMachine):
    """Two flows, `returns` reading `prices`, and whatever may happen to their runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.database = Database(self.stack.enter_context(self.make()))
        self.runs: dict[uuid.UUID, Expected] = {}
        self.keys: dict[str, uuid.UUID] = {}
        self.versions = {"prices": 0, "returns": 0}
        self.current: dict[str, uuid.UUID | None] = {"prices": None, "returns": None}
        self.is_ok: dict[str, bool | None] = {"prices": None, "returns": None}

    def make(self) -> AbstractContextManager[str]:
        raise NotImplementedError

    @initialize()
    def declare(self) -> None:
        add_dataset(self.database, "prices", policies=POLICIES)
        add_dataset(self.database, "returns", inputs={"close": "prices"}, policies=POLICIES)

    def teardown(self) -> None:
        self.database.close()
        self.stack.close()

    def some(self, number: int, *statuses: RunStatus) -> uuid.UUID:
        found = [run_id for run_id, run in self.runs.items() if run.status in statuses]
        return found[number % len(found)]

    def has(self, *statuses: RunStatus) -> bool:
        return any(run.status in statuses for run in self.runs.values())

    # ------------------------------------------------------------------------------------------------------- steps

    @rule(
        name=st.sampled_from(["prices", "returns"]), seed=st.sampled_from([None, None, 7]), priority=st.integers(0, 1)
    )
    def submit(self, name: str, seed: int | None, priority: int) -> None:
        if name == "returns" and not self.versions["prices"]:
            before = dump(self.database)
            with pytest.raises(UpstreamNotReadyError):
                submit_run(self.database, name)
            assert dump(self.database) == before
            return
        run = submit_run(self.database, name, seed=seed, priority=priority)
        assert run.id not in self.runs
        standing = Standing.OFFICIAL if seed is None else Standing.TRIAL
        self.runs[run.id] = Expected(target=name, standing=standing, priority=priority)

    @rule(key=st.sampled_from(["a", "b"]))
    def submit_with_key(self, key: str) -> None:
        run = submit_run(self.database, "prices", idempotency_key=key)
        assert self.keys.setdefault(key, run.id) == run.id
        self.runs.setdefault(run.id, Expected(target="prices", standing=Standing.OFFICIAL, priority=0))

    @rule()
    def claim_next(self) -> None:
        busy = {run.target for run in self.runs.values() if run.is_official and run.status is RunStatus.RUNNING}
        waiting = [
            run_id
            for run_id, run in self.runs.items()
            if run.status is RunStatus.PENDING and not (run.is_official and run.target in busy)
        ]
        wanted = min(waiting, key=lambda run_id: -self.runs[run_id].priority, default=None)
        held = claim(self.database, worker="w", lease=LEASE)
        assert (held.run.id if held else None) == wanted
        if held is not None:
            run = self.runs[held.run.id]
            run.status, run.held, run.is_expired, run.positions = RunStatus.RUNNING, held, False, 0
            run.attempt += 1
            run.counted += 1
            run.verbs.append("started")
            assert held.attempt == run.attempt
            assert held.task.standing is run.standing

    @precondition(lambda self: self.has(RunStatus.RUNNING))
    @rule(number=st.integers(0, 9))
    def renew_and_report(self, number: int) -> None:
        run_id = self.some(number, RunStatus.RUNNING)
        run = self.runs[run_id]
        report = ledger_attempts.Report(progress=(50.0, "half"), points=[("ic", 1, 0.5, AT)], lines=[{"text": "hello"}])
        with self.database.write() as tx:
            hold = ledger_attempts.renew(tx, run_id, run.attempt, LEASE)
            ledger_attempts.write_report(tx, run_id, run.attempt, report, position=run.positions)
        run.positions += 1
        run.is_expired = False
        assert hold.is_cancel_requested is run.is_noted

    @precondition(lambda self: self.has(RunStatus.RUNNING))
    @rule(number=st.integers(0, 9), is_changed=st.booleans())
    def complete_one(self, number: int, *, is_changed: bool) -> None:
        run_id = self.some(number, RunStatus.RUNNING)
        run = self.runs[run_id]
        assert run.held is not None
        complete(self.database, run_id, run.attempt, dataset_result(run.held, is_changed=is_changed))
        run.status = RunStatus.COMPLETED
        run.verbs.append("completed")
        if run.is_official:
            self.versions[run.target] += is_changed
            self.current[run.target] = run_id
            self.is_ok[run.target] = True

    @precondition(lambda self: self.has(RunStatus.RUNNING))
    @rule(number=st.integers(0, 9))
    def complete_with_nothing(self, number: int) -> None:
        run_id = self.some(number, RunStatus.RUNNING)
        before = dump(self.database)
        with pytest.raises(NoOutputError):
            complete(self.database, run_id, self.runs[run_id].attempt, Result(metrics={"rows_fetched": 3}))
        assert dump(self.database) == before

    def expect_end(self, run: Expected, outcome: AttemptOutcome, *, is_repeatable: bool) -> None:
        is_released = outcome is AttemptOutcome.RELEASED
        if run.is_noted:
            run.status, verb = RunStatus.CANCELLED, "cancelled"
        elif is_released or (is_repeatable and run.counted < MAX_ATTEMPTS):
            run.status, verb = RunStatus.PENDING, "retried"
            run.counted -= is_released
        else:
            run.status, verb = RunStatus.FAILED, "failed"
        run.verbs.append(verb)
        if run.is_official and not run.is_noted and not is_released:
            self.is_ok[run.target] = False

    @precondition(lambda self: self.has(RunStatus.RUNNING))
    @rule(
        number=st.integers(0, 9), outcome=st.sampled_from(["failed", "failed", "released"]), is_repeatable=st.booleans()
    )
    def end_one(self, number: int, outcome: str, *, is_repeatable: bool) -> None:
        run_id = self.some(number, RunStatus.RUNNING)
        run, how = self.runs[run_id], AttemptOutcome(outcome)
        after = end_attempt(self.database, run_id, run.attempt, ERROR, outcome=how, is_repeatable=is_repeatable)
        self.expect_end(run, how, is_repeatable=is_repeatable)
        assert after.status is run.status

    @precondition(lambda self: self.has(RunStatus.RUNNING))
    @rule(number=st.integers(0, 9))
    def expire(self, number: int) -> None:
        run_id = self.some(number, RunStatus.RUNNING)
        table = tables.attempts
        with self.database.write() as tx:
            at = db_now(-60.0)
            tx.conn.execute(
                update(table).where(table.c.run_id == run_id, table.c.ended_at.is_(None)).values(lease_expires_at=at)
            )
        self.runs[run_id].is_expired = True

    @rule()
    def rescue_all(self) -> None:
        lost = {run_id for run_id, run in self.runs.items() if run.status is RunStatus.RUNNING and run.is_expired}
        assert set(rescue(self.database)) == lost
        for run_id in lost:
            self.expect_end(self.runs[run_id], AttemptOutcome.LOST, is_repeatable=True)

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 9))
    def cancel_one(self, number: int) -> None:
        run_id = self.some(number, *RunStatus)
        run = self.runs[run_id]
        if run.status.is_terminal:
            with pytest.raises(IllegalTransitionError):
                cancel(self.database, run_id)
            return
        after = cancel(self.database, run_id)
        if run.status is RunStatus.PENDING:
            run.status = RunStatus.CANCELLED
            run.verbs.append("cancelled")
        elif not run.is_noted:
            run.is_noted = True
            run.verbs.append("cancel_requested")
        assert (after.status, after.cancel_requested_at is not None) == (run.status, run.is_noted)

    @precondition(lambda self: self.runs)
    @rule(number=st.integers(0, 9))
    def retry_one(self, number: int) -> None:
        run_id = self.some(number, *RunStatus)
        run = self.runs[run_id]
        if not run.status.is_terminal:
            with pytest.raises(ConflictError):
                retry(self.database, run_id)
            return
        again = retry(self.database, run_id)
        assert (again.retry_of_id, again.standing, again.status) == (run_id, run.standing, RunStatus.PENDING)
        self.runs[again.id] = Expected(target=run.target, standing=run.standing, priority=0)

    @rule()
    def write_late(self) -> None:
        """Let every attempt that does not hold its run try everything."""
        before = dump(self.database)
        for run_id, run in self.runs.items():
            for attempt in range(1, run.attempt + 2):
                if attempt == run.attempt and run.status is RunStatus.RUNNING:
                    continue
                with pytest.raises(LeaseLostError), self.database.write() as tx:
                    ledger_attempts.renew(tx, run_id, attempt, LEASE)
                if run.held is not None:
                    with pytest.raises(LeaseLostError):
                        complete(self.database, run_id, attempt, dataset_result(run.held))
                for outcome in (AttemptOutcome.FAILED, AttemptOutcome.RELEASED, AttemptOutcome.LOST):
                    with pytest.raises(LeaseLostError):
                        end_attempt(self.database, run_id, attempt, ERROR, outcome=outcome, is_repeatable=True)
        assert dump(self.database) == before

    # -------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def runs_are_what_the_model_says(self) -> None:
        with self.database.read() as tx:
            rows = tx.conn.execute(select(tables.runs)).all()
            tries = tx.conn.execute(select(tables.attempts).order_by(tables.attempts.c.number)).all()
        assert {row.id: (row.status, row.attempt, row.standing) for row in rows} == {
            run_id: (run.status, run.attempt, run.standing) for run_id, run in self.runs.items()
        }
        for row in rows:
            own = [item for item in tries if item.run_id == row.id]
            assert [item.number for item in own] == list(range(1, row.attempt + 1))
            open_ones = [item.number for item in own if item.ended_at is None]
            assert open_ones == ([row.attempt] if row.status == "running" else [])
            if row.status in {"failed", "cancelled"}:
                assert row.reason_code
                assert row.reason_message
                assert row.reason_next_step
        officials = [row.flow_id for row in rows if row.status == "running" and row.standing == "official"]
        assert len(officials) == len(set(officials))

    @invariant()
    def versions_are_what_official_completions_changed(self) -> None:
        with self.database.read() as tx:
            for target, count in self.versions.items():
                if not (found := [flow for flow in catalog.live_flows(tx) if flow.instance == target]):
                    continue  # before it is declared
                made = tx.conn.execute(
                    select(tables.versions).where(tables.versions.c.flow_id == found[0].id).order_by("number")
                ).all()
                assert [row.number for row in made] == list(range(1, count + 1))
                for row in made:
                    assert (self.runs[row.run_id].status, self.runs[row.run_id].standing) == ("completed", "official")
                assert found[0].current_version_id == (made[-1].id if made else None)
                assert (found[0].current_run_id, found[0].last_attempt_ok) == (self.current[target], self.is_ok[target])

    @invariant()
    def each_transition_has_one_activity(self) -> None:
        table = tables.activities
        with self.database.read() as tx:
            rows = tx.conn.execute(select(table).order_by(table.c.at, table.c.id)).all()
        for run_id, run in self.runs.items():
            own = [row for row in rows if row.resource_id == str(run_id)]
            assert [row.verb for row in own] == [f"pipeline_run.{verb}" for verb in run.verbs]
            status = RunStatus.PENDING
            for row in own[1:]:
                if (told := row.payload.get("status")) is not None:
                    assert told in TRANSITIONS[status]
                    status = RunStatus(told)
            assert status is run.status


def test_every_history_keeps_the_rules(new_database: NewDatabase, request: pytest.FixtureRequest) -> None:
    class Here(History):
        def make(self) -> AbstractContextManager[str]:
            return new_database()

    # PostgreSQL takes its copies of the schema more slowly; `HYPOTHESIS_PROFILE=explore` looks further on both.
    wanted = settings.get_profile(settings.get_current_profile_name())
    few = 7 if "postgresql" in request.node.name else 12
    examples = wanted.max_examples if wanted.max_examples > 100 else few
    run_state_machine_as_test(Here, settings=settings(wanted, max_examples=examples, stateful_step_count=30))


def test_foreign_keys_hold_after_a_whole_life(new_database: NewDatabase) -> None:
    class Here(History):
        def make(self) -> AbstractContextManager[str]:
            return new_database()

    history = Here()
    try:
        history.declare()
        history.submit("prices", None, 0)
        history.claim_next()
        history.complete_one(0, is_changed=True)
        history.submit("returns", None, 0)
        history.claim_next()
        history.expire(0)
        history.rescue_all()
        history.claim_next()
        history.write_late()
        assert foreign_keys_hold(history.database)
    finally:
        history.teardown()
