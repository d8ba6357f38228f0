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
from tests.expression_windows import PLACED, TIME, WHOLE, along, clean, is_flat

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
            return cells if cells.dtype == object else clean(cells.astype(float))
        case Operation():
            operands = [_evaluate(operand, panel) for operand in node.operands]
            return OPERATORS[node.operator, len(operands)](*operands)
        case Call():
            operands = [_evaluate(operand, panel) for operand in node.operands]
            group = None if node.group is None else _evaluate(node.group, panel)
            if node.function in ELEMENT:
                return ELEMENT[node.function](*operands)
            if node.function in TIME or node.function in PLACED:
                return along(node, operands)
            if node.function in WHOLE:
                return clean(WHOLE[node.function](operands[0], node))
            return _across(node, operands, group, panel)


def _missing(cells: Cells) -> Cells:
    return np.asarray(pd.isna(cells))


def _null(found: Cells, *operands: Cells) -> Cells:
    missing = np.any([_missing(operand) for operand in operands], axis=0)
    return np.where(missing, np.nan, found.astype(float))


def _elementwise(function: Callable[..., Cells]) -> Callable[..., Cells]:
    def apply(*operands: Cells) -> Cells:
        return _null(clean(np.asarray(function(*operands), dtype=float)), *operands)

    return apply


def _signed_power(x: Cells, exponent: Cells) -> Cells:
    return np.sign(x) * np.abs(x) ** exponent


def _clip(x: Cells, low: Cells, high: Cells) -> Cells:
    return np.minimum(np.maximum(x, low), high)


_TWO: dict[str, Callable[[Cells, Cells], Cells]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "AND": np.minimum,
    "OR": np.maximum,
}
OPERATORS: dict[tuple[str, int], Callable[..., Cells]] = {
    ("-", 1): _elementwise(operator.neg),
    ("NOT", 1): _elementwise(np.logical_not),
    **{(sign, 2): _elementwise(function) for sign, function in _TWO.items()},
}


def _coalesce(*operands: Cells) -> Cells:
    found = operands[0]
    for operand in operands[1:]:
        found = np.where(_missing(found), operand, found)
    return found


def _if(condition: Cells, then: Cells, otherwise: Cells) -> Cells:
    return np.where(np.isnan(condition), np.nan, np.where(condition == 1, then, otherwise))


def _is_null(value: Cells) -> Cells:
    return _missing(value).astype(float)


ELEMENT: dict[str, Callable[..., Cells]] = {
    "ABS": _elementwise(np.abs),
    "LOG": _elementwise(np.log),
    "EXP": _elementwise(np.exp),
    "SQRT": _elementwise(np.sqrt),
    "SIGN": _elementwise(np.sign),
    "POWER": _elementwise(np.power),
    "SIGNED_POWER": _elementwise(_signed_power),
    "CLIP": _elementwise(_clip),
    "IF": _if,
    "COALESCE": _coalesce,
    "IS_NULL": _is_null,
    "GREATER": _elementwise(np.maximum),
    "LESS": _elementwise(np.minimum),
}

# ------------------------------------------------------------------------------------------------- cross-section


def _across(call: Call, operands: list[Cells], group: Cells | None, panel: Panel) -> Cells:
    x = operands[0]
    found = np.full(x.shape, np.nan)
    for session in range(len(x)):
        rows = ~np.isnan(x[session]) & (panel.members[session] == 1)
        if call.function == "CS_NEUTRALIZE":
            section = x[session][rows]
            if len(section) < 2 or is_flat(section):
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
            if call.function != "GROUP_MEAN" and (len(section) < 2 or is_flat(section)):
                continue
            found[session, members] = SECTION[call.function](section, call)
    return clean(found)


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


def _rank(x: Cells, call: Call) -> Cells:
    return stats.rankdata(x) / len(x)


def _scores(x: Cells, call: Call) -> Cells:
    return (x - np.mean(x)) / np.std(x, ddof=1)


def _demean(x: Cells, call: Call) -> Cells:
    return x - np.mean(x)


def _scale(x: Cells, call: Call) -> Cells:
    return x / np.sum(np.abs(x))


def _gauss(x: Cells, call: Call) -> Cells:
    return stats.norm.ppf((stats.rankdata(x) - 0.5) / len(x))


def _bucket(x: Cells, call: Call) -> Cells:
    return np.ceil(stats.rankdata(x) * call.count("buckets") / len(x))


def _mean(x: Cells, call: Call) -> Cells:
    return np.full(len(x), np.mean(x))


SECTION: dict[str, Callable[[Cells, Call], Cells]] = {
    "CS_RANK": _rank,
    "CS_ZSCORE": _scores,
    "CS_DEMEAN": _demean,
    "CS_SCALE": _scale,
    "CS_WINSORIZE": _winsorize,
    "CS_GAUSS": _gauss,
    "CS_BUCKET": _bucket,
    "GROUP_RANK": _rank,
    "GROUP_ZSCORE": _scores,
    "GROUP_MEAN": _mean,
    "GROUP_DEMEAN": _demean,
}

COVERED = {*ELEMENT, *TIME, *PLACED, *WHOLE, *SECTION, "CS_NEUTRALIZE"}
"""Every function that has a definition here."""
