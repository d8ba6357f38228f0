"""Functions across the symbols of a session: the CS_ and GROUP_ families."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from optaic.quant.expression.cross import neutralize, normal_quantile
from optaic.quant.expression.kernel import ZERO, Matrix
from optaic.quant.expression.plan import Plan, Value, finite
from optaic.quant.expression.tree import Call, Kind

Lower = Callable[[Plan, Call, list[Value], Value | None], Value]
"""Gives the cells of a call from the columns of its operands and of its group."""


class _Section:
    """The cells of a call's first operand that are compared with each other, and statistics of them, each a column."""

    def __init__(self, plan: Plan, call: Call, x: Value, group: Value | None) -> None:
        self.plan = plan
        self._key = (call.operands[0], call.group)
        self._group = group
        self.x = self._members_of(x)

    def _members_of(self, x: Value) -> Value:
        members, group = self.plan.members, self._group
        if members is not None:
            x = self.plan.keep(
                ("member", self._key[0]), lambda: self.plan.combine(lambda m, v: pl.when(m).then(v), members, x)
            )
        if group is not None:
            grouped, plain = group, x
            x = self.plan.keep(
                ("grouped", self._key),
                lambda: self.plan.combine(lambda g, v: pl.when(g.is_not_null()).then(v), grouped, plain),
            )
        return x

    def over(self, value: Value, statistic: Callable[[pl.Expr], pl.Expr]) -> Value:
        """Compute a statistic for each session, or for each group of it."""
        group = self._group
        keys = [pl.col(self.plan.date)] if group is None else [pl.col(self.plan.date), group.expr]
        level = value.level if group is None else max(value.level, group.level)
        return Value(expr=statistic(value.expr).over(*keys), level=level, depth=1)

    def column(self, name: str, statistic: Callable[[pl.Expr], pl.Expr]) -> Value:
        """Compute a statistic of the cells, once."""
        return self.plan.keep((name, *self._key), lambda: self.over(self.x, statistic))

    @property
    def mean(self) -> Value:
        """Their mean."""
        return self.column("mean", lambda x: x.mean())

    @property
    def away(self) -> Value:
        """The cells minus their mean, as it is rounded: beside a large offset the mean of these is not yet zero."""
        mean = self.mean
        return self.plan.keep(("away", *self._key), lambda: self.plan.combine(lambda x, m: x - m, self.x, mean))

    @property
    def rest(self) -> Value:
        """What the mean of `away` still is."""
        away = self.away
        return self.plan.keep(("rest", *self._key), lambda: self.over(away, lambda x: x.mean()))

    @property
    def deviation(self) -> Value:
        """The standard deviation, ddof=1; null where it is zero, but for rounding, or fewer than two cells exist."""
        away = self.away
        found = self.plan.keep(("deviation", *self._key), lambda: self.over(away, lambda x: x.std(ddof=1)))
        return self.plan.combine(lambda s, m: pl.when(s > ZERO * m.abs()).then(s), found, self.mean)

    def where_varied(self, found: Value) -> Value:
        """Make null where fewer than two cells exist or all are equal, but for rounding."""
        least, most = self.column("least", lambda x: x.min()), self.column("most", lambda x: x.max())
        return self.plan.combine(
            lambda value, low, high: pl.when((high - low) > ZERO * (low.abs() + high.abs())).then(value),
            found,
            least,
            most,
        )

    @property
    def rank(self) -> Value:
        """The average rank of each cell, from 1."""
        return self.column("rank", lambda x: x.rank("average"))

    @property
    def count(self) -> Value:
        """How many cells exist."""
        return self.column("count", lambda x: x.count())


def _ranked(join: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Lower:
    def lower(plan: Plan, call: Call, operands: list[Value], group: Value | None) -> Value:
        section = _Section(plan, call, operands[0], group)
        return section.where_varied(plan.combine(join, section.rank, section.count))

    return lower


def _zscore(plan: Plan, call: Call, operands: list[Value], group: Value | None) -> Value:
    section = _Section(plan, call, operands[0], group)
    return plan.combine(lambda x, m, s: finite((x - m) / s), section.away, section.rest, section.deviation)


def _demean(plan: Plan, call: Call, operands: list[Value], group: Value | None) -> Value:
    section = _Section(plan, call, operands[0], group)
    return plan.combine(
        lambda x, m, s: pl.when(s.is_not_null()).then(x - m), section.away, section.rest, section.deviation
    )


def _mean(plan: Plan, call: Call, operands: list[Value], group: Value | None) -> Value:
    section = _Section(plan, call, operands[0], group)
    return plan.combine(lambda x, m: pl.when(x.is_not_null()).then(m), section.x, section.mean)


def _scale(plan: Plan, call: Call, operands: list[Value], group: Value | None) -> Value:
    section = _Section(plan, call, operands[0], group)
    size = section.column("size", lambda x: x.abs().sum())
    return section.where_varied(plan.combine(lambda x, s: finite(x / s), section.x, size))


def _winsorize(plan: Plan, call: Call, operands: list[Value], group: Value | None) -> Value:
    section = _Section(plan, call, operands[0], group)
    mads, tail = call.setting("mads"), call.setting("quantile")
    if tail is not None:
        low = section.column(f"quantile {tail}", lambda x: x.quantile(tail, "linear"))
        high = section.column(f"quantile {1 - tail}", lambda x: x.quantile(1 - tail, "linear"))
        return section.where_varied(plan.combine(lambda x, a, b: x.clip(a, b), section.x, low, high))
    median = section.column("median", lambda x: x.median())
    away = plan.combine(lambda x, m: (x - m).abs(), section.x, median)
    away = plan.keep(("median away", call.operands[0]), away)
    mad = plan.keep(("mad", call.operands[0]), section.over(away, lambda x: x.median()))
    times = float(mads or 0.0)

    def clipped(x: pl.Expr, centre: pl.Expr, spread: pl.Expr) -> pl.Expr:
        inside = x.clip(centre - times * spread, centre + times * spread)
        return pl.when(spread > ZERO * centre.abs()).then(inside)

    return section.where_varied(plan.combine(clipped, section.x, median, mad))


def _gauss(plan: Plan, call: Call, operands: list[Value], group: Value | None) -> Value:
    section = _Section(plan, call, operands[0], group)
    share = plan.combine(lambda rank, count: (rank - 0.5) / count, section.rank, section.count)
    quantile = Value(
        expr=share.expr.map_batches(_normal_quantiles, return_dtype=pl.Float64), level=share.level, depth=share.depth
    )
    return section.where_varied(quantile)


def _normal_quantiles(shares: pl.Series) -> pl.Series:
    return pl.Series(normal_quantile(shares.to_numpy()), nan_to_null=True)


def _bucket(plan: Plan, call: Call, operands: list[Value], group: Value | None) -> Value:
    section = _Section(plan, call, operands[0], group)
    buckets = call.count("buckets")
    number = plan.combine(lambda rank, count: (rank * buckets / count).ceil(), section.rank, section.count)
    return section.where_varied(number)


def _neutralize(plan: Plan, call: Call, operands: list[Value], group: Value | None) -> Value:
    section = _Section(plan, call, operands[0], None)
    nodes = [*call.operands[1:], *([call.group] if call.group is not None else [])]
    values = [*operands[1:], *([group] if group is not None else [])]
    exposures: list[Value] = []
    groups: list[Value] = []
    for node, value in zip(nodes, values, strict=True):
        if node is call.group or node.kind is Kind.TEXT:
            # As numbers: equal where the groups are equal, null where they are null.
            codes = Value(expr=value.expr.rank("dense").cast(pl.Float64), level=value.level, depth=1)
            groups.append(plan.keep(("codes", node), codes))
        else:
            exposures.append(value)
    count = len(exposures)

    def kernel(columns: list[Matrix]) -> Matrix:
        return neutralize(columns[0], columns[1 : 1 + count], columns[1 + count :])

    return section.where_varied(plan.matrices(kernel, [section.x, *exposures, *groups]))


SECTION: dict[str, Lower] = {
    "CS_RANK": _ranked(lambda rank, count: rank / count),
    "CS_ZSCORE": _zscore,
    "CS_DEMEAN": _demean,
    "CS_SCALE": _scale,
    "CS_WINSORIZE": _winsorize,
    "CS_GAUSS": _gauss,
    "CS_BUCKET": _bucket,
    "CS_NEUTRALIZE": _neutralize,
    "GROUP_RANK": _ranked(lambda rank, count: rank / count),
    "GROUP_ZSCORE": _zscore,
    "GROUP_MEAN": _mean,
    "GROUP_DEMEAN": _demean,
}
"""How each function across symbols is computed."""
