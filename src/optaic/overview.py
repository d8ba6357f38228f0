"""The status of flows, as people and programs see it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable
from typing import Any

from optaic.domain.explanation import command
from optaic.domain.freshness import Cause, FlowState
from optaic.domain.kind import FlowKind, target_name
from optaic.domain.status import Activity, Health, overlay
from optaic.ledger import freshness
from optaic.ledger import statuses as ledger_statuses
from optaic.ledger.cache import Stored
from optaic.ledger.session import Transaction

_KINDS = {kind.value: kind for kind in FlowKind}

EXECUTE = "optaic worker --until-idle"
"""What executes runs that wait."""


def statuses(tx: Transaction, flow_ids: Collection[uuid.UUID] | None = None) -> dict[uuid.UUID, dict[str, Any]]:
    """Give the status of all live flows, or of some, by target: a constant number of statements.

    Tracked loops are left out: they have trials only, and nothing that could be ready or stale.

    Returns
    -------
    dict
        By flow id, JSON-ready: `instance, flow_kind, target, status, freshness, stale_from, version, last_data_date,
        expected_date, causes, error, last_run, pending_run, next_step`. `error` is the reason of the last official
        attempt if that failed, as a sentence; `pending_run` the oldest official run that waits to be claimed;
        `next_step` what makes the flow ready, or executes the run that waits; each else None.
    """
    rows = ledger_statuses.read(tx, flow_ids)
    states = freshness.explained(tx, {row[0]: Stored(*row[-len(Stored._fields) :]) for row in rows})
    told: dict[int, dict[str, Any]] = {}
    waiting = ledger_statuses.waiting(tx)
    items: dict[uuid.UUID, dict[str, Any]] = {}
    # Unpacked by place: thousands of rows are read, and a column by name costs as much as all of them by place.
    for (
        flow_id,
        kind,
        instance,
        instance_kind,
        version,
        last_date,
        expected,
        is_ok,
        error,
        run_id,
        is_running,
        *_,
    ) in rows:
        state = states[flow_id]
        target = target_name(instance, instance_kind, kind)
        items[flow_id] = {
            "instance": instance,
            "flow_kind": _KINDS[kind],
            "target": target,
            "status": overlay(
                state.freshness,
                Activity.RUNNING if is_running else Activity.IDLE,
                Health.ERROR if is_ok == 0 else Health.OK,
            ),
            "freshness": state.freshness,
            "stale_from": iso_from(state.stale_from),
            "version": version,
            "last_data_date": _iso(last_date),
            "expected_date": _iso(expected),
            "causes": _causes(state.causes, told),
            "error": error,
            "last_run": run_id,
            "pending_run": str(waiting[flow_id]) if flow_id in waiting else None,
            "next_step": _next_step(target, state, has_pending=flow_id in waiting),
        }
    return items


def _causes(causes: Iterable[Cause], told: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Give causes as JSON; what readers of one upstream share is written once, and copied for each."""
    found: list[dict[str, Any]] = []
    for cause in causes:
        item = told.get(id(cause))
        if item is None:
            item = told[id(cause)] = cause.to_json()
        found.append(item.copy())
    return found


def _next_step(target: str, state: FlowState, *, has_pending: bool) -> str | None:
    """Give what makes a flow ready; the run that waits does, unless its upstreams have to run first."""
    step = command(target, state)
    return EXECUTE if has_pending and step == f"optaic run {target}" else step


def iso_from(since: dt.date) -> str | None:
    """Write from which event date a flow is stale; None for from the beginning, and for not at all."""
    return None if since in (dt.date.min, dt.date.max) else since.isoformat()


def _iso(value: dt.date | None) -> str | None:
    return None if value is None else value.isoformat()
