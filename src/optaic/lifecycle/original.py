"""Original: what a reproduction takes of the runs before it: pins, base version, clock, code, and what they made."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, replace

from sqlalchemy import and_, insert, select, update

from optaic.domain.artifact import StoredObject
from optaic.domain.run import Run
from optaic.domain.status import RunStatus, Standing
from optaic.errors import InvalidInputError, NotFoundError
from optaic.flows.task import Original, Task
from optaic.ledger import runs, versions
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import (
    EXTENSIONS,
    run_inputs,
    segments,
    source_snapshots,
    version_segments,
)
from optaic.ledger.tables import runs as runs_table
from optaic.ledger.tables import versions as versions_table
from optaic.lifecycle import pins


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A snapshot of a project's source: its digest, over names and contents, and the archive."""

    digest: str
    archive: StoredObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a reproduction comes from.

    Attributes
    ----------
    outputs
        How the run that it reproduces ended, and what that made.
    standing, started_at
        Of the first run of the chain, which was no reproduction itself.
    base_version_id
        The version of its dataset that the first run was compared with; None if there was none.
    current_run_id
        The run that the flow's state spoke of when the first run started.
    source
        What it runs from; None for a built-in procedure without code of the project.
    """

    outputs: Original
    standing: Standing
    started_at: dt.datetime
    base_version_id: uuid.UUID | None
    current_run_id: uuid.UUID | None
    source: Source | None


def trace(tx: Transaction, run: Run) -> Origin | None:
    """Follow a reproduction back; None for a run that reproduces nothing.

    Raises
    ------
    NotFoundError
        If the ledger does not know the source that the run was recorded with.
    """
    if run.reproduces_id is None:
        return None
    first = original = runs.get(tx, run.reproduces_id)
    while first.reproduces_id is not None:
        first = runs.get(tx, first.reproduces_id)
    own = EXTENSIONS[first.type]
    base_id = None
    if "base_version_id" in own.c:
        query = select(own.c.base_version_id).where(own.c.tenant_id == tx.tenant_id, own.c.run_id == first.id)
        base_id = tx.conn.execute(query).scalar_one_or_none()
    started_at = first.started_at or first.submitted_at
    return Origin(
        outputs=_outputs(tx, original),
        standing=first.standing,
        started_at=started_at,
        base_version_id=base_id,
        current_run_id=_current_run(tx, first.flow_id, started_at),
        source=source_of(tx, run),
    )


def adopt(tx: Transaction, task: Task, run: Run, origin: Origin) -> Task:
    """Make the task of a reproduction: its own run, under the standing, clock, base version and mode of the first.

    The base version is noted with the run, as that of every refresh.
    """
    own = EXTENSIONS[run.type]
    if "base_version_id" in own.c:
        mine = (own.c.tenant_id == tx.tenant_id, own.c.run_id == run.id)
        tx.conn.execute(update(own).where(*mine).values(base_version_id=origin.base_version_id))
    is_remade = pins.is_remade(tx, run, origin.current_run_id)
    return replace(
        task,
        standing=origin.standing,
        started_at=origin.started_at,
        current=None if origin.base_version_id is None else versions.get_dataset(tx, origin.base_version_id),
        mode=run.mode or ("full" if is_remade else None),
        is_remade=is_remade,
    )


def source_of(tx: Transaction, run: Run) -> Source | None:
    """Read where the source is that a run was recorded with; None if it was recorded with none.

    Raises
    ------
    NotFoundError
        If the ledger does not know it.
    """
    if run.source_digest is None:
        return None
    row = tx.conn.execute(
        select(source_snapshots).where(
            source_snapshots.c.tenant_id == tx.tenant_id, source_snapshots.c.digest == run.source_digest
        )
    ).one_or_none()
    if row is None:
        raise NotFoundError(
            f"the source of run {run.id} is not in the ledger", next_step="look for more: optaic doctor"
        )
    archive = StoredObject(key=row.storage_key, size_bytes=row.size_bytes, sha256=row.sha256)
    return Source(digest=row.digest, archive=archive)


def check_reproducible(run: Run) -> None:
    """Refuse what cannot be run again from what the ledger holds of it.

    Raises
    ------
    InvalidInputError
        If it was tracked, has no stored source, or was never started.
    """
    if run.engine == "inline":
        raise InvalidInputError(
            f"run {run.id} was tracked from a program of yours: the ledger has its params, seed, inputs, metrics, log "
            "and files, but not its code",
            next_step=f"run that program again, and then: optaic diff {run.id} {run.instance}@latest",
        )
    if run.attempt == 0 and run.status.is_terminal:
        raise InvalidInputError(
            f"run {run.id} was never started, so there is nothing to reproduce",
            next_step=f"to run it now: optaic retry {run.id}",
        )
    if run.source_digest is None and run.definition_version_id is not None:
        raise InvalidInputError(
            f"the source of run {run.id} was not stored",
            next_step=f"to run it with the present one: optaic retry {run.id}",
        )


def copy_pins(tx: Transaction, run: Run) -> None:
    """Pin what the original has pinned: the same versions, columns and selectors."""
    rows = tx.conn.execute(
        select(run_inputs).where(run_inputs.c.tenant_id == tx.tenant_id, run_inputs.c.run_id == run.reproduces_id)
    ).all()
    if rows:
        tx.conn.execute(
            insert(run_inputs).values(pinned_at=db_now()),
            [
                {
                    "tenant_id": tx.tenant_id,
                    "run_id": run.id,
                    "role": row.role,
                    "upstream_flow_id": row.upstream_flow_id,
                    "version_id": row.version_id,
                    "revision_id": row.revision_id,
                    "selector": row.selector,
                    # An empty list says that the original read nothing of it, not that nothing may be read.
                    "columns": row.columns or None,
                    "as_of": row.as_of,
                }
                for row in rows
            ],
        )
    of_original = select(runs_table.c.fingerprint).where(
        runs_table.c.tenant_id == tx.tenant_id, runs_table.c.id == run.reproduces_id
    )
    pins.store_fingerprint(tx, run.id, tx.conn.execute(of_original).scalar_one())


def _outputs(tx: Transaction, run: Run) -> Original:
    files = tuple(versions.artifacts_of(tx, [run.id]).get(run.id, ()))
    return Original(
        run_id=run.id,
        run_type=run.type,
        status=run.status,
        reason=run.reason,
        metrics=run.metrics,
        artifacts=files,
        changes=_published(tx, run) or tuple(item.stored for item in files if item.kind == "segment"),
    )


def _published(tx: Transaction, run: Run) -> tuple[StoredObject, ...]:
    query = (
        select(segments.c.storage_key, segments.c.size_bytes, segments.c.sha256)
        .join(
            version_segments,
            and_(version_segments.c.tenant_id == segments.c.tenant_id, version_segments.c.segment_id == segments.c.id),
        )
        .join(
            versions_table,
            and_(
                versions_table.c.tenant_id == version_segments.c.tenant_id,
                versions_table.c.id == version_segments.c.version_id,
            ),
        )
        .where(segments.c.tenant_id == tx.tenant_id, versions_table.c.run_id == run.id, segments.c.run_id == run.id)
        .order_by(version_segments.c.position)
    )
    return tuple(StoredObject(key=key, size_bytes=size, sha256=sha256) for key, size, sha256 in tx.conn.execute(query))


def _current_run(tx: Transaction, flow_id: uuid.UUID, instant: dt.datetime) -> uuid.UUID | None:
    query = (
        select(runs_table.c.id)
        .where(
            runs_table.c.tenant_id == tx.tenant_id,
            runs_table.c.flow_id == flow_id,
            runs_table.c.standing == Standing.OFFICIAL,
            runs_table.c.status == RunStatus.COMPLETED,
            runs_table.c.ended_at <= instant,
        )
        .order_by(runs_table.c.ended_at.desc())
        .limit(1)
    )
    return tx.conn.execute(query).scalar_one_or_none()
