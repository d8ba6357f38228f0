"""Plans: which flows must run for a target, in which order, and which of them another plan runs already."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from optaic.domain.freshness import NEVER, Cause, FlowFacts, FlowState, blocking_causes, upstream_first
from optaic.domain.status import Freshness


class PlanMode(StrEnum):
    """What a plan runs."""

    RECURSIVE = "recursive"
    """What is not ready upstream, and the target in any case."""
    SMART = "smart"
    """What is not ready upstream, and the target if it is not ready."""


class PlanStatus(StrEnum):
    """Where a plan is; it runs until every step has ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    """Where a step is."""

    WAITING = "waiting"
    """Upstream steps have not ended."""
    RUNNING = "running"
    """Its run is recorded, and has not ended."""
    DONE = "done"
    """Its run has completed."""
    NOT_NEEDED = "not_needed"
    """What it reads turned out not to have changed."""
    FAILED = "failed"
    """Its run has failed."""
    BLOCKED = "blocked"
    """A step that it needs has failed, was cancelled, or left its flow not ready."""
    CANCELLED = "cancelled"
    """It was cancelled, or its run was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A flow that must run, or may have to.

    Attributes
    ----------
    flow_id, target
        The flow, and how people name it.
    causes
        Why it is in the plan; empty for a target that is ready.
    upstream_ids
        The flows of the steps that it waits for.
    batch
        From 1; steps of one batch do not wait for each other.
    is_needed
        Whether it runs whatever its upstream steps publish; otherwise only if that touches what it reads.
    """

    flow_id: uuid.UUID
    target: str
    causes: tuple[Cause, ...]
    upstream_ids: tuple[uuid.UUID, ...]
    batch: int
    is_needed: bool


def make_steps(
    facts: Iterable[FlowFacts], states: Mapping[uuid.UUID, FlowState], target_id: uuid.UUID, mode: PlanMode
) -> tuple[PlannedStep, ...]:
    """Decide what must run for a target.

    An upstream is a step if it is not ready as far as its reader reads it; a source that is late, and whose readers do
    not wait for it, is none. Among the steps, everyone waits for all that it follows.

    Parameters
    ----------
    facts
        Of the target, and at least of everything upstream of it that is not ready.
    states
        Of the same flows; a flow without one is ready.
    target_id
        What the plan is for.
    mode
        Whether the target runs although it is ready.

    Returns
    -------
    tuple of PlannedStep
        Upstream steps first; empty if nothing must run.
    """
    by_id = {flow.id: flow for flow in facts}
    if mode is PlanMode.SMART and states[target_id].freshness is Freshness.READY:
        return ()
    found: set[uuid.UUID] = set()
    stack = [target_id]
    while stack:
        flow_id = stack.pop()
        if flow_id in found or flow_id not in by_id:
            continue
        found.add(flow_id)
        stack.extend(_blocking(by_id[flow_id], states))
    upstreams = {flow_id: _among(by_id[flow_id], found) for flow_id in found}
    batches: dict[uuid.UUID, int] = {}
    for flow_id in upstream_first(upstreams):
        batches[flow_id] = 1 + max((batches[one] for one in upstreams[flow_id]), default=0)
    order = sorted(found, key=lambda flow_id: (batches[flow_id], by_id[flow_id].target))

    def is_needed(flow_id: uuid.UUID) -> bool:
        if flow_id == target_id:
            return mode is PlanMode.RECURSIVE or states[flow_id].own_from < NEVER
        return not upstreams[flow_id] or states[flow_id].own_blocks_from < NEVER

    return tuple(
        PlannedStep(
            flow_id=flow_id,
            target=by_id[flow_id].target,
            causes=states[flow_id].causes,
            upstream_ids=upstreams[flow_id],
            batch=batches[flow_id],
            is_needed=is_needed(flow_id),
        )
        for flow_id in order
    )


def _blocking(flow: FlowFacts, states: Mapping[uuid.UUID, FlowState]) -> list[uuid.UUID]:
    return [cause.upstream_id for cause in blocking_causes(flow, states) if cause.upstream_id is not None]


def _among(flow: FlowFacts, found: Collection[uuid.UUID]) -> tuple[uuid.UUID, ...]:
    return tuple(
        dict.fromkeys(edge.upstream_id for edge in flow.edges if edge.is_current and edge.upstream_id in found)
    )


def expected_seconds(steps: Sequence[PlannedStep], seconds: Mapping[uuid.UUID, float]) -> float | None:
    """Say how long a plan takes if nothing waits for a slot: its longest way through, by what its flows took before.

    Parameters
    ----------
    steps
        Upstream steps first.
    seconds
        By flow; flows that have never run are missing.

    Returns
    -------
    float or None
        Seconds, a lower bound where some flows have never run; None if none of them has.
    """
    if not any(step.flow_id in seconds for step in steps):
        return None
    ends: dict[uuid.UUID, float] = {}
    for step in steps:
        starts = max((ends[one] for one in step.upstream_ids), default=0.0)
        ends[step.flow_id] = starts + seconds.get(step.flow_id, 0.0)
    return max(ends.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStep:
    """A step of another plan that has not ended.

    Attributes
    ----------
    id
        The step.
    flow_id
        What it runs.
    recorded
        Revision and code of its run; None if it has none yet.
    upstream
        The steps that it still waits for, by flow.
    pins
        The versions that it reads, by flow.
    """

    id: uuid.UUID
    flow_id: uuid.UUID
    recorded: tuple[uuid.UUID, uuid.UUID | None] | None
    upstream: Mapping[uuid.UUID, uuid.UUID]
    pins: Mapping[uuid.UUID, uuid.UUID]


def shared_steps(
    steps: Sequence[PlannedStep],
    *,
    open_steps: Iterable[OpenStep],
    reads: Mapping[uuid.UUID, Collection[uuid.UUID]],
    pins: Mapping[uuid.UUID, uuid.UUID],
    present: Mapping[uuid.UUID, tuple[uuid.UUID, uuid.UUID | None]],
) -> dict[uuid.UUID, uuid.UUID]:
    """Find the steps that another plan has already: those whose inputs, code and config would be the same.

    Parameters
    ----------
    steps
        What must run, upstream steps first.
    open_steps
        Of other plans.
    reads
        The flows that each flow follows.
    pins
        The present version of what is read, by flow.
    present
        Revision and code that each flow would run with now.

    Returns
    -------
    dict
        The step to share, by flow; flows that need a step of their own are missing.
    """
    candidates: dict[uuid.UUID, list[OpenStep]] = {}
    for one in open_steps:
        candidates.setdefault(one.flow_id, []).append(one)
    own = {step.flow_id for step in steps}
    shared: dict[uuid.UUID, uuid.UUID] = {}

    def reads_the_same(one: OpenStep, upstream_id: uuid.UUID) -> bool:
        if upstream_id in one.upstream:
            return shared.get(upstream_id) == one.upstream[upstream_id]
        return upstream_id not in own and one.pins.get(upstream_id) == pins.get(upstream_id)

    for step in steps:
        for one in candidates.get(step.flow_id, ()):
            is_present = one.recorded is None or one.recorded == present.get(step.flow_id)
            if is_present and all(reads_the_same(one, upstream_id) for upstream_id in reads.get(step.flow_id, ())):
                shared[step.flow_id] = one.id
                break
    return shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step as the ledger holds it; `reason` says why it was not needed or came to nothing.

    `causes` are those of `PlannedStep`, as JSON; `ended_at` is UTC.
    """

    id: uuid.UUID
    flow_id: uuid.UUID
    target: str
    instance: str
    flow_kind: str
    batch: int
    status: StepStatus
    causes: Sequence[Mapping[str, Any]]
    run_id: uuid.UUID | None
    reason: Mapping[str, Any] | None
    upstream_ids: tuple[uuid.UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan as the ledger holds it; times are UTC, by the database's clock.

    `steps` are in the order of their batches; `run_id` is the run of the target, None before there is one.
    """

    id: uuid.UUID
    target_flow_id: uuid.UUID
    target: str
    mode: PlanMode
    status: PlanStatus
    reason: Mapping[str, Any] | None
    created_at: dt.datetime
    cancel_requested_at: dt.datetime | None
    ended_at: dt.datetime | None
    steps: tuple[Step, ...] = ()

    @property
    def target_step(self) -> Step | None:
        """The step of the target; None if there was nothing to run."""
        return next((step for step in self.steps if step.flow_id == self.target_flow_id), None)
