"""Complete: the end of an attempt: run, attempt, version, flow, metrics, artifacts, activities, in one transaction."""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select, update

from optaic.domain import run as transitions
from optaic.domain.artifact import attempt_prefix, check_name
from optaic.domain.kind import BY_FLOW_KIND, OutputKind, RunType
from optaic.domain.lease import AttemptOutcome
from optaic.domain.metric import STANDARD_METRICS
from optaic.domain.principal import SYSTEM_ID
from optaic.domain.reason import Reason
from optaic.domain.run import Run
from optaic.domain.status import RunStatus, Standing
from optaic.domain.text import clean_text
from optaic.errors import ConflictError, InvalidOutputError, NoOutputError
from optaic.flows.task import DatasetChange, Result
from optaic.ledger import alerts, attempts, catalog, runs, versions
from optaic.ledger.attempts import Report
from optaic.ledger.columns import UtcDateTime
from optaic.ledger.rows import insert_rows
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.tables import EXTENSIONS, flows, run_inputs, run_metrics
from optaic.lifecycle import trigger
from optaic.lifecycle.advance import advance
from optaic.lifecycle.expect import good_until, prepare
from optaic.lifecycle.propagate import propagate, readers_of

DEFAULT_KEY = ("date", "symbol")

_OWN_COLUMNS = frozenset({"tenant_id", "run_id", "base_version_id", "calendar", "model_version_id"})
"""Columns of extension tables that the ledger writes itself."""

_SERIAL = re.compile(r"\d+\.parquet")


def complete(
    database: Database,
    run_id: uuid.UUID,
    attempt: int,
    result: Result,
    *,
    exit_code: int | None = None,
    last_report: Report | None = None,
    position: int = 0,
    held: Run | None = None,
    actor_id: uuid.UUID = SYSTEM_ID,
) -> Run:
    """Complete a run with what its flow returned; an official run that changed something publishes a version.

    Parameters
    ----------
    database
        The ledger.
    run_id, attempt
        Who completes.
    result
        Outputs, which are in the store already, and metrics.
    exit_code
        Of the run's process, if it had one.
    last_report
        What was reported and not yet written; it is written in the same transaction, or not at all.
    position
        Number of its first metric point or log chunk within the attempt.
    held
        The run as it was claimed, if the caller has it: of a tracked one nothing newer is needed, and the write itself
        looks whether it is held still.
    actor_id
        Who acts.

    Returns
    -------
    Run
        The completed run.

    Raises
    ------
    LeaseLostError
        If the attempt does not hold the run any more; nothing is changed.
    NoOutputError
        If there is nothing to show for the work; nothing is changed, and the caller fails the run.
    InvalidOutputError
        If the result refers to objects that this attempt cannot have written; likewise.
    """
    prepare(database, run_id, result)
    with database.write(actor_id=actor_id) as tx:
        run = held if held is not None and held.engine == "inline" else runs.get(tx, run_id)
        if run.standing is Standing.OFFICIAL and tx.is_postgresql:
            lock_graph(tx)
            run = runs.get(tx, run_id)
        transition = transitions.complete(run, attempt)
        _check_output(run, result)
        _check_references(tx.tenant_id, run, attempt, result)
        metrics = _all_metrics(tx, run, result, last_report, position)
        payload: dict[str, Any] = {"metrics": _plain(metrics)}
        if run.standing is Standing.OFFICIAL:
            version_id = _publish(tx, run, result)
            payload["version_id"] = str(version_id) if version_id else None
        completed = runs.change(
            tx,
            run,
            transition,
            payload=payload,
            values={"metrics_json": _plain(metrics), "progress_pct": 100.0, "mode": _mode(run, result)},
            attempt_values={"exit_code": exit_code},
        )
        if last_report is not None:
            attempts.write_report(tx, run_id, attempt, replace(last_report, progress=None), position=position)
        _write_metrics(tx, run_id, metrics)
        _write_extension(tx, run, metrics, result.fields)
        _write_slices(tx, run_id, result)
        if run.type is RunType.MONITORING:
            alerts.keep(tx, run, result.alerts)
        versions.insert_artifacts(tx, run_id, attempt, result.artifacts)
        if run.standing is Standing.OFFICIAL:
            readers = readers_of(tx, run.flow_id) if payload["version_id"] else []
            settled = propagate(tx, [run.flow_id], cause={"kind": "run", "run_id": str(run_id)}, readers=readers)
            advance(tx, completed)
            trigger.fire(tx, {run.flow_id, *readers, *settled.own, *settled.downstream})
        return completed


def end_attempt(
    database: Database,
    run_id: uuid.UUID,
    attempt: int,
    reason: Reason,
    *,
    outcome: AttemptOutcome = AttemptOutcome.FAILED,
    is_repeatable: bool = False,
    exit_code: int | None = None,
    only_if_lost: bool = False,
    actor_id: uuid.UUID = SYSTEM_ID,
) -> Run:
    """End an attempt that did not complete: the run fails, is cancelled, or waits to be tried again.

    Parameters
    ----------
    database
        The ledger.
    run_id, attempt
        Who ended.
    reason
        Why.
    outcome
        How.
    is_repeatable
        Whether trying again may help; the run's retry policy decides.
    exit_code
        Of the run's process, if it had one.
    only_if_lost
        Do nothing unless the lease has expired at the moment of the write.
    actor_id
        Who acts.

    Returns
    -------
    Run
        The run after the change.

    Raises
    ------
    LeaseLostError
        If the attempt does not hold the run any more, or `only_if_lost` and its lease is alive.
    """
    with database.write(actor_id=actor_id) as tx:
        # A completion of the same run locks flow, attempt and run in another order: one of the two comes first.
        lock_graph(tx)
        attempts.lock_run(tx, run_id, attempt=attempt)
        run = runs.get(tx, run_id)
        transition = transitions.end_attempt(
            run,
            attempt,
            reason,
            outcome=outcome,
            is_repeatable=is_repeatable,
            counted_attempts=attempts.count(tx, run_id),
            only_if_lost=only_if_lost,
        )
        values: dict[str, Any] = {}
        metrics: Mapping[str, Any] = {}
        if transition.target is not RunStatus.PENDING:
            metrics = attempts.last_values(tx, run_id, attempt)
            values["metrics_json"] = _plain(metrics)
        ended = runs.change(tx, run, transition, values=values, attempt_values={"exit_code": exit_code})
        _write_metrics(tx, run_id, metrics)
        if run.standing is Standing.OFFICIAL and transition.target is not RunStatus.CANCELLED:
            ended_ok = None if transition.outcome is AttemptOutcome.RELEASED else 0
            if ended_ok is not None:
                tx.conn.execute(
                    update(flows)
                    .where(flows.c.tenant_id == tx.tenant_id, flows.c.id == run.flow_id)
                    .values(last_attempt_run_id=run.id, last_attempt_ok=ended_ok)
                )
        advance(tx, ended)
        if run.standing is Standing.OFFICIAL and ended.status.is_terminal:
            trigger.fire(tx, [run.flow_id])
        return ended


def _all_metrics(
    tx: Transaction, run: Run, result: Result, last_report: Report | None, position: int
) -> dict[str, Any]:
    """Join what the attempt reported (the last value of each metric) and what its flow returned."""
    metrics: dict[str, Any] = {}
    if last_report is None or position:  # otherwise nothing was written before the last report
        metrics |= attempts.last_values(tx, run.id, run.attempt)
    if last_report is not None:
        metrics |= {key: value for key, _, value, _ in last_report.points}
    metrics |= result.metrics
    if run.type is RunType.PIPELINE and run.started_at is not None:
        metrics["duration_seconds"] = (run.ledger_now - run.started_at).total_seconds()
    return metrics


def _mode(run: Run, result: Result) -> str | None:
    """Say how a dataset was refreshed, also where that was left to the refresh."""
    return run.mode if result.dataset is None else result.dataset.mode or run.mode


def _check_output(run: Run, result: Result) -> None:
    if BY_FLOW_KIND[run.flow_kind].output is OutputKind.DATASET:
        if result.dataset is None:
            raise NoOutputError(f"run {run.id} of {run.instance} returned no dataset")
    elif result.output is not None:
        missing = sorted(set(result.output.artifacts) - {item.name for item in result.artifacts})
        if missing or not result.output.artifacts:
            raise NoOutputError(f"run {run.id} of {run.instance} did not write {', '.join(missing) or 'any file'}")
    elif not result.artifacts and not result.metrics:
        raise NoOutputError(
            f"run {run.id} of {run.instance} left no metric and no artifact",
            next_step="log at least one metric, frame or file, so that there is something to show for the work",
        )


def _check_references(tenant_id: int, run: Run, attempt: int, result: Result) -> None:
    """Refuse a result that refers to objects which this attempt cannot have written."""
    segments = {item.key for item in result.dataset.segments} if result.dataset else set[str]()
    own = f"t{tenant_id}/datasets/{run.instance}/{run.id}-{attempt}-"
    names = [item.name for item in result.artifacts]
    prefix = attempt_prefix(tenant_id, run.id, attempt)
    foreign = [key for key in segments if not (key.startswith(own) and _SERIAL.fullmatch(key, len(own)))]
    for item in result.artifacts:
        is_shared = item.kind == "segment" and item.stored.key in segments
        if check_name(item.name) and item.stored.key != f"{prefix}/{item.name}" and not is_shared:
            foreign.append(item.stored.key)
    if foreign or len(set(names)) != len(names):
        raise InvalidOutputError(
            f"run {run.id} returned objects that attempt {attempt} cannot have written",
            next_step="return tables, and log files through the context; the product names their objects",
        )


def _publish(tx: Transaction, run: Run, result: Result) -> uuid.UUID | None:
    """Publish the version of an official run, if it changed anything, and make the run the flow's current one."""
    flow = catalog.get_flow(tx, run.flow_id)
    values: dict[str, Any] = {"current_run_id": run.id, "last_attempt_run_id": run.id, "last_attempt_ok": 1}
    version_id = None
    change = result.dataset
    if change is not None:
        if change.segments:
            version_id = _publish_dataset(tx, run, flow, change)
            values["current_version_id"] = version_id
        values["last_data_date"] = change.last_data_date or flow.last_data_date
        values["source_asked_at"] = run.started_at
        good = good_until(flow, values["last_data_date"], run.started_at or run.ledger_now)
        values |= {"ready_until": good.ready_until, "expected_date": good.expected_date}
        if good.calendar is not None and run.type is RunType.PIPELINE:
            own = EXTENSIONS[run.type]
            tx.conn.execute(
                update(own)
                .where(own.c.tenant_id == tx.tenant_id, own.c.run_id == run.id)
                .values(calendar=good.calendar)
            )
    elif result.output is not None:
        version_id = versions.publish_output(
            tx, flow_id=flow.id, run_id=run.id, output=result.output, files=result.artifacts
        )
        if version_id is not None:
            values["current_version_id"] = version_id
        values["last_data_date"] = result.output.last_data_date or flow.last_data_date
    tx.conn.execute(update(flows).where(flows.c.tenant_id == tx.tenant_id, flows.c.id == run.flow_id).values(**values))
    return version_id


def _publish_dataset(tx: Transaction, run: Run, flow: catalog.Flow, change: DatasetChange) -> uuid.UUID:
    base_id = _base_version(tx, run)
    if base_id != flow.current_version_id:
        # The index lets one official run of a flow run at a time, so this cannot be; were it so, segments compared
        # with another version would be published as if they continued this one.
        raise ConflictError(f"run {run.id} was compared with a version of {run.instance} that is no longer current")
    return versions.publish_dataset(
        tx,
        flow_id=run.flow_id,
        run_id=run.id,
        previous=versions.get_dataset(tx, base_id) if base_id else None,
        key_columns=tuple(catalog.config_of(tx, run.revision_id).get("key") or DEFAULT_KEY),
        columns=change.columns,
        new_segments=change.segments,
        row_count=change.row_count,
        first_data_date=change.first_data_date,
        last_data_date=change.last_data_date,
        changed_from=change.changed_from,
        changed_columns=change.changed_columns,
        keeps_previous=not change.replaces,
    )


def _base_version(tx: Transaction, run: Run) -> uuid.UUID | None:
    extension = EXTENSIONS[run.type]
    return tx.conn.execute(
        select(extension.c.base_version_id).where(extension.c.tenant_id == tx.tenant_id, extension.c.run_id == run.id)
    ).scalar_one()


def _plain(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Make metrics fit for JSON: what is not finite becomes null, and texts are cleaned."""
    return {clean_text(key): _plain_value(value) for key, value in metrics.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_metrics(tx: Transaction, run_id: uuid.UUID, metrics: Mapping[str, Any]) -> None:
    numeric = {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    insert_rows(tx, run_metrics, {"run_id": run_id}, {"key": list(numeric), "value": list(numeric.values())})


def _write_extension(tx: Transaction, run: Run, metrics: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Copy the standard metrics and the fields of the run's type into its extension table; no other name reaches it."""
    table = EXTENSIONS[run.type]
    standard = {metric.name for metric in STANDARD_METRICS.get(run.type, ())}
    given = {name: value for name, value in metrics.items() if name in standard} | dict(fields)
    values = {
        name: _typed(table.c[name], value)
        for name, value in given.items()
        if name in table.c and name not in _OWN_COLUMNS
    }
    if values:
        tx.conn.execute(
            update(table).where(table.c.tenant_id == tx.tenant_id, table.c.run_id == run.id).values(**values)
        )


def _typed(column: Any, value: Any) -> Any:
    if isinstance(value, str) and isinstance(column.type, UtcDateTime):
        return dt.datetime.fromisoformat(value)
    if isinstance(value, str) and column.type.python_type is dt.date:
        return dt.date.fromisoformat(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _write_slices(tx: Transaction, run_id: uuid.UUID, result: Result) -> None:
    for role, span in result.slices.items():
        # What was pinned but not read is kept as read in no column: nothing that changes there matters.
        values: dict[str, Any] = {"columns": []} if span is None else {"first_date": span[0], "last_date": span[1]}
        if role in result.read_whole:
            values["columns"] = None
        tx.conn.execute(
            update(run_inputs)
            .where(run_inputs.c.tenant_id == tx.tenant_id, run_inputs.c.run_id == run_id, run_inputs.c.role == role)
            .values(**values)
        )
