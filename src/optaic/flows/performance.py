"""The check `performance`: whether predictions came true lately, and what a backtest earned lately."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.domain.alert import Alert
from optaic.domain.known import DEFAULT_CALENDAR
from optaic.flows.calendar import annual_sessions
from optaic.flows.context import RunContext
from optaic.flows.decision import decision_times
from optaic.flows.features import PRICES
from optaic.flows.finding import Finding, Settings, no_verdict, write_figure
from optaic.flows.grid import DATE, Floats, to_grid, value_column
from optaic.flows.sample import MIDDLE, read_prices
from optaic.flows.task import Task
from optaic.flows.universe import UNIVERSE, is_member, members_by
from optaic.quant.labels import Transform, forward_returns, transform_labels
from optaic.quant.periods import rolling_sharpe_ratio
from optaic.quant.predictions import direction_accuracy
from optaic.quant.signals import MIN_NAMES, hit_rate, ic, ic_ir, information_coefficients
from optaic.quant.summary import summarize
from optaic.report.monitoring import History

MIN_DATES = 20
"""Fewer dates with an information coefficient than this are not judged."""

MIN_SESSIONS = 20
"""Fewer returns than this are not judged."""

_FIGURES = ("total_return", "sharpe_ratio", "volatility", "max_drawdown")


def check_returns(task: Task, context: RunContext, settings: Settings) -> Finding:
    """Compare the last sessions of a backtest with thresholds; its whole history stands beside them.

    Parameters
    ----------
    task
        Whose params say which calendar annualises.
    context
        Has the backtest as the input `subject`, with the file `returns.parquet`: `date`, `return`.
    settings
        `window` and thresholds; there are no classic ones.

    Returns
    -------
    Finding
        With the table `performance`: a row for each figure, of the window and of the whole history.
    """
    returns = pl.read_parquet(io.BytesIO(context.input("subject").read_file("returns.parquet"))).sort(DATE)
    dates, values = returns[DATE], returns["return"].to_numpy().astype(np.float64)
    if not len(values):
        return no_verdict(settings, f"{task.instance} has no returns to check", metrics={"window_sessions": 0})
    size = min(settings.window, len(values))
    a_year = float(task.params.get("sessions_per_year") or annual_sessions(str(task.params.get("calendar", "XNYS"))))
    found, whole = (summarize(part, sessions_per_year=a_year) for part in (values[-size:], values))
    metrics: dict[str, float | int | str | None] = {"window_sessions": size}
    metrics |= {name: _number(found[name]) for name in (*_FIGURES, "sharpe_ratio_standard_error")}
    is_enough, is_declared = size >= MIN_SESSIONS, bool(settings.declared)
    alerts: list[Alert] = []
    if not is_enough:
        alerts.append(settings.tell("performance", f"{size} sessions are too few to judge; {MIN_SESSIONS} are needed"))
    elif not is_declared:
        alerts.append(
            settings.tell(
                "performance", "no threshold is declared: add thresholds: {max_drawdown: -0.2} to the monitor"
            )
        )
    for name in _FIGURES if is_enough else ():
        value, usual = metrics[name], whole[name]
        if isinstance(value, float) and isinstance(usual, int | float):
            sentence = (
                f"{name} of the last {size} sessions is {write_figure(name, value)}, "
                f"{write_figure(name, usual)} over all {len(values)}"
            )
            alerts += settings.judge(name, value, sentence)
    table = pl.DataFrame(
        {
            "figure": list(_FIGURES),
            "window": [_number(found[name]) for name in _FIGURES],
            "history": [_number(whole[name]) for name in _FIGURES],
            "window_sessions": [size] * len(_FIGURES),
            "history_sessions": [len(values)] * len(_FIGURES),
        },
        schema_overrides={"window": pl.Float64(), "history": pl.Float64()},
    )
    return Finding(
        check=settings.check,
        alerts=alerts,
        is_judged=is_enough and is_declared,
        metrics=metrics,
        window=(dates[-size], dates[-1]),
        reference=(dates[0], dates[-1]),
        tables={"performance": table},
        assumptions={"annualised by": f"{a_year:g} sessions a year", "returns": "those of the pinned version"},
        histories=_rolling(dates, values, size, a_year),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _rolling(dates: pl.Series, values: Floats, size: int, a_year: float) -> list[History]:
    if not 2 <= size < len(values):
        return []
    ratios = rolling_sharpe_ratio(values, window=size, sessions_per_year=a_year)
    frame = pl.DataFrame({DATE: dates, "value": ratios}).fill_nan(None).drop_nulls()
    return [History(name="sharpe", title=f"Sharpe ratio of {size} sessions", frame=frame)] if frame.height else []


def check_predictions(task: Task, context: RunContext, settings: Settings) -> Finding:
    """Compare predictions with the labels that have matured, on the last dates that have any.

    Parameters
    ----------
    task
        Whose config has the model's `target`: `horizon`, `lag`, `transform`. The direction of what a classifier
        predicts is its class, as in its training: 1 above one half (above 0 where it gives no probabilities).
    context
        Has the inputs `predictions` (`date`, `symbol`, `prediction`) and `prices`, and the model as `subject`; perhaps
        `universe`, of whose members alone there are predictions.
    settings
        `window` and thresholds.

    Returns
    -------
    Finding
        With the table `performance`: of each date that has one, the information coefficient, and how many labels had
        matured. Only predictions for dates up to `lag + horizon` sessions before the last price have a label.

    Raises
    ------
    InvalidInputError
        If it is not said which column of the prices is the price.
    """
    target: Mapping[str, Any] = context.input("subject").detail.get("target") or task.config.get("target") or {}
    horizon, lag = int(target.get("horizon", 1)), int(target.get("lag", 1))
    transform = Transform(target.get("transform", "raw"))
    prices = read_prices(context)
    frame = context.input("predictions").frame()
    predicted = to_grid(frame, "prediction", dates=prices.dates, symbols=prices.symbols).values
    delisting = np.full(len(prices.symbols), float(target.get("delisting_return") or 0.0))
    raw = forward_returns(prices.values, horizon=horizon, lag=lag, delisting_returns=delisting)
    # Labels are those of the training: adjusted prices, and across members alone.
    members: npt.NDArray[np.bool_] | None = None
    if UNIVERSE in context.inputs:
        dates = frame["date"].unique().sort()
        decisions = decision_times(dates, str(task.config.get("calendar", DEFAULT_CALENDAR)))
        members = is_member(members_by(context, decisions), prices.dates, prices.symbols)
    labels = transform_labels(raw, transform, members=members, prices=prices.values, horizon=horizon)
    close = value_column(context.input(PRICES), "close")
    assumptions = {
        "label": f"{transform} return of {close} over {horizon} session(s), entered {lag} session(s) later",
        "matured": f"predictions for dates at least {lag + horizon} sessions before the last price",
        "information coefficient": f"Spearman, by date, of at least {MIN_NAMES} names",
    }
    middle, threshold = MIDDLE.get(transform, 0.0), None
    if context.input("subject").detail.get("is_classifier"):
        threshold = _threshold(frame)
        assumptions["direction"] = f"class 1 is predicted above {threshold:g}, and came with a label above {middle:g}"
    is_matured = np.isfinite(predicted) & np.isfinite(labels)
    places = np.flatnonzero(is_matured.any(axis=1))
    waiting = int(np.isfinite(predicted).sum() - is_matured.sum())
    if not len(places):
        sentence = f"none of {waiting} predictions of {task.instance} has a label that is known yet"
        return no_verdict(settings, sentence, metrics={"matured_labels": 0}, assumptions=assumptions)
    coefficients = information_coefficients(predicted, labels)
    recent, before = places[-settings.window :], places[: -settings.window]
    metrics, alerts, is_judged = _judge_predictions(
        settings, _directions(predicted, labels, middle, threshold), coefficients, recent=recent, before=before
    )
    metrics["matured_labels"] = int(is_matured[recent].sum())
    days = pl.Series(prices.dates[places]).cast(pl.Date)
    table = pl.DataFrame(
        {
            DATE: days,
            "ic": coefficients[places],
            "matured_labels": is_matured[places].sum(axis=1),
        }
    ).with_columns(pl.col("ic").fill_nan(None))
    series = table.select(DATE, value="ic").drop_nulls()
    return Finding(
        check=settings.check,
        alerts=alerts,
        is_judged=is_judged,
        metrics=metrics,
        window=(days[-len(recent)], days[-1]),
        reference=(days[0], days[len(before) - 1]) if len(before) else None,
        tables={"performance": table},
        assumptions=assumptions,
        histories=[History(name="ic", title="Information coefficient", frame=series)] if series.height else [],
    )


def _threshold(predictions: pl.DataFrame) -> float:
    """Say above what a classifier predicts class 1: one half of a probability, 0 of a decision function."""
    # Only probabilities come with a confidence.
    is_probability = "confidence" in predictions.columns and predictions["confidence"].count() > 0
    return 0.5 if is_probability else 0.0


def _directions(predicted: Floats, labels: Floats, middle: float, threshold: float | None) -> tuple[Floats, Floats]:
    """Give predictions and labels by their distance from what has no sign; of a classifier, 1 for class 1, -1 else."""
    if threshold is None:
        return predicted - middle, labels - middle
    ours, theirs = (
        np.where(np.isfinite(values), np.where(values > limit, 1.0, -1.0), np.nan)
        for values, limit in ((predicted, threshold), (labels, middle))
    )
    return ours, theirs


def _judge_predictions(
    settings: Settings, directions: tuple[Floats, Floats], coefficients: Floats, *, recent: Any, before: Any
) -> tuple[dict[str, float | int | str | None], list[Alert], bool]:
    count = int(np.isfinite(coefficients[recent]).sum())
    figures: dict[str, float] = {}
    usual: dict[str, float] = {}
    for places, into in ((recent, figures), (before, usual)):
        into["direction_accuracy"] = direction_accuracy(*(values[places] for values in directions))
        into["ic"] = ic(coefficients[places])
        into["ic_ir"] = ic_ir(coefficients[places])
        into["hit_rate"] = hit_rate(coefficients[places])
    metrics: dict[str, float | int | str | None] = {
        name: None if math.isnan(value) else value for name, value in figures.items()
    }
    metrics["matured_dates"] = count
    if count < MIN_DATES:
        sentence = f"{count} dates have an information coefficient, which is too few to judge; {MIN_DATES} are needed"
        return metrics, [settings.tell("ic", sentence)], False
    alerts: list[Alert] = []
    for name, value in figures.items():
        was = (
            "" if math.isnan(usual[name]) else f", {write_figure(name, usual[name])} on the {len(before)} dates before"
        )
        alerts += settings.judge(
            name, value, f"{name} on {count} dates with matured labels is {write_figure(name, value)}{was}"
        )
    return metrics, alerts, True
