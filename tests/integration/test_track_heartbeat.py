"""A heartbeat looks its own run up: by its key, of its own tenant, however many runs there are."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from optaic.ledger import attempts
from optaic.ledger.session import Database
from tests.factories import LEASE, add_dataset, claim_run, submit_run


def test_a_heartbeat_finds_its_run_by_its_key(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    add_dataset(database)
    held = claim_run(database, submit_run(database))
    seen: list[tuple[str, Any]] = []

    def note(_conn: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if statement.startswith("UPDATE attempts"):
            seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.write() as tx:
        attempts.renew(tx, held.run.id, held.attempt, LEASE)
    ((statement, parameters),) = seen
    with database.read() as tx:
        steps = [row[-1] for row in tx.conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    database.close()
    assert "tenant_id = tenant_id" not in statement
    assert any(step.startswith("SEARCH runs") for step in steps), steps
    assert not any(step.startswith("SCAN runs") for step in steps), steps
