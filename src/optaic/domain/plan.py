"""Plans: which flows must run for a target, and in which order."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from optaic.domain.freshness import (
    NEVER,
    Cause,
    CauseKind,
    Edge,
    FlowFacts,
    FlowState,
    blocking_causes,
    decide,
)
from optaic.domain.kind import FlowKind
from optaic.domain.status import Freshness
from optaic.errors import InvalidInputError


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


Reading = tuple[bool, dt.date]
"""What a flow's current run read over an edge: whether it read anything, and the last event date.

The date is `NEVER` for a reading without an end, and if there is no current run.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A flow that may have to run.

    Attributes
    ----------
    id, target, instance, flow_kind
        The flow, how people name it, and what of.
    own
        Its state by itself: as if everything upstream were ready.
    upstream_ids
        What it follows, edge by edge in order of declaration.
    readings
        What was read over each of these edges.
    """

    id: uuid.UUID
    target: str
    instance: str
    flow_kind: FlowKind
    own: FlowState
    upstream_ids: tuple[uuid.UUID, ...] = ()
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A flow that must run, or may have to.

    Attributes
    ----------
    flow_id, target, instance, flow_kind
        The flow, how people name it, and what of.
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
    instance: str
    flow_kind: FlowKind
    causes: tuple[Cause, ...]
    upstream_ids: tuple[uuid.UUID, ...]
    batch: int
    is_needed: bool


NEVER_RUN = decide(
    FlowFacts(
        id=uuid.UUID(int=0),
        target="",
        current_run_id=None,
        config_digest="",
        code_digest=None,
        run_config_digest=None,
        run_code_digest=None,
    ),
    {},
    dt.datetime.max.replace(tzinfo=dt.UTC),
)
"""The state, by itself, of each flow that has never completed: nothing else of it matters."""

_READS_ANEW = frozenset({CauseKind.NEVER_RUN, CauseKind.CONFIG_CHANGED, CauseKind.CODE_CHANGED})
"""Causes after which what the last run read does not say how far the next one reads."""


def make_steps(candidates: Iterable[Candidate], target_id: uuid.UUID, mode: PlanMode) -> tuple[PlannedStep, ...]:
    """Decide what must run for a target.

    An upstream is a step if it is not ready as far as its reader reads it; a source that is late, and whose readers do
    not wait for it, is none. Among the steps, everyone waits for all that it follows.

    Parameters
    ----------
    candidates
        The target, and at least everything upstream of it that is not ready; what is missing is ready. Edges form no
        cycle.
    target_id
        What the plan is for.
    mode
        Whether the target runs although it is ready.

    Returns
    -------
    tuple of PlannedStep
        Upstream steps first; empty if nothing must run.
    """
    flows = list(candidates)
    # Flows are numbered: numbers are hashed and compared ten times as fast as ids, and there are many edges.
    number_of = {flow.id: number for number, flow in enumerate(flows)}
    upstreams = [[number_of.get(flow_id, _READY) for flow_id in flow.upstream_ids] for flow in flows]
    order = _upstream_first(upstreams)
    states = _unready(flows, upstreams, order)
    target = number_of[target_id]
    if mode is PlanMode.SMART and target not in states:
        return ()
    blocked_from = {one: state.blocks_from for one, state in states.items() if state.blocks_from < NEVER}
    found: set[int] = set()
    stack = [target]
    while stack:
        one = stack.pop()
        if one not in found:
            found.add(one)
            stack.extend(_blocking(flows[one], upstreams[one], blocked_from))
    told = _told([one for one in found if one in blocked_from], flows, states)
    steps: dict[int, PlannedStep] = {}
    for one in order:
        if one not in found:
            continue
        flow = flows[one]
        awaited = [upstream for upstream in dict.fromkeys(upstreams[one]) if upstream in steps]
        if one == target:
            is_needed = mode is PlanMode.RECURSIVE or flow.own.own_from < NEVER
        else:
            is_needed = not awaited or flow.own.own_blocks_from < NEVER
        inherited = [told[upstream] for upstream in _reaching(flow, upstreams[one], blocked_from)]
        steps[one] = PlannedStep(
            flow_id=flow.id,
            target=flow.target,
            instance=flow.instance,
            flow_kind=flow.flow_kind,
            causes=(*flow.own.causes, *inherited),
            upstream_ids=tuple([flows[upstream].id for upstream in awaited]),
            batch=1 + max([steps[upstream].batch for upstream in awaited], default=0),
            is_needed=is_needed,
        )
    return tuple(sorted(steps.values(), key=lambda step: (step.batch, step.target)))


_READY = -1
"""The number of what is not among the candidates."""


def _upstream_first(upstreams: Sequence[Sequence[int]]) -> list[int]:
    """Order flows so that upstreams come first."""
    readers: list[list[int]] = [[] for _ in upstreams]
    waits = [0] * len(upstreams)
    for reader, read in enumerate(upstreams):
        for upstream in read:
            if upstream != _READY:
                readers[upstream].append(reader)
                waits[reader] += 1
    order = [one for one, left in enumerate(waits) if not left]
    for one in order:  # it grows meanwhile
        for reader in readers[one]:
            waits[reader] -= 1
            if not waits[reader]:
                order.append(reader)
    return order


def _unready(
    flows: Sequence[Candidate], upstreams: Sequence[Sequence[int]], order: Iterable[int]
) -> dict[int, FlowState]:
    """Decide the state of the flows that are not ready, without the causes that upstreams give them."""
    states: dict[int, FlowState] = {}
    blocked_from: dict[int, dt.date] = {}
    for one in order:
        state = flows[one].own
        reaching = _reaching(flows[one], upstreams[one], blocked_from)
        if reaching:
            has_run = state.freshness is not Freshness.NOT_INITIALIZED
            state = FlowState(
                freshness=Freshness.STALE if has_run else Freshness.NOT_INITIALIZED,
                own_from=state.own_from,
                own_blocks_from=state.own_blocks_from,
                inherited_from=min([blocked_from[upstream] for upstream in reaching]),
            )
        if state.freshness is not Freshness.READY:
            states[one] = state
            if state.blocks_from < NEVER:
                blocked_from[one] = state.blocks_from
    return states


def _reaching(flow: Candidate, upstreams: Sequence[int], blocked_from: Mapping[int, dt.date]) -> list[int]:
    """Give the upstreams that make a flow stale: they are not ready as far as its current run has read them."""
    return [
        upstream
        for upstream, (is_read, read_until) in zip(upstreams, flow.readings, strict=True)
        if is_read and upstream in blocked_from and blocked_from[upstream] <= read_until
    ]


def _blocking(flow: Candidate, upstreams: Sequence[int], blocked_from: Mapping[int, dt.date]) -> list[int]:
    """Give the upstreams that a run of a flow may not read now."""
    if any(cause.kind in _READS_ANEW for cause in flow.own.causes):
        return [upstream for upstream in upstreams if upstream in blocked_from]
    return _reaching(flow, upstreams, blocked_from)


def _told(blocked: Sequence[int], flows: Sequence[Candidate], states: Mapping[int, FlowState]) -> dict[int, Cause]:
    """Give the cause that readers of some flows have of each: the same for all of them."""
    reader = FlowFacts(
        id=uuid.UUID(int=0),
        target="",
        current_run_id=None,
        config_digest="",
        code_digest=None,
        run_config_digest="",
        run_code_digest=None,
        edges=tuple(Edge(upstream_id=flows[one].id, upstream=flows[one].target, role="") for one in blocked),
    )
    causes = blocking_causes(reader, {flows[one].id: states[one] for one in blocked})
    return dict(zip(blocked, causes, strict=True))


def distinct_causes(steps: Iterable[PlannedStep]) -> dict[int, Cause]:
    """Give the causes of some steps, by `id`, each once: what is not ready is one cause for all who read it."""
    return {id(cause): cause for step in steps for cause in step.causes}


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


def check_alone(*, is_forced: bool, **given: object) -> None:
    """Refuse what a plan cannot take: a trial, a mode, or going ahead in spite of what is not ready.

    Raises
    ------
    InvalidInputError
        If something was given that a plan cannot take.
    """
    if is_forced:
        raise InvalidInputError(
            "force goes ahead without what is not ready upstream, recursive runs it first", next_step="use one of them"
        )
    names = [name for name, value in given.items() if value not in (None, {}, ())]
    if names:
        raise InvalidInputError(
            f"{', '.join(names)}: a plan runs flows with their own settings",
            next_step="make the upstreams ready with a plan first, then run the target alone with its own settings",
        )
