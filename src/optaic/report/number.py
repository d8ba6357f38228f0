"""How numbers are written on pages and charts: percent, ratios, days, counts, money; and short ones for axes."""

from __future__ import annotations

import math

UNKNOWN = "\u2013"
"""What stands for a value that is not known or not defined."""

MINUS = "\u2212"

_LARGE = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def format_value(value: float | str | None, unit: str) -> str:
    """Write a value in its unit.

    Parameters
    ----------
    value
        A number; a text is given back as it is.
    unit
        `fraction`, `fraction_per_year`, `probability` (0.01 is written 1.00%), `ratio` (two decimals), `score` (three),
        `days`, `sessions`, `count`, `money`, `boolean` (yes, no); with any other, four significant digits, or all
        before the point, and the unit after them.

    Returns
    -------
    str
        None and NaN are an en dash, infinities an infinity sign; a number that rounds to zero has no sign.

    Examples
    --------
    >>> format_value(0.12345, "fraction"), format_value(2.0, "ratio"), format_value(10_000_000, "money")
    ('12.35%', '2.00', '10,000,000')
    """
    if isinstance(value, str):
        return value
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    match unit:
        case "fraction" | "fraction_per_year" | "probability":
            return format_percent(value, 2)
        case "ratio":
            return sign(f"{value:,.2f}")
        case "score":
            return format_digits(value, 3)
        case "days" | "sessions":
            return sign(f"{value:,.0f}") + " " + (unit.removesuffix("s") if abs(value) == 1 else unit)
        case "count":
            return sign(f"{value:,.0f}")
        case "boolean":
            return "yes" if value else "no"
        case "money":
            return sign(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}")
        case _:
            written = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"
            return f"{sign(written)} {unit}".strip()


def format_percent(value: float, decimals: int) -> str:
    """Write a fraction as a percentage.

    Examples
    --------
    >>> format_percent(0.0149, 1)
    '1.5%'
    """
    return format_digits(value * 100, decimals) + "%"


def format_short(value: float, step: float) -> str:
    """Write a number for an axis: 12.5M for 12,500,000.

    Parameters
    ----------
    value
        Finite.
    step
        The distance to the next label, which decides how many decimals are needed.

    Examples
    --------
    >>> format_short(12_500_000, 2_500_000), format_short(0.5, 0.25)
    ('12.5M', '0.50')
    """
    for size, letter in _LARGE:
        if abs(value) >= size:
            return format_digits(value / size, decimals_of(step / size)) + letter
    return format_digits(value, decimals_of(step))


def format_digits(value: float, decimals: int) -> str:
    """Write a finite number with so many decimals; from 1e15 on with three significant digits.

    Examples
    --------
    >>> format_digits(1234.5, 2)
    '1,234.50'
    """
    return sign(f"{value:,.{decimals}f}" if abs(value) < 1e15 else f"{value:.3g}")


def decimals_of(step: float) -> int:
    """Tell how many decimals tell apart multiples of a step, at most 12.

    Examples
    --------
    >>> decimals_of(5), decimals_of(0.25), decimals_of(0.1)
    (0, 2, 1)
    """
    for decimals in range(12):
        scaled = step * 10**decimals
        if scaled >= 1 and abs(scaled - round(scaled)) < 1e-6 * scaled:
            return decimals
    return 12


def sign(digits: str) -> str:
    """Give a number that Python wrote a true minus, and none if all its digits are zero."""
    if not digits.startswith("-"):
        return digits
    return MINUS + digits[1:] if any(digit in digits for digit in "123456789") else digits[1:]
