"""What `optaic run --recursive` says of a plan's steps while it goes on, and in which order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from optaic.cli.plan import PlanWatch
from optaic.domain.plan import Plan
from optaic.ledger import plans
from optaic.ledger.session import Database
from optaic.lifecycle.complete import end_attempt
from optaic.planning import Progress
from tests.factories import claim_run
from tests.planning import AGAIN, again, finish, open_diamond, plan, run_of


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with open_diamond(database_url) as opened:
        yield opened


def look(database: Database, made: Plan, watch: PlanWatch) -> None:
    with database.read() as tx:
        counts, running = plans.step_counts(tx, made.id), plans.running_runs(tx, made.id)
    watch(Progress(status=again(database, made).status, counts=counts, running=running))


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Give what was said since the last time, without how long it took."""
    return [line.partition(" in ")[0] for line in capsys.readouterr().err.splitlines()]


def test_what_ended_is_said_before_what_it_let_begin(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    made = plan(database)
    with PlanWatch(database, made.id) as watch:
        held = claim_run(database)
        look(database, made, watch)
        assert said(capsys) == ["prices.refresh running"]
        # All of this between two looks: three steps begin and end, two of them in the other order.
        finish(database, held)
        left = claim_run(database, run_of(database, made, "left"))
        right = claim_run(database, run_of(database, made, "right"))
        finish(database, right)
        finish(database, left)
        claim_run(database, run_of(database, made, "signal"))
        look(database, made, watch)
        assert said(capsys) == [
            "prices.refresh completed",
            "left.refresh running",
            "right.refresh running",
            "right.refresh completed",
            "left.refresh completed",
            "signal.refresh running",
        ]
        look(database, made, watch)
        assert said(capsys) == []


def test_each_attempt_of_a_step_is_said(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    made = plan(database, "left")
    with PlanWatch(database, made.id) as watch:
        finish(database, claim_run(database))
        look(database, made, watch)
        assert said(capsys) == ["prices.refresh running", "prices.refresh completed"]
        first = claim_run(database)
        end_attempt(database, first.run.id, 1, AGAIN, is_repeatable=True)
        finish(database, claim_run(database, first.run))
        look(database, made, watch)
    assert said(capsys) == [
        "left.refresh running",
        "left.refresh pending",
        "left.refresh running, attempt 2",
        "left.refresh completed",
    ]
