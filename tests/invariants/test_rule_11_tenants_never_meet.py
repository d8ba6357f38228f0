"""Rule 11: a second tenant in the same database, with equal names, sees and changes nothing of the first."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from optaic.domain.artifact import Artifact, StoredObject, attempt_prefix
from optaic.domain.reason import Reason
from optaic.domain.run import Run
from optaic.errors import LeaseLostError, NotFoundError, OptaicError
from optaic.flows.task import Result
from optaic.ledger import attempts, catalog, limits, runs, search, versions
from optaic.ledger.session import Database, Transaction
from optaic.ledger.state import load_facts
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import claim, has_work
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.publish import events_after, relay
from optaic.lifecycle.rescue import find_lost, rescue
from optaic.lifecycle.retry import retry
from optaic.overview import statuses
from optaic.view import load_details
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run
from tests.rows import Dump, add_tenant, counted, dump

GONE = dt.timedelta(seconds=-60)
ERROR = Reason(code="flow_error", message="ValueError: no", next_step="mend it")
SECRET = "xyzzy"
"""In every name, key and text of the first tenant that the second does not have too."""


class Theirs:
    """What the first tenant has: a run in each status, a version, an artifact, metrics, a log, a limit."""

    def __init__(self, database: Database) -> None:
        add_dataset(database)
        add_dataset(database, f"{SECRET}_index", inputs={SECRET: "prices"})
        first = claim_run(database, submit_run(database, idempotency_key="k"), worker=SECRET)
        line = {"text": SECRET}
        with database.write() as tx:
            report = attempts.Report(
                progress=(5.0, SECRET), points=[(SECRET, 1, 2.0, dt.datetime.now(dt.UTC))], lines=[line]
            )
            attempts.write_report(tx, first.run.id, 1, report, position=0)
        file = Artifact(
            name=f"{SECRET}.bin",
            kind="file",
            media_type="application/octet-stream",
            stored=StoredObject(
                key=f"{attempt_prefix(1, first.run.id, 1)}/{SECRET}.bin", size_bytes=1, sha256="0" * 64
            ),
        )
        result = dataset_result(first)
        self.completed = complete(
            database, first.run.id, 1, Result(metrics=result.metrics, dataset=result.dataset, artifacts=(file,))
        )
        failed = claim_run(database, submit_run(database))
        self.failed = end_attempt(database, failed.run.id, 1, ERROR)
        self.lost = claim_run(database, submit_run(database, f"{SECRET}_index"), worker=SECRET, lease=GONE).run
        self.pending = submit_run(database)
        with database.write() as tx:
            limits.set_limit(tx, "tenant", "*", 9)
            self.flow = catalog.find_flow(tx, "prices")

    @property
    def runs(self) -> list[Run]:
        return [self.completed, self.failed, self.lost, self.pending]


@pytest.fixture
def theirs(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    add_tenant(opened)
    yield opened
    opened.close()


@pytest.fixture
def ours(database_url: str) -> Iterator[Database]:
    opened = Database(database_url, tenant_id=2)
    yield opened
    opened.close()


def rows_of(dumped: Dump, tenant_id: int) -> Dump:
    return {name: [row for row in rows if row[0] == tenant_id] for name, rows in dumped.items()}


def known_words(dumped: Dump) -> set[str]:
    """Every id of a tenant's rows, except those that both tenants have."""
    found = re.findall(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}",
        str({key: [[str(x) for x in row] for row in rows] for key, rows in dumped.items()}),
    )
    return set(found) | {SECRET}


READS: list[Callable[[Transaction], Any]] = [
    lambda tx: search.search(tx, search.Search()),
    lambda tx: search.search(tx, search.Search(where="rows_inserted > 0")),
    lambda tx: search.search(tx, search.Search(target="prices", sort="-rows_inserted")),
    search.count_by_status,
    statuses,
    catalog.live_flows,
    catalog.all_inputs,
    catalog.instance_names,
    load_facts,
    versions.referenced_keys,
    versions.referenced_objects,
    versions.open_run_ids,
]


def test_every_list_is_empty_for_a_tenant_without_anything(theirs: Database, ours: Database) -> None:
    Theirs(theirs)
    with ours.read() as tx:
        for read in READS:
            assert not any(read(tx)), read
    assert (find_lost(ours), has_work(ours), events_after(ours, 0)) == ([], False, [])
    relay(theirs)
    assert (relay(ours), events_after(ours, 0)) == (0, [])


def test_by_id_nothing_of_another_tenant_is_found(theirs: Database, ours: Database) -> None:
    other = Theirs(theirs)
    ids = [run.id for run in other.runs]
    version = other.flow.current_version_id
    assert version is not None
    with ours.read() as tx:
        for read in (versions.of_runs, versions.artifacts_of, search.inputs_of_runs, runs.many):
            assert not read(tx, ids)
        for run_id in ids:
            assert not attempts.history(tx, run_id)
            assert not attempts.points(tx, run_id)
            assert not attempts.lines_after(tx, run_id)
            assert not attempts.last_values(tx, run_id, 1)
            assert attempts.count(tx, run_id) == 0
            for look in (lambda x=run_id: runs.get(tx, x), lambda x=run_id: runs.find(tx, str(x)[:30])):
                with pytest.raises(NotFoundError):
                    look()
        assert versions.get_datasets(tx, [version]) == {}
        assert versions.numbers(tx, [version]) == {}
        assert not versions.of_flow(tx, other.flow.id)
        assert load_details(tx, search.search(tx, search.Search())) == []
        for look in (
            lambda: versions.get_dataset(tx, version),
            lambda: catalog.get_flow(tx, other.flow.id),
            lambda: catalog.find_flow(tx, "prices"),
            lambda: runs.find(tx, "prices@latest"),
        ):
            with pytest.raises(NotFoundError):
                look()


def try_everything(ours: Database, other: Theirs) -> list[str]:
    """Do to the other tenant's runs whatever can be done; give all that was answered, refusals included."""
    told: list[str] = []

    def tell(action: Callable[[], object]) -> None:
        try:
            told.append(repr(action()))
        except OptaicError as error:
            # The caller's own words come back to it; nothing else may.
            told.append(f"{error.message} {error.next_step}")

    change = dataset_result(claim_run(ours, submit_run(ours)))
    for run in other.runs:
        words: list[Callable[[], object]] = [
            lambda run=run: cancel(ours, run.id),
            lambda run=run: retry(ours, run.id),
            lambda run=run: complete(ours, run.id, 1, change),
            lambda run=run: end_attempt(ours, run.id, 1, ERROR),
            lambda run=run: claim(ours, worker="w", lease=LEASE, run_id=run.id),
        ]
        for action in words:
            before = len(told)
            tell(action)
            told[before] = told[before].replace(str(run.id), "")
        with pytest.raises(LeaseLostError), ours.write() as tx:
            attempts.renew(tx, run.id, 1, LEASE)
    tell(lambda: rescue(ours))
    tell(lambda: submit_run(ours, idempotency_key="k", seed=3))
    for target in ("xyzzy_inde", "price", "prices.monitor", "prices@latest"):
        with ours.read() as tx:
            tell(lambda target=target, tx=tx: catalog.find_flow(tx, target))
            told[-1] = told[-1].replace(target, "")
    tell(lambda: search_all(ours))
    tell(lambda: relay(ours))
    tell(lambda: events_after(ours, 0))
    return told


def search_all(database: Database) -> list[Any]:
    with database.read() as tx:
        return [read(tx) for read in READS]


def test_nothing_that_a_tenant_does_shows_or_changes_another_with_equal_names(theirs: Database, ours: Database) -> None:
    other = Theirs(theirs)
    add_dataset(ours)
    before = rows_of(dump(theirs), 1)
    told = try_everything(ours, other)
    assert rows_of(dump(theirs), 1) == before
    words = known_words(before)
    assert len(words) > 20
    for text in told:
        assert not [word for word in words if word in text], text
    assert any("there is no run" in text for text in told)


def test_a_tenants_limit_is_no_other_tenants(theirs: Database, ours: Database) -> None:
    for database in (theirs, ours):
        add_dataset(database)
        submit_run(database)
    with theirs.write() as tx:
        limits.set_limit(tx, "tenant", "*", 0)
    assert claim(theirs, worker="w", lease=LEASE) is None
    assert claim(ours, worker="w", lease=LEASE) is not None


def test_every_statement_names_its_tenant(ours: Database, theirs: Database) -> None:
    other = Theirs(theirs)
    add_dataset(ours)
    with counted(ours) as seen:
        try_everything(ours, other)
    assert len(set(seen)) > 30
    assert not [
        statement
        for statement in seen
        if "tenant_id" not in statement
        and "FROM tenants" not in statement
        and "FROM" in statement  # the database's clock is everybody's
        and not statement.startswith("UPDATE tenants")
    ]
