"""Evaluates an expression on the grid, with lazy Polars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from optaic.errors import InvalidInputError
from optaic.quant.expression import element
from optaic.quant.expression.functions import CATALOGUE
from optaic.quant.expression.grid import KNOWN_AT, check_grid
from optaic.quant.expression.known import Knowledge
from optaic.quant.expression.parse import parse
from optaic.quant.expression.plan import PREFIX, Plan, Value, finite
from optaic.quant.expression.rolling import TIME
from optaic.quant.expression.section import SECTION
from optaic.quant.expression.signature import Shape
from optaic.quant.expression.tree import Call, Expression, Kind, Name, Node, Number, Operation, Text

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def evaluate(
    expression: str | Expression,
    frame: Frame,
    *,
    date: str = "date",
    symbol: str = "symbol",
    params: Mapping[str, object] | None = None,
    members: str | None = None,
    known_at: Mapping[str, str] | None = None,
    value: str = "value",
    allow_lead: bool = False,
) -> Frame:
    """Evaluate an expression for each session and symbol.

    Parameters
    ----------
    expression
        Its text, or what `parse` has made of it; that has its params already.
    frame
        The grid: `date`, `symbol`, and a column for each input; sorted by symbol and date, each pair of a session and a
        symbol once, as `to_grid` makes it. Numbers of any type, with NaN and infinity taken as null; conditions
        (Boolean); groups (String, Categorical, Enum).
    date, symbol
        Names of the key columns.
    params
        What the placeholders stand for.
    members
        A Boolean column: who is a member on a date, null as not. Cross-sections see members alone; functions along time
        see the whole history of a name. None: all that have a value.
    known_at
        For inputs, and for the members' column, the column that says when their cells were known (Datetime, UTC).
    value
        Name of the column of the result.
    allow_lead
        Whether `LEAD` may be used: in a model's target alone.

    Returns
    -------
    DataFrame or LazyFrame, as `frame`
        One row for each row of the grid, in its order: `date`, `symbol`, the value (Float64, or Boolean for a
        condition; null where it does not exist, never NaN), and with `known_at` given a column `known_at` (Datetime of
        microseconds, UTC): the latest of what the value used. It is null where nothing was used.

    Raises
    ------
    ExpressionError
        If the expression is wrong, at the place.
    InvalidInputError
        If a column is missing or of a type that cannot be used, or the frame is no grid. For a lazy frame the latter is
        found when it is collected.

    Notes
    -----
    An empty grid gives an empty result. The result of a DataFrame is the same to the last bit in every call and with
    any number of threads; collect that of a LazyFrame with `engine="in-memory"` for the same.

    Examples
    --------
    >>> from datetime import date
    >>> grid = pl.DataFrame({"date": [date(2024, 1, 2), date(2024, 1, 3)], "symbol": ["A", "A"], "close": [4.0, 5.0]})
    >>> evaluate("close / TS_REF(close, 1) - 1", grid)["value"].to_list()
    [None, 0.25]
    """
    schema = frame.collect_schema()
    for name in (date, symbol, *([] if members is None else [members]), *(known_at or {}).values()):
        if name not in schema:
            raise InvalidInputError(f"the frame has no column {name}", next_step=f"it has: {', '.join(schema)}")
    if members is not None and schema[members] != pl.Boolean:
        raise InvalidInputError(f"the column {members} says who is a member, so it must be Boolean")
    if not isinstance(schema[date], pl.Date | pl.Datetime):
        raise InvalidInputError(f"the column {date} is {schema[date]}, and must be a date")
    skipped = {date, symbol, *(known_at or {}).values()}
    kinds = {name: kind for name, dtype in schema.items() if name not in skipped and (kind := _kind(dtype)) is not None}
    source = expression if isinstance(expression, str) else expression.source
    given = params if isinstance(expression, str) else dict(expression.params)
    lead = allow_lead if isinstance(expression, str) else expression.allow_lead
    parsed = parse(source, params=given, names=kinds, allow_lead=lead)

    plan = Plan(date=date, symbol=symbol)
    if members is not None:
        plan.members = plan.keep("members", Value(expr=pl.col(members).fill_null(value=False), level=0, depth=1))
    compiler = _Compiler(plan=plan, schema=schema)
    outputs = {value: compiler.lower(parsed.root)}
    if known_at is not None:
        known = Knowledge(plan=plan, columns=known_at, members=members).of(parsed.root)
        instants = known or Value(expr=pl.lit(None, dtype=pl.Int64), level=0)
        outputs[KNOWN_AT] = Value(
            expr=instants.expr.cast(pl.Datetime("us", "UTC")), level=instants.level, depth=instants.depth
        )
    needed: dict[str, None] = dict.fromkeys([date, symbol, *parsed.names, *([] if members is None else [members])])
    needed |= dict.fromkeys(column for name, column in (known_at or {}).items() if name in needed)
    if isinstance(frame, pl.LazyFrame):
        checked = frame.select(*needed).map_batches(lambda rows: check_grid(rows, date, symbol))
        return _select(plan, checked, outputs)
    checked = check_grid(frame.select(*needed), date, symbol).lazy()
    # The streaming engine sums in an order that depends on the threads there are, and changes from call to call.
    return _select(plan, checked, outputs).collect(engine="in-memory")


def _select(plan: Plan, frame: pl.LazyFrame, outputs: Mapping[str, Value]) -> pl.LazyFrame:
    found = {f"{PREFIX}out_{name}": column.expr for name, column in outputs.items()}
    last = plan.apply(frame).with_columns(**found)
    return last.select(plan.date, plan.symbol, *(pl.col(f"{PREFIX}out_{name}").alias(name) for name in outputs))


def _kind(dtype: pl.DataType) -> Kind | None:
    if dtype == pl.Boolean:
        return Kind.CONDITION
    if dtype.is_numeric():
        return Kind.NUMBER
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return Kind.TEXT
    # A column of nothing but nulls.
    return Kind.NUMBER if dtype == pl.Null else None


@dataclass(slots=True, kw_only=True)
class _Compiler:
    """Goes through the tree once; what is there twice becomes one column."""

    plan: Plan
    schema: Mapping[str, pl.DataType]

    def lower(self, node: Node) -> Value:
        match node:
            case Number():
                return Value(expr=pl.lit(node.value, dtype=pl.Float64), level=0, depth=1)
            case Text():
                return Value(expr=pl.lit(node.value, dtype=pl.String), level=0, depth=1)
            case Name():
                return self.plan.keep(node, lambda: self._input(node))
            case Operation():
                return self._operation(node)
            case Call():
                return self._call(node)

    def number(self, node: Node) -> Value:
        """Give cells as numbers: conditions as 1 and 0."""
        value = self.lower(node)
        return self.plan.combine(lambda x: x.cast(pl.Float64), value) if node.kind is Kind.CONDITION else value

    def column(self, node: Node) -> Value:
        """Give cells as a column: numbers as such, and groups as they are."""
        return self.plan.keep(("column", node), self.number(node))

    def _input(self, node: Name) -> Value:
        expr, dtype = pl.col(node.name), self.schema[node.name]
        if dtype.is_float():
            return Value(expr=finite(expr.cast(pl.Float64)), level=0, depth=1)
        if node.kind is Kind.NUMBER:
            return Value(expr=expr.cast(pl.Float64), level=0, depth=1)
        if isinstance(dtype, pl.Categorical | pl.Enum):
            return Value(expr=expr.cast(pl.String), level=0, depth=1)
        return Value(expr=expr, level=0)

    def _operation(self, node: Operation) -> Value:
        if node.operator in element.CONDITIONS:
            return self.plan.combine(element.CONDITIONS[node.operator], *map(self.lower, node.operands))
        if node.operator in element.EQUALITIES:
            return self.plan.combine(element.EQUALITIES[node.operator], *map(self.number, node.operands))
        return self.plan.combine(element.NUMBERS[node.operator], *map(self.number, node.operands))

    def _call(self, node: Call) -> Value:
        if CATALOGUE[node.function].shape is Shape.ELEMENT:
            return self._element(node)

        def make() -> Value:
            operands = [self.column(operand) for operand in node.operands]
            if node.function in TIME:
                return TIME[node.function](self.plan, node, operands)
            group = None if node.group is None else self.column(node.group)
            return SECTION[node.function](self.plan, node, operands, group)

        return self.plan.keep(node, make)

    def _element(self, node: Call) -> Value:
        operands: list[Value] = []
        for place, part in enumerate(node.operands):
            # A choice of conditions is one; all else counts them as 1 and 0.
            raw = node.kind in {Kind.CONDITION, Kind.TEXT} or (node.function == "IF" and place == 0)
            value = self.lower(part) if raw else self.number(part)
            if node.function in element.REPEATED:
                value = self.plan.keep(("raw" if raw else "column", part), value)
            operands.append(value)
        operation = element.ANY.get(node.function) or element.NUMBERS[node.function]
        return self.plan.combine(operation, *operands)
