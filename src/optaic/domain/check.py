"""The checks of monitoring: which instance has which, and from where on a figure is an alert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from optaic.domain.alert import Severity
from optaic.domain.kind import InstanceKind


class Check(StrEnum):
    """What a monitor looks at."""

    DATA_QUALITY = "data_quality"
    """Missing, outlying and repeated rows, gaps, age, columns: of a dataset."""
    MODEL_DRIFT = "model_drift"
    """Whether features and predictions are distributed as in the reference: of a model."""
    PERFORMANCE = "performance"
    """Whether predictions come true, or what a backtest earns lately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From where on a figure is an alert.

    Attributes
    ----------
    warning, critical
        The first value that is one; None for never.
    is_floor
        Whether values *below* it are alerts, not those at or above it.
    """

    warning: float | None = None
    critical: float | None = None
    is_floor: bool = False

    def judge(self, value: float) -> tuple[Severity, float] | None:
        """Say what a value is, and which threshold it crossed; None if it crossed none. NaN crosses none.

        Examples
        --------
        >>> Threshold(warning=0.1, critical=0.25).judge(0.1)
        (<Severity.WARNING: 'warning'>, 0.1)
        >>> Threshold(warning=0.0, is_floor=True).judge(0.01)
        """
        for severity, limit in ((Severity.CRITICAL, self.critical), (Severity.WARNING, self.warning)):
            if limit is not None and (value < limit if self.is_floor else value >= limit):
                return severity, limit
        return None


def _above(warning: float | None = None, critical: float | None = None) -> Threshold:
    return Threshold(warning=warning, critical=critical)


def _below(warning: float | None = None, critical: float | None = None) -> Threshold:
    return Threshold(warning=warning, critical=critical, is_floor=True)


CLASSIC: Mapping[tuple[InstanceKind, Check], Mapping[str, Threshold]] = MappingProxyType(
    {
        (InstanceKind.DATASET, Check.DATA_QUALITY): {
            "missing_pct": _above(0.05, 0.2),
            "outlier_pct": _above(0.05, 0.2),
            "outlier_mads": _above(50.0),
            "duplicate_pct": _above(0.05, 0.5),
            "gap_count": _above(1.0, 5.0),
            "schema_changes": _above(1.0),
            "overdue_hours": _above(1.0, 72.0),
            "staleness_hours": _above(),
        },
        (InstanceKind.MODEL, Check.MODEL_DRIFT): {
            "psi": _above(0.1, 0.25),
            "ks": _above(),
            "schema_changes": _above(1.0),
        },
        (InstanceKind.MODEL, Check.PERFORMANCE): {
            "direction_accuracy": _below(0.5),
            "ic": _below(0.0),
            "ic_ir": _below(),
            "hit_rate": _below(0.5),
        },
        (InstanceKind.BACKTEST, Check.PERFORMANCE): {
            "total_return": _below(),
            "sharpe_ratio": _below(),
            "max_drawdown": _below(),
            "volatility": _above(),
        },
    }
)
"""By kind of instance and check, the figures that are judged, with the thresholds that hold where none is declared.

Those of PSI are the rule of thumb of credit scoring: below 0.1 unchanged, from 0.25 on another population. Thresholds
know nothing of sample sizes, nor of how much a figure moves by itself: they are called `classic`, and the number of
rows stands beside each figure. A figure without one is told and not judged, unless a threshold is declared.
"""

DEFAULT_WINDOW = 63
"""Event dates that are monitored, up to the last one; a quarter."""


def checks_of(kind: InstanceKind) -> tuple[Check, ...]:
    """Give the checks that an instance of a kind can have; none for those that are not monitored."""
    return tuple(check for owner, check in CLASSIC if owner is kind)


def thresholds_of(kind: InstanceKind, check: Check, declared: Mapping[str, Any]) -> dict[str, Threshold]:
    """Give the thresholds of a check: those that are declared, else the classic ones.

    Parameters
    ----------
    kind, check
        Which.
    declared
        By figure, `{"warning": ..., "critical": ...}`; a declared figure has no classic threshold left.
    """
    found = dict(CLASSIC[kind, check])
    for name, limits in declared.items():
        found[name] = Threshold(
            warning=limits.get("warning"), critical=limits.get("critical"), is_floor=found[name].is_floor
        )
    return found
