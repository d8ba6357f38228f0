"""What the benchmarks share: ledgers to measure on, medians, and what else the machine was doing.

SQLite is a file in a temporary folder. PostgreSQL is a real server of the benchmark's own, reached through a Unix
socket, and durable: each commit reaches the disk on both.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from optaic.ledger.session import migrate  # noqa: E402 - the path comes first
from tests.postgres import PostgresServer  # noqa: E402 - the path comes first


class SqliteServer:
    """Makes SQLite databases; the same two calls as those of a PostgreSQL server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Make a database, empty or as a copy of another to which nobody is connected, and give its URL."""
        path = self._folder / f"{name}.db"
        if template is not None:
            shutil.copyfile(self._folder / f"{template}.db", path)
        return f"sqlite:///{path}"

    def drop_database(self, name: str) -> None:
        """Remove a database."""
        for path in self._folder.glob(f"{name}.db*"):
            path.unlink()


class PostgresDatabases:
    """Makes databases on a PostgreSQL server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Make a database, empty or as a copy of another to which nobody is connected, and give its URL."""
        return self._server.create_database(name, template=template or "template0")

    def drop_database(self, name: str) -> None:
        """Remove a database."""
        self._server.drop_database(name)


Databases = SqliteServer | PostgresDatabases


@contextmanager
def servers(names: Sequence[str] = ("SQLite", "PostgreSQL")) -> Generator[dict[str, Databases]]:
    """Give, by the name of each database system, what makes databases on it, for the length of the block."""
    with temporary_folder() as folder:
        found: dict[str, Databases] = {}
        server: PostgresServer | None = None
        try:
            for name in names:
                if name == "SQLite":
                    found[name] = SqliteServer(folder)
                else:
                    server = PostgresServer.create(owner_pid=os.getpid(), durable=True)
                    found[name] = PostgresDatabases(server)
            yield found
        finally:
            if server is not None:
                server.stop()


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Give a folder for the length of the block."""
    folder = Path(tempfile.mkdtemp(prefix="optaic-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def migrated(databases: Databases, name: str) -> str:
    """Make a database with the ledger's schema, and give its URL."""
    url = databases.create_database(name)
    migrate(url)
    return url


def say_conditions(what: str) -> None:
    """Print what is measured, where, and how busy the machine is."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{what}\n  Python {platform.python_version()}, {os.cpu_count()} cores, load {load}")


def median_ms(seconds: Sequence[float]) -> float:
    """Give the median of durations, in milliseconds."""
    return statistics.median(seconds) * 1e3


def quantile_ms(seconds: Sequence[float], share: float) -> float:
    """Give the value below which this share of the durations lies, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e3
