"""What the product's own procedures can read: datasets, which have rows; a backtest also an optimiser, to refit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from optaic.domain.kind import BY_FLOW_KIND, FlowKind, InstanceKind, OutputKind
from optaic.domain.optimizer import OPTIMIZER, check_roles
from optaic.errors import InvalidInputError
from optaic.project.checks import SIMULATOR
from optaic.project.spec import InputSpec, InstanceSpec, Project


def check_read(
    project: Project, spec: InstanceSpec, item: InputSpec, upstream: FlowKind, config: Mapping[str, Any]
) -> None:
    """Refuse an input that a procedure of the product cannot read: rows where there are none, what is no optimiser.

    Parameters
    ----------
    project, spec
        Who reads. Code of somebody's own may read files as well, and is left alone.
    item
        What is read.
    upstream, config
        The kind of flow that it was found to be, and the config of its instance.

    Raises
    ------
    ProjectFileError
        If it cannot be read, or if it is an optimiser, and not what this reads is read beside it; the error points at
        the input.
    """
    if spec.definition == SIMULATOR and item.role == OPTIMIZER:
        _check_optimizer(project, spec, item, upstream, config)
        return
    is_ours = spec.kind is InstanceKind.MODEL or spec.definition == SIMULATOR or "expression" in spec.config
    if not is_ours or BY_FLOW_KIND[upstream].output is OutputKind.DATASET:
        return
    if item.instance == spec.name:
        return  # what it made itself, whose files a model predicts with and a monitor judges
    name = item.instance
    next_step = "read a dataset"
    if upstream is FlowKind.TRAIN:
        next_step = f"read its predictions: {item.role}: {name}.infer"
    elif upstream is FlowKind.OPTIMIZE and spec.definition == SIMULATOR:
        next_step = f"have it refitted at each rebalance: {OPTIMIZER}: {name}"
    raise project.error(
        spec,
        f"{spec.name} reads rows of {name}, and {upstream.value} makes files",
        next_step=next_step,
        place=("inputs", item.role),
    )


def _check_optimizer(
    project: Project, spec: InstanceSpec, item: InputSpec, upstream: FlowKind, config: Mapping[str, Any]
) -> None:
    if upstream is not FlowKind.OPTIMIZE:
        raise project.error(
            spec,
            f"{spec.name} reads {item.instance} as its optimizer, and it is none",
            next_step="name an instance of the kind portfolio_optimizer",
            place=("inputs", item.role),
        )
    read = cast("Mapping[str, Any]", config.get("inputs") or {})
    try:
        check_roles(spec.name, [one.role for one in spec.inputs], optimizer=item.instance, read=list(read))
    except InvalidInputError as error:
        raise project.error(spec, error.message, next_step=error.next_step, place=("inputs", item.role)) from error
