"""Reproduce: a new run of exactly what a run did: its pins, params, seed, config, code and clock. Always a trial."""

from __future__ import annotations

import uuid

from optaic.domain.identifier import new_id
from optaic.domain.run import Run
from optaic.domain.status import Standing
from optaic.errors import ConflictError
from optaic.ledger import catalog, runs
from optaic.ledger.session import Database
from optaic.lifecycle.original import check_reproducible


def reproduce(database: Database, run_id: uuid.UUID, *, retry_of_id: uuid.UUID | None = None) -> Run:
    """Record a run that reproduces one that has ended, however that was.

    The gate is not asked: what the new run reads is what the original read. It makes no version, and changes no
    freshness. When it is claimed, it starts from the version that the original was compared with, and with the
    original's clock.

    Parameters
    ----------
    database
        The ledger.
    run_id
        The original; may be a reproduction itself.
    retry_of_id
        The reproduction that this one repeats.

    Returns
    -------
    Run
        The new run, `pending`.

    Raises
    ------
    NotFoundError
        If there is no such run.
    ConflictError
        If it has not ended.
    InvalidInputError
        If it was tracked, has no stored source, or was never started.
    """
    with database.write(correlation_id=new_id()) as tx:
        run = runs.get(tx, run_id)
        check_reproducible(run)
        if not run.status.is_terminal:
            raise ConflictError(
                f"run {run.id} is {run.status}; only a run that has ended can be reproduced",
                next_step=f"follow it: optaic logs {run.id} -f",
            )
        return runs.insert_run(
            tx,
            catalog.get_flow(tx, run.flow_id),
            {
                "revision_id": run.revision_id,
                "definition_version_id": run.definition_version_id,
                "source_digest": run.source_digest,
                "engine": run.engine,
                "standing": Standing.TRIAL,
                "mode": run.mode,
                "priority": run.priority,
                "timeout_seconds": run.timeout_seconds,
                "retry_policy": run.retry_policy.to_json(),
                "trigger": "reproduce",
                "triggered_by": {"kind": "run", "run_id": str(run.id)},
                "reproduces_id": run.id,
                "retry_of_id": retry_of_id,
                "params": run.params,
                "seed": run.seed,
                "as_of": run.as_of,
            },
        )
