"""Monitor: look at what an instance has published, and say what somebody should know of it."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from optaic.domain.alert import Alert, verdict_of, worst_first
from optaic.domain.artifact import Artifact
from optaic.domain.check import Check
from optaic.domain.kind import InstanceKind, RunType
from optaic.domain.metric import STANDARD_METRICS
from optaic.flows.context import RunContext
from optaic.flows.finding import Finding, Settings, Span, read_settings
from optaic.flows.task import Result, Task
from optaic.report import monitoring as report
from optaic.report.catalogue import list_figures
from optaic.storage.objects import ObjectStore

CHECKS: dict[tuple[InstanceKind, Check], str] = {
    (InstanceKind.DATASET, Check.DATA_QUALITY): "optaic.flows.quality:check_quality",
    (InstanceKind.MODEL, Check.MODEL_DRIFT): "optaic.flows.drift:check_drift",
    (InstanceKind.MODEL, Check.PERFORMANCE): "optaic.flows.performance:check_predictions",
    (InstanceKind.BACKTEST, Check.PERFORMANCE): "optaic.flows.performance:check_returns",
}
"""By kind of instance and check, the function `(task, context, settings) -> Finding`, as `module:name`."""

MAX_ALERTS = 50
"""More alerts than this are counted, not listed."""

SEVERAL = "several"
"""What the ledger notes as the monitor of a run with several checks; each alert names its own."""


def monitor(
    task: Task,
    definition: Callable[..., Any],  # noqa: ARG001 - a monitor executes no code of the project
    context: RunContext,
    store: ObjectStore,  # noqa: ARG001 - flows of all kinds are called alike
) -> Result:
    """Do the checks that an instance declares.

    Parameters
    ----------
    task
        Whose config has `kind` and `monitor`, a list of checks.
    definition
        Not used.
    context
        Has the instance's own output as the input `subject`, and of a model `predictions`, `features` and `prices`.
    store
        Not used: what is written goes through the context.

    Returns
    -------
    Result
        The alerts, the worst first; the metrics of a MonitoringRun, `verdict` among them; a table for each check, and
        `report.html`. It makes no version.

    Raises
    ------
    InvalidInputError
        If the config declares no monitor, or an input lacks what a check reads.
    StorageError
        If an input cannot be read.
    """
    settings = read_settings(task.config, task.instance)
    kind = InstanceKind(task.config["kind"])
    findings: list[Finding] = []
    for place, one in enumerate(settings):
        context.progress(90 * place / len(settings), one.check)
        module, _, name = CHECKS[kind, one.check].partition(":")
        check = cast("Callable[[Task, RunContext, Settings], Finding]", getattr(importlib.import_module(module), name))
        findings.append(check(task, context, one))
    alerts = worst_first((alert for finding in findings for alert in finding.alerts), MAX_ALERTS)
    verdict = verdict_of(
        (alert for finding in findings for alert in finding.alerts),
        is_judged=all(finding.is_judged for finding in findings),
    )
    for alert in alerts:
        context.say(alert.message, level="INFO" if alert.severity == "info" else "WARNING")
    metrics: dict[str, float | int | str | None] = {"verdict": verdict, "alert_count": len(alerts)}
    for finding in findings:
        metrics |= finding.metrics
    artifacts: list[Artifact] = [
        context.log_frame(name, table) for finding in findings for name, table in finding.tables.items()
    ]
    with tempfile.TemporaryDirectory(prefix="optaic-") as folder:
        path = Path(folder) / "report.html"
        path.write_text(_write_report(task, settings, findings, alerts, metrics), encoding="utf-8")
        artifacts.append(context.log_file("report.html", path))
    window = _joined([finding.window for finding in findings])
    reference = _joined([finding.reference for finding in findings])
    return Result(
        metrics=metrics,
        artifacts=tuple(artifacts),
        alerts=alerts,
        fields={
            "monitor": settings[0].check if len(settings) == 1 else SEVERAL,
            "window_start": None if window is None else window[0].isoformat(),
            "window_end": None if window is None else window[1].isoformat(),
            "reference_start": None if reference is None else reference[0].isoformat(),
            "reference_end": None if reference is None else reference[1].isoformat(),
        },
    )


def _joined(spans: Sequence[Span | None]) -> Span | None:
    known = [span for span in spans if span is not None]
    return (min(first for first, _ in known), max(last for _, last in known)) if known else None


def _write_report(
    task: Task,
    settings: Sequence[Settings],
    findings: Sequence[Finding],
    alerts: Sequence[Alert],
    metrics: Mapping[str, Any],
) -> str:
    units = {metric.name: metric.unit.value for metric in STANDARD_METRICS[RunType.MONITORING]}
    assumptions: dict[str, str] = {}
    for one, finding in zip(settings, findings, strict=True):
        span = finding.window
        assumptions[one.check] = f"{finding.verdict.replace('_', ' ')}" + (
            "" if span is None else f", {span[0]} to {span[1]}"
        )
        if finding.reference is not None:
            assumptions[f"{one.check} against"] = f"{finding.reference[0]} to {finding.reference[1]}"
        assumptions |= {**finding.assumptions, **one.wording}
    return report.monitoring_page(
        report.MonitoringReport(
            run_id=str(task.run_id),
            instance=task.instance,
            period=_joined([finding.window for finding in findings]),
            created_at=task.started_at,
            assumptions=assumptions,
            statistic=next((finding.statistic for finding in findings if finding.statistic), "PSI"),
            alerts=[
                report.Alert(
                    severity=alert.severity.value,
                    metric=alert.metric,
                    value=alert.value,
                    threshold=alert.threshold,
                    sentence=alert.message,
                    unit=_unit(units.get(alert.metric.partition("[")[0], "score")),
                )
                for alert in alerts
            ],
            drifts=[drift for finding in findings for drift in finding.drifts],
            histories=[history for finding in findings for history in finding.histories],
            figures=list_figures((name, _unit(units.get(name, "")), value) for name, value in metrics.items()),
            chips=(str(task.standing), f"verdict: {metrics['verdict'].replace('_', ' ')}"),
        )
    )


def _unit(unit: str) -> str:
    return {"rows": "count", "text": "", "ratio": "score", "hours": "h"}.get(unit, unit)
