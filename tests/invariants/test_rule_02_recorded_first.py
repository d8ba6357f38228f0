"""Rule 2: a run is in the ledger before anybody can work on it, waits for whoever comes, and takes effect once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from optaic.domain.status import RunStatus
from optaic.errors import LeaseLostError
from optaic.ledger import runs, search
from optaic.ledger.session import Database
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete
from tests.crossing import assert_whole, cross
from tests.factories import LEASE, add_dataset, dataset_result, submit_run


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def test_a_run_waits_in_the_ledger_until_a_worker_comes(database: Database) -> None:
    add_dataset(database)
    run = submit_run(database)
    database.close()
    later = Database(database.url)  # another process, any time later
    with later.read() as tx:
        found = runs.get(tx, run.id)
    assert (found.status, found.attempt, found.started_at) == (RunStatus.PENDING, 0, None)
    held = claim(later, worker="w", lease=LEASE)
    assert held is not None
    assert held.run.id == run.id
    later.close()


def test_nothing_is_lost_and_nothing_takes_effect_twice(database: Database) -> None:
    submitted = set[object]()
    for number in range(12):
        add_dataset(database, f"d{number}")
        submitted.add(submit_run(database, f"d{number}").id)

    def work() -> list[Claim]:
        done: list[Claim] = []
        while (held := claim(database, worker="w", lease=LEASE)) is not None:
            complete(database, held.run.id, held.attempt, dataset_result(held))
            done.append(held)
        return done

    found = cross(work, work, work)
    assert not [item for item in found if isinstance(item, BaseException)]
    done = [held for item in found if isinstance(item, list) for held in item]
    assert sorted(str(held.run.id) for held in done) == sorted(map(str, submitted))
    for held in done:
        with pytest.raises(LeaseLostError):
            complete(database, held.run.id, held.attempt, dataset_result(held))
    with database.read() as tx:
        assert search.count_by_status(tx) == {"completed": 12}
    assert_whole(database)
