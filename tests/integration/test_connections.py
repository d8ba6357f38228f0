"""Connections that outlive their server: whoever comes back after a while does not meet the old ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from optaic.ledger import session
from optaic.ledger.session import Database
from tests.postgres import PostgresServer


def read(database: Database, count: int = 1) -> None:
    """Read on so many connections at once."""
    with ExitStack() as stack:
        for tx in [stack.enter_context(database.read()) for _ in range(count)]:
            assert tx.conn.execute(text("SELECT 1")).scalar_one() == 1


@pytest.fixture
def database(private_postgres: PostgresServer) -> Iterator[Database]:
    opened = Database(private_postgres.url)
    yield opened
    opened.close()


def test_who_was_idle_does_not_notice_that_the_server_was_restarted(
    database: Database, private_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.0)
    read(database, 3)
    private_postgres.kill9()
    private_postgres.restart()
    read(database)
    read(database, 3)
    with database.write() as tx:
        tx.conn.execute(text("UPDATE tenants SET name = name"))


def test_only_what_was_idle_is_tried(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    monkeypatch.setattr(database.engine.dialect, "do_ping", tried.append)
    monkeypatch.setattr(session, "IDLE_SECONDS", 3600.0)
    read(database)
    read(database)
    assert tried == []
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.0)
    read(database)
    assert len(tried) == 1
