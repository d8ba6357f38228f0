"""Which steps of a plan another plan runs already."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from optaic.domain.plan import PlannedStep

Read = tuple[uuid.UUID, str]
"""A flow that is read, and by which selector: `current` or `stage:champion`."""


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
        The versions that it reads, by flow and selector.
    """

    id: uuid.UUID
    flow_id: uuid.UUID
    recorded: tuple[uuid.UUID, uuid.UUID | None] | None
    upstream: Mapping[uuid.UUID, uuid.UUID]
    pins: Mapping[Read, uuid.UUID]


def shared_steps(
    steps: Sequence[PlannedStep],
    *,
    open_steps: Iterable[OpenStep],
    reads: Mapping[uuid.UUID, Collection[Read]],
    pins: Mapping[Read, uuid.UUID],
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
        What each flow reads that may be of another version another time.
    pins
        The present version of what is read.
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

    def reads_the_same(one: OpenStep, read: Read) -> bool:
        upstream_id, selector = read
        if selector == "current":
            if upstream_id in one.upstream:
                return shared.get(upstream_id) == one.upstream[upstream_id]
            if upstream_id in own:
                return False
        return one.pins.get(read) == pins.get(read)

    for step in steps:
        for one in candidates.get(step.flow_id, ()):
            is_present = one.recorded is None or one.recorded == present.get(step.flow_id)
            # It may wait for a flow that is read no more: who shares it without that could wait for ever.
            is_awaited = all(shared.get(flow_id) == step_id for flow_id, step_id in one.upstream.items())
            if is_present and is_awaited and all(reads_the_same(one, read) for read in reads.get(step.flow_id, ())):
                shared[step.flow_id] = one.id
                break
    return shared
