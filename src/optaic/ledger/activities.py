"""Activities: audit events, written in the transaction of the change that they tell of."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert

from optaic.domain.identifier import new_id
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import activities

_INSERT = insert(activities).values(at=db_now())


def record(
    tx: Transaction,
    verb: str,
    resource_id: uuid.UUID | str,
    payload: Mapping[str, Any],
    *,
    is_durable: bool = True,
) -> None:
    """Write an activity.

    Parameters
    ----------
    tx
        The transaction of the change; who acts is read from it.
    verb
        `<resource>.<past tense>`.
    resource_id
        What it happened to.
    payload
        The facts, as JSON.
    is_durable
        False for what nobody needs to read later, such as progress.
    """
    record_all(tx, verb, [(resource_id, payload)], is_durable=is_durable)


def record_all(
    tx: Transaction, verb: str, facts: list[tuple[uuid.UUID | str, Mapping[str, Any]]], *, is_durable: bool = True
) -> None:
    """Write one activity for each (resource id, payload), in one statement."""
    record_many(tx, [(verb, resource_id, payload) for resource_id, payload in facts], is_durable=is_durable)


def record_many(
    tx: Transaction, facts: list[tuple[str, uuid.UUID | str, Mapping[str, Any]]], *, is_durable: bool = True
) -> None:
    """Write one activity for each (verb, resource id, payload), in this order, in one statement."""
    if not facts:
        return
    tx.conn.execute(
        _INSERT,
        [
            {
                "tenant_id": tx.tenant_id,
                "id": new_id(),
                "verb": verb,
                "resource_type": verb.partition(".")[0],
                "resource_id": str(resource_id),
                "actor_id": tx.actor_id,
                "payload": payload,
                "correlation_id": tx.correlation_id,
                "durable": is_durable,
            }
            for verb, resource_id, payload in facts
        ],
    )
