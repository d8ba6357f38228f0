"""Holding a run from within somebody's own process: heartbeats, reports and the end, against a database that may go."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from optaic.bootstrap import Runtime
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.status import RunStatus
from optaic.errors import InvalidInputError, LeaseLostError, LedgerError, NoOutputError, OptaicError
from optaic.flows.alarm import Alarm
from optaic.flows.context import RunContext
from optaic.flows.report import Batch
from optaic.flows.task import Result
from optaic.ledger import attempts, runs
from optaic.lifecycle.claim import Claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.report import Unwritten

END_SECONDS = 5.0
"""For how long the end of a block is tried when the database is away."""


class Hold:
    """A claimed run, held by heartbeats from a thread until the block that it belongs to ends.

    Parameters
    ----------
    runtime
        The ledger.
    claim
        The run.
    asked_at
        When it was asked for, by the monotonic clock: nobody can take it before a lease from then has passed.
    """

    def __init__(self, runtime: Runtime, claim: Claim, *, asked_at: float) -> None:
        self.claim = claim
        self.context = RunContext(claim.task, store=runtime.store, sink=self._take)
        self.unwritten = Unwritten()
        """What was reported and is not in the ledger yet."""
        self._runtime = runtime
        self._owner = os.getpid()
        self._is_ending = False
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None
        self._lost: LeaseLostError | None = None
        self._sure_until = asked_at + runtime.settings.lease_seconds
        self._alarm = Alarm(runtime.settings.lease_seconds / 3, self._start_heart)

    @property
    def is_own(self) -> bool:
        """Whether this is the process that the run was claimed in, and no fork of it."""
        return self._owner == os.getpid()

    def check(self) -> None:
        """Look whether the run is still held, before bytes are written for it that nobody would ever see.

        While the lease that was renewed last cannot have expired, nobody can have taken the run, and nobody is asked.

        Raises
        ------
        InvalidInputError
            In a process that was forked inside of the block.
        LeaseLostError
            If the run was taken away.
        """
        if not self.is_own:
            raise InvalidInputError(
                "a process that was forked inside of a tracked block cannot write for its run",
                next_step="return the results to the block's own process and log them there",
            )
        if self._lost is None and time.monotonic() > self._sure_until:
            try:
                with self._runtime.database.read() as tx:
                    is_noted = attempts.is_cancel_requested(tx, self.claim.run.id, self.claim.attempt)
            except LeaseLostError as error:
                self._lost = error
            else:
                if is_noted:
                    self.context.ask_cancel()
        if self._lost is not None:
            raise self._lost

    def ending(self) -> None:
        """Keep what is reported from now on for the end; no heartbeat begins any more."""
        self._ended.set()
        self._is_ending = True

    def let_go(self) -> None:
        """Wait for the last heartbeat."""
        self._alarm.cancel()
        if self._heart is not None:
            self._heart.join()

    def complete(self, result: Result) -> None:
        """Complete the run, with the last reports.

        Raises
        ------
        NoOutputError
            If nothing was logged; the run has failed.
        LeaseLostError
            If the run was taken away.
        """
        if self._lost is not None:
            raise self._lost
        database, held = self._runtime.database, self.claim

        def end() -> None:
            if self.unwritten.is_doubted:
                self._write()
            complete(
                database,
                held.run.id,
                held.attempt,
                result,
                last_report=self.unwritten.report(),
                position=self.unwritten.position,
                held=held.run,
                actor_id=database.actor_id,
            )

        try:
            self._insist(end)
        except NoOutputError as nothing:
            self.write_last()
            self.fail(ReasonCode.NO_OUTPUT, nothing.message, nothing.next_step)
            raise

    def write_last(self) -> None:
        """Write the last reports."""

        def write() -> None:
            if self.unwritten:
                self._write()

        self._insist(write)

    def interrupt(self) -> None:
        """End the run as one that its user stopped."""
        reason = Reason(
            code=ReasonCode.CANCELLED, message="interrupted from the keyboard", next_step="run the program again"
        )
        self._end(reason)

    def fail(self, code: str, message: str, next_step: str | None = None) -> None:
        """Fail the run."""
        step = next_step or f"see its traceback: optaic logs {self.claim.run.id}"
        self._end(Reason(code=code, message=message, next_step=step))

    def fail_unstorable(self, failure: Exception) -> None:
        """Fail the run because what it reported cannot be stored, and forget that."""
        self.unwritten.clear()
        message = f"what the block reported could not be stored: {type(failure).__name__}"
        with suppress(OptaicError):
            self.fail(ReasonCode.INVALID_OUTPUT, message)

    def _end(self, reason: Reason) -> None:
        database, held = self._runtime.database, self.claim
        end_attempt(database, held.run.id, held.attempt, reason, actor_id=database.actor_id)

    def _take(self, batch: Batch) -> None:
        """Write a batch of reports; the last ones are written with the end of the run.

        What a database that is away does not take is written with the next one, or with the end.
        """
        with self._writing:
            self.unwritten.add(batch)
        if not self._is_ending:
            with suppress(LedgerError):
                self._write()

    def _write(self, *, is_heartbeat: bool = False) -> None:
        """Renew the lease, and write what was reported unless it is a heartbeat only."""
        held = self.claim
        with self._writing:
            if self._lost is not None:
                raise self._lost
            asked_at = time.monotonic()
            try:
                with self._runtime.database.write() as tx:
                    hold = attempts.renew(tx, held.run.id, held.attempt, self._runtime.settings.lease)
                    if not is_heartbeat:
                        self.unwritten.write(tx, held.run.id, held.attempt)
            except LeaseLostError as error:
                self._lost = error
                raise
            if not is_heartbeat:
                self.unwritten.written()
            self._sure_until = asked_at + self._runtime.settings.lease_seconds
        if hold.is_cancel_requested:
            self.context.ask_cancel()

    def _insist(self, write: Callable[[], object]) -> object:
        """Try a write of the end for a moment: the database may have been restarted since the last one."""
        give_up_at = time.monotonic() + END_SECONDS
        is_doubted = False
        while True:
            try:
                return write()
            except LedgerError:
                if time.monotonic() > give_up_at:
                    raise
                is_doubted = True
                time.sleep(0.1)
            except LeaseLostError:
                # Only the block completes its run: what seemed to fail had been committed.
                if is_doubted:
                    with self._runtime.database.read() as tx:
                        if (ended := runs.get(tx, self.claim.run.id)).status is RunStatus.COMPLETED:
                            return ended
                raise

    def _start_heart(self) -> None:
        heart = threading.Thread(target=self._beat, name="optaic-heartbeat", daemon=True)
        heart.start()
        self._heart = heart

    def _beat(self) -> None:
        """Renew the lease until the block ends; stop when it is lost, and when the database is away for a while."""
        seconds = self._runtime.settings.lease_seconds / 3
        while not self._ended.is_set():
            last = time.monotonic()
            try:
                self._write(is_heartbeat=True)
            except LeaseLostError:
                return
            except LedgerError:
                pass  # the next one may pass
            self._ended.wait(max(seconds - (time.monotonic() - last), 0.05))
