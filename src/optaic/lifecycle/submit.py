"""Submit: validate, gate, and record a run, in one transaction, before any engine hears of it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from optaic.domain.fingerprint import digest_of
from optaic.domain.identifier import new_id
from optaic.domain.kind import FlowKind
from optaic.domain.parameters import check_params
from optaic.domain.retry import RetryPolicy
from optaic.domain.run import Run
from optaic.domain.standing import standing_of
from optaic.domain.status import Standing
from optaic.domain.suggestion import did_you_mean
from optaic.domain.text import check_text
from optaic.errors import CodeChangedError, IdempotencyMismatchError, InvalidInputError
from optaic.ledger import catalog, runs
from optaic.ledger.catalog import Flow
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction
from optaic.ledger.tables import submissions
from optaic.ledger.targets import find_target
from optaic.lifecycle import gate
from optaic.project.checks import SIMULATOR, check_effect, check_expression, check_options

MODES = ("full", "incremental")
MAX_KEY_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request to run a flow.

    Attributes
    ----------
    target
        `instance` or `instance.flow_kind`.
    params
        Parameters that differ from the flow's own; any difference makes the run a trial.
    seed
        None for the flow's own.
    as_of
        Read inputs as they were known at this instant (UTC); makes the run a trial.
    mode
        `full` or `incremental`, of a dataset; None to let the refresh decide.
    is_forced
        Go ahead in spite of upstream freshness; recorded. What has no version at all cannot be forced.
    idempotency_key
        The same key gives the same run.
    priority
        Higher is claimed first.
    timeout_seconds
        None for the flow's own.
    trigger
        What set the run off.
    retry_of_id
        The ended run that this one repeats.
    code_digest
        Digest of the code in the caller's project now; compared with what was applied. None where the caller has no
        project at hand.
    """

    target: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seed: int | None = None
    as_of: dt.datetime | None = None
    mode: str | None = None
    is_forced: bool = False
    idempotency_key: str | None = None
    priority: int = 0
    timeout_seconds: float | None = None
    trigger: str = "manual"
    retry_of_id: uuid.UUID | None = None
    code_digest: str | None = None


def submit(database: Database, submission: Submission) -> Run:
    """Record a run of a flow, `pending`.

    Returns
    -------
    Run
        The new run, or the one that the same idempotency key made before.

    Raises
    ------
    NotFoundError
        If there is no such instance or flow.
    InvalidInputError
        If a parameter, the mode, the seed or the key is wrong.
    UpstreamNotReadyError
        If an upstream has no version that could be read.
    IdempotencyMismatchError
        If the key was used for another request.
    CodeChangedError
        If the caller's code is not the code that was applied.
    """
    _check_words(submission)
    digest = None if submission.idempotency_key is None else request_digest(submission)
    try:
        with database.write(correlation_id=new_id()) as tx:
            return _submit(tx, submission, digest)
    except IntegrityError:
        if submission.idempotency_key is None:
            raise
        # Another submission with this key committed between our look and our insert: it is there now.
        with database.write(correlation_id=new_id()) as tx:
            return _submit(tx, submission, digest)


def submitted_before(database: Database, submission: Submission) -> Run | None:
    """Read the run that the same request with the same idempotency key made before; None if there is none.

    Raises
    ------
    IdempotencyMismatchError
        If the key was used for another request.
    InvalidInputError
        If a parameter has no JSON form, or the key or the target cannot be one.
    """
    if submission.idempotency_key is None:
        return None
    _check_words(submission)
    digest = request_digest(submission)
    with database.read() as tx:
        return earlier_run(tx, submission.idempotency_key, digest)


def _submit(tx: Transaction, submission: Submission, digest: str | None) -> Run:
    # First of all: a repeated request gives its run also when the project has changed since.
    if submission.idempotency_key is not None and digest is not None:
        earlier = earlier_run(tx, submission.idempotency_key, digest)
        if earlier is not None:
            return earlier
    _check(submission)
    flow = find_target(tx, submission.target).flow
    if flow.engine == "inline":
        raise InvalidInputError(
            f"{flow.instance} is a tracked experiment: its code is a program of yours, and nothing here can run it",
            next_step=f"run that program again; what it did: optaic show {flow.instance}@latest",
        )
    if submission.mode is not None and flow.kind is not FlowKind.REFRESH:
        raise InvalidInputError(f"{flow.target} is not a dataset, so it has no mode", next_step="leave --mode out")
    own: Mapping[str, Any] = flow.config.get("params", {})
    params = check_params(flow.params_schema or {}, {**own, **submission.params}, instance=flow.instance)
    if submission.params:
        _check_procedure(tx, flow, submission.params, params)
    own_seed = int(flow.policies.get("seed", 0))
    seed = own_seed if submission.seed is None else submission.seed
    standing = standing_of(
        params=params,
        own_params=check_params(flow.params_schema or {}, own, instance=flow.instance),
        seed=seed,
        own_seed=own_seed,
        as_of=submission.as_of,
        trigger=submission.trigger,
    )
    _check_code(flow, submission)
    gate.check(tx, flow, is_forced=submission.is_forced)
    timeout = submission.timeout_seconds or flow.policies.get("timeout_seconds")
    run = runs.insert_run(
        tx,
        flow,
        {
            "standing": standing,
            "mode": submission.mode,
            "priority": submission.priority,
            "timeout_seconds": timeout,
            "retry_policy": RetryPolicy.from_json(flow.policies.get("retry", {})).to_json(),
            "trigger": submission.trigger,
            "retry_of_id": submission.retry_of_id,
            "params": params,
            "seed": seed,
            "as_of": submission.as_of,
            "is_forced": int(submission.is_forced),
        },
    )
    if submission.idempotency_key is not None and digest is not None:
        remember(tx, submission.idempotency_key, digest, run.id)
    return run


def record_official(
    tx: Transaction,
    flow: Flow,
    *,
    trigger: str,
    triggered_by: Mapping[str, Any] | None = None,
    priority: int = 0,
) -> Run:
    """Record an official run of a flow as it is now; whoever calls has decided that it may run.

    Parameters
    ----------
    tx
        An open transaction.
    flow
        What runs, with its own config, params and seed.
    trigger
        What set it off: `upstream` or `schedule`.
    triggered_by
        Which versions or schedule, as JSON.
    priority
        Higher is claimed first.
    """
    return runs.insert_run(
        tx, flow, {**official_values(flow), "priority": priority, "trigger": trigger, "triggered_by": triggered_by}
    )


def official_values(flow: Flow) -> dict[str, Any]:
    """Give what an official run of a flow has of the flow: its params, seed, timeout and retry policy."""
    own: Mapping[str, Any] = flow.config.get("params", {})
    return {
        "standing": Standing.OFFICIAL,
        "timeout_seconds": flow.policies.get("timeout_seconds"),
        "retry_policy": RetryPolicy.from_json(flow.policies.get("retry", {})).to_json(),
        "params": check_params(flow.params_schema or {}, own, instance=flow.instance),
        "seed": int(flow.policies.get("seed", 0)),
    }


def _check_words(submission: Submission) -> None:
    """Check what the ledger is asked for with."""
    check_text(submission.target, "the target")
    key = submission.idempotency_key
    if key is not None and not 0 < len(check_text(key, "the idempotency key")) <= MAX_KEY_LENGTH:
        raise InvalidInputError(f"an idempotency key has 1 to {MAX_KEY_LENGTH} characters, not {len(key)}")


def _check(submission: Submission) -> None:
    if submission.mode is not None and submission.mode not in MODES:
        raise InvalidInputError(f"{submission.mode!r} is not a mode", next_step=f"use one of: {', '.join(MODES)}")
    if submission.seed is not None and not 0 <= submission.seed < 2**32:
        raise InvalidInputError(f"seed {submission.seed} is out of range", next_step="use a seed from 0 to 4294967295")
    if submission.timeout_seconds is not None and not submission.timeout_seconds > 0:
        raise InvalidInputError(f"a timeout of {submission.timeout_seconds} seconds is not positive")
    if not -(2**31) <= submission.priority < 2**31:
        raise InvalidInputError(f"priority {submission.priority} is out of range")


def _check_procedure(tx: Transaction, flow: Flow, given: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Refuse params that a procedure of the product cannot compute with; those of the instance were checked with it."""
    if (text := flow.config.get("expression")) is not None:
        own: Mapping[str, Any] = flow.config.get("params", {})
        for name in sorted(given.keys() - own.keys()):
            raise InvalidInputError(
                f"{flow.instance} has no param {name!r}{did_you_mean(name, own)}",
                next_step=f"its params: {', '.join(own) or 'none'}",
            )
        check_expression(text, params, [item.role for item in catalog.inputs_of(tx, [flow.id])])
    elif flow.code_ref == SIMULATOR:
        check_effect(given, [item.role for item in catalog.inputs_of(tx, [flow.id])])
        check_options(params)


def _check_code(flow: Flow, submission: Submission) -> None:
    if submission.code_digest is not None and submission.code_digest != flow.code_digest:
        raise CodeChangedError(
            f"the code of {flow.instance} ({flow.code_ref}) is not the code that was applied",
            next_step="apply the new code with: optaic apply",
        )


def request_digest(submission: Submission) -> str:
    """Digest a request as it was given: what two uses of one idempotency key must agree on.

    Nothing that the ledger or the project says goes into it, so that it is the same before and after an `apply`.

    Raises
    ------
    InvalidInputError
        If a parameter has no JSON form, or `as_of` no time zone.
    """
    timeout = submission.timeout_seconds
    return digest_of(
        {
            "target": submission.target,
            "params": submission.params,
            "seed": submission.seed,
            "as_of": submission.as_of,
            "mode": submission.mode,
            "forced": submission.is_forced,
            "retry_of": str(submission.retry_of_id) if submission.retry_of_id else None,
            "timeout_seconds": None if timeout is None else float(timeout),  # 5 and 5.0 are one timeout
            "priority": submission.priority,
        }
    )


def earlier_run(tx: Transaction, key: str, digest: str) -> Run | None:
    """Read the run that an idempotency key made before; None if it is new.

    Raises
    ------
    IdempotencyMismatchError
        If the key was used for another request.
    """
    row = tx.conn.execute(
        select(submissions).where(submissions.c.tenant_id == tx.tenant_id, submissions.c.key == key)
    ).one_or_none()
    if row is None:
        return None
    if row.request_digest != digest or row.run_id is None:
        raise IdempotencyMismatchError(key, row.run_id, plan_id=row.plan_id)
    return runs.get(tx, row.run_id)


def remember(tx: Transaction, key: str, digest: str, run_id: uuid.UUID) -> None:
    """Keep which run an idempotency key made."""
    tx.conn.execute(
        insert(submissions).values(
            tenant_id=tx.tenant_id, key=key, request_digest=digest, run_id=run_id, submitted_at=db_now()
        )
    )
