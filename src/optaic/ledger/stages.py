"""The stages of model versions."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, insert, select, update

from optaic.domain.identifier import new_id
from optaic.domain.stage import Stage
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flow_inputs, version_stages, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A version that has a stage now; `set_at` is by the database's clock, UTC."""

    version_id: uuid.UUID
    number: int
    stage: Stage
    set_at: dt.datetime


def staged_versions(tx: Transaction, flow_id: uuid.UUID) -> list[Staged]:
    """Read which versions of a flow have a stage now, newest version first."""
    query = (
        select(version_stages.c.version_id, versions.c.number, version_stages.c.stage, version_stages.c.set_at)
        .join(
            versions,
            and_(versions.c.tenant_id == version_stages.c.tenant_id, versions.c.id == version_stages.c.version_id),
        )
        .where(
            version_stages.c.tenant_id == tx.tenant_id,
            version_stages.c.flow_id == flow_id,
            version_stages.c.ended_at.is_(None),
        )
        .order_by(versions.c.number.desc())
    )
    return [_to_staged(row) for row in tx.conn.execute(query)]


def _to_staged(row: Row[Any]) -> Staged:
    return Staged(version_id=row.version_id, number=row.number, stage=Stage(row.stage), set_at=row.set_at)


def end_stages(tx: Transaction, version_ids: Iterable[uuid.UUID]) -> None:
    """End the stages that some versions have now; they stay on record."""
    tx.conn.execute(
        update(version_stages)
        .where(
            version_stages.c.tenant_id == tx.tenant_id,
            version_stages.c.version_id.in_(list(version_ids)),
            version_stages.c.ended_at.is_(None),
        )
        .values(ended_at=db_now())
    )


def add_stage(tx: Transaction, *, flow_id: uuid.UUID, version_id: uuid.UUID, stage: Stage) -> None:
    """Give a version a stage; it has none now."""
    tx.conn.execute(
        insert(version_stages).values(
            tenant_id=tx.tenant_id,
            id=new_id(),
            flow_id=flow_id,
            version_id=version_id,
            stage=stage,
            set_at=db_now(),
            set_by=tx.actor_id,
        )
    )


def readers_by_stage(tx: Transaction, flow_id: uuid.UUID) -> list[uuid.UUID]:
    """Read which flows take the version of a flow that has a certain stage."""
    query = select(flow_inputs.c.flow_id).where(
        flow_inputs.c.tenant_id == tx.tenant_id,
        flow_inputs.c.upstream_flow_id == flow_id,
        flow_inputs.c.selector == "stage",
        flow_inputs.c.ended_at.is_(None),
    )
    return list(tx.conn.execute(query.distinct()).scalars())
