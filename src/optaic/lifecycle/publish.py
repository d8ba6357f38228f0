"""Publish: give activities their place in the tenant's stream.

Activities are written in the transaction of the change that they tell of, without a number: transactions commit out of
order, so a number given at insertion would let a reader who resumes after it miss what commits later. The relay gives
the numbers, one relay at a time, to what has been committed.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, bindparam, select, update

from optaic.ledger.session import Database
from optaic.ledger.tables import activities, tenants

BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An activity in its place in the stream; `at` is UTC, by the database's clock."""

    seq: int
    verb: str
    resource_type: str
    resource_id: str
    actor_id: uuid.UUID
    payload: Mapping[str, Any]
    correlation_id: uuid.UUID | None
    at: dt.datetime


def relay(database: Database, *, limit: int = BATCH) -> int:
    """Give a number to each committed activity that has none yet, in the order of their instants.

    Returns
    -------
    int
        How many were numbered; call again while it is `limit`.
    """
    with database.read() as tx:
        if tx.conn.execute(_WAITING.limit(1), {"tenant": tx.tenant_id}).first() is None:
            return 0  # most often: a worker that has nothing to do keeps nobody from writing
    with database.write() as tx:
        # Whoever numbers holds this row, so the numbers are given one relay at a time, without gaps.
        query = select(tenants.c.stream_seq).where(tenants.c.id == tx.tenant_id)
        last = tx.conn.execute(query.with_for_update(key_share=True) if tx.is_postgresql else query).scalar_one()
        waiting = list(tx.conn.execute(_WAITING.limit(limit), {"tenant": tx.tenant_id}).scalars())
        if not waiting:
            return 0
        tx.conn.execute(
            update(activities)
            .where(activities.c.tenant_id == tx.tenant_id, activities.c.id == bindparam("activity_id"))
            .values(seq=bindparam("next_seq")),
            [{"activity_id": item, "next_seq": last + index} for index, item in enumerate(waiting, start=1)],
        )
        tx.conn.execute(update(tenants).where(tenants.c.id == tx.tenant_id).values(stream_seq=last + len(waiting)))
        return len(waiting)


_WAITING = (
    select(activities.c.id)
    .where(activities.c.tenant_id == bindparam("tenant", type_=Integer()), activities.c.seq.is_(None))
    .order_by(activities.c.at, activities.c.id)
)


def events_after(database: Database, seq: int, *, limit: int = BATCH) -> list[Event]:
    """Read the stream after a number, in order; nothing that was numbered is missing."""
    with database.read() as tx:
        rows = tx.conn.execute(
            select(activities)
            .where(activities.c.tenant_id == tx.tenant_id, activities.c.seq > seq)
            .order_by(activities.c.seq)
            .limit(limit)
        )
        return [
            Event(
                seq=row.seq,
                verb=row.verb,
                resource_type=row.resource_type,
                resource_id=row.resource_id,
                actor_id=row.actor_id,
                payload=row.payload,
                correlation_id=row.correlation_id,
                at=row.at,
            )
            for row in rows
        ]
