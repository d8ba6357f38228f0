"""Attempts: opening them, renewing their leases, and what they report while they hold the run."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Insert, Row, Select, bindparam, func, insert, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from optaic.domain.lease import AttemptOutcome
from optaic.domain.status import RunStatus
from optaic.domain.text import clean_text
from optaic.errors import LeaseLostError
from optaic.ledger.columns import db_now
from optaic.ledger.rows import insert_rows
from optaic.ledger.session import Transaction
from optaic.ledger.tables import attempts, log_chunks, metric_points, runs

MAX_NOTE_LENGTH = 500
"""Characters of a progress note that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What a holder learns when it renews its lease.

    Attributes
    ----------
    lease_expires_at
        When the renewed lease ends, by the database's clock.
    is_cancel_requested
        Whether a principal asked the run to stop.
    """

    lease_expires_at: dt.datetime
    is_cancel_requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an attempt reports of its work, in one batch.

    Attributes
    ----------
    progress
        (percent, note), the latest only; None if there is nothing new.
    points
        (key, step, value, at) of metrics, in order; the value is None where it is not a number.
    lines
        Log lines, in order: `{"at": ISO instant, "level": ..., "stream": ..., "text": ...}`.
    """

    progress: tuple[float | None, str | None] | None = None
    points: Sequence[tuple[str, int | None, float | None, dt.datetime]] = ()
    lines: Sequence[Mapping[str, Any]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return self.progress is None and not self.points and not self.lines


# Building a statement takes longer than sending it, so those of every run are built once; a process has one lease.
_INSERT_LINES = insert(log_chunks).values(written_at=db_now())


@cache
def _insert_attempt(lease_seconds: float) -> Insert:
    return insert(attempts).values(claimed_at=db_now(), lease_expires_at=db_now(lease_seconds))


@cache
def _renew_lease(lease_seconds: float) -> ReturningUpdate[Any]:
    return (
        update(attempts)
        .where(
            attempts.c.tenant_id == bindparam("tenant"),
            attempts.c.run_id == bindparam("run"),
            attempts.c.number == bindparam("attempt"),
            attempts.c.ended_at.is_(None),
        )
        .values(heartbeat_at=db_now(), lease_expires_at=db_now(lease_seconds))
        .returning(
            attempts.c.lease_expires_at,
            # By the same values, not by the attempt's columns: SQLite's RETURNING is compiled without names of tables,
            # and `tenant_id = tenant_id` says nothing.
            select(runs.c.cancel_requested_at)
            .where(runs.c.tenant_id == bindparam("tenant"), runs.c.id == bindparam("run"))
            .correlate(None)
            .scalar_subquery()
            .label("cancel_requested_at"),
        )
    )


@cache
def _select_last() -> Select[Any]:
    place = func.row_number().over(partition_by=metric_points.c.key, order_by=metric_points.c.position.desc())
    ranked = (
        select(metric_points.c.key, metric_points.c.value, place.label("place"))
        .where(
            metric_points.c.tenant_id == bindparam("tenant"),
            metric_points.c.run_id == bindparam("run"),
            metric_points.c.attempt == bindparam("attempt"),
        )
        .subquery()
    )
    return select(ranked.c.key, ranked.c.value).where(ranked.c.place == 1)


def open_attempt(tx: Transaction, run_id: uuid.UUID, number: int, worker: str, lease: dt.timedelta) -> None:
    """Open an attempt with a lease from now, by the database's clock."""
    tx.conn.execute(
        _insert_attempt(lease.total_seconds()),
        {"tenant_id": tx.tenant_id, "run_id": run_id, "number": number, "worker": worker},
    )


def renew(tx: Transaction, run_id: uuid.UUID, attempt: int, lease: dt.timedelta) -> Hold:
    """Renew the lease of an open attempt.

    Raises
    ------
    LeaseLostError
        If the attempt does not hold the run any more; nothing is changed.
    """
    row = tx.conn.execute(
        _renew_lease(lease.total_seconds()), {"tenant": tx.tenant_id, "run": run_id, "attempt": attempt}
    ).one_or_none()
    if row is None:
        raise LeaseLostError(run_id, attempt, "the attempt has ended")
    return Hold(lease_expires_at=row.lease_expires_at, is_cancel_requested=row.cancel_requested_at is not None)


def is_cancel_requested(tx: Transaction, run_id: uuid.UUID, attempt: int) -> bool:
    """Whether a principal asked a held run to stop.

    Raises
    ------
    LeaseLostError
        If the attempt does not hold the run any more.
    """
    row = tx.conn.execute(
        select(runs.c.status, runs.c.attempt, runs.c.cancel_requested_at).where(
            runs.c.tenant_id == tx.tenant_id, runs.c.id == run_id
        )
    ).one_or_none()
    if row is None or row.status != RunStatus.RUNNING or row.attempt != attempt:
        raise LeaseLostError(run_id, attempt, "another attempt has it, or it has ended")
    return row.cancel_requested_at is not None


def lock_run(tx: Transaction, run_id: uuid.UUID, *, attempt: int | None = None) -> None:
    """Keep others from writing a run, and an attempt of it, until the commit: what is read next still holds then.

    The attempt first, as everybody does who writes both. On SQLite a transaction that writes is alone already.
    """
    if not tx.is_postgresql:
        return
    if attempt is not None:
        of_attempt = (attempts.c.tenant_id == tx.tenant_id, attempts.c.run_id == run_id, attempts.c.number == attempt)
        tx.conn.execute(select(attempts.c.number).where(*of_attempt).with_for_update(key_share=True))
    of_run = (runs.c.tenant_id == tx.tenant_id, runs.c.id == run_id)
    tx.conn.execute(select(runs.c.id).where(*of_run).with_for_update(key_share=True))


def write_report(tx: Transaction, run_id: uuid.UUID, attempt: int, report: Report, *, position: int) -> None:
    """Write what a held run reports; the caller has renewed the lease in the same transaction.

    Parameters
    ----------
    tx
        The transaction that renewed the lease.
    run_id, attempt
        Who reports.
    report
        The batch.
    position
        Number of the batch's first metric point or log chunk within the attempt; never repeated.
    """
    if report.progress is not None:
        pct, note = report.progress
        tx.conn.execute(
            update(runs)
            .where(runs.c.tenant_id == tx.tenant_id, runs.c.id == run_id, runs.c.attempt == attempt)
            .values(
                progress_pct=pct,
                progress_note=None if note is None else clean_text(note, MAX_NOTE_LENGTH),
                progress_at=db_now(),
            )
        )
    if report.points:
        keys, steps, values, times = zip(*report.points, strict=True)
        insert_rows(
            tx,
            metric_points,
            {"run_id": run_id, "attempt": attempt},
            {
                "position": range(position, position + len(keys)),
                "key": keys,
                "step": steps,
                "value": values,
                "at": times,
            },
        )
    if report.lines:
        tx.conn.execute(
            _INSERT_LINES,
            {
                "tenant_id": tx.tenant_id,
                "run_id": run_id,
                "attempt": attempt,
                "position": position,
                "lines": [{**line, "text": clean_text(str(line["text"]))} for line in report.lines],
            },
        )


def has_reported(tx: Transaction, run_id: uuid.UUID, attempt: int, position: int) -> bool:
    """Whether an attempt has written a metric point or log chunk of this number."""
    return any(
        tx.conn.execute(
            select(table.c.position).where(
                table.c.tenant_id == tx.tenant_id,
                table.c.run_id == run_id,
                table.c.attempt == attempt,
                table.c.position == position,
            )
        ).first()
        is not None
        for table in (metric_points, log_chunks)
    )


def last_values(tx: Transaction, run_id: uuid.UUID, attempt: int) -> dict[str, float | None]:
    """Read the last value of each metric that an attempt reported."""
    rows = tx.conn.execute(_select_last(), {"tenant": tx.tenant_id, "run": run_id, "attempt": attempt})
    return {row.key: row.value for row in rows}


def lines_after(
    tx: Transaction, run_id: uuid.UUID, *, after: tuple[int, int] = (0, -1)
) -> list[tuple[int, int, list[dict[str, Any]]]]:
    """Read log chunks after a place, in order.

    Parameters
    ----------
    tx
        A transaction.
    run_id
        Whose log.
    after
        (attempt, position) of the last chunk that was read.

    Returns
    -------
    list of (attempt, position, lines)
    """
    rows = tx.conn.execute(
        select(log_chunks.c.attempt, log_chunks.c.position, log_chunks.c.lines)
        .where(
            log_chunks.c.tenant_id == tx.tenant_id,
            log_chunks.c.run_id == run_id,
            (log_chunks.c.attempt > after[0])
            | ((log_chunks.c.attempt == after[0]) & (log_chunks.c.position > after[1])),
        )
        .order_by(log_chunks.c.attempt, log_chunks.c.position)
    )
    return [(row.attempt, row.position, row.lines) for row in rows]


def count(tx: Transaction, run_id: uuid.UUID) -> int:
    """Count the attempts of a run that count against its retry policy: all but the released ones."""
    return tx.conn.execute(
        select(func.count())
        .select_from(attempts)
        .where(
            attempts.c.tenant_id == tx.tenant_id,
            attempts.c.run_id == run_id,
            attempts.c.outcome.is_distinct_from(AttemptOutcome.RELEASED),
        )
    ).scalar_one()


def history(tx: Transaction, run_id: uuid.UUID) -> list[Row[Any]]:
    """Read all attempts of a run, in order."""
    query = (
        select(attempts)
        .where(attempts.c.tenant_id == tx.tenant_id, attempts.c.run_id == run_id)
        .order_by(attempts.c.number)
    )
    return list(tx.conn.execute(query).all())


def points(tx: Transaction, run_id: uuid.UUID, *, key: str | None = None) -> list[Row[Any]]:
    """Read the metric points of a run, in the order in which they were reported."""
    query = select(metric_points).where(metric_points.c.tenant_id == tx.tenant_id, metric_points.c.run_id == run_id)
    if key is not None:
        query = query.where(metric_points.c.key == key)
    return list(tx.conn.execute(query.order_by(metric_points.c.attempt, metric_points.c.position)).all())
