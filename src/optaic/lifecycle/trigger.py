"""Triggers: flows that run by themselves when what they read has something new.

Nothing is remembered that could be lost. A trigger is a comparison: all upstreams are ready, and at least one has a
version that no completed official run of the flow has consumed. Whatever such a run has read counts, whoever asked for
it; what a run came to nothing with is not consumed.

A run of the trigger that failed, or that a person cancelled, holds it back for exactly these versions with this code
and config, so that the same failure is not repeated without end. Something new sets it off again: a version of an
upstream, or an `apply` of other code or config. A reason outside the flow (`optaic.domain.trigger.OUTSIDE`: the worker
was lost, the code on the machine was another, the store was full) does not hold it back: it is tried again, the first
time at once, then after 1, 2, 4 minutes and so on, an hour at most.

A run that waits for a worker meanwhile is looked at again when it is claimed: if another run has consumed what it is
for, or code or config are others by now, it ends as `cancelled`, `superseded`, and the comparison is made anew.

It is made whenever something upstream ends, when a run of the flow itself ends, by `apply`, when the trigger is
resumed, and now and then by workers.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, or_, select

from optaic.domain.freshness import CauseKind, FlowFacts, FlowState, blocking_causes
from optaic.domain.identifier import new_id
from optaic.domain.principal import SYSTEM_ID
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.run import Run
from optaic.domain.status import RunStatus, Standing
from optaic.domain.trigger import Hold, LastRun, hold_of
from optaic.errors import NotFoundError
from optaic.ledger import catalog, freshness, runs, schedules, versions
from optaic.ledger.catalog import Flow
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
    system = replace(tx, actor_id=SYSTEM_ID)
    made: list[uuid.UUID] = []
    for due in _due(tx, flow_ids):
        if due.hold is not None and not due.hold.is_over(due.schedule.ledger_now):
            continue
        tries = 0 if due.hold is None or due.last is None else due.last.tries + 1
        run = record_official(
            system,
            catalog.get_flow(tx, due.flow.id),
            trigger="upstream",
            triggered_by={
                "schedule_id": str(due.schedule.id),
                "versions": due.versions,
                "new": _new(due.flow, due.versions),
                "tries": tries,
            },
        )
        schedules.fired(tx, due.schedule.id, run.id)
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


def listed(tx: Transaction) -> list[dict[str, Any]]:
    """Give the live schedules as JSON-ready items; instants are aware and UTC.

    Returns
    -------
    list of dict
        `instance, flow_kind, target, when, paused_at, last_at, last_run, waits`. The last is None unless the flow would
        run by itself now, but waits because of the run that its trigger last set off; then it has `run_id, status,
        code, message, until, next_step`. `until` says when the same is tried again, None for not before something new.
    """
    held = {due.flow.id: due.hold for due in _due(tx, None) if due.hold is not None}
    return [{**item, "waits": _waits(item["target"], held.get(flow_id))} for flow_id, item in schedules.items(tx)]


def _waits(target: str, hold: Hold | None) -> dict[str, Any] | None:
    if hold is None:
        return None
    if hold.until is not None:
        step = f"a worker tries it again then: optaic worker; or now: optaic run {target}"
    elif hold.status is RunStatus.CANCELLED:
        step = f"a new version sets it off again; or now: optaic run {target}"
    else:
        step = f"mend it, then: optaic apply; or as it is: optaic run {target}"
    return {
        "run_id": str(hold.run_id),
        "status": hold.status,
        "code": hold.reason.code,
        "message": hold.reason.message,
        "until": hold.until,
        "next_step": step,
    }


def superseded(tx: Transaction, run: Run, flow: Flow) -> Reason | None:
    """Say why a run that a trigger has recorded, and that has not started yet, is not to start; None if it is.

    Parameters
    ----------
    tx
        The transaction that would start it.
    run
        The run, `pending`.
    flow
        Its flow as it is now.
    """
    if run.trigger != "upstream" or run.attempt:
        return None
    again = f"nothing: {flow.target} runs by itself when there is something new; now: optaic run {flow.target}"
    if (run.revision_id, run.definition_version_id) != (flow.revision_id, flow.definition_version_id):
        return Reason(
            code=ReasonCode.SUPERSEDED,
            message=f"code or config of {flow.target} have changed since its trigger recorded this run",
            next_step=again,
        )
    facts, states, _ = freshness.with_upstreams(tx, [flow.id])
    if not facts or _has_new(states[flow.id]):
        return None
    return Reason(
        code=ReasonCode.SUPERSEDED,
        message=f"run {flow.current_run_id} has completed since, and has read what set this one off",
        next_step=again,
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """A flow that has something new to read, all of it ready, and nothing under way.

    `versions` are what it would read, as JSON; `hold` says whether its trigger has to wait because of `last`.
    """

    schedule: Row[Any]
    flow: FlowFacts
    versions: list[dict[str, Any]]
    last: LastRun | None
    hold: Hold | None


def _due(tx: Transaction, flow_ids: Collection[uuid.UUID] | None) -> list[_Due]:
    found = {row.flow_id: row for row in schedules.upstream_triggers(tx, flow_ids)}
    busy = _busy(tx, found.keys()) if found else set[uuid.UUID]()
    waiting = found.keys() - busy
    if not waiting:
        return []
    facts, states, upstreams = freshness.with_upstreams(tx, waiting)
    ready = [flow for flow in facts if _has_new(states[flow.id]) and not blocking_causes(flow, upstreams)]
    current = _current_versions(tx, ready)
    due: list[_Due] = []
    for flow in ready:
        edges = [edge for edge in flow.edges if edge.is_current]
        # An upstream may be ready and have no version: it has never had a row, and there is nothing to read.
        if not edges or any(edge.upstream_id not in current for edge in edges):
            continue
        what = [{"upstream": edge.upstream, **current[edge.upstream_id]} for edge in edges]
        last = _last_run(found[flow.id], what)
        due.append(_Due(schedule=found[flow.id], flow=flow, versions=what, last=last, hold=hold_of(last)))
    return due


def _last_run(row: Row[Any], what: list[dict[str, Any]]) -> LastRun | None:
    """Give the run that a trigger last set off, compared with what it would set off now."""
    if row.run_id is None:
        return None
    facts: Mapping[str, Any] = row.triggered_by or {}
    reason = None
    if row.reason_code is not None:
        step = row.reason_next_step or ""
        reason = Reason(code=row.reason_code, message=row.reason_message or "", next_step=step)
    is_same = (row.revision_id, row.definition_version_id) == (row.flow_revision_id, row.flow_definition_version_id)
    return LastRun(
        id=row.run_id,
        status=RunStatus(row.status),
        reason=reason,
        ended_at=row.ended_at,
        is_same=is_same and _numbers(facts.get("versions", [])) == _numbers(what),
        tries=int(facts.get("tries", 0)),
    )


def _numbers(what: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(one["upstream"], one["version"]) for one in what]


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


def _has_new(state: FlowState) -> bool:
    """Whether there is a version that no completed official run has consumed."""
    return any(cause.kind in (CauseKind.INPUT_CHANGED, CauseKind.NEVER_RUN) for cause in state.causes)


def _new(flow: FlowFacts, what: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say which versions came since the flow last ran; all of them if it never has."""
    if flow.current_run_id is None:
        return what
    return [
        {"upstream": edge.upstream, "version": change.number, "run_id": str(change.run_id)}
        for edge in flow.edges
        for change in edge.changes
        if edge.touches(change)
    ]


def _current_versions(tx: Transaction, flows: Collection[FlowFacts]) -> dict[uuid.UUID, dict[str, Any]]:
    """Read the current version of what some flows read, and the run that published it; by upstream, as JSON."""
    inputs = catalog.inputs_of(tx, [flow.id for flow in flows]) if flows else []
    found = versions.published(tx, {one.upstream_version_id for one in inputs if one.upstream_version_id})
    return {
        one.upstream_flow_id: {"version": number, "run_id": str(run_id)}
        for one in inputs
        if one.upstream_version_id
        for number, run_id in [found[one.upstream_version_id]]
    }
