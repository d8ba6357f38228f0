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
from optaic.ledger.tables import plan_members, plans, run_inputs, runs, versions


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
        flow stands on what was decided earlier, or on the same config and code and no later version of any input.
    """
    may_be_late = run.attempt > 0 or run.plan_step_id is not None
    if run.standing is not Standing.OFFICIAL or not may_be_late or flow.current_run_id is None:
        return None
    made = {row.id: row for row in tx.conn.execute(_made_of(tx, [run.id, flow.current_run_id]))}
    ours, theirs = made[run.id], made[flow.current_run_id]
    if ours.decided_at >= theirs.decided_at:
        return None
    has_same_code = (ours.revision_id, ours.definition_version_id) == (theirs.revision_id, theirs.definition_version_id)
    if has_same_code and not _reads_older(tx, run.id, flow.current_run_id):
        return None
    return Reason(
        code=ReasonCode.OVERTAKEN,
        message=f"run {flow.current_run_id} has made {flow.target} of what is newer than this run would read",
        next_step=f"to make {flow.target} of what is current: optaic run {flow.target} --recursive",
    )


def _reads_older(tx: Transaction, run_id: uuid.UUID, later_id: uuid.UUID) -> bool:
    """Whether a run reads an earlier version of an input than a run that was decided later.

    Of an input that somebody selects by stage or number, any other version is one that was selected before.
    """
    other = run_inputs.alias("other")
    later = versions.alias("later")
    query = (
        select(run_inputs.c.selector, versions.c.number, later.c.number.label("later"))
        .join(versions, and_(versions.c.tenant_id == run_inputs.c.tenant_id, versions.c.id == run_inputs.c.version_id))
        .join(
            other,
            and_(
                other.c.tenant_id == run_inputs.c.tenant_id,
                other.c.run_id == later_id,
                other.c.role == run_inputs.c.role,
                other.c.upstream_flow_id == run_inputs.c.upstream_flow_id,
            ),
        )
        .join(later, and_(later.c.tenant_id == other.c.tenant_id, later.c.id == other.c.version_id))
        .where(run_inputs.c.tenant_id == tx.tenant_id, run_inputs.c.run_id == run_id)
    )
    return any(
        row.number < row.later if row.selector == "current" else row.number != row.later
        for row in tx.conn.execute(query)
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
