"""Who interrupts a tracked block does not keep everybody else from the ledger."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url

from tests.projects import open_project


@pytest.mark.parametrize("statement", ["INSERT INTO runs", "SELECT", "INSERT INTO activities"])
def test_an_interrupt_within_a_statement_leaves_no_lock(tmp_path: Path, sqlite_url: str, statement: str) -> None:
    with open_project(tmp_path / "project", sqlite_url) as project:
        with project.ledger.track("idea") as run:
            run.log_metric("ic", 0.1)
        engine = project.database.engine

        def interrupt(conn: Connection, _cursor: object, text: str, *_rest: Any) -> None:
            if text.startswith(statement) and conn.get_execution_options().get("optaic_write"):
                raise KeyboardInterrupt  # as Python does at the end of the statement that the signal met

        event.listen(engine, "after_cursor_execute", interrupt)
        # A notebook keeps the exception, and with it the frames that it went through.
        with pytest.raises(KeyboardInterrupt) as kept, project.ledger.track("idea") as run:
            run.log_metric("ic", 0.2)
        event.remove(engine, "after_cursor_execute", interrupt)
        other = sqlite3.connect(str(make_url(sqlite_url).database), timeout=0.5, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        finally:
            other.close()
        assert kept.value is not None
