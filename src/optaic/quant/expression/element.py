"""Operators and functions that look at each cell by itself."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from optaic.quant.expression.plan import finite


# A missing cell never decides: unlike in SQL, false AND null is null, as sums and products of 0 and 1 are by nature.
def _both(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return (left.cast(pl.UInt8) * right.cast(pl.UInt8)).cast(pl.Boolean)


def _either(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return left.cast(pl.UInt8) + right.cast(pl.UInt8) > 0


def _power(base: pl.Expr, exponent: pl.Expr) -> pl.Expr:
    return finite(base.pow(exponent))


def _signed_power(base: pl.Expr, exponent: pl.Expr) -> pl.Expr:
    # 0 ** 0 is 1, and the sign of 0 is 0.
    return finite(base.sign() * base.abs().pow(exponent))


def _greater(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return pl.when(left >= right).then(left).when(left < right).then(right)


def _less(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return pl.when(left <= right).then(left).when(left > right).then(right)


def _subtract(left: pl.Expr, right: pl.Expr | None = None) -> pl.Expr:
    return -left if right is None else finite(left - right)


def _clip(x: pl.Expr, low: pl.Expr, high: pl.Expr) -> pl.Expr:
    return _less(_greater(x, low), high)


def _choose(condition: pl.Expr, then: pl.Expr, otherwise: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(then).when(~condition).then(otherwise)


_ONE: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "ABS": lambda x: x.abs(),
    "LOG": lambda x: finite(x.log()),
    "EXP": lambda x: finite(x.exp()),
    "SQRT": lambda x: finite(x.sqrt()),
    "SIGN": lambda x: x.sign(),
}
_TWO: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "+": lambda left, right: finite(left + right),
    "*": lambda left, right: finite(left * right),
    "/": lambda left, right: finite(left / right),
    "**": _power,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "POWER": _power,
    "SIGNED_POWER": _signed_power,
    "GREATER": _greater,
    "LESS": _less,
}

NUMBERS: dict[str, Callable[..., pl.Expr]] = {**_ONE, **_TWO, "-": _subtract, "CLIP": _clip}
"""What takes numbers alone; a condition counts as 1 or 0."""

ANY: dict[str, Callable[..., pl.Expr]] = {"IF": _choose, "COALESCE": pl.coalesce, "IS_NULL": pl.Expr.is_null}
"""What takes cells of any kind."""

CONDITIONS: dict[str, Callable[..., pl.Expr]] = {"AND": _both, "OR": _either, "NOT": pl.Expr.not_}
"""What takes conditions alone."""

EQUALITIES: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}
"""What takes numbers, or texts."""

REPEATED = frozenset({"SIGNED_POWER", "CLIP", "GREATER", "LESS", "IF"})
"""What names an operand more than once, so that its operands are columns, or nesting would multiply them."""
