"""Search: lists of runs by type, status, instance, standing and metrics."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, or_, select

from optaic.domain.kind import BY_RUN_TYPE, FlowKind, RunType
from optaic.domain.run import Run
from optaic.domain.status import RunStatus, Standing
from optaic.domain.text import check_text
from optaic.errors import InvalidInputError
from optaic.ledger import runs as ledger_runs
from optaic.ledger.session import Transaction
from optaic.ledger.tables import flows, instances, run_inputs, run_metrics, runs, versions

_CONDITION = re.compile(
    r"\s*([A-Za-z_][\w.:/@=+ -]*?)\s*(>=|<=|!=|==|=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
)
_COLUMNS = {"submitted_at": runs.c.submitted_at, "started_at": runs.c.started_at, "ended_at": runs.c.ended_at}


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What runs to list.

    Attributes
    ----------
    type, status, standing
        Exactly this; None for all.
    target
        `instance` or `instance.flow_kind`.
    where
        Conditions on metrics, joined by `and`: `sharpe_ratio > 1 and max_drawdown > -0.2`. Runs without the metric are
        left out.
    sort
        A metric, or `submitted_at`, `started_at`, `ended_at`; `-` in front for descending. Runs without it come last.
        A metric ranks completed runs alone, unless `status` asks for others: what a failed run has reported of it was
        half of the work.
    limit
        At most so many.
    before
        The run after which to go on, of an earlier list in the default order.
    """

    type: str | None = None
    status: str | None = None
    standing: str | None = None
    target: str | None = None
    where: str | None = None
    sort: str | None = None
    limit: int = 50
    before: uuid.UUID | None = None


def search(tx: Transaction, wanted: Search) -> list[Run]:
    """List runs, newest first unless sorted otherwise: one statement, two with `before`.

    Raises
    ------
    InvalidInputError
        If a name, a condition or the limit is wrong.
    NotFoundError
        If `before` is no run.
    """
    if not 1 <= wanted.limit <= 10_000:
        raise InvalidInputError(f"a limit of {wanted.limit} runs is out of range", next_step="use 1 to 10000")
    for what, text in (("the instance", wanted.target), ("the condition", wanted.where), ("the sort", wanted.sort)):
        check_text(text or "", what)
    conditions = [runs.c.tenant_id == tx.tenant_id, *_conditions(tx, wanted)]
    order: list[ColumnElement[Any]] = [runs.c.submitted_at.desc(), runs.c.id.desc()]
    if wanted.sort:
        key = wanted.sort.removeprefix("-")
        value = _COLUMNS.get(key)
        if value is None:
            value = (
                select(run_metrics.c.value)
                .where(
                    run_metrics.c.tenant_id == runs.c.tenant_id,
                    run_metrics.c.run_id == runs.c.id,
                    run_metrics.c.key == key,
                )
                .scalar_subquery()
            )
            if wanted.status is None:
                conditions.append(runs.c.status == RunStatus.COMPLETED)
        order = [(value.desc() if wanted.sort.startswith("-") else value.asc()).nulls_last(), *order]
    query = ledger_runs.select_runs().where(*conditions).order_by(*order).limit(wanted.limit)
    return [ledger_runs.to_run(row) for row in tx.conn.execute(query)]


def _conditions(tx: Transaction, wanted: Search) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.type is not None:
        found.append(runs.c.type == _choice("type", _type_name(wanted.type), list(RunType)))
    if wanted.status is not None:
        found.append(runs.c.status == _choice("status", wanted.status, list(RunStatus)))
    if wanted.standing is not None:
        found.append(runs.c.standing == _choice("standing", wanted.standing, list(Standing)))
    if wanted.target is not None:
        name, _, kind = wanted.target.partition(".")
        found.append(instances.c.name == name)
        if kind:
            found.append(flows.c.kind == _choice("flow kind", kind, list(FlowKind)))
    for key, operator, number in parse_where(wanted.where or ""):
        value = run_metrics.c.value
        compared = {
            ">": value > number,
            "<": value < number,
            ">=": value >= number,
            "<=": value <= number,
            "=": value == number,
            "==": value == number,
            "!=": value != number,
        }[operator]
        found.append(
            exists().where(
                run_metrics.c.tenant_id == runs.c.tenant_id,
                run_metrics.c.run_id == runs.c.id,
                run_metrics.c.key == key,
                compared,
            )
        )
    if wanted.before is not None:
        last = ledger_runs.get(tx, wanted.before)
        found.append(
            or_(
                runs.c.submitted_at < last.submitted_at,
                and_(runs.c.submitted_at == last.submitted_at, runs.c.id < last.id),
            )
        )
    return found


def _type_name(name: str) -> str:
    """Take `backtest_run` for `BacktestRun`."""
    return next((kind.run_type for kind in BY_RUN_TYPE.values() if kind.slug == name), name)


def _choice(what: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise InvalidInputError(f"{value!r} is not a {what}", next_step=f"use one of: {', '.join(allowed)}")
    return value


def parse_where(text: str) -> list[tuple[str, str, float]]:
    """Read conditions on metrics, `name operator number`, joined by `and`.

    Raises
    ------
    InvalidInputError
        If a part is no condition; the message shows which.
    """
    found: list[tuple[str, str, float]] = []
    for part in re.split(r"\s+and\s+", text, flags=re.IGNORECASE) if text.strip() else []:
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise InvalidInputError(
                f"{part.strip()!r} is not a condition on a metric",
                next_step="write for example: --where 'rows_inserted > 0 and duration_seconds < 60'",
            )
        found.append((match[1], match[2], float(match[3])))
    return found


def inputs_of_runs(tx: Transaction, run_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Row[Any]]]:
    """Read what some runs pinned, by role, in one statement."""
    query = (
        select(run_inputs, instances.c.name.label("instance"), flows.c.kind.label("flow_kind"), versions.c.number)
        .join(flows, and_(flows.c.tenant_id == run_inputs.c.tenant_id, flows.c.id == run_inputs.c.upstream_flow_id))
        .join(instances, and_(instances.c.tenant_id == flows.c.tenant_id, instances.c.id == flows.c.instance_id))
        .outerjoin(
            versions, and_(versions.c.tenant_id == run_inputs.c.tenant_id, versions.c.id == run_inputs.c.version_id)
        )
        .where(run_inputs.c.tenant_id == tx.tenant_id, run_inputs.c.run_id.in_(run_ids))
        .order_by(run_inputs.c.run_id, run_inputs.c.role)
    )
    found: dict[uuid.UUID, list[Row[Any]]] = {}
    for row in tx.conn.execute(query):
        found.setdefault(row.run_id, []).append(row)
    return found


def count_by_status(tx: Transaction) -> dict[str, int]:
    """Count the runs in each status."""
    query = select(runs.c.status, func.count()).where(runs.c.tenant_id == tx.tenant_id).group_by(runs.c.status)
    return dict(tx.conn.execute(query).tuples().all())
