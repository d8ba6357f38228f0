"""The way of reports out of a running flow: buffered in memory, sent in batches by a thread of its own.

The thread starts when the first batch is due, so a flow that is done before then does without. A call costs about a
microsecond: it appends a tuple. Everything that could wait or fail happens in the thread, or on the slow path that a
full buffer, a failed sink and the end of the run share (`_limit`, one comparison a call, stands for all three).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from time import time
from typing import Any

from optaic.errors import InvalidInputError
from optaic.flows.alarm import Alarm
from optaic.flows.report import Batch, LineRow, PointRow, ProgressRow

Sink = Callable[[Batch], None]
"""Where batches go. When it blocks for long the flow has to wait too; what it raises is raised in the flow."""

FLUSH_SECONDS = 0.2
"""How often a batch is sent."""

MAX_POINTS = 50_000
"""Metric points in the buffer; a flow that logs faster than they are sent has to wait: none is ever dropped."""

MAX_LINES = 20_000
"""Log lines in the buffer; those beyond are dropped, and counted."""

MAX_LINE_CHARS = 1 << 16
"""A longer log line is cut."""

_MAX_BUFFER_CHARS = 1 << 23  # with every character escaped, a batch of so many stays below the longest message

_live: weakref.WeakSet[Reporter]


class Reporter:
    """Collects what a flow reports, and sends it in batches.

    Parameters
    ----------
    sink
        Where batches go.
    flush_seconds
        How often.
    mask
        Replaces secrets in a text that has to be cut: what a cut leaves of a secret could not be found later.
    """

    def __init__(
        self, sink: Sink, *, flush_seconds: float = FLUSH_SECONDS, mask: Callable[[str], str] | None = None
    ) -> None:
        self._sink = sink
        self._mask = mask
        self._seconds = flush_seconds
        self._points: list[PointRow] = []
        self._lines: list[LineRow] = []
        self._progress: ProgressRow | None = None
        self._chars = 0
        self._dropped = 0
        self._limit = 0
        self._line_limit = 0
        self._failure: BaseException | None = None
        self._is_closed = False
        self._owner = os.getpid()
        self._alarm: Alarm | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._room = threading.Condition()
        self._sending = threading.Lock()
        _live.add(self)

    def add_point(self, key: str, value: float, step: int | None) -> None:
        """Add one metric point; its fields are valid.

        Raises
        ------
        InvalidInputError
            If the run has ended, or this is a process that the flow has forked.
        """
        points = self._points
        if len(points) >= self._limit:
            self._make_room()
        points.append((key, value, step, time()))

    def set_progress(self, pct: float, note: str | None) -> None:
        """Replace the progress.

        Raises
        ------
        InvalidInputError
            If the run has ended, or this is a process that the flow has forked.
        """
        if self._limit <= 0:
            self._make_room()
        self._progress = (pct, note, time())

    def add_line(self, level: str, text: str, stream: str = "log") -> None:
        """Add one log line; when the buffer is full, or the run has ended, it is dropped."""
        lines = self._lines
        if (len(lines) >= self._line_limit or self._chars > _MAX_BUFFER_CHARS) and not self._admit_line(text):
            return
        if len(text) > MAX_LINE_CHARS:
            text = (text if self._mask is None else self._mask(text))[:MAX_LINE_CHARS] + " [cut]"
        self._chars += len(text)
        lines.append((time(), level, text, stream))

    def flush(self) -> None:
        """Send what is in the buffer now, in this thread.

        Raises
        ------
        Exception
            What the sink has raised, now or in an earlier batch.
        """
        if self._owner == os.getpid():
            self._send()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Send the rest, and end the thread. Reports that come later are refused.

        Raises
        ------
        Exception
            What the sink has raised, now or in an earlier batch.
        """
        self._is_closed = True
        self._limit = self._line_limit = -1
        self._wake.set()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self.flush()

    def _make_room(self) -> None:
        """Set the alarm at the first report; later, wait until a full buffer was sent."""
        self._check_open()
        alarm = self._alarm or self._begin()
        while len(self._points) >= MAX_POINTS and self._failure is None:
            alarm.ring()
            self._wake.set()
            with self._room:
                self._room.wait(0.1)
        self._check_open()

    def _check_open(self) -> None:
        if self._owner != os.getpid():
            raise InvalidInputError(
                "a process that the flow has started cannot report for the run",
                next_step="return the values to the flow's own process and report them there",
            )
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            raise InvalidInputError("the run has ended, so nothing more can be reported for it")

    def _admit_line(self, text: str) -> bool:
        if self._owner != os.getpid():  # a forked process: its lines reach the log as output
            sys.stderr.write(text + "\n")
            return False
        if self._is_closed or self._failure is not None:
            return False
        if self._alarm is None:
            self._begin()
            return True
        with self._room:
            self._dropped += 1
        self._alarm.ring()
        self._wake.set()
        return False

    def _begin(self) -> Alarm:
        with self._room:
            if self._alarm is None:
                self._alarm = Alarm(self._seconds, self._start)
                self._limit, self._line_limit = MAX_POINTS, MAX_LINES
            return self._alarm

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="optaic-reports", daemon=True)
        thread.start()
        self._thread = thread

    def _run(self) -> None:
        while not self._is_closed and self._failure is None:
            self._send()
            self._wake.wait(self._seconds)
            self._wake.clear()

    def _send(self) -> None:
        with self._sending:
            batch = self._take()
            if batch and self._failure is None:
                try:
                    self._sink(batch)
                except BaseException as error:  # noqa: BLE001 - it is raised in the flow, at its next report
                    self._failure = error
                    self._limit = self._line_limit = -1
            with self._room:
                self._room.notify_all()

    def _take(self) -> Batch:
        # A slice and a deletion are each one step for the interpreter; what is appended between them stays.
        count = len(self._points)
        points = self._points[:count]
        del self._points[:count]
        count = len(self._lines)
        lines = self._lines[:count]
        del self._lines[:count]
        self._chars = 0
        with self._room:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            text = f"{dropped} log lines were dropped here: the run writes them faster than they can be stored"
            lines.append((time(), "WARNING", text, "system"))
        progress, self._progress = self._progress, None
        return Batch(progress=progress, points=points, lines=lines)

    def forget(self) -> None:
        """Drop what is buffered, in a forked process: nothing is sent from there."""
        self._limit = self._line_limit = -1
        self._points, self._lines = [], []


def _forget_all() -> None:
    for reporter in list(_live):
        reporter.forget()


_live = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_all)


class RunLogger(logging.Logger):
    """A logger whose records become log lines of the run; handlers that the flow adds get them too.

    Parameters
    ----------
    name
        Its name.
    reporter
        Where the lines go.
    """

    def __init__(self, name: str, reporter: Reporter) -> None:
        super().__init__(name, logging.INFO)
        self.propagate = False
        self._reporter = reporter

    def _log(  # noqa: PLR0917 - as logging has it
        self,
        level: int,
        msg: object,
        args: Any,
        exc_info: Any = None,
        extra: Mapping[str, object] | None = None,
        stack_info: bool = False,  # noqa: FBT001, FBT002 - as logging has it
        stacklevel: int = 1,
    ) -> None:
        # A record costs 5 microseconds and is needed only by handlers, filters and tracebacks.
        if exc_info or stack_info or extra or self.handlers or self.filters:
            super()._log(level, msg, args, exc_info, extra, stack_info, stacklevel + 1)
            return
        text = msg if type(msg) is str else str(msg)
        if args:
            try:
                text %= args
            except (TypeError, ValueError, KeyError):
                text = _formatted(text, args)
        self._reporter.add_line(_LEVELS.get(level) or _level_name(level), text)

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging gives it
        """Take a record as the run's log line, then give it to handlers that the flow has added."""
        self._reporter.add_line(_level_name(record.levelno), _PLAIN.format(record))
        if self.handlers:
            super().callHandlers(record)


_PLAIN = logging.Formatter("%(message)s")
_LEVELS = {level: logging.getLevelName(level) for level in (10, 20, 30, 40, 50)}


def _level_name(level: int) -> str:
    return _LEVELS[min(max(level // 10 * 10, 10), 50)]


def _formatted(text: str, args: tuple[Any, ...]) -> str:
    try:
        return text % args[0]  # one mapping, for `%(name)s`
    except (TypeError, ValueError, KeyError):
        return f"{text} {args!r}"  # a line that cannot be formatted is no reason to fail
