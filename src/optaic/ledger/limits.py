"""Limits of concurrency: a slot is a running run; there is no counter beside them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import and_, delete, func, insert, literal_column, select, update

from optaic.domain.identifier import new_id
from optaic.errors import InvalidInputError
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import instances, limits, projects, runs

SCOPES = ("tenant", "project", "instance", "run_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class FullScopes:
    """What has no free slot now.

    Attributes
    ----------
    is_everything
        The tenant itself is full.
    instance_ids
        Instances that are full, by themselves or through their project.
    run_types
        Run types that are full.
    """

    is_everything: bool = False
    instance_ids: frozenset[uuid.UUID] = frozenset()
    run_types: frozenset[str] = frozenset()


def set_limit(tx: Transaction, scope: str, name: str, max_running: int | None) -> None:
    """Set or, with None, remove a limit: how many runs of a scope may be running at once.

    Parameters
    ----------
    tx
        An open transaction.
    scope
        `tenant` (name `*`), `project`, `instance` or `run_type`.
    name
        Which one.
    max_running
        0 stops new claims.

    Raises
    ------
    InvalidInputError
        If the scope is unknown or the number negative.
    """
    if scope not in SCOPES:
        raise InvalidInputError(f"{scope!r} is not a scope of limits", next_step=f"use one of: {', '.join(SCOPES)}")
    if max_running is not None and max_running < 0:
        raise InvalidInputError(f"a limit of {max_running} running runs is negative")
    same = (limits.c.tenant_id == tx.tenant_id, limits.c.scope == scope, limits.c.name == name)
    if max_running is None:
        tx.conn.execute(delete(limits).where(*same))
        return
    # Changed in place: a claimer that waits for this row finds it again; one that was deleted would be no limit to it.
    if tx.conn.execute(update(limits).where(*same).values(max_running=max_running)).rowcount:
        return
    tx.conn.execute(
        insert(limits).values(
            tenant_id=tx.tenant_id,
            id=new_id(),
            scope=scope,
            name=name,
            max_running=max_running,
            created_at=db_now(),
        )
    )


def full_scopes(tx: Transaction) -> FullScopes:
    """Find what has no free slot; the limits stay locked until the commit, so that no two claimers count the last one.

    One statement without limits, two more with some.
    """
    query = select(limits).where(limits.c.tenant_id == tx.tenant_id).order_by(limits.c.id)
    if tx.is_postgresql:
        query = query.with_for_update()
    rules = tx.conn.execute(query).all()
    if not rules:
        return FullScopes()
    running = tx.conn.execute(
        select(runs.c.instance_id, runs.c.type, func.count().label("running"))
        .where(runs.c.tenant_id == tx.tenant_id, runs.c.status == literal_column("'running'"))
        .group_by(runs.c.instance_id, runs.c.type)
    ).all()
    known = tx.conn.execute(
        select(instances.c.id, instances.c.name, projects.c.name.label("project"))
        .outerjoin(
            projects, and_(projects.c.tenant_id == instances.c.tenant_id, projects.c.id == instances.c.project_id)
        )
        .where(instances.c.tenant_id == tx.tenant_id)
    ).all()
    everything = False
    full_instances: set[uuid.UUID] = set()
    full_types: set[str] = set()
    for rule in rules:
        match rule.scope:
            case "tenant":
                everything = everything or sum(row.running for row in running) >= rule.max_running
            case "run_type":
                if sum(row.running for row in running if row.type == rule.name) >= rule.max_running:
                    full_types.add(rule.name)
            case _:
                members = {
                    row.id for row in known if rule.name == (row.name if rule.scope == "instance" else row.project)
                }
                if sum(row.running for row in running if row.instance_id in members) >= rule.max_running:
                    full_instances |= members
    return FullScopes(is_everything=everything, instance_ids=frozenset(full_instances), run_types=frozenset(full_types))
