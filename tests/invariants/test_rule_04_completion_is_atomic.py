"""Rule 4: all of a completion, or none of it; kill -9 at any instruction leaves the ledger whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, select

from optaic.ledger import tables
from optaic.ledger.session import Database
from optaic.lifecycle.claim import claim
from optaic.lifecycle.complete import complete
from optaic.lifecycle.rescue import rescue
from tests.crossing import assert_whole
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run
from tests.rows import counted, dump

ROOT = Path(__file__).parents[2]
LOOP = """
import sys, datetime as dt
from optaic.ledger.session import Database
from optaic.lifecycle.complete import complete
from tests.factories import claim_run, dataset_result, submit_run
database = Database(sys.argv[1])
print("ready", flush=True)
while True:
    submit_run(database)
    held = claim_run(database, lease=dt.timedelta(seconds=-1))
    complete(database, held.run.id, held.attempt, dataset_result(held))
"""


class SuddenDeath(BaseException):
    """Not an Exception: nothing may catch it."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    add_dataset(opened, policies={"retry": {"backoff_seconds": 0.0}})
    yield opened
    opened.close()


def statements_of_a_completion(database: Database) -> int:
    held = claim_run(database, submit_run(database))
    with counted(database) as seen:
        complete(database, held.run.id, 1, dataset_result(held))
    return len(seen)


def test_a_completion_that_ends_at_any_statement_changes_nothing(database: Database) -> None:
    count = statements_of_a_completion(database)
    held = claim_run(database, submit_run(database))
    before = dump(database)
    for place in range(count):
        left = [place]

        def die(*facts: object, left: list[int] = left) -> None:
            if str(facts[2]).startswith("BEGIN"):
                return
            if not left[0]:
                raise SuddenDeath
            left[0] -= 1

        event.listen(database.engine, "before_cursor_execute", die)
        try:
            with pytest.raises(SuddenDeath):
                complete(database, held.run.id, 1, dataset_result(held))
        finally:
            event.remove(database.engine, "before_cursor_execute", die)
        assert dump(database) == before, place
    complete(database, held.run.id, 1, dataset_result(held))
    assert_whole(database)


def test_a_completion_takes_the_graph_lock_before_it_decides_anything(postgres_url: str) -> None:
    database = Database(postgres_url)
    add_dataset(database)
    held = claim_run(database, submit_run(database))
    with counted(database) as seen:
        complete(database, held.run.id, 1, dataset_result(held))
    # What comes before the lock only reads what never changes, or loads a calendar; the run is read again under it.
    lock = next(place for place, statement in enumerate(seen) if "FOR NO KEY UPDATE" in statement)
    assert "FROM tenants" in seen[lock]
    assert all(statement.startswith("SELECT") for statement in seen[:lock])
    assert "FROM runs" in seen[lock + 1]
    database.close()


def test_kill_9_leaves_the_ledger_whole(database: Database) -> None:
    chance = random.Random(9)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    for _ in range(3):
        worker = subprocess.Popen(
            [sys.executable, "-c", LOOP, database.url], stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0.0, 0.4))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        assert_whole(database)
        rescue(database)
        assert_whole(database)
        # Whatever was left is taken up and ends well.
        while (held := claim(database, worker="next", lease=LEASE)) is not None:
            complete(database, held.run.id, held.attempt, dataset_result(held))
        assert_whole(database)
        with database.read() as tx:
            statuses = set(tx.conn.execute(select(tables.runs.c.status)).scalars())
        assert statuses <= {"completed"}
    assert statements_of_a_completion(database) > 10
