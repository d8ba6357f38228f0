"""Limits of concurrency: a slot is a running run; whatever ends it sets the slot free."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason
from optaic.errors import InvalidInputError
from optaic.ledger import limits
from optaic.ledger.session import Database
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.complete import complete, end_attempt
from tests.crossing import cross
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run

ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    for name in ("a", "b"):
        add_dataset(opened, name, policies={"retry": {"backoff_seconds": 0.0}})
    yield opened
    opened.close()


def set_limit(database: Database, scope: str, name: str, count: int | None) -> None:
    with database.write() as tx:
        limits.set_limit(tx, scope, name, count)


def take(database: Database) -> Claim | None:
    return claim(database, worker="w", lease=LEASE)


@pytest.mark.parametrize(("scope", "name"), [("tenant", "*"), ("run_type", "PipelineRun")])
def test_a_full_scope_lets_nothing_start(database: Database, scope: str, name: str) -> None:
    set_limit(database, scope, name, 1)
    first, second = submit_run(database, "a"), submit_run(database, "b")
    held = claim_run(database)
    assert held.run.id == first.id
    assert take(database) is None
    assert claim(database, worker="w", lease=LEASE, run_id=second.id) is None
    complete(database, first.id, 1, dataset_result(held))
    assert claim_run(database).run.id == second.id


def test_a_full_instance_lets_others_pass(database: Database) -> None:
    set_limit(database, "instance", "a", 1)
    for seed in (1, 2):
        submit_run(database, "a", seed=seed)
    last = submit_run(database, "b")
    assert claim_run(database).run.instance == "a"
    assert claim_run(database).run.id == last.id
    assert take(database) is None


@pytest.mark.parametrize("outcome", [AttemptOutcome.FAILED, AttemptOutcome.RELEASED, AttemptOutcome.CANCELLED])
def test_every_end_of_an_attempt_sets_its_slot_free(database: Database, outcome: AttemptOutcome) -> None:
    set_limit(database, "tenant", "*", 1)
    submit_run(database, "a")
    held = claim_run(database)
    submit_run(database, "b", priority=1)
    assert take(database) is None
    end_attempt(database, held.run.id, 1, ERROR, outcome=outcome)
    assert claim_run(database).run.instance == "b"


def test_a_limit_is_changed_and_removed(database: Database) -> None:
    submit_run(database, "a")
    set_limit(database, "tenant", "*", 0)
    assert take(database) is None
    set_limit(database, "tenant", "*", 2)
    assert take(database) is not None
    submit_run(database, "b")
    set_limit(database, "tenant", "*", 1)
    assert take(database) is None
    set_limit(database, "tenant", "*", None)
    assert take(database) is not None


def test_a_limit_that_makes_no_sense_is_refused(database: Database) -> None:
    for scope, count in (("planet", 1), ("tenant", -1)):
        with pytest.raises(InvalidInputError):
            set_limit(database, scope, "*", count)


def test_many_claimers_never_exceed_a_limit(database: Database) -> None:
    set_limit(database, "run_type", "PipelineRun", 3)
    for seed in range(1, 9):
        submit_run(database, "a", seed=seed)
    found = [item for item in cross(*[lambda: take(database)] * 6) if isinstance(item, Claim)]
    assert len(found) == 3
    assert take(database) is None
