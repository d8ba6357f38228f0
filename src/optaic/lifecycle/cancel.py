"""Cancel: end a pending run at once; leave a note on a running one, which its supervisor reads."""

from __future__ import annotations

import uuid

from sqlalchemy import update

from optaic.domain import run as transitions
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.run import Run
from optaic.domain.status import RunStatus
from optaic.errors import IllegalTransitionError
from optaic.ledger import activities, runs
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database
from optaic.ledger.tables import runs as runs_table


def cancel(database: Database, run_id: uuid.UUID) -> Run:
    """Ask a run to stop.

    Returns
    -------
    Run
        `cancelled` if it was pending; still `running`, with the note, if an attempt holds it.

    Raises
    ------
    NotFoundError
        If there is no such run.
    IllegalTransitionError
        If it has ended.
    """
    with database.write() as tx:
        # Who claims, completes or gives back the run at this moment comes before or after, not in between.
        runs.lock(tx, run_id)
        run = runs.get(tx, run_id)
        if run.status is RunStatus.PENDING:
            reason = Reason(
                code=ReasonCode.CANCELLED,
                message="cancelled on request before it started",
                next_step=f"to run it again: optaic retry {run.id}",
            )
            runs.change(tx, run, transitions.cancel_pending(run, reason))
        elif run.status is not RunStatus.RUNNING:
            raise IllegalTransitionError(run_id, run.status, RunStatus.CANCELLED)
        elif run.cancel_requested_at is None:
            tx.conn.execute(
                update(runs_table)
                .where(runs_table.c.tenant_id == tx.tenant_id, runs_table.c.id == run_id, runs.IS_RUNNING)
                .values(cancel_requested_at=db_now(), cancel_requested_by=tx.actor_id)
            )
            facts = {"instance_id": str(run.instance_id), "instance": run.instance, "attempt": run.attempt}
            activities.record(tx, f"{run.slug}.cancel_requested", run.id, facts)
        return runs.get(tx, run_id)
