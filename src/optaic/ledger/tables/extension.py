"""The seven extension tables: what runs of each type have beyond what all runs have."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Date, Float, Integer, String, Table
from sqlalchemy.sql.schema import SchemaItem

from optaic.domain.kind import RunType
from optaic.ledger.columns import Id, Instant, Json, column, one_of, reference, tenant_table


def _extension(name: str, *items: SchemaItem, comment: str) -> Table:
    run = column("run_id", Id, "The run.")
    return tenant_table(name, run, *items, reference("run_id", "runs"), key=("run_id",), comment=comment)


pipeline_runs = _extension(
    "pipeline_runs",
    column("base_version_id", Id, "The version that the fetched rows were compared with.", null=True),
    column("rows_fetched", BigInteger, "Rows that the source returned.", null=True),
    column("rows_inserted", BigInteger, "Rows of new keys.", null=True),
    column("rows_updated", BigInteger, "Rows whose values differ.", null=True),
    column("rows_deleted", BigInteger, "Rows that the source no longer has.", null=True),
    column("rows_unchanged", BigInteger, "Rows that were the same.", null=True),
    column("last_data_date", Date, "Last event date after the refresh.", null=True),
    column("bytes_processed", BigInteger, "Bytes of the fetched table in memory.", null=True),
    column("duration_seconds", Float, "From the start of the first attempt to the completion.", null=True),
    column("calendar", String(100), "The library, with its version, that knew the sessions expected of it.", null=True),
    comment="Refreshes of datasets.",
)

experiment_runs = _extension(
    "experiment_runs",
    column("rows_computed", BigInteger, "Rows of the preview.", null=True),
    column("nan_pct", Float, "Share of missing values, as a fraction.", null=True),
    column("coverage", Float, "Share of members with a value, as a fraction.", null=True),
    column("first_date", Date, "First event date computed.", null=True),
    column("last_date", Date, "Last event date computed.", null=True),
    column("ic", Float, "Mean information coefficient at one session.", null=True),
    column("statistics", Json, "Mean, std, min, max, skewness, kurtosis, by horizon.", null=True),
    comment="Previews, and loops tracked from notebooks.",
)

backtest_runs = _extension(
    "backtest_runs",
    column("start_date", Date, "First session simulated.", null=True),
    column("end_date", Date, "Last session simulated.", null=True),
    column("sessions_per_year", Float, "What annualises: a constant of the calendar.", null=True),
    column("capital", Float, "Value at the start.", null=True),
    column("costs_bps", Float, "Costs of traded notional, each side, in basis points.", null=True),
    column("is_same_bar", Boolean, "Traded on the bar that decided: labelled, never promotable.", null=True),
    column("view", String(20), "Whether decisions saw what was known then, or the latest.", null=True),
    column("sharpe_ratio", Float, "Annualised.", null=True),
    column("sharpe_ratio_se", Float, "Its standard error, annualised.", null=True),
    column("total_return", Float, "Over the whole period, as a fraction.", null=True),
    column("max_drawdown", Float, "Negative, as a fraction.", null=True),
    column("turnover", Float, "One-way, a year, as a fraction.", null=True),
    column("survivorship", Float, "Share of position-days in names alive at the end, as a fraction.", null=True),
    column("returns_key", String(500), "Object key of the return series, for the luck of families.", null=True),
    one_of("view", ["replay", "latest"]),
    comment="Backtests.",
)

portfolio_optimization_runs = _extension(
    "portfolio_optimization_runs",
    column("objective", String(100), "What was optimised.", null=True),
    column("decision_at", Instant, "What was known then was used.", null=True),
    column("lookback_sessions", Integer, "Sessions of history used.", null=True),
    column("asset_count", Integer, "Names with full history.", null=True),
    column("solver_status", String(50), "What the solver said.", null=True),
    column("fallback", String(100), "The declared fallback that was used.", null=True),
    column("expected_return", Float, "A year, as a fraction.", null=True),
    column("expected_volatility", Float, "A year, as a fraction.", null=True),
    column("effective_n", Float, "(sum |w|)^2 / sum w^2.", null=True),
    column("residuals", Json, "Constraint residuals.", null=True),
    comment="Optimisations of portfolios.",
)

training_runs = _extension(
    "training_runs",
    column("estimator", String(300), "Import path of the estimator.", null=True),
    column("target", Json, "Horizon, lag, transform.", null=True),
    column("fit_count", Integer, "Fits in the version.", null=True),
    column("num_features", Integer, "Columns used.", null=True),
    column("training_samples", BigInteger, "Rows trained on, over all fits.", null=True),
    column("validation_samples", BigInteger, "Rows validated on, over all fits.", null=True),
    column("train_start", Date, "First event date trained on.", null=True),
    column("label_end", Date, "Last event date that a label reaches.", null=True),
    column("val_ic", Float, "Mean out-of-sample information coefficient.", null=True),
    column("probe_digest", String(64), "Digest of the predictions on the stored probe sample.", null=True),
    comment="Trainings of models.",
)

inference_runs = _extension(
    "inference_runs",
    column("base_version_id", Id, "The version that the predictions were compared with.", null=True),
    column("model_version_id", Id, "The version that predicted.", null=True),
    column("first_date", Date, "First event date predicted.", null=True),
    column("last_date", Date, "Last event date predicted.", null=True),
    column("num_predictions", BigInteger, "Rows predicted.", null=True),
    column("is_in_sample", Boolean, "Whether in-sample rows were allowed: labelled.", null=True),
    column("coverage", Float, "Share of members with a prediction, as a fraction.", null=True),
    column("latency_ms", Float, "Milliseconds to predict.", null=True),
    reference("model_version_id", "versions"),
    comment="Predictions of models.",
)

monitoring_runs = _extension(
    "monitoring_runs",
    column("monitor", String(50), "Drift, performance, data quality, or several of them.", null=True),
    column("reference_start", Date, "First event date of the reference.", null=True),
    column("reference_end", Date, "Last event date of the reference.", null=True),
    column("window_start", Date, "First event date monitored.", null=True),
    column("window_end", Date, "Last event date monitored.", null=True),
    column("verdict", String(20), "What it found.", null=True),
    column("alert_count", Integer, "Alerts raised.", null=True),
    column("alerts_json", Json, "The alerts: severity, threshold, value, sentence.", null=True),
    one_of("monitor", ["model_drift", "performance", "data_quality", "several"]),
    one_of("verdict", ["ok", "warning", "critical", "no_verdict"]),
    comment="Monitoring checks.",
)

EXTENSIONS: dict[RunType, Table] = {
    RunType.PIPELINE: pipeline_runs,
    RunType.EXPERIMENT: experiment_runs,
    RunType.BACKTEST: backtest_runs,
    RunType.PORTFOLIO_OPTIMIZATION: portfolio_optimization_runs,
    RunType.TRAINING: training_runs,
    RunType.INFERENCE: inference_runs,
    RunType.MONITORING: monitoring_runs,
}
"""For each run type, its extension table; joined by the run's id."""
