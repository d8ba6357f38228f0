"""Runs as people and programs see them: one object each, and one JSON document."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, select

from optaic.domain.artifact import Artifact
from optaic.domain.run import Run
from optaic.domain.status import RunStatus
from optaic.ledger import search, versions
from optaic.ledger.session import Transaction
from optaic.ledger.tables import (
    definition_versions,
    definitions,
    instance_revisions,
    pipeline_runs,
    principals,
    runs,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputView:
    """What a run consumed of one upstream.

    `version` is None where a config revision was pinned. `first_date` and `last_date` are the event dates read,
    inclusive, None until the run completed.
    """

    role: str
    instance: str
    flow_kind: str
    version: int | None
    selector: str
    columns: tuple[str, ...]
    first_date: dt.date | None
    last_date: dt.date | None

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        return {
            "role": self.role,
            "instance": self.instance,
            "flow_kind": self.flow_kind,
            "version": self.version,
            "selector": self.selector,
            "columns": list(self.columns) or None,
            "first_date": self.first_date.isoformat() if self.first_date else None,
            "last_date": self.last_date.isoformat() if self.last_date else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """A run with what belongs to it.

    Attributes
    ----------
    run
        The run.
    version
        The number of the version it published; None if it published none.
    revision
        The number of its instance's config revision.
    submitted_by
        The name of the principal who submitted it; `system` for what ran by itself.
    code_ref, code_digest
        What code it was submitted with: where, and the digest; None for built-in procedures.
    calendar
        The library of calendars, with its version, that knew the sessions expected of its data; None if none was asked.
    inputs
        What it consumed.
    artifacts
        Its files.
    """

    run: Run
    version: int | None
    revision: int
    submitted_by: str
    code_ref: str | None
    code_digest: str | None
    calendar: str | None
    inputs: tuple[InputView, ...]
    artifacts: tuple[Artifact, ...]


def load_details(tx: Transaction, found: Sequence[Run]) -> list[Detail]:
    """Read what belongs to some runs: four statements, however many they are."""
    if not found:
        return []
    ids = [run.id for run in found]
    numbers = versions.of_runs(tx, ids)
    inputs = search.inputs_of_runs(tx, ids)
    files = versions.artifacts_of(tx, ids)
    made_of = _made_of(tx, ids)
    return [
        Detail(
            run=run,
            version=numbers.get(run.id),
            revision=made_of[run.id].revision,
            submitted_by=made_of[run.id].submitted_by,
            code_ref=made_of[run.id].code_ref,
            code_digest=made_of[run.id].code_digest,
            calendar=made_of[run.id].calendar,
            inputs=tuple(
                InputView(
                    role=row.role,
                    instance=row.instance,
                    flow_kind=row.flow_kind,
                    version=row.number,
                    selector=row.selector,
                    columns=tuple(row.columns or ()),
                    first_date=row.first_date,
                    last_date=row.last_date,
                )
                for row in inputs.get(run.id, [])
            ),
            # The files of a run that did not complete are invisible: its outputs are not outputs.
            artifacts=tuple(files.get(run.id, [])) if run.status is RunStatus.COMPLETED else (),
        )
        for run in found
    ]


def _made_of(tx: Transaction, run_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Row[Any]]:
    """Read the config revision, the code and the calendar of some runs, and who submitted them, in one statement."""
    query = (
        select(
            runs.c.id,
            instance_revisions.c.number.label("revision"),
            principals.c.name.label("submitted_by"),
            definitions.c.code_ref,
            definition_versions.c.code_digest,
            pipeline_runs.c.calendar,
        )
        .join(
            instance_revisions,
            and_(instance_revisions.c.tenant_id == runs.c.tenant_id, instance_revisions.c.id == runs.c.revision_id),
        )
        .join(principals, and_(principals.c.tenant_id == runs.c.tenant_id, principals.c.id == runs.c.submitted_by))
        .outerjoin(
            definition_versions,
            and_(
                definition_versions.c.tenant_id == runs.c.tenant_id,
                definition_versions.c.id == runs.c.definition_version_id,
            ),
        )
        .outerjoin(
            definitions,
            and_(
                definitions.c.tenant_id == definition_versions.c.tenant_id,
                definitions.c.id == definition_versions.c.definition_id,
            ),
        )
        .outerjoin(
            pipeline_runs, and_(pipeline_runs.c.tenant_id == runs.c.tenant_id, pipeline_runs.c.run_id == runs.c.id)
        )
        .where(runs.c.tenant_id == tx.tenant_id, runs.c.id.in_(run_ids))
    )
    return {row.id: row for row in tx.conn.execute(query)}


def status_text(run: Run) -> str:
    """Say a run's status; one whose lease expired is shown as lost, without anything being written."""
    if run.is_lost:
        return "lost (lease expired)"
    if run.status is RunStatus.RUNNING and run.cancel_requested_at is not None:
        return "running (cancelling)"
    if run.status is RunStatus.PENDING and run.attempt > 0:
        return "pending (retry)"
    return run.status


def to_json(detail: Detail) -> dict[str, Any]:
    """Give a run as its one JSON object; instants are ISO 8601 in UTC, durations seconds."""
    run = detail.run
    reason = None
    if run.reason is not None:
        reason = {"code": run.reason.code, "message": run.reason.message, "next_step": run.reason.next_step}
    return {
        "id": str(run.id),
        "type": run.type,
        "instance": run.instance,
        "flow_kind": run.flow_kind,
        "standing": run.standing,
        "status": run.status,
        "is_lost": run.is_lost,
        "cancel_requested": run.cancel_requested_at is not None,
        "reason": reason,
        "attempt": run.attempt,
        "mode": run.mode,
        "forced": run.is_forced,
        "trigger": run.trigger,
        "triggered_by": None if run.triggered_by is None else dict(run.triggered_by),
        "submitted_by": detail.submitted_by,
        "params": dict(run.params),
        "seed": run.seed,
        "as_of": _instant(run.as_of),
        "inputs": [item.to_json() for item in detail.inputs],
        "metrics": dict(run.metrics),
        "artifacts": [
            {
                "name": item.name,
                "kind": item.kind,
                "media_type": item.media_type,
                "size_bytes": item.stored.size_bytes,
                "sha256": item.stored.sha256,
            }
            for item in detail.artifacts
        ],
        "version": detail.version,
        "revision": detail.revision,
        "code_ref": detail.code_ref,
        "code_digest": detail.code_digest,
        "calendar": detail.calendar,
        "fingerprint": run.fingerprint,
        "retry_of": str(run.retry_of_id) if run.retry_of_id else None,
        "reproduces": str(run.reproduces_id) if run.reproduces_id else None,
        "progress_pct": run.progress_pct,
        "progress_note": run.progress_note,
        "worker": run.worker,
        "submitted_at": _instant(run.submitted_at),
        "available_at": _instant(run.available_at),
        "started_at": _instant(run.started_at),
        "ended_at": _instant(run.ended_at),
    }


def _instant(value: dt.datetime | None) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")
