"""Runs: the one place that changes a run's status, and how runs are inserted and read."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, insert, literal_column, select, update
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate
from sqlalchemy.sql.expression import Insert, Update

from optaic.domain.identifier import new_id, prefix_range
from optaic.domain.kind import BY_FLOW_KIND, FlowKind, InstanceKind, RunType, main_flow_kind
from optaic.domain.reason import Reason
from optaic.domain.retry import RetryPolicy
from optaic.domain.run import Run, Transition
from optaic.domain.status import RunStatus, Standing
from optaic.domain.text import check_text, clean_text
from optaic.errors import IllegalTransitionError, InvalidInputError, LeaseLostError, NotFoundError
from optaic.ledger import activities
from optaic.ledger.catalog import Flow
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import EXTENSIONS, attempts, flows, instances, runs

_NAMES = (
    "id type flow_id instance_id revision_id definition_version_id source_digest standing status reason_code "
    "reason_message reason_next_step mode priority timeout_seconds retry_policy trigger triggered_by plan_step_id "
    "retry_of_id reproduces_id "
    "params seed as_of fingerprint is_forced engine submitted_at submitted_by available_at started_at ended_at attempt "
    "cancel_requested_at progress_pct progress_note metrics_json "
)
_FIELDS = [runs.c[name] for name in _NAMES.split()]
# Reading a column back costs as much as writing it: what is known is not read. Of a new run, what the database fills
# in or writes in another form; of a changed one, what anybody may have changed since it was read.
_FILLED = "priority params as_of timeout_seconds is_forced attempt submitted_at available_at started_at"
_MUTABLE = (
    "status reason_code reason_message reason_next_step mode fingerprint available_at started_at ended_at attempt "
    "cancel_requested_at progress_pct progress_note metrics_json"
)
_NEW = [*(runs.c[name] for name in _FILLED.split()), db_now().label("ledger_now")]
_CHANGED = [*(runs.c[name] for name in _MUTABLE.split()), db_now().label("ledger_now")]

MAX_REASON_LENGTH = 4_000
"""Characters of a reason's sentence that are kept."""

# As literals, not parameters: a planner takes a partial index only if it sees that the condition implies the index's.
IS_PENDING = runs.c.status == literal_column("'pending'")
IS_RUNNING = runs.c.status == literal_column("'running'")


def select_runs() -> Select[Any]:
    """Give the query that reads whole runs; add conditions, order and limit to it."""
    return (
        select(
            *_FIELDS,
            instances.c.name.label("instance"),
            flows.c.kind.label("flow_kind"),
            attempts.c.lease_expires_at,
            attempts.c.worker,
            db_now().label("ledger_now"),
        )
        .join(flows, and_(flows.c.tenant_id == runs.c.tenant_id, flows.c.id == runs.c.flow_id))
        .join(instances, and_(instances.c.tenant_id == runs.c.tenant_id, instances.c.id == runs.c.instance_id))
        .outerjoin(
            attempts,
            and_(
                attempts.c.tenant_id == runs.c.tenant_id,
                attempts.c.run_id == runs.c.id,
                attempts.c.number == runs.c.attempt,
                attempts.c.ended_at.is_(None),
            ),
        )
    )


def to_run(row: Row[Any]) -> Run:
    """Make a run of a row of `select_runs`."""
    kind = FlowKind(row.flow_kind)
    return _to_run(row, row.instance, kind, lease_expires_at=row.lease_expires_at, worker=row.worker)


def _to_run(
    row: Any,
    instance: str,
    flow_kind: FlowKind,
    *,
    lease_expires_at: dt.datetime | None = None,
    worker: str | None = None,
) -> Run:
    return Run(
        id=row.id,
        type=RunType(row.type),
        flow_id=row.flow_id,
        flow_kind=flow_kind,
        instance_id=row.instance_id,
        instance=instance,
        revision_id=row.revision_id,
        definition_version_id=row.definition_version_id,
        source_digest=row.source_digest,
        standing=Standing(row.standing),
        priority=row.priority,
        timeout_seconds=row.timeout_seconds,
        retry_policy=RetryPolicy.from_json(row.retry_policy),
        trigger=row.trigger,
        triggered_by=row.triggered_by,
        plan_step_id=row.plan_step_id,
        retry_of_id=row.retry_of_id,
        reproduces_id=row.reproduces_id,
        params=row.params,
        seed=row.seed,
        as_of=row.as_of,
        is_forced=bool(row.is_forced),
        engine=row.engine,
        submitted_at=row.submitted_at,
        submitted_by=row.submitted_by,
        lease_expires_at=lease_expires_at,
        worker=worker,
        **_changed(row),
    )


def _changed(row: Any) -> dict[str, Any]:
    """Give the fields of a run that may change in its life, of a row that has them."""
    reason = None
    if row.reason_code is not None:
        reason = Reason(code=row.reason_code, message=row.reason_message or "", next_step=row.reason_next_step or "")
    return {
        "status": RunStatus(row.status),
        "reason": reason,
        "mode": row.mode,
        "fingerprint": row.fingerprint,
        "available_at": row.available_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "attempt": row.attempt,
        "cancel_requested_at": row.cancel_requested_at,
        "progress_pct": row.progress_pct,
        "progress_note": row.progress_note,
        "metrics": row.metrics_json or {},
        "ledger_now": row.ledger_now,
    }


def insert_run(tx: Transaction, flow: Flow, values: Mapping[str, Any], *, worker: str | None = None) -> Run:
    """Record a run, `pending`, with its row in the extension table of its type and its activity.

    A run that starts in the moment in which it is recorded is recorded `running`, at its first attempt, with both
    activities: what `change` would make of it in the same transaction. The caller opens the attempt.

    Parameters
    ----------
    tx
        An open transaction.
    flow
        What it will execute, with the config and code that it would run with now.
    values
        Columns of `runs`, without those that follow from the flow, the tenant, status and times.
    worker
        Who starts it at once; None if it waits to be claimed.
    """
    run_type, run_id = BY_FLOW_KIND[flow.kind].run_type, new_id()
    status = RunStatus.PENDING if worker is None else RunStatus.RUNNING
    written = {
        "tenant_id": tx.tenant_id,
        "id": run_id,
        "type": run_type,
        "flow_id": flow.id,
        "instance_id": flow.instance_id,
        "revision_id": flow.revision_id,
        "definition_version_id": flow.definition_version_id,
        "source_digest": flow.source_digest,
        "engine": flow.engine,
        "status": status,
        "submitted_by": tx.actor_id,
        "correlation_id": tx.correlation_id,
        **values,
    }
    filled = tx.conn.execute(_insert_run(status), written).mappings().one()
    tx.conn.execute(_INSERTS[run_type], {"tenant_id": tx.tenant_id, "run_id": run_id})
    facts = {
        "instance_id": str(flow.instance_id),
        "flow_id": str(flow.id),
        "standing": values["standing"],
        "trigger": values["trigger"],
    }
    row = SimpleNamespace(**{**dict.fromkeys(_NAMES.split()), **written, **filled})
    run = _to_run(row, flow.instance, flow.kind)
    told: list[tuple[str, uuid.UUID | str, Mapping[str, Any]]] = [(f"{run.slug}.submitted", run_id, facts)]
    if worker is not None:
        told.append((f"{run.slug}.started", run_id, _facts(run, status, run.attempt) | {"worker": worker}))
    activities.record_many(tx, told)
    return run


def _facts(run: Run, status: RunStatus, attempt: int) -> dict[str, Any]:
    """Give what every activity about a change of a run's status tells."""
    return {"instance_id": str(run.instance_id), "instance": run.instance, "status": status, "attempt": attempt}


# Building a statement takes longer than sending it, so those of every run are built once.
@cache
def _insert_run(status: RunStatus) -> ReturningInsert[Any]:
    started: dict[str, Any] = {} if status is RunStatus.PENDING else {"attempt": 1, "started_at": db_now()}
    return insert(runs).values(submitted_at=db_now(), available_at=db_now(), **started).returning(*_NEW)


_INSERTS: dict[RunType, Insert] = {run_type: insert(table) for run_type, table in EXTENSIONS.items()}


@cache
def _select_run() -> Select[Any]:
    return select_runs().where(runs.c.tenant_id == bindparam("tenant"), runs.c.id == bindparam("run"))


@cache
def _update_run(target: RunStatus) -> ReturningUpdate[Any]:
    return update_status(target).returning(*_CHANGED)


@cache
def update_status(target: RunStatus) -> Update:
    """Give the statement that changes a run's status if it is still what it was, for one run or for many."""
    settings: dict[str, Any] = {} if target is RunStatus.PENDING else {"ended_at": db_now()}
    if target is RunStatus.RUNNING:
        settings = {
            "attempt": runs.c.attempt + 1,
            "started_at": func.coalesce(runs.c.started_at, db_now()),
            "progress_pct": None,
            "progress_note": None,
        }
    return (
        update(runs)
        .where(
            runs.c.tenant_id == bindparam("tenant"),
            runs.c.id == bindparam("run"),
            runs.c.status == bindparam("source"),
            runs.c.attempt == bindparam("fence"),
        )
        .values(settings)
    )


def get(tx: Transaction, run_id: uuid.UUID) -> Run:
    """Read a run.

    Raises
    ------
    NotFoundError
        If this tenant has no such run.
    """
    row = tx.conn.execute(_select_run(), {"tenant": tx.tenant_id, "run": run_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no run {run_id}", next_step="list the runs with: optaic runs")
    return to_run(row)


def find(tx: Transaction, reference: str) -> Run:
    """Read the run that a person means: an id, a unique prefix, or `TARGET@latest`, the newest that reproduces none.

    Raises
    ------
    NotFoundError
        If there is none.
    InvalidInputError
        If the prefix fits several runs, or is none.
    """
    query = select_runs().where(runs.c.tenant_id == tx.tenant_id)
    if reference.endswith("@latest"):
        target = check_text(reference.removesuffix("@latest"), "the reference")
        name, _, kind = target.partition(".")
        kinds = [kind] if kind else [main_flow_kind(one) for one in InstanceKind]
        query = query.where(instances.c.name == name, flows.c.kind.in_(kinds), runs.c.reproduces_id.is_(None))
        row = tx.conn.execute(query.order_by(runs.c.submitted_at.desc(), runs.c.id.desc()).limit(1)).one_or_none()
        if row is None:
            raise NotFoundError(f"{target} has no runs", next_step=f"if optaic status lists it: optaic run {target}")
        return to_run(row)
    first, last = prefix_range(reference)
    rows = tx.conn.execute(query.where(runs.c.id.between(first, last)).limit(2)).all()
    if not rows:
        raise NotFoundError(f"there is no run {reference}", next_step="list the runs with: optaic runs")
    if len(rows) > 1:
        raise InvalidInputError(
            f"{reference} is the beginning of several runs: {rows[0].id}, {rows[1].id}, ...",
            next_step="give more characters of the id",
        )
    return to_run(rows[0])


def change(
    tx: Transaction,
    run: Run,
    transition: Transition,
    *,
    payload: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    attempt_values: Mapping[str, Any] | None = None,
) -> Run:
    """Write a transition: the only place in the code that changes a run's status.

    The open attempt is ended first, under a condition on its own row (the holder's heartbeat writes that row too, so
    one of the two comes first and the other sees it); then the run is compared and set; then the activity is written.

    Parameters
    ----------
    tx
        An open transaction; what it holds is undone if this raises.
    run
        The run, as it was when the transition was decided.
    transition
        From `optaic.domain.run`.
    payload
        Facts to add to the activity.
    values
        Further columns of `runs` to set.
    attempt_values
        Further columns of the attempt that ends.

    Returns
    -------
    Run
        The run after the change; of the attempt that it may have begun it knows nothing yet.

    Raises
    ------
    LeaseLostError
        If the attempt has ended, or its lease is alive and the transition is only for lost ones.
    IllegalTransitionError
        If the run's status or attempt number is no longer the transition's.
    """
    transition = replace(transition, reason=_clean(transition.reason))
    if transition.outcome is not None:
        _end_attempt(tx, run, transition, attempt_values or {})
    reason = transition.reason
    settings = {"status": transition.target, **_of_reason(reason), **(values or {})}
    settings["reason_next_step"] = reason.next_step if reason else None
    where = {"tenant": tx.tenant_id, "run": run.id, "source": transition.source, "fence": transition.fence}
    statement = _update_run(transition.target)
    if transition.target is RunStatus.PENDING:
        # The wait differs from attempt to attempt.
        statement = statement.values(available_at=db_now(transition.wait.total_seconds()))
    row = tx.conn.execute(statement, settings | where).one_or_none()
    if row is None:
        raise IllegalTransitionError(run.id, get(tx, run.id).status, transition.target)
    attempt = transition.fence + (1 if transition.target is RunStatus.RUNNING else 0)
    facts = _facts(run, transition.target, attempt)
    if reason is not None:
        facts |= {"reason_code": reason.code, "reason": reason.message}
    activities.record(tx, f"{run.slug}.{transition.verb}", run.id, facts | dict(payload or {}))
    return replace(run, lease_expires_at=None, worker=None, **_changed(row))


def _clean(reason: Reason | None) -> Reason | None:
    """Make a reason fit to be stored: its words may be those of a flow's own exception."""
    if reason is None:
        return None
    return Reason(
        code=clean_text(reason.code, 50),
        message=clean_text(reason.message, MAX_REASON_LENGTH),
        next_step=clean_text(reason.next_step, MAX_REASON_LENGTH),
    )


def _of_reason(reason: Reason | None) -> dict[str, Any]:
    return {"reason_code": reason.code if reason else None, "reason_message": reason.message if reason else None}


def _end_attempt(tx: Transaction, run: Run, transition: Transition, attempt_values: Mapping[str, Any]) -> None:
    settings = {"outcome": transition.outcome, **_of_reason(transition.reason), **attempt_values}
    where = {"tenant": tx.tenant_id, "run": run.id, "fence": transition.fence}
    ended = tx.conn.execute(_update_attempt(only_if_lost=transition.only_if_lost), settings | where)
    if ended.rowcount != 1:
        why = "its lease is alive" if transition.only_if_lost else "the attempt has ended"
        raise LeaseLostError(run.id, transition.fence, why)


@cache
def _update_attempt(*, only_if_lost: bool) -> Update:
    conditions: list[ColumnElement[bool]] = [
        attempts.c.tenant_id == bindparam("tenant"),
        attempts.c.run_id == bindparam("run"),
        attempts.c.number == bindparam("fence"),
        attempts.c.ended_at.is_(None),
    ]
    if only_if_lost:
        conditions.append(attempts.c.lease_expires_at < db_now())
    return update(attempts).where(*conditions).values(ended_at=db_now())


def many(tx: Transaction, ids: Sequence[uuid.UUID]) -> list[Run]:
    """Read some runs in one statement; those that this tenant does not have are missing."""
    if not ids:
        return []
    query = select_runs().where(runs.c.tenant_id == tx.tenant_id, runs.c.id.in_(ids))
    return [to_run(row) for row in tx.conn.execute(query)]
