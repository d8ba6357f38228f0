"""Executing and awaiting one run from the process that asked for it, beside whatever workers there are."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Self

from optaic.bootstrap import Runtime
from optaic.domain.status import RunStatus
from optaic.engines.supervise import supervise
from optaic.errors import IllegalTransitionError, LedgerError
from optaic.handle import RunHandle
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.claim import claim
from optaic.lifecycle.rescue import rescue
from optaic.worker import worker_name

POLL_SECONDS = 0.1
"""How often a waiting process looks at its run."""

OnProgress = Callable[[RunHandle], None]
"""Told the run each time it was read."""


def execute(runtime: Runtime, handle: RunHandle, *, on_progress: OnProgress | None = None) -> RunHandle:
    """Execute a recorded run here unless a worker has it, and wait for its end.

    An interrupt (Ctrl-C) asks the run to stop and goes on waiting; a second one leaves at once.

    Raises
    ------
    LedgerError
        If the database stayed away for longer than a lease.
    """
    with Execution(runtime, handle.id) as execution:
        is_interrupted = False
        while not handle.refresh().record.status.is_terminal:
            if on_progress is not None:
                on_progress(handle)
            try:
                execution.step(POLL_SECONDS, is_pending=handle.record.status is RunStatus.PENDING)
            except KeyboardInterrupt:
                if is_interrupted:
                    raise
                is_interrupted = True
                with suppress(IllegalTransitionError):  # it has ended at this very moment
                    cancel(runtime.database, handle.id)
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
        self._failure: BaseException | None = None

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
            If the database stayed away for longer than a lease.
        """
        if self._failure is not None:
            raise self._failure
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
                    except LedgerError as error:
                        self._failure = error
                    finally:
                        ended.set()

                threading.Thread(target=serve, name="optaic-run", daemon=True).start()
        if self._ended is None:
            self._shutdown.wait(seconds)
        elif self._ended.wait(seconds):
            self._ended = None
