"""The standard metrics of a MonitoringRun; a run has those of its checks."""

from __future__ import annotations

from optaic.domain.metric.definition import Better, Unit, metric

_HIGHER, _LOWER, _NEITHER = Better.HIGHER, Better.LOWER, Better.NEITHER

MONITORING = (
    metric(
        "verdict", Unit.TEXT, _NEITHER, "`ok`, `warning`, `critical`, or `no_verdict` where it could not be judged."
    ),
    metric("alert_count", Unit.COUNT, _LOWER, "Alerts, those of severity `info` too."),
    # data_quality, of the window
    metric("rows_checked", Unit.ROWS, _NEITHER, "Rows of the window."),
    metric("missing_pct", Unit.FRACTION, _LOWER, "Share of cells without a value, rows that are not there included."),
    metric("outlier_pct", Unit.FRACTION, _LOWER, "Share of values that lie far from the history of their column."),
    metric("outlier_mads", Unit.RATIO, _LOWER, "The greatest distance from it, in robust standard deviations."),
    metric("duplicate_pct", Unit.FRACTION, _LOWER, "Share of rows that repeat the row before of the same series."),
    metric("gap_count", Unit.COUNT, _LOWER, "Sessions of the calendar without any row."),
    metric("schema_changes", Unit.COUNT, _LOWER, "Columns that are new or have vanished."),
    metric("staleness_hours", Unit.HOURS, _LOWER, "Hours since the last event date was first known."),
    metric("overdue_hours", Unit.HOURS, _LOWER, "Hours since newer data are due, by what is expected; 0 if not yet."),
    # model_drift, of the window against the reference
    metric("psi", Unit.RATIO, _LOWER, "The greatest population stability index of a feature, on reference deciles."),
    metric("psi_prediction", Unit.RATIO, _LOWER, "That of the predictions."),
    metric("ks", Unit.RATIO, _LOWER, "The greatest Kolmogorov-Smirnov distance of a feature."),
    metric("drifted_features", Unit.COUNT, _LOWER, "Features whose PSI is an alert."),
    metric(
        "reference_rows",
        Unit.ROWS,
        _NEITHER,
        "Values in the reference of the feature that `psi` is of.",
    ),
    metric("window_rows", Unit.ROWS, _NEITHER, "Values of the same feature in the window."),
    # performance of predictions whose labels have matured
    metric(
        "direction_accuracy",
        Unit.FRACTION,
        _HIGHER,
        "Share of predictions whose sign is that of what came; of a classifier, share of right classes.",
    ),
    metric("ic", Unit.RATIO, _HIGHER, "Mean over dates of the rank correlation of predictions and labels."),
    metric("ic_ir", Unit.RATIO, _HIGHER, "That mean over its standard deviation, not annualised."),
    metric("hit_rate", Unit.FRACTION, _HIGHER, "Share of dates whose rank correlation is above 0."),
    metric("matured_labels", Unit.ROWS, _NEITHER, "Predictions whose labels are known."),
    metric("matured_dates", Unit.COUNT, _NEITHER, "Dates that have a rank correlation."),
    # performance of a backtest's last sessions
    metric("total_return", Unit.FRACTION, _HIGHER, "Of the window."),
    metric("sharpe_ratio", Unit.RATIO, _HIGHER, "Of the window, annualised."),
    metric("sharpe_ratio_standard_error", Unit.RATIO, _NEITHER, "Its standard error."),
    metric("volatility", Unit.FRACTION, _LOWER, "Of the window, annualised."),
    metric("max_drawdown", Unit.FRACTION, _HIGHER, "Within the window; negative."),
    metric("window_sessions", Unit.SESSIONS, _NEITHER, "Sessions of the window."),
)
