"""Rows written and read directly: what tests of the tables themselves, and of what must not change, are made of."""

from __future__ import annotations

import cProfile
import datetime as dt
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Float, Integer, Table, event, insert, select, text

from optaic.domain.identifier import new_id
from optaic.ledger.columns import Instant, Json, db_now
from optaic.ledger.session import Database, Transaction
from optaic.ledger.tables import metadata, principals, tenants

Dump = dict[str, list[tuple[Any, ...]]]

WORDS = {"view": "replay", "monitor": "model_drift", "verdict": "warning"}
"""For text columns that take only some words, one of them."""


def put(tx: Transaction, table: Table, **values: Any) -> uuid.UUID:
    """Insert a row; what every table has (tenant, id, instants that may not be empty) is filled in. Give its id."""
    row: dict[str, Any] = {}
    for column in table.c:
        if column.name == "tenant_id":
            row["tenant_id"] = tx.tenant_id
        elif column.name == "id":
            row["id"] = new_id()
        elif isinstance(column.type, type(Instant)) and not column.nullable:
            row[column.name] = db_now()
    row |= values
    tx.conn.execute(insert(table).values(row))
    return row.get("id", uuid.UUID(int=0))


def read_back(tx: Transaction, table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Read the columns that a row was written with, of the row with its primary key."""
    key = [column == values.get(column.name, tx.tenant_id) for column in table.primary_key.columns]
    row = tx.conn.execute(select(*(table.c[name] for name in values)).where(*key)).one()
    return dict(row._mapping)


def dump(database: Database) -> Dump:
    """Read every row of every table, of all tenants, in a fixed order."""
    with database.read() as tx:
        return {
            table.name: [
                tuple(row) for row in tx.conn.execute(select(table).order_by(*table.primary_key.columns)).all()
            ]
            for table in metadata.sorted_tables
        }


def add_tenant(database: Database, number: int = 2) -> None:
    """Insert another tenant with the principals that every tenant has."""
    with database.write() as tx:
        tx.conn.execute(insert(tenants).values(id=number, name=f"tenant {number}", created_at=db_now()))
        found = tx.conn.execute(select(principals).where(principals.c.tenant_id == tx.tenant_id)).all()
        for row in found:
            tx.conn.execute(insert(principals).values({**row._mapping, "tenant_id": number}))


@contextmanager
def counted(database: Database) -> Generator[list[str]]:
    """Collect the statements that a block sends, BEGIN and COMMIT left out; executing many rows at once is one."""
    seen: list[str] = []

    def note(*facts: object) -> None:
        statement = str(facts[2])
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def calls(action: Callable[[], object]) -> int:
    """Count the calls of functions: what something costs, however busy the machine is."""
    profile = cProfile.Profile()
    profile.runcall(action)
    return sum(entry.callcount for entry in profile.getstats())


def explain(tx: Transaction, query: Any) -> str:
    """Give the database's plan for a query."""
    sql = query.compile(tx.conn.engine, compile_kwargs={"literal_binds": True})
    if tx.is_postgresql:
        return "\n".join(tx.conn.exec_driver_sql(f"EXPLAIN {sql}".replace("%", "%%")).scalars())
    return "\n".join(row.detail for row in tx.conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}"))


def foreign_keys_hold(database: Database) -> bool:
    """Whether no row refers to a row that is not there; PostgreSQL cannot break that, SQLite could."""
    with database.read() as tx:
        return tx.is_postgresql or tx.conn.execute(text("PRAGMA foreign_key_check")).first() is None


def utc(year: int, month: int, day: int, hour: int = 0) -> dt.datetime:
    """Give an instant with microseconds, so that a type that drops them is seen."""
    return dt.datetime(year, month, day, hour, 3, 4, 567891, tzinfo=dt.UTC)


def sample(column: Column[Any]) -> Any:
    """Give a value that only the right column type keeps."""
    match column.type:
        case kind if isinstance(kind, type(Json)):
            return {"a": [1, None, "ü", 2.5]}
        case kind if isinstance(kind, type(Instant)):
            return utc(2024, 1, 2)
        case BigInteger():
            return 2**40
        case Integer():
            return 7
        case Boolean():
            return True
        case Date():
            return dt.date(2022, 12, 28)
        case Float():
            return -0.1
        case _:
            return WORDS.get(column.name, "word")


STALE: dict[str, Any] = {
    "own_stale_from": dt.date(2024, 1, 1),
    "own_blocks_from": dt.date(2024, 1, 1),
    "inherited_stale_from": dt.date(2024, 1, 2),
    "is_delayed": 0,
    "is_overdue": 1,
    "ready_until": utc(2024, 1, 3),
    "expected_date": dt.date(2024, 1, 2),
}
"""What is stored of the freshness of a flow that is stale in every way."""

READ: dict[str, Any] = {"is_read": 1, "read_until": dt.date(2023, 12, 29)}
"""What is stored on an edge over which something was read."""
