"""The tables of the first migration hold all that the design asks for: written and read back, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from optaic.domain.kind import BY_RUN_TYPE, FlowKind, RunType
from optaic.ledger import attempts, catalog, runs, search, tables, versions
from optaic.ledger.session import HEAD, Database, schema_revision
from optaic.lifecycle.pins import pinned_version
from tests.rows import foreign_keys_hold, read_back
from tests.story import Story, write_story


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def story(database: Database) -> Story:
    with database.write() as tx:
        return write_story(tx)


def test_everything_that_is_written_is_read_back_as_it_was(database: Database, story: Story) -> None:
    assert schema_revision(database.engine) == HEAD
    with database.read() as tx:
        for table, values in story.written:
            assert read_back(tx, table, values) == values, table.name
    assert foreign_keys_hold(database)


def test_the_example_has_a_row_of_every_table_and_a_value_in_every_column(story: Story) -> None:
    given: dict[str, set[str]] = {}
    for table, values in story.written:
        given.setdefault(table.name, set()).update(name for name, value in values.items() if value is not None)
    # Instants that the database's clock fills in, and the tenant that the migration makes.
    filled = {"created_at", "submitted_at", "available_at", "claimed_at", "at", "set_at", "pinned_at", "written_at"}
    filled |= {"tenant_id", "raised_at"}
    missing = {
        f"{table.name}.{column.name}"
        for table in tables.metadata.sorted_tables
        for column in table.c
        if column.name not in given.get(table.name, set()) | filled and table is not tables.tenants
    }
    assert missing == set()


@pytest.mark.parametrize("run_type", list(RunType))
def test_each_type_of_run_is_read_with_its_extension(database: Database, story: Story, run_type: RunType) -> None:
    run_id = story.runs[run_type]
    table = tables.EXTENSIONS[run_type]
    with database.read() as tx:
        run = runs.get(tx, run_id)
        assert (run.type, run.flow_kind, run.id) == (run_type, BY_RUN_TYPE[run_type].flow_kind, run_id)
        assert run.params == {"n": 3, "名": [1.5, None, True]}
        assert [row.number for row in attempts.history(tx, run_id)] == [1]
        assert [item.id for item in search.search(tx, search.Search(type=run_type))] == [run_id]
        row = tx.conn.execute(select(table).where(table.c.run_id == run_id)).one()
        assert None not in tuple(row)


def test_a_model_has_three_flows_and_a_dataset_a_monitor(database: Database, story: Story) -> None:
    with database.read() as tx:
        found = {target: catalog.find_flow(tx, target).id for target in ("alpha", "alpha.infer", "alpha.monitor")}
        assert found["alpha"] == story.flows["alpha", FlowKind.TRAIN]
        assert len(set(found.values()) | {catalog.find_flow(tx, "prices.monitor").id}) == 4


def test_two_plans_share_a_step(database: Database, story: Story) -> None:
    members = tables.plan_members
    with database.read() as tx:
        found = tx.conn.execute(select(members.c.plan_id).where(members.c.step_id == story.shared)).scalars()
        assert set(found) == story.plans
    assert len(story.plans) == 2


def test_an_input_is_pinned_to_the_champion(database: Database, story: Story) -> None:
    infer, run_id = story.flows["alpha", FlowKind.INFER], story.runs[RunType.INFERENCE]
    with database.read() as tx:
        (edge,) = catalog.inputs_of(tx, [infer])
        assert (edge.selector_text, pinned_version(tx, edge)) == ("stage:champion", story.champion)
        pins = search.inputs_of_runs(tx, [run_id])[run_id]
    assert {(pin.role, pin.version_id) for pin in pins} == {("model", story.champion), ("config", None)}


def test_a_version_is_a_list_of_segments(database: Database, story: Story) -> None:
    flow_id = story.flows["prices", FlowKind.REFRESH]
    with database.read() as tx:
        version = versions.get_dataset(tx, versions.find_version(tx, flow_id, "prices", 1))
    assert (version.row_count, [part.size_bytes for part in version.segments]) == (2**40, [2**41])
