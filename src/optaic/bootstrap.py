"""The one place that joins settings to ledger, storage and engine."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from optaic.errors import NotFoundError
from optaic.ledger.session import Database, check_schema
from optaic.settings import HOME_FOLDER, PROJECT_FILE, Settings, find_root, read_settings

if TYPE_CHECKING:
    from optaic.engines.process import ForkServer
    from optaic.storage.objects import ObjectStore


@dataclass
class Runtime:
    """Everything that the settings stand for; storage and engine are made when they are first needed."""

    settings: Settings
    database: Database
    _rescued_at: float | None = None

    @cached_property
    def store(self) -> ObjectStore:
        """The object store."""
        from optaic.storage.objects import open_store

        return open_store(self.settings.storage_url)

    @cached_property
    def server(self) -> ForkServer:
        """What starts the processes of runs."""
        from optaic.engines.process import ForkServer

        return ForkServer()

    def rescue(self) -> None:
        """Take back what dead workers hold, unless this was done within the last third of a lease."""
        from optaic.lifecycle.rescue import rescue

        now = time.monotonic()
        if self._rescued_at is None or now - self._rescued_at > self.settings.lease_seconds / 3:
            rescue(self.database)
            self._rescued_at = now

    def close(self) -> None:
        """Close the database's connections, and end the process that starts runs."""
        self.database.close()
        if "server" in self.__dict__:
            self.server.close()


def locate(start: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of the project that a folder is in.

    Raises
    ------
    NotFoundError
        If the folder is in no project.
    InvalidInputError
        If a setting is wrong.
    """
    folder = (start or Path.cwd()).absolute()
    root = find_root(folder)
    if root is None:
        raise NotFoundError(
            f"there is no {PROJECT_FILE} in {folder} or above it",
            next_step="make a project here with: optaic init",
        )
    return read_settings(root, os.environ if environ is None else environ)


def open_runtime(settings: Settings) -> Runtime:
    """Open the ledger that the settings name.

    Raises
    ------
    LedgerError
        If the database cannot be reached, or its schema is not this version's.
    """
    database = Database(settings.database_url)
    check_schema(database.engine)
    return Runtime(settings=settings, database=database)


def make_home(settings: Settings) -> None:
    """Make or migrate the ledger, and the folder that holds it.

    Raises
    ------
    LedgerError
        If the database cannot be reached.
    """
    from optaic.ledger.session import migrate

    home = settings.project_root / HOME_FOLDER
    home.mkdir(parents=True, exist_ok=True)
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    migrate(settings.database_url)
