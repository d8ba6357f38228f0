"""Databases for every test: real ones, clean ones, fast ones.

A test that takes `database_url` runs twice, on SQLite and on PostgreSQL, each time on a migrated database of its own.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import PostgresServer

# The same examples in every run, and none fails because the machine was busy. HYPOTHESIS_PROFILE=explore looks further.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

TEMPLATE = "optaic_template"
"""The PostgreSQL database that holds the migrated schema; each test gets a copy of it."""

_SHARED = "TESTS_SHARED_FOLDER"
"""Names, for the workers of one session, the folder that they share; set by the process that has started them."""

_OWNER = "TESTS_OWNER_PID"
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
_names = (f"optaic_{_WORKER}_{number}" for number in itertools.count(1))

NewDatabase = Callable[[], AbstractContextManager[str]]
"""Makes a clean, migrated database for the length of a `with` block, which gives its URL."""


def pytest_configure(config: pytest.Config) -> None:
    """Set up what all workers of the session share."""
    # What the developer's own shell says about a ledger must not reach the tests.
    for name in [name for name in os.environ if name.startswith("OPTAIC_")]:
        del os.environ[name]
    if not hasattr(config, "workerinput"):
        os.environ[_SHARED] = tempfile.mkdtemp(prefix="optaic-tests-")
        os.environ[_OWNER] = str(os.getpid())


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a table by what it is: its text holds addresses, and then no two workers would collect the same tests."""
    return "table" if type(val).__module__.partition(".")[0] in {"polars", "pandas"} else None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the session's server; the process that started the workers outlives them all."""
    if not hasattr(config, "workerinput"):
        shared = Path(os.environ.pop(_SHARED))
        if (record := shared / "server").exists():
            PostgresServer(Path(record.read_text())).stop()
        shutil.rmtree(shared, ignore_errors=True)


def _migrate(url: str) -> str:
    from optaic.ledger.session import migrate

    migrate(url)
    return url


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """A folder that all workers of the session share, until its end."""
    return Path(os.environ[_SHARED])


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """The session's one PostgreSQL server, shared by all workers; the first that needs it starts it."""
    shared = Path(os.environ[_SHARED])
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = shared / "server"
        if not record.exists():
            record.write_text(str(PostgresServer.create(owner_pid=int(os.environ[_OWNER])).folder))
    return PostgresServer(Path(record.read_text()))


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of the migrated database that the databases of tests are copied from."""
    shared = Path(os.environ[_SHARED])
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "migrated").exists():
            # By its name when it is whole: a migration that failed is tried again, and told, by the next test.
            postgres_server.drop_database(f"{TEMPLATE}_new")
            _migrate(postgres_server.create_database(f"{TEMPLATE}_new"))
            postgres_server.rename_database(f"{TEMPLATE}_new", TEMPLATE)
            (shared / "migrated").touch()
    return TEMPLATE


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The migrated file that the databases of tests are copied from."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """The URL of a clean, migrated SQLite database."""
    path = tmp_path / "ledger.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Generator[str]:
    """The URL of a clean, migrated PostgreSQL database."""
    with postgres_server.database(next(_names), template=postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a clean, migrated database; once of each kind."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """The URL of an empty database, for tests of the migrations themselves; once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'blank.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        with server.database(next(_names)) as url:
            yield url


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Make as many clean databases as a test needs: for properties, a database for each example; once of each kind."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        template: str = request.getfixturevalue("postgres_template")
        return lambda: server.database(next(_names), template=template)
    source: Path = request.getfixturevalue("sqlite_template")

    @contextmanager
    def copy_template() -> Generator[str]:
        folder = tmp_path_factory.mktemp("database")
        shutil.copyfile(source, folder / "ledger.db")
        try:
            yield f"sqlite:///{folder / 'ledger.db'}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return copy_template


@pytest.fixture
def private_postgres() -> Generator[PostgresServer]:
    """A durable PostgreSQL server of the test's own, its database (`.url`) migrated: to `.kill9()` and `.restart()`."""
    server = PostgresServer.create(owner_pid=os.getpid(), durable=True)
    try:
        _migrate(server.url)
        yield server
    finally:
        server.stop()
