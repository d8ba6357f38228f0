"""Choice: the stage by which a person has chosen a model's version, and how to get it where no version has it."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import and_, select

from optaic.domain.kind import target_name
from optaic.ledger.catalog import FlowInput
from optaic.ledger.columns import among
from optaic.ledger.session import Transaction
from optaic.ledger.tables import version_stages, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmet:
    """An input that selects a stage which no version has.

    Attributes
    ----------
    flow_id
        Whose input it is.
    message
        What is not there, and what is: a sentence without a full stop.
    next_steps
        What to type, or to write, so that it is there; in order.
    """

    flow_id: uuid.UUID
    message: str
    next_steps: tuple[str, ...]


def find_unmet(tx: Transaction, items: Collection[FlowInput]) -> list[Unmet]:
    """Find the inputs that select a stage which no version has: one statement, or none.

    Parameters
    ----------
    tx
        A transaction.
    items
        The inputs; those that select no stage are left out, the gate tells of them.
    """
    chosen = [item for item in items if item.selector == "stage"]
    if not chosen:
        return []
    query = (
        select(versions.c.flow_id, versions.c.number, version_stages.c.stage)
        .outerjoin(
            version_stages,
            and_(
                version_stages.c.tenant_id == versions.c.tenant_id,
                version_stages.c.version_id == versions.c.id,
                version_stages.c.ended_at.is_(None),
            ),
        )
        .where(
            versions.c.tenant_id == tx.tenant_id,
            among(versions.c.flow_id, {item.upstream_flow_id for item in chosen}, is_postgresql=tx.is_postgresql),
        )
    )
    there: dict[uuid.UUID, dict[int, str | None]] = {}
    for row in tx.conn.execute(query):
        there.setdefault(row.flow_id, {})[row.number] = row.stage
    found: list[Unmet] = []
    for item in chosen:
        stages = there.get(item.upstream_flow_id, {})
        if item.selector_stage not in stages.values():
            found.append(_unmet(item, max(stages, default=None)))
    return found


def _unmet(item: FlowInput, last: int | None) -> Unmet:
    """Say what is not there of a model whose newest version is `last`."""
    name = target_name(item.upstream_instance, item.upstream_instance_kind, item.upstream_kind)
    has = "it has none yet" if last is None else f"it has versions 1 to {last}"
    steps = [] if last is not None else [f"optaic run {name} --recursive"]
    steps.append(f"optaic model stage {name}@{last or 1} {item.selector_stage}")
    message = f"there is no version of {name} with the stage {item.selector_stage}: {has}"
    return Unmet(flow_id=item.flow_id, message=message, next_steps=tuple(steps))
