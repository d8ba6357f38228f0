"""The report of a portfolio optimisation, from plain data."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optaic.report.bar import bar_chart
from optaic.report.markup import EMPTY, Html, join
from optaic.report.number import format_value, sign
from optaic.report.page import Figure, Heading, Section, figure_groups, table, terms, tiles, write_page

HEADLINE = ("expected_return", "expected_volatility", "expected_sharpe", "effective_n", "turnover")
"""The figures that are written large."""

_MAX_BARS = 40

_NOISE, _SMALL = 1e-9, 1e-3
"""Below the first a residual is rounding, below the second two decimals of a percentage do not tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What the optimiser was told about a name, and gave it.

    Attributes
    ----------
    symbol
        The name.
    weight
        Fraction of the value; below zero for a short position.
    previous
        The weight before, drifted; None if there was none.
    expected_return, volatility
        Its moments, per year, as fractions; None if the optimiser did not use them.
    """

    symbol: str
    weight: float
    previous: float | None = None
    expected_return: float | None = None
    volatility: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """How far a constraint is from its limit.

    Attributes
    ----------
    constraint
        In words: `sum of weights = 1`.
    value
        By how much the solution breaks it, 0 or below if it does not.
    tolerance
        What is still taken as kept, at least 0.
    """

    constraint: str
    value: float
    tolerance: float

    @property
    def is_kept(self) -> bool:
        """Whether the constraint holds within its tolerance; a residual that is not a number breaks it."""
        return self.value <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationReport:
    """What the report of an optimisation shows.

    Attributes
    ----------
    run_id, instance
        Which run, of what.
    period
        First and last session of the lookback; None for none.
    created_at
        When, aware.
    figures
        The metrics, in the order and groups in which they are shown; moments are per year.
    holdings
        Names with their weights, in any order.
    residuals
        The constraints.
    chips, warnings, assumptions
        As for a backtest. Constraints that are broken need no warning: the page writes it.
    headline
        Names of the figures that are written large.
    """

    run_id: str
    instance: str
    period: tuple[dt.date, dt.date] | None
    created_at: dt.datetime
    figures: Sequence[Figure]
    holdings: Sequence[Holding]
    assumptions: Mapping[str, str]
    residuals: Sequence[Residual] = ()
    chips: Sequence[str] = ()
    warnings: Sequence[str] = ()
    headline: Sequence[str] = HEADLINE


def optimization_page(report: OptimizationReport) -> str:
    """Write the report of an optimisation as one HTML document.

    Parameters
    ----------
    report
        What it shows.

    Returns
    -------
    str
        Broken constraints and warnings first, then assumptions, figures, weights and residuals. The same report gives
        the same characters.

    Raises
    ------
    InvalidInputError
        If `created_at` has no time zone.
    """
    broken = [f"Constraint broken: {residual.constraint}." for residual in report.residuals if not residual.is_kept]
    large = [figure for name in report.headline for figure in report.figures if figure.name == name]
    sections = [
        Section(title="Assumptions", body=terms(report.assumptions)),
        Section(title="Weights", body=join([tiles(large), _weights(report.holdings)])),
        Section(title="Figures", body=figure_groups(report.figures)),
        Section(title="Constraints", body=_residuals(report.residuals)),
        Section(title="Holdings", lead="Moments are per year.", body=_holdings(report.holdings)),
    ]
    heading = Heading(
        kind="Portfolio optimisation",
        title=report.instance,
        run_id=report.run_id,
        period=report.period,
        created_at=report.created_at,
        chips=report.chips,
    )
    return write_page(heading, [*broken, *report.warnings], sections)


def _by_weight(holdings: Sequence[Holding]) -> list[Holding]:
    return sorted(holdings, key=lambda one: (-one.weight if math.isfinite(one.weight) else math.inf, one.symbol))


def _weights(holdings: Sequence[Holding]) -> Html:
    held = [one for one in _by_weight(holdings) if one.weight != 0]
    note = "Fraction of the value"
    if len(held) > _MAX_BARS:
        # Both ends are of interest: the largest long and the largest short positions.
        shown = sorted(held, key=lambda one: -abs(one.weight))[:_MAX_BARS]
        note = f"{note}; the {_MAX_BARS} largest of {len(held)} positions, all are in the table below"
        held = _by_weight(shown)
    return bar_chart(
        "weights", "Weights", [one.symbol for one in held], [one.weight for one in held], unit="fraction", note=note
    )


def _residuals(residuals: Sequence[Residual]) -> Html:
    rows = [
        [
            one.constraint,
            _residual(one.value),
            _residual(one.tolerance),
            "kept" if one.is_kept else "broken",
        ]
        for one in residuals
    ]
    return table(["Constraint", "Residual", "Tolerance", ""], rows)


def _residual(value: float) -> str:
    """Write a fraction in percent, with as many decimals as it needs; what rounding leaves of nothing as nothing."""
    if math.isfinite(value) and _NOISE <= abs(value) < _SMALL:
        return sign(f"{value * 100:.2g}") + "%"
    return format_value(value, "fraction")


def _holdings(holdings: Sequence[Holding]) -> Html:
    if not holdings:
        return EMPTY
    rows = [
        [
            one.symbol,
            format_value(one.weight, "fraction"),
            format_value(one.previous, "fraction"),
            format_value(None if one.previous is None else one.weight - one.previous, "fraction"),
            format_value(one.expected_return, "fraction"),
            format_value(one.volatility, "fraction"),
        ]
        for one in _by_weight(holdings)
    ]
    return table(["Name", "Weight", "Before", "Change", "Expected return", "Volatility"], rows)
