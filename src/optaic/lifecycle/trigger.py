"""Triggers: flows that run by themselves when what they read has something new.

Nothing is remembered that could be lost. A trigger is a comparison: all upstreams are ready, at least one has a version
that the flow has not consumed, and the last run that it set off was not for exactly these versions. It is made whenever
something upstream ends, when a run of the flow itself ends, when it is resumed, and now and then by workers.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import or_, select

from optaic.domain.freshness import CauseKind, FlowFacts, FlowState, blocking_causes
from optaic.domain.identifier import new_id
from optaic.domain.principal import SYSTEM_ID
from optaic.domain.status import Standing
from optaic.errors import NotFoundError
from optaic.ledger import catalog, freshness, runs, schedules, versions
from optaic.ledger.columns import among
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.tables import plan_steps
from optaic.ledger.tables import runs as runs_table
from optaic.lifecycle.submit import record_official


def fire(tx: Transaction, flow_ids: Collection[uuid.UUID] | None = None) -> list[uuid.UUID]:
    """Record a run of each flow whose trigger says so; the system submits them.

    Parameters
    ----------
    tx
        A transaction that holds the graph lock, so that two that look at the same moment record one run.
    flow_ids
        Only of these flows; None for all.

    Returns
    -------
    list of UUID
        The runs.
    """
    found = {row.flow_id: row for row in schedules.upstream_triggers(tx, flow_ids)}
    busy = _busy(tx, found.keys()) if found else set[uuid.UUID]()
    waiting = found.keys() - busy
    if not waiting:
        return []
    facts, states, upstreams = freshness.with_upstreams(tx, waiting)
    due = [flow for flow in facts if _is_due(flow, states[flow.id], upstreams)]
    current = _current_versions(tx, due)
    system = replace(tx, actor_id=SYSTEM_ID)
    made: list[uuid.UUID] = []
    for flow in due:
        schedule = found[flow.id]
        what = [
            {"upstream": edge.upstream, "version": current.get(edge.upstream_id)}
            for edge in flow.edges
            if edge.is_current
        ]
        if schedule.triggered_by is not None and schedule.triggered_by.get("versions") == what:
            continue  # it ran for these already, and failed or was cancelled: only something new sets it off again
        run = record_official(
            system,
            catalog.get_flow(tx, flow.id),
            trigger="upstream",
            triggered_by={"schedule_id": str(schedule.id), "versions": what, "new": _new(flow)},
        )
        schedules.fired(tx, schedule.id, run.id)
        made.append(run.id)
    return made


def fire_all(database: Database) -> list[uuid.UUID]:
    """Look at every trigger: what workers do now and then, so that nothing waits that could go."""
    with database.read() as tx:
        if not schedules.upstream_triggers(tx):
            return []
    with database.write(actor_id=SYSTEM_ID, correlation_id=new_id()) as tx:
        lock_graph(tx)
        return fire(tx)


def pause(database: Database, target: str, *, is_paused: bool) -> None:
    """Pause or resume the schedule of a target. What came while it was paused sets it off when it is resumed.

    Raises
    ------
    NotFoundError
        If there is no such target, or it has no schedule.
    """
    with database.write(correlation_id=new_id()) as tx:
        lock_graph(tx)
        flow = catalog.find_flow(tx, target)
        if not schedules.set_paused(tx, flow.id, is_paused=is_paused):
            raise NotFoundError(
                f"{flow.target} has no schedule",
                next_step="declare one in optaic.yaml: schedule: {when: upstream}, then: optaic apply",
            )
        if not is_paused:
            fire(tx, [flow.id])


def _busy(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Read which flows have an official run that is not over, or a plan that will run them."""
    is_postgresql = tx.is_postgresql
    in_runs = select(runs_table.c.flow_id).where(
        runs_table.c.tenant_id == tx.tenant_id,
        or_(runs.IS_PENDING, runs.IS_RUNNING),
        runs_table.c.standing == Standing.OFFICIAL,
        among(runs_table.c.flow_id, flow_ids, is_postgresql=is_postgresql),
    )
    in_plans = select(plan_steps.c.flow_id).where(
        plan_steps.c.tenant_id == tx.tenant_id,
        plan_steps.c.ended_at.is_(None),
        among(plan_steps.c.flow_id, flow_ids, is_postgresql=is_postgresql),
    )
    return set(tx.conn.execute(in_runs.union(in_plans)).scalars())


def _is_due(flow: FlowFacts, state: FlowState, upstreams: Mapping[uuid.UUID, FlowState]) -> bool:
    if not any(edge.is_current for edge in flow.edges) or blocking_causes(flow, upstreams):
        return False
    return any(cause.kind in (CauseKind.INPUT_CHANGED, CauseKind.NEVER_RUN) for cause in state.causes)


def _new(flow: FlowFacts) -> list[dict[str, Any]]:
    """Say which versions came since the flow last ran."""
    return [
        {"upstream": edge.upstream, "version": change.number, "run_id": str(change.run_id)}
        for edge in flow.edges
        for change in edge.changes
        if edge.touches(change)
    ]


def _current_versions(tx: Transaction, flows: Collection[FlowFacts]) -> dict[uuid.UUID, int]:
    """Read the number of the current version of what some flows read."""
    inputs = catalog.inputs_of(tx, [flow.id for flow in flows]) if flows else []
    numbers = versions.numbers(tx, {one.upstream_version_id for one in inputs if one.upstream_version_id})
    return {one.upstream_flow_id: numbers[one.upstream_version_id] for one in inputs if one.upstream_version_id}
