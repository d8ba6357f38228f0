"""What can be logged as a metric."""

from __future__ import annotations

import math
import numbers
import re

from optaic.errors import InvalidInputError

MAX_STEP = 2**63 - 1

_METRIC_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/ @=+-]{0,199}")


def to_number(what: str, value: object) -> float:
    """Take what is a number in every sense but its type: numpy's scalars, fractions, NaN.

    Raises
    ------
    InvalidInputError
        If it is something else, or infinite.
    """
    if not isinstance(value, bool) and isinstance(value, int | numbers.Real):
        try:
            number = float(value)
        except (OverflowError, ValueError, TypeError):
            number = math.inf
        if not math.isinf(number):
            return number
    raise InvalidInputError(f"{what}: {value!r} is not a finite number or NaN")


def to_step(name: str, step: object) -> int:
    """Take the step of a metric.

    Raises
    ------
    InvalidInputError
        If it is not a whole number of 64 bits.
    """
    if not isinstance(step, bool) and isinstance(step, int | numbers.Integral) and abs(int(step)) <= MAX_STEP:
        return int(step)
    raise InvalidInputError(f"metric {name!r}: step {step!r} is not a whole number of 64 bits")


def to_name(name: object) -> str:
    """Take the name of a metric.

    Raises
    ------
    InvalidInputError
        If it cannot be one.
    """
    if not isinstance(name, str) or not _METRIC_NAME.fullmatch(name):
        raise InvalidInputError(
            f"{str(name)[:80]!r} cannot be the name of a metric",
            next_step="use up to 200 letters, digits, blanks and _ . : / @ = + -, starting with a letter, digit or _",
        )
    return str(name)
