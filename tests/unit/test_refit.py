"""Optimisers on real prices: as skfolio gives them, as theory says, and never believed where they fail."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.optimize import minimize
from skfolio import RiskMeasure, optimization
from skfolio.moments import LedoitWolf
from skfolio.optimization import ObjectiveFunction
from skfolio.prior import EmpiricalPrior

from optaic.errors import CodeChangedError, InvalidInputError
from optaic.flows.code import code_digest, locate
from optaic.flows.optimize import open_refit
from optaic.flows.refit import Refit, Solution
from optaic.quant.allocation import sample_moments
from tests.market import stock_prices

Floats = npt.NDArray[np.float64]

SYMBOLS = tuple(f"S{number:02d}" for number in range(20))
GROUPS = {symbol: ("first" if number < 8 else "second",) for number, symbol in enumerate(SYMBOLS)}


def returns_of(sessions: int = 252) -> Floats:
    prices = stock_prices()[-sessions - 1 :]
    return prices[1:] / prices[:-1] - 1.0


def refit(definition: Any, **options: Any) -> Refit:
    return Refit(definition=definition, params=options.pop("params", {}), instance="mine", **options)


def solve(definition: Any, params: dict[str, Any] | None = None, **options: Any) -> Solution:
    return refit(definition, params=params or {}, **options).solve(returns_of(), symbols=SYMBOLS)


def weights_of(solution: Solution) -> Floats:
    assert solution.is_solved, solution.message
    assert solution.weights is not None
    return solution.weights


NAMED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "minimum variance": ("MeanRisk", {"max_weights": 0.2}, {}),
    "maximum Sharpe": (
        "MeanRisk",
        {"objective_function": "MAXIMIZE_RATIO", "max_weights": 0.3},
        {"objective_function": ObjectiveFunction.MAXIMIZE_RATIO},
    ),
    "utility": (
        "MeanRisk",
        {"objective_function": "MAXIMIZE_UTILITY", "risk_aversion": 5.0, "min_weights": -0.1, "max_weights": 0.3},
        {"objective_function": ObjectiveFunction.MAXIMIZE_UTILITY},
    ),
    "risk budgeting": ("RiskBudgeting", {"max_weights": 0.2}, {}),
    "hierarchical risk parity": ("HierarchicalRiskParity", {"max_weights": 0.1}, {}),
    "CVaR": ("MeanRisk", {"risk_measure": "CVAR", "max_weights": 0.2}, {"risk_measure": RiskMeasure.CVAR}),
    "equal weight": ("EqualWeighted", {}, {}),
    "inverse volatility": ("InverseVolatility", {}, {}),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_named_optimiser_gives_the_weights_of_skfolio_and_keeps_its_constraints(name: str) -> None:
    class_name, params, theirs = NAMED[name]
    kind = getattr(optimization, class_name)
    solution = solve(kind, params)
    direct = kind(**{**params, **theirs}).fit(pd.DataFrame(returns_of(), columns=list(SYMBOLS)))
    weights = weights_of(solution)
    assert np.abs(weights - direct.weights_).max() < 1e-10
    assert abs(weights.sum() - 1.0) < 1e-6
    assert weights.max() <= params.get("max_weights", 1.0) + 1e-6
    assert weights.min() >= params.get("min_weights", 0.0) - 1e-6
    assert solution.residuals
    assert max(solution.residuals.values()) <= 1e-6
    assert solution.fallback is None


def test_unconstrained_minimum_variance_is_the_closed_form() -> None:
    params = {"min_weights": None, "max_weights": None, "solver_params": {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13}}
    found = weights_of(solve(optimization.MeanRisk, params))
    _, covariance = sample_moments(returns_of())
    raw = np.linalg.solve(covariance, np.ones(20))
    assert np.abs(found - raw / raw.sum()).max() < 1e-6


def test_bounded_minimum_variance_is_what_another_solver_finds() -> None:
    params = {"max_weights": 0.2, "solver_params": {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13}}
    found = weights_of(solve(optimization.MeanRisk, params))
    _, covariance = sample_moments(returns_of())

    def variance(weights: Floats) -> float:
        return float(1e4 * weights @ covariance @ weights)

    def slope(weights: Floats) -> Floats:
        return 2e4 * covariance @ weights

    def surplus(weights: Floats) -> float:
        return float(weights.sum() - 1.0)

    other = minimize(
        variance,
        np.full(20, 0.05),
        jac=slope,
        bounds=[(0.0, 0.2)] * 20,
        constraints={"type": "eq", "fun": surplus},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    assert other.success
    assert np.abs(found - other.x).max() < 1e-6


def test_the_moments_are_those_that_the_optimiser_used() -> None:
    shrunk = {
        "definition": "skfolio.prior:EmpiricalPrior",
        "params": {"covariance_estimator": {"definition": "skfolio.moments:LedoitWolf"}},
    }
    solution = solve(optimization.MeanRisk, {"prior_estimator": shrunk})
    frame = pd.DataFrame(returns_of(), columns=list(SYMBOLS))
    theirs = EmpiricalPrior(covariance_estimator=LedoitWolf()).fit(frame).return_distribution_
    assert np.abs(solution.covariance - theirs.covariance).max() < 1e-16
    assert np.abs(solution.expected_returns - theirs.mu).max() < 1e-16
    _, sample = sample_moments(returns_of())
    assert np.abs(solution.covariance - sample).max() > 1e-6


def test_given_expected_returns_replace_estimated_ones_and_risk_stays() -> None:
    expected = np.zeros(20)
    expected[7] = 0.001
    one = refit(optimization.MeanRisk, params={"objective_function": "MAXIMIZE_RETURN", "max_weights": 0.6})
    solution = one.solve(returns_of(), symbols=SYMBOLS, expected_returns=expected)
    assert weights_of(solution)[7] == pytest.approx(0.6, abs=1e-6)
    assert solution.expected_returns.tolist() == expected.tolist()
    assert np.abs(solution.covariance - sample_moments(returns_of())[1]).max() < 1e-16


def test_groups_gross_and_turnover_are_kept() -> None:
    previous = np.full(20, 0.05)
    params = {
        "objective_function": "MAXIMIZE_RETURN",
        "min_weights": -0.2,
        "max_weights": 0.4,
        "linear_constraints": ["first <= 0.3", "second >= 0.6"],
    }
    one = refit(optimization.MeanRisk, params=params, constraints={"gross": 1.4, "turnover": 0.5})
    solution = one.solve(returns_of(), symbols=SYMBOLS, previous=previous, groups=GROUPS)
    weights = weights_of(solution)
    assert weights[:8].sum() <= 0.3 + 1e-6
    assert np.abs(weights).sum() <= 1.4 + 1e-6
    assert np.abs(weights - previous).sum() / 2 <= 0.5 + 1e-6
    assert {"groups", "gross", "turnover", "budget", "min_weights", "max_weights"} == set(solution.residuals)
    # They bind: without them more would be traded.
    free = refit(optimization.MeanRisk, params=params).solve(returns_of(), symbols=SYMBOLS, groups=GROUPS)
    assert np.abs(weights_of(free) - previous).sum() / 2 > 0.6


def test_gross_and_turnover_are_kept_by_the_best_ratio_which_is_solved_for_scaled_weights() -> None:
    previous = np.full(20, 0.05)
    params = {"objective_function": "MAXIMIZE_RATIO", "min_weights": -0.3, "max_weights": 0.5}
    one = refit(optimization.MeanRisk, params=params, constraints={"gross": 1.2, "turnover": 0.4})
    weights = weights_of(one.solve(returns_of(), symbols=SYMBOLS, previous=previous, held_outside=0.1))
    assert np.abs(weights).sum() <= 1.2 + 1e-6
    assert np.abs(weights - previous).sum() / 2 + 0.05 == pytest.approx(0.4, abs=1e-6)


def test_turnover_is_kept_by_risk_budgeting_too() -> None:
    previous = np.full(20, 0.05)
    free = weights_of(solve(optimization.RiskBudgeting))
    assert np.abs(free - previous).sum() / 2 > 0.1
    one = refit(optimization.RiskBudgeting, constraints={"turnover": 0.05})
    weights = weights_of(one.solve(returns_of(), symbols=SYMBOLS, previous=previous))
    assert np.abs(weights - previous).sum() / 2 == pytest.approx(0.05, abs=1e-6)
    assert weights.sum() == pytest.approx(1.0, abs=1e-6)


def test_constraints_that_cannot_be_kept_together_are_no_success_and_say_by_how_much() -> None:
    solution = solve(optimization.MeanRisk, {"max_weights": 0.04})
    assert (solution.weights, solution.status, solution.fallback) == (None, "infeasible", None)
    # 20 names of at most 0.04 make 0.8 of 1.
    assert max(solution.residuals["budget"], 20 * solution.residuals["max_weights"]) == pytest.approx(0.2, abs=1e-4)


def test_bounds_that_a_hierarchy_cannot_keep_are_infeasible_too() -> None:
    solution = solve(optimization.HierarchicalRiskParity, {"max_weights": 0.04})
    assert (solution.weights, solution.status) == (None, "infeasible")


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        ("equal_weight", np.full(20, 0.05)),
        ("inverse_volatility", None),
        ("previous", np.linspace(0.0, 0.1, 20)),
    ],
)
def test_a_declared_fallback_is_used_and_said(fallback: Any, expected: Floats | None) -> None:
    one = refit(optimization.MeanRisk, params={"max_weights": 0.04}, fallback=fallback)
    solution = one.solve(returns_of(), symbols=SYMBOLS, previous=np.linspace(0.0, 0.1, 20))
    if expected is None:
        expected = weights_of(solve(optimization.InverseVolatility))
    assert (solution.status, solution.fallback, solution.is_solved) == ("infeasible", fallback, False)
    assert solution.weights is not None
    assert np.abs(solution.weights - expected).max() < 1e-12


def test_without_previous_weights_there_is_nothing_to_fall_back_to() -> None:
    solution = solve(optimization.MeanRisk, {"max_weights": 0.04}, fallback="previous")
    assert (solution.weights, solution.fallback) == (None, None)


def test_an_answer_that_the_solver_had_no_time_to_finish_is_no_solution() -> None:
    solution = solve(optimization.MeanRisk, {"max_weights": 0.2, "solver_params": {"max_iter": 4}})
    assert solution.weights is None
    assert solution.status not in {"optimal", "infeasible"}


class Warns(optimization.EqualWeighted):
    """Says that it is not sure, as solvers within other estimators do."""

    def fit(self, X: Any, y: Any = None) -> Any:  # noqa: N803 - scikit-learn's name
        warnings.warn("Solution may be inaccurate. Try changing the solver params", stacklevel=2)
        return super().fit(X, y)


class Plain:
    """An optimiser of somebody's own, without skfolio."""

    def __init__(self, share: float = 1.0, max_weights: float | None = None) -> None:
        self.share = share
        self.max_weights = max_weights

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"share": self.share, "max_weights": self.max_weights}

    def set_params(self, **params: Any) -> Any:
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def fit(self, returns: Any, y: Any = None) -> Any:
        self.weights_ = [self.share / returns.shape[1]] * returns.shape[1]
        return self


class Silent(Plain):
    def fit(self, returns: Any, y: Any = None) -> Any:
        self.weights_ = [float("nan")] * returns.shape[1]
        return self


class Careless(Plain):
    def fit(self, returns: Any, y: Any = None) -> Any:
        raise RuntimeError("no idea")


def test_an_optimiser_that_warns_of_its_answer_is_not_believed() -> None:
    solution = solve(Warns)
    assert (solution.weights, solution.status) == (None, "inaccurate")


def test_an_optimiser_of_ones_own_needs_the_interface_of_scikit_learn_and_no_more() -> None:
    solution = solve(Plain, {"share": 0.5})
    assert weights_of(solution).tolist() == [0.025] * 20
    assert (solution.status, solution.iterations, solution.residuals) == ("not_applicable", None, {})
    assert np.abs(solution.covariance - sample_moments(returns_of())[1]).max() == 0.0


def test_weights_that_break_a_bound_or_are_no_numbers_are_no_solution() -> None:
    broken = solve(Plain, {"max_weights": 0.04})
    assert (broken.weights, broken.status) == (None, "constraint_broken")
    assert broken.residuals == pytest.approx({"max_weights": 0.01})
    assert (solve(Silent).weights, solve(Silent).status) == (None, "no_weights")


@pytest.mark.parametrize(
    ("definition", "params", "said"),
    [
        (optimization.MeanRisk, {"max_weight": 0.2}, "did you mean 'max_weights'?"),
        (optimization.MeanRisk, {"risk_measure": "CVARR"}, "did you mean 'CVAR'?"),
        (optimization.MeanRisk, {"prior_estimator": {"definition": "os:remove"}}, "a module of Python itself"),
        (optimization.MeanRisk, {"prior_estimator": {"definition": "sklearn.svm:SVC"}}, "is not an optimiser"),
        (optimization.MeanRisk, {"max_weights": "a lot"}, "max_weights is a lot"),
        (optimization.MeanRisk, {"min_weights": [0.1, 0.2]}, "2 values for 20 names"),
        (dict, {}, "no fit"),
        (Careless, {}, "no idea"),
    ],
)
def test_what_cannot_be_fitted_at_all_is_refused_whatever_the_fallback(definition: Any, params: Any, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        solve(definition, params, fallback="equal_weight")
    assert said in caught.value.message


def test_returns_with_gaps_and_no_names_are_refused() -> None:
    gaps = returns_of()
    gaps[3, 4] = np.nan
    with pytest.raises(InvalidInputError, match="missing"):
        refit(optimization.MeanRisk).solve(gaps, symbols=SYMBOLS)
    with pytest.raises(InvalidInputError, match="for 0 names"):
        refit(optimization.MeanRisk).solve(gaps[:, :0], symbols=())


def test_a_refit_starts_from_nothing() -> None:
    one = refit(optimization.MeanRisk, params={"max_weights": 0.2})
    first = weights_of(one.solve(returns_of(), symbols=SYMBOLS))
    one.solve(returns_of(500)[:252], symbols=SYMBOLS)
    assert weights_of(one.solve(returns_of(), symbols=SYMBOLS)).tolist() == first.tolist()


def test_a_fresh_process_gives_the_same_weights_to_the_last_bit() -> None:
    script = (
        "from skfolio.optimization import MeanRisk; from tests.unit.test_refit import SYMBOLS, refit, returns_of;"
        "solution = refit(MeanRisk, params={'max_weights': 0.2}).solve(returns_of(), symbols=SYMBOLS);"
        "print(solution.weights.tobytes().hex())"
    )
    listing = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    here = weights_of(solve(optimization.MeanRisk, {"max_weights": 0.2}))
    assert listing.strip() == here.tobytes().hex()


def test_the_optimiser_of_a_version_is_made_again_from_its_detail(tmp_path: Path) -> None:
    location = locate("skfolio.optimization:MeanRisk", tmp_path)
    setup = {"lookback": 252, "fallback": "previous", "constraints": {"turnover": 0.1}, "calendar": "XNYS"}
    detail = {
        "definition": location.code_ref,
        "code_digest": code_digest(location),
        "params": {"max_weights": 0.2},
        "seed": 0,
        "optimizer": setup,
    }
    again = open_refit(detail, tmp_path, instance="mine")
    previous = np.full(20, 0.05)
    weights = weights_of(again.solve(returns_of(), symbols=SYMBOLS, previous=previous))
    assert np.abs(weights - previous).sum() / 2 == pytest.approx(0.1, abs=1e-6)
    with pytest.raises(CodeChangedError):
        open_refit({**detail, "code_digest": "0" * 64}, tmp_path, instance="mine")
