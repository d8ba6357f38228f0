"""The standard metrics of each run type: what they are called, what they count, and which way is better."""

from __future__ import annotations

from optaic.domain.kind import RunType
from optaic.domain.metric.backtest import BACKTEST
from optaic.domain.metric.definition import Better, Metric, Unit
from optaic.domain.metric.experiment import EXPERIMENT
from optaic.domain.metric.inference import INFERENCE
from optaic.domain.metric.monitoring import MONITORING
from optaic.domain.metric.optimization import OPTIMIZATION
from optaic.domain.metric.pipeline import PIPELINE
from optaic.domain.metric.training import TRAINING

__all__ = ["STANDARD_METRICS", "Better", "Metric", "Unit"]

STANDARD_METRICS: dict[RunType, tuple[Metric, ...]] = {
    RunType.PIPELINE: PIPELINE,
    RunType.EXPERIMENT: EXPERIMENT,
    RunType.BACKTEST: BACKTEST,
    RunType.TRAINING: TRAINING,
    RunType.INFERENCE: INFERENCE,
    RunType.MONITORING: MONITORING,
    RunType.PORTFOLIO_OPTIMIZATION: OPTIMIZATION,
}
"""By run type; the types that this version does not execute yet have none."""
