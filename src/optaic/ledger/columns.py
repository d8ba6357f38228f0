"""Column types, the database's clock, and the shapes that all tables share.

Every table has `tenant_id` as the first part of its primary key, and every foreign key carries it along: a row of one
tenant cannot refer to a row of another, whatever the code above does.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Collection, Sequence
from functools import reduce
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.schema import SchemaItem
from sqlalchemy.types import TypeDecorator

from optaic.errors import InvalidInputError

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An instant: aware, UTC, to the microsecond.

    PostgreSQL keeps `timestamptz`; SQLite keeps text of fixed width, so that comparing texts compares instants.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Choose the column type of the database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(26))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:
        """Write an instant.

        Raises
        ------
        InvalidInputError
            If the value has no time zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise InvalidInputError(f"{value!r} has no time zone; the ledger keeps instants in UTC")
        value = value.astimezone(dt.UTC)
        if dialect.name == "sqlite":
            # Not strftime, which does not pad years before 1000.
            return value.replace(tzinfo=None).isoformat(" ", "microseconds")
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> dt.datetime | None:
        """Read an instant."""
        if value is None:
            return None
        if isinstance(value, str):
            # fromisoformat is ten times faster than strptime, and a listing reads hundreds of instants.
            return dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC)
        return value.astimezone(dt.UTC)


class db_now(FunctionElement[dt.datetime]):  # noqa: N801 - reads as an SQL function where it is used
    """The database's clock, now, plus some seconds.

    Deadlines are compared in SQL with this clock alone, so a worker whose own clock is wrong changes nothing. On
    PostgreSQL it is `clock_timestamp()`, not `now()`: a transaction that waited for a lock must not act on an old time.
    """

    type = UtcDateTime()
    inherit_cache = True
    name = "db_now"

    def __init__(self, plus_seconds: float | None = None) -> None:
        if plus_seconds is None:
            super().__init__()
        else:
            super().__init__(literal(plus_seconds, Float))


@compiles(db_now, "sqlite")
def _now_on_sqlite(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    clauses = list(element.clauses)
    if not clauses:
        return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    seconds = compiler.process(clauses[0], **kw)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', {seconds}))"


@compiles(db_now, "postgresql")
def _now_on_postgresql(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    clauses = list(element.clauses)
    if not clauses:
        return "clock_timestamp()"
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(clauses[0], **kw)}))"


Id = Uuid()
Instant = UtcDateTime()
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def among(column: ColumnElement[Any], ids: Collection[uuid.UUID], *, is_postgresql: bool) -> ColumnElement[bool]:
    """Give the condition that a column is one of some ids, as one parameter however many they are."""
    if is_postgresql:
        return column == any_(bindparam(None, list(ids), type_=ARRAY(Id)))
    table = func.json_each(json.dumps([one.hex for one in ids])).table_valued("value")
    return column.in_(select(type_coerce(table.c.value, Id)))


def among_given(column: ColumnElement[Any], *, is_postgresql: bool) -> ColumnElement[bool]:
    """Give the same condition on ids that come when the statement is executed, as the parameter `ids`.

    PostgreSQL is not told how many they are, and takes them for ten: it finds each through an index, and one plan of a
    prepared statement is as good as the next, so that it stops making them.
    """
    if is_postgresql:
        given = select(func.unnest(bindparam("ids", type_=ARRAY(Id)), type_=Id)).scalar_subquery()
        return column == any_(func.array(given, type_=ARRAY(Id)))
    table = func.json_each(bindparam("ids", type_=String())).table_valued("value")
    return column.in_(select(type_coerce(table.c.value, Id)))


def given_ids(ids: Collection[uuid.UUID], *, is_postgresql: bool) -> Any:
    """Give the value of the parameter `ids`."""
    return list(ids) if is_postgresql else json.dumps([one.hex for one in ids])


def id_text(column: ColumnElement[Any], *, is_postgresql: bool) -> ColumnElement[str]:
    """Read an id as people see it, where thousands are read and none is compared."""
    if is_postgresql:
        return cast(column, String)
    digits = type_coerce(column, String)
    first, *others = (func.substr(digits, start, size) for start, size in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12)))
    return reduce(lambda text, part: text.concat("-").concat(part), others, type_coerce(first, String))


def column(name: str, kind: Any, comment: str, *, null: bool = False, **kw: Any) -> Column[Any]:
    """Make a column; every one says in a sentence what it holds, and is NOT NULL unless it says otherwise."""
    return Column(name, kind, nullable=null, comment=comment, **kw)


def reference(local: str | Sequence[str], table: str, remote: str | Sequence[str] = "id") -> ForeignKeyConstraint:
    """Make a foreign key that carries the tenant along."""
    locals_ = [local] if isinstance(local, str) else list(local)
    remotes = [remote] if isinstance(remote, str) else list(remote)
    return ForeignKeyConstraint(
        ["tenant_id", *locals_], [f"{table}.tenant_id", *(f"{table}.{name}" for name in remotes)]
    )


def one_of(name: str, values: Sequence[str], *, label: str | None = None) -> CheckConstraint:
    """Make a CHECK that a text column holds one of some words."""
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{name} IN ({words})", name=label or name)


def tenant_table(
    name: str, *items: SchemaItem, key: Sequence[str] = ("id",), root: bool = False, comment: str
) -> Table:
    """Make a table whose primary key is (tenant_id, *key).

    A root table refers to `tenants` itself; the others reach it through the rows that they belong to.
    """
    tenant = Column("tenant_id", Integer, nullable=False, comment="Whose row it is.")
    roots = [ForeignKeyConstraint(["tenant_id"], ["tenants.id"])] if root else []
    return Table(name, metadata, tenant, *items, PrimaryKeyConstraint("tenant_id", *key), *roots, comment=comment)
