"""What an instance reads as rows has to be a dataset: a model, a backtest and a preview have files."""

from __future__ import annotations

from optaic.domain.kind import BY_FLOW_KIND, FlowKind, InstanceKind, OutputKind
from optaic.project.checks import SIMULATOR
from optaic.project.spec import InputSpec, InstanceSpec, Project


def check_rows(project: Project, spec: InstanceSpec, item: InputSpec, upstream: FlowKind) -> None:
    """Refuse an input that has no rows where a procedure of the product reads rows.

    Parameters
    ----------
    project, spec
        Who reads. Code of somebody's own may read files as well, and is left alone.
    item
        What is read.
    upstream
        The kind of flow that it was found to be.

    Raises
    ------
    ProjectFileError
        If it has none; the error points at the input.
    """
    is_ours = spec.kind is InstanceKind.MODEL or spec.definition == SIMULATOR or "expression" in spec.config
    if not is_ours or BY_FLOW_KIND[upstream].output is OutputKind.DATASET:
        return
    if item.instance == spec.name:
        return  # what it made itself, whose files a model predicts with and a monitor judges
    name = item.instance
    raise project.error(
        spec,
        f"{spec.name} reads rows of {name}, and {upstream.value} makes files",
        next_step=f"read its predictions: {item.role}: {name}.infer"
        if upstream is FlowKind.TRAIN
        else "read a dataset",
        place=("inputs", item.role),
    )
