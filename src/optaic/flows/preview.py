"""Preview a signal: compute it over its inputs, and say what it looks like and what it foretells."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import polars as pl

from optaic.domain.metric.experiment import PREVIEW_HORIZONS, PREVIEW_QUANTILES
from optaic.errors import NoOutputError
from optaic.flows.call import call_definition
from optaic.flows.context import RunContext
from optaic.flows.grid import DATE, take_signal, to_grid, value_column
from optaic.flows.task import Output, Result, Task
from optaic.flows.universe import UNIVERSE, is_member, members_by
from optaic.storage.objects import ObjectStore

PRICES = "prices"
"""The input with which a preview compares its signal."""

PRICE_COLUMNS = ("date", "symbol", "close", "dividend", "split")

COLUMNS = frozenset({"rows_computed", "nan_pct", "coverage", "ic"})
"""Metrics that have a column of their own in `experiment_runs`."""

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
    table = call_definition(definition, context, params=task.params)
    if table is None:
        raise NoOutputError(f"the definition of {task.instance} returned None", next_step="return a table from it")
    frame, column = take_signal(table, instance=task.instance)
    context.progress(50, "computed")
    metrics = describe(frame[column])
    first, last = cast("dt.date | None", frame["date"].min()), cast("dt.date | None", frame["date"].max())
    if PRICES in context.inputs:
        metrics |= foretell(frame, column, context)
    artifact = context.log_frame("preview.parquet", frame)
    return Result(
        metrics=metrics,
        artifacts=(artifact,),
        output=Output(artifacts=(artifact.name,), first_data_date=first, last_data_date=last),
        fields={
            "first_date": None if first is None else first.isoformat(),
            "last_date": None if last is None else last.isoformat(),
            "statistics": {name: value for name, value in metrics.items() if name not in COLUMNS},
        },
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
        as a fraction), `mean`, `std` (ddof=1), `min`, `max`, and `skewness` and `kurtosis` (biased, raw: 3 of a
        normal distribution). None where it is not defined.
    """
    from optaic.quant.performance import kurtosis, skewness

    share = values.null_count() / len(values) if len(values) else math.nan
    there = values.drop_nulls().to_numpy()
    found = {
        "nan_pct": share,
        "coverage": 1.0 - share,
        "mean": float(there.mean()) if there.size else math.nan,
        "std": float(there.std(ddof=1)) if there.size > 1 else math.nan,
        "min": float(there.min()) if there.size else math.nan,
        "max": float(there.max()) if there.size else math.nan,
        "skewness": skewness(there),
        "kurtosis": kurtosis(there),
    }
    return {"rows_computed": len(values), **_known(found)}


def foretell(frame: pl.DataFrame, column: str, context: RunContext) -> Metrics:
    """Compare a signal with the returns that follow it.

    A return is that of the next h sessions, with dividends and splits, entered one session after the signal: as a
    backtest with its default lag would. Only members of the universe count, if there is one, and sessions with fewer
    than ten names count for nothing.

    Parameters
    ----------
    frame
        `date`, `symbol` and the signal.
    column
        The name of the signal.
    context
        Of the run; its input `prices` is read.

    Returns
    -------
    dict
        `ic, ic_ir, ic_t_statistic` of one session, the same of 5 and 21 with their number, `signal_autocorrelation`,
        `signal_turnover` and `quantile_return_1` to `_5`; None where there is nothing to tell.

    Raises
    ------
    InvalidInputError
        If it is not said which column of the prices is the price.
    """
    from optaic.quant.labels import forward_returns
    from optaic.quant.market import read_market
    from optaic.quant.panel import total_return_prices
    from optaic.quant.quantiles import mean_by_quantile, quantile_returns, signal_turnover
    from optaic.quant.signals import ic, ic_ir, ic_t_statistic, information_coefficients, signal_autocorrelation

    source = context.input(PRICES)
    table = source.frame().rename({value_column(source, "close"): "close"})
    market = read_market(table.select(name for name in PRICE_COLUMNS if name in table.columns))
    prices = total_return_prices(market.panel)
    dates, symbols = market.panel.dates, market.symbols
    signal = to_grid(frame, column, dates=dates, symbols=symbols).values
    if UNIVERSE in context.inputs:
        members = members_by(context, pl.DataFrame({DATE: dates}, schema_overrides={DATE: pl.Date()}))
        signal = np.where(is_member(members, dates, symbols), signal, np.nan)
    found: dict[str, float] = {}
    for horizon in PREVIEW_HORIZONS:
        tail = "" if horizon == 1 else f"_{horizon}"
        labels = forward_returns(prices, horizon=horizon)
        coefficients = information_coefficients(signal, labels)
        found[f"ic{tail}"] = ic(coefficients)
        found[f"ic_ir{tail}"] = ic_ir(coefficients)
        found[f"ic_t_statistic{tail}"] = ic_t_statistic(coefficients, horizon=horizon).value
        if horizon == 1:
            means = mean_by_quantile(quantile_returns(signal, labels, quantiles=PREVIEW_QUANTILES))
            found |= {f"quantile_return_{number}": float(mean) for number, mean in enumerate(means, start=1)}
    found["signal_autocorrelation"] = signal_autocorrelation(signal)
    found["signal_turnover"] = signal_turnover(signal, quantiles=PREVIEW_QUANTILES)
    return _known(found)


def _known(figures: Mapping[str, float]) -> Metrics:
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
