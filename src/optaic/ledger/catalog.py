"""Instances, their revisions and flows, definitions, projects, and the edges between flows."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, select

from optaic.domain.kind import FlowKind, InstanceKind, main_flow_kind
from optaic.domain.status import Freshness
from optaic.errors import InvalidInputError, NotFoundError
from optaic.ledger.columns import among
from optaic.ledger.session import Transaction
from optaic.ledger.tables import (
    definition_versions,
    definitions,
    flow_inputs,
    flows,
    instance_revisions,
    instances,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow with what it would run with now: its instance, current config revision and current code.

    `params_schema` is None for built-in procedures. `last_attempt_ok` is None before the first official run ended.
    """

    id: uuid.UUID
    kind: FlowKind
    instance_id: uuid.UUID
    instance: str
    instance_kind: InstanceKind
    project_id: uuid.UUID | None
    revision_id: uuid.UUID
    revision_number: int
    config: Mapping[str, Any]
    config_digest: str
    definition_version_id: uuid.UUID | None
    code_ref: str | None
    code_digest: str | None
    params_schema: Mapping[str, Any] | None
    source_digest: str | None
    policies: Mapping[str, Any]
    freshness_spec: Mapping[str, Any] | None
    freshness: Freshness
    current_version_id: uuid.UUID | None
    current_run_id: uuid.UUID | None
    last_attempt_run_id: uuid.UUID | None
    last_attempt_ok: bool | None
    last_data_date: dt.date | None
    expected_date: dt.date | None
    source_asked_at: dt.datetime | None
    engine: str
    archived_at: dt.datetime | None

    @property
    def is_main(self) -> bool:
        """Whether it is the flow that the bare name of its instance means."""
        return main_flow_kind(self.instance_kind) is self.kind

    @property
    def target(self) -> str:
        """How people name it: the instance, with the flow kind where it is not the instance's main one."""
        return self.instance if self.is_main else f"{self.instance}.{self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowInput:
    """A live lineage edge, with the upstream's present state."""

    id: uuid.UUID
    flow_id: uuid.UUID
    role: str
    kind: str
    columns: tuple[str, ...]
    selector: str
    selector_stage: str | None
    selector_version: int | None
    upstream_flow_id: uuid.UUID
    upstream_instance: str
    upstream_instance_kind: InstanceKind
    upstream_kind: FlowKind
    upstream_version_id: uuid.UUID | None

    @property
    def selector_text(self) -> str:
        """How people write the selector: `current`, `stage:champion`, `version:3`."""
        match self.selector:
            case "stage":
                return f"stage:{self.selector_stage}"
            case "version":
                return f"version:{self.selector_version}"
            case _:
                return self.selector


def _select_flows() -> Select[Any]:
    return (
        select(
            flows,
            instances.c.name.label("instance"),
            instances.c.kind.label("instance_kind"),
            instances.c.project_id,
            instance_revisions.c.number.label("revision_number"),
            instance_revisions.c.config,
            instance_revisions.c.config_digest,
            definition_versions.c.code_digest,
            definition_versions.c.params_schema,
            definitions.c.code_ref,
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
        .outerjoin(
            definitions,
            and_(
                definitions.c.tenant_id == definition_versions.c.tenant_id,
                definitions.c.id == definition_versions.c.definition_id,
            ),
        )
    )


# Building a statement takes longer than sending it, so those of every run are built once.
@cache
def _select_flow() -> Select[Any]:
    return _select_flows().where(flows.c.tenant_id == bindparam("tenant"), flows.c.id == bindparam("flow"))


@cache
def _select_flows_of() -> Select[Any]:
    return _select_flows().where(
        flows.c.tenant_id == bindparam("tenant"),
        instances.c.name == bindparam("name"),
        instances.c.archived_at.is_(None),
        flows.c.archived_at.is_(None),
    )


def _to_flow(row: Row[Any]) -> Flow:
    return Flow(
        id=row.id,
        kind=FlowKind(row.kind),
        instance_id=row.instance_id,
        instance=row.instance,
        instance_kind=InstanceKind(row.instance_kind),
        project_id=row.project_id,
        revision_id=row.revision_id,
        revision_number=row.revision_number,
        config=row.config,
        config_digest=row.config_digest,
        definition_version_id=row.definition_version_id,
        code_ref=row.code_ref,
        code_digest=row.code_digest,
        params_schema=row.params_schema,
        source_digest=row.source_digest,
        policies=row.policies,
        freshness_spec=row.freshness_spec,
        freshness=Freshness(row.freshness),
        current_version_id=row.current_version_id,
        current_run_id=row.current_run_id,
        last_attempt_run_id=row.last_attempt_run_id,
        last_attempt_ok=None if row.last_attempt_ok is None else bool(row.last_attempt_ok),
        last_data_date=row.last_data_date,
        expected_date=row.expected_date,
        source_asked_at=row.source_asked_at,
        engine=row.engine,
        archived_at=row.archived_at,
    )


def get_flow(tx: Transaction, flow_id: uuid.UUID) -> Flow:
    """Read a flow.

    Raises
    ------
    NotFoundError
        If this tenant has no such flow.
    """
    row = tx.conn.execute(_select_flow(), {"tenant": tx.tenant_id, "flow": flow_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no flow {flow_id}")
    return _to_flow(row)


def config_of(tx: Transaction, revision_id: uuid.UUID) -> Mapping[str, Any]:
    """Read the config of a revision."""
    query = select(instance_revisions.c.config).where(
        instance_revisions.c.tenant_id == tx.tenant_id, instance_revisions.c.id == revision_id
    )
    return tx.conn.execute(query).scalar_one()


def split_target(target: str) -> tuple[str, FlowKind | None]:
    """Split `instance` or `instance.flow_kind`.

    Raises
    ------
    InvalidInputError
        If there is no such kind of flow.
    """
    name, dot, kind = target.partition(".")
    if not dot:
        return name, None
    try:
        return name, FlowKind(kind)
    except ValueError:
        raise InvalidInputError(
            f"{kind!r} in {target!r} is not a kind of flow",
            next_step=f"use one of {', '.join(FlowKind)}, or the instance's name alone",
        ) from None


def find_flow(tx: Transaction, target: str) -> Flow:
    """Read the live flow that a person means: `instance`, or `instance.flow_kind`.

    Raises
    ------
    NotFoundError
        If there is no such instance, or it has no such flow; the message names similar ones.
    InvalidInputError
        If there is no such kind of flow.
    """
    name, kind = split_target(target)
    found = [_to_flow(row) for row in tx.conn.execute(_select_flows_of(), {"tenant": tx.tenant_id, "name": name})]
    if not found:
        raise NotFoundError(
            _unknown(name, instance_names(tx)), next_step="declare it in optaic.yaml, then: optaic apply"
        )
    wanted = kind or main_flow_kind(found[0].instance_kind)
    for flow in found:
        if flow.kind is wanted:
            return flow
    has = ", ".join(sorted(flow.kind for flow in found))
    raise NotFoundError(f"{name} has no {wanted} flow; it has: {has}")


def _unknown(name: str, names: Sequence[str]) -> str:
    import difflib

    similar = difflib.get_close_matches(name, names, n=1)
    return f"there is no instance {name!r}" + (f"; did you mean {similar[0]!r}?" if similar else "")


def instance_names(tx: Transaction) -> list[str]:
    """List the names of the live instances, sorted."""
    query = (
        select(instances.c.name)
        .where(instances.c.tenant_id == tx.tenant_id, instances.c.archived_at.is_(None))
        .order_by(instances.c.name)
    )
    return list(tx.conn.execute(query).scalars())


def live_flows(
    tx: Transaction, flow_ids: Collection[uuid.UUID] | None = None, *, project_id: uuid.UUID | None = None
) -> list[Flow]:
    """Read all live flows, by instance name and kind; of some, or of one project, if asked."""
    query = _select_flows().where(
        flows.c.tenant_id == tx.tenant_id, instances.c.archived_at.is_(None), flows.c.archived_at.is_(None)
    )
    if flow_ids is not None:
        query = query.where(among(flows.c.id, flow_ids, is_postgresql=tx.is_postgresql))
    if project_id is not None:
        query = query.where(instances.c.project_id == project_id)
    return [_to_flow(row) for row in tx.conn.execute(query.order_by(instances.c.name, flows.c.kind))]


def inputs_of(tx: Transaction, flow_ids: Iterable[uuid.UUID]) -> list[FlowInput]:
    """Read the live edges into some flows, in order of declaration, with the upstreams' current versions."""
    return _inputs(tx, flow_inputs.c.flow_id.in_(list(flow_ids)))


def all_inputs(tx: Transaction) -> list[FlowInput]:
    """Read all live edges, in order of declaration, with the upstreams' current versions."""
    return _inputs(tx)


def _inputs(tx: Transaction, *conditions: ColumnElement[bool]) -> list[FlowInput]:
    upstream = flows.alias("upstream")
    query = (
        select(
            flow_inputs,
            upstream.c.kind.label("upstream_kind"),
            upstream.c.current_version_id.label("upstream_version_id"),
            instances.c.name.label("upstream_instance"),
            instances.c.kind.label("upstream_instance_kind"),
        )
        .join(
            upstream,
            and_(upstream.c.tenant_id == flow_inputs.c.tenant_id, upstream.c.id == flow_inputs.c.upstream_flow_id),
        )
        .join(instances, and_(instances.c.tenant_id == upstream.c.tenant_id, instances.c.id == upstream.c.instance_id))
        .where(
            flow_inputs.c.tenant_id == tx.tenant_id,
            flow_inputs.c.ended_at.is_(None),
            *conditions,
        )
        .order_by(flow_inputs.c.flow_id, flow_inputs.c.position)
    )
    return [
        FlowInput(
            id=row.id,
            flow_id=row.flow_id,
            role=row.role,
            kind=row.kind,
            columns=tuple(row.columns or ()),
            selector=row.selector,
            selector_stage=row.selector_stage,
            selector_version=row.selector_version,
            upstream_flow_id=row.upstream_flow_id,
            upstream_instance=row.upstream_instance,
            upstream_instance_kind=InstanceKind(row.upstream_instance_kind),
            upstream_kind=FlowKind(row.upstream_kind),
            upstream_version_id=row.upstream_version_id,
        )
        for row in tx.conn.execute(query)
    ]
