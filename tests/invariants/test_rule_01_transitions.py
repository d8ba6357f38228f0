"""Rule 1: transitions are compare-and-set, decided by the table, written in one place, with their activity."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from optaic.domain import run as transitions
from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason
from optaic.domain.run import Run, Transition
from optaic.domain.status import TRANSITIONS, RunStatus
from optaic.errors import ConflictError, IllegalTransitionError
from optaic.ledger import runs
from optaic.ledger.session import Database
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.complete import end_attempt
from tests.factories import add_dataset, claim_run, submit_run
from tests.rows import dump

SOURCE = Path(__file__).parents[2] / "src" / "optaic"
ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")
DECISIONS: dict[str, Callable[[Run], Transition]] = {
    "start": transitions.start,
    "complete": lambda run: transitions.complete(run, run.attempt),
    "fail": lambda run: transitions.fail(run, run.attempt, ERROR),
    "stop": lambda run: transitions.stop(run, run.attempt, ERROR),
    "give_back": lambda run: transitions.end_attempt(
        run, run.attempt, ERROR, outcome=AttemptOutcome.RELEASED, is_repeatable=True, counted_attempts=1
    ),
    "cancel_pending": lambda run: transitions.cancel_pending(run, ERROR),
    "refuse": lambda run: transitions.refuse(run, ERROR),
}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    add_dataset(opened)
    yield opened
    opened.close()


def test_every_decision_follows_the_table_and_all_of_the_table_can_be_decided(database: Database) -> None:
    run = submit_run(database)
    reached: set[tuple[RunStatus, RunStatus]] = set()
    for status in RunStatus:
        for decide in DECISIONS.values():
            before = replace(run, status=status, attempt=1)
            try:
                decided = decide(before)
            except ConflictError:
                continue
            assert decided.source is status
            assert decided.target in TRANSITIONS[status]
            assert decided.fence == 1
            needs_reason = decided.target not in {RunStatus.RUNNING, RunStatus.COMPLETED}
            assert (decided.reason is not None) is needs_reason
            reached.add((status, decided.target))
    assert reached == {(source, target) for source, targets in TRANSITIONS.items() for target in targets}


def test_a_decision_on_an_old_reading_changes_nothing(database: Database) -> None:
    run = submit_run(database)
    old = transitions.start(run)
    cancel(database, run.id)
    before = dump(database)
    with pytest.raises(IllegalTransitionError, match="is cancelled; it cannot become running"), database.write() as tx:
        runs.change(tx, run, old)
    assert dump(database) == before


def test_a_decision_about_another_attempt_changes_nothing(database: Database) -> None:
    run = submit_run(database)
    claim_run(database, run)
    before = dump(database)
    with database.read() as tx:
        held = runs.get(tx, run.id)
    for fence in (0, 2):
        with pytest.raises(ConflictError), database.write() as tx:
            runs.change(tx, held, replace(transitions.complete(held, 1), fence=fence))
    assert dump(database) == before


def test_a_start_decided_before_another_attempt_came_and_went_changes_nothing(database: Database) -> None:
    run = submit_run(database)
    old = transitions.start(run)
    claim_run(database, run)
    end_attempt(database, run.id, 1, ERROR, outcome=AttemptOutcome.RELEASED)
    before = dump(database)
    with pytest.raises(IllegalTransitionError), database.write() as tx:
        runs.change(tx, run, old)  # pending again, but not as it was
    assert dump(database) == before


def test_a_change_whose_activity_cannot_be_written_is_none(database: Database) -> None:
    class LostError(Exception):
        pass

    def lose(*facts: object) -> None:
        if "INSERT INTO activities" in str(facts[2]):
            raise LostError

    run = submit_run(database)
    before = dump(database)
    event.listen(database.engine, "before_cursor_execute", lose)
    with pytest.raises(LostError):
        cancel(database, run.id)
    event.remove(database.engine, "before_cursor_execute", lose)
    assert dump(database) == before


def test_one_place_in_the_code_writes_a_status() -> None:
    sets_status = re.compile(r"[{(,]\s*(?:status=|\"status\": (?:transition|RunStatus|\"pending))")
    places = {
        path.relative_to(SOURCE).as_posix()
        for folder in ("ledger", "lifecycle", "engines")
        for path in (SOURCE / folder).rglob("*.py")
        if "update(runs" in path.read_text() and sets_status.search(path.read_text())
    }
    assert places == {"ledger/runs.py"}
