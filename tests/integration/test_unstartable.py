"""Runs that cannot be started from what the ledger holds of them: they fail with the reason, and hold nobody up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from optaic.domain.run import Run
from optaic.ledger import attempts, runs
from optaic.ledger.session import Database
from optaic.ledger.tables import flows, instance_revisions, versions
from optaic.ledger.tables import runs as runs_table
from optaic.lifecycle.claim import claim
from optaic.worker import work
from tests.factories import LEASE, add_dataset, claim_run, submit_run
from tests.projects import open_project
from tests.rows import put


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    for name in ("a", "b"):
        add_dataset(opened, name)
    yield opened
    opened.close()


def spoil_params(database: Database, run: Run) -> None:
    with database.write() as tx:
        tx.conn.execute(update(runs_table).where(runs_table.c.id == run.id).values(params=[1, "x"]))


def spoil_version(database: Database, run: Run) -> None:
    """Make the version that the run would start from one whose columns nobody understands."""
    with database.write() as tx:
        values = {"key_columns": ["date"], "columns": [{"title": "close"}], "content_digest": "0" * 64}
        version_id = put(tx, versions, flow_id=run.flow_id, run_id=run.id, number=1, **values)
        tx.conn.execute(update(flows).where(flows.c.id == run.flow_id).values(current_version_id=version_id))


def spoil_attempts(database: Database, run: Run) -> None:
    """Leave an attempt of the number that comes next."""
    with database.write() as tx:
        attempts.open_attempt(tx, run.id, 1, "a ghost", LEASE)


SPOIL = [spoil_version, spoil_attempts]


@pytest.mark.parametrize("spoil", SPOIL)
def test_it_fails_with_the_reason_and_the_next_one_is_claimed(
    database: Database, spoil: Callable[[Database, Run], None]
) -> None:
    bad, good = submit_run(database, "a", priority=5), submit_run(database, "b")
    spoil(database, bad)
    held = claim(database, worker="w", lease=LEASE)
    assert held is not None
    assert held.run.id == good.id
    with database.read() as tx:
        run = runs.get(tx, bad.id)
    assert (run.status, run.attempt) == ("failed", 0)
    assert run.reason is not None
    assert run.reason.code == "engine_error"
    assert "could not be started from what the ledger holds" in run.reason.message
    assert f"optaic retry {bad.id}" in run.reason.next_step


def spoil_config(database: Database, run: Run) -> None:
    """Give the run a config that is none: seen only when its process is to be started."""
    with database.write() as tx:
        values = {"instance_id": run.instance_id, "number": 99, "config": "none", "config_digest": "0" * 64}
        revision_id = put(tx, instance_revisions, **values, created_by=database.actor_id)
        tx.conn.execute(update(runs_table).where(runs_table.c.id == run.id).values(revision_id=revision_id))


def test_a_worker_fails_them_and_goes_on_with_the_others(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url) as project:
        project.declare("prices")
        bad = [project.ledger.submit("prices", priority=5) for _ in range(3)]
        good = project.ledger.submit("prices")
        for run, spoil in zip(bad, (spoil_params, spoil_config, spoil_attempts), strict=True):
            spoil(project.database, run.record)
        work(project.database, project.runtime.server, project.settings, until_idle=True)
        assert good.refresh().status == "completed"
        # The second is tried again, and gives way to what has run with the config of now.
        assert [run.refresh().status for run in bad] == ["failed", "cancelled", "failed"]
        assert all(run.reason is not None for run in bad)


def test_a_retry_policy_that_is_none_keeps_nobody_from_reading_or_running(database: Database) -> None:
    run = submit_run(database, "a")
    with database.write() as tx:
        tx.conn.execute(update(runs_table).where(runs_table.c.id == run.id).values(retry_policy="often"))
    held = claim_run(database)
    assert held.run.id == run.id
    assert held.run.retry_policy.max_attempts == 1
