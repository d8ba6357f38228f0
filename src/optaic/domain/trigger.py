"""Whether a trigger sets a flow off again for what its last run came to nothing for."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.status import RunStatus

OUTSIDE = frozenset(
    {
        ReasonCode.CODE_MISMATCH,
        ReasonCode.ENGINE_ERROR,
        ReasonCode.OVERTAKEN,
        ReasonCode.RELEASED,
        ReasonCode.SECRET_MISSING,
        ReasonCode.STORAGE_ERROR,
        ReasonCode.SUPERSEDED,
        ReasonCode.UPSTREAM_NOT_READY,
        ReasonCode.WORKER_LOST,
    }
)
"""Reasons that lie outside the flow: the same code on the same versions may well complete the next time."""

FIRST_WAIT = dt.timedelta(minutes=1)
"""Wait before the third run in a row for the same; the second comes at once, and each further wait is the double."""

LONGEST_WAIT = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The run that a trigger last set off, as it compares with what the trigger would set off now.

    Attributes
    ----------
    id
        The run.
    status
        Where it is.
    reason
        Why it failed or was cancelled; None for others.
    ended_at
        When it ended (UTC, the database's clock); None before.
    is_same
        Whether it was set off by the same versions, with the code and the config that the flow has now.
    tries
        How many runs were set off for the same before it, and ended for reasons outside the flow.
    """

    id: uuid.UUID
    status: RunStatus
    reason: Reason | None
    ended_at: dt.datetime | None
    is_same: bool
    tries: int

    @property
    def is_outside(self) -> bool:
        """Whether it came to nothing for a reason outside the flow; what a person cancelled did not."""
        return self.reason is not None and self.reason.code in OUTSIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a trigger waits although all that its flow reads is ready, and some of it new.

    Attributes
    ----------
    run_id
        The run that came to nothing.
    status
        `failed` or `cancelled`.
    reason
        Why.
    until
        When the trigger tries the same again by itself (UTC); None if only something new sets it off: a version of an
        upstream, or an `apply` of other code or config.
    """

    run_id: uuid.UUID
    status: RunStatus
    reason: Reason
    until: dt.datetime | None

    def is_over(self, now: dt.datetime) -> bool:
        """Whether the wait has ended by an instant of the database's clock."""
        return self.until is not None and self.until <= now


def hold_of(last: LastRun | None) -> Hold | None:
    """Say whether a trigger has to wait because of the run that it last set off.

    A run that completed has consumed what it read, and is compared by its versions, not here. One that failed or was
    cancelled holds the trigger for the same versions, code and config: the same would only come to the same. For a
    reason outside the flow it is tried again, the first time at once, then after a growing wait.

    Parameters
    ----------
    last
        That run; None if the trigger has never set anything off.

    Returns
    -------
    Hold or None
        None if nothing has to be waited for.
    """
    if last is None or not last.is_same or last.reason is None or last.ended_at is None:
        return None
    until = last.ended_at + _wait(last.tries) if last.is_outside else None
    return Hold(run_id=last.id, status=last.status, reason=last.reason, until=until)


def _wait(tries: int) -> dt.timedelta:
    """Give the wait after a run for the same that so many went before."""
    if tries == 0:
        return dt.timedelta(0)
    return min(FIRST_WAIT * 2 ** min(tries - 1, 30), LONGEST_WAIT)
