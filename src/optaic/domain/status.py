"""The statuses of runs and flows, and the one table of allowed transitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType


class RunStatus(StrEnum):
    """Where a run is in its life. Terminal statuses are final, in the database too."""

    PENDING = "pending"
    """Recorded, and waiting for a worker: new, or given back by an attempt that can be repeated."""
    RUNNING = "running"
    """Held by exactly one open attempt, whose lease a worker renews."""
    COMPLETED = "completed"
    """Did its work, and its declared outputs exist. Set only by completion."""
    FAILED = "failed"
    """Ended without its outputs, with a reason."""
    CANCELLED = "cancelled"
    """Stopped because a principal asked for it, or because nothing needed it any more."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return not TRANSITIONS[self]


TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = MappingProxyType(
    {
        RunStatus.PENDING: frozenset({RunStatus.RUNNING, RunStatus.FAILED, RunStatus.CANCELLED}),
        RunStatus.RUNNING: frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.PENDING}),
        RunStatus.COMPLETED: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
    }
)
"""For each status, the statuses that may follow it. The diagram in the docs is drawn from this table."""

TERMINAL: frozenset[RunStatus] = frozenset(status for status, following in TRANSITIONS.items() if not following)


class Standing(StrEnum):
    """Whether a run speaks for its flow."""

    OFFICIAL = "official"
    """Params, seed, code, config and selectors are the flow's own: may make versions and change freshness."""
    TRIAL = "trial"
    """Anything else: sweeps, `--param`, `--as-of`, reproductions, tracked loops. Never a version."""


class Freshness(StrEnum):
    """Whether what a flow last published may be relied on."""

    NOT_INITIALIZED = "not_initialized"
    """The flow has no current version and no completed official run."""
    READY = "ready"
    """Everything the last official run consumed is still what it would consume now."""
    STALE = "stale"
    """An input, the config or the code has changed, or an upstream is not ready."""
    STALE_SOURCE_DELAYED = "stale_source_delayed"
    """The source was asked after its deadline and had nothing new."""


class Activity(StrEnum):
    """What a flow is doing."""

    IDLE = "idle"
    RUNNING = "running"


class Health(StrEnum):
    """How the last official attempt of a flow ended."""

    OK = "ok"
    ERROR = "error"


class FlowStatus(StrEnum):
    """The one status that people see of a flow or an instance."""

    ERROR = "error"
    STALE = "stale"
    STALE_SOURCE_DELAYED = "stale_source_delayed"
    NOT_INITIALIZED = "not_initialized"
    RUNNING = "running"
    READY = "ready"


WORST_FIRST: tuple[FlowStatus, ...] = tuple(FlowStatus)
"""The order in which an instance takes the status of its flows."""


_AS_STATUS = {freshness: FlowStatus(freshness.value) for freshness in Freshness}


def overlay(freshness: Freshness, activity: Activity, health: Health) -> FlowStatus:
    """Lay activity over health over freshness.

    Parameters
    ----------
    freshness, activity, health
        The three facts of one flow.

    Returns
    -------
    FlowStatus
        `running` while an official run runs, else `error` after a failed attempt, else the freshness.
    """
    if activity is Activity.RUNNING:
        return FlowStatus.RUNNING
    if health is Health.ERROR:
        return FlowStatus.ERROR
    return _AS_STATUS[freshness]


def aggregate(statuses: Iterable[FlowStatus]) -> FlowStatus:
    """Give an instance's status: the worst of its flows', monitors left out by the caller.

    Returns
    -------
    FlowStatus
        `not_initialized` when there are no flows.
    """
    return min(statuses, key=WORST_FIRST.index, default=FlowStatus.NOT_INITIALIZED)
