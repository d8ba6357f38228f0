"""Reproducing: a run again, from the source that was stored of it."""

from __future__ import annotations

from optaic.bootstrap import Runtime
from optaic.domain.run import Run
from optaic.engines.source import unpack
from optaic.lifecycle.original import check_reproducible, source_of
from optaic.lifecycle.reproduce import reproduce as record
from optaic.lifecycle.rescue import rescue


def reproduce(runtime: Runtime, run: Run) -> Run:
    """Record a reproduction, once its source has been read and verified.

    Raises
    ------
    NotFoundError, ConflictError, InvalidInputError
        As `optaic.lifecycle.reproduce.reproduce`.
    StorageError
        If the source of the run is gone, or is not what was stored.
    """
    rescue(runtime.database)
    check_reproducible(run)
    with runtime.database.read() as tx:
        source = source_of(tx, run)
    if source is not None:
        unpack(runtime.store, source)
    return record(runtime.database, run.id)
