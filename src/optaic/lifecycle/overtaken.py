"""Overtaken runs: what is computed from older inputs never replaces what was made of newer ones."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import Select, and_, func, select

from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.run import Run
from optaic.domain.status import Standing
from optaic.ledger.catalog import Flow
from optaic.ledger.columns import UtcDateTime
from optaic.ledger.session import Transaction
from optaic.ledger.tables import plan_members, plans, run_inputs, runs


def overtaken(tx: Transaction, run: Run, flow: Flow) -> Reason | None:
    """Say why a run that is about to start is too late: its flow has been made from other inputs pinned later.

    A run keeps its pins through all its attempts, and a plan its snapshot. While one waits for its next attempt or its
    turn, another run of the flow may pin newer versions, complete, and be what the flow stands on. What the older pins
    give would then be published last, with a `known_at` of which nobody knew it.

    Parameters
    ----------
    tx
        The transaction that starts the attempt; the run's inputs are pinned.
    run
        The run, as it was before.
    flow
        Its flow.

    Returns
    -------
    Reason or None
        None for a trial, a first attempt that belongs to no plan and has just pinned what is current, and where the
        flow stands on the same versions, config and code, or on such as were pinned earlier.
    """
    may_be_late = run.attempt > 0 or run.plan_step_id is not None
    if run.standing is not Standing.OFFICIAL or not may_be_late or flow.current_run_id is None:
        return None
    made = {row.id: row for row in tx.conn.execute(_made_of(tx, [run.id, flow.current_run_id]))}
    ours, theirs = made[run.id], made[flow.current_run_id]
    if ours.decided_at >= theirs.decided_at:
        return None
    pins: dict[uuid.UUID, dict[str, uuid.UUID | None]] = {run.id: {}, flow.current_run_id: {}}
    query = select(run_inputs.c.run_id, run_inputs.c.role, run_inputs.c.version_id).where(
        run_inputs.c.tenant_id == tx.tenant_id, run_inputs.c.run_id.in_(pins)
    )
    for row in tx.conn.execute(query):
        pins[row.run_id][row.role] = row.version_id
    is_same_work = (ours.revision_id, ours.definition_version_id) == (theirs.revision_id, theirs.definition_version_id)
    if is_same_work and pins[run.id] == pins[flow.current_run_id]:
        return None
    return Reason(
        code=ReasonCode.OVERTAKEN,
        message=f"run {flow.current_run_id} has made {flow.target} of what is newer than this run would read",
        next_step=f"to make {flow.target} of what is current: optaic run {flow.target} --recursive",
    )


def _made_of(tx: Transaction, run_ids: list[uuid.UUID]) -> Select[tuple[uuid.UUID, uuid.UUID, uuid.UUID, dt.datetime]]:
    """Give the query for what runs are made of, and since when that has been decided: by their plan, or their start."""
    planned = (
        select(func.min(plans.c.created_at))
        .join(plan_members, and_(plan_members.c.tenant_id == plans.c.tenant_id, plan_members.c.plan_id == plans.c.id))
        .where(plan_members.c.tenant_id == runs.c.tenant_id, plan_members.c.step_id == runs.c.plan_step_id)
        .correlate(runs)
        .scalar_subquery()
    )
    return select(
        runs.c.id,
        runs.c.revision_id,
        runs.c.definition_version_id,
        func.coalesce(planned, runs.c.started_at, runs.c.submitted_at, type_=UtcDateTime()).label("decided_at"),
    ).where(runs.c.tenant_id == tx.tenant_id, runs.c.id.in_(run_ids))
