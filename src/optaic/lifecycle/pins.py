"""Pins: which version of each upstream a run reads, decided once, when its first attempt starts."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import insert, select, update

from optaic.domain.fingerprint import fingerprint
from optaic.domain.kind import BY_FLOW_KIND, OutputKind
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.run import Run
from optaic.domain.sharing import Read
from optaic.errors import UpstreamNotReadyError
from optaic.ledger import catalog, runs, steps
from optaic.ledger.catalog import Flow, FlowInput
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import instance_revisions, run_inputs, version_stages
from optaic.ledger.tables import runs as runs_table
from optaic.ledger.tables import versions as versions_table
from optaic.lifecycle import gate
from optaic.lifecycle.choice import find_unmet


def pin(tx: Transaction, run: Run, flow: Flow, *, code_digest: str | None, config_digest: str | None) -> Reason | None:
    """Pin the run's inputs and its fingerprint, in the transaction that starts its first attempt.

    A run of a plan reads the plan's snapshot, and what the plan's own steps have made of it since. Every other run
    reads what is current, and the gate is checked again.

    Returns
    -------
    Reason or None
        Why the run cannot start: an input has nothing to pin, or is not ready any more. None if it can.
    """
    planned: Mapping[Read, uuid.UUID] = {}
    if run.plan_step_id is not None:
        planned = steps.pins_of(tx, run.plan_step_id)
    else:
        try:
            gate.check(tx, flow, is_forced=run.is_forced)
        except UpstreamNotReadyError as error:
            step = f"{error.next_step}; then: optaic retry {run.id}"
            return Reason(code=ReasonCode.UPSTREAM_NOT_READY, message=error.message, next_step=step)
    pins: list[tuple[FlowInput, uuid.UUID]] = []
    for item in catalog.inputs_of(tx, [flow.id]):
        # An input that was declared after the plan was made is not in its snapshot.
        version_id = planned.get((item.upstream_flow_id, item.selector_text)) or pinned_version(tx, item)
        if version_id is None:
            return _nothing_to_pin(tx, run, flow, item)
        pins.append((item, version_id))
    insert_pins(tx, run.id, pins, run.as_of)
    computed = fingerprint(
        code_digest=code_digest,
        config_digest=config_digest,
        params=run.params,
        seed=run.seed,
        inputs={item.role: version_id for item, version_id in pins},
        as_of=run.as_of,
    )
    store_fingerprint(tx, run.id, computed)
    return None


def _nothing_to_pin(tx: Transaction, run: Run, flow: Flow, item: FlowInput) -> Reason:
    steps, why = [f"optaic run {item.upstream_instance}"], "there is none"
    for unmet in find_unmet(tx, [item]):
        steps, why = list(unmet.next_steps), unmet.message
    return Reason(
        code=ReasonCode.UPSTREAM_NOT_READY,
        message=f"{flow.target} reads {item.selector_text} of {item.upstream_instance}: {why}",
        next_step=", then: ".join([*steps, f"optaic retry {run.id}"]),
    )


def store_fingerprint(tx: Transaction, run_id: uuid.UUID, value: str) -> None:
    """Write the fingerprint of a run, which belongs to what it has pinned."""
    tx.conn.execute(
        update(runs_table)
        .where(runs_table.c.tenant_id == tx.tenant_id, runs_table.c.id == run_id)
        .values(fingerprint=value)
    )


def pinned_version(tx: Transaction, item: FlowInput) -> uuid.UUID | None:
    """Resolve the selector of an edge to a version, now; None if there is none."""
    match item.selector:
        case "version":
            query = select(versions_table.c.id).where(
                versions_table.c.tenant_id == tx.tenant_id,
                versions_table.c.flow_id == item.upstream_flow_id,
                versions_table.c.number == item.selector_version,
            )
            return tx.conn.execute(query).scalar_one_or_none()
        case "stage":
            query = select(version_stages.c.version_id).where(
                version_stages.c.tenant_id == tx.tenant_id,
                version_stages.c.flow_id == item.upstream_flow_id,
                version_stages.c.stage == item.selector_stage,
                version_stages.c.ended_at.is_(None),
            )
            return tx.conn.execute(query.order_by(version_stages.c.set_at.desc()).limit(1)).scalar_one_or_none()
        case _:
            return item.upstream_version_id


def insert_pins(
    tx: Transaction, run_id: uuid.UUID, pins: Sequence[tuple[FlowInput, uuid.UUID]], as_of: dt.datetime | None
) -> None:
    """Record which versions a run reads."""
    if not pins:
        return
    tx.conn.execute(
        insert(run_inputs).values(pinned_at=db_now()),
        [
            {
                "tenant_id": tx.tenant_id,
                "run_id": run_id,
                "role": item.role,
                "upstream_flow_id": item.upstream_flow_id,
                "version_id": version_id,
                "selector": item.selector_text,
                "columns": list(item.columns) or None,
                "as_of": as_of,
            }
            for item, version_id in pins
        ],
    )


def is_remade(tx: Transaction, run: Run, before_id: uuid.UUID | None) -> bool:
    """Whether code or config of a run differ from those of the run that made the version which it is compared with.

    Parameters
    ----------
    tx
        A transaction.
    run
        Its revision and its code count: what somebody asked for, and how an earlier run was refreshed, say nothing.
    before_id
        That other run; None if there is none, or no version.

    Returns
    -------
    bool
        Always False for runs whose output is no dataset: they are compared with nothing.
    """
    if BY_FLOW_KIND[run.flow_kind].output is not OutputKind.DATASET or before_id is None:
        return False
    before = runs.get(tx, before_id)
    query = select(instance_revisions.c.config_digest).where(
        instance_revisions.c.tenant_id == tx.tenant_id,
        instance_revisions.c.id.in_([before.revision_id, run.revision_id]),
    )
    is_same = len(set(tx.conn.execute(query).scalars())) == 1
    return not is_same or before.definition_version_id != run.definition_version_id
