"""What the product's own procedures accept: the same for what is declared and for what a run is given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from optaic.errors import InvalidInputError

EXPRESSION = "optaic.procedures.expression:evaluate"
"""What executes an instance that has an expression."""

SIMULATOR = "optaic.procedures.simulator:simulate"
"""What executes a backtest that names no simulator of its own."""


def check_expression(text: str, params: Mapping[str, Any], roles: Sequence[str]) -> None:
    """Refuse an expression that cannot be computed with some params, or that they do not fit.

    Parameters
    ----------
    text
        The expression.
    params
        What its placeholders stand for.
    roles
        The names of its inputs.

    Raises
    ------
    ExpressionError
        If it is wrong, at the place.
    InvalidInputError
        If a param has no placeholder, or it reads no input.
    """
    from optaic.quant.expression import Kind, parse  # numerics are loaded only where there is an expression

    parsed = parse(text, params=params, names=dict.fromkeys(roles, Kind.ANY))
    unused = sorted(set(params) - set(re.findall(r"\{ *(\w+) *\}", text)))
    if unused:
        raise InvalidInputError(
            f"the expression has no placeholder {{{unused[0]}}}", next_step=f"use it, or take {unused[0]} out of params"
        )
    if not parsed.names:
        raise InvalidInputError("the expression reads nothing", next_step="name an input in it: CS_RANK(close)")


def check_options(params: Mapping[str, Any]) -> None:
    """Refuse options of the simulator that are out of range.

    Parameters
    ----------
    params
        By name, as they are declared or given to a run; dates as dates or ISO texts.

    Raises
    ------
    InvalidInputError
        The message begins with the name of the option.
    """
    from dataclasses import fields as fields_of

    from optaic.quant.options import SimulatorOptions
    from optaic.quant.rebalance import check_rebalance
    from optaic.quant.selection import check_selection

    known = {one.name for one in fields_of(SimulatorOptions)}
    SimulatorOptions(**{name: value for name, value in params.items() if name in known})
    check_rebalance(params.get("rebalance", "monthly"), offset=params.get("rebalance_offset", 0))
    check_selection(
        top=params.get("top", 0.2),
        gross=1.0 if params.get("gross") is None else params["gross"],
        net=params.get("net"),
        is_long_short=params.get("long_short", False),
    )
    start, end = params.get("start"), params.get("end")
    if start is not None and end is not None and str(start) > str(end):
        raise InvalidInputError(f"start {start} is after end {end}", next_step="give the first session first")
