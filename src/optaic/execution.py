"""Executing and awaiting one run from the process that asked for it, beside whatever workers there are."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import Self

from optaic.bootstrap import Runtime
from optaic.domain.status import RunStatus
from optaic.engines.supervise import supervise
from optaic.errors import IllegalTransitionError, LedgerAwayError, LedgerError
from optaic.handle import RunHandle
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import claim
from optaic.lifecycle.rescue import rescue
from optaic.worker import Patience, worker_name

POLL_SECONDS = 0.1
"""How often a waiting process looks at its run."""

OnProgress = Callable[[RunHandle], None]
"""Told the run each time it was read."""


def execute(runtime: Runtime, handle: RunHandle, *, on_progress: OnProgress | None = None) -> RunHandle:
    """Execute a recorded run here unless a worker has it, and wait for its end.

    An interrupt (Ctrl-C) asks the run to stop and goes on waiting; a second one leaves at once. What a handler of
    signals wants must be told by `on_progress`, which may raise: see `Interrupts`.

    Raises
    ------
    LedgerAwayError
        If the database stayed away for longer than a lease; it says how the run was left.
    """
    with Execution(runtime, handle.id) as execution, Interrupts() as interrupts:
        patience, is_asked = Patience(runtime.settings), False
        while not handle.record.status.is_terminal:
            try:
                if on_progress is not None:
                    on_progress(handle)
                if interrupts.count > 1:
                    raise KeyboardInterrupt
                if interrupts.count and not is_asked:
                    with suppress(IllegalTransitionError):  # it has ended at this very moment
                        cancel(runtime.database, handle.id)
                    is_asked = True
                execution.step(POLL_SECONDS, is_pending=handle.record.status is RunStatus.PENDING)
                handle.refresh()
                patience.answered()
            except LedgerError as error:
                if patience.is_over:
                    raise LedgerAwayError(
                        f"{error.message}; run {handle.id} of {handle.instance} was {handle.status} when the ledger "
                        "last answered; what has not ended by then is tried again when it is back",
                        next_step=f"optaic worker --until-idle, then: optaic show {handle.id}",
                    ) from error
                time.sleep(POLL_SECONDS)
    if on_progress is not None:
        on_progress(handle)
    return handle


def wait(handle: RunHandle, *, timeout: float | None, on_progress: OnProgress | None = None) -> RunHandle:
    """Wait for the end of a run that others execute.

    Raises
    ------
    TimeoutError
        If it has not ended within `timeout` seconds.
    """
    give_up_at = None if timeout is None else time.monotonic() + timeout
    while not handle.record.status.is_terminal:
        if give_up_at is not None and time.monotonic() > give_up_at:
            raise TimeoutError(f"run {handle.id} is still {handle.status} after {timeout:g} seconds")
        if on_progress is not None:
            on_progress(handle)
        time.sleep(POLL_SECONDS)
        handle.refresh()
    return handle


class Interrupts:
    """For the length of a block, Ctrl-C is counted and looked for, instead of raised wherever the program is.

    What a handler raises may hit the program inside a lock of `threading` that then nobody opens; the run's own thread
    would wait for it forever, and whoever waits for that thread. Only a third one is raised at once. Handlers that are
    not Python's own are left alone.
    """

    def __init__(self) -> None:
        self.count = 0
        """How often Ctrl-C was pressed."""
        self._is_mine = False

    def __enter__(self) -> Self:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._is_mine = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 2:
            raise KeyboardInterrupt


class Execution:
    """Claims a run when it can be claimed, and supervises it in a thread; a worker that is faster has it instead.

    Leaving the block while the run is running releases it for another attempt.
    """

    def __init__(self, runtime: Runtime, run_id: uuid.UUID) -> None:
        self._runtime = runtime
        self._run_id = run_id
        # Whoever leaves wants to be gone: the run goes on in another attempt, not in this process.
        self._settings = replace(runtime.settings, shutdown_grace_seconds=0.0)
        self._shutdown = threading.Event()
        # Waited for instead of the thread itself: an exception out of a signal handler (Ctrl-C) that hits `Thread.join`
        # leaves a thread that works behind as if it had ended (CPython before 3.13).
        self._ended: threading.Event | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Stop at once: a running attempt gives its run back for another."""
        self._shutdown.set()
        if self._ended is not None:
            self._ended.wait()

    def step(self, seconds: float, *, is_pending: bool) -> None:
        """Claim the run if it is pending and can be claimed; then wait for a while, or until its attempt ends.

        Raises
        ------
        LedgerError
            If the database is away.
        """
        if self._ended is None:
            rescue(self._runtime.database)
        if self._ended is None and is_pending:
            held = claim(self._runtime.database, worker=worker_name(), lease=self._settings.lease, run_id=self._run_id)
            if held is not None:
                ended = self._ended = threading.Event()

                def serve() -> None:
                    try:
                        supervise(
                            self._runtime.database,
                            self._runtime.server,
                            held,
                            self._settings,
                            shutdown=self._shutdown,
                        )
                    except LedgerError:
                        pass  # when the database is back, the run is rescued by whoever comes first
                    finally:
                        ended.set()

                threading.Thread(target=serve, name="optaic-run", daemon=True).start()
        if self._ended is None:
            self._shutdown.wait(seconds)
        elif self._ended.wait(seconds):
            self._ended = None
