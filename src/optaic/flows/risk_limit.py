"""Limits of skfolio's estimators that weights alone do not tell: of risk, of the count of names, of tracking."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from optaic.flows.optimizer import Optimizer

RISK_LIMITS = (
    "max_mean_absolute_deviation",
    "max_first_lower_partial_moment",
    "max_variance",
    "max_standard_deviation",
    "max_semi_variance",
    "max_semi_deviation",
    "max_worst_realization",
    "max_cvar",
    "max_evar",
    "max_max_drawdown",
    "max_average_drawdown",
    "max_cdar",
    "max_edar",
    "max_ulcer_index",
    "max_gini_mean_difference",
)
"""Each is `max_` and the name of one of skfolio's measures of risk, of returns of a session."""

_OTHERS = (
    "min_return",
    "max_tracking_error",
    "cardinality",
    "group_cardinalities",
    "threshold_long",
    "threshold_short",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """A limit of risk that nothing keeps which keeps all else.

    Attributes
    ----------
    name
        Of the param.
    text
        In words, with the least that can be had.
    residual
        The least above the limit, in the unit of the measure.
    """

    name: str
    text: str
    residual: float


def set_limits(optimizer: Optimizer) -> dict[str, Any]:
    """Give the limits that an estimator is given and that weights alone do not tell, by name."""
    params = optimizer.get_params(deep=False)
    return {name: params[name] for name in (*RISK_LIMITS, *_OTHERS) if params.get(name) is not None}


def unreachable_limits(optimizer: Optimizer, returns: Any) -> list[Unreachable]:
    """Find which limits of risk cannot be kept, each by itself, by weights that keep all else.

    Parameters
    ----------
    optimizer
        A `MeanRisk` of skfolio, or one with its params; of others nothing is found.
    returns : DataFrame
        What it was fitted to.

    Returns
    -------
    list of Unreachable
        By what the least risk exceeds the limit: that of the same estimator told to minimise it, without limits of risk
        and return. Empty if that cannot be solved, and for limits that cannot be kept together only.
    """
    params = optimizer.get_params(deep=False)
    if "objective_function" not in params or "risk_measure" not in params:
        return []
    skfolio: Any = importlib.import_module("skfolio")
    objectives: Any = importlib.import_module("skfolio.optimization").ObjectiveFunction
    clone: Any = importlib.import_module("sklearn.base").clone
    free = dict.fromkeys((name for name in (*RISK_LIMITS, "min_return") if name in params), None)
    found: list[Unreachable] = []
    for name in RISK_LIMITS:
        limit = params.get(name)
        if not isinstance(limit, int | float):
            continue
        measure = skfolio.RiskMeasure[name.removeprefix("max_").upper()]
        try:
            probe: Any = clone(optimizer).set_params(
                **free, objective_function=objectives.MINIMIZE_RISK, risk_measure=measure
            )
            probe.fit(returns)
            least = float(probe.problem_values_["risk"])
        except Exception:  # noqa: BLE001, S112 - this only explains a failure, and solvers raise anything
            continue
        if least > limit:
            text = f"{name} of {limit:g} by {least - limit:.3g}, for the least that can be had is {least:.3g}"
            found.append(Unreachable(name=name, text=text, residual=least - limit))
    return found
