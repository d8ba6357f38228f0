"""Retry: a new run that repeats one that has ended, and names it."""

from __future__ import annotations

import uuid

from optaic.domain.run import Run
from optaic.domain.status import RunStatus, Standing
from optaic.errors import ConflictError, InvalidInputError
from optaic.ledger import runs
from optaic.ledger.session import Database
from optaic.lifecycle.reproduce import reproduce
from optaic.lifecycle.submit import Submission, submit


def retry(database: Database, run_id: uuid.UUID, *, code_digest: str | None = None) -> Run:
    """Submit a new run of what an ended run did.

    An official run is repeated with the flow's present config and code; a trial with its own params, seed and as-of.
    Inputs are pinned anew. To repeat exactly what the run read, reproduce it; a reproduction is reproduced again.

    Raises
    ------
    NotFoundError
        If there is no such run.
    ConflictError
        If it has not ended.
    InvalidInputError
        If it was a tracked loop: the product does not have its code.
    """
    with database.read() as tx:
        run = runs.get(tx, run_id)
    if not run.status.is_terminal:
        raise ConflictError(
            f"run {run.id} is {run.status}; only a run that has ended can be retried",
            next_step=f"wait for it, or: optaic cancel {run.id}",
        )
    if run.reproduces_id is not None:
        return reproduce(database, run.reproduces_id, retry_of_id=run.id)
    if run.engine == "inline":
        raise InvalidInputError(
            f"run {run.id} was tracked from a program of yours, so there is nothing that could be started",
            next_step="run that program again",
        )
    target = f"{run.instance}.{run.flow_kind}"
    if run.standing is Standing.OFFICIAL:
        # What was right to refresh incrementally then may need all of it with the present config.
        mode = None if run.status is RunStatus.COMPLETED and run.mode == "incremental" else run.mode
        again = Submission(target=target, mode=mode, trigger="retry", retry_of_id=run.id, code_digest=code_digest)
    else:
        again = Submission(
            target=target,
            params=run.params,
            seed=run.seed,
            as_of=run.as_of,
            mode=run.mode,
            trigger="retry",
            retry_of_id=run.id,
            code_digest=code_digest,
        )
    return submit(database, again)
