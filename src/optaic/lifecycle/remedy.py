"""Remedy: what helps a flow that is not ready, or may not run."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress

from optaic.domain.explanation import own_causes
from optaic.domain.freshness import NEVER, CauseKind, FlowState
from optaic.domain.status import Freshness
from optaic.errors import InvalidInputError
from optaic.flows.expectation import next_deadline
from optaic.ledger import catalog
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Transaction
from optaic.ledger.state import database_clock


def next_step(tx: Transaction, flow: Flow, states: Mapping[uuid.UUID, FlowState]) -> str | None:
    """Say what to type, or to do, so that a flow becomes ready, or may run; None if it is ready.

    Parameters
    ----------
    tx
        A transaction.
    flow
        The flow.
    states
        Its state, and those of what is not ready upstream of it.
    """
    if states[flow.id].freshness is Freshness.READY:
        return None
    for state in states.values():
        for cause in state.causes:
            if cause.next_step is not None:
                return cause.next_step
    upstream = {flow_id: state for flow_id, state in states.items() if flow_id != flow.id and state.blocks_from < NEVER}
    if upstream:
        # Those that nothing upstream blocks: if they all wait for their sources, nothing after them can run either.
        own = {flow_id: own_causes(state) for flow_id, state in upstream.items() if state.inherited_from == NEVER}
        kinds = {cause.kind for causes in own.values() for cause in causes}
        if kinds == {CauseKind.SOURCE_DELAYED}:
            late = catalog.live_flows(tx, [flow_id for flow_id, causes in own.items() if causes])
            return _wait_for(tx, late, flow)
        return f"optaic run {flow.target} --recursive"
    if {cause.kind for cause in states[flow.id].causes} == {CauseKind.SOURCE_DELAYED}:
        return _wait_for(tx, [flow], None)
    return f"optaic run {flow.target}"


def _wait_for(tx: Transaction, late: Sequence[Flow], reader: Flow | None) -> str:
    """Say that the source of some flows must be waited for, until when, and how a reader may go on without it."""
    now = database_clock(tx)
    asked = [_wait(flow, now) for flow in late]
    names = " and ".join(flow.target for flow in late)
    if reader is None:
        return "; ".join(asked)
    # What has no version at all cannot be forced.
    has_all = all(
        item.upstream_version_id is not None
        for item in catalog.inputs_of(tx, [reader.id])
        if item.selector == "current"
    )
    force = f"optaic run {reader.target} --force, or " if has_all else ""
    return (
        f"{'; '.join(asked)}. To go on without: {force}on_delayed: run under freshness of {names} in optaic.yaml, "
        "then: optaic apply"
    )


def _wait(flow: Flow, now: dt.datetime) -> str:
    wanted = f"has data of {flow.expected_date}" if flow.expected_date else "has newer data"
    due_at = None
    with suppress(InvalidInputError):  # a calendar that does not know so far ahead: the rest is true without it
        due_at = next_deadline(flow.freshness_spec, flow.expected_date, now)
    due = "" if due_at is None else f" (its next data are due at {due_at:%Y-%m-%d %H:%M} UTC)"
    return f"wait until the source of {flow.target} {wanted}{due}, then: optaic run {flow.target}"
