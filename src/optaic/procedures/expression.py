"""Expressions as definitions: of datasets, and of previews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from optaic.domain.version import KNOWN_AT
from optaic.errors import ExpressionError
from optaic.flows.grid import DATE, SYMBOL, VALUE, value_column
from optaic.flows.in_sample import refuse_in_sample
from optaic.flows.universe import UNIVERSE, carried
from optaic.quant.expression import evaluate as evaluate_expression
from optaic.quant.expression import known_column, parse, to_grid

if TYPE_CHECKING:
    from optaic.flows.context import RunContext


def evaluate(ctx: RunContext, **params: Any) -> pl.DataFrame:
    """Evaluate the instance's expression over its inputs.

    Each name of the expression is an input with one column of values. Sessions are the dates on which any of them has a
    row. An input `universe` that is no name of the expression says who is a member: on each session what its last row
    of the name up to that date says.

    Parameters
    ----------
    ctx
        The run's context; the expression stands in its config.
    **params
        What the placeholders of the expression stand for.

    Returns
    -------
    DataFrame
        `date` (Date), `symbol` (String), `value` (Float64), and `known_at` (UTC), the latest of what the value used;
        sorted by date and symbol. A dataset has the rows with a value; a preview these, and those of names of which
        any input has a value on the date, with null for their own.

    Raises
    ------
    ExpressionError
        If the expression cannot be evaluated over these inputs.
    InSampleInputError
        If an input is predictions for dates that their fit had seen.
    InvalidInputError
        If an input has several columns, and none is declared; or the universe says nothing of members.
    """
    try:
        return _evaluate(ctx, params)
    except ExpressionError as error:
        raise ExpressionError(
            error.expression,
            error.problem,
            start=error.start,
            end=error.end,
            next_step=error.next_step or "correct the expression, or what its inputs read, then run: optaic apply",
        ) from error


def _evaluate(ctx: RunContext, params: Mapping[str, Any]) -> pl.DataFrame:
    parsed = parse(str(ctx.config["expression"]), params=params)
    roles = list(parsed.names)
    has_members = UNIVERSE in ctx.inputs and UNIVERSE not in roles
    tables: dict[str, pl.DataFrame] = {}
    for place, role in enumerate(roles):
        source = ctx.input(role)
        refuse_in_sample(source)
        column = value_column(source, VALUE, "close")
        # A withdrawal is knowledge too: what is computed without a value is known since that value is gone.
        tables[role] = source.with_withdrawn().select(DATE, SYMBOL, pl.col(column).alias(role), KNOWN_AT)
        ctx.progress(40 * (place + 1) / len(roles), f"{role} is read")
    sessions = pl.concat([table[DATE] for table in tables.values()]).unique().sort()
    if has_members:
        tables[UNIVERSE] = carried(ctx, sessions)
    grid = to_grid(tables, sessions)
    computed = evaluate_expression(
        parsed,
        grid,
        members=UNIVERSE if has_members else None,
        known_at={role: known_column(role) for role in tables},
        value=VALUE,
    )
    ctx.progress(80, "computed")
    rows = computed.with_columns(pl.col(VALUE).cast(pl.Float64))
    if ctx.config.get("kind") == "dataset":
        rows = rows.drop_nulls(VALUE)
    else:
        has_input = grid.select(pl.any_horizontal(pl.col(role).is_not_null() for role in parsed.names)).to_series()
        rows = rows.filter(has_input | rows[VALUE].is_not_null())
    return rows.sort(DATE, SYMBOL)
