"""The table of run types: which instance and flow kind each belongs to, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache


class InstanceKind(StrEnum):
    """What an instance is a configured use of."""

    DATASET = "dataset"
    EXPERIMENT = "experiment"
    MODEL = "model"
    PORTFOLIO_OPTIMIZER = "portfolio_optimizer"
    BACKTEST = "backtest"


class FlowKind(StrEnum):
    """What a flow does with its instance."""

    REFRESH = "refresh"
    PREVIEW = "preview"
    BACKTEST = "backtest"
    OPTIMIZE = "optimize"
    TRAIN = "train"
    INFER = "infer"
    MONITOR = "monitor"


class RunType(StrEnum):
    """The seven types of run."""

    PIPELINE = "PipelineRun"
    EXPERIMENT = "ExperimentRun"
    BACKTEST = "BacktestRun"
    PORTFOLIO_OPTIMIZATION = "PortfolioOptimizationRun"
    TRAINING = "TrainingRun"
    INFERENCE = "InferenceRun"
    MONITORING = "MonitoringRun"


class OutputKind(StrEnum):
    """What an official completion publishes."""

    DATASET = "dataset"
    """A version of rows: segments, compared by key with the version before."""
    FILES = "files"
    """A version of files: the run's own artifacts."""
    NOTHING = "nothing"
    """No version; what it found stands in the run itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKind:
    """One row of the table.

    Attributes
    ----------
    run_type
        The name that people and programs see.
    slug
        The snake-case name: activities are `<slug>.<verb>`, the extension table is `<slug>s`.
    flow_kind
        The kind of flow whose runs have this type.
    instance_kinds
        The kinds of instance that have such a flow.
    output
        What an official completion publishes.
    """

    run_type: RunType
    slug: str
    flow_kind: FlowKind
    instance_kinds: tuple[InstanceKind, ...]
    output: OutputKind

    @property
    def makes_version(self) -> bool:
        """Whether an official completion makes a version that others consume."""
        return self.output is not OutputKind.NOTHING


RUN_KINDS: tuple[RunKind, ...] = (
    RunKind(
        run_type=RunType.PIPELINE,
        slug="pipeline_run",
        flow_kind=FlowKind.REFRESH,
        instance_kinds=(InstanceKind.DATASET,),
        output=OutputKind.DATASET,
    ),
    RunKind(
        run_type=RunType.EXPERIMENT,
        slug="experiment_run",
        flow_kind=FlowKind.PREVIEW,
        instance_kinds=(InstanceKind.EXPERIMENT,),
        output=OutputKind.FILES,
    ),
    RunKind(
        run_type=RunType.BACKTEST,
        slug="backtest_run",
        flow_kind=FlowKind.BACKTEST,
        instance_kinds=(InstanceKind.BACKTEST,),
        output=OutputKind.FILES,
    ),
    RunKind(
        run_type=RunType.PORTFOLIO_OPTIMIZATION,
        slug="portfolio_optimization_run",
        flow_kind=FlowKind.OPTIMIZE,
        instance_kinds=(InstanceKind.PORTFOLIO_OPTIMIZER,),
        output=OutputKind.FILES,
    ),
    RunKind(
        run_type=RunType.TRAINING,
        slug="training_run",
        flow_kind=FlowKind.TRAIN,
        instance_kinds=(InstanceKind.MODEL,),
        output=OutputKind.FILES,
    ),
    RunKind(
        run_type=RunType.INFERENCE,
        slug="inference_run",
        flow_kind=FlowKind.INFER,
        instance_kinds=(InstanceKind.MODEL,),
        output=OutputKind.DATASET,
    ),
    RunKind(
        run_type=RunType.MONITORING,
        slug="monitoring_run",
        flow_kind=FlowKind.MONITOR,
        instance_kinds=(InstanceKind.MODEL, InstanceKind.DATASET, InstanceKind.BACKTEST),
        output=OutputKind.NOTHING,
    ),
)

BY_FLOW_KIND: dict[FlowKind, RunKind] = {kind.flow_kind: kind for kind in RUN_KINDS}
BY_RUN_TYPE: dict[RunType, RunKind] = {kind.run_type: kind for kind in RUN_KINDS}


def main_flow_kind(kind: InstanceKind) -> FlowKind:
    """Name the flow that a bare instance name stands for: of a model, `train`."""
    return next(row.flow_kind for row in RUN_KINDS if kind in row.instance_kinds)


@cache
def _is_main(instance_kind: str, flow_kind: str) -> bool:
    return main_flow_kind(InstanceKind(instance_kind)) is FlowKind(flow_kind)


def target_name(instance: str, instance_kind: str, flow_kind: str) -> str:
    """Name a flow as people do: the instance, with the flow kind where it is not the instance's main one."""
    return instance if _is_main(instance_kind, flow_kind) else f"{instance}.{flow_kind}"
