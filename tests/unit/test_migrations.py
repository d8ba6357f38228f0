"""The schema: migrations go up, down and up again, and end where the tables say."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from optaic.ledger import migrations
from optaic.ledger.session import HEAD, Database, check_schema, make_engine, migrate, schema_revision
from optaic.ledger.tables import metadata


def test_migrations_go_up_down_and_up_again(blank_url: str) -> None:
    engine = make_engine(blank_url)
    assert schema_revision(engine) is None
    migrate(blank_url)
    check_schema(engine)
    migrate(blank_url, revision="base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrate(blank_url)
    check_schema(engine)
    assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    engine.dispose()


def test_the_migrated_schema_is_the_schema_of_the_code(database_url: str) -> None:
    database = Database(database_url)
    with database.read() as tx:
        context = MigrationContext.configure(tx.conn, opts={"compare_type": True})
        differences = [
            item
            for item in compare_metadata(context, metadata)
            # SQLite does not tell the expression of an index, so this one always looks different there.
            if getattr(item[1], "name", "") != "ix_runs_claim"
        ]
    database.close()
    assert differences == []


def test_the_code_names_the_newest_migration() -> None:
    folder = migrations.__path__[0]
    script = ScriptDirectory(folder)
    assert script.get_current_head() == HEAD


def test_every_column_says_what_it_holds() -> None:
    silent = [
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if not (column.comment or "").endswith(".")
    ]
    assert silent == []
    assert all(table.comment for table in metadata.tables.values())


def test_every_foreign_key_carries_the_tenant() -> None:
    for table in metadata.tables.values():
        for key in table.foreign_key_constraints:
            if key.referred_table.name != "tenants":
                assert "tenant_id" in key.column_keys, f"{table.name}: {key.column_keys}"
