"""Alarms: what is to begin in a while, and mostly is called off before.

Starting a thread costs as much as writing a small run. Whoever needs one only if work goes on for longer than a
moment sets an alarm instead: all alarms of a process share one thread, which waits for the earliest of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import monotonic

_RETRY_SECONDS = 1.0


class Alarm:
    """Calls a function once: after some time, or when it is rung, whichever comes first.

    Parameters
    ----------
    seconds
        After how long.
    action
        Short: others wait while it is called, typically it starts a thread. It may not wait for a lock that is held
        by whoever makes, rings or cancels an alarm.
    """

    def __init__(self, seconds: float, action: Callable[[], object]) -> None:
        self._action = action
        self.due_at = monotonic() + seconds
        _clock.add(self)

    def ring(self) -> None:
        """Call the function now, in this thread, unless it was called or called off before.

        Raises
        ------
        Exception
            What the function raises.
        """
        _clock.take(self, self._action)

    def cancel(self) -> None:
        """Call it off: afterwards the function either has returned already or is never called."""
        _clock.take(self, None)


class _Clock:
    """The alarms of this process, and the thread that waits for them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._set: set[Alarm] = set()
        self._wakes_at = float("inf")
        self._thread: threading.Thread | None = None

    def add(self, alarm: Alarm) -> None:
        with self._changed:
            self._set.add(alarm)
            if self._thread is None:
                thread = threading.Thread(target=self._wait, name="optaic-alarms", daemon=True)
                thread.start()
                self._thread = thread
            elif alarm.due_at < self._wakes_at:
                self._changed.notify()

    def take(self, alarm: Alarm, action: Callable[[], object] | None) -> None:
        with self._changed:
            if alarm in self._set:
                if action is not None:
                    action()
                self._set.remove(alarm)

    def _wait(self) -> None:
        with self._changed:
            while True:
                now = monotonic()
                for alarm in [one for one in self._set if one.due_at <= now]:
                    try:
                        alarm.ring()
                    except RuntimeError:  # no thread could be started now
                        alarm.due_at = now + _RETRY_SECONDS
                # Not woken by what is called off: it finds nothing to do then, and waits on.
                self._wakes_at = min((one.due_at for one in self._set), default=float("inf"))
                self._changed.wait(None if not self._set else max(self._wakes_at - now, 0.0))


_clock = _Clock()


def _forget_all() -> None:
    global _clock  # noqa: PLW0603 - a forked process has no threads of its parent's, and perhaps a lock that one held
    _clock = _Clock()


os.register_at_fork(after_in_child=_forget_all)
