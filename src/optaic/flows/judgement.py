"""Whether what an optimiser answers is believed, and if not, by how much which constraint is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.flows.limits import nearest_weights
from optaic.flows.optimizer import Optimizer
from optaic.flows.risk_limit import set_limits, unreachable_limits
from optaic.quant.constraint import Constraint, measure_residuals

Floats = npt.NDArray[np.float64]
TOLERANCE = 1e-6
"""By how much a constraint may be broken, in units of weight."""

OPTIMAL, NO_SOLVER, INACCURATE, INFEASIBLE, BROKEN, NO_WEIGHTS, FAILED = (
    "optimal",
    "not_applicable",
    "inaccurate",
    "infeasible",
    "constraint_broken",
    "no_weights",
    "failed",
)
"""What a fit can end as, beside the solver's own words."""

SOLVED = frozenset({OPTIMAL, NO_SOLVER})
"""The ends with weights that are believed: those of a solver, and of optimisers that tell of none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is thought of a fit.

    Attributes
    ----------
    status
        As `Solution.status`.
    message
        What went wrong; empty if nothing did.
    residuals
        As `Solution.residuals`.
    broken
        Each constraint that is broken, in words, and by how much.
    """

    status: str
    message: str = ""
    residuals: Mapping[str, float] = field(default_factory=dict[str, float])
    broken: tuple[str, ...] = ()


def judge_answer(
    optimizer: Optimizer, weights: Floats | None, notes: Sequence[str], constraints: Sequence[Constraint], count: int
) -> Judgement:
    """Say whether an answer is a solution, if not why, and how far its weights are from keeping the constraints.

    Parameters
    ----------
    optimizer
        Fitted.
    weights : ndarray of shape (n_symbols,), float64, or None
        What it gave; None if it gave no finite number for each name.
    notes
        What it warned of.
    constraints
        What was to be kept.
    count
        Names.
    """
    hopeless = [one for one in constraints if one.is_hopeless(TOLERANCE)]
    if hopeless:
        told = ", ".join(one.text for one in hopeless)
        return _against(
            INFEASIBLE, f"no name that can be held is in {told}", constraints, nearest_weights(constraints, count)
        )
    if weights is None:
        return Judgement(status=NO_WEIGHTS, message="it gave no finite weight for each name")
    status = solver_status(optimizer)
    if status not in (None, OPTIMAL):
        return _against(str(status), f"the solver calls its answer {status}", constraints, weights)
    if getattr(optimizer, "fallback_", None) is not None:
        message = "the optimiser fell back by itself; declare `fallback:` beside its params instead"
        return _against(FAILED, message, constraints, weights)
    doubt = next((note for note in notes if "may be inaccurate" in note), None)
    if doubt is not None:
        return _against(INACCURATE, doubt, constraints, weights)
    judged = _against(NO_SOLVER if status is None else OPTIMAL, "", constraints, weights)
    if judged.broken:
        return _against(BROKEN, "its weights break a constraint", constraints, weights)
    return judged


def judge_error(
    optimizer: Optimizer, error: Exception, constraints: Sequence[Constraint], returns: Any, *, instance: str
) -> Judgement:
    """Say why a fit raised: its constraints cannot be kept, its solver failed; or refuse what it was given.

    Parameters
    ----------
    optimizer
        Whose fit raised.
    error
        What it raised.
    constraints
        What was to be kept.
    returns : DataFrame
        What it was fitted to.
    instance
        For the message.

    Raises
    ------
    InvalidInputError
        If neither constraints nor solver explain the error.
    """
    nearest = nearest_weights(constraints, returns.shape[1])
    message = " ".join(str(error).split())[:300]
    judged = _against(INFEASIBLE, message, constraints, nearest)
    if judged.broken:
        return judged
    if not is_solver_error(error):
        raise InvalidInputError(
            f"{instance}: the {type(optimizer).__name__} cannot be fitted: {type(error).__name__}: {message}",
            next_step="look at its params in optaic.yaml",
        ) from error
    status = solver_status(optimizer) or FAILED
    limits = set_limits(optimizer)
    if not limits:
        return Judgement(status=status, message=message, residuals=judged.residuals)
    # What is measured on weights alone can be kept, which says nothing of these.
    unreachable = unreachable_limits(optimizer, returns)
    if unreachable:
        return Judgement(
            status=INFEASIBLE,
            message=message,
            residuals={one.name: one.residual for one in unreachable},
            broken=tuple(one.text for one in unreachable),
        )
    told = ", ".join(f"{name}: {value}" for name, value in limits.items())
    return Judgement(
        status=status,
        message=f"{message}; what cannot be met may be a limit that is not measured, or all together: {told}",
    )


def solver_status(optimizer: Optimizer) -> str | None:
    """Give the solver's own word; None where there is no solver, or it cannot be asked."""
    status: object = getattr(getattr(optimizer, "problem_", None), "status", None)
    return status if isinstance(status, str) else None


def is_solver_error(error: Exception) -> bool:
    """Whether a solver or its numerics failed, not what it was given."""
    import cvxpy
    from skfolio.exceptions import NonPositiveVarianceError, OptimizationError

    kinds = (OptimizationError, NonPositiveVarianceError, cvxpy.SolverError, ArithmeticError, np.linalg.LinAlgError)
    return isinstance(error, kinds)


def _against(status: str, message: str, constraints: Sequence[Constraint], weights: Floats | None) -> Judgement:
    """Judge weights by the constraints."""
    if weights is None:
        return Judgement(status=status, message=message)
    measured = [(one.text, one.residual(weights)) for one in constraints]
    return Judgement(
        status=status,
        message=message,
        residuals=measure_residuals(constraints, weights),
        broken=tuple(f"{text} by {value:.3g}" for text, value in measured if not value <= TOLERANCE),
    )
