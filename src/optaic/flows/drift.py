"""The check `model_drift`: whether features and predictions are distributed as they were where the model comes from."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl

from optaic.domain.alert import Alert
from optaic.domain.known import DEFAULT_CALENDAR
from optaic.domain.version import KNOWN_AT
from optaic.flows.context import RunContext
from optaic.flows.decision import decision_times
from optaic.flows.finding import Finding, Settings, Span, no_verdict, write_figure
from optaic.flows.grid import DATE, SYMBOL
from optaic.flows.input import Input
from optaic.flows.task import Task
from optaic.flows.universe import UNIVERSE, members_by
from optaic.quant.drift import measure_drift, psi_sturges
from optaic.quant.quality import compare_schemas
from optaic.report.monitoring import Drift
from optaic.storage.dtype import parse_dtype

MIN_ROWS = 200
"""Fewer values than this on a side are not judged: with 200 independent ones on each, a PSI of 0.09 is chance."""

PREDICTION = "prediction"

_NOT_FEATURES = ("subject", "predictions", "model", "prices", "universe", "cash")
"""Roles of a model's inputs that are no features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """A column on both sides."""

    name: str
    reference: pl.Series
    window: pl.Series


def check_drift(task: Task, context: RunContext, settings: Settings) -> Finding:
    """Compare the last dates of a model's features and predictions with where they come from.

    Features are compared with the training slice of the newest fit; only dates after it are monitored. On both sides
    they are what the model saw: each row as it was known at its decision, of the members of `universe` at that date.
    What was corrected later is not there. Predictions are compared with the walk-forward predictions before the window,
    as the pinned version has them: they were made of what was known. Rows of a panel depend on each other; the classic
    thresholds of PSI know nothing of that and call more drift than there is; the rows on each side stand beside it.

    Parameters
    ----------
    task
        Whose model it is; its config says whose `calendar` ends a decision.
    context
        Has the model as the input `subject`, whose detail has `fits` (`train_start`, `label_end`) and `features`
        (names, or pairs of name and type); `predictions`; and the features in all other roles but prices, universe and
        cash. A feature is named by its role, or `role_column` where a role has several columns.
    settings
        `window` and thresholds.

    Returns
    -------
    Finding
        With the table `drift`: a row for each feature, and one for `prediction`.
    """
    detail = context.input("subject").detail
    fits = cast("Sequence[Mapping[str, Any]]", detail.get("fits") or ())
    if not fits:
        return no_verdict(settings, f"the version of {task.instance} names no fit, so features have no reference")
    start, end = (dt.date.fromisoformat(str(fits[-1][name])[:10]) for name in ("train_start", "label_end"))
    calendar = str(task.config.get("calendar", DEFAULT_CALENDAR))
    sides, window = _features(context, settings.window, (start, end), calendar=calendar)
    alerts, schema_changes = _schema(settings, detail, sides)
    predicted, predicted_window = _predictions(context, settings.window)
    sides += predicted
    if window is None and predicted_window is None:
        return no_verdict(
            settings,
            f"nothing to compare: features have no date after {end}, where the newest fit ends, and there are no "
            f"predictions before the last {settings.window} dates",
            reference=(start, end),
        )
    table = _measure(sides)
    judged, found = _judge(settings, table)
    alerts += found
    features = table.filter(pl.col("column") != PREDICTION)
    sizes = _sizes(features if features.height else table)
    drifting = {f"psi[{name}]" for name in features["column"]}
    shown = window or predicted_window
    return Finding(
        check=settings.check,
        alerts=alerts,
        is_judged=judged,
        metrics={
            "psi": _greatest(features["psi"]),
            "psi_prediction": _greatest(table.filter(pl.col("column") == PREDICTION)["psi"]),
            "ks": _greatest(features["ks"]),
            "drifted_features": len({alert.metric for alert in found if alert.metric in drifting}),
            "schema_changes": schema_changes,
            "reference_rows": sizes[0],
            "window_rows": sizes[1],
        },
        window=shown,
        reference=(start, end),
        tables={"drift": table},
        assumptions={
            "reference of features": f"{start} to {end}, what the newest fit was trained on",
            "features": "each row as it was known before the next session opened",
            "reference of predictions": "the walk-forward predictions before the window",
            "PSI": "on deciles of the reference; a share of 0 counts as 0.0001; missing values are left out",
            "verdicts": "by thresholds of PSI alone (classic), which know nothing of sample sizes or of dependent rows",
        },
        statistic="PSI, reference deciles",
        drifts=[
            Drift(
                feature=row["column"],
                value=math.nan if row["psi"] is None else row["psi"],
                threshold=None if min(row["reference_count"], row["count"]) < MIN_ROWS else _limit(settings),
                distance=row["ks"],
                reference_count=row["reference_count"],
                count=row["count"],
            )
            for row in table.iter_rows(named=True)
        ],
    )


def _limit(settings: Settings) -> float | None:
    threshold = settings.thresholds["psi"]
    return threshold.critical if threshold.warning is None else threshold.warning


def _features(context: RunContext, size: int, reference: Span, *, calendar: str) -> tuple[list[_Sides], Span | None]:
    """Give each feature in the training slice and on the last dates after it, as the model saw it; and these dates."""
    start, end = reference
    sides: list[_Sides] = []
    spans: list[Span] = []
    for role in context.inputs:
        if role in _NOT_FEATURES:
            continue
        source = context.input(role)
        read = source.lazy(start=start).select(pl.col(DATE).cast(pl.Date).unique().sort())
        dates = read.collect(engine="streaming")[DATE]
        after = dates.filter(dates > end).tail(size)
        if len(after):
            spans.append((after[0], after[-1]))
        columns = [
            name
            for name in source.columns
            if name != KNOWN_AT and (parse_dtype(source.types[name]).is_numeric() or source.types[name] == "Boolean")
        ]
        earlier, later = (
            _seen(context, source, one, columns, calendar=calendar) for one in (dates.filter(dates <= end), after)
        )
        sides += [
            _Sides(
                name=role if len(source.columns) == 1 else f"{role}_{column}",
                reference=earlier[column],
                window=later[column],
            )
            for column in columns
        ]
    return sides, (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None


def _seen(
    context: RunContext, source: Input, dates: pl.Series, columns: Sequence[str], *, calendar: str
) -> pl.DataFrame:
    """Read a feature as training and inference do: each row as it was known at its decision, of members alone."""
    decisions = decision_times(dates, calendar)
    frame = source.known_by(decisions, columns=columns).collect(engine="streaming")
    if UNIVERSE in context.inputs and not frame.is_empty():
        keys = pl.col(DATE).cast(pl.Date), pl.col(SYMBOL).cast(pl.String)
        frame = frame.with_columns(keys).join(members_by(context, decisions), on=[DATE, SYMBOL], how="semi")
    return frame


def _predictions(context: RunContext, size: int) -> tuple[list[_Sides], Span | None]:
    """Give the predictions of the last dates, and those before them; None if there are none before."""
    if "predictions" not in context.inputs:
        return [], None
    frame = context.input("predictions").frame()
    dates = frame[DATE].unique().sort()
    if len(dates) <= size:
        return [], None
    first = dates[-size]
    before, after = frame.filter(pl.col(DATE) < first), frame.filter(pl.col(DATE) >= first)
    sides = _Sides(name=PREDICTION, reference=before[PREDICTION], window=after[PREDICTION])
    return [sides], (first, dates[-1])


def _schema(settings: Settings, detail: Mapping[str, Any], sides: Sequence[_Sides]) -> tuple[list[Alert], int | None]:
    """Compare the features that are there with those that the model was trained on."""
    trained = cast("Sequence[Any]", detail.get("features") or ())
    if not trained:
        return [], None
    names = [one if isinstance(one, str) else str(one[0]) for one in trained]
    changes = compare_schemas(dict.fromkeys(names), {side.name: None for side in sides})
    parts = [
        f"{', '.join(found)} {verb}" for verb, found in (("vanished", changes.vanished), ("new", changes.new)) if found
    ]
    sentence = f"features are not those that the model was trained on: {'; '.join(parts)}"
    return settings.judge("schema_changes", changes.count, sentence), changes.count


def _measure(sides: Sequence[_Sides]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for side in sides:
        before, after = (_numbers(one) for one in (side.reference, side.window))
        found = measure_drift(before[:, None], after[:, None])
        rows.append(
            {
                "column": side.name,
                "psi": float(found.psi[0]),
                "psi_sturges": psi_sturges(before, after),
                "ks": float(found.ks[0]),
                "ks_p_value": float(found.ks_p_value[0]),
                "reference_count": int(found.reference_count[0]),
                "count": int(found.count[0]),
                "reference_missing_pct": 1.0 - int(found.reference_count[0]) / len(before) if len(before) else None,
                "missing_pct": 1.0 - int(found.count[0]) / len(after) if len(after) else None,
            }
        )
    floats = ("psi", "psi_sturges", "ks", "ks_p_value", "reference_missing_pct", "missing_pct")
    schema = {
        "column": pl.String(), "psi": pl.Float64(), "psi_sturges": pl.Float64(), "ks": pl.Float64(),
        "ks_p_value": pl.Float64(), "reference_count": pl.Int64(), "count": pl.Int64(),
        "reference_missing_pct": pl.Float64(), "missing_pct": pl.Float64(),
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(floats).fill_nan(None))


def _numbers(column: pl.Series) -> Any:
    return column.cast(pl.Float64).fill_null(math.nan).to_numpy().astype(np.float64)


def _judge(settings: Settings, table: pl.DataFrame) -> tuple[bool, list[Alert]]:
    """Judge each column that has rows enough; say which have not."""
    alerts: list[Alert] = []
    few: list[str] = []
    for row in table.iter_rows(named=True):
        name, counts = row["column"], f"{row['count']:,} values against {row['reference_count']:,}"
        if min(row["count"], row["reference_count"]) < MIN_ROWS:
            few.append(f"{name} ({counts})")
            continue
        for figure, title in (("psi", "the PSI"), ("ks", "the Kolmogorov-Smirnov distance")):
            sentence = f"{title} of {name} is {write_figure(figure, row[figure])}, {counts}"
            alerts += settings.judge(figure, row[figure], sentence, of=name)
    if few:
        sentence = f"too few values to judge, {MIN_ROWS} on each side are needed: {', '.join(few)}"
        alerts.append(settings.tell("psi", sentence))
    return not few and table.height > 0, alerts


def _greatest(column: pl.Series) -> float | None:
    found = column.max()
    return found if isinstance(found, float) else None


def _sizes(table: pl.DataFrame) -> tuple[int | None, int | None]:
    """Give the values on both sides that stand behind the greatest PSI; without one, behind the first column."""
    if table.is_empty():
        return None, None
    row = table.sort("psi", descending=True, nulls_last=True, maintain_order=True).row(0, named=True)
    return row["reference_count"], row["count"]
