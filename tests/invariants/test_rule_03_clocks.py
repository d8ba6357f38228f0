"""Rule 3 again: leases are of the database's clock; a worker whose own clock is an hour off changes nothing."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.ledger import attempts, runs
from optaic.ledger.session import Database
from optaic.lifecycle.claim import claim
from optaic.lifecycle.rescue import find_lost
from tests.factories import LEASE, add_dataset, claim_run, submit_run

ROOT = Path(__file__).parents[2]

# Shifts what Python's own clocks say before anything of the product is imported.
WORK = """
import datetime, sys, time
url, hours = sys.argv[1], float(sys.argv[2])
real, real_ns, shift = time.time, time.time_ns, hours * 3600
time.time = lambda: real() + shift
time.time_ns = lambda: real_ns() + int(shift * 1e9)
class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().fromtimestamp(real() + shift, tz)
    @classmethod
    def utcnow(cls):
        return super().utcfromtimestamp(real() + shift)
datetime.datetime = Shifted

import json
from optaic.domain.reason import Reason
from optaic.ledger import attempts
from optaic.ledger.session import Database
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.rescue import rescue
from tests.factories import LEASE, claim_run, dataset_result, submit_run
assert abs((datetime.datetime.now(datetime.UTC).timestamp() - real()) - shift) < 5
database = Database(url)
assert rescue(database) == []                                  # the run that another holds is left alone
assert claim(database, worker="w", lease=LEASE) is None        # a run that waits for its backoff keeps waiting
held = claim_run(database, submit_run(database, "mine"))
with database.write() as tx:
    attempts.renew(tx, held.run.id, 1, LEASE)
again = Reason(code="retryable_error", message="once more", next_step="wait")
slow = claim_run(database, submit_run(database, "slow"))
waiting = end_attempt(database, slow.run.id, 1, again, is_repeatable=True)
cancel(database, held.run.id)
print(json.dumps([str(held.run.id), str(waiting.id)]))
"""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_worker_whose_clock_is_an_hour_off_changes_nothing(database: Database, hours: int) -> None:
    slow = {"retry": {"backoff_seconds": 600.0, "max_backoff_seconds": 600.0}}
    for name in ("theirs", "mine", "slow"):
        add_dataset(database, name, policies=slow)
    others = claim_run(database, submit_run(database, "theirs"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", WORK, database.url, str(hours)],
        capture_output=True,
        env=environment,
        cwd=ROOT,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    mine_id, waiting_id = json.loads(done.stdout)
    with database.read() as tx:
        run, waiting, theirs = (runs.find(tx, key) for key in (mine_id, waiting_id, str(others.run.id)))
        (attempt,) = attempts.history(tx, run.id)
    now = theirs.ledger_now
    minute = dt.timedelta(seconds=60)
    assert run.started_at is not None
    assert run.cancel_requested_at is not None
    assert waiting.started_at is not None
    for instant in (
        run.submitted_at,
        run.started_at,
        run.cancel_requested_at,
        attempt.claimed_at,
        attempt.heartbeat_at,
    ):
        assert now - minute < instant <= now
    assert now < attempt.lease_expires_at <= now + LEASE
    assert now + dt.timedelta(seconds=200) < waiting.available_at <= now + dt.timedelta(seconds=600)
    assert (theirs.status, theirs.attempt) == ("running", 1)
    assert find_lost(database) == []
    assert claim(database, worker="w", lease=LEASE) is None
