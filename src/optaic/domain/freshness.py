"""The definition of freshness: a comparison of what a flow last consumed with what it would consume now.

Nothing here is remembered: no flag is set and later consumed. What a calendar expects, and what reaches a reader
through several flows from an event date on, are not part of it yet.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from optaic.domain.status import Freshness


class CauseKind(StrEnum):
    """Why a flow is not ready."""

    NEVER_RUN = "never_run"
    INPUT_CHANGED = "input_changed"
    UPSTREAM_NOT_READY = "upstream_not_ready"
    CONFIG_CHANGED = "config_changed"
    CODE_CHANGED = "code_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason why a flow is not ready; `detail` names the run, version, revision or digest behind it."""

    kind: CauseKind
    detail: str
    upstream: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A version after the one that was consumed: its number, and what it changed.

    `changed_from` is the first event date that differs, None if unknown; `columns` those that differ, empty for all.
    """

    number: int
    changed_from: dt.date | None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumed:
    """What the current run of a flow consumed of one upstream, and what happened there since.

    A `selector` other than `current` never changes by a refresh. `last_date` is the last event date read, None if the
    reading had no end; `columns` those read, empty for all.
    """

    upstream_id: uuid.UUID
    upstream: str
    role: str
    selector: str
    last_date: dt.date | None
    columns: tuple[str, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFacts:
    """What decides whether a flow is ready.

    `upstreams` are its live edges as (flow id, instance, role, selector); `consumed` is what its current run read.
    """

    id: uuid.UUID
    has_output: bool
    config_digest: str
    code_digest: str | None
    run_config_digest: str | None
    run_code_digest: str | None
    upstreams: tuple[tuple[uuid.UUID, str, str, str], ...] = ()
    consumed: tuple[Consumed, ...] = field(default_factory=tuple)


def evaluate(flows: Sequence[FlowFacts]) -> dict[uuid.UUID, tuple[Freshness, tuple[Cause, ...]]]:
    """Decide for each flow whether it is ready, and if not, why.

    Parameters
    ----------
    flows
        All live flows of a tenant, in any order; edges form no cycle.

    Returns
    -------
    dict
        By flow id: the freshness and its causes, empty if it is ready.
    """
    facts = {flow.id: flow for flow in flows}
    decided: dict[uuid.UUID, tuple[Freshness, tuple[Cause, ...]]] = {}
    for flow_id in _upstream_first(facts):
        decided[flow_id] = _decide(facts[flow_id], decided)
    return decided


def _upstream_first(facts: Mapping[uuid.UUID, FlowFacts]) -> list[uuid.UUID]:
    """Order flows so that upstreams come first, without recursion: graphs may be a thousand deep."""
    order: list[uuid.UUID] = []
    seen: set[uuid.UUID] = set()
    for root in facts:
        stack = [(root, False)]
        while stack:
            flow_id, is_left = stack.pop()
            if is_left:
                order.append(flow_id)
            elif flow_id not in seen and flow_id in facts:
                seen.add(flow_id)
                stack.append((flow_id, True))
                stack.extend((edge[0], False) for edge in facts[flow_id].upstreams)
    return order


def _decide(
    flow: FlowFacts, decided: Mapping[uuid.UUID, tuple[Freshness, tuple[Cause, ...]]]
) -> tuple[Freshness, tuple[Cause, ...]]:
    if not flow.has_output:
        return Freshness.NOT_INITIALIZED, (Cause(kind=CauseKind.NEVER_RUN, detail="it has never completed"),)
    causes: list[Cause] = []
    if flow.run_config_digest != flow.config_digest:
        causes.append(Cause(kind=CauseKind.CONFIG_CHANGED, detail="its config is not that of its current version"))
    if flow.run_code_digest != flow.code_digest:
        causes.append(Cause(kind=CauseKind.CODE_CHANGED, detail="its code is not that of its current version"))
    for item in flow.consumed:
        newer = [change for change in item.changes if item.selector == "current" and touches(change, item)]
        if newer:
            detail = f"{item.upstream} has published version {newer[0].number} since"
            causes.append(Cause(kind=CauseKind.INPUT_CHANGED, detail=detail, upstream=item.upstream))
    for upstream_id, upstream, _, selector in flow.upstreams:
        freshness = decided[upstream_id][0] if upstream_id in decided else Freshness.READY
        if selector == "current" and freshness is not Freshness.READY:
            detail = f"{upstream} is {freshness}"
            causes.append(Cause(kind=CauseKind.UPSTREAM_NOT_READY, detail=detail, upstream=upstream))
    return (Freshness.STALE if causes else Freshness.READY), tuple(causes)


def touches(change: Change, item: Consumed) -> bool:
    """Whether a later version changed what was read: its dates reach the slice, and its columns meet those read."""
    if change.changed_from is not None and item.last_date is not None and change.changed_from > item.last_date:
        return False
    return not change.columns or not item.columns or bool(set(change.columns) & set(item.columns))
