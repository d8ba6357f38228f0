"""Axes: where the ticks are, and what is written at them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from optaic.report.number import decimals_of, format_digits, format_percent, format_short

EPOCH = dt.date(1970, 1, 1)

AxisUnit = Literal["fraction", "ratio", "money"]
"""How labels are written: as percentages, as plain numbers, as numbers with k, M, B, T."""

_TINY = 1e-290
"""What is smaller is zero: its logarithm and a tenth of it have no use on an axis."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The vertical axis of a chart.

    Attributes
    ----------
    low, high
        Its ends: values, or their natural logarithms if `is_log`; `low < high`, both finite.
    is_log
        Whether equal distances are equal ratios.
    ticks
        Values (never logarithms) at which lines are drawn, ascending, all inside the axis.
    labels
        What is written at each of them.
    """

    low: float
    high: float
    is_log: bool
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    def place(self, value: float) -> float:
        """Give the height of a value above the low end, as a fraction of the axis."""
        at = math.log(value) if self.is_log else value
        return (at - self.low) / (self.high - self.low)


def make_axis(low: float, high: float, *, unit: AxisUnit, is_log: bool = False, count: int = 5) -> Axis:
    """Make an axis that holds two values.

    Parameters
    ----------
    low, high
        The least and the greatest value, finite, `low <= high`; with `is_log` both above 1e-290.
    unit
        How labels are written.
    is_log
        Equal distances for equal ratios.
    count
        About how many ticks.

    Returns
    -------
    Axis
        A linear one ends at ticks. Where both values are the same, it reaches to both sides of it.

    Examples
    --------
    >>> make_axis(0.0, 0.33, unit="fraction").labels
    ('0%', '10%', '20%', '30%', '40%')
    """
    if is_log:
        return _log_axis(low, high, unit, count)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), _TINY):
        reach = abs(low) * 0.1 if abs(low) > _TINY else 1.0
        low, high = low - reach, high + reach
    step = _nice_step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(number * step for number in range(first, last + 1))
    return Axis(low=ticks[0], high=ticks[-1], is_log=False, ticks=ticks, labels=_labels(ticks, step, unit))


def _log_axis(low: float, high: float, unit: AxisUnit, count: int) -> Axis:
    start, end = math.log(low), math.log(high)
    pad = min(max(0.03 * (end - start), 1e-3), 0.1) if end - start > 1e-9 else 0.05
    start, end = start - pad, end + pad
    decades = range(math.floor(start / math.log(10)) - 1, math.ceil(end / math.log(10)) + 1)
    chosen: list[float] = []
    for mantissas in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        found = [m * 10.0**k for k in decades for m in mantissas if start <= math.log(m) + k * math.log(10) <= end]
        if chosen and len(found) > count + 2:
            break
        chosen = found
    if len(chosen) < 3:
        step = _nice_step((math.exp(end) - math.exp(start)) / count)
        numbers = range(math.ceil(math.exp(start) / step), math.floor(math.exp(end) / step) + 1)
        chosen = [number * step for number in numbers if number > 0]
        return Axis(low=start, high=end, is_log=True, ticks=tuple(chosen), labels=_labels(chosen, step, unit))
    kept = chosen[:: math.ceil(len(chosen) / (count + 2))]
    labels = tuple(_labels((tick,), 10.0 ** math.floor(math.log10(tick) + 1e-9), unit)[0] for tick in kept)
    return Axis(low=start, high=end, is_log=True, ticks=tuple(kept), labels=labels)


def _nice_step(raw: float) -> float:
    """Round up to 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next((factor * power for factor in (1.0, 2.0, 2.5, 5.0) if factor * power >= raw * (1 - 1e-9)), 10 * power)


def _labels(ticks: Sequence[float], step: float, unit: AxisUnit) -> tuple[str, ...]:
    if unit == "fraction":
        return tuple(format_percent(tick, decimals_of(step * 100)) for tick in ticks)
    if unit == "money":
        return tuple(format_short(tick, step) for tick in ticks)
    return tuple(format_digits(tick, decimals_of(step)) for tick in ticks)


def date_ticks(first: int, last: int, *, count: int = 7) -> tuple[tuple[int, str], ...]:
    """Choose the dates that are written below a chart: beginnings of years, of months in a short one, or days.

    Parameters
    ----------
    first, last
        The ends of the axis, in days since 1970-01-01, `first <= last`.
    count
        At most how many.

    Returns
    -------
    tuple
        Days since 1970-01-01, ascending and inside the axis, and what is written at each. At least one.

    Examples
    --------
    >>> [label for _, label in date_ticks(7306, 19354)]
    ['1995', '2000', '2005', '2010', '2015', '2020']
    """
    start, end = EPOCH + dt.timedelta(days=first), EPOCH + dt.timedelta(days=last)
    if last - first >= 2 * 366:
        for years in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000):
            beginnings = range(-(-start.year // years) * years, end.year + 1, years)
            days = [(_day(year, 1), str(year)) for year in beginnings if year > 0 and _day(year, 1) >= first]
            if len(days) <= count:
                return tuple(days)
    if last - first >= 62:
        for months in (1, 2, 3, 6, 12):
            numbers = range(start.year * 12, end.year * 12 + 12, months)
            chosen = [(n // 12, n % 12 + 1) for n in numbers if first <= _day(n // 12, n % 12 + 1) <= last]
            if len(chosen) <= count:
                return tuple(
                    (_day(year, month), _write_month(year, month, is_first=at == 0))
                    for at, (year, month) in enumerate(chosen)
                )
    step = max(1, math.ceil((last - first + 1) / min(count, 4)))
    return tuple((day, _write_day(day)) for day in range(first, last + 1, step))


def _day(year: int, month: int) -> int:
    return (dt.date(year, month, 1) - EPOCH).days


def _write_month(year: int, month: int, *, is_first: bool) -> str:
    if month == 1:
        return str(year)
    return f"{_MONTHS[month - 1]} {year}" if is_first else _MONTHS[month - 1]


def _write_day(day: int) -> str:
    at = EPOCH + dt.timedelta(days=day)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"
