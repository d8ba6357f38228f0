"""The databases that the other tests stand on are what they say."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import create_engine, text

from tests.conftest import NewDatabase
from tests.postgres import PostgresServer


def _tenants(url: str) -> int:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.execute(text("SELECT count(*) FROM tenants")).scalar_one()
    finally:
        engine.dispose()


def _spoil(url: str) -> None:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE rubbish (id integer)"))
    finally:
        engine.dispose()


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_a_clean_migrated_database(database_url: str, turn: int) -> None:
    assert _tenants(database_url) == 1
    _spoil(database_url)  # fails in the second turn if the first one's database were used again


def test_each_example_has_a_clean_migrated_database(new_database: NewDatabase) -> None:
    with new_database() as first, new_database() as second:
        assert first != second
        _spoil(first)
        _spoil(second)
        assert _tenants(first) == 1


def test_a_blank_database_has_no_tables(blank_url: str) -> None:
    _spoil(blank_url)
    with pytest.raises(Exception, match="tenants"):
        _tenants(blank_url)


def test_a_killed_server_keeps_what_was_committed(private_postgres: PostgresServer) -> None:
    _spoil(private_postgres.url)
    private_postgres.kill9()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host={private_postgres.folder} user=postgres")
    private_postgres.restart()
    assert _tenants(private_postgres.url) == 1
    with pytest.raises(Exception, match="rubbish"):
        _spoil(private_postgres.url)
