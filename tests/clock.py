"""Moves the clock of a test's database, which decides when data are due: nobody waits for tomorrow."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import event

from optaic.ledger.session import Database
from optaic.ledger.state import database_clock


class Clock:
    """The database's clock, as everybody who uses this database object sees it; it goes on from where it was set.

    Parameters
    ----------
    database
        Whose statements read another time.
    at
        What it shows now (UTC); None leaves it as it is.
    """

    def __init__(self, database: Database, at: dt.datetime | None = None) -> None:
        self._database = database
        self._ahead = 0.0
        event.listen(database.engine, "before_cursor_execute", self._move, retval=True)
        if at is not None:
            self.set(at)

    @property
    def now(self) -> dt.datetime:
        """What it shows."""
        with self._database.read() as tx:
            return database_clock(tx)

    def set(self, at: dt.datetime) -> None:
        """Let it show another time."""
        self.tick(at - self.now)

    def tick(self, duration: dt.timedelta) -> None:
        """Let time pass."""
        self._ahead += duration.total_seconds()

    def _move(
        self, _conn: object, _cursor: object, statement: str, parameters: Any, _context: object, _many: object
    ) -> tuple[str, Any]:
        # Values are bound, so these words are the clock's wherever they stand.
        if self._database.engine.dialect.name == "sqlite":
            moved = statement.replace("'now'", f"'now', '{self._ahead:+.3f} seconds'")
        else:
            later = f"(clock_timestamp() + interval '{self._ahead:.6f} seconds')"
            moved = statement.replace("clock_timestamp()", later)
        return moved, parameters
