"""The standard metrics of an ExperimentRun."""

from __future__ import annotations

from optaic.domain.metric.definition import Better, Metric, Unit, metric

PREVIEW_HORIZONS = (1, 5, 21)
"""Sessions ahead over which a preview looks."""

PREVIEW_QUANTILES = 5
"""Into how many quantiles a preview sorts the names of a date."""


def _horizon_metrics(horizon: int) -> tuple[Metric, ...]:
    """Give what a preview says of the returns of the next sessions; those of one session have no number."""
    tail = "" if horizon == 1 else f"_{horizon}"
    ahead = "the next session" if horizon == 1 else f"the next {horizon} sessions"
    return (
        metric(
            f"ic{tail}",
            Unit.RATIO,
            Better.HIGHER,
            f"Mean over dates of the rank correlation between the signal and the returns of {ahead}.",
        ),
        metric(f"ic_ir{tail}", Unit.RATIO, Better.HIGHER, "That mean over its standard deviation, not annualised."),
        metric(
            f"ic_t_statistic{tail}",
            Unit.RATIO,
            Better.HIGHER,
            "That mean over its standard error, which allows for overlapping returns (Hansen and Hodrick).",
        ),
    )


EXPERIMENT = (
    metric("rows_computed", Unit.ROWS, Better.NEITHER, "Rows of the preview: each name that could have a value."),
    metric("nan_pct", Unit.FRACTION, Better.LOWER, "Share of rows without a value."),
    metric("coverage", Unit.FRACTION, Better.HIGHER, "Share of names that could have a value and have one."),
    metric("mean", Unit.VALUE, Better.NEITHER, "Mean of the values."),
    metric("std", Unit.VALUE, Better.NEITHER, "Their standard deviation (ddof=1)."),
    metric("min", Unit.VALUE, Better.NEITHER, "The least value."),
    metric("max", Unit.VALUE, Better.NEITHER, "The greatest value."),
    metric("skewness", Unit.RATIO, Better.NEITHER, "Their skewness, biased."),
    metric("kurtosis", Unit.RATIO, Better.NEITHER, "Their kurtosis, biased and raw: of a normal distribution 3."),
    *(one for horizon in PREVIEW_HORIZONS for one in _horizon_metrics(horizon)),
    metric(
        "signal_autocorrelation",
        Unit.RATIO,
        Better.NEITHER,
        "Mean rank correlation of the signal with itself a session before.",
    ),
    metric("signal_turnover", Unit.FRACTION, Better.LOWER, "Mean share of a quantile's names that are new in it."),
    *(
        metric(
            f"quantile_return_{number}",
            Unit.FRACTION,
            Better.NEITHER,
            f"Mean return of the next session of quantile {number} of {PREVIEW_QUANTILES} by the signal, lowest first.",
        )
        for number in range(1, PREVIEW_QUANTILES + 1)
    ),
)
