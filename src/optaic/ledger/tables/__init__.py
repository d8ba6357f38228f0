"""All tables of the ledger; importing this package fills `metadata`."""

from optaic.ledger.columns import metadata
from optaic.ledger.tables.catalog import (
    definition_versions,
    definitions,
    flow_inputs,
    flows,
    instance_revisions,
    instances,
    projects,
    schedules,
    source_snapshots,
)
from optaic.ledger.tables.event import activities, alerts, limits
from optaic.ledger.tables.extension import (
    EXTENSIONS,
    backtest_runs,
    experiment_runs,
    inference_runs,
    monitoring_runs,
    pipeline_runs,
    portfolio_optimization_runs,
    training_runs,
)
from optaic.ledger.tables.identity import api_keys, principals, tenants
from optaic.ledger.tables.output import artifacts, segments, version_segments, version_stages, versions
from optaic.ledger.tables.plan import families, plan_members, plan_pins, plan_step_edges, plan_steps, plans
from optaic.ledger.tables.run import attempts, log_chunks, metric_points, run_inputs, run_metrics, runs, submissions

__all__ = [
    "EXTENSIONS",
    "activities",
    "alerts",
    "api_keys",
    "artifacts",
    "attempts",
    "backtest_runs",
    "definition_versions",
    "definitions",
    "experiment_runs",
    "families",
    "flow_inputs",
    "flows",
    "inference_runs",
    "instance_revisions",
    "instances",
    "limits",
    "log_chunks",
    "metadata",
    "metric_points",
    "monitoring_runs",
    "pipeline_runs",
    "plan_members",
    "plan_pins",
    "plan_step_edges",
    "plan_steps",
    "plans",
    "portfolio_optimization_runs",
    "principals",
    "projects",
    "run_inputs",
    "run_metrics",
    "runs",
    "schedules",
    "segments",
    "source_snapshots",
    "submissions",
    "tenants",
    "training_runs",
    "version_segments",
    "version_stages",
    "versions",
]
