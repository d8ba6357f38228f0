"""Two workers and a thousand runs: each takes effect once. FAULT_RUNS sets how many."""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from optaic.ledger.tables import attempts, runs
from optaic.lifecycle.submit import Submission, submit
from tests.processes import until
from tests.projects import end_process, open_project
from tests.whole import check_whole

LOG = logging.getLogger(__name__)
"""What was measured: `pytest --log-cli-level=INFO` shows it."""

RUNS = int(os.environ.get("FAULT_RUNS", "1000"))


@pytest.mark.slow
def test_two_workers_and_a_thousand_runs_each_takes_effect_exactly_once(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url, lease_seconds=30) as project:
        project.declare("counts")
        for number in range(1, RUNS + 1):  # from 1: the flow's own 0 would make an official run
            submit(project.database, Submission(target="counts", params={"number": number}))
        started = time.monotonic()
        workers = [project.start("worker", "-n", "4") for _ in range(2)]
        open_runs = select(func.count()).where(runs.c.status.in_(["pending", "running"]))

        def is_over() -> bool:
            with project.database.read() as tx:
                return tx.conn.execute(open_runs).scalar_one() == 0

        try:
            until(is_over, 600.0)
            seconds = time.monotonic() - started
            for worker in workers:
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(30.0) == 0
        finally:
            for worker in workers:
                end_process(worker)
        LOG.info("%d runs in %.1f s: %.1f a second", RUNS, seconds, RUNS / seconds)
        # On the disk: one attempt of each, exactly.
        effects = sorted((project.root / "effects").iterdir())
        assert Counter(path.name for path in effects) == Counter(f"{number}-1" for number in range(1, RUNS + 1))
        # In the ledger: the same.
        with project.database.read() as tx:
            rows = tx.conn.execute(select(runs.c.status, runs.c.attempt, func.count()).group_by("status", "attempt"))
            assert [tuple(row) for row in rows] == [("completed", 1, RUNS)]
            holders = Counter(tx.conn.execute(select(attempts.c.worker)).scalars().all())
        assert sum(holders.values()) == RUNS
        assert len(holders) == 2, "one of the two did nothing"
        check_whole(project.database, project.store)
        # And as the workers tell it.
        ended = re.findall(r"counts\.refresh  completed", project.output())
        assert len(ended) == RUNS
