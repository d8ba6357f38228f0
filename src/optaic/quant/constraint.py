"""Constraints on weights as plain numbers, and how far weights are from keeping them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Constraint:
    """One or several conditions on weights w: linear w + absolute |w - center| is at most, or equal to, limits.

    Attributes
    ----------
    name
        A word: `budget`, `max_weights`, `gross`.
    text
        In words: `sum of weights = 1`.
    limits : ndarray of shape (n_conditions,), float64
        An infinite limit is none.
    linear : ndarray of shape (n_conditions, n_symbols), float64, or None
        Coefficients of the weights.
    absolute : ndarray of shape (n_conditions, n_symbols), float64, or None
        Coefficients, not below 0, of the weights' absolute distances from the center.
    center : ndarray of shape (n_symbols,), float64, or None
        None for zero.
    sense
        `at_most` or `equal`.
    """

    name: str
    text: str
    limits: Floats
    linear: Floats | None = None
    absolute: Floats | None = None
    center: Floats | None = None
    sense: Literal["at_most", "equal"] = "at_most"

    def residual(self, weights: Floats) -> float:
        """Give by how much weights break it: of several conditions the worst; 0 or below if they keep it.

        Parameters
        ----------
        weights : ndarray of shape (n_symbols,), float64
            Fractions of the value.

        Returns
        -------
        float
            In units of weight; NaN if a weight is.

        Examples
        --------
        >>> budget = Constraint(
        ...     name="budget", text="sum of weights = 1", limits=np.ones(1), linear=np.ones((1, 2)), sense="equal"
        ... )
        >>> budget.residual(np.array([0.5, 0.25]))
        0.25
        """
        values = -self.limits
        if self.linear is not None:
            values = values + self.linear @ weights
        if self.absolute is not None:
            values = values + self.absolute @ np.abs(weights if self.center is None else weights - self.center)
        return float(np.abs(values).max() if self.sense == "equal" else values.max())

    @property
    def coefficients(self) -> Floats:
        """The coefficients of each condition side by side: 0 in a row where no weight has a say."""
        parts = [part for part in (self.linear, self.absolute) if part is not None]
        return np.hstack(parts) if parts else np.zeros((len(self.limits), 0))

    def is_hopeless(self, tolerance: float) -> bool:
        """Whether no weights keep it: one of its conditions is of no weight at all, and is not met.

        Examples
        --------
        >>> nobody = Constraint(name="groups", text="tech >= 0.4", limits=np.array([-0.4]), linear=np.zeros((1, 2)))
        >>> nobody.is_hopeless(1e-6)
        True
        """
        excess = np.abs(self.limits) if self.sense == "equal" else -self.limits
        return bool(((excess > tolerance) & ~self.coefficients.any(axis=1)).any())


def measure_residuals(constraints: Sequence[Constraint], weights: Floats) -> dict[str, float]:
    """Give the residual of each constraint by its name; of constraints with one name the worst.

    Examples
    --------
    >>> cap = Constraint(name="max_weights", text="each weight <= 0.5", limits=np.full(2, 0.5), linear=np.eye(2))
    >>> measure_residuals([cap], np.array([0.75, 0.25]))
    {'max_weights': 0.25}
    """
    found: dict[str, float] = {}
    for constraint in constraints:
        residual = constraint.residual(weights)
        worst = found.get(constraint.name)
        found[constraint.name] = residual if worst is None else float(np.maximum(worst, residual))
    return found
