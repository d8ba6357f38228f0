"""The definition of freshness: a comparison of what a flow last consumed with what it would consume now.

Nothing here is remembered: no flag is set and later consumed. `decide` is the one definition; what the ledger stores of
it is a cache, and `evaluate`, which decides every flow anew, must always agree with that cache.

Dates say how far a flow is stale: from an event date on, `EVERYTHING` from the beginning, `NEVER` not at all. A row of
one event date may depend on rows of that date and before, never on later ones; so what changed from a date on makes its
readers stale from that date on.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from optaic.domain.status import Freshness

EVERYTHING = dt.date.min
"""Stale from the beginning."""

NEVER = dt.date.max
"""Not stale at all; also the end of a reading without an end."""


class CauseKind(StrEnum):
    """Why a flow is not ready."""

    NEVER_RUN = "never_run"
    INPUT_CHANGED = "input_changed"
    UPSTREAM_NOT_READY = "upstream_not_ready"
    CONFIG_CHANGED = "config_changed"
    CODE_CHANGED = "code_changed"
    PAST_EXPECTED_DATE = "past_expected_date"
    SOURCE_DELAYED = "source_delayed"


CLOCK_CAUSES = frozenset({CauseKind.PAST_EXPECTED_DATE, CauseKind.SOURCE_DELAYED})
"""Causes that come about by the passing of time alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason why a flow is not ready, with what is behind it.

    Attributes
    ----------
    kind
        Which of the seven.
    detail
        A sentence for a person.
    stale_from
        From which event date it makes the flow stale; `EVERYTHING` is all.
    upstream
        The target that it comes from; None for the flow's own causes.
    upstream_id
        That flow's id.
    run_id
        The run behind it: the one that published the version, or the flow's own current one.
    version
        The number of the version behind it.
    revision
        The number of the config revision behind it.
    digest
        The code digest behind it.
    date
        The event date that is expected and not there.
    next_step
        What helps, where that is more than a run of what is not ready.
    """

    kind: CauseKind
    detail: str
    stale_from: dt.date
    upstream: str | None = None
    upstream_id: uuid.UUID | None = None
    run_id: uuid.UUID | None = None
    version: int | None = None
    revision: int | None = None
    digest: str | None = None
    date: dt.date | None = None
    next_step: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON: what is not set is left out, dates are ISO, `EVERYTHING` is null."""
        found: dict[str, Any] = {"kind": self.kind.value, "detail": self.detail, "upstream": self.upstream}
        found["stale_from"] = None if self.stale_from == EVERYTHING else self.stale_from.isoformat()
        for name in ("run_id", "version", "revision", "digest", "date", "next_step"):
            if (value := getattr(self, name)) is not None:
                found[name] = value if isinstance(value, int) else str(value)
        return found


HAS_NEVER_RUN = Cause(kind=CauseKind.NEVER_RUN, detail="it has never completed", stale_from=EVERYTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A version that was published after the one consumed.

    Attributes
    ----------
    number
        The version.
    changed_from
        The first event date that differs from the version before; None if unknown.
    columns
        Those that differ, empty for all.
    run_id
        Who published it.
    """

    number: int
    changed_from: dt.date | None
    columns: tuple[str, ...] = ()
    run_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A live lineage edge into a flow: what the flow's current run read over it, and what happened there since.

    Attributes
    ----------
    upstream_id, upstream
        The flow that is read, and how people name it.
    role
        The name under which it is read.
    selector
        `current`, `stage:champion` or `version:3`. What a person chose does not become stale by a refresh.
    is_read
        False if the current run pinned a version and read nothing of it.
    read_until
        The last event date read; `NEVER` for a reading without an end, and if there is no current run.
    columns
        The columns read, empty for all.
    changes
        The later versions, in order; for a stage, the version that has it now if it is another.
    """

    upstream_id: uuid.UUID
    upstream: str
    role: str
    selector: str = "current"
    is_read: bool = True
    read_until: dt.date = NEVER
    columns: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether it follows its upstream."""
        return self.selector == "current"

    def touches(self, change: Change) -> bool:
        """Whether a later version changed what was read: its dates reach the slice, and its columns meet those read."""
        if not self.is_read:
            return False
        if change.changed_from is not None and change.changed_from > self.read_until:
            return False
        return not change.columns or not self.columns or bool(set(change.columns) & set(self.columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFacts:
    """What decides whether a flow is ready, apart from its upstreams' own freshness.

    `current_run_id` is None if it has never completed. The revision and digests are those that it would run with now,
    with `run_` those of its current run; configs whose digests are equal differ in nothing that the flow uses.
    `ready_until` is the instant (UTC) from which its data no longer reach what
    its calendar expects, None if nothing is expected; `expected_date` the event date that is missing from then on.
    `waits_for_source` says whether its readers wait when its source is late.
    """

    id: uuid.UUID
    target: str
    current_run_id: uuid.UUID | None
    config_digest: str
    code_digest: str | None
    run_config_digest: str | None
    run_code_digest: str | None
    revision: int = 1
    run_revision: int | None = None
    last_data_date: dt.date | None = None
    ready_until: dt.datetime | None = None
    expected_date: dt.date | None = None
    source_asked_at: dt.datetime | None = None
    waits_for_source: bool = True
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowState:
    """Whether a flow is ready, and if not, why and from which event date on.

    Attributes
    ----------
    freshness
        The answer.
    causes
        Why it is not ready; empty if it is.
    own_from
        From which event date it is stale by itself, whatever its upstreams are.
    own_blocks_from
        The same, without the delay of a source that readers do not wait for.
    inherited_from
        From which event date it is stale because an upstream is.
    """

    freshness: Freshness
    causes: tuple[Cause, ...] = ()
    own_from: dt.date = NEVER
    own_blocks_from: dt.date = NEVER
    inherited_from: dt.date = NEVER

    @property
    def stale_from(self) -> dt.date:
        """From which event date it is not ready; `NEVER` if it is."""
        return min(self.own_from, self.inherited_from)

    @property
    def blocks_from(self) -> dt.date:
        """From which event date its readers may not use it; `NEVER` if they may use all of it."""
        return min(self.own_blocks_from, self.inherited_from)


def evaluate(flows: Sequence[FlowFacts], now: dt.datetime) -> dict[uuid.UUID, FlowState]:
    """Decide for each flow whether it is ready, and if not, why: by brute force.

    Parameters
    ----------
    flows
        All live flows of a tenant, in any order; edges form no cycle.
    now
        The database's clock (UTC).

    Returns
    -------
    dict
        By flow id.
    """
    facts = {flow.id: flow for flow in flows}
    decided: dict[uuid.UUID, FlowState] = {}
    for flow_id in upstream_first({flow.id: [edge.upstream_id for edge in flow.edges] for flow in flows}):
        decided[flow_id] = decide(facts[flow_id], decided, now)
    return decided


def upstream_first(upstreams: Mapping[uuid.UUID, Iterable[uuid.UUID]]) -> list[uuid.UUID]:
    """Order flows so that upstreams come first, without recursion: graphs may be a thousand deep."""
    order: list[uuid.UUID] = []
    seen: set[uuid.UUID] = set()
    for root in upstreams:
        stack = [(root, False)]
        while stack:
            flow_id, is_left = stack.pop()
            if is_left:
                order.append(flow_id)
            elif flow_id not in seen and flow_id in upstreams:
                seen.add(flow_id)
                stack.append((flow_id, True))
                stack.extend((upstream_id, False) for upstream_id in upstreams[flow_id])
    return order


def decide(flow: FlowFacts, upstreams: Mapping[uuid.UUID, FlowState], now: dt.datetime) -> FlowState:
    """Decide whether a flow is ready, and if not, why. This is the definition.

    Parameters
    ----------
    flow
        Its facts.
    upstreams
        The states of the flows that it reads; one that is missing is taken as ready.
    now
        The database's clock (UTC).
    """
    own = _own_causes(flow, now)
    blocking = [cause for cause in own if cause.kind is not CauseKind.SOURCE_DELAYED or flow.waits_for_source]
    inherited = _inherited_causes(flow, upstreams)
    causes = (*own, *inherited)
    if flow.current_run_id is None:
        freshness = Freshness.NOT_INITIALIZED
    elif not causes:
        freshness = Freshness.READY
    elif all(cause.kind is CauseKind.SOURCE_DELAYED for cause in causes):
        freshness = Freshness.STALE_SOURCE_DELAYED
    else:
        freshness = Freshness.STALE
    return FlowState(
        freshness=freshness,
        causes=causes,
        own_from=_first(own),
        own_blocks_from=_first(blocking),
        inherited_from=_first(inherited),
    )


def _first(causes: Iterable[Cause]) -> dt.date:
    return min((cause.stale_from for cause in causes), default=NEVER)


def _own_causes(flow: FlowFacts, now: dt.datetime) -> list[Cause]:
    if flow.current_run_id is None:
        return [HAS_NEVER_RUN]
    causes: list[Cause] = []
    if flow.run_config_digest != flow.config_digest:
        causes.append(
            Cause(
                kind=CauseKind.CONFIG_CHANGED,
                detail=f"its config is revision {flow.revision}, its last run used {flow.run_revision}",
                stale_from=EVERYTHING,
                run_id=flow.current_run_id,
                revision=flow.revision,
            )
        )
    if flow.run_code_digest != flow.code_digest:
        causes.append(
            Cause(
                kind=CauseKind.CODE_CHANGED,
                detail="its code has changed since its last run",
                stale_from=EVERYTHING,
                run_id=flow.current_run_id,
                digest=flow.code_digest,
            )
        )
    for edge in flow.edges:
        newer = [change for change in edge.changes if edge.touches(change)]
        if newer:
            causes.append(_input_changed(edge, newer))
    if flow.ready_until is not None and now >= flow.ready_until:
        causes.append(_overdue(flow, flow.ready_until))
    return causes


def _input_changed(edge: Edge, newer: Sequence[Change]) -> Cause:
    since = min((change.changed_from or EVERYTHING for change in newer), default=EVERYTHING)
    where = "" if since == EVERYTHING else f", which differs from {since} on"
    last = newer[-1]
    verb = f"has published version {last.number} since"
    if not edge.is_current:
        verb = f"has version {last.number} as {edge.selector} now"
    return Cause(
        kind=CauseKind.INPUT_CHANGED,
        detail=f"{edge.upstream} {verb}{where}",
        stale_from=since,
        upstream=edge.upstream,
        upstream_id=edge.upstream_id,
        run_id=last.run_id,
        version=last.number,
    )


def _overdue(flow: FlowFacts, ready_until: dt.datetime) -> Cause:
    since = EVERYTHING if flow.last_data_date is None else flow.last_data_date + dt.timedelta(days=1)
    expected = f"data of {flow.expected_date}" if flow.expected_date else "newer data"
    if flow.source_asked_at is not None and flow.source_asked_at >= ready_until:
        kind, detail = CauseKind.SOURCE_DELAYED, f"its source was asked for {expected} and did not have them"
    else:
        kind, detail = CauseKind.PAST_EXPECTED_DATE, f"{expected} were due at {ready_until:%Y-%m-%d %H:%M} UTC"
    return Cause(kind=kind, detail=detail, stale_from=since, date=flow.expected_date, run_id=flow.current_run_id)


def blocking_causes(flow: FlowFacts, upstreams: Mapping[uuid.UUID, FlowState]) -> list[Cause]:
    """Say which upstreams a run of the flow may not read now.

    What its last run read says how far the next one reads, unless it has another config or other code.
    """
    is_same = flow.run_config_digest == flow.config_digest and flow.run_code_digest == flow.code_digest
    if not is_same:
        flow = replace(flow, edges=tuple(replace(edge, is_read=True, read_until=NEVER) for edge in flow.edges))
    return _inherited_causes(flow, upstreams)


def _inherited_causes(flow: FlowFacts, upstreams: Mapping[uuid.UUID, FlowState]) -> list[Cause]:
    causes: list[Cause] = []
    for edge in flow.edges:
        state = upstreams.get(edge.upstream_id)
        if state is None or not edge.is_current or not edge.is_read:
            continue
        since = state.blocks_from
        if since == NEVER or since > edge.read_until:
            continue
        causes.append(blocked_by(edge.upstream_id, edge.upstream, state.freshness, since))
    return causes


def blocked_by(upstream_id: uuid.UUID, upstream: str, freshness: Freshness, since: dt.date) -> Cause:
    """Give the cause that an upstream is not ready, for readers whom it blocks from a date on."""
    where = "" if since == EVERYTHING else f" from {since} on"
    return Cause(
        kind=CauseKind.UPSTREAM_NOT_READY,
        detail=f"{upstream} is {freshness.replace('_', ' ')}{where}",
        stale_from=since,
        upstream=upstream,
        upstream_id=upstream_id,
    )
