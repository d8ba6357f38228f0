"""The standard metrics of each run type: what they are called, what they count, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from optaic.domain.kind import RunType


class Unit(StrEnum):
    """What a metric is counted in."""

    ROWS = "rows"
    BYTES = "bytes"
    SECONDS = "seconds"
    DATE = "date"
    FRACTION = "fraction"
    """0.01 is one percent."""
    RATIO = "ratio"
    """Without a unit."""
    VALUE = "value"
    """In the unit of what is described."""
    COUNT = "count"
    SESSIONS = "sessions"
    MONEY = "money"
    """In the currency of the prices."""
    TEXT = "text"


class Better(StrEnum):
    """Which way a metric is better, where there is one."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A standard metric.

    Attributes
    ----------
    name
        Its key, in the run's metrics and in searches.
    unit
        What it is counted in.
    better
        Which way is better.
    meaning
        A sentence.
    """

    name: str
    unit: Unit
    better: Better
    meaning: str


def _metric(name: str, unit: Unit, better: Better, meaning: str) -> Metric:
    return Metric(name=name, unit=unit, better=better, meaning=meaning)


def _horizon_metrics(horizon: int) -> tuple[Metric, ...]:
    """Give what a preview says of the returns of the next sessions; those of one session have no number."""
    tail = "" if horizon == 1 else f"_{horizon}"
    ahead = "the next session" if horizon == 1 else f"the next {horizon} sessions"
    return (
        _metric(
            f"ic{tail}",
            Unit.RATIO,
            Better.HIGHER,
            f"Mean over dates of the rank correlation between the signal and the returns of {ahead}.",
        ),
        _metric(f"ic_ir{tail}", Unit.RATIO, Better.HIGHER, "That mean over its standard deviation, not annualised."),
        _metric(
            f"ic_t_statistic{tail}",
            Unit.RATIO,
            Better.HIGHER,
            "That mean over its standard error, which allows for overlapping returns (Hansen and Hodrick).",
        ),
    )


PREVIEW_HORIZONS = (1, 5, 21)
"""Sessions ahead over which a preview looks."""

PREVIEW_QUANTILES = 5

_EXPERIMENT = (
    _metric("rows_computed", Unit.ROWS, Better.NEITHER, "Rows of the preview: each name that could have a value."),
    _metric("nan_pct", Unit.FRACTION, Better.LOWER, "Share of rows without a value."),
    _metric("coverage", Unit.FRACTION, Better.HIGHER, "Share of names that could have a value and have one."),
    _metric("mean", Unit.VALUE, Better.NEITHER, "Mean of the values."),
    _metric("std", Unit.VALUE, Better.NEITHER, "Their standard deviation (ddof=1)."),
    _metric("min", Unit.VALUE, Better.NEITHER, "The least value."),
    _metric("max", Unit.VALUE, Better.NEITHER, "The greatest value."),
    _metric("skewness", Unit.RATIO, Better.NEITHER, "Their skewness, biased."),
    _metric("kurtosis", Unit.RATIO, Better.NEITHER, "Their kurtosis, biased and raw: of a normal distribution 3."),
    *(metric for horizon in PREVIEW_HORIZONS for metric in _horizon_metrics(horizon)),
    _metric(
        "signal_autocorrelation",
        Unit.RATIO,
        Better.NEITHER,
        "Mean rank correlation of the signal with itself a session before.",
    ),
    _metric(
        "signal_turnover", Unit.FRACTION, Better.LOWER, "Mean share of the top quantile that was not in it before."
    ),
    *(
        _metric(
            f"quantile_return_{number}",
            Unit.FRACTION,
            Better.NEITHER,
            f"Mean return of the next session of quantile {number} of {PREVIEW_QUANTILES} by the signal, lowest first.",
        )
        for number in range(1, PREVIEW_QUANTILES + 1)
    ),
)

STANDARD_METRICS: dict[RunType, tuple[Metric, ...]] = {
    RunType.EXPERIMENT: _EXPERIMENT,
    RunType.PIPELINE: (
        Metric(name="rows_fetched", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows that the source returned."),
        Metric(
            name="rows_inserted", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows whose key was not there before."
        ),
        Metric(name="rows_updated", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows whose values differ."),
        Metric(
            name="rows_deleted",
            unit=Unit.ROWS,
            better=Better.NEITHER,
            meaning="Rows that the source no longer has; found by full refreshes only.",
        ),
        Metric(name="rows_unchanged", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows that were the same."),
        Metric(
            name="last_data_date",
            unit=Unit.DATE,
            better=Better.HIGHER,
            meaning="The last event date of the dataset after the refresh.",
        ),
        Metric(
            name="duration_seconds",
            unit=Unit.SECONDS,
            better=Better.LOWER,
            meaning="From the start of the first attempt to the completion, by the database's clock.",
        ),
        Metric(
            name="bytes_processed",
            unit=Unit.BYTES,
            better=Better.NEITHER,
            meaning="Size in memory of the table that the source returned.",
        ),
    ),
}
"""By run type; the types that this version does not execute yet have none."""
