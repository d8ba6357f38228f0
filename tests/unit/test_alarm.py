"""Alarms: called once, in time, not after they were called off, and without a thread for each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from optaic.flows.alarm import Alarm
from tests.processes import until


def test_each_calls_once_and_the_earliest_first_whatever_order_they_were_set_in() -> None:
    rung: list[str] = []
    late = Alarm(0.2, lambda: rung.append("late"))
    early = Alarm(0.05, lambda: rung.append("early"))
    until(lambda: len(rung) == 2)
    assert rung == ["early", "late"]
    late.ring()
    early.cancel()
    time.sleep(0.1)
    assert rung == ["early", "late"]


def test_what_is_called_off_is_never_called() -> None:
    rung: list[str] = []
    off = Alarm(0.05, lambda: rung.append("off"))
    off.cancel()
    off.ring()
    Alarm(0.1, lambda: rung.append("on"))
    until(lambda: bool(rung))
    assert rung == ["on"]


def test_what_is_rung_before_its_time_is_called_here_and_not_again() -> None:
    threads: list[threading.Thread] = []
    alarm = Alarm(0.05, lambda: threads.append(threading.current_thread()))
    alarm.ring()
    assert threads == [threading.current_thread()]
    time.sleep(0.15)
    assert len(threads) == 1


def test_after_a_cancel_the_call_is_over() -> None:
    begun, is_over = threading.Event(), False

    def slow() -> None:
        nonlocal is_over
        begun.set()
        time.sleep(0.1)
        is_over = True

    alarm = Alarm(0.0, slow)
    assert begun.wait(10.0)
    alarm.cancel()
    assert is_over


def test_a_thousand_of_them_share_one_thread() -> None:
    Alarm(60.0, int).cancel()  # makes the thread, unless an earlier test has
    before = threading.active_count()
    alarms = [Alarm(60.0, int) for _ in range(1000)]
    assert threading.active_count() == before
    for alarm in alarms:
        alarm.cancel()


def test_where_no_thread_can_be_started_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    def start() -> None:
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr("optaic.flows.alarm._RETRY_SECONDS", 0.05)
    Alarm(0.0, start)
    until(lambda: len(calls) == 2)
    assert calls[1] - calls[0] >= 0.05


def test_a_forked_process_has_none_of_its_parents_alarms_and_may_set_its_own() -> None:
    def in_child(check: Callable[[], bool]) -> int:
        pid = os.fork()
        if pid == 0:  # pragma: no cover - in the child
            os._exit(0 if check() else 1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    rung = threading.Event()
    parents = Alarm(0.2, rung.set)

    def check() -> bool:
        own = threading.Event()
        Alarm(0.3, own.set)
        return own.wait(10.0) and not rung.is_set()

    assert in_child(check) == 0
    assert rung.wait(10.0)
    parents.cancel()
