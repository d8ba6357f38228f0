"""A run, and one named function for each change of its status."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optaic.domain.kind import BY_RUN_TYPE, FlowKind, RunType
from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.retry import RetryPolicy
from optaic.domain.status import TRANSITIONS, RunStatus, Standing
from optaic.errors import IllegalTransitionError, LeaseLostError


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One dynamic execution of a flow, as the ledger holds it.

    Times are aware and UTC, by the database's clock. `attempt` is the number of the last attempt, 0 before the first.
    `lease_expires_at` is that of the open attempt, None when there is none; `ledger_now` is the database's clock when
    the run was read, so that a reader can see a lost lease without writing. `triggered_by` says what set the run off,
    as JSON: the versions of upstreams, or the plan; None for what somebody asked for.
    """

    id: uuid.UUID
    type: RunType
    flow_id: uuid.UUID
    flow_kind: FlowKind
    instance_id: uuid.UUID
    instance: str
    revision_id: uuid.UUID
    definition_version_id: uuid.UUID | None
    source_digest: str | None
    standing: Standing
    status: RunStatus
    reason: Reason | None
    mode: str | None
    priority: int
    timeout_seconds: float | None
    retry_policy: RetryPolicy
    trigger: str
    plan_step_id: uuid.UUID | None
    retry_of_id: uuid.UUID | None
    params: Mapping[str, Any]
    seed: int
    as_of: dt.datetime | None
    fingerprint: str | None
    is_forced: bool
    engine: str
    submitted_at: dt.datetime
    submitted_by: uuid.UUID
    available_at: dt.datetime
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    attempt: int
    cancel_requested_at: dt.datetime | None
    progress_pct: float | None
    progress_note: str | None
    metrics: Mapping[str, Any]
    lease_expires_at: dt.datetime | None
    worker: str | None
    ledger_now: dt.datetime
    reproduces_id: uuid.UUID | None = None
    triggered_by: Mapping[str, Any] | None = None

    @property
    def slug(self) -> str:
        """The snake-case name of its type: what its activities start with."""
        return BY_RUN_TYPE[self.type].slug

    @property
    def is_lost(self) -> bool:
        """Whether it is running in name only: its lease had expired when it was read."""
        return self.lease_expires_at is not None and self.lease_expires_at < self.ledger_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of a run's status, decided but not yet written.

    Attributes
    ----------
    verb
        Past tense; the activity is `<slug>.<verb>`.
    source, target
        The statuses before and after; the write compares the first.
    fence
        The attempt number that the run must have; the write compares it.
    outcome
        How the open attempt ends; None when none is open.
    reason
        Why; required for `failed`, `cancelled` and `pending`.
    wait
        Time until the run may be claimed again, for `pending`.
    only_if_lost
        Write only if the lease has expired at the moment of the write itself.
    """

    verb: str
    source: RunStatus
    target: RunStatus
    fence: int
    outcome: AttemptOutcome | None = None
    reason: Reason | None = None
    wait: dt.timedelta = dt.timedelta(0)
    only_if_lost: bool = False


def _check(run: Run, source: RunStatus, target: RunStatus, attempt: int | None = None) -> None:
    if attempt is not None and (run.status is not RunStatus.RUNNING or run.attempt != attempt):
        raise LeaseLostError(run.id, attempt, f"the run is {run.status}, at attempt {run.attempt}")
    if run.status is not source or target not in TRANSITIONS[source]:
        raise IllegalTransitionError(run.id, run.status, target)


def start(run: Run) -> Transition:
    """Open the next attempt of a pending run.

    Raises
    ------
    IllegalTransitionError
        If the run is not pending.
    """
    _check(run, RunStatus.PENDING, RunStatus.RUNNING)
    return Transition(verb="started", source=RunStatus.PENDING, target=RunStatus.RUNNING, fence=run.attempt)


def complete(run: Run, attempt: int) -> Transition:
    """End a run whose attempt did its work.

    Raises
    ------
    LeaseLostError
        If the attempt does not hold the run.
    """
    _check(run, RunStatus.RUNNING, RunStatus.COMPLETED, attempt)
    return Transition(
        verb="completed",
        source=RunStatus.RUNNING,
        target=RunStatus.COMPLETED,
        fence=attempt,
        outcome=AttemptOutcome.COMPLETED,
    )


def fail(
    run: Run,
    attempt: int,
    reason: Reason,
    *,
    outcome: AttemptOutcome = AttemptOutcome.FAILED,
    only_if_lost: bool = False,
) -> Transition:
    """End a running run without its outputs.

    Raises
    ------
    LeaseLostError
        If the attempt does not hold the run.
    """
    _check(run, RunStatus.RUNNING, RunStatus.FAILED, attempt)
    return Transition(
        verb="failed",
        source=RunStatus.RUNNING,
        target=RunStatus.FAILED,
        fence=attempt,
        outcome=outcome,
        reason=reason,
        only_if_lost=only_if_lost,
    )


def stop(
    run: Run,
    attempt: int,
    reason: Reason,
    *,
    outcome: AttemptOutcome = AttemptOutcome.CANCELLED,
    only_if_lost: bool = False,
) -> Transition:
    """End a running run that was asked to stop, now that its attempt has ended.

    Raises
    ------
    LeaseLostError
        If the attempt does not hold the run.
    """
    _check(run, RunStatus.RUNNING, RunStatus.CANCELLED, attempt)
    return Transition(
        verb="cancelled",
        source=RunStatus.RUNNING,
        target=RunStatus.CANCELLED,
        fence=attempt,
        outcome=outcome,
        reason=reason,
        only_if_lost=only_if_lost,
    )


def give_back(
    run: Run, attempt: int, reason: Reason, *, outcome: AttemptOutcome, wait: dt.timedelta, only_if_lost: bool = False
) -> Transition:
    """Return a running run to `pending`, to be tried again after a wait.

    Raises
    ------
    LeaseLostError
        If the attempt does not hold the run.
    """
    _check(run, RunStatus.RUNNING, RunStatus.PENDING, attempt)
    return Transition(
        verb="retried",
        source=RunStatus.RUNNING,
        target=RunStatus.PENDING,
        fence=attempt,
        outcome=outcome,
        reason=reason,
        wait=wait,
        only_if_lost=only_if_lost,
    )


def cancel_pending(run: Run, reason: Reason) -> Transition:
    """End a run that no attempt holds.

    Raises
    ------
    IllegalTransitionError
        If the run is not pending.
    """
    _check(run, RunStatus.PENDING, RunStatus.CANCELLED)
    return Transition(
        verb="cancelled", source=RunStatus.PENDING, target=RunStatus.CANCELLED, fence=run.attempt, reason=reason
    )


def refuse(run: Run, reason: Reason) -> Transition:
    """Fail a pending run that cannot be started.

    Raises
    ------
    IllegalTransitionError
        If the run is not pending.
    """
    _check(run, RunStatus.PENDING, RunStatus.FAILED)
    return Transition(
        verb="failed", source=RunStatus.PENDING, target=RunStatus.FAILED, fence=run.attempt, reason=reason
    )


def end_attempt(
    run: Run,
    attempt: int,
    reason: Reason,
    *,
    outcome: AttemptOutcome,
    is_repeatable: bool,
    counted_attempts: int,
    only_if_lost: bool = False,
) -> Transition:
    """Decide what follows an attempt that ended without a completion.

    A noted cancel wins; work that was released comes back at once; what may be repeated, and has attempts left, waits;
    everything else has failed.

    Parameters
    ----------
    run
        The run that the attempt holds.
    attempt
        The attempt that ended.
    reason
        Why it ended.
    outcome
        How it ended.
    is_repeatable
        Whether trying again may help.
    counted_attempts
        Attempts so far that count against the policy, this one included.
    only_if_lost
        Write only if the lease has expired at the moment of the write itself.

    Raises
    ------
    LeaseLostError
        If the attempt does not hold the run.
    """
    if run.cancel_requested_at is not None:
        cancelled = Reason(
            code=ReasonCode.CANCELLED,
            message=f"cancelled on request ({reason.message})"
            if outcome is AttemptOutcome.LOST
            else "cancelled on request",
            next_step=f"to run it again: optaic retry {run.id}",
        )
        kept = outcome if outcome is AttemptOutcome.LOST else AttemptOutcome.CANCELLED
        return stop(run, attempt, cancelled, outcome=kept, only_if_lost=only_if_lost)
    if outcome is AttemptOutcome.RELEASED:
        return give_back(run, attempt, reason, outcome=outcome, wait=dt.timedelta(0))
    if is_repeatable and run.engine != "inline" and run.retry_policy.allows(counted_attempts):
        wait = run.retry_policy.wait(max(counted_attempts, 1), f"{run.id}:{attempt}")
        return give_back(run, attempt, reason, outcome=outcome, wait=wait, only_if_lost=only_if_lost)
    return fail(run, attempt, reason, outcome=outcome, only_if_lost=only_if_lost)
