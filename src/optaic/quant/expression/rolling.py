"""Functions along time: the TS_ family and LEAD."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from optaic.quant.expression import kernel
from optaic.quant.expression.plan import Plan, Value, finite
from optaic.quant.expression.tree import Call

Windows = NDArray[np.float64]
Lower = Callable[[Plan, Call, list[Value]], Value]
"""Gives the cells of a call from the columns of its operands."""


def _shifted(plan: Plan, x: Value, n: int) -> Value:
    return plan.matrices(lambda found: kernel.shift(found[0], n), [x])


def _reference(plan: Plan, call: Call, operands: list[Value]) -> Value:
    return _shifted(plan, operands[0], call.count("n"))


def _lead(plan: Plan, call: Call, operands: list[Value]) -> Value:
    return _shifted(plan, operands[0], -call.count("n"))


def _change(join: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Lower:
    def lower(plan: Plan, call: Call, operands: list[Value]) -> Value:
        reference = replace(call, function="TS_REF")
        before = plan.keep(reference, _shifted(plan, operands[0], call.count("n")))
        return plan.combine(join, operands[0], before)

    return lower


def _native(rolling: Callable[[pl.Expr, Call, int], pl.Expr]) -> Lower:
    """Use a rolling function of Polars that is exact: order statistics."""

    def lower(plan: Plan, call: Call, operands: list[Value]) -> Value:
        return plan.over_symbol(Value(expr=rolling(operands[0].expr, call, _minimum(call)), level=operands[0].level))

    return lower


def _minimum(call: Call) -> int:
    return int(call.setting("min_periods") or call.count("n"))


def _sums(formula: kernel.Formula) -> Lower:
    def lower(plan: Plan, call: Call, operands: list[Value]) -> Value:
        rolled = functools.partial(kernel.roll, n=call.count("n"), minimum=_minimum(call), formula=formula)
        return plan.matrices(rolled, operands)

    return lower


def _decay(plan: Plan, call: Call, operands: list[Value]) -> Value:
    return _sums(kernel.decay(call.count("n")))(plan, call, operands)


def _windows(statistic: Callable[[Windows], Windows]) -> Lower:
    def lower(plan: Plan, call: Call, operands: list[Value]) -> Value:
        n, minimum = call.count("n"), _minimum(call)
        return plan.matrices(lambda found: kernel.roll_windows(found[0], n, minimum, statistic), operands)

    return lower


def _rank(plan: Plan, call: Call, operands: list[Value]) -> Value:
    n, minimum, x = call.count("n"), _minimum(call), operands[0]
    rank = x.expr.rolling_rank(n, method="average", min_samples=minimum)
    count = pl.lit(n) if minimum == n else x.expr.is_not_null().cast(pl.Float64).rolling_sum(n, min_samples=1)
    return plan.over_symbol(Value(expr=rank / count, level=x.level))


def _exponential(x: pl.Expr, call: Call, minimum: int) -> pl.Expr:
    return x.ewm_mean(span=call.count("n"), adjust=False, min_samples=minimum, ignore_nulls=False)


def _fill(plan: Plan, call: Call, operands: list[Value]) -> Value:
    limit = call.count("limit")
    return plan.over_symbol(Value(expr=operands[0].expr.forward_fill(limit), level=operands[0].level))


def _median_deviation(windows: Windows) -> Windows:
    centre = np.nanmedian(windows, axis=1, keepdims=True)
    found: Windows = np.nanmedian(np.abs(windows - centre), axis=1)
    return found


def _median_deviation_of_all(windows: Windows) -> Windows:
    # Several times faster than with the search for NaN.
    if np.isnan(windows).any():
        return _median_deviation(windows)
    found: Windows = np.median(np.abs(windows - np.median(windows, axis=1, keepdims=True)), axis=1)
    return found


def _sessions_since(extreme: float) -> Callable[[Windows], Windows]:
    """Find the latest of the greatest (`extreme` -inf) or least (inf) cells; windows begin with the latest."""

    def statistic(windows: Windows) -> Windows:
        cells = np.where(np.isnan(windows), extreme, windows)
        found = np.argmax(cells, axis=1) if extreme < 0 else np.argmin(cells, axis=1)
        return found.astype(np.float64)

    return statistic


TIME: dict[str, Lower] = {
    "TS_REF": _reference,
    "LEAD": _lead,
    "TS_DELTA": _change(lambda now, before: finite(now - before)),
    "TS_RETURN": _change(lambda now, before: finite(now / before - 1)),
    "TS_SUM": _sums(kernel.total),
    "TS_COUNT": _sums(kernel.total),
    "TS_PRODUCT": _windows(lambda windows: np.nanprod(windows, axis=1)),
    "TS_MEAN": _sums(kernel.mean),
    "TS_STD": _sums(kernel.deviation),
    "TS_VAR": _sums(kernel.variance),
    "TS_MIN": _native(lambda x, call, minimum: x.rolling_min(call.count("n"), min_samples=minimum)),
    "TS_MAX": _native(lambda x, call, minimum: x.rolling_max(call.count("n"), min_samples=minimum)),
    "TS_MEDIAN": _native(lambda x, call, minimum: x.rolling_median(call.count("n"), min_samples=minimum)),
    "TS_QUANTILE": _native(
        lambda x, call, minimum: x.rolling_quantile(
            float(call.setting("q") or 0.0), "linear", call.count("n"), min_samples=minimum
        )
    ),
    "TS_MAD": _windows(_median_deviation_of_all),
    "TS_SKEW": _sums(kernel.skewness),
    "TS_KURT": _sums(kernel.kurtosis),
    "TS_RANK": _rank,
    "TS_ZSCORE": _sums(kernel.zscore),
    "TS_EMA": _native(_exponential),
    "TS_DECAY": _decay,
    "TS_CORR": _sums(kernel.correlation),
    "TS_COV": _sums(kernel.covariance),
    "TS_BETA": _sums(kernel.beta),
    "TS_SLOPE": _sums(kernel.slope),
    "TS_RSQUARE": _sums(kernel.rsquare),
    "TS_RESID": _sums(kernel.residual),
    "TS_ARGMAX": _windows(_sessions_since(-np.inf)),
    "TS_ARGMIN": _windows(_sessions_since(np.inf)),
    "TS_FFILL": _fill,
}
"""How each function along time is computed."""
