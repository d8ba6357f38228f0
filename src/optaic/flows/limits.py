"""What an optimiser must keep: its constraints as plain numbers, read from its parameters."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.flows.equation import Equation
from optaic.quant.constraint import Constraint

Floats = npt.NDArray[np.float64]

FULLY_INVESTED = frozenset(
    {
        "BenchmarkTracker",
        "EqualWeighted",
        "HierarchicalEqualRiskContribution",
        "HierarchicalRiskParity",
        "InverseVolatility",
        "Random",
        "RiskBudgeting",
        "SchurComplementary",
    }
)
"""Optimisers of skfolio without a parameter for it whose weights add up to 1."""


def list_constraints(
    params: Mapping[str, Any],
    symbols: Sequence[str],
    *,
    class_name: str = "",
    own: Mapping[str, float] | None = None,
    equations: Sequence[Equation] = (),
    previous: Floats | None = None,
    held_outside: float = 0.0,
) -> list[Constraint]:
    """List the constraints that the weights of an estimator must keep.

    Parameters
    ----------
    params
        Of the estimator, by the names that skfolio's have: `min_weights`, `max_weights`, `budget`, `min_budget`,
        `max_budget`, `max_long`, `max_short`, `max_turnover` (of each weight), `left_inequality` with
        `right_inequality`. Others cannot be checked on weights alone.
    symbols
        The names, in the order of the weights.
    class_name
        Of the estimator.
    own
        The product's own: `gross`, the most that absolute weights may add up to; `turnover`, the most that may be
        traded, one-way.
    equations
        Its `linear_constraints`, as `read_equations` gives them.
    previous : ndarray of shape (n_symbols,), float64, optional
        The weights before, drifted; None if there are none, and then nothing limits the turnover.
    held_outside
        Sum of the absolute weights before of names that are not among the symbols.

    Returns
    -------
    list of Constraint

    Raises
    ------
    InvalidInputError
        If a bound is no number, or of another length than the symbols.
    """
    count = len(symbols)
    ones = np.ones((1, count))
    found: list[Constraint] = []
    low = _bounds(params.get("min_weights"), symbols, 0.0, "min_weights")
    high = _bounds(params.get("max_weights"), symbols, 1.0, "max_weights")
    if low is not None:
        found.append(_bound("min_weights", "each weight >= ", -np.eye(count), -low, low))
    if high is not None:
        found.append(_bound("max_weights", "each weight <= ", np.eye(count), high, high))
    budget = budget_of(params, class_name)
    if budget is not None:
        found.append(_total("budget", f"sum of weights = {budget:g}", budget, ones, is_equal=True))
    if params.get("min_budget") is not None:
        least = float(params["min_budget"])
        found.append(_total("min_budget", f"sum of weights >= {least:g}", -least, -ones))
    if params.get("max_budget") is not None:
        most = float(params["max_budget"])
        found.append(_total("max_budget", f"sum of weights <= {most:g}", most, ones))
    for name, side in (("max_long", 1.0), ("max_short", -1.0)):
        if params.get(name) is not None:
            most = float(params[name])
            text = f"sum of {name[4:]} weights <= {most:g}"
            limits = np.array([most])
            half = ones / 2.0
            found.append(Constraint(name=name, text=text, limits=limits, linear=side * half, absolute=half))
    found += [one.constraint for one in equations]
    left, right = params.get("left_inequality"), params.get("right_inequality")
    if left is not None and right is not None:
        matrix, limits = np.atleast_2d(np.asarray(left, dtype=np.float64)), np.asarray(right, dtype=np.float64)
        found.append(Constraint(name="inequality", text="left_inequality", limits=limits, linear=matrix))
    each = params.get("max_turnover")
    if each is not None and previous is not None:
        text = f"change of each weight <= {float(each):g}"
        limits = np.full(count, float(each))
        found.append(Constraint(name="max_turnover", text=text, limits=limits, absolute=np.eye(count), center=previous))
    return found + _own(own or {}, ones, previous, held_outside)


def budget_of(params: Mapping[str, Any], class_name: str) -> float | None:
    """Give what the weights of an estimator must add up to; None if nothing says so."""
    budget = params.get("budget", 1.0 if class_name in FULLY_INVESTED else None)
    return None if budget is None else float(budget)


def floor_of_return(params: Mapping[str, Any], mean: Floats) -> list[Constraint]:
    """Give the constraint that the param `min_return` is, of returns of a session and before costs; none without it.

    Parameters
    ----------
    params
        Of the estimator.
    mean : ndarray of shape (n_symbols,), float64
        What the estimator expects, per session.
    """
    least = params.get("min_return")
    if isinstance(least, bool) or not isinstance(least, int | float):
        return []
    text = f"expected return of a session >= {least:g}"
    return [Constraint(name="min_return", text=text, limits=np.array([-float(least)]), linear=-mean[None, :])]


def nearest_weights(constraints: Sequence[Constraint], count: int) -> Floats | None:
    """Find the weights that break constraints which cannot be kept together least in all.

    Parameters
    ----------
    constraints
        Of weights of `count` names.
    count
        Names.

    Returns
    -------
    ndarray of shape (n_symbols,), float64, or None
        They minimise the sum of the residuals above 0; None if that cannot be found.
    """
    if not constraints or not count:
        return None
    cvxpy: Any = importlib.import_module("cvxpy")
    weights: Any = cvxpy.Variable(count)
    slacks: Any = cvxpy.Variable(len(constraints), nonneg=True)
    kept: list[Any] = []
    for place, constraint in enumerate(constraints):
        is_limit = np.isfinite(constraint.limits)
        value: Any = -constraint.limits[is_limit]
        if constraint.linear is not None:
            value = value + constraint.linear[is_limit] @ weights
        if constraint.absolute is not None:
            center = np.zeros(count) if constraint.center is None else constraint.center
            value = value + constraint.absolute[is_limit] @ cvxpy.abs(weights - center)
        if is_limit.any():
            kept.append((cvxpy.abs(value) if constraint.sense == "equal" else value) <= slacks[place])
    problem: Any = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(slacks) + 1e-6 * cvxpy.norm1(weights)), kept)
    try:
        problem.solve(solver="CLARABEL")
    except cvxpy.SolverError:
        return None
    found: object = weights.value
    return cast("Floats", found) if isinstance(found, np.ndarray) else None


def convex_constraints(
    own: Mapping[str, float], *, budget: float | None, previous: Floats | None, outside: float
) -> Callable[[Any], list[Any]]:
    """Give the product's own constraints as skfolio's `add_constraints`: a function of the solver's weights.

    Parameters
    ----------
    own
        As for `list_constraints`.
    budget
        What the weights must add up to; None if nothing says so.
    previous : ndarray of shape (n_symbols,), float64, optional
        The weights before; None if there are none.
    outside
        As `held_outside` there.

    Returns
    -------
    callable
        Gives a list of constraints of cvxpy.

    Notes
    -----
    Ratios are solved for scaled weights, whose sum over the budget is the scale.
    """

    def constrain(weights: Any) -> list[Any]:
        cvxpy: Any = importlib.import_module("cvxpy")
        scale: Any = cvxpy.sum(weights) / budget if budget else 1.0
        kept: list[Any] = []
        if "gross" in own:
            kept.append(cvxpy.norm1(weights) <= own["gross"] * scale)
        if "turnover" in own and previous is not None:
            kept.append(cvxpy.norm1(weights - previous * scale) <= (2.0 * own["turnover"] - outside) * scale)
        return kept

    return constrain


def _own(own: Mapping[str, float], ones: Floats, previous: Floats | None, held_outside: float) -> list[Constraint]:
    found: list[Constraint] = []
    if "gross" in own:
        text = f"sum of absolute weights <= {own['gross']:g}"
        found.append(Constraint(name="gross", text=text, limits=np.array([own["gross"]]), absolute=ones))
    if "turnover" in own and previous is not None:
        text = f"one-way turnover <= {own['turnover']:g}"
        limits = np.array([own["turnover"] - held_outside / 2.0])
        found.append(Constraint(name="turnover", text=text, limits=limits, absolute=ones / 2.0, center=previous))
    return found


def _total(name: str, text: str, limit: float, coefficients: Floats, *, is_equal: bool = False) -> Constraint:
    sense = "equal" if is_equal else "at_most"
    return Constraint(name=name, text=text, limits=np.array([limit]), linear=coefficients, sense=sense)


def _bound(name: str, text: str, coefficients: Floats, limits: Floats, shown: Floats) -> Constraint:
    words = f"{shown[0]:g}" if np.all(shown == shown[0]) else "its own"
    return Constraint(name=name, text=text + words, limits=limits, linear=coefficients)


def _bounds(value: Any, symbols: Sequence[str], missing: float, name: str) -> Floats | None:
    """Give a bound for each name; skfolio takes one number, one for each name, or some by name."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        by_name = cast("Mapping[str, Any]", value)
        value = [by_name.get(symbol, missing) for symbol in symbols]
    try:
        bounds = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError(f"{name} is {str(value)[:80]}, which is no number") from None
    if bounds.ndim == 0:
        bounds = np.full(len(symbols), float(bounds))
    if bounds.shape != (len(symbols),) or any(math.isnan(one) for one in bounds.tolist()):
        raise InvalidInputError(
            f"{name} has {bounds.size} values for {len(symbols)} names",
            next_step=f"give one number, or some by name: {name}: {{AAPL: 0.1}}",
        )
    return bounds
