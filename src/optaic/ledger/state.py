"""The facts that decide freshness, read in a constant number of statements, of some flows or of all."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, Row, Select, and_, bindparam, func, select, update

from optaic.domain.config import part_of
from optaic.domain.fingerprint import digest_of
from optaic.domain.freshness import NEVER, Change, Edge, FlowFacts, FlowState
from optaic.domain.kind import FlowKind, InstanceKind, target_name
from optaic.ledger.cache import Stored, stored_of
from optaic.ledger.columns import among, among_given, db_now, given_ids
from optaic.ledger.session import Transaction
from optaic.ledger.tables import (
    definition_versions,
    flow_inputs,
    flows,
    instance_revisions,
    instances,
    run_inputs,
    runs,
    version_stages,
    versions,
)


def database_clock(tx: Transaction) -> dt.datetime:
    """Read the database's clock (UTC)."""
    return tx.conn.execute(select(db_now())).scalar_one()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The facts of some flows, and what was stored when they were read.

    Attributes
    ----------
    facts
        Of the live ones among them.
    stored
        The cache of each of these.
    upstreams
        The state that is stored of each flow that they read.
    unsynced
        Live edges on which something else is stored than what the current runs read over them.
    now
        The database's clock (UTC) when the flows were read; None if none of them is live, or if all were asked for.
    """

    facts: list[FlowFacts]
    stored: Mapping[uuid.UUID, Stored]
    upstreams: Mapping[uuid.UUID, FlowState]
    unsynced: list[dict[str, Any]]
    now: dt.datetime | None


def load_facts(tx: Transaction, flow_ids: Collection[uuid.UUID] | None = None) -> list[FlowFacts]:
    """Read what decides the freshness of live flows: three statements, and a few more where models need them.

    One more where there are edges by stage, and one where the config of a model has changed.

    Parameters
    ----------
    tx
        A transaction.
    flow_ids
        Only of these; None for all.
    """
    return load(tx, flow_ids).facts


def load(tx: Transaction, flow_ids: Collection[uuid.UUID] | None = None) -> Loaded:
    """Read the same with what is stored of these flows, and of what they read, in the same statements."""
    if flow_ids is not None and not flow_ids:
        return Loaded(facts=[], stored={}, upstreams={}, unsynced=[], now=None)
    some = None if flow_ids is None else tx.is_postgresql
    given: dict[str, Any] = {"tenant": tx.tenant_id}
    if flow_ids is not None:
        given["ids"] = given_ids(flow_ids, is_postgresql=tx.is_postgresql)
    changes = _changes_by_flow(tx.conn.execute(_changes(some), given))
    edges: dict[uuid.UUID, list[Edge]] = {}
    upstreams: dict[uuid.UUID, FlowState] = {}
    unsynced: list[dict[str, Any]] = []
    rows = tx.conn.execute(_edges(some), given).all()
    staged = _staged(tx) if any(row.selector == "stage" for row in rows) else {}
    for row in rows:
        edges.setdefault(row.flow_id, []).append(_to_edge(row, changes, staged))
        if row.upstream_flow_id not in upstreams:
            upstreams[row.upstream_flow_id] = Stored(*row[-len(Stored._fields) :]).to_state()
        is_read, until = row.read_columns != [], row.last_date or NEVER
        if (bool(row.is_read), row.read_until) != (is_read, until):
            unsynced.append({"edge": row.id, "until": until, "read": int(is_read)})
    flow_rows = tx.conn.execute(_flows(some), given).all()
    same = _same_config(tx, flow_rows)
    return Loaded(
        facts=[_to_facts(row, tuple(edges.get(row.id, ())), has_same_config=row.id in same) for row in flow_rows],
        stored={row.id: Stored(*row[-len(Stored._fields) :]) for row in flow_rows},
        upstreams=upstreams,
        unsynced=unsynced,
        now=flow_rows[0].now if flow_rows and some is not None else None,
    )


def _same_config(tx: Transaction, rows: Sequence[Row[Any]]) -> set[uuid.UUID]:
    """Find the flows whose config has changed since their current run in nothing that they use themselves.

    The digest of a revision is of all that the flows of its instance use, and only those of a model differ in it.
    """
    changed = [
        row
        for row in rows
        if row.instance_kind == InstanceKind.MODEL
        and row.run_revision_id is not None
        and row.run_config_digest != row.config_digest
    ]
    if not changed:
        return set()
    wanted = {revision_id for row in changed for revision_id in (row.revision_id, row.run_revision_id)}
    query = select(instance_revisions.c.id, instance_revisions.c.config).where(
        instance_revisions.c.tenant_id == tx.tenant_id,
        among(instance_revisions.c.id, wanted, is_postgresql=tx.is_postgresql),
    )
    configs = {row.id: row.config for row in tx.conn.execute(query)}

    def digest(revision_id: uuid.UUID, kind: str) -> str:
        return digest_of(part_of(configs[revision_id], FlowKind(kind)))

    return {row.id for row in changed if digest(row.revision_id, row.kind) == digest(row.run_revision_id, row.kind)}


def _to_facts(row: Row[Any], edges: tuple[Edge, ...], *, has_same_config: bool) -> FlowFacts:
    spec: Mapping[str, Any] = row.freshness_spec or {}
    return FlowFacts(
        id=row.id,
        target=target_name(row.instance, row.instance_kind, row.kind),
        current_run_id=row.current_run_id,
        config_digest=row.config_digest,
        code_digest=row.code_digest,
        run_config_digest=row.config_digest if has_same_config else row.run_config_digest,
        run_code_digest=row.run_code_digest,
        revision=row.revision,
        run_revision=row.run_revision,
        last_data_date=row.last_data_date,
        ready_until=row.ready_until,
        expected_date=row.expected_date,
        source_asked_at=row.source_asked_at,
        waits_for_source=spec.get("on_delayed", "wait") == "wait",
        edges=edges,
    )


def _to_edge(
    row: Row[Any],
    changes: Mapping[uuid.UUID, list[Change]],
    staged: Mapping[tuple[uuid.UUID, str], tuple[uuid.UUID, Change]],
) -> Edge:
    has_read = row.version_id is not None
    later: tuple[Change, ...] = ()
    selector = str(row.selector)
    if row.selector == "current" and has_read:
        later = tuple(change for change in changes.get(row.upstream_flow_id, ()) if change.number > row.number)
    elif row.selector == "stage":
        selector = f"stage:{row.selector_stage}"
        version_id, change = staged.get((row.upstream_flow_id, row.selector_stage), (None, None))
        if has_read and change is not None and version_id != row.version_id:
            later = (change,)
    elif row.selector == "version":
        selector = f"version:{row.selector_version}"
    return Edge(
        upstream_id=row.upstream_flow_id,
        upstream=target_name(row.instance, row.instance_kind, row.kind),
        role=row.role,
        selector=selector,
        is_read=row.read_columns != [] if has_read else True,
        read_until=row.last_date or NEVER,
        columns=tuple(row.read_columns or ()),
        changes=later,
    )


# Building a statement takes longer than sending it, so those of every settling are built once: for all flows (None), or
# for those that are given, by whether the database is PostgreSQL.
_Some = bool | None
_TENANT = bindparam("tenant", type_=Integer())


def _some(column: ColumnElement[Any], some: _Some) -> list[ColumnElement[bool]]:
    return [] if some is None else [among_given(column, is_postgresql=some)]


@cache
def _flows(some: _Some) -> Select[Any]:
    used, made = instance_revisions.alias("used"), definition_versions.alias("made")
    return (
        select(
            flows.c.id,
            flows.c.kind,
            flows.c.current_run_id,
            flows.c.freshness_spec,
            flows.c.last_data_date,
            flows.c.ready_until,
            flows.c.expected_date,
            flows.c.source_asked_at,
            *([] if some is None else [select(db_now()).scalar_subquery().label("now")]),
            instances.c.name.label("instance"),
            instances.c.kind.label("instance_kind"),
            instance_revisions.c.id.label("revision_id"),
            instance_revisions.c.number.label("revision"),
            instance_revisions.c.config_digest,
            definition_versions.c.code_digest,
            used.c.id.label("run_revision_id"),
            used.c.number.label("run_revision"),
            used.c.config_digest.label("run_config_digest"),
            made.c.code_digest.label("run_code_digest"),
            *stored_of(flows),
        )
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .join(
            instance_revisions,
            and_(instance_revisions.c.tenant_id == flows.c.tenant_id, instance_revisions.c.id == flows.c.revision_id),
        )
        .outerjoin(
            definition_versions,
            and_(
                definition_versions.c.tenant_id == flows.c.tenant_id,
                definition_versions.c.id == flows.c.definition_version_id,
            ),
        )
        .outerjoin(runs, and_(runs.c.tenant_id == flows.c.tenant_id, runs.c.id == flows.c.current_run_id))
        .outerjoin(used, and_(used.c.tenant_id == runs.c.tenant_id, used.c.id == runs.c.revision_id))
        .outerjoin(made, and_(made.c.tenant_id == runs.c.tenant_id, made.c.id == runs.c.definition_version_id))
        .where(flows.c.tenant_id == _TENANT, flows.c.archived_at.is_(None), *_some(flows.c.id, some))
        .order_by(instances.c.name, flows.c.kind)
    )


def _read_by_current_run(reader: Any) -> Any:
    """Give the condition that joins an edge with what its reader's current run pinned over it."""
    return and_(
        run_inputs.c.tenant_id == flow_inputs.c.tenant_id,
        run_inputs.c.run_id == reader.c.current_run_id,
        run_inputs.c.role == flow_inputs.c.role,
        run_inputs.c.upstream_flow_id == flow_inputs.c.upstream_flow_id,
    )


@cache
def _edges(some: _Some) -> Select[Any]:
    reader, upstream = flows.alias("reader"), flows.alias("upstream")
    return (
        select(
            flow_inputs.c.id,
            flow_inputs.c.is_read,
            flow_inputs.c.read_until,
            flow_inputs.c.flow_id,
            flow_inputs.c.upstream_flow_id,
            flow_inputs.c.role,
            flow_inputs.c.selector,
            flow_inputs.c.selector_stage,
            flow_inputs.c.selector_version,
            upstream.c.kind,
            instances.c.name.label("instance"),
            instances.c.kind.label("instance_kind"),
            run_inputs.c.version_id,
            run_inputs.c.columns.label("read_columns"),
            run_inputs.c.last_date,
            versions.c.number,
            *stored_of(upstream),
        )
        .join(reader, and_(reader.c.tenant_id == flow_inputs.c.tenant_id, reader.c.id == flow_inputs.c.flow_id))
        .join(
            upstream,
            and_(upstream.c.tenant_id == flow_inputs.c.tenant_id, upstream.c.id == flow_inputs.c.upstream_flow_id),
        )
        .join(instances, and_(instances.c.tenant_id == upstream.c.tenant_id, instances.c.id == upstream.c.instance_id))
        .outerjoin(run_inputs, _read_by_current_run(reader))
        .outerjoin(
            versions, and_(versions.c.tenant_id == run_inputs.c.tenant_id, versions.c.id == run_inputs.c.version_id)
        )
        .where(
            flow_inputs.c.tenant_id == _TENANT,
            flow_inputs.c.ended_at.is_(None),
            *_some(flow_inputs.c.flow_id, some),
        )
        .order_by(flow_inputs.c.flow_id, flow_inputs.c.position)
    )


@cache
def _changes(some: _Some) -> Select[Any]:
    """Give the query of the versions published after the oldest that a current run of these flows consumed."""
    reader, consumed = flows.alias("reader"), versions.alias("consumed")
    oldest = (
        select(run_inputs.c.upstream_flow_id, func.min(consumed.c.number).label("number"))
        .join(
            reader, and_(reader.c.tenant_id == run_inputs.c.tenant_id, reader.c.current_run_id == run_inputs.c.run_id)
        )
        .join(consumed, and_(consumed.c.tenant_id == run_inputs.c.tenant_id, consumed.c.id == run_inputs.c.version_id))
        .where(
            run_inputs.c.tenant_id == _TENANT,
            reader.c.archived_at.is_(None),
            *_some(reader.c.id, some),
        )
        .group_by(run_inputs.c.upstream_flow_id)
        .subquery()
    )
    return (
        select(
            versions.c.flow_id,
            versions.c.number,
            versions.c.changed_from,
            versions.c.changed_columns,
            versions.c.run_id,
        )
        .join(oldest, oldest.c.upstream_flow_id == versions.c.flow_id)
        .where(versions.c.tenant_id == _TENANT, versions.c.number > oldest.c.number)
        .order_by(versions.c.flow_id, versions.c.number)
    )


def _changes_by_flow(rows: Iterable[Row[Any]]) -> dict[uuid.UUID, list[Change]]:
    found: dict[uuid.UUID, list[Change]] = {}
    for row in rows:
        found.setdefault(row.flow_id, []).append(
            Change(
                number=row.number,
                changed_from=row.changed_from,
                columns=tuple(row.changed_columns or ()),
                run_id=row.run_id,
            )
        )
    return found


def _staged(tx: Transaction) -> dict[tuple[uuid.UUID, str], tuple[uuid.UUID, Change]]:
    """Read which version has each stage now, by flow and stage: the one that was set last."""
    query = (
        select(version_stages.c.flow_id, version_stages.c.stage, versions.c.id, versions.c.number, versions.c.run_id)
        .join(
            versions,
            and_(versions.c.tenant_id == version_stages.c.tenant_id, versions.c.id == version_stages.c.version_id),
        )
        .where(version_stages.c.tenant_id == tx.tenant_id, version_stages.c.ended_at.is_(None))
        .order_by(version_stages.c.set_at)
    )
    return {
        (row.flow_id, row.stage): (row.id, Change(number=row.number, changed_from=None, run_id=row.run_id))
        for row in tx.conn.execute(query)
    }


def sync_edges(tx: Transaction, unsynced: list[dict[str, Any]]) -> None:
    """Store on the edges that `load` found out of date what the current runs of their readers read over them."""
    if unsynced:
        tx.conn.execute(
            update(flow_inputs)
            .where(flow_inputs.c.tenant_id == tx.tenant_id, flow_inputs.c.id == bindparam("edge"))
            .values(read_until=bindparam("until"), is_read=bindparam("read")),
            unsynced,
        )
