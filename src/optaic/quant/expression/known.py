"""When a derived cell was known: at the latest of the instants at which the cells that it used were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from optaic.quant.expression.functions import CATALOGUE
from optaic.quant.expression.plan import Plan, Value
from optaic.quant.expression.signature import Shape
from optaic.quant.expression.tree import Call, Name, Node, parts


@dataclass(slots=True, kw_only=True)
class Knowledge:
    """Computes known_at beside the cells, in microseconds since 1970.

    A cell that a window or a cross-section could have used counts, whether its value is null or not: that it was null
    had to be known too. The result may be late by that, and is never early.

    Attributes
    ----------
    plan
        The plan of the cells.
    columns
        The known_at column of each input that has one.
    members
        The column that says who is a member, if there is one.
    """

    plan: Plan
    columns: Mapping[str, str]
    members: str | None = None
    _found: dict[Node, Value | None] = field(default_factory=dict[Node, Value | None])

    def of(self, node: Node) -> Value | None:
        """Give known_at of a part; None if it uses no input that has one."""
        if node not in self._found:
            self._found[node] = self._derive(node)
        return self._found[node]

    def _derive(self, node: Node) -> Value | None:
        if isinstance(node, Name):
            return self._input(node.name)
        below = [value for part in parts(node) if (value := self.of(part)) is not None]
        if isinstance(node, Call) and below:
            shape = CATALOGUE[node.function].shape
            if shape is Shape.TIME:
                return self._along(node, self._latest(below))
            if shape is not Shape.ELEMENT:
                return self._across(node, self._latest(below))
        elif isinstance(node, Call) and CATALOGUE[node.function].shape in {Shape.CROSS_SECTION, Shape.GROUP}:
            return self._across(node, None)
        return self._latest(below) if below else None

    def _input(self, name: str) -> Value | None:
        if name not in self.columns:
            return None
        return self.plan.keep(("known", name), Value(expr=pl.col(self.columns[name]).dt.epoch("us"), level=0, depth=1))

    def _latest(self, values: list[Value]) -> Value:
        return values[0] if len(values) == 1 else self.plan.combine(pl.max_horizontal, *values)

    def _along(self, call: Call, value: Value) -> Value:
        column = self.plan.keep(("known operands", call.operands), value)

        def over(statistic: Callable[[pl.Expr], pl.Expr]) -> Value:
            return self.plan.over_symbol(Value(expr=statistic(column.expr), level=column.level))

        if CATALOGUE[call.function].full_history:
            found = over(lambda known: known.cum_max().forward_fill())
        elif call.function == "TS_FFILL":
            found = over(lambda known: known.rolling_max(call.count("limit") + 1, min_samples=1))
        else:
            n = call.count("n")
            if call.function in {"TS_REF", "TS_DELTA", "TS_RETURN"}:
                found = over(lambda known: known.shift(n))
            elif call.function == "LEAD":
                found = over(lambda known: known.shift(-n))
            else:
                found = over(lambda known: known.rolling_max(n, min_samples=1))
        kept = self.plan.keep(("known", call), found)
        return self._latest([column, kept]) if call.function in {"TS_DELTA", "TS_RETURN"} else kept

    def _across(self, call: Call, value: Value | None) -> Value | None:
        """Take the latest of the session's members, and of the membership itself."""
        values: list[Value] = []
        if value is not None:
            if self.plan.members is not None:
                value = self.plan.combine(lambda member, known: pl.when(member).then(known), self.plan.members, value)
            values.append(self.plan.keep(("known members", call), value))
        if self.members is not None and (known := self._input(self.members)) is not None:
            values.append(known)
        if not values:
            return None
        latest = self.plan.keep(("known session", call), self._latest(values))
        return self.plan.keep(
            ("known", call), Value(expr=latest.expr.max().over(self.plan.date), level=latest.level, depth=1)
        )
