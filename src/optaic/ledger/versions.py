"""Versions of flows, their segments, and the artifacts of runs."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, and_, func, insert, select

from optaic.domain.artifact import Artifact, StoredObject
from optaic.domain.fingerprint import digest_of
from optaic.domain.identifier import new_id
from optaic.domain.version import Column, DatasetVersion, FileVersion, Segment, SegmentRole, Version, content_digest
from optaic.errors import NotFoundError
from optaic.flows.task import Output
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import artifacts, flows, runs, segments, version_segments, versions

_INSERT_ARTIFACTS = insert(artifacts).values(created_at=db_now())


def publish_dataset(
    tx: Transaction,
    *,
    flow_id: uuid.UUID,
    run_id: uuid.UUID,
    previous: DatasetVersion | None,
    key_columns: Sequence[str],
    columns: Sequence[Column],
    new_segments: Sequence[Segment],
    row_count: int,
    first_data_date: dt.date | None,
    last_data_date: dt.date | None,
    changed_from: dt.date | None,
    changed_columns: Sequence[str],
    keeps_previous: bool = True,
) -> uuid.UUID:
    """Insert the next version of a dataset: the previous one's segments, if they are kept, and the new ones.

    The caller holds the graph lock and completes the run in the same transaction.

    Returns
    -------
    uuid.UUID
        The version's id.
    """
    version_id = new_id()
    all_segments = (*(previous.segments if previous and keeps_previous else ()), *new_segments)
    tx.conn.execute(
        insert(versions).values(
            tenant_id=tx.tenant_id,
            id=version_id,
            flow_id=flow_id,
            number=previous.number + 1 if previous else 1,
            run_id=run_id,
            previous_id=previous.id if previous else None,
            content_digest=content_digest(all_segments),
            key_columns=list(key_columns),
            columns=[{"name": column.name, "dtype": column.dtype} for column in columns],
            row_count=row_count,
            first_data_date=first_data_date,
            last_data_date=last_data_date,
            changed_from=changed_from,
            changed_columns=list(changed_columns) or None,
            created_at=db_now(),
        )
    )
    ids = [new_id() for _ in new_segments]
    tx.conn.execute(
        insert(segments).values(created_at=db_now()),
        [
            {
                "tenant_id": tx.tenant_id,
                "id": segment_id,
                "flow_id": flow_id,
                "run_id": run_id,
                "storage_key": segment.key,
                "role": segment.role,
                "row_count": segment.row_count,
                "size_bytes": segment.size_bytes,
                "sha256": segment.sha256,
                "first_date": segment.first_date,
                "last_date": segment.last_date,
                "first_known_at": segment.first_known_at,
                "last_known_at": segment.last_known_at,
            }
            for segment_id, segment in zip(ids, new_segments, strict=True)
        ],
    )
    kept = 0
    if previous is not None and keeps_previous:
        # The previous list is copied inside the database: a dataset refreshed daily for years has thousands.
        kept = len(previous.segments)
        tx.conn.execute(
            insert(version_segments).from_select(
                ["tenant_id", "version_id", "position", "segment_id"],
                select(
                    version_segments.c.tenant_id,
                    _constant(version_id),
                    version_segments.c.position,
                    version_segments.c.segment_id,
                ).where(version_segments.c.tenant_id == tx.tenant_id, version_segments.c.version_id == previous.id),
            )
        )
    tx.conn.execute(
        insert(version_segments),
        [
            {"tenant_id": tx.tenant_id, "version_id": version_id, "position": kept + index, "segment_id": segment_id}
            for index, segment_id in enumerate(ids)
        ],
    )
    return version_id


def publish_output(
    tx: Transaction, *, flow_id: uuid.UUID, run_id: uuid.UUID, output: Output, files: Sequence[Artifact]
) -> uuid.UUID | None:
    """Insert the next version of a flow that makes files, unless the files are those of its current version.

    The caller holds the graph lock and completes the run in the same transaction.

    Returns
    -------
    uuid.UUID or None
        The version's id; None if nothing changed.
    """
    stored = {item.name: item.stored.sha256 for item in files}
    digest = output.identity or digest_of({name: stored[name] for name in output.artifacts})
    previous = tx.conn.execute(
        select(versions.c.id, versions.c.number, versions.c.content_digest, versions.c.detail)
        .join(flows, and_(flows.c.tenant_id == versions.c.tenant_id, flows.c.current_version_id == versions.c.id))
        .where(flows.c.tenant_id == tx.tenant_id, flows.c.id == flow_id)
    ).one_or_none()
    if previous is not None and previous.content_digest == digest:
        return None
    # What was made in another way may differ on every date.
    before: Mapping[str, Any] = (previous.detail if previous is not None else None) or {}
    is_alike = before.get("basis") == output.detail.get("basis")
    version_id = new_id()
    tx.conn.execute(
        insert(versions).values(
            tenant_id=tx.tenant_id,
            id=version_id,
            flow_id=flow_id,
            number=previous.number + 1 if previous is not None else 1,
            run_id=run_id,
            previous_id=previous.id if previous is not None else None,
            content_digest=digest,
            first_data_date=output.first_data_date,
            last_data_date=output.last_data_date,
            changed_from=output.changed_from if is_alike else None,
            detail=dict(output.detail) or None,
            created_at=db_now(),
        )
    )
    return version_id


def _constant(value: uuid.UUID) -> Any:
    from sqlalchemy import literal

    from optaic.ledger.columns import Id

    return literal(value, Id)


def get_dataset(tx: Transaction, version_id: uuid.UUID) -> DatasetVersion:
    """Read a version of a dataset with its segments: two statements.

    Raises
    ------
    NotFoundError
        If this tenant has no such version.
    """
    found = get_datasets(tx, [version_id])
    if version_id not in found:
        raise NotFoundError(f"there is no dataset version {version_id}")
    return found[version_id]


def get_datasets(tx: Transaction, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, DatasetVersion]:
    """Read some versions of datasets with their segments, in two statements however many they are."""
    wanted = list(ids)
    if not wanted:
        return {}
    parts: dict[uuid.UUID, list[Segment]] = {version_id: [] for version_id in wanted}
    rows = tx.conn.execute(
        select(version_segments.c.version_id, segments)
        .join(
            segments,
            and_(segments.c.tenant_id == version_segments.c.tenant_id, segments.c.id == version_segments.c.segment_id),
        )
        .where(version_segments.c.tenant_id == tx.tenant_id, version_segments.c.version_id.in_(wanted))
        .order_by(version_segments.c.version_id, version_segments.c.position)
    )
    for row in rows:
        parts[row.version_id].append(
            Segment(
                key=row.storage_key,
                role=SegmentRole(row.role),
                row_count=row.row_count,
                size_bytes=row.size_bytes,
                sha256=row.sha256,
                first_date=row.first_date,
                last_date=row.last_date,
                first_known_at=row.first_known_at,
                last_known_at=row.last_known_at,
            )
        )
    heads = tx.conn.execute(select(versions).where(versions.c.tenant_id == tx.tenant_id, versions.c.id.in_(wanted)))
    return {row.id: _to_dataset(row, parts[row.id]) for row in heads if row.key_columns is not None}


def _to_dataset(row: Row[Any], parts: Sequence[Segment]) -> DatasetVersion:
    return DatasetVersion(
        id=row.id,
        number=row.number,
        key_columns=tuple(row.key_columns),
        columns=tuple(Column(name=item["name"], dtype=item["dtype"]) for item in row.columns),
        segments=tuple(parts),
        row_count=row.row_count,
        first_data_date=row.first_data_date,
        last_data_date=row.last_data_date,
        content_digest=row.content_digest,
    )


def get_versions(tx: Transaction, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Version]:
    """Read some versions, of datasets with their segments and of all else with their files.

    Two statements if all are datasets, four at most, however many they are.
    """
    wanted = set(ids)
    found: dict[uuid.UUID, Version] = {**get_datasets(tx, wanted)}
    rest = wanted - found.keys()
    if not rest:
        return found
    rows = list(tx.conn.execute(select(versions).where(versions.c.tenant_id == tx.tenant_id, versions.c.id.in_(rest))))
    files = artifacts_of(tx, [row.run_id for row in rows])
    for row in rows:
        found[row.id] = FileVersion(
            id=row.id,
            number=row.number,
            run_id=row.run_id,
            artifacts=tuple(files.get(row.run_id, ())),
            detail=row.detail or {},
            first_data_date=row.first_data_date,
            last_data_date=row.last_data_date,
            content_digest=row.content_digest,
        )
    return found


def find_version(tx: Transaction, flow_id: uuid.UUID, target: str, number: int | None) -> uuid.UUID:
    """Find a flow's version by number, or its current one.

    Raises
    ------
    NotFoundError
        If there is none; the message names the versions that there are.
    """
    if number is None:
        current = tx.conn.execute(
            select(flows.c.current_version_id).where(flows.c.tenant_id == tx.tenant_id, flows.c.id == flow_id)
        ).scalar_one()
        if current is None:
            raise NotFoundError(
                f"{target} has no version yet", next_step=f"make the first one with: optaic run {target}"
            )
        return current
    found = tx.conn.execute(
        select(versions.c.id).where(
            versions.c.tenant_id == tx.tenant_id, versions.c.flow_id == flow_id, versions.c.number == number
        )
    ).scalar_one_or_none()
    if found is None:
        last = tx.conn.execute(
            select(func.max(versions.c.number)).where(
                versions.c.tenant_id == tx.tenant_id, versions.c.flow_id == flow_id
            )
        ).scalar_one()
        has = f"it has versions 1 to {last}" if last else "it has none yet"
        raise NotFoundError(
            f"{target} has no version {number}; {has}",
            next_step=f"the runs that made them: optaic runs --instance {target}",
        )
    return found


def of_flow(tx: Transaction, flow_id: uuid.UUID) -> list[Row[Any]]:
    """Read the versions of a flow, newest first."""
    query = (
        select(versions)
        .where(versions.c.tenant_id == tx.tenant_id, versions.c.flow_id == flow_id)
        .order_by(versions.c.number.desc())
    )
    return list(tx.conn.execute(query).all())


def of_runs(tx: Transaction, run_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Read the number of the version that each of some runs published; runs without one are missing."""
    query = select(versions.c.run_id, versions.c.number).where(
        versions.c.tenant_id == tx.tenant_id, versions.c.run_id.in_(list(run_ids))
    )
    return {row.run_id: row.number for row in tx.conn.execute(query)}


def insert_artifacts(tx: Transaction, run_id: uuid.UUID, attempt: int, items: Sequence[Artifact]) -> None:
    """Insert the artifacts of a completing run; the bytes are in the store already."""
    if not items:
        return
    tx.conn.execute(
        _INSERT_ARTIFACTS,
        [
            {
                "tenant_id": tx.tenant_id,
                "run_id": run_id,
                "attempt": attempt,
                "name": item.name,
                "kind": item.kind,
                "media_type": item.media_type,
                "storage_key": item.stored.key,
                "size_bytes": item.stored.size_bytes,
                "sha256": item.stored.sha256,
            }
            for item in items
        ],
    )


def artifacts_of(tx: Transaction, run_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[Artifact]]:
    """Read the artifacts of some runs, by name, in one statement."""
    found: dict[uuid.UUID, list[Artifact]] = {}
    query = (
        select(artifacts)
        .where(artifacts.c.tenant_id == tx.tenant_id, artifacts.c.run_id.in_(list(run_ids)))
        .order_by(artifacts.c.run_id, artifacts.c.name)
    )
    for row in tx.conn.execute(query):
        stored = StoredObject(key=row.storage_key, size_bytes=row.size_bytes, sha256=row.sha256)
        found.setdefault(row.run_id, []).append(
            Artifact(name=row.name, kind=row.kind, media_type=row.media_type, stored=stored)
        )
    return found


def referenced_objects(tx: Transaction) -> dict[str, StoredObject]:
    """Read every object that something in the ledger references, of all kinds, as it was recorded, by key."""
    from optaic.ledger.tables import source_snapshots

    found: dict[str, StoredObject] = {}
    for table in (artifacts, segments, source_snapshots):
        query = select(table.c.storage_key, table.c.size_bytes, table.c.sha256).where(table.c.tenant_id == tx.tenant_id)
        for key, size_bytes, sha256 in tx.conn.execute(query):
            found[key] = StoredObject(key=key, size_bytes=size_bytes, sha256=sha256)
    return found


def referenced_keys(tx: Transaction) -> set[str]:
    """Read the key of every object that something in the ledger references."""
    return set(referenced_objects(tx))


def open_run_ids(tx: Transaction) -> set[uuid.UUID]:
    """Read the ids of runs that are not terminal: what they write is not garbage yet."""
    query = select(runs.c.id).where(runs.c.tenant_id == tx.tenant_id, runs.c.status.in_(["pending", "running"]))
    return set(tx.conn.execute(query).scalars())


def published(tx: Transaction, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, tuple[int, uuid.UUID]]:
    """Read the number of some versions, and the run that published each, in one statement."""
    query = select(versions.c.id, versions.c.number, versions.c.run_id).where(
        versions.c.tenant_id == tx.tenant_id, versions.c.id.in_(list(ids))
    )
    return {row.id: (row.number, row.run_id) for row in tx.conn.execute(query)}


def numbers(tx: Transaction, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Read the numbers of some versions, in one statement."""
    query = select(versions.c.id, versions.c.number).where(
        versions.c.tenant_id == tx.tenant_id, versions.c.id.in_(list(ids))
    )
    return {row.id: row.number for row in tx.conn.execute(query)}
