"""The standard metrics of a PortfolioOptimizationRun."""

from __future__ import annotations

from optaic.domain.metric.definition import Better, Unit, metric

_HIGHER, _LOWER, _NEITHER = Better.HIGHER, Better.LOWER, Better.NEITHER

OPTIMIZATION = (
    metric("expected_return", Unit.FRACTION, _HIGHER, "Of the weights and the moments used, a year, simple."),
    metric("expected_volatility", Unit.FRACTION, _LOWER, "Of the weights and the moments used, a year."),
    metric("expected_sharpe", Unit.RATIO, _HIGHER, "Their ratio, in excess of the optimiser's risk-free rate."),
    metric("diversification_ratio", Unit.RATIO, _HIGHER, "Weighted mean of the volatilities over the portfolio's."),
    metric("effective_n", Unit.RATIO, _NEITHER, "(sum |w|)^2 / sum w^2: as many names in equal weights."),
    metric("concentration", Unit.RATIO, _NEITHER, "Its inverse: 1 for a single name."),
    metric("gross_exposure", Unit.FRACTION, _NEITHER, "Sum of the absolute weights."),
    metric("net_exposure", Unit.FRACTION, _NEITHER, "Sum of the weights."),
    metric("long_weight", Unit.FRACTION, _NEITHER, "Sum of the weights above zero."),
    metric("short_weight", Unit.FRACTION, _NEITHER, "Sum of the weights below zero, without their sign."),
    metric("num_positions", Unit.COUNT, _NEITHER, "Names with a weight above 1e-6, in absolute value."),
    metric("asset_count", Unit.COUNT, _NEITHER, "Names with a full history, which could have a weight."),
    metric("turnover", Unit.FRACTION, _LOWER, "One-way, from the drifted previous weights; null without them."),
    metric("solver_status", Unit.TEXT, _NEITHER, "`optimal`; `not_applicable` if no solver tells; or why it failed."),
    metric("fallback", Unit.TEXT, _NEITHER, "The declared fallback that the weights come from; `none` if solved."),
    metric("iterations", Unit.COUNT, _NEITHER, "Of the solver; null where there is none."),
    metric("solve_seconds", Unit.SECONDS, _LOWER, "Time of the fit."),
    metric("constraint_residual", Unit.FRACTION, _LOWER, "The worst of the residuals; above 1e-6 one is broken."),
    metric("sessions_per_year", Unit.SESSIONS, _NEITHER, "What annualises."),
)
