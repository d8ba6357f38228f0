"""What can be declared of a portfolio optimiser beside the params of its estimator."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from optaic.errors import InvalidInputError

PRICES, EXPECTED, PREVIOUS, GROUPS, UNIVERSE = "prices", "expected_returns", "previous_weights", "groups", "universe"
"""The roles that an optimiser reads."""

ROLES = (PRICES, EXPECTED, PREVIOUS, GROUPS, UNIVERSE)

OPTIMIZER = "optimizer"
"""The role in which a backtest reads an optimiser."""

OPTIONAL_ROLES = (EXPECTED, GROUPS)
"""What a backtest has to read itself if its optimiser reads it, and otherwise must not."""

Fallback = Literal["equal_weight", "inverse_volatility", "previous"]

FALLBACKS: tuple[Fallback, ...] = ("equal_weight", "inverse_volatility", "previous")
"""What can be held where there is no solution."""

OWN_CONSTRAINTS = ("gross", "turnover")
"""What the product constrains beside the parameters of the estimator."""


def check_roles(instance: str, roles: Collection[str], *, optimizer: str, read: Collection[str]) -> None:
    """Refuse a backtest that does not read beside its optimiser what the optimiser reads.

    Parameters
    ----------
    instance, roles
        The backtest, and the roles that it reads.
    optimizer, read
        Its optimiser, and the roles that that reads.

    Raises
    ------
    InvalidInputError
        If the optimiser reads expected returns or groups and the backtest does not, or the other way round.
    """
    for role in OPTIONAL_ROLES:
        if role in read and role not in roles:
            raise InvalidInputError(
                f"{optimizer} reads {role}, and {instance}, which refits it at each rebalance, does not",
                next_step=f"add to the inputs of {instance}: {role}: INSTANCE",
            )
        if role in roles and role not in read:
            raise InvalidInputError(
                f"{instance} reads {role}, and its optimizer {optimizer} has no use for it",
                next_step=f"take {role} out of the inputs of {instance}, or add it to those of {optimizer}",
            )
