"""What each function of an expression means, computed anew from its definition: slowly, on one window at a time.

Cells are matrices of sessions x symbols, NaN where there is none; a condition is 1, 0 or NaN.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from optaic.quant.expression.tree import Call, Expression, Name, Node, Number, Operation, Text

Cells = Any
"""A matrix of numbers, or of objects for groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Inputs of shape (n_sessions, n_symbols), and who is a member."""

    inputs: Mapping[str, Cells]
    members: Cells


def reference(expression: Expression, panel: Panel) -> Cells:
    """Evaluate an expression by definition."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return _evaluate(expression.root, panel)


def _evaluate(node: Node, panel: Panel) -> Cells:
    shape = panel.members.shape
    match node:
        case Number():
            return np.full(shape, node.value)
        case Text():
            return np.full(shape, node.value, dtype=object)
        case Name():
            cells = panel.inputs[node.name]
            return cells if cells.dtype == object else _clean(cells.astype(float))
        case Operation():
            operands = [_evaluate(operand, panel) for operand in node.operands]
            return OPERATORS[node.operator, len(operands)](*operands)
        case Call():
            operands = [_evaluate(operand, panel) for operand in node.operands]
            group = None if node.group is None else _evaluate(node.group, panel)
            if node.function in ELEMENT:
                return ELEMENT[node.function](*operands)
            if node.function in TIME:
                return _along(TIME[node.function], node, operands)
            if node.function in WHOLE:
                return _clean(WHOLE[node.function](operands[0], node))
            return _across(SECTION[node.function], node, operands, group, panel)


def _clean(cells: Cells) -> Cells:
    return np.where(np.isfinite(cells), cells, np.nan)


def _missing(cells: Cells) -> Cells:
    return np.asarray(pd.isna(cells))


def _null(found: Cells, *operands: Cells) -> Cells:
    missing = np.any([_missing(operand) for operand in operands], axis=0)
    return np.where(missing, np.nan, found.astype(float))


def _elementwise(function: Callable[..., Cells]) -> Callable[..., Cells]:
    return lambda *operands: _null(_clean(np.asarray(function(*operands), dtype=float)), *operands)


OPERATORS: dict[tuple[str, int], Callable[..., Cells]] = {
    ("-", 1): _elementwise(lambda a: -a),
    ("NOT", 1): _elementwise(lambda a: 1 - a),
    **{
        (sign, 2): _elementwise(function)
        for sign, function in {
            "+": lambda a, b: a + b,
            "-": lambda a, b: a - b,
            "*": lambda a, b: a * b,
            "/": lambda a, b: a / b,
            "**": lambda a, b: a**b,
            "<": lambda a, b: a < b,
            "<=": lambda a, b: a <= b,
            ">": lambda a, b: a > b,
            ">=": lambda a, b: a >= b,
            "==": operator.eq,
            "!=": operator.ne,
            "AND": lambda a, b: np.minimum(a, b),
            "OR": lambda a, b: np.maximum(a, b),
        }.items()
    },
}


def _coalesce(*operands: Cells) -> Cells:
    found = operands[0]
    for operand in operands[1:]:
        found = np.where(_missing(found), operand, found)
    return found


def _if(condition: Cells, then: Cells, otherwise: Cells) -> Cells:
    return np.where(np.isnan(condition), np.nan, np.where(condition == 1, then, otherwise))


ELEMENT: dict[str, Callable[..., Cells]] = {
    "ABS": _elementwise(np.abs),
    "LOG": _elementwise(np.log),
    "EXP": _elementwise(np.exp),
    "SQRT": _elementwise(np.sqrt),
    "SIGN": _elementwise(np.sign),
    "POWER": _elementwise(np.power),
    "SIGNED_POWER": _elementwise(lambda a, b: np.sign(a) * np.abs(a) ** b),
    "CLIP": _elementwise(lambda x, low, high: np.minimum(np.maximum(x, low), high)),
    "IF": _if,
    "COALESCE": _coalesce,
    "IS_NULL": lambda a: _missing(a).astype(float),
    "GREATER": _elementwise(np.maximum),
    "LESS": _elementwise(np.minimum),
}

# ---------------------------------------------------------------------------------------------------------- time

Statistic = Callable[..., float]
"""Takes the cells of a window that exist (in each series), their places in it, and the call; gives a number."""

NEEDS_TODAY = {"TS_RANK", "TS_ZSCORE", "TS_RESID"}


def _along(statistic: Statistic, call: Call, operands: list[Cells]) -> Cells:
    sessions, symbols = operands[0].shape
    n = call.count("n")
    minimum = int(call.setting("min_periods") or n)
    found = np.full((sessions, symbols), np.nan)
    for symbol in range(symbols):
        for today in range(sessions):
            window = range(max(0, today - n + 1), today + 1)
            places = [t for t in window if not any(np.isnan(x[t, symbol]) for x in operands)]
            if len(places) < minimum or (call.function in NEEDS_TODAY and today not in places):
                continue
            cells = [x[places, symbol] for x in operands]
            found[today, symbol] = statistic(*cells, np.array(places) - today, call)
    return _clean(found)


def _is_flat(x: Cells) -> bool:
    return np.ptp(x) <= 1e-14 * np.abs(x).max()


def _sd(x: Cells) -> float:
    return float(np.std(x - x[0], ddof=1)) if len(x) > 1 else np.nan


def _unless_flat(function: Callable[..., float]) -> Statistic:
    return lambda x, ago, call: np.nan if _is_flat(x) else function(x, ago, call)


def _corr(x: Cells, y: Cells, ago: Cells, call: Call) -> float:
    return np.nan if _is_flat(x) or _is_flat(y) else float(np.corrcoef(x, y)[0, 1])


def _fit(x: Cells, ago: Cells) -> tuple[float, Cells]:
    if len(x) < 2:
        return np.nan, np.full(len(x), np.nan)
    away = x - x[0]
    fit = stats.linregress(ago, away)
    return float(fit.slope), away - (fit.intercept + fit.slope * ago)


def _decay(x: Cells, ago: Cells, call: Call) -> float:
    weights = call.count("n") + ago
    return float(np.average(x, weights=weights))


TIME: dict[str, Statistic] = {
    "TS_SUM": lambda x, ago, call: float(np.sum(x)),
    "TS_COUNT": lambda x, ago, call: float(np.sum(x == 1)),
    "TS_PRODUCT": lambda x, ago, call: float(np.prod(x)),
    "TS_MEAN": lambda x, ago, call: float(np.mean(x)),
    "TS_STD": lambda x, ago, call: _sd(x),
    "TS_VAR": lambda x, ago, call: _sd(x) ** 2,
    "TS_MIN": lambda x, ago, call: float(np.min(x)),
    "TS_MAX": lambda x, ago, call: float(np.max(x)),
    "TS_MEDIAN": lambda x, ago, call: float(np.median(x)),
    "TS_QUANTILE": lambda x, ago, call: float(np.quantile(x, call.setting("q"))),
    "TS_MAD": lambda x, ago, call: float(stats.median_abs_deviation(x)),
    "TS_SKEW": _unless_flat(lambda x, ago, call: stats.skew(x, bias=False) if len(x) > 2 else np.nan),
    "TS_KURT": _unless_flat(lambda x, ago, call: stats.kurtosis(x, bias=False) if len(x) > 3 else np.nan),
    "TS_RANK": lambda x, ago, call: stats.rankdata(x)[-1] / len(x),
    "TS_ZSCORE": _unless_flat(lambda x, ago, call: (x[-1] - np.mean(x)) / _sd(x)),
    "TS_DECAY": _decay,
    "TS_CORR": _corr,
    "TS_COV": lambda x, y, ago, call: np.cov(x, y)[0, 1] if len(x) > 1 else np.nan,
    "TS_BETA": lambda x, y, ago, call: np.nan if _is_flat(y) else stats.linregress(y, x).slope,
    "TS_SLOPE": lambda x, ago, call: _fit(x, ago)[0],
    "TS_RSQUARE": _unless_flat(lambda x, ago, call: 1 - np.var(_fit(x, ago)[1]) / np.var(x)),
    "TS_RESID": lambda x, ago, call: _fit(x, ago)[1][-1],
    "TS_ARGMAX": lambda x, ago, call: float(-ago[np.flatnonzero(x == x.max())[-1]]),
    "TS_ARGMIN": lambda x, ago, call: float(-ago[np.flatnonzero(x == x.min())[-1]]),
}


def _shift(x: Cells, n: int) -> Cells:
    return pd.DataFrame(x).shift(n).to_numpy()


def _ema(x: Cells, call: Call) -> Cells:
    """Weigh as the manual of pandas says, for adjust=False: (1 - a) to the power of how many sessions ago, normalised."""
    n = call.count("n")
    alpha, found = 2 / (n + 1), np.full(x.shape, np.nan)
    for symbol, cells in enumerate(x.T):
        mean, last, seen = np.nan, 0, 0
        for today, cell in enumerate(cells):
            if np.isnan(cell):
                continue
            old = (1 - alpha) ** (today - last)
            mean = cell if seen == 0 else (old * mean + alpha * cell) / (old + alpha)
            last, seen = today, seen + 1
            found[today, symbol] = mean if seen >= n else np.nan
    return found


WHOLE: dict[str, Callable[[Cells, Call], Cells]] = {
    "TS_REF": lambda x, call: _shift(x, call.count("n")),
    "LEAD": lambda x, call: _shift(x, -call.count("n")),
    "TS_DELTA": lambda x, call: x - _shift(x, call.count("n")),
    "TS_RETURN": lambda x, call: x / _shift(x, call.count("n")) - 1,
    "TS_EMA": _ema,
    "TS_FFILL": lambda x, call: pd.DataFrame(x).ffill(limit=call.count("limit")).to_numpy(),
}

# ------------------------------------------------------------------------------------------------- cross-section


def _across(
    statistic: Callable[..., Cells], call: Call, operands: list[Cells], group: Cells | None, panel: Panel
) -> Cells:
    x = operands[0]
    found = np.full(x.shape, np.nan)
    for session in range(len(x)):
        rows = ~np.isnan(x[session]) & (panel.members[session] == 1)
        if call.function == "CS_NEUTRALIZE":
            section = x[session][rows]
            if len(section) < 2 or _is_flat(section):
                continue
            exposures = [*operands[1:], *([] if group is None else [group])]
            rows &= ~np.any([_missing(exposure[session]) for exposure in exposures], axis=0)
            columns = [exposure[session][rows] for exposure in exposures]
            found[session, rows] = _residuals(x[session][rows], columns, has_group=group is not None)
            continue
        groups = np.zeros(len(rows)) if group is None else group[session]
        rows &= ~_missing(groups)
        for one in _distinct(groups[rows]):
            members = rows & np.array([not pd.isna(g) and g == one for g in groups])
            section = x[session][members]
            if call.function != "GROUP_MEAN" and (len(section) < 2 or _is_flat(section)):
                continue
            found[session, members] = statistic(section, call)
    return _clean(found)


def _distinct(groups: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(groups))


def _residuals(x: Cells, columns: list[Cells], *, has_group: bool) -> Cells:
    if len(x) < 2:
        return np.nan
    design = [np.ones((len(x), 1))]
    for place, column in enumerate(columns):
        is_group = column.dtype == object or (has_group and place == len(columns) - 1)
        design.append(pd.get_dummies(column).to_numpy(float) if is_group else _standardised(column))
    matrix = np.hstack(design)
    residuals = x - matrix @ (np.linalg.pinv(matrix) @ x)
    return np.where(np.abs(residuals) <= 1e-13 * np.abs(x).max(), 0.0, residuals)


def _standardised(column: Cells) -> Cells:
    away = column.astype(float) - column.mean()
    return (away / (np.abs(away).max() or 1.0))[:, None]


def _winsorize(x: Cells, call: Call) -> Cells:
    tail, mads = call.setting("quantile"), call.setting("mads")
    if tail is not None:
        return np.clip(x, np.quantile(x, tail), np.quantile(x, 1 - tail))
    centre, spread = np.median(x), stats.median_abs_deviation(x)
    assert mads is not None
    return np.clip(x, centre - mads * spread, centre + mads * spread) if spread > 0 else np.full(len(x), np.nan)


def _rank(x: Cells) -> Cells:
    return stats.rankdata(x) / len(x)


SECTION: dict[str, Callable[..., Cells]] = {
    "CS_RANK": lambda x, call: _rank(x),
    "CS_ZSCORE": lambda x, call: stats.zscore(x, ddof=1),
    "CS_DEMEAN": lambda x, call: x - np.mean(x),
    "CS_SCALE": lambda x, call: x / np.sum(np.abs(x)),
    "CS_WINSORIZE": _winsorize,
    "CS_GAUSS": lambda x, call: stats.norm.ppf((stats.rankdata(x) - 0.5) / len(x)),
    "CS_BUCKET": lambda x, call: np.ceil(stats.rankdata(x) * call.count("buckets") / len(x)),
    "CS_NEUTRALIZE": _residuals,
    "GROUP_RANK": lambda x, call: _rank(x),
    "GROUP_ZSCORE": lambda x, call: stats.zscore(x, ddof=1),
    "GROUP_MEAN": lambda x, call: np.full(len(x), np.mean(x)),
    "GROUP_DEMEAN": lambda x, call: x - np.mean(x),
}

COVERED = {*ELEMENT, *TIME, *WHOLE, *SECTION}
"""Every function that has a definition here."""
