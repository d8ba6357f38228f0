"""Many small rows in one statement, also where the driver would send one for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Insert, Table, bindparam, column, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY

from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction


def insert_rows(
    tx: Transaction,
    table: Table,
    shared: Mapping[str, Any],
    columns: Mapping[str, Sequence[Any]],
    *,
    clock: str | None = None,
) -> None:
    """Insert rows that differ in some columns only.

    Parameters
    ----------
    tx
        An open transaction.
    table
        Where they go; the tenant is filled in.
    shared
        Columns with one value for all of them.
    columns
        The other columns: a value for each row, all of the same length. If there are no rows, nothing is sent.
    clock
        The column that gets the database's clock.
    """
    names = tuple(columns)
    owner = {"tenant_id": tx.tenant_id, **shared}
    rows = list(zip(*columns.values(), strict=True))
    if tx.is_postgresql and len(rows) > 1:
        arrays = {name: list(values) for name, values in columns.items()}
        tx.conn.execute(_insert_arrays(table, tuple(owner), names, clock), {**owner, **arrays})
    elif rows:
        tx.conn.execute(_insert(table, clock), [{**owner, **dict(zip(names, row, strict=True))} for row in rows])


@cache
def _insert(table: Table, clock: str | None) -> Insert:
    return insert(table).values({clock: db_now()}) if clock else insert(table)


@cache
def _insert_arrays(table: Table, shared: tuple[str, ...], names: tuple[str, ...], clock: str | None) -> Insert:
    arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in names]
    given = func.unnest(*arrays).table_valued(*(column(name, table.c[name].type) for name in names), name="given")
    filled = [clock] if clock else []
    rows = select(
        *(bindparam(name, type_=table.c[name].type) for name in shared),
        *given.render_derived().c,
        *(db_now() for _ in filled),
    )
    return insert(table).from_select([*shared, *names, *filled], rows)
