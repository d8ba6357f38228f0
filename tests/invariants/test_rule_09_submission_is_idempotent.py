"""Rule 9: the same key gives the same run, also under concurrency; with another request it is a conflict."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from optaic.domain.run import Run
from optaic.errors import IdempotencyMismatchError, InvalidInputError
from optaic.ledger import search
from optaic.ledger.session import Database
from tests.crossing import assert_whole, cross, spawn, stopped_before, wait_until_blocked
from tests.factories import add_dataset, submit_run
from tests.projects import open_project
from tests.rows import add_tenant, dump


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    add_dataset(opened)
    yield opened
    opened.close()


def all_runs(database: Database) -> list[Run]:
    with database.read() as tx:
        return search.search(tx, search.Search())


def test_a_repeated_request_changes_nothing(database: Database) -> None:
    run = submit_run(database, idempotency_key="k", seed=4, mode="full")
    before = dump(database)
    assert submit_run(database, idempotency_key="k", seed=4, mode="full").id == run.id
    others: list[dict[str, Any]] = [
        {"seed": 5},
        {"seed": 4, "mode": None},
        {"seed": 4, "mode": "full", "is_forced": True},
        {"seed": 4, "mode": "full", "timeout_seconds": 500.0},
        {"seed": 4, "mode": "full", "priority": 9},
    ]
    for other in others:
        with pytest.raises(IdempotencyMismatchError):
            submit_run(database, idempotency_key="k", **other)
    assert dump(database) == before


def test_a_repeated_request_gives_its_run_whatever_was_applied_meanwhile(tmp_path: Path, database_url: str) -> None:
    with open_project(tmp_path / "project", database_url) as project:
        project.declare(prices={"seed": "1", "params": "{close: 2.0}"})
        run = project.ledger.submit("prices", idempotency_key="k")
        project.declare(prices={"seed": "5", "params": "{close: 3.0}"})
        assert project.ledger.submit("prices", idempotency_key="k").id == run.id
        (project.root / "sources.py").unlink()
        assert project.ledger.submit("prices", idempotency_key="k").id == run.id
        with pytest.raises(IdempotencyMismatchError):
            project.ledger.submit("prices", idempotency_key="k", priority=1)
        assert len(project.ledger.runs()) == 1


def test_a_timeout_is_the_same_request_however_it_is_written(database: Database) -> None:
    run = submit_run(database, idempotency_key="k", timeout_seconds=5)
    assert submit_run(database, idempotency_key="k", timeout_seconds=5.0).id == run.id


def test_a_key_has_between_one_and_two_hundred_characters(database: Database) -> None:
    before = dump(database)
    for key in ("", "k" * 201):
        with pytest.raises(InvalidInputError):
            submit_run(database, idempotency_key=key)
    assert dump(database) == before
    submit_run(database, idempotency_key="ключ " * 40)


def test_one_run_comes_of_many_submissions_at_once(database: Database) -> None:
    for number in range(10):
        submissions = [
            partial(submit_run, database, idempotency_key=f"key {number}", seed=seed) for seed in (1, 1, 1, 2, 2, 1)
        ]
        found = cross(*submissions)
        made = {item.id for item in found if isinstance(item, Run)}
        refused = [item for item in found if not isinstance(item, Run)]
        assert len(made) == 1
        assert len(refused) in {2, 4}  # the requests that lost
        assert all(isinstance(item, IdempotencyMismatchError) for item in refused)
    assert len(all_runs(database)) == 10
    assert_whole(database)


@pytest.mark.parametrize("is_committed", [True, False])
def test_the_second_waits_for_the_first(postgres_url: str, *, is_committed: bool) -> None:
    one, two = Database(postgres_url), Database(postgres_url)
    add_dataset(one)
    with stopped_before(one, "COMMIT") as stop:
        first = spawn(lambda: submit_run(one, idempotency_key="k"))
        stop.wait()
        second = spawn(lambda: submit_run(two, idempotency_key="k"))
        wait_until_blocked(two, second)
        if not is_committed:
            with two.read() as tx:
                tx.conn.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> pg_backend_pid()"
                )
        stop.go.set()
        made = second.result()
    if is_committed:
        assert first.result().id == made.id
    else:
        assert first.exception() is not None
    assert [run.id for run in all_runs(two)] == [made.id]
    assert_whole(two)
    one.close()
    two.close()


def test_a_key_is_a_tenants_own(database: Database) -> None:
    add_tenant(database)
    other = Database(database.url, tenant_id=2)
    add_dataset(other)
    assert submit_run(database, idempotency_key="k").id != submit_run(other, idempotency_key="k", seed=9).id
    other.close()
