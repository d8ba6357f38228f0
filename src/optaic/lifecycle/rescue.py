"""Rescue: take runs back from workers that are gone."""

from __future__ import annotations

import uuid

from sqlalchemy import select

from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason, ReasonCode
from optaic.errors import ConflictError
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database
from optaic.ledger.tables import attempts
from optaic.lifecycle.complete import end_attempt


def find_lost(database: Database) -> list[tuple[uuid.UUID, int, str]]:
    """Read the open attempts whose lease has expired by the database's clock, as (run, attempt, worker)."""
    with database.read() as tx:
        query = (
            select(attempts.c.run_id, attempts.c.number, attempts.c.worker)
            .where(
                attempts.c.tenant_id == tx.tenant_id,
                attempts.c.ended_at.is_(None),
                attempts.c.lease_expires_at < db_now(),
            )
            .order_by(attempts.c.lease_expires_at)
        )
        return [(row.run_id, row.number, row.worker) for row in tx.conn.execute(query)]


def rescue(database: Database) -> list[uuid.UUID]:
    """End every lost attempt: its run waits to be tried again, or has failed, or was cancelled.

    What was read may be old, so the write looks again: an attempt whose lease was renewed meanwhile is left alone.
    Any worker, and every command that writes, may do this at any time; two at once do no harm.

    Returns
    -------
    list of UUID
        The runs that were rescued.
    """
    rescued: list[uuid.UUID] = []
    for run_id, attempt, worker in find_lost(database):
        reason = Reason(
            code=ReasonCode.WORKER_LOST,
            message=f"the lease of attempt {attempt} expired: worker {worker} died or lost its connection",
            next_step=f"to run it again: optaic retry {run_id}",
        )
        try:
            end_attempt(
                database,
                run_id,
                attempt,
                reason,
                outcome=AttemptOutcome.LOST,
                is_repeatable=True,
                only_if_lost=True,
            )
        except ConflictError:
            continue  # renewed, ended or rescued by another since it was read
        rescued.append(run_id)
    return rescued
