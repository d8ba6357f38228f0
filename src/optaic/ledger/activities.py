"""Activities: audit events, written in the transaction of the change that they tell of."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from optaic.domain.identifier import new_id
from optaic.ledger.rows import insert_rows
from optaic.ledger.session import Transaction
from optaic.ledger.tables import activities


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
    insert_rows(
        tx,
        activities,
        {"actor_id": tx.actor_id, "correlation_id": tx.correlation_id, "durable": is_durable},
        {
            "id": [new_id() for _ in facts],
            "verb": [verb for verb, _, _ in facts],
            "resource_type": [verb.partition(".")[0] for verb, _, _ in facts],
            "resource_id": [str(resource_id) for _, resource_id, _ in facts],
            "payload": [payload for _, _, payload in facts],
        },
        clock="at",
    )
