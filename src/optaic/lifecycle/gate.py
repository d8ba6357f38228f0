"""The gate: a run may read only what is ready, unless it is forced."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from optaic.domain.freshness import Cause, FlowState
from optaic.domain.kind import FlowKind
from optaic.errors import UpstreamNotReadyError
from optaic.ledger import catalog, freshness, lineage, selected
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Transaction
from optaic.lifecycle import remedy


def check(tx: Transaction, flow: Flow, *, is_forced: bool) -> None:
    """Refuse a run whose upstreams are not ready as far as it reads them: a constant number of statements.

    Raises
    ------
    UpstreamNotReadyError
        Naming each upstream that blocks, with its causes. What has no version at all, or not the one that is selected,
        cannot be forced.
    """
    read = catalog.inputs_of(tx, [flow.id])
    missing = sorted(
        {item.upstream_instance for item in read if item.selector == "current" and item.upstream_version_id is None}
    )
    # A monitor looks at what there is: that it is old is what it may have to tell.
    found = [] if is_forced or flow.kind is FlowKind.MONITOR else freshness.blockers(tx, flow.id)
    if any(item.selector == "version" for item in read) and (lacking := selected.lacking(tx, [flow.id]).get(flow.id)):
        blocking = [(cause.upstream_id, cause.upstream, cause) for cause in lacking]
        told = "; ".join(cause.detail for cause in lacking)
        raise refusal(tx, flow.target, blocking, told=f"{flow.target} cannot run: {told}")
    if missing and not found:  # an upstream may be ready and have completed without ever having had a row
        raise UpstreamNotReadyError(
            f"{flow.target} reads {', '.join(missing)}, which {'has' if len(missing) == 1 else 'have'} no version yet",
            next_step=" && ".join(f"optaic run {name}" for name in missing),
        )
    if found:
        states = freshness.states(tx, lineage.unready_upstreams(tx, flow.id))
        raise UpstreamNotReadyError(
            f"{flow.target} cannot run: {sentence(found)}",
            next_step=remedy.next_step(tx, flow, states) or f"optaic run {flow.target} --recursive",
            target=flow.target,
            blockers=list({cause.upstream_id: _to_json(cause, state) for cause, state in found}.values()),
        )


def refusal(
    tx: Transaction, target: str, blocking: Sequence[tuple[uuid.UUID | None, str | None, Cause]], *, told: str
) -> UpstreamNotReadyError:
    """Give the error of what cannot run because versions that are selected are not there.

    Each blocking flow has its id, how people name it, and the cause.
    """
    present = freshness.states(tx, {flow_id for flow_id, _, _ in blocking if flow_id is not None})
    return UpstreamNotReadyError(
        told,
        next_step=blocking[0][2].next_step,
        target=target,
        blockers=[
            {"target": name, "freshness": present[flow_id].freshness, "causes": [cause.to_json()]}
            for flow_id, name, cause in blocking
            if flow_id is not None and flow_id in present
        ],
    )


def sentence(found: Sequence[tuple[Cause, FlowState]]) -> str:
    """Say which upstreams block, and why, in one sentence: each once, in however many roles it is read."""
    told = (
        f"{cause.detail} ({', '.join(dict.fromkeys(why.detail for why in state.causes))})"
        if state.causes
        else cause.detail
        for cause, state in found
    )
    return "; ".join(dict.fromkeys(told))


def _to_json(cause: Cause, state: FlowState) -> dict[str, object]:
    return {
        "target": cause.upstream,
        "freshness": state.freshness,
        "causes": [why.to_json() for why in state.causes],
    }
