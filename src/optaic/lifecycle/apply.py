"""Apply: bring what a project file declares into the ledger. Idempotent; touches no other project's instances."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from optaic.domain.config import config_digest
from optaic.domain.fingerprint import canonical_json
from optaic.domain.identifier import new_id
from optaic.domain.kind import InstanceKind, target_name
from optaic.domain.lineage import find_cycle
from optaic.domain.parameters import START, check_params
from optaic.errors import ConflictError, InvalidInputError, NotFoundError, ObjectExistsError
from optaic.flows.code import CodeLocation, code_digest, locate, params_schema
from optaic.flows.estimator import check_estimator
from optaic.flows.signature import check_means, check_parts, optimizer_schema
from optaic.flows.source import SourceSnapshot, source_snapshot
from optaic.ledger import activities, catalog, declaration, schedules
from optaic.ledger.catalog import Flow, FlowInput
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.lifecycle import trigger
from optaic.lifecycle.expect import good_until
from optaic.lifecycle.propagate import propagate
from optaic.lifecycle.upstream import find_upstream
from optaic.project import InputSpec, InstanceSpec, Project
from optaic.settings import read_settings

if TYPE_CHECKING:
    from optaic.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What applying did, or would do, to one instance.

    `action` is `created`, `updated`, `archived`, `unchanged`, or `kept` for one that the file no longer has and that
    `--prune` would archive. `details` says what differs: `config`, `code`, `flows`, `inputs`, `policies`, `schedule`.
    """

    action: str
    instance: str
    kind: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What applying a project file did, or would do, by instance."""

    project: str
    items: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return all(item.action in ("unchanged", "kept") for item in self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A declared instance with what its code says."""

    spec: InstanceSpec
    location: CodeLocation
    code_digest: str
    schema: Mapping[str, Any]
    config: Mapping[str, Any]
    config_digest: str
    policies: Mapping[str, Any]


class _DryRun(Exception):  # noqa: N818 - not an error: it undoes the transaction of a dry run
    def __init__(self, changes: Changes) -> None:
        self.changes = changes


def apply(
    database: Database, store: ObjectStore | None, project: Project, *, prune: bool = False, dry_run: bool = False
) -> Changes:
    """Declare what a project file says, in one transaction.

    Parameters
    ----------
    database
        The ledger.
    store
        Where the project's source is kept; None for a dry run.
    project
        What the file says.
    prune
        Archive the project's instances that the file no longer has; nothing is deleted.
    dry_run
        Undo everything at the end.

    Returns
    -------
    Changes
        By instance, in the file's order.

    Raises
    ------
    InvalidInputError
        If a definition, a parameter or an input is wrong; the message names the place in the file.
    ConflictError
        If another project owns an instance of the same name, its kind changed, or others read what would be archived.
    StorageError
        If the source cannot be stored.
    """
    prepared = [_prepare(project, spec) for spec in project.instances]
    snapshot = source_snapshot(project.root)
    if store is not None and not dry_run:
        _keep_source(database, store, snapshot)
    try:
        with database.write(correlation_id=new_id()) as tx:
            lock_graph(tx)
            declaration.put_source(
                tx,
                digest=snapshot.digest,
                storage_key=_source_key(tx.tenant_id, snapshot.digest),
                size_bytes=len(snapshot.data),
                sha256=snapshot.sha256,
                file_count=snapshot.file_count,
            )
            changes = _apply(tx, project, prepared, snapshot.digest, prune=prune)
            if dry_run:
                raise _DryRun(changes)
            return changes
    except _DryRun as done:
        return done.changes


def _prepare(project: Project, spec: InstanceSpec) -> _Prepared:
    if spec.definition is None:
        raise project.error(spec, f"{spec.name} has no definition", next_step="give it one: package.module:function")
    try:
        location = locate(spec.definition, project.root)
        is_model = spec.kind is InstanceKind.MODEL
        given = (START,) if spec.kind is InstanceKind.DATASET else ()
        if spec.kind is InstanceKind.PORTFOLIO_OPTIMIZER:
            schema = optimizer_schema(location, project.root)
            asked = ["constraints"] if spec.config["optimizer"]["constraints"] else []
            check_means(location, [*asked, *(item.role for item in spec.inputs)], instance=spec.name)
        else:
            schema = params_schema(location, given=given, takes_context=not is_model)
        if is_model:
            check_estimator(location, read_settings(project.root, os.environ).estimators)
    except (InvalidInputError, NotFoundError) as error:
        raise project.error(spec, error.message, next_step=error.next_step, place=("definition",)) from error
    try:
        params = check_params(schema, spec.params, instance=spec.name)
        if spec.kind is InstanceKind.PORTFOLIO_OPTIMIZER:
            check_parts(params, project.root, instance=spec.name)
    except (InvalidInputError, NotFoundError) as error:
        raise project.error(spec, error.message, next_step=error.next_step, place=("params",)) from error
    config = {**spec.config, "params": params}
    return _Prepared(
        spec=spec,
        location=location,
        code_digest=code_digest(location),
        schema=schema,
        config=config,
        config_digest=config_digest(config),
        policies=spec.policies,
    )


def _keep_source(database: Database, store: ObjectStore, snapshot: SourceSnapshot) -> None:
    """Store the project's source under its digest, unless it is there already; the row follows in the transaction."""
    with database.read() as tx:
        if declaration.has_source(tx, snapshot.digest):
            return
    # Under way twice, or left by an apply that was killed before its transaction: the same digest, the same bytes.
    with suppress(ObjectExistsError):
        store.put(_source_key(database.tenant_id, snapshot.digest), snapshot.data)


def _source_key(tenant_id: int, digest: str) -> str:
    return f"t{tenant_id}/sources/{digest}.tar.gz"


def _apply(
    tx: Transaction, project: Project, prepared: Sequence[_Prepared], source_digest: str, *, prune: bool
) -> Changes:
    project_id = declaration.put_project(tx, project.name)
    present = catalog.live_flows(tx)
    before = {flow.instance: flow for flow in present if flow.is_main}
    made: dict[str, list[str]] = {}
    for item in prepared:
        flow = before.get(item.spec.name)
        if flow is not None:
            _check_owner(project, project_id, item.spec, flow)
        made[item.spec.name] = _declare(tx, project_id, item, flow, source_digest)
    live = {flow.target: flow for flow in catalog.live_flows(tx)}
    edges: dict[uuid.UUID, list[FlowInput]] = {}
    for edge in catalog.all_inputs(tx):
        edges.setdefault(edge.flow_id, []).append(edge)
    for item in prepared:
        details = made[item.spec.name]
        if _connect_all(tx, project, item.spec, live, edges) and details != ["created"]:
            details.append("inputs")
        if schedules.declare(tx, live[item.spec.name].id, item.spec.schedule) and details != ["created"]:
            details.append("schedule")
    _refuse_cycles(tx, live)
    items = [_change(tx, item, made[item.spec.name], live) for item in prepared]
    declared = {item.spec.name for item in prepared}
    gone = [flow for flow in present if flow.project_id == project_id and flow.instance not in declared]
    items += [_leave(tx, flow, gone, prune=prune) for flow in gone if flow.is_main]
    touched = {flow.id for flow in live.values() if made.get(flow.instance)}
    cause = {"kind": "apply", "project": project.name, "source_digest": source_digest}
    settled = propagate(tx, touched, cause=cause)
    trigger.fire(tx, {*touched, *settled.downstream})
    declaration.touch_project(tx, project_id, applied_digest=project.digest, source_digest=source_digest)
    return Changes(project=project.name, items=tuple(items))


def _check_owner(project: Project, project_id: uuid.UUID, spec: InstanceSpec, flow: Flow) -> None:
    if flow.project_id != project_id:
        raise ConflictError(
            project.error(spec, f"another project owns an instance named {spec.name!r}").message,
            next_step="use another name; names are unique within a ledger",
        )
    if flow.instance_kind is not spec.kind:
        raise ConflictError(
            project.error(spec, f"{spec.name} is a {flow.instance_kind}; it cannot become a {spec.kind}").message,
            next_step="use another name, or take it out of the file, optaic apply --prune, and declare it anew",
        )


def _declare(
    tx: Transaction, project_id: uuid.UUID, item: _Prepared, flow: Flow | None, source_digest: str
) -> list[str]:
    """Create or update an instance; say what differs, `["created"]` for a new one."""
    kind = item.spec.kind
    definition_id, version_id = declaration.put_definition(
        tx,
        code_ref=item.location.code_ref,
        code_digest=item.code_digest,
        params_schema=item.schema,
        distribution=item.location.distribution,
        distribution_version=item.location.distribution_version,
    )
    if flow is None:
        declaration.add_instance(
            tx,
            name=item.spec.name,
            kind=kind,
            project_id=project_id,
            flow_kinds=list(item.spec.flow_inputs),
            config=item.config,
            config_digest=item.config_digest,
            policies=item.policies,
            freshness_spec=item.spec.freshness,
            definition_id=definition_id,
            definition_version_id=version_id,
            source_digest=source_digest,
        )
        return ["created"]
    details: list[str] = []
    if declaration.keep_flows(tx, flow, item.spec.flow_inputs):
        details.append("flows")
    if canonical_json(flow.config) != canonical_json(item.config):
        declaration.add_revision(
            tx, flow, config=item.config, config_digest=item.config_digest, definition_id=definition_id
        )
        details.append("config")
    if flow.definition_version_id != version_id:
        details.append("code")
    if canonical_json(flow.policies) != canonical_json(item.policies):
        details.append("policies")
    if flow.freshness_spec != item.spec.freshness and flow.source_asked_at is not None:
        good = good_until(replace(flow, freshness_spec=item.spec.freshness), flow.last_data_date, flow.source_asked_at)
        expected = {"ready_until": good.ready_until, "expected_date": good.expected_date}
        declaration.set_flows(tx, flow.instance_id, kind=flow.kind, **expected)
    declaration.set_flows(
        tx,
        flow.instance_id,
        definition_version_id=version_id,
        policies=item.policies,
        freshness_spec=item.spec.freshness,
        source_digest=source_digest,
    )
    return details


def _connect_all(
    tx: Transaction,
    project: Project,
    spec: InstanceSpec,
    live: Mapping[str, Flow],
    edges: Mapping[uuid.UUID, Sequence[FlowInput]],
) -> bool:
    """Make the edges into the flows of an instance those that are declared; whether any differed."""
    differ = False
    for kind, inputs in spec.flow_inputs.items():
        flow = live[target_name(spec.name, spec.kind, kind)]
        differ |= _connect(tx, project, spec, flow, inputs, live=live, edges=edges.get(flow.id, ()))
    return differ


def _connect(
    tx: Transaction,
    project: Project,
    spec: InstanceSpec,
    flow: Flow,
    inputs: Sequence[InputSpec],
    *,
    live: Mapping[str, Flow],
    edges: Sequence[FlowInput],
) -> bool:
    before = {item.role: item for item in edges}
    wanted = {item.role: (item, find_upstream(tx, project, spec, item, live)) for item in inputs}
    ended = [item.id for role, item in before.items() if role not in wanted or not _same(item, *wanted[role])]
    declaration.end_inputs(tx, ended)
    is_new = False
    for position, (role, (item, upstream)) in enumerate(wanted.items()):
        if role not in before or not _same(before[role], item, upstream):
            is_new = True
            declaration.add_input(
                tx,
                flow_id=flow.id,
                upstream_flow_id=upstream.id,
                role=role,
                columns=item.columns,
                selector=item.selector,
                position=position,
            )
    return is_new or bool(ended)


def _same(before: FlowInput, wanted: InputSpec, upstream: Flow) -> bool:
    return (before.upstream_flow_id, before.columns, before.selector_text) == (
        upstream.id,
        tuple(wanted.columns),
        wanted.selector,
    )


def _refuse_cycles(tx: Transaction, live: Mapping[str, Flow]) -> None:
    names = {flow.id: flow.target for flow in live.values()}
    edges = [(item.upstream_flow_id, item.flow_id) for item in catalog.all_inputs(tx)]
    cycle = find_cycle(edges)
    if cycle is not None:
        path = " -> ".join(names.get(flow_id, str(flow_id)) for flow_id in cycle)
        raise InvalidInputError(f"the inputs form a cycle: {path}", next_step="take one of these inputs out")


def _change(tx: Transaction, item: _Prepared, details: list[str], live: Mapping[str, Flow]) -> Change:
    action = "unchanged" if not details else "created" if details == ["created"] else "updated"
    shown = () if action == "created" else tuple(details)
    if action != "unchanged":
        flow = live[item.spec.name]
        facts = {"name": item.spec.name, "kind": flow.instance_kind, "changed": list(shown)}
        activities.record(tx, f"instance.{action}", flow.instance_id, facts)
    return Change(action=action, instance=item.spec.name, kind=item.spec.kind, details=shown)


def _leave(tx: Transaction, flow: Flow, gone: Sequence[Flow], *, prune: bool) -> Change:
    """Archive an instance that the file no longer has, or keep it."""
    if not prune:
        return Change(action="kept", instance=flow.instance, kind=flow.instance_kind)
    leaving = {other.id for other in gone}
    readers = sorted(
        {reader for reader_id, reader in declaration.readers_of(tx, flow.instance_id) if reader_id not in leaving}
    )
    if readers:
        raise ConflictError(
            f"{flow.instance} cannot be archived: {', '.join(readers)} read it",
            next_step="take these inputs out first",
        )
    declaration.archive(tx, flow.instance_id)
    activities.record(tx, "instance.archived", flow.instance_id, {"name": flow.instance, "kind": flow.instance_kind})
    return Change(action="archived", instance=flow.instance, kind=flow.instance_kind)
