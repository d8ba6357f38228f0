"""The report of a monitoring check, from plain data."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from optaic.report.bar import bar_chart
from optaic.report.chart import line_chart
from optaic.report.markup import Html, element, join
from optaic.report.number import format_value
from optaic.report.page import Figure, Heading, Section, figure_groups, table, terms, write_page
from optaic.report.scale import AxisUnit
from optaic.report.series import read_series

Severity = Literal["critical", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
"""From the most severe."""

_MAX_BARS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What the check found.

    Attributes
    ----------
    severity
        `critical`, `warning` or `info`; an info is in the table only, not at the top of the page.
    metric
        What was measured.
    value, threshold
        What it was, and from where on it is an alert; in `unit`.
    unit
        As `format_value` names it.
    sentence
        For a person.
    """

    severity: Severity
    metric: str
    value: float | None
    threshold: float | None
    sentence: str
    unit: str = "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far a feature has moved from its reference.

    Attributes
    ----------
    feature
        Its name.
    value
        The statistic.
    threshold
        From where on the statistic is too far; None if there are too few values to judge it.
    distance
        Its Kolmogorov-Smirnov distance; None if it has none.
    reference_count, count
        How many values there are in the reference and in the window, without missing ones; None if it is not known.
    """

    feature: str
    value: float
    threshold: float | None
    distance: float | None = None
    reference_count: int | None = None
    count: int | None = None

    @property
    def verdict(self) -> str:
        """Give `drifted`, `unchanged`, or `no verdict` without a threshold or a value."""
        if self.threshold is None or math.isnan(self.value) or math.isnan(self.threshold):
            return "no verdict"
        return "drifted" if self.value >= self.threshold else "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """A number over time: the information coefficient, the share of missing values.

    Attributes
    ----------
    name
        Letters, digits and hyphens, once on a page.
    title
        What it is called.
    frame
        `date`, `value`.
    unit
        How values are written.
    """

    name: str
    title: str
    frame: pl.DataFrame
    unit: AxisUnit = "ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringReport:
    """What the report of a monitoring check shows.

    Attributes
    ----------
    run_id, instance
        Which run, of what.
    period
        First and last date of the monitored window; None for none.
    created_at
        When, aware.
    statistic
        What the drift values are: `PSI, reference deciles`.
    alerts, drifts, histories
        In any order.
    figures, assumptions, chips
        As for a backtest.
    """

    run_id: str
    instance: str
    period: tuple[dt.date, dt.date] | None
    created_at: dt.datetime
    assumptions: Mapping[str, str]
    statistic: str = "PSI"
    alerts: Sequence[Alert] = ()
    drifts: Sequence[Drift] = ()
    histories: Sequence[History] = ()
    figures: Sequence[Figure] = ()
    chips: Sequence[str] = ()


def monitoring_page(report: MonitoringReport) -> str:
    """Write the report of a monitoring check as one HTML document.

    Parameters
    ----------
    report
        What it shows.

    Returns
    -------
    str
        Alerts first, the most severe as the first line. The same report gives the same characters.

    Raises
    ------
    InvalidInputError
        If a history lacks a column or has one of a wrong type, or `created_at` has no time zone.
    """
    alerts = sorted(report.alerts, key=lambda alert: SEVERITIES.index(alert.severity))
    loud = [f"{alert.severity.capitalize()}: {alert.sentence}" for alert in alerts if alert.severity != "info"]
    sections = [
        Section(title="Alerts", body=_alerts(alerts)),
        Section(title="Assumptions", body=terms(report.assumptions)),
        Section(title="Drift", body=_drifts(report)),
        Section(title="Over time", body=_histories(report.histories)),
        Section(title="Figures", body=figure_groups(report.figures)),
    ]
    heading = Heading(
        kind="Monitoring",
        title=report.instance,
        run_id=report.run_id,
        period=report.period,
        created_at=report.created_at,
        chips=report.chips,
    )
    return write_page(heading, loud, sections)


def _alerts(alerts: Sequence[Alert]) -> Html:
    if not alerts:
        return element("p", "None.", class_="empty")
    rows = [
        [
            alert.severity,
            alert.metric,
            alert.sentence,
            format_value(alert.value, alert.unit),
            format_value(alert.threshold, alert.unit),
        ]
        for alert in alerts
    ]
    return table(["Severity", "Metric", "", "Value", "Threshold"], rows, numbers_from=3)


def _drifts(report: MonitoringReport) -> Html:
    ordered = sorted(report.drifts, key=lambda one: (math.inf if math.isnan(one.value) else -one.value, one.feature))
    if not ordered:
        return element("p", "No features were compared.", class_="empty")
    top = ordered[:_MAX_BARS]
    note = (
        report.statistic
        if len(top) == len(ordered)
        else f"{report.statistic}; the {_MAX_BARS} largest of {len(ordered)}"
    )
    chart = bar_chart(
        "drift", "Drift by feature", [one.feature for one in top], [one.value for one in top], unit="score", note=note
    )
    rows = [
        [
            one.feature,
            format_value(one.value, "score"),
            format_value(one.threshold, "score"),
            format_value(one.distance, "score"),
            format_value(one.reference_count, "count"),
            format_value(one.count, "count"),
            one.verdict,
        ]
        for one in ordered
    ]
    heads = ["Feature", report.statistic, "Threshold", "KS", "Values, reference", "Values, window", "Verdict"]
    return join([chart, table(heads, rows)])


def _histories(histories: Sequence[History]) -> Html:
    charts = [
        line_chart(
            history.name,
            history.title,
            [read_series(history.frame, "value", label=history.title)],
            unit=history.unit,
            includes_zero=True,
            height_px=180,
        )
        for history in histories
    ]
    return element("div", *charts, class_="pair") if charts else join(charts)
