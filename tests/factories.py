"""Makes instances, runs and results directly in a ledger: real rows by the product's own functions, no files."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert

from optaic.domain.fingerprint import digest_of
from optaic.domain.identifier import new_id
from optaic.domain.kind import FlowKind, InstanceKind
from optaic.domain.run import Run
from optaic.domain.version import Column, Segment, SegmentRole
from optaic.flows.task import DatasetChange, Result
from optaic.ledger import catalog, declaration
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database
from optaic.ledger.tables import flow_inputs
from optaic.lifecycle.claim import Claim, claim
from optaic.lifecycle.submit import Submission, submit

LEASE = dt.timedelta(seconds=30)
DAY = dt.date(2024, 1, 2)
KNOWN = dt.datetime(2024, 1, 2, 21, tzinfo=dt.UTC)


def add_dataset(
    database: Database,
    name: str = "prices",
    *,
    inputs: Mapping[str, str] | None = None,
    policies: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    schema: Mapping[str, Any] | None = None,
    freshness: Mapping[str, Any] | None = None,
    code_digest: str = "0" * 64,
) -> uuid.UUID:
    """Insert a dataset with its flow and its edges (role to upstream); give the flow's id."""
    config = {"params": dict(params or {}), "key": ["date", "symbol"]}
    with database.write() as tx:
        definition_id, version_id = declaration.put_definition(
            tx,
            code_ref=f"sources:{name}",
            code_digest=code_digest,
            params_schema=schema if schema is not None else {"open": True},
            distribution=None,
            distribution_version=None,
        )
        flow_id = declaration.add_instance(
            tx,
            name=name,
            kind=InstanceKind.DATASET,
            project_id=None,
            flow_kinds=[FlowKind.REFRESH],
            config=config,
            config_digest=digest_of(config),
            policies=policies or {},
            freshness_spec=freshness,
            definition_id=definition_id,
            definition_version_id=version_id,
        )[FlowKind.REFRESH]
        for position, (role, upstream) in enumerate((inputs or {}).items()):
            tx.conn.execute(
                insert(flow_inputs).values(
                    tenant_id=tx.tenant_id,
                    id=new_id(),
                    flow_id=flow_id,
                    upstream_flow_id=catalog.find_flow(tx, upstream).id,
                    role=role,
                    kind="data_dependency",
                    selector="current",
                    position=position,
                    created_at=db_now(),
                )
            )
    return flow_id


def submit_run(database: Database, target: str = "prices", **request: Any) -> Run:
    """Submit a run of a target."""
    return submit(database, Submission(target=target, **request))


def claim_run(
    database: Database, run: Run | None = None, *, worker: str = "worker-1", lease: dt.timedelta = LEASE
) -> Claim:
    """Claim a run, or the next; there must be one."""
    held = claim(database, worker=worker, lease=lease, run_id=run.id if run else None)
    assert held is not None
    return held


def segment_key(held: Claim, number: int = 1) -> str:
    """Name a segment as the attempt's refresh would."""
    return f"t{held.task.tenant_id}/datasets/{held.task.instance}/{held.run.id}-{held.attempt}-{number}.parquet"


def segment(key: str, *, day: dt.date = DAY, rows: int = 1) -> Segment:
    """Describe a segment; its bytes are nobody's concern here."""
    return Segment(
        key=key,
        role=SegmentRole.INSERT,
        row_count=rows,
        size_bytes=100,
        sha256=hashlib.sha256(key.encode()).hexdigest(),
        first_date=day,
        last_date=day,
        first_known_at=KNOWN,
        last_known_at=KNOWN,
    )


def dataset_result(held: Claim, *, is_changed: bool = True, day: dt.date | None = DAY) -> Result:
    """Give what a refresh returns: with one new segment, or with nothing new."""
    segments = (segment(segment_key(held), day=day or DAY),) if is_changed else ()
    change = DatasetChange(
        segments=segments,
        columns=(Column(name="date", dtype="Date"), Column(name="symbol", dtype="String")),
        row_count=1,
        first_data_date=day,
        last_data_date=day,
        changed_from=day if is_changed else None,
        changed_columns=(),
        rows_fetched=1,
        rows_inserted=int(is_changed),
        rows_updated=0,
        rows_deleted=0,
        rows_unchanged=int(not is_changed),
        bytes_written=100 if is_changed else 0,
    )
    metrics: dict[str, float | int | str | None] = {"rows_fetched": 1, "rows_inserted": int(is_changed)}
    if day is not None:
        metrics["last_data_date"] = day.isoformat()
    return Result(metrics=metrics, dataset=change)
