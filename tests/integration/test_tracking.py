"""Tracking: what a block reports is written once and in order, whatever way the block ends."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import event, select

from optaic.bootstrap import open_runtime
from optaic.client import Ledger
from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason
from optaic.errors import LeaseLostError, NoOutputError
from optaic.ledger import attempts
from optaic.ledger.tables import activities
from optaic.lifecycle.complete import end_attempt
from optaic.settings import Settings
from tests.processes import until

LOST = Reason(code="worker_lost", message="taken away", next_step="nothing")


@pytest.fixture
def ledger(database_url: str, tmp_path: Path) -> Iterator[Ledger]:
    settings = Settings(project_root=tmp_path, database_url=database_url, storage_url=str(tmp_path / "objects"))
    with Ledger(open_runtime(settings)) as opened:
        yield opened


def texts(ledger: Ledger, run_id: object) -> list[str]:
    with ledger.runtime.database.read() as tx:
        chunks = attempts.lines_after(tx, ledger.get(str(run_id)).id)
    return [line["text"] for _, _, lines in chunks for line in lines]


def test_points_that_were_flushed_and_points_of_the_end_keep_their_order(ledger: Ledger) -> None:
    with ledger.track("idea") as run:
        for step in range(5):
            run.log_metric("loss", 1.0 / (step + 1), step)
        run.log.info("half")
        assert run._hold is not None
        run._hold.context.flush()
        for step in range(5, 10):
            run.log_metric("loss", 1.0 / (step + 1), step)
        run.log.info("whole")
        run.progress(80, "nearly")
    done = ledger.get(run.id)
    with ledger.runtime.database.read() as tx:
        assert [point.step for point in attempts.points(tx, run.id)] == list(range(10))
    assert texts(ledger, run.id) == ["half", "whole"]
    assert done.status == "completed"
    assert done.metrics == {"loss": 0.1}


def test_a_run_that_reports_little_is_two_transactions_that_write(ledger: Ledger) -> None:
    commits: list[object] = []
    event.listen(ledger.runtime.database.engine, "commit", commits.append)
    with ledger.track("idea") as run:
        run.log_metric("ic", 0.5)
    with ledger.runtime.database.read() as tx:
        assert len(attempts.points(tx, run.id)) == 1
    # The rescue's look, the start, the end, and the look above.
    assert len(commits) <= 4


def test_a_block_that_left_nothing_keeps_its_lines(ledger: Ledger) -> None:
    with pytest.raises(NoOutputError), ledger.track("idea") as run:
        run.log.info("looked at everything, found nothing")
    assert ledger.get(run.id).status == "failed"
    assert texts(ledger, run.id) == ["looked at everything, found nothing"]


def test_a_block_that_raises_keeps_its_metrics_and_its_traceback(ledger: Ledger) -> None:
    tracked = ledger.track("idea")

    def block() -> None:
        with tracked as run:
            run.log_metric("ic", 0.5)
            raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        block()
    failed = ledger.get(tracked.id)
    assert (failed.status, failed.metrics) == ("failed", {"ic": 0.5})
    assert "ValueError: no luck" in texts(ledger, tracked.id)[-1]


def test_a_ranking_by_a_metric_has_completed_runs_unless_others_are_asked_for(ledger: Ledger) -> None:
    def block(value: float, *, is_whole: bool = True) -> None:
        with ledger.track("idea") as run:
            run.log_metric("sharpe_ratio", value)
            if not is_whole:
                raise ValueError("no luck")

    block(0.2)
    block(0.5)
    with pytest.raises(ValueError, match="no luck"):
        block(9.9, is_whole=False)
    with ledger.track("idea") as silent:
        silent.log_metric("other", 1.0)
    found = ledger.runs(sort="-sharpe_ratio")
    assert [run.metrics.get("sharpe_ratio") for run in found] == [0.5, 0.2, None]
    assert [run.metrics["sharpe_ratio"] for run in ledger.runs(sort="-sharpe_ratio", status="failed")] == [9.9]
    # A time ranks all of them, and so does no order.
    assert len(ledger.runs(sort="-submitted_at")) == len(ledger.runs()) == 4


def test_a_run_that_was_taken_away_is_told_before_it_writes_a_file(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    ledger.runtime.settings = replace(ledger.runtime.settings, lease_seconds=0.3)
    tracked = ledger.track("idea")

    def block() -> None:
        with tracked as run:
            run.log_metric("ic", 0.5)
            end_attempt(ledger.runtime.database, run.id, 1, LOST, outcome=AttemptOutcome.LOST)
            over = time.monotonic() + 0.4  # as long as a lease cannot have expired, nobody takes the run away
            until(lambda: time.monotonic() > over)
            with pytest.raises(LeaseLostError):
                run.log_file("notes.txt", tmp_path / "notes.txt")

    with pytest.raises(LeaseLostError):
        block()
    assert ledger.get(tracked.id).status == "failed"
    assert list(ledger.runtime.store.list()) == []


def test_a_block_whose_run_was_taken_away_unnoticed_ends_without_a_trace(ledger: Ledger) -> None:
    tracked = ledger.track("idea")

    def block() -> None:
        with tracked as run:
            run.log_metric("ic", 0.5)
            end_attempt(ledger.runtime.database, run.id, 1, LOST, outcome=AttemptOutcome.LOST)

    with pytest.raises(LeaseLostError, match="the attempt has ended"):
        block()
    lost = ledger.get(tracked.id)
    assert (lost.status, lost.metrics) == ("failed", {})
    with ledger.runtime.database.read() as tx:
        assert attempts.points(tx, tracked.id) == []


def test_a_tracked_run_was_never_pending_and_tells_of_both_its_beginnings(ledger: Ledger) -> None:
    with ledger.track("idea") as run:
        run.log_metric("ic", 0.5)
    with ledger.runtime.database.read() as tx:
        query = select(activities.c.verb).where(activities.c.resource_id == str(run.id))
        verbs = tx.conn.execute(query.order_by(activities.c.at, activities.c.id)).scalars().all()
    assert verbs == ["experiment_run.submitted", "experiment_run.started", "experiment_run.completed"]


def test_a_block_that_is_over_in_a_moment_starts_no_thread(ledger: Ledger) -> None:
    with ledger.track("idea") as run:  # the process's one thread for alarms begins here, if it has not before
        run.log_metric("ic", 0.5)
    before = threading.active_count()
    with ledger.track("idea") as run:
        run.log_metric("ic", 0.5)
        run.log.info("a line")
        assert threading.active_count() == before


def test_returns_of_a_block_have_the_metrics_of_a_backtest_and_are_kept(ledger: Ledger) -> None:
    days = [dt.date(2024, 1, day) for day in (3, 4, 5, 8)]
    earned = pl.DataFrame({"date": days, "return": [0.01, -0.02, 0.015, 0.003]})
    with ledger.track("idea") as run:
        figures = run.log_returns(earned)
    done = ledger.get(run.id)
    assert done.metrics["sharpe_ratio"] == figures["sharpe_ratio"]
    assert done.metrics["max_drawdown"] == pytest.approx(-0.02, abs=1e-15)
    assert (done.metrics["risk_free"], done.metrics["sessions"]) == ("none", 4.0)
    assert "beta" not in done.metrics, "what is not defined is not logged"
    assert pl.read_parquet(done.artifact("returns.parquet")).equals(earned)
