"""Many rows at once: a number of statements that does not grow with them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from optaic.domain import run as transitions
from optaic.domain.identifier import new_id
from optaic.domain.kind import BY_FLOW_KIND, BY_RUN_TYPE, RunType
from optaic.domain.reason import Reason
from optaic.domain.run import Run
from optaic.domain.status import RunStatus
from optaic.ledger import activities
from optaic.ledger import runs as runs_of
from optaic.ledger.catalog import Flow
from optaic.ledger.columns import among, db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import EXTENSIONS, runs


def insert_runs(tx: Transaction, wanted: Sequence[tuple[Flow, Mapping[str, Any]]]) -> list[uuid.UUID]:
    """Record runs, `pending`, each as `optaic.ledger.runs.insert_run` would; give their ids, in order.

    Parameters
    ----------
    tx
        An open transaction.
    wanted
        What each will execute, and its columns of `runs`; all name the same columns.
    """
    rows: list[dict[str, Any]] = []
    by_type: dict[RunType, list[tuple[uuid.UUID | str, Mapping[str, Any]]]] = {}
    for flow, values in wanted:
        run_type, run_id = BY_FLOW_KIND[flow.kind].run_type, new_id()
        rows.append(
            {
                "tenant_id": tx.tenant_id,
                "id": run_id,
                "type": run_type,
                "flow_id": flow.id,
                "instance_id": flow.instance_id,
                "revision_id": flow.revision_id,
                "definition_version_id": flow.definition_version_id,
                "source_digest": flow.source_digest,
                "engine": flow.engine,
                "status": RunStatus.PENDING,
                "submitted_by": tx.actor_id,
                "correlation_id": tx.correlation_id,
                **values,
            }
        )
        facts = {
            "instance_id": str(flow.instance_id),
            "flow_id": str(flow.id),
            "standing": values["standing"],
            "trigger": values["trigger"],
        }
        by_type.setdefault(run_type, []).append((run_id, facts))
    if rows:
        tx.conn.execute(insert(runs).values(submitted_at=db_now(), available_at=db_now()), rows)
    for run_type, told in by_type.items():
        tx.conn.execute(
            insert(EXTENSIONS[run_type]), [{"tenant_id": tx.tenant_id, "run_id": run_id} for run_id, _ in told]
        )
        activities.record_all(tx, f"{BY_RUN_TYPE[run_type].slug}.submitted", told)
    return [row["id"] for row in rows]


def cancel_pending(tx: Transaction, found: Sequence[Run], reason: Reason) -> None:
    """Cancel pending runs, each as `optaic.ledger.runs.change` would.

    Parameters
    ----------
    tx
        An open transaction that holds the runs' locks.
    found
        The runs, as they were read under these locks.
    reason
        Why, for all of them.

    Raises
    ------
    IllegalTransitionError
        If one of them is not pending.
    """
    if not found:
        return
    decided = [transitions.cancel_pending(run, reason) for run in found]
    why = {
        "reason_code": reason.code,
        "reason_message": reason.message,
        "reason_next_step": reason.next_step,
    }
    tx.conn.execute(
        runs_of.update_status(RunStatus.CANCELLED),
        [
            {
                "tenant": tx.tenant_id,
                "run": run.id,
                "source": one.source,
                "fence": one.fence,
                "status": one.target,
                **why,
            }
            for run, one in zip(found, decided, strict=True)
        ],
    )
    told: dict[str, list[tuple[uuid.UUID | str, Mapping[str, Any]]]] = {}
    for run, one in zip(found, decided, strict=True):
        facts = {
            "instance_id": str(run.instance_id),
            "instance": run.instance,
            "status": one.target,
            "attempt": one.fence,
            "reason_code": reason.code,
            "reason": reason.message,
        }
        told.setdefault(f"{run.slug}.{one.verb}", []).append((run.id, facts))
    for verb, facts in told.items():
        activities.record_all(tx, verb, facts)


def lock_runs(tx: Transaction, run_ids: Collection[uuid.UUID]) -> list[Run]:
    """Read runs and keep others from changing them until the commit: in the order of their ids, one statement."""
    if not run_ids:
        return []
    query = (
        runs_of.select_runs()
        .where(runs.c.tenant_id == tx.tenant_id, among(runs.c.id, run_ids, is_postgresql=tx.is_postgresql))
        .order_by(runs.c.id)
    )
    if tx.is_postgresql:
        query = query.with_for_update(of=runs, key_share=True)
    return [runs_of.to_run(row) for row in tx.conn.execute(query).all()]


def insert_columns(
    tx: Transaction, table: Table, columns: Mapping[str, Sequence[Any]], *, now: str | None = None
) -> None:
    """Insert rows that are given column by column, in one statement: tens of thousands in a fraction of a second.

    Parameters
    ----------
    tx
        An open transaction.
    table
        Where to; its `tenant_id` is filled in.
    columns
        Values by column, all of the same length; those of a JSON column as text. Nothing happens if there are none.
    now
        A column that takes the database's clock.
    """
    if not next(iter(columns.values())):
        return
    clock = {} if now is None else {now: db_now()}
    if tx.is_postgresql:
        values: dict[str, ColumnElement[Any]] = {"tenant_id": literal(tx.tenant_id, Integer())}
        for name, given in columns.items():
            is_json = isinstance(table.c[name].type, JSON)
            listed = bindparam(None, list(given), type_=ARRAY(Text() if is_json else table.c[name].type))
            values[name] = cast(func.unnest(listed), JSONB) if is_json else func.unnest(listed)
        values |= clock
        tx.conn.execute(insert(table).from_select(list(values), select(*values.values())))
        return
    dialect = tx.conn.dialect
    named: dict[str, ColumnElement[Any]] = {name: bindparam(name) for name in ("tenant_id", *columns)}
    compiled = insert(table).values({**named, **clock}).compile(dialect=dialect)
    plain: dict[str, Iterable[Any]] = {"tenant_id": repeat(tx.tenant_id)}
    for name, given in columns.items():
        kind = table.c[name].type
        write = None if isinstance(kind, JSON) else kind.dialect_impl(dialect).bind_processor(dialect)
        plain[name] = given if write is None else [None if value is None else write(value) for value in given]
    # The driver itself, because the parameters of each row are ready: a third of the time.
    rows = list(zip(*(plain[name] for name in compiled.positiontup or ()), strict=False))
    tx.conn.exec_driver_sql(str(compiled), rows)


def plain_id(column: ColumnElement[Any], tx: Transaction) -> ColumnElement[str]:
    """Give an id as text, as the database has it: for tens of thousands, most of which are the same."""
    return cast(column, Text) if tx.is_postgresql else type_coerce(column, String)
