"""Preview a signal: compute it over its inputs, and say what it looks like and what it foretells."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, cast

import polars as pl

from optaic.errors import NoOutputError
from optaic.flows.context import RunContext
from optaic.flows.grid import moments, take_signal
from optaic.flows.refresh import call_source
from optaic.flows.task import Output, Result, Task
from optaic.storage.objects import ObjectStore

HORIZONS = (1, 5, 21)
"""Sessions ahead over which a preview looks."""

PRICES = "prices"
"""The input with which a preview compares its signal."""

Metrics = dict[str, float | int | str | None]


def preview(
    task: Task,
    definition: Callable[..., Any],
    context: RunContext,
    store: ObjectStore,  # noqa: ARG001 - flows of all kinds are called alike
) -> Result:
    """Preview a signal.

    Parameters
    ----------
    task
        What to preview.
    definition
        Computes the signal, called as `definition(ctx, **params)`: returns a table with `date` (Date), `symbol`
        (String) and one column of numbers, a row for each name that could have a value; a missing value is null.
    context
        What the definition sees of its run.
    store
        Not used: what is written goes through the context.

    Returns
    -------
    Result
        The artifact `preview.parquet`, and the metrics of an ExperimentRun: of the values, and where the input
        `prices` is declared also of what they say about the returns of the next 1, 5 and 21 sessions.

    Raises
    ------
    NoOutputError
        If the definition returned nothing.
    InvalidOutputError
        If it returned what is no signal.
    """
    table = call_source(definition, context, start=None, params=task.params)
    if table is None:
        raise NoOutputError(f"the definition of {task.instance} returned None", next_step="return a table from it")
    frame, column = take_signal(table, instance=task.instance)
    context.progress(50, "computed")
    metrics = describe(frame[column])
    dates = frame["date"]
    artifact = context.log_frame("preview.parquet", frame)
    return Result(
        metrics=metrics,
        artifacts=(artifact,),
        output=Output(
            artifacts=(artifact.name,),
            first_data_date=cast("dt.date | None", dates.min()),
            last_data_date=cast("dt.date | None", dates.max()),
        ),
    )


def describe(values: pl.Series) -> Metrics:
    """Count and describe the values of a signal.

    Parameters
    ----------
    values
        One for each name that could have one; null where it has none.

    Returns
    -------
    dict
        `rows_computed`, `nan_pct` (share of missing values, as a fraction), `coverage` (share of names with a value,
        as a fraction), and `mean, std, min, max, skewness, kurtosis` as `moments` gives them.
    """
    missing = values.null_count()
    share = missing / len(values) if len(values) else None
    return {
        "rows_computed": len(values),
        "nan_pct": share,
        "coverage": None if share is None else 1.0 - share,
        **moments(values.drop_nulls().to_numpy()),
    }
