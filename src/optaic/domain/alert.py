"""Alerts: what a monitoring check found that somebody should know, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad an alert is."""

    INFO = "info"
    """Good to know; changes no verdict."""
    WARNING = "warning"
    """Somebody should look."""
    CRITICAL = "critical"
    """What reads it should not be trusted before somebody has looked."""


class Verdict(StrEnum):
    """What a check, or all checks of a run, came to."""

    OK = "ok"
    """It was judged, and nothing crossed a threshold."""
    WARNING = "warning"
    CRITICAL = "critical"
    NO_VERDICT = "no_verdict"
    """It could not be judged: too few rows, no matured labels, no threshold. An alert of severity `info` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that a check found.

    Attributes
    ----------
    severity
        How bad.
    kind
        The check: `data_quality`, `model_drift`, `performance`.
    metric
        The figure, with what it is of in brackets: `psi[momentum]`.
    value
        What it is; None where nothing was measured.
    threshold
        What it crossed; None where nothing was crossed.
    message
        A sentence for a person.
    """

    severity: Severity
    kind: str
    metric: str
    message: str
    value: float | None = None
    threshold: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        return {
            "severity": self.severity.value,
            "kind": self.kind,
            "metric": self.metric,
            "value": self.value,
            "threshold": self.threshold,
            "message": self.message,
        }


def verdict_of(alerts: Iterable[Alert], *, is_judged: bool) -> Verdict:
    """Give the verdict: the worst alert's; without one, `ok` only if everything could be judged.

    Parameters
    ----------
    alerts
        What was found.
    is_judged
        Whether every check could be done. What was found in spite of that stands.
    """
    severities = {alert.severity for alert in alerts}
    if Severity.CRITICAL in severities:
        return Verdict.CRITICAL
    if Severity.WARNING in severities:
        return Verdict.WARNING
    return Verdict.OK if is_judged else Verdict.NO_VERDICT


def worst_first(alerts: Iterable[Alert], limit: int) -> tuple[Alert, ...]:
    """Order alerts, the worst first; of more than `limit` the last says how many are left out.

    Examples
    --------
    >>> one = Alert(severity=Severity.INFO, kind="performance", metric="ic", message="...")
    >>> len(worst_first([one, one, one], limit=2))
    2
    """
    order = list(reversed(Severity))
    found = sorted(alerts, key=lambda alert: order.index(alert.severity))
    if len(found) <= limit:
        return tuple(found)
    kept, others = found[: limit - 1], found[limit - 1 :]
    more = Alert(
        severity=others[0].severity,
        kind=others[0].kind,
        metric="alerts",
        value=float(len(others)),
        message=f"{len(others)} more alerts are not listed; the tables of the run have all figures",
    )
    return (*kept, more)
