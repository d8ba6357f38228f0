"""What planning reads: what is not ready upstream, the versions of the moment, and steps that others plan already."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    Text,
    and_,
    cast,
    exists,
    extract,
    func,
    insert,
    literal,
    select,
    tuple_,
)

from optaic.domain.freshness import NEVER, FlowState, decide
from optaic.domain.kind import FlowKind, target_name
from optaic.domain.plan import NEVER_RUN, Candidate, Reading
from optaic.domain.sharing import OpenStep, Read
from optaic.domain.status import Freshness, RunStatus, Standing
from optaic.ledger.bulk import plain_id
from optaic.ledger.columns import Id, among
from optaic.ledger.freshness import late_flows
from optaic.ledger.session import Transaction
from optaic.ledger.state import database_clock, load_facts
from optaic.ledger.tables import (
    definition_versions,
    definitions,
    flow_inputs,
    flows,
    instances,
    plan_members,
    plan_pins,
    plan_step_edges,
    plan_steps,
    version_stages,
)
from optaic.ledger.tables import runs as runs_table

DURATIONS = 3
"""How many of a flow's last runs say how long it takes."""


_READY = FlowState(freshness=Freshness.READY)


def candidates(tx: Transaction, flow_id: uuid.UUID) -> list[Candidate]:
    """Read a flow and everything upstream that may have to run for it: a constant number of statements.

    The cache says which flows have causes of their own, unless the clock has overtaken it; these alone are decided from
    their facts.
    """
    late = set(late_flows(tx))
    rows = tx.conn.execute(_scope(tx, flow_id, is_settled=not late)).all()
    # Each id is made once, however many edges name it: that would take longer than all else.
    ids = {row.id: uuid.UUID(row.id) for row in rows}
    upstream_ids: dict[str, list[uuid.UUID]] = {one: [] for one in ids}
    readings: dict[str, list[Reading]] = {one: [] for one in ids}
    # In parts, and without an object for each edge: what is alive at a time is what the garbage collector goes through.
    for part in tx.conn.execute(_followed(tx, ids.values())).partitions(1_000):
        for reader, upstream, is_read, read_until in part:
            if upstream in ids:
                upstream_ids[reader].append(ids[upstream])
                readings[reader].append((is_read == 1, read_until))
    own = _own_states(tx, {ids[row.id] for row in rows if row.has_run and (row.is_stale or ids[row.id] in late)})
    return [
        Candidate(
            id=ids[row.id],
            target=target_name(row.instance, row.instance_kind, row.kind),
            instance=row.instance,
            flow_kind=FlowKind(row.kind),
            own=own.get(ids[row.id], _READY) if row.has_run else NEVER_RUN,
            upstream_ids=tuple(upstream_ids[row.id]),
            readings=tuple(readings[row.id]),
        )
        for row in rows
    ]


def _scope(tx: Transaction, flow_id: uuid.UUID, *, is_settled: bool) -> Select[Any]:
    """Give the query of a flow and everything upstream that is not ready; if the cache is not settled, everything."""
    scope = select(literal(flow_id, Id).label("id")).cte("scope", recursive=True)
    further = select(flow_inputs.c.upstream_flow_id).where(
        flow_inputs.c.tenant_id == tx.tenant_id,
        flow_inputs.c.flow_id == scope.c.id,
        flow_inputs.c.ended_at.is_(None),
        flow_inputs.c.selector == "current",
    )
    if is_settled:
        # Looked up edge by edge: as a join, SQLite would go through all flows for each flow that it has found.
        of_upstream = (
            select(flows.c.freshness)
            .where(flows.c.tenant_id == tx.tenant_id, flows.c.id == flow_inputs.c.upstream_flow_id)
            .correlate(flow_inputs)
            .scalar_subquery()
        )
        further = further.where(of_upstream != Freshness.READY)
    found = scope.union(further)
    return (
        select(
            plain_id(flows.c.id, tx).label("id"),
            flows.c.kind,
            instances.c.name.label("instance"),
            instances.c.kind.label("instance_kind"),
            flows.c.current_run_id.is_not(None).label("has_run"),
            (flows.c.own_stale_from < NEVER).label("is_stale"),
        )
        .select_from(found)
        .join(flows, and_(flows.c.tenant_id == tx.tenant_id, flows.c.id == found.c.id))
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .where(flows.c.archived_at.is_(None))
    )


def _followed(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> Select[Any]:
    """Give the query of the edges of some flows that follow their upstream, in order of declaration."""
    return (
        select(
            plain_id(flow_inputs.c.flow_id, tx),
            plain_id(flow_inputs.c.upstream_flow_id, tx),
            flow_inputs.c.is_read,
            flow_inputs.c.read_until,
        )
        .where(
            flow_inputs.c.tenant_id == tx.tenant_id,
            flow_inputs.c.ended_at.is_(None),
            flow_inputs.c.selector == "current",
            among(flow_inputs.c.flow_id, flow_ids, is_postgresql=tx.is_postgresql),
        )
        .order_by(flow_inputs.c.position)
    )


def _own_states(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, FlowState]:
    """Decide the states of some flows as if everything upstream of them were ready."""
    if not flow_ids:
        return {}
    now = database_clock(tx)
    return {flow.id: decide(flow, {}, now) for flow in load_facts(tx, flow_ids)}


def seconds_of(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, float]:
    """Read how long some flows take: the median of their last completed official runs, in seconds; one statement.

    Flows that have never completed are missing.
    """
    # The last of each flow are found by the index: to rank all runs would take longer with every day.
    last = (
        select(_seconds_taken(tx).label("seconds"))
        .where(
            runs_table.c.tenant_id == flows.c.tenant_id,
            runs_table.c.flow_id == flows.c.id,
            runs_table.c.status == RunStatus.COMPLETED,
            runs_table.c.standing == Standing.OFFICIAL,
        )
        .order_by(runs_table.c.submitted_at.desc())
        .limit(DURATIONS)
        .correlate(flows)
        .subquery()
    )
    listed = select(func.aggregate_strings(cast(last.c.seconds, Text), " ")).scalar_subquery()
    query = select(plain_id(flows.c.id, tx), listed).where(
        flows.c.tenant_id == tx.tenant_id, among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql)
    )
    return {
        uuid.UUID(flow_id): statistics.median(map(float, took.split()))
        for flow_id, took in tx.conn.execute(query).all()
        if took is not None
    }


def _seconds_taken(tx: Transaction) -> ColumnElement[Any]:
    started_at, ended_at = runs_table.c.started_at, runs_table.c.ended_at
    if tx.is_postgresql:
        return extract("epoch", ended_at - started_at)
    # SQLite's clock has milliseconds; its days as a fraction have less, so what they differ by is rounded.
    return func.round((func.julianday(ended_at) - func.julianday(started_at)) * 86_400, 3)


def present_pins(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> dict[Read, uuid.UUID]:
    """Read the present versions of what some flows read, and of themselves; what has none is missing."""
    return {(row.flow_id, row.selector): row.version_id for row in tx.conn.execute(_present_pins(tx, flow_ids))}


def pin_present(tx: Transaction, plan_id: uuid.UUID, flow_ids: Collection[uuid.UUID]) -> None:
    """Let a plan read the present versions of what some flows read, and of themselves: one statement."""
    found = _present_pins(tx, flow_ids).subquery()
    query = select(literal(tx.tenant_id), literal(plan_id, Id), found.c.flow_id, found.c.selector, found.c.version_id)
    tx.conn.execute(insert(plan_pins).from_select(["tenant_id", "plan_id", "flow_id", "selector", "version_id"], query))


def _present_pins(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> CompoundSelect[Any]:
    mine = among(flow_inputs.c.flow_id, flow_ids, is_postgresql=tx.is_postgresql)
    live = (flow_inputs.c.tenant_id == tx.tenant_id, flow_inputs.c.ended_at.is_(None), mine)
    upstreams = select(flow_inputs.c.upstream_flow_id).where(*live, flow_inputs.c.selector == "current")
    current = select(
        flows.c.id.label("flow_id"),
        literal("current").label("selector"),
        flows.c.current_version_id.label("version_id"),
    ).where(
        flows.c.tenant_id == tx.tenant_id,
        flows.c.current_version_id.is_not(None),
        flows.c.id.in_(upstreams) | among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql),
    )
    later = version_stages.alias("later")
    staged = (
        select(
            version_stages.c.flow_id,
            (literal("stage:") + version_stages.c.stage).label("selector"),
            version_stages.c.version_id,
        )
        .join(
            flow_inputs,
            and_(
                flow_inputs.c.tenant_id == version_stages.c.tenant_id,
                flow_inputs.c.upstream_flow_id == version_stages.c.flow_id,
                flow_inputs.c.selector_stage == version_stages.c.stage,
            ),
        )
        .where(
            *live,
            flow_inputs.c.selector == "stage",
            version_stages.c.ended_at.is_(None),
            ~exists().where(
                later.c.tenant_id == version_stages.c.tenant_id,
                later.c.flow_id == version_stages.c.flow_id,
                later.c.stage == version_stages.c.stage,
                later.c.ended_at.is_(None),
                tuple_(later.c.set_at, later.c.id) > tuple_(version_stages.c.set_at, version_stages.c.id),
            ),
        )
        .distinct()
    )
    return current.union_all(staged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The code that an instance would run with now: its reference and digest."""

    instance: str
    code_ref: str
    code_digest: str


def code_of(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> list[Code]:
    """Read the code of some flows; built-in procedures are left out."""
    query = (
        select(instances.c.name, definitions.c.code_ref, definition_versions.c.code_digest)
        .select_from(flows)
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .join(
            definition_versions,
            and_(
                definition_versions.c.tenant_id == flows.c.tenant_id,
                definition_versions.c.id == flows.c.definition_version_id,
            ),
        )
        .join(
            definitions,
            and_(
                definitions.c.tenant_id == definition_versions.c.tenant_id,
                definitions.c.id == definition_versions.c.definition_id,
            ),
        )
        .where(flows.c.tenant_id == tx.tenant_id, among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql))
        .order_by(instances.c.name)
    )
    return [
        Code(instance=name, code_ref=code_ref, code_digest=code_digest)
        for name, code_ref, code_digest in tx.conn.execute(query).all()
    ]


def open_steps(tx: Transaction, flow_ids: Collection[uuid.UUID]) -> list[OpenStep]:
    """Read the steps of some flows that have not ended, with what they wait for and the pins of their plans.

    One statement where there are none, three otherwise. Steps that were asked to stop are left out.
    """
    query = (
        select(
            plan_steps.c.id,
            plan_steps.c.flow_id,
            plan_members.c.plan_id,
            plan_steps.c.run_id,
            runs_table.c.revision_id,
            runs_table.c.definition_version_id,
        )
        .join(
            plan_members,
            and_(plan_members.c.tenant_id == plan_steps.c.tenant_id, plan_members.c.step_id == plan_steps.c.id),
        )
        .outerjoin(
            runs_table, and_(runs_table.c.tenant_id == plan_steps.c.tenant_id, runs_table.c.id == plan_steps.c.run_id)
        )
        .where(
            plan_steps.c.tenant_id == tx.tenant_id,
            plan_steps.c.ended_at.is_(None),
            runs_table.c.cancel_requested_at.is_(None),
            among(plan_steps.c.flow_id, flow_ids, is_postgresql=tx.is_postgresql),
        )
        .order_by(plan_steps.c.id)
    )
    found = {row.id: row for row in tx.conn.execute(query)}
    if not found:
        return []
    upstream = plan_steps.alias("upstream")
    waits: dict[uuid.UUID, dict[uuid.UUID, uuid.UUID]] = {}
    for row in tx.conn.execute(
        select(plan_step_edges.c.step_id, upstream.c.id, upstream.c.flow_id)
        .join(
            upstream,
            and_(
                upstream.c.tenant_id == plan_step_edges.c.tenant_id, upstream.c.id == plan_step_edges.c.upstream_step_id
            ),
        )
        .where(
            plan_step_edges.c.tenant_id == tx.tenant_id,
            upstream.c.ended_at.is_(None),
            among(plan_step_edges.c.step_id, found.keys(), is_postgresql=tx.is_postgresql),
        )
    ):
        waits.setdefault(row.step_id, {})[row.flow_id] = row.id
    pins: dict[uuid.UUID, dict[Read, uuid.UUID]] = {}
    for row in tx.conn.execute(
        select(plan_pins.c.plan_id, plan_pins.c.flow_id, plan_pins.c.selector, plan_pins.c.version_id).where(
            plan_pins.c.tenant_id == tx.tenant_id,
            among(plan_pins.c.plan_id, {row.plan_id for row in found.values()}, is_postgresql=tx.is_postgresql),
        )
    ):
        pins.setdefault(row.plan_id, {})[row.flow_id, row.selector] = row.version_id
    return [
        OpenStep(
            id=row.id,
            flow_id=row.flow_id,
            recorded=None if row.run_id is None else (row.revision_id, row.definition_version_id),
            upstream=waits.get(row.id, {}),
            pins=pins.get(row.plan_id, {}),
        )
        for row in found.values()
    ]
