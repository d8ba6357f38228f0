"""What a trigger does again after its last run came to nothing, and when."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest

from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.status import RunStatus
from optaic.domain.trigger import Hold, LastRun, hold_of

AT = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)


def last(
    code: str | None, *, status: RunStatus = RunStatus.FAILED, is_same: bool = True, tries: int = 0
) -> Hold | None:
    reason = None if code is None else Reason(code=code, message="it came to nothing", next_step="look")
    return hold_of(
        LastRun(id=uuid.UUID(int=7), status=status, reason=reason, ended_at=AT, is_same=is_same, tries=tries)
    )


def test_nothing_holds_a_trigger_that_never_fired_or_whose_run_completed() -> None:
    assert hold_of(None) is None
    assert last(None, status=RunStatus.COMPLETED) is None


@pytest.mark.parametrize("code", [ReasonCode.FLOW_ERROR, ReasonCode.TIMED_OUT, ReasonCode.PROCESS_DIED, "my_own"])
def test_a_failure_of_the_flow_holds_until_something_is_new(code: str) -> None:
    hold = last(code)
    assert hold is not None
    assert (hold.run_id, hold.until) == (uuid.UUID(int=7), None)
    assert not hold.is_over(AT + dt.timedelta(days=365))
    assert last(code, is_same=False) is None


def test_what_a_person_cancelled_holds_until_something_is_new() -> None:
    hold = last(ReasonCode.CANCELLED, status=RunStatus.CANCELLED)
    assert hold is not None
    assert hold.until is None


@pytest.mark.parametrize(("tries", "minutes"), [(0, 0), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1000, 60)])
def test_a_reason_outside_the_flow_is_tried_again_after_a_growing_wait(tries: int, minutes: int) -> None:
    hold = last(ReasonCode.CODE_MISMATCH, tries=tries)
    assert hold is not None
    assert hold.until is not None
    assert hold.until == AT + dt.timedelta(minutes=minutes)
    assert hold.is_over(hold.until)
    assert not hold.is_over(hold.until - dt.timedelta(seconds=1))
