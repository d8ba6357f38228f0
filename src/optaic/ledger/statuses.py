"""What the status of flows is made of, in one statement: names, versions, last runs and the cache of freshness."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, literal_column, select

from optaic.ledger import runs as ledger_runs
from optaic.ledger.cache import stored_of
from optaic.ledger.columns import among, db_now, id_text
from optaic.ledger.session import Transaction
from optaic.ledger.tables import attempts, flows, instances, runs, versions


def read(tx: Transaction, flow_ids: Collection[uuid.UUID] | None = None) -> Sequence[Row[Any]]:
    """Read what the status of all live flows, or of some, is made of, by instance name and kind.

    Tracked loops are left out.

    Returns
    -------
    sequence of rows
        `id, kind, instance, instance_kind, version` (the number), `last_data_date, expected_date, last_attempt_ok,
        error` (of the last official attempt, if that failed), `last_run_id, is_running` (officially, under a lease),
        then the columns of `Stored`.
    """
    failed = runs.alias("failed")
    query = (
        select(
            flows.c.id,
            flows.c.kind,
            instances.c.name.label("instance"),
            instances.c.kind.label("instance_kind"),
            versions.c.number.label("version"),
            flows.c.last_data_date,
            flows.c.expected_date,
            flows.c.last_attempt_ok,
            failed.c.reason_message.label("error"),
            _last_run(is_postgresql=tx.is_postgresql).label("last_run_id"),
            _is_running().label("is_running"),
            *stored_of(flows),
        )
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .outerjoin(
            versions, and_(versions.c.tenant_id == flows.c.tenant_id, versions.c.id == flows.c.current_version_id)
        )
        .outerjoin(
            failed,
            and_(
                failed.c.tenant_id == flows.c.tenant_id,
                failed.c.id == flows.c.last_attempt_run_id,
                flows.c.last_attempt_ok == 0,
            ),
        )
        .where(
            flows.c.tenant_id == tx.tenant_id,
            flows.c.archived_at.is_(None),
            flows.c.engine != "inline",
            instances.c.archived_at.is_(None),
        )
        .order_by(instances.c.name, flows.c.kind)
    )
    if flow_ids is not None:
        query = query.where(among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql))
    return tx.conn.execute(query).all()


def waiting(tx: Transaction) -> dict[uuid.UUID, uuid.UUID]:
    """Read the oldest official run of each flow that waits for a worker, by flow."""
    query = select(runs.c.flow_id, runs.c.id).where(
        runs.c.tenant_id == tx.tenant_id, ledger_runs.IS_PENDING, runs.c.standing == literal_column("'official'")
    )
    newest_first = query.order_by(runs.c.submitted_at.desc(), runs.c.id.desc())
    return {row.flow_id: row.id for row in tx.conn.execute(newest_first)}


def _last_run(*, is_postgresql: bool) -> ColumnElement[str]:
    """Give the newest run of a flow: a look at the end of an index, however many it has."""
    return (
        select(id_text(runs.c.id, is_postgresql=is_postgresql))
        .where(runs.c.tenant_id == flows.c.tenant_id, runs.c.flow_id == flows.c.id)
        .order_by(runs.c.submitted_at.desc(), runs.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _is_running() -> ColumnElement[bool]:
    """Give whether a flow has an official run that runs, and not in name only."""
    is_lost = exists().where(
        attempts.c.tenant_id == runs.c.tenant_id,
        attempts.c.run_id == runs.c.id,
        attempts.c.number == runs.c.attempt,
        attempts.c.ended_at.is_(None),
        attempts.c.lease_expires_at < db_now(),
    )
    return exists().where(
        runs.c.tenant_id == flows.c.tenant_id,
        runs.c.flow_id == flows.c.id,
        ledger_runs.IS_RUNNING,
        runs.c.standing == literal_column("'official'"),
        ~is_lost,
    )
