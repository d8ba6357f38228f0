"""The plans of the two queries that run all the time, with 100,000 runs waiting: an index in its order, no sort."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from optaic.ledger import tables
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction
from optaic.lifecycle.claim import candidates
from tests.factories import add_dataset, claim_run, submit_run
from tests.rows import explain

COUNT = 100_000


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


NUMBERS = {
    "postgresql": "SELECT n FROM generate_series(1, :count) AS n",
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :count) SELECT n FROM s",
}
MADE = {
    "postgresql": "gen_random_uuid(), n % 10, now() - n * interval '1 second'",
    "sqlite": "lower(hex(randomblob(16))), n % 10, strftime('%Y-%m-%d %H:%M:%f000', 'now', '-' || n || ' seconds')",
}


def fill(tx: Transaction, count: int) -> None:
    """Copy the one pending run, as trials of ten priorities, inside the database: nothing travels."""
    name = tx.conn.dialect.name
    made = {"id", "priority", "submitted_at", "standing"}
    copied = [f'"{column.name}"' for column in tables.runs.c if column.name not in made]
    tx.conn.execute(
        text(
            f"INSERT INTO runs ({', '.join(copied)}, id, priority, submitted_at, standing) "
            f"SELECT {', '.join(f'one.{column}' for column in copied)}, {MADE[name]}, 'trial' "
            f"FROM ({NUMBERS[name]}) AS numbers CROSS JOIN (SELECT * FROM runs LIMIT 1) AS one"
        ),
        {"count": count},
    )


@pytest.fixture
def crowded(database: Database) -> Database:
    add_dataset(database)
    submit_run(database)
    with database.write() as tx:
        fill(tx, COUNT)
        tx.conn.execute(text("ANALYZE"))
    return database


def test_the_claim_reads_its_index_in_order_and_sorts_nothing(crowded: Database) -> None:
    with crowded.read() as tx:
        assert tx.conn.execute(text("SELECT count(*) FROM runs WHERE status = 'pending'")).scalar_one() == COUNT + 1
        plan = explain(tx, candidates(tx.tenant_id, "local"))
    assert "ix_runs_claim" in plan
    assert "uq_runs_one_official_running" in plan  # whether another official run of the flow is running
    for word in ("TEMP B-TREE", "Sort", "Seq Scan", "SCAN runs\n", "Bitmap"):
        assert word not in plan, plan


def test_the_rescue_reads_only_expired_leases(crowded: Database) -> None:
    claim_run(crowded)
    table = tables.attempts
    query = (
        select(table.c.run_id, table.c.number, table.c.worker)
        .where(table.c.tenant_id == 1, table.c.ended_at.is_(None), table.c.lease_expires_at < db_now())
        .order_by(table.c.lease_expires_at)
    )
    with crowded.read() as tx:
        if tx.is_postgresql:  # with one row in the table, reading all of it is right
            tx.conn.execute(text("SET LOCAL enable_seqscan = off"))
        plan = explain(tx, query)
    assert "ix_attempts_lease" in plan
    for word in ("TEMP B-TREE", "Sort", "Seq Scan"):
        assert word not in plan, plan
