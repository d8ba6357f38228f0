"""The report of a backtest: what it is, what is doubtful about it, and its figures and charts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from optaic.backtesting import Backtest
from optaic.flows.task import Task
from optaic.flows.universe import UNIVERSE
from optaic.quant.figures import measure_benchmark
from optaic.quant.periods import monthly_returns, rolling_sharpe_ratio
from optaic.quant.summary import UNITS
from optaic.report.backtest import BacktestReport, Comparison, backtest_page
from optaic.report.catalogue import list_figures
from optaic.report.caution import list_cautions
from optaic.report.page import Figure

WINDOW = 252
"""Sessions of the rolling Sharpe ratio."""

_COMPARED = ("total_return", "cagr", "volatility", "sharpe_ratio", "max_drawdown")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def write_report(task: Task, done: Backtest, metrics: Mapping[str, Any]) -> str:
    """Write the report of a backtest as one page of HTML, the same for the same backtest.

    Parameters
    ----------
    task
        The run that it belongs to.
    done
        The backtest.
    metrics
        Its figures, as `done.metrics` gives them.
    """
    equity, options = done.equity_curve, done.options
    view = str(task.params.get("view") or "replay")
    capital = float(options["capital"])
    returns = done.returns
    growth = np.concatenate([[1.0], np.cumprod(1.0 + done.benchmark)])
    curve = equity.select("date", "value").with_columns(pl.Series("benchmark", capital * growth))
    in_sample = done.in_sample_rows or 0
    allowed = f"{in_sample:,} rows of predictions whose fit had seen their dates are used: allow_in_sample is set"
    assumptions = {
        **({"in-sample": allowed} if in_sample else {}),
        **_decided(task),
        **_universe(task, view),
        "view": "replay: each decision saw what was known before the next session opened"
        if view == "replay"
        else "latest: decisions saw the data as they are now",
        "survivorship": _percent(metrics["survivorship"]),
        **{name: _worded(value) for name, value in options["assumptions"].items()},
        "capital": f"{capital:,.0f}",
        "limits": _limits(options) or "none",
        "execution": f"{options['execution']}, {done.simulation.options.delay} session(s) after the decision",
        "borrow": f"{options['borrow_bps']:g} bps a year on short positions",
        "risk_free": str(metrics["risk_free"]),
        "annualised by": f"{done.sessions_per_year:g} sessions a year",
        "benchmark": done.benchmark_name,
    }
    if done.optimizer is not None:
        assumptions["optimiser"] = f"{done.optimizer}, fitted anew at each decision on what was known then"
        assumptions["solves"] = f"{done.failed_solves} failed, {done.fallbacks} fallbacks used"
    report = BacktestReport(
        run_id=str(task.run_id),
        instance=task.instance,
        period=(equity["date"][0], equity["date"][-1]),
        created_at=task.started_at,
        figures=_figures(metrics),
        chips=_chips(task, options, view, is_in_sample=in_sample > 0),
        warnings=list_cautions(
            survivorship=metrics["survivorship"],
            has_costs=options["assumptions"]["costs"] != "none",
            is_ruined=bool(metrics["ruined"]),
            same_bar=bool(options["same_bar"]),
            in_sample_rows=in_sample,
            view=view,
            has_risk_free=metrics["risk_free"] != "none",
            missing_prices=int(metrics["stale_marks"]),
            failed_solves=int(metrics["failed_solves"] or 0),
            fallbacks=int(metrics["fallbacks"] or 0),
            skipped_decisions=int(metrics["skipped_decisions"]),
        ),
        assumptions=assumptions,
        equity_curve=curve,
        drawdowns=done.drawdowns,
        rolling_sharpe=_rolling(returns, done.sessions_per_year),
        monthly_returns=_months(returns),
        exposures=equity.select("date", gross="gross_exposure", net="net_exposure"),
        turnover=equity.filter(pl.col("turnover") > 0).select("date", "turnover"),
        costs=equity.select("date", cost=pl.col("costs").cum_sum() / capital),
        comparisons=_comparisons(done, metrics),
        benchmark=done.benchmark_name,
    )
    return backtest_page(report)


def _decided(task: Task) -> dict[str, str]:
    """Say when it decides, and how a signal becomes a portfolio; nothing of a simulator that has no such params."""
    params, roles = task.params, {one.role for one in task.inputs}
    if "weights" in roles:
        return {"decides": "on the dates that the weights have rows of"}
    if "rebalance" not in params:
        return {}
    rebalance, offset = params["rebalance"], params.get("rebalance_offset", 0)
    when = f"every {rebalance} sessions" if isinstance(rebalance, int) else f"{rebalance}, at the close"
    said = {"decides": f"{when}, {offset} session(s) later" if offset else when}
    if "signal" in roles and "top" in params:
        sold = ", and sells as many of the lowest" if params.get("long_short") else ""
        said["holds"] = f"the highest {params['top']:g} of the names that have a signal, in equal weights{sold}"
    return said


def _universe(task: Task, view: str) -> dict[str, str]:
    """Say who may be held; of a simulator that has no such params, only what it was given."""
    inputs = {one.role: one.instance for one in task.inputs}
    if "rebalance" not in task.params:
        return {"universe": inputs[UNIVERSE]} if UNIVERSE in inputs else {}
    if UNIVERSE not in inputs:
        return {"universe": "none declared: every name that has prices may be held"}
    when = "as was known at each decision" if view == "replay" else "as the data are now"
    if "weights" in inputs:
        return {"universe": f"members of {inputs[UNIVERSE]}, {when}, are the benchmark; weights are held as given"}
    return {"universe": f"only members of {inputs[UNIVERSE]} are bought, {when}"}


def _limits(options: Mapping[str, Any]) -> str:
    given = {name: options[name] for name in ("max_weight", "gross", "net", "max_turnover")}
    given["no_trade_band"] = options["no_trade_band"] or None
    return ", ".join(f"{name}: {value:g}" for name, value in given.items() if value is not None)


def _percent(value: Any) -> str:
    return "not known" if value is None else f"{value:.1%} of position-days are in names alive at the end of the data"


def _chips(task: Task, options: Mapping[str, Any], view: str, *, is_in_sample: bool) -> tuple[str, ...]:
    chips = [str(task.standing)]
    if options["same_bar"]:
        chips.append("same bar")
    if is_in_sample:
        chips.append("in-sample")
    if view == "latest":
        chips.append("view: latest")
    return tuple(chips)


def _figures(metrics: Mapping[str, Any]) -> list[Figure]:
    return list_figures((name, unit, metrics[name]) for name, unit in UNITS.items() if name in metrics)


def _worded(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _rolling(returns: pl.DataFrame, sessions_per_year: float) -> pl.DataFrame | None:
    if returns.height < WINDOW:
        return None
    ratios = rolling_sharpe_ratio(returns["return"].to_numpy(), window=WINDOW, sessions_per_year=sessions_per_year)
    # Of each window by itself, with normal moments: a rolling line is for the eye.
    daily = ratios / math.sqrt(sessions_per_year)
    errors = np.sqrt((1.0 + daily**2 / 2.0) / (WINDOW - 1)) * math.sqrt(sessions_per_year)
    frame = pl.DataFrame({"date": returns["date"], "sharpe_ratio": ratios, "standard_error": errors})
    return frame.fill_nan(None)


def _months(returns: pl.DataFrame) -> pl.DataFrame:
    table = monthly_returns(returns["date"].to_numpy(), returns["return"].to_numpy())
    long = table.unpivot(index="year", on=list(_MONTHS), variable_name="name", value_name="return")
    numbers = {name: number for number, name in enumerate(_MONTHS, start=1)}
    month = pl.col("name").replace_strict(numbers, return_dtype=pl.Int64)
    return long.drop_nulls("return").select("year", month.alias("month"), "return").sort("year", "month")


def _comparisons(done: Backtest, metrics: Mapping[str, Any]) -> list[Comparison]:
    found = [Comparison(label="This backtest", figures=_some(metrics))]
    stressed = done.stressed
    if stressed is not None:
        found.append(Comparison(label="Delistings at -30%", figures=_some(stressed.metrics)))
    panel = done.simulation.panel
    theirs = measure_benchmark(done.benchmark, panel, sessions_per_year=done.sessions_per_year)
    return [*found, Comparison(label=done.benchmark_name, figures=_some(theirs))]


def _some(metrics: Mapping[str, Any]) -> list[Figure]:
    names = (*_COMPARED, "sharpe_ratio_standard_error", "risk_free")
    return list_figures((name, UNITS[name], metrics[name]) for name in names)
