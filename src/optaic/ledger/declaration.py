"""Writing what is declared: projects, definitions, instances with their revisions and flows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, insert, select, update

from optaic.domain.identifier import new_id
from optaic.domain.kind import FlowKind, InstanceKind
from optaic.ledger.catalog import Flow
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import (
    definition_versions,
    definitions,
    flow_inputs,
    flows,
    instance_revisions,
    instances,
    projects,
    source_snapshots,
)


def add_instance(
    tx: Transaction,
    *,
    name: str,
    kind: InstanceKind,
    project_id: uuid.UUID | None,
    flow_kinds: Iterable[FlowKind],
    config: Mapping[str, Any],
    config_digest: str,
    policies: Mapping[str, Any],
    freshness_spec: Mapping[str, Any] | None = None,
    definition_id: uuid.UUID | None = None,
    definition_version_id: uuid.UUID | None = None,
    source_digest: str | None = None,
    engine: str = "local",
) -> dict[FlowKind, uuid.UUID]:
    """Insert an instance with its first revision and its flows; give the flows' ids by kind."""
    instance_id, revision_id = new_id(), new_id()
    tx.conn.execute(
        insert(instances).values(
            tenant_id=tx.tenant_id,
            id=instance_id,
            project_id=project_id,
            name=name,
            kind=kind,
            revision_number=1,
            created_at=db_now(),
        )
    )
    _insert_revision(
        tx,
        instance_id,
        revision_id,
        number=1,
        definition_id=definition_id,
        config=config,
        config_digest=config_digest,
    )
    return {
        flow_kind: _insert_flow(
            tx,
            instance_id=instance_id,
            kind=flow_kind,
            policies=policies,
            freshness_spec=freshness_spec,
            revision_id=revision_id,
            definition_version_id=definition_version_id,
            source_digest=source_digest,
            engine=engine,
        )
        for flow_kind in flow_kinds
    }


def _insert_flow(tx: Transaction, **values: Any) -> uuid.UUID:
    flow_id = new_id()
    tx.conn.execute(insert(flows).values(tenant_id=tx.tenant_id, id=flow_id, created_at=db_now(), **values))
    return flow_id


def keep_flows(tx: Transaction, flow: Flow, kinds: Iterable[FlowKind]) -> bool:
    """Make the live flows of an instance those of some kinds; whether any was made, taken back or archived.

    A flow that is no longer declared takes no part, and its edges end; declared again, it is the same flow.

    Parameters
    ----------
    tx
        An open transaction; the caller holds the graph lock.
    flow
        The main flow of the instance, as it is now: a new flow has its policies, its revision and its code.
    kinds
        What is declared.
    """
    wanted = set(kinds)
    rows = tx.conn.execute(
        select(flows.c.id, flows.c.kind, flows.c.archived_at).where(
            flows.c.tenant_id == tx.tenant_id, flows.c.instance_id == flow.instance_id
        )
    ).all()
    present = {FlowKind(row.kind): row for row in rows}
    for kind in wanted - present.keys():
        _insert_flow(
            tx,
            instance_id=flow.instance_id,
            kind=kind,
            policies=flow.policies,
            freshness_spec=flow.freshness_spec,
            revision_id=flow.revision_id,
            definition_version_id=flow.definition_version_id,
            source_digest=flow.source_digest,
            engine=flow.engine,
        )
    back = [row.id for kind, row in present.items() if kind in wanted and row.archived_at is not None]
    gone = [row.id for kind, row in present.items() if kind not in wanted and row.archived_at is None]
    for ids, archived_at in ((back, None), (gone, db_now())):
        if ids:
            tx.conn.execute(
                update(flows)
                .where(flows.c.tenant_id == tx.tenant_id, flows.c.id.in_(ids))
                .values(archived_at=archived_at)
            )
    if gone:
        tx.conn.execute(
            update(flow_inputs)
            .where(
                flow_inputs.c.tenant_id == tx.tenant_id,
                flow_inputs.c.flow_id.in_(gone),
                flow_inputs.c.ended_at.is_(None),
            )
            .values(ended_at=db_now())
        )
    return bool(wanted - present.keys() or back or gone)


def add_revision(
    tx: Transaction,
    flow: Flow,
    *,
    config: Mapping[str, Any],
    config_digest: str,
    definition_id: uuid.UUID | None,
) -> uuid.UUID:
    """Insert the next revision of an instance and make it the current one of all its flows."""
    revision_id = new_id()
    number = flow.revision_number + 1
    _insert_revision(
        tx,
        flow.instance_id,
        revision_id,
        number=number,
        definition_id=definition_id,
        config=config,
        config_digest=config_digest,
    )
    tx.conn.execute(
        update(instances)
        .where(instances.c.tenant_id == tx.tenant_id, instances.c.id == flow.instance_id)
        .values(revision_number=number)
    )
    set_flows(tx, flow.instance_id, revision_id=revision_id)
    return revision_id


def set_flows(tx: Transaction, instance_id: uuid.UUID, *, kind: FlowKind | None = None, **values: Any) -> None:
    """Set columns of all flows of an instance, or of the one of a kind."""
    of = [] if kind is None else [flows.c.kind == kind]
    tx.conn.execute(
        update(flows).where(flows.c.tenant_id == tx.tenant_id, flows.c.instance_id == instance_id, *of).values(**values)
    )


def _insert_revision(
    tx: Transaction,
    instance_id: uuid.UUID,
    revision_id: uuid.UUID,
    *,
    number: int,
    definition_id: uuid.UUID | None,
    config: Mapping[str, Any],
    config_digest: str,
) -> None:
    tx.conn.execute(
        insert(instance_revisions).values(
            tenant_id=tx.tenant_id,
            id=revision_id,
            instance_id=instance_id,
            number=number,
            definition_id=definition_id,
            config=config,
            config_digest=config_digest,
            created_at=db_now(),
            created_by=tx.actor_id,
        )
    )


def archive(tx: Transaction, instance_id: uuid.UUID) -> None:
    """End an instance, its flows and the edges into them; nothing is deleted."""
    tx.conn.execute(
        update(instances)
        .where(instances.c.tenant_id == tx.tenant_id, instances.c.id == instance_id)
        .values(archived_at=db_now())
    )
    set_flows(tx, instance_id, archived_at=db_now())
    own = select(flows.c.id).where(flows.c.tenant_id == tx.tenant_id, flows.c.instance_id == instance_id)
    tx.conn.execute(
        update(flow_inputs)
        .where(
            flow_inputs.c.tenant_id == tx.tenant_id, flow_inputs.c.flow_id.in_(own), flow_inputs.c.ended_at.is_(None)
        )
        .values(ended_at=db_now())
    )


def put_definition(
    tx: Transaction,
    *,
    code_ref: str,
    code_digest: str,
    params_schema: Mapping[str, Any],
    distribution: str | None,
    distribution_version: str | None,
) -> tuple[uuid.UUID, uuid.UUID]:
    """Find or insert a definition and its version of this code; give (definition id, version id)."""
    definition_id = tx.conn.execute(
        select(definitions.c.id).where(definitions.c.tenant_id == tx.tenant_id, definitions.c.code_ref == code_ref)
    ).scalar_one_or_none()
    if definition_id is None:
        definition_id = new_id()
        tx.conn.execute(
            insert(definitions).values(tenant_id=tx.tenant_id, id=definition_id, code_ref=code_ref, created_at=db_now())
        )
    version_id = tx.conn.execute(
        select(definition_versions.c.id).where(
            definition_versions.c.tenant_id == tx.tenant_id,
            definition_versions.c.definition_id == definition_id,
            definition_versions.c.code_digest == code_digest,
        )
    ).scalar_one_or_none()
    if version_id is None:
        version_id = new_id()
        tx.conn.execute(
            insert(definition_versions).values(
                tenant_id=tx.tenant_id,
                id=version_id,
                definition_id=definition_id,
                code_digest=code_digest,
                distribution=distribution,
                distribution_version=distribution_version,
                params_schema=params_schema,
                created_at=db_now(),
            )
        )
    return definition_id, version_id


def put_project(tx: Transaction, name: str) -> uuid.UUID:
    """Find or insert a project."""
    found = tx.conn.execute(
        select(projects.c.id).where(projects.c.tenant_id == tx.tenant_id, projects.c.name == name)
    ).scalar_one_or_none()
    if found is not None:
        return found
    made = new_id()
    tx.conn.execute(insert(projects).values(tenant_id=tx.tenant_id, id=made, name=name, created_at=db_now()))
    return made


def touch_project(tx: Transaction, project_id: uuid.UUID, *, applied_digest: str, source_digest: str | None) -> None:
    """Note what was applied last."""
    tx.conn.execute(
        update(projects)
        .where(projects.c.tenant_id == tx.tenant_id, projects.c.id == project_id)
        .values(applied_digest=applied_digest, source_digest=source_digest, applied_at=db_now())
    )


def has_source(tx: Transaction, digest: str) -> bool:
    """Whether a source snapshot is stored."""
    query = select(source_snapshots.c.digest).where(
        source_snapshots.c.tenant_id == tx.tenant_id, source_snapshots.c.digest == digest
    )
    return tx.conn.execute(query).first() is not None


def put_source(
    tx: Transaction, *, digest: str, storage_key: str, size_bytes: int, sha256: str, file_count: int
) -> None:
    """Note where a source snapshot is stored, unless it was noted already."""
    if not has_source(tx, digest):
        tx.conn.execute(
            insert(source_snapshots).values(
                tenant_id=tx.tenant_id,
                digest=digest,
                storage_key=storage_key,
                size_bytes=size_bytes,
                sha256=sha256,
                file_count=file_count,
                created_at=db_now(),
            )
        )


def add_input(
    tx: Transaction,
    *,
    flow_id: uuid.UUID,
    upstream_flow_id: uuid.UUID,
    role: str,
    columns: Sequence[str],
    selector: str,
    position: int,
    kind: str = "data_dependency",
) -> None:
    """Insert a lineage edge; the caller holds the graph lock.

    `selector` is `current`, `stage:NAME` or `version:N`.
    """
    word, _, value = selector.partition(":")
    tx.conn.execute(
        insert(flow_inputs).values(
            tenant_id=tx.tenant_id,
            id=new_id(),
            flow_id=flow_id,
            upstream_flow_id=upstream_flow_id,
            role=role,
            kind=kind,
            columns=list(columns) or None,
            selector=word,
            selector_stage=value if word == "stage" else None,
            selector_version=int(value) if word == "version" else None,
            position=position,
            created_at=db_now(),
        )
    )


def end_inputs(tx: Transaction, ids: Sequence[uuid.UUID]) -> None:
    """Withdraw lineage edges; their history stays."""
    if ids:
        tx.conn.execute(
            update(flow_inputs)
            .where(flow_inputs.c.tenant_id == tx.tenant_id, flow_inputs.c.id.in_(ids))
            .values(ended_at=db_now())
        )


def readers_of(tx: Transaction, instance_id: uuid.UUID) -> list[tuple[uuid.UUID, str]]:
    """Read the live flows that read an instance's flows, as (flow id, instance name)."""
    upstream, reader, reading = flows.alias("upstream"), flows.alias("reader"), instances.alias("reading")
    query = (
        select(reader.c.id, reading.c.name)
        .select_from(flow_inputs)
        .join(
            upstream,
            and_(upstream.c.tenant_id == flow_inputs.c.tenant_id, upstream.c.id == flow_inputs.c.upstream_flow_id),
        )
        .join(reader, and_(reader.c.tenant_id == flow_inputs.c.tenant_id, reader.c.id == flow_inputs.c.flow_id))
        .join(reading, and_(reading.c.tenant_id == reader.c.tenant_id, reading.c.id == reader.c.instance_id))
        .where(
            flow_inputs.c.tenant_id == tx.tenant_id,
            flow_inputs.c.ended_at.is_(None),
            upstream.c.instance_id == instance_id,
        )
    )
    return [(row.id, row.name) for row in tx.conn.execute(query)]
