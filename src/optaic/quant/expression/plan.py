"""How an expression becomes Polars: stages of columns, each computed once from those before."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import cast, overload

import numpy as np
import polars as pl

from optaic.quant.expression.kernel import Matrix

PREFIX = "__optaic_"
"""What the names of intermediate columns begin with."""

_DEEPEST = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Cells that can be computed.

    Attributes
    ----------
    expr
        Element by element, from columns that exist when `level` stages are done.
    level
        How many stages come before.
    depth
        How many operations `expr` nests.
    """

    expr: pl.Expr
    level: int
    depth: int = 0


@dataclass(slots=True, kw_only=True)
class Plan:
    """The stages of one evaluation.

    Attributes
    ----------
    date, symbol
        The columns of the grid.
    members
        The condition that says who is a member; None if all are.
    stages
        For each, its columns by name.
    """

    date: str
    symbol: str
    members: Value | None = None
    stages: list[dict[str, pl.Expr]] = field(default_factory=list[dict[str, pl.Expr]])
    _kept: dict[Hashable, Value] = field(default_factory=dict[Hashable, Value])

    @overload
    def combine(self, operation: Callable[[pl.Expr], pl.Expr], first: Value, /) -> Value: ...

    @overload
    def combine(self, operation: Callable[[pl.Expr, pl.Expr], pl.Expr], first: Value, second: Value, /) -> Value: ...

    @overload
    def combine(
        self, operation: Callable[[pl.Expr, pl.Expr, pl.Expr], pl.Expr], first: Value, second: Value, third: Value, /
    ) -> Value: ...

    @overload
    def combine(self, operation: Callable[..., pl.Expr], *values: Value) -> Value: ...

    def combine(self, operation: Callable[..., pl.Expr], *values: Value) -> Value:
        """Join cells element by element; what would nest too deeply becomes a column first."""
        ready = [self.keep(object(), value) if value.depth >= _DEEPEST else value for value in values]
        return Value(
            expr=operation(*(value.expr for value in ready)),
            level=max((value.level for value in ready), default=0),
            depth=1 + max((value.depth for value in ready), default=0),
        )

    def keep(self, key: Hashable, value: Value | Callable[[], Value]) -> Value:
        """Make cells a column, once for each key.

        Parameters
        ----------
        key
            What the cells mean: the same key gives the same column.
        value
            The cells; or what gives them, asked only when the key is new.

        Returns
        -------
        Value
            The column.
        """
        if (kept := self._kept.get(key)) is not None:
            return kept
        made = value if isinstance(value, Value) else value()
        if made.depth == 0:
            self._kept[key] = made
            return made
        while len(self.stages) <= made.level:
            self.stages.append({})
        name = f"{PREFIX}{sum(len(stage) for stage in self.stages)}"
        self.stages[made.level][name] = made.expr
        self._kept[key] = Value(expr=pl.col(name), level=made.level + 1)
        return self._kept[key]

    def over_symbol(self, value: Value) -> Value:
        """Compute an expression for each symbol by itself."""
        return Value(expr=value.expr.over(self.symbol), level=value.level, depth=1)

    def matrices(self, kernel: Callable[[list[Matrix]], Matrix], columns: Sequence[Value]) -> Value:
        """Compute cells by a function of matrices of shape (n_symbols, n_sessions)."""
        symbol = self.symbol
        names = [f"{PREFIX}{number}" for number in range(len(columns))]

        def run(table: pl.Series) -> pl.Series:
            fields = table.struct.unnest()
            sessions = session_count(fields[symbol])
            found = kernel([as_matrix(fields[name], sessions) for name in names])
            return pl.Series(np.ascontiguousarray(found).reshape(-1), nan_to_null=True)

        inputs = [column.expr.alias(name) for name, column in zip(names, columns, strict=True)]
        expr = pl.struct(pl.col(symbol), *inputs).map_batches(run, return_dtype=pl.Float64)
        return Value(expr=finite(expr), level=max(column.level for column in columns), depth=1)

    def apply(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Add all columns of all stages to a frame."""
        for stage in self.stages:
            if stage:
                frame = frame.with_columns(**stage)
        return frame


def session_count(symbol: pl.Series) -> int:
    """Give how many rows of a grid that is sorted by symbol belong to each symbol."""
    rows = len(symbol)
    if not rows:
        return 0
    first, low, high = symbol[0], 1, 1
    while high < rows and symbol[high] == first:
        low, high = high + 1, high * 2
    high = min(high, rows)
    while low < high:
        middle = (low + high) // 2
        if symbol[middle] == first:
            low = middle + 1
        else:
            high = middle
    return low


def as_matrix(column: pl.Series, sessions: int) -> Matrix:
    """Give a column of the grid as a matrix of shape (n_symbols, n_sessions), nulls as NaN."""
    return cast("Matrix", column.cast(pl.Float64).to_numpy()).reshape(-1, max(sessions, 1))


def finite(expr: pl.Expr) -> pl.Expr:
    """Make NaN and infinity null. The expression is named once, so nesting does not multiply it."""
    return expr.map_batches(_finite, return_dtype=pl.Float64, is_elementwise=True)


def _finite(cells: pl.Series) -> pl.Series:
    is_finite = cells.is_finite()
    return cells if is_finite.all() else cells.zip_with(is_finite, pl.Series([None], dtype=pl.Float64))
