"""The gate: a run may read only what is ready, unless it is forced."""

from __future__ import annotations

from optaic.domain.freshness import Cause, FlowState
from optaic.domain.kind import FlowKind
from optaic.errors import UpstreamNotReadyError
from optaic.ledger import catalog, freshness
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Transaction


def check(tx: Transaction, flow: Flow, *, is_forced: bool) -> None:
    """Refuse a run whose upstreams are not ready as far as it reads them: a constant number of statements.

    Raises
    ------
    UpstreamNotReadyError
        Naming each upstream that blocks, with its causes. What has no version at all cannot be forced.
    """
    missing = sorted(
        {
            item.upstream_instance
            for item in catalog.inputs_of(tx, [flow.id])
            if item.selector == "current" and item.upstream_version_id is None
        }
    )
    # A monitor looks at what there is: that it is old is what it may have to tell.
    found = [] if is_forced or flow.kind is FlowKind.MONITOR else freshness.blockers(tx, flow.id)
    if missing and not found:  # an upstream may be ready and have completed without ever having had a row
        raise UpstreamNotReadyError(
            f"{flow.target} reads {', '.join(missing)}, which {'has' if len(missing) == 1 else 'have'} no version yet",
            next_step=" && ".join(f"optaic run {name}" for name in missing),
        )
    if found:
        raise UpstreamNotReadyError(
            f"{flow.target} cannot run: {sentence(found)}",
            next_step=f"optaic run {flow.target} --recursive",
            target=flow.target,
            blockers=list({cause.upstream_id: _to_json(cause, state) for cause, state in found}.values()),
        )


def sentence(found: list[tuple[Cause, FlowState]]) -> str:
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
