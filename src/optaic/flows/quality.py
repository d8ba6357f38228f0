"""The check `data_quality`: what is missing, far off or repeated in the last dates of a dataset, and how old it is."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from optaic.domain.alert import Alert
from optaic.domain.expectation import Frequency
from optaic.domain.known import calendar_of
from optaic.domain.version import KNOWN_AT
from optaic.errors import InvalidInputError
from optaic.flows.calendar import sessions
from optaic.flows.context import RunContext
from optaic.flows.expectation import reach, read
from optaic.flows.finding import Finding, Settings, no_verdict, write_figure
from optaic.flows.input import Input
from optaic.flows.task import Task
from optaic.quant.quality import (
    Outliers,
    compare_schemas,
    duplicate_share,
    find_gaps,
    find_outliers,
    missing_shares,
)
from optaic.report.monitoring import History

DEFAULT_MADS = 5.0
"""From how many robust standard deviations on a value lies far off."""

SUBJECT = "subject"
"""The role of what is monitored."""

_SHOWN_GAPS = 5


def check_quality(task: Task, context: RunContext, settings: Settings) -> Finding:
    """Measure the quality of the last dates of a dataset, against its own history and its calendar.

    Parameters
    ----------
    task
        Whose config says what the key is, and which calendar holds.
    context
        Has the dataset as the input `subject`.
    settings
        `window`, thresholds, and the options `mads`, `columns` and `calendar`.

    Returns
    -------
    Finding
        With the table `quality`: a row for each column that is not part of the key.
    """
    source = context.input(SUBJECT)
    date, *series = _key(task.config)
    frame = source.frame()
    if frame.is_empty():
        return no_verdict(settings, f"{task.instance} has no rows to check", metrics={"rows_checked": 0})
    dates = frame[date].unique().sort()
    start: dt.date = dates[-min(settings.window, len(dates))]
    last: dt.date = dates[-1]
    window, before = frame.filter(pl.col(date) >= start), frame.filter(pl.col(date) < start)
    columns = [name for name in frame.columns if name not in (date, *series, KNOWN_AT)]
    table, outliers = _measure(frame, window, before, columns, start=start, date=date, series=series, settings=settings)
    repeated = duplicate_share(window, columns, date=date, series=series)
    alerts = _judge_columns(settings, table, outliers, window)
    alerts += settings.judge(
        "duplicate_pct", repeated, f"{write_figure('duplicate_pct', repeated)} of rows repeat the row before"
    )
    calendar = _calendar(task.config, settings)
    gaps = None if calendar is None else _gaps(dates.to_list(), start, calendar)
    if gaps:
        shown = ", ".join(day.isoformat() for day in gaps[:_SHOWN_GAPS]) + (" ..." if len(gaps) > _SHOWN_GAPS else "")
        noun = "session" if len(gaps) == 1 else "sessions"
        alerts += settings.judge("gap_count", len(gaps), f"no row on {len(gaps)} {noun} of {calendar}: {shown}")
    schema_alerts, changes = _schema(settings, frame, columns)
    alerts += schema_alerts
    age_alerts, age = _age(task, settings, source, last)
    alerts += age_alerts
    is_judged = True
    if before.is_empty() and any(frame.schema[name].is_numeric() for name in columns):
        is_judged = False
        alerts.append(
            settings.tell("outlier_pct", f"nothing lies before the {len(dates)} dates of the window to compare with")
        )
    metrics: dict[str, float | int | str | None] = {
        "rows_checked": window.height,
        "missing_pct": _mean(table["missing_pct"]),
        "outlier_pct": _pooled(outliers.values()),
        "outlier_mads": _largest(outliers.values()),
        "duplicate_pct": None if math.isnan(repeated) else repeated,
        "gap_count": None if gaps is None else len(gaps),
        "schema_changes": changes,
        **age,
    }
    return Finding(
        check=settings.check,
        alerts=alerts,
        is_judged=is_judged,
        metrics=metrics,
        window=(start, last),
        reference=None if before.is_empty() else (dates[0], dates[-min(settings.window, len(dates)) - 1]),
        tables={"quality": table},
        assumptions={
            "missing": "null or NaN, and rows that a series lacks between its first and its last date of the window",
            "far off": f"more than {_mads(settings):g} robust standard deviations (1.4826 MAD) from the median before "
            "the window; of positive columns the changes are measured, of others the values",
            "repeated": "a row equal to the one before of the same series, in all columns",
            "calendar": calendar or "none: gaps were not counted",
        },
        histories=_histories(window, columns, date),
    )


def _key(config: Mapping[str, Any]) -> tuple[str, ...]:
    key = config.get("key") or ("date", "symbol")
    return (key,) if isinstance(key, str) else tuple(key)


def _mads(settings: Settings) -> float:
    return float(settings.options.get("mads") or DEFAULT_MADS)


def _measure(
    frame: pl.DataFrame,
    window: pl.DataFrame,
    before: pl.DataFrame,
    columns: Sequence[str],
    *,
    start: dt.date,
    date: str,
    series: Sequence[str],
    settings: Settings,
) -> tuple[pl.DataFrame, dict[str, Outliers]]:
    """Measure each column; give the table, and what lies far off by column of numbers."""
    missing = missing_shares(window, columns, date=date, series=series)
    usual = missing_shares(before, columns, date=date, series=series)
    outliers = {
        name: find_outliers(frame, name, start=start, date=date, series=series, mads=_mads(settings))
        for name in columns
        if frame.schema[name].is_numeric()
    }
    rows = [
        {
            "column": name,
            "type": str(frame.schema[name]),
            "missing_pct": missing[name],
            "history_missing_pct": usual[name],
            "measured": found.measured if found else None,
            "outlier_pct": found.share if found else None,
            "history_outlier_pct": found.history_share if found else None,
            "outlier_mads": found.largest if found else None,
            "count": found.count if found else window.height,
            "history_count": found.history_count if found else before.height,
        }
        for name in columns
        for found in [outliers.get(name)]
    ]
    floats = ("missing_pct", "history_missing_pct", "outlier_pct", "history_outlier_pct", "outlier_mads")
    schema: dict[str, Any] = {"column": pl.String(), "type": pl.String(), "measured": pl.String()}
    schema |= dict.fromkeys(floats, pl.Float64()) | {"count": pl.Int64(), "history_count": pl.Int64()}
    table = pl.DataFrame(rows, schema_overrides=schema) if rows else pl.DataFrame(schema=schema)
    return table.with_columns(pl.col(floats).fill_nan(None)), outliers


def _judge_columns(
    settings: Settings, table: pl.DataFrame, outliers: Mapping[str, Outliers], window: pl.DataFrame
) -> list[Alert]:
    alerts: list[Alert] = []
    for row in table.iter_rows(named=True):
        name, found = row["column"], outliers.get(row["column"])
        was = row["history_missing_pct"]
        before = "" if was is None else f", {write_figure('missing_pct', was)} before"
        sentence = f"{write_figure('missing_pct', row['missing_pct'] or 0.0)} of {name} are missing{before}"
        alerts += settings.judge("missing_pct", row["missing_pct"], sentence, of=name)
        if found is None or math.isnan(found.share):
            continue
        sentence = (
            f"{write_figure('outlier_pct', found.share)} of the {found.measured} of {name} lie far off, "
            f"{write_figure('outlier_pct', found.history_share)} before"
        )
        alerts += settings.judge("outlier_pct", found.share, sentence, of=name)
        sentence = f"one of the {found.measured} of {name} is {found.largest:.4g} robust deviations off"
        alerts += settings.judge("outlier_mads", found.largest, sentence, of=name)
    return alerts if window.height else []


def _calendar(config: Mapping[str, Any], settings: Settings) -> str | None:
    """Name the calendar whose sessions the dataset should have; None where none is declared, or none is by session."""
    named = settings.options.get("calendar")
    if named is not None:
        return str(named)
    spec = config.get("freshness")
    if spec is not None and read(spec).frequency is Frequency.DAILY:
        return read(spec).calendar
    if spec is not None and read(spec).frequency is not Frequency.IRREGULAR:
        return None
    rule = config.get("known_at")
    return calendar_of(config) if isinstance(rule, Mapping) and "lag" in rule else None


def _gaps(dates: Sequence[dt.date], start: dt.date, calendar: str) -> list[dt.date] | None:
    """Give the sessions of the window without a row; None where the dataset does not have rows by session at all."""
    known = sessions(dates[0], dates[-1], calendar)
    gaps = find_gaps(dates, known)
    if len(gaps) > len(known) / 2:
        return None
    return [day for day in gaps if day > start]


def _schema(settings: Settings, frame: pl.DataFrame, columns: Sequence[str]) -> tuple[list[Alert], int | None]:
    """Compare the columns with those that are declared, if any are."""
    declared = settings.options.get("columns")
    if declared is None:
        return [], None
    changes = compare_schemas(dict.fromkeys(declared), {name: str(frame.schema[name]) for name in columns})
    parts = [
        f"{verb} {', '.join(names)}"
        for verb, names in (("lacks", changes.vanished), ("has beyond what is declared", changes.new))
        if names
    ]
    alerts = settings.judge("schema_changes", changes.count, "the table " + " and ".join(parts))
    return alerts, changes.count


def _age(
    task: Task, settings: Settings, source: Input, last: dt.date
) -> tuple[list[Alert], dict[str, float | int | str | None]]:
    """Say how long the last event date has been known, and how long newer ones are overdue by what is expected.

    A date is known from its first row on. Corrections come later, of it or of others, and make no data newer.
    """
    now = task.as_of or task.started_at
    known = source.history([], start=last, end=last)[KNOWN_AT].min()
    age = (now - known).total_seconds() / 3600 if isinstance(known, dt.datetime) else None
    overdue: float | None = None
    spec = task.config.get("freshness")
    if spec is not None and isinstance(known, dt.datetime) and read(spec).frequency is not Frequency.INTERVAL:
        try:
            due = reach(spec, last, known).ready_until
        except InvalidInputError:  # a calendar that does not know so far ahead expects nothing
            due = None
        overdue = None if due is None else max(0.0, (now - due).total_seconds() / 3600)
    alerts = settings.judge("staleness_hours", age, f"data end on {last}, known since {age or 0.0:,.0f} hours")
    alerts += settings.judge(
        "overdue_hours", overdue, f"data end on {last}, and newer ones are due since {overdue or 0.0:,.0f} hours"
    )
    return alerts, {"staleness_hours": age, "overdue_hours": overdue}


def _histories(window: pl.DataFrame, columns: Sequence[str], date: str) -> list[History]:
    if not columns:
        return []
    missing = pl.mean_horizontal(
        (pl.col(name).is_null() | pl.col(name).is_nan()).fill_null(value=True).cast(pl.Float64)
        if window.schema[name].is_float()
        else pl.col(name).is_null().cast(pl.Float64)
        for name in columns
    )
    frame = window.group_by(date).agg(value=missing.mean()).sort(date).rename({date: "date"})
    return [History(name="missing", title="Missing values, of the rows that are there", frame=frame, unit="fraction")]


def _mean(column: pl.Series) -> float | None:
    mean = column.mean()
    return mean if isinstance(mean, float) else None


def _pooled(found: Any) -> float | None:
    known = [one for one in found if not math.isnan(one.share)]
    count = sum(one.count for one in known)
    return sum(one.share * one.count for one in known) / count if count else None


def _largest(found: Any) -> float | None:
    return max((one.largest for one in found if not math.isnan(one.largest)), default=None)
