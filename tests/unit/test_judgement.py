"""What a fit ends as: which limit cannot be met, and whether a solver was asked at all."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from skfolio import RiskMeasure, optimization

from tests.unit.test_refit import SYMBOLS, returns_of, solve


@pytest.mark.parametrize("name", ["EqualWeighted", "InverseVolatility", "HierarchicalRiskParity"])
def test_where_nothing_was_solved_no_solver_is_said_to_have_called_it_optimal(name: str) -> None:
    solution = solve(getattr(optimization, name))
    assert (solution.status, solution.is_solved, solution.iterations) == ("not_applicable", True, None)


@pytest.mark.parametrize(
    ("params", "name", "said"),
    [
        ({"min_return": 5.0}, "min_return", "expected return of a session >= 5 by"),
        ({"max_cvar": 0.0001}, "max_cvar", "max_cvar of 0.0001 by"),
        ({"max_variance": 1e-6}, "max_variance", "max_variance of 1e-06 by"),
        ({"max_standard_deviation": 0.001, "max_semi_variance": 1.0}, "max_standard_deviation", "of 0.001 by"),
        ({"max_max_drawdown": 0.001, "risk_measure": "CVAR"}, "max_max_drawdown", "of 0.001 by"),
        ({"max_cvar": 0.001, "objective_function": "MAXIMIZE_RATIO"}, "max_cvar", "of 0.001 by"),
    ],
)
def test_a_limit_of_risk_or_return_that_cannot_be_met_is_named_with_what_is_missing(
    params: dict[str, Any], name: str, said: str
) -> None:
    solution = solve(optimization.MeanRisk, params)
    assert (solution.weights, solution.status) == (None, "infeasible")
    assert [text for text in solution.broken if said in text]
    assert solution.residuals[name] > 0.0


def least_cvar(**params: Any) -> float:
    """Give the least CVaR that skfolio itself finds."""
    estimator = optimization.MeanRisk(risk_measure=RiskMeasure.CVAR, **params)
    found: Any = estimator.fit_predict(pd.DataFrame(returns_of(), columns=list(SYMBOLS)))
    return float(found.cvar)


def test_what_is_missing_of_a_limit_of_risk_is_the_distance_to_the_least_that_can_be_had() -> None:
    solution = solve(optimization.MeanRisk, {"max_cvar": 0.001, "min_weights": 0.02})
    least = least_cvar(min_weights=0.02)
    assert solution.residuals == pytest.approx({"max_cvar": least - 0.001}, rel=1e-4)
    best = solve(optimization.MeanRisk, {"min_return": 5.0})
    assert best.residuals["min_return"] == pytest.approx(5.0 - returns_of().mean(axis=0).max(), abs=1e-3)


def test_limits_that_cannot_be_met_together_are_all_named_and_nothing_is_said_to_be_kept() -> None:
    least = least_cvar()
    top = float(returns_of().mean(axis=0).max())
    solution = solve(optimization.MeanRisk, {"max_cvar": least * 1.01, "min_return": top * 0.99})
    assert (solution.weights, solution.residuals, solution.broken) == (None, {}, ())
    assert "min_return" in solution.message
    assert "max_cvar" in solution.message
