"""What can be declared of a portfolio optimiser beside the params of its estimator."""

from __future__ import annotations

from typing import Literal

PRICES, EXPECTED, PREVIOUS, GROUPS, UNIVERSE = "prices", "expected_returns", "previous_weights", "groups", "universe"
"""The roles that an optimiser reads."""

ROLES = (PRICES, EXPECTED, PREVIOUS, GROUPS, UNIVERSE)

Fallback = Literal["equal_weight", "inverse_volatility", "previous"]

FALLBACKS: tuple[Fallback, ...] = ("equal_weight", "inverse_volatility", "previous")
"""What can be held where there is no solution."""

OWN_CONSTRAINTS = ("gross", "turnover")
"""What the product constrains beside the parameters of the estimator."""
