"""The standard metrics of an InferenceRun."""

from __future__ import annotations

from optaic.domain.metric.definition import Better, Unit, metric

INFERENCE = (
    metric("num_predictions", Unit.ROWS, Better.NEITHER, "Rows predicted."),
    metric(
        "in_sample_rows",
        Unit.ROWS,
        Better.LOWER,
        "Those of them for dates that no fit predicts out of sample: 0 unless `allow_in_sample`.",
    ),
    metric("mean_prediction", Unit.VALUE, Better.NEITHER, "Their mean."),
    metric("std_prediction", Unit.VALUE, Better.NEITHER, "Their standard deviation (ddof=1)."),
    metric("confidence_mean", Unit.FRACTION, Better.NEITHER, "Mean confidence, where the estimator states one."),
    metric("latency_ms", Unit.VALUE, Better.LOWER, "Milliseconds to predict, loading left out."),
    metric(
        "coverage", Unit.FRACTION, Better.HIGHER, "Share of names with a prediction among those that could have one."
    ),
)
