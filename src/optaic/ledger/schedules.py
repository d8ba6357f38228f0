"""Schedules: when flows run by themselves, and what they last ran for."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Row, and_, insert, select, update

from optaic.domain.identifier import new_id
from optaic.domain.kind import target_name
from optaic.ledger.columns import among, db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flows, instances, runs, schedules


def declare(tx: Transaction, flow_id: uuid.UUID, wanted: Mapping[str, Any] | None) -> bool:
    """Make the schedule of a flow the declared one, `{"when": "upstream"}` or none; whether it differed.

    A schedule that stays keeps whether it is paused.
    """
    found = tx.conn.execute(
        select(schedules.c.id, schedules.c.spec).where(
            schedules.c.tenant_id == tx.tenant_id, schedules.c.flow_id == flow_id, schedules.c.ended_at.is_(None)
        )
    ).all()
    same = [row for row in found if wanted is not None and row.spec == dict(wanted)]
    if len(same) == len(found) == (wanted is not None):
        return False
    tx.conn.execute(
        update(schedules)
        .where(schedules.c.tenant_id == tx.tenant_id, schedules.c.flow_id == flow_id, schedules.c.ended_at.is_(None))
        .values(ended_at=db_now())
    )
    if wanted is not None:
        tx.conn.execute(
            insert(schedules).values(
                tenant_id=tx.tenant_id,
                id=new_id(),
                flow_id=flow_id,
                kind="upstream",
                spec=dict(wanted),
                time_zone="UTC",
                created_at=db_now(),
            )
        )
    return True


def upstream_triggers(tx: Transaction, flow_ids: Collection[uuid.UUID] | None = None) -> list[Row[Any]]:
    """Read the live triggers on upstreams that are not paused: `id`, `flow_id`, and the run that each last set off.

    Of that run: `run_id`, `triggered_by`, `status`, `ended_at`, its reason, and its revision and code beside those of
    the flow. All rows have `ledger_now`.
    """
    query = (
        select(
            schedules.c.id,
            schedules.c.flow_id,
            flows.c.revision_id.label("flow_revision_id"),
            flows.c.definition_version_id.label("flow_definition_version_id"),
            runs.c.id.label("run_id"),
            runs.c.triggered_by,
            runs.c.status,
            runs.c.reason_code,
            runs.c.reason_message,
            runs.c.reason_next_step,
            runs.c.ended_at,
            runs.c.revision_id,
            runs.c.definition_version_id,
            db_now().label("ledger_now"),
        )
        .join(flows, and_(flows.c.tenant_id == schedules.c.tenant_id, flows.c.id == schedules.c.flow_id))
        .outerjoin(runs, and_(runs.c.tenant_id == schedules.c.tenant_id, runs.c.id == schedules.c.last_run_id))
        .where(
            schedules.c.tenant_id == tx.tenant_id,
            schedules.c.kind == "upstream",
            schedules.c.ended_at.is_(None),
            schedules.c.paused_at.is_(None),
            flows.c.archived_at.is_(None),
        )
        .order_by(schedules.c.id)
    )
    if flow_ids is not None:
        query = query.where(among(schedules.c.flow_id, flow_ids, is_postgresql=tx.is_postgresql))
    return list(tx.conn.execute(query).all())


def fired(tx: Transaction, schedule_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Note what a schedule has submitted."""
    tx.conn.execute(
        update(schedules)
        .where(schedules.c.tenant_id == tx.tenant_id, schedules.c.id == schedule_id)
        .values(last_at=db_now(), last_run_id=run_id)
    )


def set_paused(tx: Transaction, flow_id: uuid.UUID, *, is_paused: bool) -> int:
    """Pause or resume the schedules of a flow; give how many it has."""
    return tx.conn.execute(
        update(schedules)
        .where(schedules.c.tenant_id == tx.tenant_id, schedules.c.flow_id == flow_id, schedules.c.ended_at.is_(None))
        .values(paused_at=db_now() if is_paused else None)
    ).rowcount


def items(tx: Transaction) -> list[tuple[uuid.UUID, dict[str, Any]]]:
    """Give the live schedules by instance, each with its flow and as an item: when it fires, and what it last set off.

    Instants are aware and UTC.
    """
    query = (
        select(
            schedules,
            instances.c.name.label("instance"),
            instances.c.kind.label("instance_kind"),
            flows.c.kind.label("flow_kind"),
        )
        .join(flows, and_(flows.c.tenant_id == schedules.c.tenant_id, flows.c.id == schedules.c.flow_id))
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .where(schedules.c.tenant_id == tx.tenant_id, schedules.c.ended_at.is_(None), flows.c.archived_at.is_(None))
        .order_by(instances.c.name, flows.c.kind)
    )
    return [
        (
            row.flow_id,
            {
                "instance": row.instance,
                "flow_kind": row.flow_kind,
                "target": target_name(row.instance, row.instance_kind, row.flow_kind),
                "when": row.spec["when"],
                "paused_at": row.paused_at,
                "last_at": row.last_at,
                "last_run": None if row.last_run_id is None else str(row.last_run_id),
            },
        )
        for row in tx.conn.execute(query)
    ]
