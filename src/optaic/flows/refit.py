"""One allocation: an optimiser is fitted to returns, and what it says is believed only if it holds."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from optaic.domain.optimizer import Fallback
from optaic.errors import InvalidInputError
from optaic.flows.equation import Equation, Names, read_equations, replace_equations
from optaic.flows.judgement import SOLVED, TOLERANCE, judge_answer, judge_error
from optaic.flows.limits import budget_of, convex_constraints, floor_of_return, list_constraints
from optaic.flows.optimizer import Optimizer, make_optimizer, require_library, use_expected_returns
from optaic.flows.real import to_real
from optaic.quant.allocation import sample_moments
from optaic.quant.constraint import Constraint

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """What came of an allocation.

    Attributes
    ----------
    weights : ndarray of shape (n_symbols,), float64, or None
        Fractions of the value; None if there is neither a solution nor a fallback: keep what is held.
    status
        `optimal`, or `not_applicable` of an optimiser that tells of no solver; or why the answer is not used:
        `infeasible`, `unbounded`, `inaccurate`, `constraint_broken`, `no_weights`, `failed`, or the solver's own word.
    residuals
        By constraint, how far the weights that the solver gave are from keeping it; of an infeasible problem, how far
        the nearest weights are. Above 1e-6 it is broken. Empty where nothing that is measured explains the failure.
    fallback
        The declared fallback that the weights come from; None if they are the solver's.
    iterations
        Of the solver; None where it does not tell, or there is none.
    solve_seconds
        Time of the fit.
    expected_returns, covariance : ndarray of shape (n_symbols,) and (n_symbols, n_symbols), float64
        The moments used, per session: the optimiser's own, else those of the sample.
    message
        What went wrong, in the solver's words; empty if nothing did.
    notes
        What the optimiser warned of.
    constraints
        What was to be kept.
    broken
        In words, and by how much, what `residuals` are of and is not kept.
    """

    weights: Floats | None
    status: str
    residuals: Mapping[str, float]
    fallback: Fallback | None
    iterations: int | None
    solve_seconds: float
    expected_returns: Floats
    covariance: Floats
    message: str = ""
    notes: tuple[str, ...] = ()
    constraints: Sequence[Constraint] = field(default_factory=tuple[Constraint, ...])
    broken: tuple[str, ...] = ()

    @property
    def is_solved(self) -> bool:
        """Whether the weights are the optimiser's own."""
        return self.status in SOLVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """An optimiser that can be fitted again and again, each time from nothing.

    Attributes
    ----------
    definition
        The class of the optimiser, or the project's function that makes one.
    params
        As the project file has them.
    instance
        Whose they are, for messages.
    constraints
        The product's own: `gross` and `turnover`.
    fallback
        What is used where there is no solution; None for nothing.
    seed
        For what is random.
    """

    definition: Callable[..., Any]
    params: Mapping[str, Any]
    instance: str
    constraints: Mapping[str, float] = field(default_factory=dict[str, float])
    fallback: Fallback | None = None
    seed: int = 0

    def solve(
        self,
        returns: Floats,
        *,
        symbols: Sequence[str],
        previous: Floats | None = None,
        held_outside: float = 0.0,
        expected_returns: Floats | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        names: Names | None = None,
    ) -> Solution:
        """Allocate.

        Parameters
        ----------
        returns : ndarray of shape (lookback, n_symbols), float64
            Simple returns per session, as fractions, without NaN: only names with a whole history.
        symbols
            The names, in the order of the columns.
        previous : ndarray of shape (n_symbols,), float64, optional
            The weights held before, drifted.
        held_outside
            Sum of the absolute weights held before in other names; they are sold, and count as turnover.
        expected_returns : ndarray of shape (n_symbols,), float64, optional
            Simple returns per session, instead of those that the optimiser would estimate.
        groups
            By name, the groups that it belongs to.
        names
            What constraints may name beside these symbols and groups, though none of it can be held now.

        Returns
        -------
        Solution
            Also of a solver that failed: its `status` says so.

        Raises
        ------
        InvalidInputError
            If params, returns, groups or expected returns cannot be used at all, or a constraint names what is neither
            a group nor a symbol; no fallback hides that.

        Notes
        -----
        An answer counts as a solution only if the solver (if any) calls it optimal, nothing warned that it may be
        inaccurate, all weights are finite, and each constraint holds to 1e-6.
        """
        require_library()
        import pandas as pd

        _check_returns(returns, symbols, self.instance)
        optimizer = make_optimizer(self.definition, self.params, instance=self.instance, seed=self.seed)
        params = optimizer.get_params(deep=False)
        if expected_returns is not None:
            use_expected_returns(optimizer, expected_returns, instance=self.instance)
        if groups is not None:
            if "groups" not in params:
                raise InvalidInputError(
                    f"{self.instance}: a {type(optimizer).__name__} has no groups",
                    next_step="take groups out of its inputs",
                )
            optimizer.set_params(groups={name: list(groups[name]) for name in symbols if name in groups})
        if previous is not None and "previous_weights" in params:
            optimizer.set_params(previous_weights=previous)
        if "save_problem" in params:
            optimizer.set_params(save_problem=True)
        self._constrain(optimizer, previous, held_outside)
        params = optimizer.get_params(deep=False)
        equations = read_equations(params, symbols, names)
        constraints = list_constraints(
            params,
            symbols,
            class_name=type(optimizer).__name__,
            own=self.constraints,
            equations=equations,
            previous=previous,
            held_outside=held_outside,
        )
        optimizer.set_params(**replace_equations(params, equations))
        frame = pd.DataFrame(returns, columns=list(symbols))
        found, error, notes, seconds = _fit(optimizer, frame)
        mean, covariance = _moments(optimizer, returns)
        if expected_returns is not None:
            mean = expected_returns
        constraints += floor_of_return(params, mean)
        if error is not None:
            judged = judge_error(optimizer, error, constraints, frame, instance=self.instance)
        else:
            judged = judge_answer(optimizer, found, notes, constraints, len(symbols))
        weights, fallback = found, None
        if judged.status not in SOLVED:
            weights, fallback = self._fall_back(covariance, previous, params)
        return Solution(
            weights=weights,
            status=judged.status,
            residuals=judged.residuals,
            fallback=fallback,
            iterations=_iterations(optimizer),
            solve_seconds=seconds,
            expected_returns=mean,
            covariance=covariance,
            message=judged.message,
            notes=(*notes, *_idle(equations)),
            constraints=constraints,
            broken=judged.broken,
        )

    def _constrain(self, optimizer: Optimizer, previous: Floats | None, held_outside: float) -> None:
        if not self.constraints:
            return
        params = optimizer.get_params(deep=False)
        if "add_constraints" not in params or params["add_constraints"] is not None:
            raise InvalidInputError(
                f"{self.instance}: a {type(optimizer).__name__} cannot take constraints of gross or turnover",
                next_step="take `constraints:` out, or use skfolio.optimization:MeanRisk",
            )
        is_scaled = getattr(params.get("objective_function"), "name", "MAXIMIZE_RATIO") == "MAXIMIZE_RATIO"
        budget = budget_of(params, type(optimizer).__name__)
        if is_scaled and not budget:
            raise InvalidInputError(
                f"{self.instance}: gross and turnover of a ratio need a budget", next_step="set the param budget: 1.0"
            )
        optimizer.set_params(
            add_constraints=convex_constraints(self.constraints, budget=budget, previous=previous, outside=held_outside)
        )

    def _fall_back(
        self, covariance: Floats, previous: Floats | None, params: Mapping[str, Any]
    ) -> tuple[Floats | None, Fallback | None]:
        count = len(covariance)
        total = float(params.get("budget") or 1.0)
        if self.fallback == "equal_weight":
            return np.full(count, total / count), "equal_weight"
        if self.fallback == "inverse_volatility":
            variances = np.diag(covariance)
            if (variances > 0.0).all():
                inverse = 1.0 / np.sqrt(variances)
                return total * inverse / inverse.sum(), "inverse_volatility"
        if self.fallback == "previous" and previous is not None:
            return previous, "previous"
        return None, None


def _fit(optimizer: Optimizer, frame: Any) -> tuple[Floats | None, Exception | None, tuple[str, ...], float]:
    """Fit; give weights (None if they are no finite numbers), what was raised and warned of, and seconds."""
    error: Exception | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.perf_counter()
        try:
            optimizer.fit(frame)
        except Exception as raised:  # noqa: BLE001 - solvers and estimators raise anything
            error = raised
        seconds = time.perf_counter() - began
    notes = tuple(dict.fromkeys(" ".join(str(one.message).split())[:300] for one in caught))
    weights: Floats | None = None
    if error is None:
        try:
            weights = to_real(getattr(optimizer, "weights_", None), f"the weights of the {type(optimizer).__name__}")
        except (TypeError, ValueError):
            weights = None
        if weights is not None and (weights.shape != (frame.shape[1],) or not np.isfinite(weights).all()):
            weights = None
    return weights, error, notes, seconds


def _idle(equations: Sequence[Equation]) -> list[str]:
    """Say which constraints limit nothing here, because nothing that they name can be held."""
    return [
        f"linear_constraints: {one.text} limits nothing: no name that can be held is in it"
        for one in equations
        if not one.is_whole and not one.constraint.coefficients.any() and not one.constraint.is_hopeless(TOLERANCE)
    ]


def _moments(optimizer: Optimizer, returns: Floats) -> tuple[Floats, Floats]:
    """Give the moments that the optimiser used, else those of the sample."""
    mean, covariance = sample_moments(returns)
    used: Any = getattr(getattr(optimizer, "prior_estimator_", None), "return_distribution_", None)
    if used is not None:
        own_mean = np.asarray(used.mu, dtype=np.float64)
        own_covariance = np.asarray(used.covariance, dtype=np.float64)
        if own_mean.shape == mean.shape and own_covariance.shape == covariance.shape:
            return own_mean, own_covariance
    return mean, covariance


def _iterations(optimizer: Optimizer) -> int | None:
    stats: Any = getattr(getattr(optimizer, "problem_", None), "solver_stats", None)
    count: object = getattr(stats, "num_iters", None)
    return int(count) if isinstance(count, int) else None


def _check_returns(returns: Floats, symbols: Sequence[str], instance: str) -> None:
    if returns.ndim != 2 or returns.shape[1] != len(symbols) or not len(symbols) or len(returns) < 2:
        raise InvalidInputError(
            f"{instance}: returns of shape {returns.shape} for {len(symbols)} names cannot be optimised",
            next_step="an optimiser needs one name or more, and two sessions or more",
        )
    if not np.isfinite(returns).all():
        raise InvalidInputError(f"{instance}: some returns are missing", next_step="leave these names out")
