"""What the rules forbid the database itself refuses, whatever the code above it does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import Executable, Table, delete, insert, update
from sqlalchemy.exc import IntegrityError

from optaic.domain.identifier import new_id
from optaic.domain.status import TRANSITIONS, RunStatus
from optaic.ledger import tables
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database
from optaic.lifecycle.complete import complete
from tests.factories import add_dataset, claim_run, dataset_result, submit_run
from tests.rows import add_tenant, dump, put, utc
from tests.story import Story, write_story

REASON = {"reason_code": "flow_error", "reason_message": "it failed", "reason_next_step": "mend it"}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def story(database: Database) -> Story:
    with database.write() as tx:
        return write_story(tx)


def set_columns(database: Database, table: Table, key: uuid.UUID, **values: Any) -> None:
    name = "id" if "id" in table.c else "run_id"
    with database.write() as tx:
        tx.conn.execute(update(table).where(table.c.tenant_id == tx.tenant_id, table.c[name] == key).values(**values))


def refused(database: Database, table: Table, key: uuid.UUID, match: str | None = None, **values: Any) -> None:
    """Try an update that must be refused, and must have changed nothing."""
    before = dump(database)
    with pytest.raises(IntegrityError, match=match):
        set_columns(database, table, key, **values)
    assert dump(database) == before


def execute(database: Database, *statements: Executable) -> None:
    with database.write() as tx:
        for statement in statements:
            tx.conn.execute(statement)


def put_copy(database: Database, table: Table, values: Mapping[str, Any], **changes: Any) -> None:
    """Insert a row like one that is there, with an id of its own and some changes."""
    with database.write() as tx:
        put(tx, table, **{key: value for key, value in values.items() if key != "id"} | changes)


def row_of(story: Story, table: Table, **wanted: Any) -> dict[str, Any]:
    return next(
        values
        for written, values in story.written
        if written is table and all(values.get(key) == value for key, value in wanted.items())
    )


# ------------------------------------------------------------------------------------------------- statuses of runs


def put_in(database: Database, status: RunStatus) -> uuid.UUID:
    """Make a run that is in a status, by legal steps."""
    run = submit_run(database)
    if status is RunStatus.PENDING:
        return run.id
    held = claim_run(database, run)
    match status:
        case RunStatus.COMPLETED:
            complete(database, run.id, 1, dataset_result(held))
        case RunStatus.FAILED | RunStatus.CANCELLED:
            set_columns(database, tables.attempts, run.id, ended_at=db_now(), outcome="failed")
            set_columns(database, tables.runs, run.id, status=status, ended_at=db_now(), **REASON)
        case _:
            pass
    return run.id


@pytest.mark.parametrize("source", list(RunStatus))
def test_statuses_change_only_as_the_table_says(database: Database, source: RunStatus) -> None:
    add_dataset(database)
    for target in RunStatus:
        if target is source:
            continue
        run_id = put_in(database, source)
        values: dict[str, Any] = {"status": target}
        if target.is_terminal is not source.is_terminal:
            values["ended_at"] = db_now() if target.is_terminal else None
        values |= REASON if target in {RunStatus.FAILED, RunStatus.CANCELLED} else dict.fromkeys(REASON)
        if target is RunStatus.RUNNING and source is RunStatus.PENDING:
            values |= {"attempt": 1, "started_at": db_now()}
        if target in TRANSITIONS[source]:
            set_columns(database, tables.runs, run_id, **values)
            if target is RunStatus.RUNNING:  # one official run of a flow at a time
                set_columns(database, tables.runs, run_id, status="failed", ended_at=db_now(), **REASON)
        else:
            refused(database, tables.runs, run_id, "this change of a run's status is not allowed", **values)
            if source is RunStatus.RUNNING:
                set_columns(database, tables.runs, run_id, status="failed", ended_at=db_now(), **REASON)


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
def test_a_terminal_run_is_final(database: Database, status: RunStatus) -> None:
    add_dataset(database)
    run_id = put_in(database, status)
    for change in ({"attempt": 2}, {"ended_at": db_now(5.0)}, {"standing": "trial"}):
        refused(database, tables.runs, run_id, "a terminal run is final", **change)
    for values in ({"status": "running", "ended_at": None}, {"status": "pending", "ended_at": None}):
        refused(database, tables.runs, run_id, **values, **dict.fromkeys(REASON))


def test_the_attempt_number_never_falls(database: Database) -> None:
    add_dataset(database)
    run_id = put_in(database, RunStatus.RUNNING)
    refused(database, tables.runs, run_id, "never falls", attempt=0)
    set_columns(database, tables.runs, run_id, attempt=3)
    refused(database, tables.runs, run_id, "never falls", attempt=2)


def test_runs_are_never_deleted(database: Database) -> None:
    add_dataset(database)
    run = submit_run(database)
    before = dump(database)
    # With what refers to it, or a foreign key would refuse first.
    for statement in (delete(tables.runs).where(tables.runs.c.id == run.id), delete(tables.runs)):
        with pytest.raises(IntegrityError, match="never deleted"):
            execute(database, delete(tables.pipeline_runs), statement)
    assert dump(database) == before


def test_an_ended_attempt_is_final_and_no_second_one_is_open(database: Database) -> None:
    add_dataset(database)
    run = submit_run(database)
    held = claim_run(database, run)
    open_attempt = {"run_id": run.id, "worker": "w", "lease_expires_at": db_now(9.0)}
    with pytest.raises(IntegrityError), database.write() as tx:
        put(tx, tables.attempts, number=2, **open_attempt)
    complete(database, run.id, 1, dataset_result(held))
    refused(database, tables.attempts, run.id, "an ended attempt is final", lease_expires_at=db_now(9.0))
    refused(database, tables.attempts, run.id, "an ended attempt is final", ended_at=None, outcome=None)


def test_one_official_run_of_a_flow_is_running(database: Database) -> None:
    add_dataset(database)
    put_in(database, RunStatus.RUNNING)
    second = submit_run(database)
    refused(database, tables.runs, second.id, status="running", attempt=1, started_at=db_now())
    trial = submit_run(database, seed=5)
    set_columns(database, tables.runs, trial.id, status="running", attempt=1, started_at=db_now())


ENDED = {"ended_at": utc(2024, 1, 2)}


@pytest.mark.parametrize(
    ("source", "values"),
    [
        pytest.param("running", {"status": "completed", **ENDED, **REASON}, id="completed with a reason"),
        pytest.param("running", {"status": "failed", **ENDED}, id="failed without a reason"),
        pytest.param(
            "running", {"status": "failed", **ENDED, **REASON, "reason_next_step": None}, id="without a next step"
        ),
        pytest.param("pending", {"status": "cancelled", **ENDED, **REASON, "reason_message": None}, id="no sentence"),
        pytest.param("running", {"status": "completed"}, id="completed without an end"),
        pytest.param("running", ENDED, id="an end without a terminal status"),
        pytest.param("pending", {"status": "running"}, id="running without an attempt"),
        pytest.param("pending", {"attempt": 1}, id="an attempt without a start"),
        pytest.param("running", {"progress_pct": 100.5}, id="more than all"),
        pytest.param("running", {"cancel_requested_at": utc(2024, 1, 2)}, id="a cancel by nobody"),
        pytest.param("pending", {"status": "unknown"}, id="an unknown status"),
        pytest.param("pending", {"trigger": "track"}, id="a tracked run that is official"),
        pytest.param("pending", {"trigger": "sweep"}, id="a sweep point that is official"),
        pytest.param("pending", {"trigger": "reproduce"}, id="a reproduction that is official"),
        pytest.param("pending", {"as_of": utc(2024, 1, 2)}, id="as of another time, and official"),
    ],
)
def test_a_run_says_nothing_that_does_not_fit(database: Database, source: str, values: dict[str, Any]) -> None:
    add_dataset(database)
    refused(database, tables.runs, put_in(database, RunStatus(source)), **values)


# ------------------------------------------------------------------------------------------------------ other tables


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (tables.versions, "row_count"),
        (tables.instance_revisions, "number"),
        (tables.definition_versions, "distribution"),
        (tables.segments, "size_bytes"),
        (tables.version_segments, "position"),
        (tables.artifacts, "size_bytes"),
    ],
    ids=lambda item: getattr(item, "name", item),
)
def test_what_is_immutable_is_never_updated(database: Database, story: Story, table: Table, column: str) -> None:
    before = dump(database)
    with pytest.raises(IntegrityError, match="never changed"), database.write() as tx:
        tx.conn.execute(update(table).values({column: table.c[column]}))  # not even to the same value
    assert dump(database) == before


def test_an_edge_is_never_to_itself(database: Database, story: Story) -> None:
    edge = row_of(story, tables.flow_inputs, role="old")
    with pytest.raises(IntegrityError, match="not_itself"):
        put_copy(database, tables.flow_inputs, edge, upstream_flow_id=edge["flow_id"])
    with pytest.raises(IntegrityError, match="not_itself"):
        put_copy(database, tables.plan_step_edges, {"step_id": story.shared}, upstream_step_id=story.shared)


def test_a_name_belongs_to_one_live_instance(database: Database, story: Story) -> None:
    prices = row_of(story, tables.instances, name="prices")
    with pytest.raises(IntegrityError):
        put_copy(database, tables.instances, prices)
    put_copy(database, tables.instances, prices, archived_at=utc(2024, 1, 2))
    put_copy(database, tables.instances, prices, name="gone")  # the other of this name is archived


def test_a_flow_has_one_champion(database: Database, story: Story) -> None:
    champion = row_of(story, tables.version_stages, stage="champion")
    version = row_of(story, tables.versions, id=story.champion)
    with database.write() as tx:
        run = row_of(story, tables.runs, standing="trial")
        newer = put(tx, tables.versions, **version | {"id": new_id(), "number": 2, "run_id": run["id"]})
    with pytest.raises(IntegrityError):
        put_copy(database, tables.version_stages, champion, version_id=newer)
    set_columns(database, tables.version_stages, champion["id"], ended_at=db_now())
    put_copy(database, tables.version_stages, champion, version_id=newer)


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        pytest.param(tables.versions, {}, id="two versions of one number"),
        pytest.param(tables.versions, {"number": 9}, id="two versions of one run"),
        pytest.param(tables.instance_revisions, {}, id="two revisions of one number"),
        pytest.param(tables.segments, {}, id="a key used twice"),
        pytest.param(tables.definition_versions, {}, id="one code twice"),
        pytest.param(tables.api_keys, {}, id="one secret twice"),
        pytest.param(tables.limits, {}, id="two limits of one scope"),
        pytest.param(tables.families, {}, id="two families of one name"),
        pytest.param(tables.submissions, {"key": "new", "run_id": None, "plan_id": None}, id="a key without result"),
        pytest.param(tables.run_inputs, {"role": "x", "version_id": None, "revision_id": None}, id="a pin of nothing"),
        pytest.param(tables.segments, {"storage_key": "k", "row_count": 0}, id="an empty segment"),
    ],
)
def test_what_is_told_once_is_not_told_twice(
    database: Database, story: Story, table: Table, changes: dict[str, Any]
) -> None:
    values = next(values for written, values in story.written if written is table)
    with pytest.raises(IntegrityError):
        put_copy(database, table, values, **changes)


def test_no_row_refers_to_another_tenants(database: Database, story: Story) -> None:
    """The same row under another tenant finds nothing to refer to."""
    add_tenant(database)
    tried: set[str] = set()
    for table, values in story.written:
        keys = [key for key in table.foreign_key_constraints if key.referred_table is not tables.principals]
        if not any(name != "tenant_id" and values.get(name) is not None for key in keys for name in key.column_keys):
            continue
        row = {**_instants(table), **values, "tenant_id": 2}
        row |= {name: None for name in ("engine_deployment_id", "engine_run_id") if name in table.c}
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            execute(database, insert(table).values(row))
        tried.add(table.name)
    assert len(tried) > 30


def _instants(table: Table) -> dict[str, Any]:
    return {
        column.name: db_now()
        for column in table.c
        if type(column.type).__name__ == "UtcDateTime" and not column.nullable
    }


def test_every_foreign_key_carries_the_tenant_and_every_key_starts_with_it() -> None:
    for table in tables.metadata.sorted_tables:
        if table is tables.tenants:
            continue
        assert next(iter(table.primary_key.columns)).name == "tenant_id", table.name
        for key in table.foreign_key_constraints:
            assert "tenant_id" in key.column_keys, f"{table.name}: {key.name}"
