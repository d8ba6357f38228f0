"""What the product's own procedures accept: the same for what is declared and for what a run is given."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
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


_INERT: Mapping[str, tuple[str, ...]] = {
    "weights": ("rebalance", "rebalance_offset", "top", "long_short"),
    "optimizer": ("top", "long_short"),
}
"""Options that say nothing of a backtest, by the role that decides."""

_LONGEST = 100_000
"""Sessions: more than any exchange has had."""


def with_effect(params: Mapping[str, Any], roles: Collection[str]) -> dict[str, Any]:
    """Give the options of the simulator but for those that say nothing of a backtest that reads these roles.

    Examples
    --------
    >>> with_effect({"top": 0.2, "lag": 1}, ["optimizer", "prices"])
    {'lag': 1}
    """
    inert = [name for role, without in _INERT.items() if role in roles for name in without]
    return {name: value for name, value in params.items() if name not in inert}


def check_effect(names: Collection[str], roles: Collection[str]) -> None:
    """Refuse options of the simulator that say nothing of a backtest, because of what it reads.

    Parameters
    ----------
    names
        The options that are declared, or given to a run.
    roles
        The names of the backtest's inputs.

    Raises
    ------
    InvalidInputError
        The message begins with the name of the option.
    """
    if "benchmark" in names and "benchmark" not in roles:
        raise InvalidInputError(
            "benchmark says what an index is, and none is read: the benchmark is the equal weight of the universe",
            next_step="add to its inputs: benchmark: INSTANCE; or take benchmark out of config",
        )
    for role, without in _INERT.items():
        if role in roles and (inert := [name for name in without if name in names]):
            raise InvalidInputError(
                f"{inert[0]} has no effect on {role}",
                next_step=f"take {inert[0]} out"
                + (": weights are decided on the dates that they have rows of" if role == "weights" else ""),
            )


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

    from optaic.flows.calendar import check_calendar
    from optaic.quant.options import SimulatorOptions
    from optaic.quant.rebalance import check_rebalance
    from optaic.quant.selection import check_selection

    for name in ("lag", "rebalance", "rebalance_offset"):
        if isinstance(params.get(name), int) and params[name] > _LONGEST:
            raise InvalidInputError(f"{name} is {params[name]!r:.40}", next_step=f"give at most {_LONGEST} sessions")
    annual = params.get("sessions_per_year")
    if annual is not None and (
        isinstance(annual, bool) or not isinstance(annual, int | float) or not 0 < annual <= _LONGEST
    ):
        raise InvalidInputError(
            f"sessions_per_year is {annual!r:.40}", next_step="leave it out, or give what annualises, such as 252"
        )
    calendar = params.get("calendar")
    if calendar is not None:
        try:
            check_calendar(str(calendar))
        except InvalidInputError as error:
            raise InvalidInputError(f"calendar is wrong: {error.message}", next_step=error.next_step) from error
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
