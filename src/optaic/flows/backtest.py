"""Backtest: simulate a portfolio, and keep what it held, traded and earned."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optaic.backtesting import Backtest
from optaic.domain.artifact import Artifact
from optaic.domain.optimizer import OPTIMIZER
from optaic.errors import InvalidOutputError, NoOutputError
from optaic.flows.call import call_definition
from optaic.flows.context import RunContext
from optaic.flows.task import Output, Result, Task
from optaic.flows.tearsheet import write_report
from optaic.storage.objects import ObjectStore

TABLES = ("equity_curve", "returns", "weights", "trades", "positions", "drawdowns")
"""The tables that are its output; equal tables, equal output."""


def backtest(
    task: Task,
    definition: Callable[..., Any],
    context: RunContext,
    store: ObjectStore,  # noqa: ARG001 - flows of all kinds are called alike
) -> Result:
    """Backtest a signal, weights or an optimiser.

    Parameters
    ----------
    task
        What to backtest.
    definition
        The simulator, called as `definition(ctx, **params)`; returns an `optaic.backtesting.Backtest`.
    context
        What the simulator sees of its run.
    store
        Not used: what is written goes through the context.

    Returns
    -------
    Result
        The artifacts `equity_curve, returns, weights, trades, positions, drawdowns` (Parquet), `metrics.json` and
        `report.html`, and the metrics of a BacktestRun. All but the report are its output.

    Raises
    ------
    NoOutputError
        If the simulator returned nothing.
    InvalidOutputError
        If it returned something else than a backtest.
    """
    done: object = call_definition(definition, context, params=task.params)
    if done is None:
        raise NoOutputError(f"the simulator of {task.instance} returned None", next_step="return optaic.backtest(...)")
    if not isinstance(done, Backtest):
        raise InvalidOutputError(
            f"the simulator of {task.instance} returned a {type(done).__name__}, which is no backtest",
            next_step="return what optaic.backtest(...) gives",
        )
    context.progress(70, "simulated")
    artifacts: list[Artifact] = [context.log_frame(name, getattr(done, name)) for name in TABLES]
    figures = done.metrics
    stressed = done.stressed
    metrics: dict[str, float | int | str | None] = {
        **{name: int(value) if isinstance(value, bool) else value for name, value in figures.items()},
        "stressed_total_return": None if stressed is None else stressed.metrics["total_return"],
        "view": str(task.params.get("view", "latest")),
    }
    context.progress(90, "written")
    with tempfile.TemporaryDirectory(prefix="optaic-") as folder:
        path = Path(folder) / "metrics.json"
        # Which version of an optimiser it followed is said by the run: the same figures are the same output.
        kept = {name: value for name, value in metrics.items() if name != OPTIMIZER}
        path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        artifacts.append(context.log_file("metrics.json", path))
        path = Path(folder) / "report.html"
        path.write_text(write_report(task, done, figures), encoding="utf-8")
        report = context.log_file("report.html", path)
    dates = done.equity_curve["date"]
    [returns_key] = [one.stored.key for one in artifacts if one.name == "returns.parquet"]
    return Result(
        metrics=metrics,
        artifacts=(*artifacts, report),
        output=Output(
            artifacts=tuple(item.name for item in artifacts), first_data_date=dates[0], last_data_date=dates[-1]
        ),
        fields={
            "start_date": dates[0].isoformat(),
            "end_date": dates[-1].isoformat(),
            "capital": done.options["capital"],
            "costs_bps": done.options["costs_bps"],
            "is_same_bar": done.options["same_bar"],
            "view": task.params.get("view"),
            "sharpe_ratio_se": metrics["sharpe_ratio_standard_error"],
            "returns_key": returns_key,
        },
    )
