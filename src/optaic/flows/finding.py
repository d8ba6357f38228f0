"""What a monitor is asked to look at, and what a check has found."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from optaic.domain.alert import Alert, Severity, Verdict, verdict_of
from optaic.domain.check import DEFAULT_WINDOW, Check, Threshold, thresholds_of
from optaic.domain.kind import InstanceKind
from optaic.errors import InvalidInputError
from optaic.report.monitoring import Drift, History

if TYPE_CHECKING:
    import polars as pl

Span = tuple[dt.date, dt.date]
"""The first and the last event date, inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One check, as it is declared.

    Attributes
    ----------
    check
        Which.
    window
        How many event dates are monitored, up to the last one.
    thresholds
        By figure.
    declared
        The figures whose thresholds stand in the project file; those of the others are the classic ones.
    options
        What else is declared, as JSON values.
    """

    check: Check
    window: int
    thresholds: Mapping[str, Threshold]
    declared: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def judge(self, name: str, value: float | None, sentence: str, *, of: str = "") -> list[Alert]:
        """Compare a figure with its threshold.

        Parameters
        ----------
        name
            The figure.
        value
            What it is; None and NaN cross nothing.
        sentence
            What it is, for a person; the threshold is said after it.
        of
            What it is of: a column.

        Returns
        -------
        list of Alert
            One or none.
        """
        threshold = self.thresholds.get(name, Threshold())
        found = None if value is None or math.isnan(value) else threshold.judge(value)
        if found is None or value is None:
            return []
        severity, limit = found
        origin = "declared" if name in self.declared else "classic"
        side = "below" if threshold.is_floor else "at or above"
        return [
            Alert(
                severity=severity,
                kind=self.check,
                metric=f"{name}[{of}]" if of else name,
                value=float(value),
                threshold=limit,
                message=f"{sentence}: {severity} {side} {write_figure(name, limit)} ({origin} threshold)",
            )
        ]

    def tell(self, metric: str, sentence: str) -> Alert:
        """Make an alert of severity `info`: what could not be judged, and why."""
        return Alert(severity=Severity.INFO, kind=self.check, metric=metric, message=sentence)

    @property
    def wording(self) -> dict[str, str]:
        """The thresholds in words, by figure, for a report."""
        return {
            f"{name} threshold": ", ".join(
                f"{severity} {'below' if one.is_floor else 'from'} {write_figure(name, limit)}"
                for severity, limit in (("warning", one.warning), ("critical", one.critical))
                if limit is not None
            )
            + (" (declared)" if name in self.declared else " (classic)")
            for name, one in self.thresholds.items()
            if one.warning is not None or one.critical is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check has found.

    Attributes
    ----------
    check
        Which.
    alerts
        In any order.
    is_judged
        Whether it could be done; if not, an alert of severity `info` says why.
    metrics
        By name.
    window, reference
        What was looked at, and what it was compared with; None if nothing was.
    tables
        Tables to keep, by the name of the artifact.
    assumptions
        How it was measured, for the report.
    statistic, drifts, histories
        What the report draws.
    """

    check: Check
    alerts: Sequence[Alert] = ()
    is_judged: bool = True
    metrics: Mapping[str, float | int | str | None] = field(default_factory=dict[str, float | int | str | None])
    window: Span | None = None
    reference: Span | None = None
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict[str, "pl.DataFrame"])
    assumptions: Mapping[str, str] = field(default_factory=dict[str, str])
    statistic: str = ""
    drifts: Sequence[Drift] = ()
    histories: Sequence[History] = ()

    @property
    def verdict(self) -> Verdict:
        """What it came to."""
        return verdict_of(self.alerts, is_judged=self.is_judged)


def read_settings(config: Mapping[str, Any], instance: str) -> list[Settings]:
    """Read what the config of an instance says of its monitor.

    Raises
    ------
    InvalidInputError
        If it says nothing.
    """
    declared = cast("list[Mapping[str, Any]]", config.get("monitor") or [])
    if not declared:
        raise InvalidInputError(
            f"{instance} declares no monitor", next_step="add `monitor: {check: ...}` to it, then: optaic apply"
        )
    kind = InstanceKind(config["kind"])
    found: list[Settings] = []
    for one in declared:
        check = Check(one["check"])
        limits = cast("Mapping[str, Any]", one.get("thresholds") or {})
        options = {key: value for key, value in one.items() if key not in ("check", "window", "thresholds")}
        found.append(
            Settings(
                check=check,
                window=int(one.get("window") or DEFAULT_WINDOW),
                thresholds=thresholds_of(kind, check, limits),
                declared=frozenset(limits),
                options=options,
            )
        )
    return found


def no_verdict(settings: Settings, sentence: str, **facts: Any) -> Finding:
    """Give a finding that nothing could be judged, and why."""
    return Finding(
        check=settings.check, is_judged=False, alerts=(settings.tell(f"{settings.check}", sentence),), **facts
    )


def write_figure(name: str, value: float) -> str:
    """Write a figure for a sentence: what ends in `_pct`, and rates and returns, as a percentage."""
    is_share = name.endswith(("_pct", "_rate", "_return", "_drawdown", "_accuracy")) or name == "volatility"
    return f"{100 * value:.4g} %" if is_share else f"{value:.4g}"
