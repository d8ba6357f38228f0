"""Connections and transactions: one transaction a step, on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, select, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from optaic.domain.principal import DEFAULT_TENANT, OWNER_ID
from optaic.errors import LedgerAwayError, LedgerError
from optaic.ledger.tables import tenants

HEAD = "0001"
"""The schema revision that this version of the product reads and writes; a test holds it to the migrations."""

_BUSY_TIMEOUT_MS = 30_000

IDLE_SECONDS = 1.0
"""A connection to PostgreSQL that nobody has used for longer is tried before its next use, in a round trip of its own:
the server may have been restarted since."""

SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"busy_timeout={_BUSY_TIMEOUT_MS}",
    "cache_size=-65536",
)
"""What every SQLite connection is set to; a commit reaches the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """An open transaction, and on whose behalf it acts.

    Attributes
    ----------
    conn
        The connection that it runs on.
    tenant_id
        Every statement names it.
    actor_id
        The principal that activities are recorded for.
    correlation_id
        Shared by all activities that one request sets off.
    """

    conn: Connection
    tenant_id: int
    actor_id: uuid.UUID
    correlation_id: uuid.UUID | None = None

    @property
    def is_postgresql(self) -> bool:
        """Whether the database has row locks, and other writers beside this one."""
        return self.conn.dialect.name == "postgresql"


class Database:
    """The ledger's database, for one tenant and one principal.

    Parameters
    ----------
    url
        `sqlite:///path/to/ledger.db` or `postgresql+psycopg://...`.
    tenant_id
        Whose rows are read and written.
    actor_id
        Who acts, unless a transaction says otherwise.
    """

    def __init__(self, url: str, *, tenant_id: int = DEFAULT_TENANT, actor_id: uuid.UUID = OWNER_ID) -> None:
        self.url = url
        self.tenant_id = tenant_id
        self.actor_id = actor_id
        self.engine = make_engine(url)
        self._writer = self.engine.execution_options(optaic_write=True)
        self._reader = self.engine
        if self.engine.dialect.name == "postgresql":
            # SQLite's readers have a snapshot anyway. Writers read what is committed, and lock what they decide on.
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ")
        _open.add(self)

    @contextmanager
    def write(
        self, *, actor_id: uuid.UUID | None = None, correlation_id: uuid.UUID | None = None
    ) -> Generator[Transaction]:
        """Open a transaction that writes; it is committed at the end of the block, or rolled back if the block raises.

        Raises
        ------
        LedgerError
            If the database cannot be reached, or stays locked.
        """
        with _as_ledger_error(self.engine.url), self._writer.begin() as conn:
            yield Transaction(
                conn=conn,
                tenant_id=self.tenant_id,
                actor_id=actor_id or self.actor_id,
                correlation_id=correlation_id,
            )

    @contextmanager
    def read(self) -> Generator[Transaction]:
        """Open a transaction that only reads: one snapshot for all its statements.

        Raises
        ------
        LedgerAwayError
            If the database cannot be reached.
        """
        with _as_ledger_error(self.engine.url), self._reader.begin() as conn:
            yield Transaction(conn=conn, tenant_id=self.tenant_id, actor_id=self.actor_id)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def prepare_fork(self) -> None:
        """Close what nobody uses, before a fork: what SQLite knows of a file's locks does not survive it."""
        if self.engine.dialect.name == "sqlite":
            self.engine.dispose()

    def forget_connections(self) -> None:
        """Leave the connections to the process that opened them, in one that it forked, and open others when wanted."""
        _inherited.append(self.engine.pool)
        self.engine.dispose(close=False)


_open: weakref.WeakSet[Database] = weakref.WeakSet()

_inherited: list[Pool] = []
"""Kept, so that nobody in a forked process closes what is its parent's."""


def _prepare_fork() -> None:
    for database in list(_open):
        database.prepare_fork()


def _forget_connections() -> None:
    for database in list(_open):
        database.forget_connections()


os.register_at_fork(before=_prepare_fork, after_in_child=_forget_connections)


@contextmanager
def _as_ledger_error(url: URL) -> Generator[None]:
    try:
        yield
    except OperationalError as error:
        raise LedgerAwayError(
            f"the ledger at {url.render_as_string(hide_password=True)} could not be used: {_sentence(error)}",
            next_step="check that the database runs and can be written to: optaic doctor",
        ) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise LedgerAwayError(
            f"the connection to the ledger at {url.render_as_string(hide_password=True)} was lost: {_sentence(error)}",
            next_step="check that the database runs: optaic doctor",
        ) from error


def _sentence(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())


def make_engine(url: str) -> Engine:
    """Make an engine with the settings that the ledger relies on.

    Raises
    ------
    LedgerError
        If the URL is not one of SQLite or PostgreSQL, or the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise LedgerError(
            f"{url!r} is not a database URL", next_step="use sqlite:///path or postgresql://..."
        ) from error
    match parsed.get_backend_name():
        case "sqlite":
            engine = create_engine(
                parsed, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}
            )
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            event.listen(engine, "invalidate", _end_sqlite)
            return engine
        case "postgresql":
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            try:
                # The connection used last is used next, so that few must be tried first.
                engine = create_engine(parsed, pool_size=8, max_overflow=24, pool_use_lifo=True)
            except ModuleNotFoundError as error:
                raise LedgerError(
                    f"the PostgreSQL driver is not installed ({error.name})",
                    next_step="in the clone: pip install '.[postgres]'",
                ) from error
            _try_idle_connections(engine)
            return engine
        case other:
            raise LedgerError(f"{other} is not a database that the ledger knows", next_step="use SQLite or PostgreSQL")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours: sqlite3 would begin too late, and deferred
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(conn: Connection) -> None:
    # A deferred transaction that reads first and then writes fails at once with "database is locked" when another
    # process wrote in between; one that takes the write lock first waits its turn.
    conn.exec_driver_sql("BEGIN IMMEDIATE" if conn.get_execution_options().get("optaic_write") else "BEGIN")


def _end_sqlite(connection: Any, _record: object, _error: object) -> None:
    # An interrupt gives a connection up in the middle of its transaction. Closing it does not end the transaction as
    # long as a cursor lives, and the traceback that a notebook keeps holds one.
    with suppress(sqlite3.Error):
        connection.rollback()


def _try_idle_connections(engine: Engine) -> None:
    dialect = engine.dialect

    def note_use(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    def try_idle(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at <= IDLE_SECONDS:
            return
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # all that were opened before are opened anew when they are wanted

    event.listen(engine, "checkin", note_use)
    event.listen(engine, "checkout", try_idle)


def lock_graph(tx: Transaction) -> None:
    """Take the tenant's graph lock: whoever writes versions, freshness or edges does so alone, until the commit.

    On SQLite a transaction that writes is alone already.
    """
    if tx.is_postgresql:
        # NO KEY UPDATE, so that foreign keys to the tenant can still be checked by others.
        tx.conn.execute(select(tenants.c.id).where(tenants.c.id == tx.tenant_id).with_for_update(key_share=True))


def schema_revision(engine: Engine) -> str | None:
    """Read which migration the database is at, without loading the migration library; None for an empty database."""
    with _as_ledger_error(engine.url), engine.connect() as conn:
        if not engine.dialect.has_table(conn, "alembic_version"):
            return None
        return conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def check_schema(engine: Engine) -> None:
    """Refuse a database whose schema is not this version's.

    Raises
    ------
    LedgerError
        If it is empty, older or newer.
    """
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
        raise LedgerError(f"there is no ledger at {engine.url.database}", next_step="optaic init")
    revision = schema_revision(engine)
    if revision == HEAD:
        return
    if revision is None:
        raise LedgerError("the ledger's database is empty", next_step="optaic init")
    raise LedgerError(
        f"the ledger's schema is at revision {revision}, this version of optaic needs {HEAD}",
        next_step="optaic doctor --migrate (after a backup), or install the version that made the ledger",
    )


def migrate(url: str, *, revision: str = "head") -> None:
    """Bring a database to a revision of the schema: `head`, `base` or a number.

    Raises
    ------
    LedgerError
        If the database cannot be reached.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = make_engine(url)
    if engine.dialect.name == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    writer = engine.execution_options(optaic_write=True)
    try:
        with _as_ledger_error(engine.url), writer.begin() as conn:
            if engine.dialect.name == "postgresql":
                # Two that start at the same moment must not both migrate.
                conn.execute(text("SELECT pg_advisory_xact_lock(706117)"))
            config.attributes["connection"] = conn
            if revision == "base":
                command.downgrade(config, revision)
            else:
                command.upgrade(config, revision)
    finally:
        engine.dispose()
