"""Why a flow is ready, or why it is not: back to the run, version, config or code that made it so."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from optaic.bootstrap import Runtime
from optaic.domain.config import part_of
from optaic.domain.explanation import Step, command, differences, leads_to, walk_back
from optaic.domain.freshness import Cause, CauseKind, FlowFacts, FlowState
from optaic.domain.kind import FlowKind
from optaic.domain.run import Run
from optaic.domain.status import Freshness
from optaic.domain.text import check_text
from optaic.errors import InvalidInputError, OptaicError
from optaic.ledger import catalog, freshness, lineage, runs
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Transaction
from optaic.ledger.state import load_facts
from optaic.ledger.targets import find_target
from optaic.lifecycle import remedy
from optaic.lifecycle.choice import Unmet, find_unmet
from optaic.overview import iso_from, statuses


@dataclass(frozen=True, slots=True, kw_only=True)
class _Behind:
    """What is behind the causes of some flows."""

    states: Mapping[uuid.UUID, FlowState]
    facts: Mapping[uuid.UUID, FlowFacts]
    made: Mapping[uuid.UUID, Row[Any]]
    revisions: Mapping[uuid.UUID, Mapping[int, Row[Any]]]
    failures: Mapping[uuid.UUID, Run]
    unmet: Mapping[uuid.UUID, list[Unmet]]


def explain(runtime: Runtime, target: str) -> dict[str, Any]:
    """Say why a flow is ready, or why it is not: a constant number of statements, however far the way back.

    Parameters
    ----------
    runtime
        The project's.
    target
        `instance`, `instance.flow_kind`, or a column of a dataset, which tells of the dataset.

    Returns
    -------
    dict
        JSON-ready. An item of `status`, and beside it `ready_until` (the instant from which new data are expected),
        `run` (the run that its current state speaks of), `inputs` (what that run consumed: role, target, selector,
        columns, version, the run that made it, first and last event date), `because` and `next_steps`.

        `missing` has an item for each input that selects a version which is not there, by stage or by number: `message`
        and `next_steps`. Empty if the flow is ready.

        Each item of `causes` has what is behind it: `changes` (versions with what they changed), `differences`
        (values of the config), `run_digest`, `due_at`, `leads_to` (the flow told in `because`).

        `because` has an item for each flow upstream that explains it: `target, freshness, stale_from, through, error,
        causes, missing, because, next_step`. A flow that only passes on what another has is left out there and named in
        `through`; each flow is told once.

    Raises
    ------
    NotFoundError
        If there is no such target.
    InvalidInputError
        If it is a tracked loop, or names no kind of flow.
    """
    check_text(target, "the target")
    with runtime.database.read() as tx:
        flow = find_target(tx, target).flow
        if flow.engine == "inline":
            raise InvalidInputError(
                f"{flow.instance} is a tracked loop: it has trials only, and nothing that could be ready or stale",
                next_step=f"optaic runs --instance {flow.instance}",
            )
        item = statuses(tx, [flow.id])[flow.id]
        states = freshness.states(tx, lineage.unready_upstreams(tx, flow.id))
        steps = walk_back(flow.id, states)
        behind = _read_behind(tx, steps, states)
        document = {
            **item,
            "ready_until": _instant(behind.facts[flow.id].ready_until),
            "run": _run(runs.get(tx, flow.current_run_id)) if flow.current_run_id else None,
            "inputs": _inputs(tx, flow),
            "next_step": remedy.next_step(tx, flow, states),
        }
    nodes = {step.flow_id: _node(step, behind) for step in steps}
    for step in steps[1:]:
        if step.above is not None:
            nodes[step.above]["because"].append(nodes[step.flow_id])
    root = nodes[flow.id]
    document |= {"error": root["error"], "causes": root["causes"]}
    document |= {"missing": root["missing"], "because": root["because"]}
    document["next_steps"] = _next_steps(document, is_applied=_is_applied(runtime, flow))
    del document["next_step"]
    return document


def _read_behind(tx: Transaction, steps: list[Step], states: Mapping[uuid.UUID, FlowState]) -> _Behind:
    facts = {flow.id: flow for flow in load_facts(tx, [step.flow_id for step in steps])}
    publishers = {
        change.run_id
        for flow in facts.values()
        for edge in flow.edges
        for change in edge.changes
        if change.run_id is not None
    }
    changed = [
        flow_id for flow_id in facts if any(cause.kind is CauseKind.CONFIG_CHANGED for cause in states[flow_id].causes)
    ]
    unready = [flow_id for flow_id in facts if states[flow_id].freshness is not Freshness.READY]
    unmet: dict[uuid.UUID, list[Unmet]] = {}
    for one in find_unmet(tx, catalog.inputs_of(tx, unready)):
        unmet.setdefault(one.flow_id, []).append(one)
    return _Behind(
        states=states,
        facts=facts,
        made=lineage.made_by(tx, publishers),
        revisions=lineage.revisions_of(tx, changed) if changed else {},
        failures=_failures(tx, facts),
        unmet=unmet,
    )


def _failures(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Run]:
    """Read the last official runs of some flows, where these failed."""
    failed = {
        flow.last_attempt_run_id
        for flow in catalog.live_flows(tx, flow_ids)
        if flow.last_attempt_ok is False and flow.last_attempt_run_id is not None
    }
    return {run.flow_id: run for run in runs.many(tx, list(failed))}


def _node(step: Step, behind: _Behind) -> dict[str, Any]:
    state, facts = behind.states[step.flow_id], behind.facts[step.flow_id]
    failure = behind.failures.get(step.flow_id)
    return {
        "target": facts.target,
        "freshness": state.freshness,
        "stale_from": iso_from(state.stale_from),
        "through": list(step.through),
        "error": None if failure is None else _failure(failure),
        "causes": [_cause(cause, facts, behind) for cause in state.causes],
        "missing": [
            {"message": one.message, "next_steps": list(one.next_steps)} for one in behind.unmet.get(step.flow_id, ())
        ],
        "because": [],
        "next_step": command(facts.target, state),
    }


def _cause(cause: Cause, facts: FlowFacts, behind: _Behind) -> dict[str, Any]:
    """Give a cause as JSON, with what is behind it."""
    found = cause.to_json()
    match cause.kind:
        case CauseKind.INPUT_CHANGED:
            changes = {
                change.number: change
                for edge in facts.edges
                if edge.upstream_id == cause.upstream_id
                for change in edge.changes
                if edge.touches(change)
            }
            found["changes"] = [
                {
                    "version": change.number,
                    "changed_from": change.changed_from.isoformat() if change.changed_from else None,
                    "columns": list(change.columns) or None,
                    "run_id": str(change.run_id),
                    "published_at": _instant(behind.made[change.run_id].created_at) if change.run_id else None,
                }
                for _, change in sorted(changes.items())
            ]
        case CauseKind.CONFIG_CHANGED:
            found |= {"run_revision": facts.run_revision, "differences": _differences(facts, behind)}
        case CauseKind.CODE_CHANGED:
            found["run_digest"] = facts.run_code_digest
        case CauseKind.PAST_EXPECTED_DATE | CauseKind.SOURCE_DELAYED:
            found["due_at"] = _instant(facts.ready_until)
        case CauseKind.UPSTREAM_NOT_READY if cause.upstream_id is not None:
            told_id = leads_to(cause.upstream_id, behind.states, behind.facts)
            found["leads_to"] = cause.upstream if told_id is None else behind.facts[told_id].target
        case _:
            pass
    return found


def _differences(facts: FlowFacts, behind: _Behind) -> list[dict[str, Any]]:
    revisions = behind.revisions.get(facts.id, {})
    before, after = revisions.get(facts.run_revision or 0), revisions.get(facts.revision)
    if before is None or after is None:
        return []
    one, other = (part_of(row.config, FlowKind(row.kind)) for row in (before, after))
    return [{"path": item.path, "before": item.before, "after": item.after} for item in differences(one, other)]


def _inputs(tx: Transaction, flow: Flow) -> list[dict[str, Any]]:
    """Give what a flow's current run consumed."""
    if flow.current_run_id is None:
        return []
    return [
        {
            "role": row.role,
            "target": lineage.target_of(row),
            "selector": row.selector,
            "columns": row.columns,
            "version": row.number,
            "run_id": str(row.made_by),
            "first_date": row.first_date.isoformat() if row.first_date else None,
            "last_date": row.last_date.isoformat() if row.last_date else None,
        }
        for row in lineage.inputs_of(tx, [flow.current_run_id])
    ]


def _run(run: Run) -> dict[str, Any]:
    return {"id": str(run.id), "ended_at": _instant(run.ended_at)}


def _failure(run: Run) -> dict[str, Any]:
    reason = run.reason
    return {
        "run_id": str(run.id),
        "code": "" if reason is None else reason.code,
        "message": "" if reason is None else reason.message,
        "ended_at": _instant(run.ended_at),
    }


def _is_applied(runtime: Runtime, flow: Flow) -> bool:
    """Tell whether the code that is declared is the one that the project has now."""
    if flow.code_ref is None:
        return True
    from optaic.flows.code import code_digest, locate

    # Code that cannot be read is told where it matters: by what applies it, or runs it.
    with suppress(OptaicError):
        return code_digest(locate(flow.code_ref, runtime.settings.project_root)) == flow.code_digest
    return False


def _next_steps(document: Mapping[str, Any], *, is_applied: bool) -> list[str]:
    """Say what to type: look at what failed, declare what is not declared, make what was chosen, and run."""
    steps: list[str] = []
    chosen: list[str] = []
    pending = [document]
    while pending:
        node = pending.pop(0)
        chosen += [step for item in node["missing"] for step in item["next_steps"]]
        if node["error"] is not None and node["freshness"] != "ready":
            steps.append(f"optaic logs {node['error']['run_id'][:18]}")
        pending.extend(node["because"])
    del steps[3:]
    if not is_applied:
        steps.append("optaic apply")
    steps += dict.fromkeys(chosen)
    if document["next_step"] is not None:
        steps.append(document["next_step"])
    return steps


def _instant(value: dt.datetime | None) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")
