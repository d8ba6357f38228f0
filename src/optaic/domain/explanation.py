"""Why a flow is not ready, told from the flow back to those whose own causes explain it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from optaic.domain.freshness import NEVER, Cause, CauseKind, FlowState
from optaic.domain.status import Freshness

MANY = 60
"""Above so many flows, only those with causes of their own are told, and above so many of these only the farthest."""

MAX_DEPTH = 30
"""So deep at most is an explanation; what lies deeper is told at that depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A flow in an explanation.

    Attributes
    ----------
    flow_id
        The flow.
    above
        The flow that it explains; None for the one that was asked about.
    through
        The targets between the two, which only pass it on; from the flow that it explains towards itself.
    """

    flow_id: uuid.UUID
    above: uuid.UUID | None
    through: tuple[str, ...] = ()


def own_causes(state: FlowState) -> list[Cause]:
    """Give the causes that are not just another flow's."""
    return [cause for cause in state.causes if cause.kind is not CauseKind.UPSTREAM_NOT_READY]


def walk_back(target_id: uuid.UUID, states: Mapping[uuid.UUID, FlowState]) -> list[Step]:
    """Walk from a flow along the upstreams that are not ready; each flow is told once, the nearest way.

    Parameters
    ----------
    target_id
        The flow that is asked about.
    states
        Its state, and those of all flows upstream that may explain it.

    Returns
    -------
    list of Step
        The flow itself first, nearer flows before farther ones. A flow that only passes on what one other flow has is
        no step of its own.
    """
    came_from: dict[uuid.UUID, uuid.UUID | None] = {target_id: None}
    names: dict[uuid.UUID, str] = {}
    order = [target_id]
    for flow_id in order:
        for upstream_id, name in _blocking(states[flow_id]).items():
            if upstream_id in states and upstream_id not in came_from:
                came_from[upstream_id] = flow_id
                names[upstream_id] = name
                order.append(upstream_id)
    is_told = {target_id} | _worth_telling(order, states)
    depths = {target_id: 0}
    steps = [Step(flow_id=target_id, above=None)]
    for flow_id in order[1:]:
        if flow_id not in is_told:
            continue
        above = came_from[flow_id] or target_id
        through: list[str] = []
        while above not in is_told or depths[above] >= MAX_DEPTH:
            through.append(names[above])
            above = came_from[above] or target_id
        depths[flow_id] = depths[above] + 1
        steps.append(Step(flow_id=flow_id, above=above, through=tuple(reversed(through))))
    return steps


def leads_to(
    flow_id: uuid.UUID, states: Mapping[uuid.UUID, FlowState], told: Collection[uuid.UUID]
) -> uuid.UUID | None:
    """Follow a flow that only passes on what another has to the one that is told; None if the ways part before."""
    at = flow_id
    while at not in told:
        further = _blocking(states[at]) if at in states else {}
        if len(further) != 1:
            return None
        (at,) = further
    return at


def _worth_telling(order: Sequence[uuid.UUID], states: Mapping[uuid.UUID, FlowState]) -> set[uuid.UUID]:
    """Leave out those that only pass on what another has; where they are many, all but the ends of the way."""
    own = {flow_id for flow_id in order if own_causes(states[flow_id])}
    if len(order) <= MANY:
        return own | {flow_id for flow_id in order if len(_blocking(states[flow_id])) != 1}
    return own if len(own) <= MANY else {flow_id for flow_id in own if not _blocking(states[flow_id])}


def _blocking(state: FlowState) -> dict[uuid.UUID, str]:
    return {
        cause.upstream_id: cause.upstream
        for cause in state.causes
        if cause.kind is CauseKind.UPSTREAM_NOT_READY and cause.upstream_id is not None and cause.upstream is not None
    }


def command(target: str, state: FlowState) -> str | None:
    """Give what to type, or to do, so that a flow becomes ready; None if it is."""
    if state.freshness is Freshness.READY:
        return None
    if lacking := next((cause.next_step for cause in state.causes if cause.next_step), None):
        return lacking
    if state.freshness is Freshness.STALE_SOURCE_DELAYED:
        return f"wait for its source, then ask it again: optaic run {target}"
    return f"optaic run {target} --recursive" if state.inherited_from != NEVER else f"optaic run {target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value of a config that is another now; None where there is none."""

    path: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Compare two configs, value by value.

    Examples
    --------
    >>> [item.path for item in differences({"params": {"n": 1, "m": 2}}, {"params": {"n": 3, "m": 2}})]
    ['params.n']
    """
    found: list[Difference] = []
    for key in sorted({*before, *after}):
        one, other = before.get(key), after.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += [
                Difference(path=f"{key}.{item.path}", before=item.before, after=item.after)
                for item in differences(cast("Mapping[str, Any]", one), cast("Mapping[str, Any]", other))
            ]
        elif one != other:
            found.append(Difference(path=key, before=one, after=other))
    return found
