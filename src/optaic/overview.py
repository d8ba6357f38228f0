"""The status of flows, as people and programs see it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import select

from optaic.domain.explanation import command
from optaic.domain.freshness import FlowState
from optaic.domain.run import Run
from optaic.domain.status import Activity, Health, Standing, overlay
from optaic.ledger import catalog, freshness, runs, search, versions
from optaic.ledger.session import Transaction
from optaic.ledger.tables import runs as runs_table

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
    live = [flow for flow in catalog.live_flows(tx, flow_ids) if flow.engine != "inline"]
    decided = freshness.states(tx, [flow.id for flow in live])
    running = {run.flow_id for run in _running_official(tx) if not run.is_lost}
    waiting = _pending_official(tx)
    last = search.last_run_ids(tx)
    failed = [flow.last_attempt_run_id for flow in live if flow.last_attempt_ok is False]
    failures = {run.id: run for run in runs.many(tx, [run_id for run_id in failed if run_id is not None])}
    numbers = versions.numbers(tx, [flow.current_version_id for flow in live if flow.current_version_id])
    items: dict[uuid.UUID, dict[str, Any]] = {}
    for flow in live:
        state = decided[flow.id]
        run = last.get(flow.id)
        failure = failures.get(flow.last_attempt_run_id) if flow.last_attempt_run_id else None
        items[flow.id] = {
            "instance": flow.instance,
            "flow_kind": flow.kind,
            "target": flow.target,
            "status": overlay(
                state.freshness,
                Activity.RUNNING if flow.id in running else Activity.IDLE,
                Health.ERROR if flow.last_attempt_ok is False else Health.OK,
            ),
            "freshness": state.freshness,
            "stale_from": iso_from(state.stale_from),
            "version": numbers.get(flow.current_version_id) if flow.current_version_id else None,
            "last_data_date": _iso(flow.last_data_date),
            "expected_date": _iso(flow.expected_date),
            "causes": [cause.to_json() for cause in state.causes],
            "error": None if failure is None or failure.reason is None else failure.reason.message,
            "last_run": None if run is None else str(run),
            "pending_run": str(waiting[flow.id]) if flow.id in waiting else None,
            "next_step": _next_step(flow.target, state, has_pending=flow.id in waiting),
        }
    return items


def _running_official(tx: Transaction) -> list[Run]:
    query = runs.select_runs().where(
        runs_table.c.tenant_id == tx.tenant_id, runs.IS_RUNNING, runs_table.c.standing == "official"
    )
    return [runs.to_run(row) for row in tx.conn.execute(query)]


def _next_step(target: str, state: FlowState, *, has_pending: bool) -> str | None:
    """Give what makes a flow ready; the run that waits does, unless its upstreams have to run first."""
    step = command(target, state)
    return EXECUTE if has_pending and step == f"optaic run {target}" else step


def _pending_official(tx: Transaction) -> dict[uuid.UUID, uuid.UUID]:
    """Read the oldest official run of each flow that waits for a worker."""
    query = select(runs_table.c.flow_id, runs_table.c.id).where(
        runs_table.c.tenant_id == tx.tenant_id, runs.IS_PENDING, runs_table.c.standing == Standing.OFFICIAL
    )
    newest_first = query.order_by(runs_table.c.submitted_at.desc(), runs_table.c.id.desc())
    return {row.flow_id: row.id for row in tx.conn.execute(newest_first)}


def iso_from(since: dt.date) -> str | None:
    """Write from which event date a flow is stale; None for from the beginning, and for not at all."""
    return None if since in (dt.date.min, dt.date.max) else since.isoformat()


def _iso(value: dt.date | None) -> str | None:
    return None if value is None else value.isoformat()
