"""Claim: open an attempt of a pending run, under a lease, and pin what it reads."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, literal_column, not_, select, update
from sqlalchemy.exc import IntegrityError

from optaic.domain import run as transitions
from optaic.domain.kind import BY_FLOW_KIND, OutputKind, RunType
from optaic.domain.principal import SYSTEM_ID
from optaic.domain.reason import Reason, ReasonCode, sentence_of
from optaic.domain.run import Run
from optaic.domain.status import Standing
from optaic.domain.version import DatasetVersion
from optaic.errors import ConflictError, LedgerError
from optaic.flows.task import PinnedInput, Task
from optaic.ledger import attempts, catalog, limits, runs, search, versions
from optaic.ledger.catalog import Flow
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.tables import EXTENSIONS, definition_versions, definitions, instance_revisions, plan_members
from optaic.ledger.tables import runs as runs_table
from optaic.lifecycle import pins, trigger
from optaic.lifecycle.advance import advance
from optaic.lifecycle.original import Origin, adopt, copy_pins, trace
from optaic.lifecycle.overtaken import overtaken

_log = logging.getLogger("optaic.claim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A held run.

    Attributes
    ----------
    run
        The run, as it was before the claim.
    attempt
        The number of the attempt: the fencing token of every later write.
    task
        What the runner is told.
    origin
        Where a reproduction comes from; None for all other runs.
    """

    run: Run
    attempt: int
    task: Task
    origin: Origin | None = None


def candidates(
    tenant_id: int, engine: str, run_id: uuid.UUID | None = None, plan_id: uuid.UUID | None = None
) -> Select[tuple[uuid.UUID]]:
    """Give the query that finds the next run to claim, of all or of a plan: highest priority first, then the oldest.

    An official run waits while another official run of its flow is running; the database refuses a second one anyway.
    """
    other = runs_table.alias("other")
    # Few runs are running and many may wait: the busy flows are read once, not looked up for each run that waits.
    busy = select(other.c.flow_id).where(
        other.c.tenant_id == tenant_id,
        other.c.status == literal_column("'running'"),
        other.c.standing == literal_column("'official'"),
    )
    query = select(runs_table.c.id).where(
        runs_table.c.tenant_id == tenant_id,
        runs.IS_PENDING,
        runs_table.c.engine == engine,
        runs_table.c.available_at <= db_now(),
        not_(and_(runs_table.c.standing == Standing.OFFICIAL, runs_table.c.flow_id.in_(busy))),
    )
    if run_id is not None:
        return query.where(runs_table.c.id == run_id)
    if plan_id is not None:
        needed = select(plan_members.c.step_id).where(
            plan_members.c.tenant_id == tenant_id, plan_members.c.plan_id == plan_id
        )
        query = query.where(runs_table.c.plan_step_id.in_(needed))
    return query.order_by(runs_table.c.priority.desc(), runs_table.c.submitted_at, runs_table.c.id).limit(1)


def has_work(database: Database, *, engine: str = "local", plan_id: uuid.UUID | None = None) -> bool:
    """Look, without writing, whether there is a run to claim, of all or of a plan."""
    with database.read() as tx:
        query = (
            _anything(tx.tenant_id, engine) if plan_id is None else candidates(tx.tenant_id, engine, plan_id=plan_id)
        )
        return tx.conn.execute(query).first() is not None


@cache
def _anything(tenant_id: int, engine: str) -> Select[tuple[uuid.UUID]]:
    """Give the query of an idle worker, which asks it twenty times a second: building it takes longer than asking."""
    return candidates(tenant_id, engine)


def claim(
    database: Database,
    *,
    worker: str,
    lease: dt.timedelta,
    engine: str = "local",
    run_id: uuid.UUID | None = None,
    plan_id: uuid.UUID | None = None,
) -> Claim | None:
    """Claim the next pending run, or a certain one.

    In one transaction: the attempt is opened under a lease by the database's clock, the run becomes `running`, and, on
    its first attempt, its inputs are pinned. A run whose inputs cannot be pinned fails, with the reason, and the next
    is taken; so does one that cannot be started from what the ledger holds of it. One that was overtaken, and what a
    trigger has recorded and is not needed any more, is cancelled.

    Parameters
    ----------
    database
        The ledger.
    worker
        Who claims: host, process and a random part.
    lease
        How long the claim lasts without a heartbeat.
    engine
        Whose runs.
    run_id
        Claim only this run.
    plan_id
        Claim only runs that this plan needs.

    Returns
    -------
    Claim or None
        None if nothing can be claimed now.

    Raises
    ------
    LedgerError
        If the database cannot be reached.
    """
    while True:
        found = None
        try:
            with database.write(actor_id=SYSTEM_ID) as tx:
                found = _find(tx, engine, run_id, plan_id)
                if found is None:
                    return None
                held = _start(tx, found, worker, lease)
        except (LedgerError, MemoryError):
            raise
        except _Refused as refused:
            _end(database, refused.run_id, refused.reason)
            continue
        except Exception as error:
            if isinstance(error, IntegrityError) and _ONE_OFFICIAL in str(error.orig):
                continue  # two official runs of one flow were claimed at the same moment; the index let one through
            if found is None:
                raise
            _end(database, found, _unstartable(found, error))
            continue
        return held


_ONE_OFFICIAL = "uq_runs_one_official_running"

_NOT_NEEDED = frozenset({ReasonCode.OVERTAKEN, ReasonCode.SUPERSEDED})
"""Why a run that is not to start is cancelled, and has not failed."""


def _find(tx: Transaction, engine: str, run_id: uuid.UUID | None, plan_id: uuid.UUID | None) -> uuid.UUID | None:
    """Find the run to start, and keep other claimers from it."""
    query = candidates(tx.tenant_id, engine, run_id, plan_id)
    full = limits.full_scopes(tx)
    if full.is_everything:
        return None
    query = query.where(*_outside(full))
    if tx.is_postgresql:
        query = query.with_for_update(skip_locked=True, of=runs_table)
    return tx.conn.execute(query).scalar_one_or_none()


class _Refused(Exception):  # noqa: N818 - an answer, and no error
    """A run is not to start: an input cannot be pinned, or nothing needs it any more."""

    def __init__(self, run_id: uuid.UUID, reason: Reason) -> None:
        super().__init__(reason.message)
        self.run_id = run_id
        self.reason = reason


def _start(tx: Transaction, run_id: uuid.UUID, worker: str, lease: dt.timedelta) -> Claim:
    """Open an attempt; what was written is undone if it raises."""
    run = runs.get(tx, run_id)
    flow = catalog.get_flow(tx, run.flow_id)
    if (superseded := trigger.superseded(tx, run, flow)) is not None:
        raise _Refused(run.id, superseded)
    revision = _revision(tx, run)
    origin = trace(tx, run)
    if run.attempt == 0 and origin is not None:
        copy_pins(tx, run)
    elif run.attempt == 0:
        refusal = pins.pin(tx, run, flow, code_digest=revision.code_digest, config_digest=revision.config_digest)
        if refusal is not None:
            raise _Refused(run.id, refusal)
    if origin is None and (reason := overtaken(tx, run, flow)) is not None:
        raise _Refused(run.id, reason)
    attempt = run.attempt + 1
    started = runs.change(tx, run, transitions.start(run), payload={"worker": worker})
    attempts.open_attempt(tx, run.id, attempt, worker, lease)
    task = _task(tx, started, flow, revision, attempt)
    if origin is not None:
        task = adopt(tx, task, started, origin)
    return Claim(run=run, attempt=attempt, task=task, origin=origin)


def _unstartable(run_id: uuid.UUID, error: Exception) -> Reason:
    _log.error("run %s cannot be started, and fails", run_id, exc_info=error)
    return Reason(
        code=ReasonCode.ENGINE_ERROR,
        message=f"could not be started from what the ledger holds of it: {sentence_of(error)}",
        next_step=f"look for what is wrong: optaic doctor; then: optaic retry {run_id}",
    )


def _end(database: Database, run_id: uuid.UUID, reason: Reason) -> None:
    """End a run that is not to start; left alone, it would be met again at every poll, before all others.

    In a transaction of its own, because plans are written under the graph lock, which comes before the run.
    """
    with suppress(ConflictError), database.write(actor_id=SYSTEM_ID) as tx:  # another may have ended it meanwhile
        lock_graph(tx)
        run = runs.get(tx, run_id)
        transition = transitions.cancel_pending if reason.code in _NOT_NEEDED else transitions.refuse
        advance(tx, runs.change(tx, run, transition(run, reason)))
        trigger.fire(tx, [run.flow_id])


def _outside(full: limits.FullScopes) -> Sequence[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if full.instance_ids:
        conditions.append(runs_table.c.instance_id.not_in(full.instance_ids))
    if full.run_types:
        conditions.append(runs_table.c.type.not_in(full.run_types))
    return conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Revision:
    config: Mapping[str, Any]
    config_digest: str
    code_ref: str | None
    code_digest: str | None


def _revision(tx: Transaction, run: Run) -> _Revision:
    row = tx.conn.execute(
        select(
            instance_revisions.c.config,
            instance_revisions.c.config_digest,
            definition_versions.c.code_digest,
            definitions.c.code_ref,
        )
        .outerjoin(
            definition_versions,
            and_(
                definition_versions.c.tenant_id == instance_revisions.c.tenant_id,
                definition_versions.c.id == run.definition_version_id,
            ),
        )
        .outerjoin(
            definitions,
            and_(
                definitions.c.tenant_id == definition_versions.c.tenant_id,
                definitions.c.id == definition_versions.c.definition_id,
            ),
        )
        .where(instance_revisions.c.tenant_id == tx.tenant_id, instance_revisions.c.id == run.revision_id)
    ).one()
    return _Revision(
        config=row.config, config_digest=row.config_digest, code_ref=row.code_ref, code_digest=row.code_digest
    )


def _task(tx: Transaction, run: Run, flow: Flow, revision: _Revision, attempt: int) -> Task:
    pinned = search.inputs_of_runs(tx, [run.id]).get(run.id, [])
    wanted = {pin.version_id for pin in pinned}
    is_dataset = BY_FLOW_KIND[flow.kind].output is OutputKind.DATASET
    if flow.current_version_id is not None and is_dataset:
        wanted.add(flow.current_version_id)
    loaded = versions.get_versions(tx, wanted)
    current = loaded.get(flow.current_version_id) if flow.current_version_id else None
    if is_dataset:
        extension = EXTENSIONS[run.type]
        # Compared with the version that is current when the attempt starts: between two attempts another official
        # run of the flow may have published.
        tx.conn.execute(
            update(extension)
            .where(extension.c.tenant_id == tx.tenant_id, extension.c.run_id == run.id)
            .values(base_version_id=flow.current_version_id, **_model_version(run, pinned))
        )
    is_remade = pins.is_remade(tx, run, flow.current_run_id)
    return Task(
        run_id=run.id,
        attempt=attempt,
        tenant_id=tx.tenant_id,
        instance=run.instance,
        flow_kind=run.flow_kind,
        code_ref=revision.code_ref,
        code_digest=revision.code_digest,
        config=revision.config,
        params=run.params,
        seed=run.seed,
        as_of=run.as_of,
        mode=run.mode or ("full" if is_remade else None),
        standing=run.standing,
        started_at=run.started_at or run.ledger_now,
        current=current if isinstance(current, DatasetVersion) else None,
        inputs=tuple(
            PinnedInput(
                role=pin.role, instance=pin.instance, version=loaded[pin.version_id], columns=tuple(pin.columns or ())
            )
            for pin in pinned
            if pin.version_id in loaded
        ),
        is_remade=is_remade,
        may_rebuild=run.mode == "full",
    )


def _model_version(run: Run, pinned: Sequence[Any]) -> dict[str, uuid.UUID]:
    """Name the version that an inference predicts with."""
    if run.type is not RunType.INFERENCE:
        return {}
    used = [pin.version_id for pin in pinned if pin.role == "model"]
    return {"model_version_id": used[0]} if used else {}
