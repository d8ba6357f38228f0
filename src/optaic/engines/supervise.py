"""Supervise: hold a claimed run while its process works, and bring its end into the ledger.

Has the ledger, and executes nothing; the runner executes, and has no ledger.
"""

from __future__ import annotations

import datetime as dt
import math
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from enum import Enum

from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason, ReasonCode, sentence_of
from optaic.domain.run import Run
from optaic.engines.messages import Exited, Failed, Finished, Message, RunSpec
from optaic.engines.process import ForkServer, RunProcess
from optaic.engines.source import project_folder
from optaic.errors import (
    EngineError,
    InvalidOutputError,
    LeaseLostError,
    LedgerError,
    NoOutputError,
    OptaicError,
    StorageError,
)
from optaic.flows.report import LogLine, MetricPoint, Progress
from optaic.ledger import attempts, runs
from optaic.ledger.attempts import Report
from optaic.ledger.session import Database
from optaic.lifecycle.claim import Claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.settings import Settings
from optaic.storage.objects import check_key, open_store

TICK_SECONDS = 0.25
"""How often reports are written, and the note of a cancel is looked for."""

MAX_WAITING_LINES = 100_000
"""Log lines kept while the database is away; older ones are dropped."""


class Stop(Enum):
    """Why the supervisor stopped the process of a run."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    RELEASED = "released"
    LEASE_LOST = "lease_lost"


def supervise(
    database: Database,
    server: ForkServer,
    claim: Claim,
    settings: Settings,
    *,
    shutdown: threading.Event | None = None,
) -> Run:
    """Execute a claimed run in a process of its own, and write how it ended.

    The lease is renewed, reports are written, a noted cancel and the timeout are enforced: the flow is asked to stop,
    then gets SIGTERM, then all its processes get SIGKILL. The end is written only when all of them are proved dead. An
    attempt that lost its lease writes nothing more.

    Parameters
    ----------
    database
        The ledger.
    server
        Starts processes.
    claim
        What to execute.
    settings
        Lease, graces, storage and project.
    shutdown
        When set, the run is given its grace, then released for another attempt.

    Returns
    -------
    Run
        The run as the ledger holds it afterwards.

    Raises
    ------
    LedgerError
        If the database stayed away for a whole lease after the end; the run is rescued when it is back.
    """
    supervision = _Supervision(database, claim, settings, shutdown or threading.Event())
    with ExitStack() as stack:
        try:
            spec = RunSpec(
                task=claim.task,
                store_url=settings.storage_url,
                project_root=str(stack.enter_context(project_folder(claim, settings))),
                retry_on=claim.run.retry_policy.on,
                original=claim.origin.outputs if claim.origin else None,
            )
            process = server.start(spec)
        except Exception as error:  # noqa: BLE001 - whatever it is, this run has failed, and not its worker
            return supervision.conclude_unstarted(error)
        with process:
            exited = supervision.watch(process)
        return supervision.conclude(exited)


class _Supervision:
    """One attempt, watched by one thread."""

    def __init__(self, database: Database, claim: Claim, settings: Settings, shutdown: threading.Event) -> None:
        self._database = database
        self._claim = claim
        self._settings = settings
        self._shutdown = shutdown
        now = time.monotonic()
        timeout = claim.run.timeout_seconds
        self._timeout_at = None if timeout is None else now + timeout
        self._shutdown_at: float | None = None
        self._renewed_at = now
        self._next_look = now + TICK_SECONDS
        self._stop: Stop | None = None
        self._term_at: float | None = None
        self._position = 0
        self._progress: Progress | None = None
        self._points: list[MetricPoint] = []
        self._lines: list[LogLine] = []
        self._end: Finished | Failed | None = None

    def watch(self, process: RunProcess) -> Exited:
        """Follow the process until all of it is dead."""
        while True:
            for message in process.receive(max(0.0, min(TICK_SECONDS, self._next_look - time.monotonic()))):
                if isinstance(message, Exited):
                    return message
                self._hear(message)
            now = time.monotonic()
            if now >= self._next_look:
                self._next_look = now + TICK_SECONDS
                self._look(now)
            self._enforce(process, now)

    def _hear(self, message: Message) -> None:
        match message:
            case Progress():
                self._progress = message
            case MetricPoint():
                self._points.append(message)
            case LogLine():
                self._lines.append(message)
            case Finished() | Failed():
                self._end = message
            case Exited():
                pass

    def _enforce(self, process: RunProcess, now: float) -> None:
        """Take the next step of stopping the process, if it must stop."""
        if self._shutdown.is_set() and self._shutdown_at is None:
            self._shutdown_at = now + self._settings.shutdown_grace_seconds
        if self._stop is None:
            if self._timeout_at is not None and now >= self._timeout_at:
                self._stop = Stop.TIMED_OUT
            elif self._shutdown_at is not None and now >= self._shutdown_at:
                self._stop = Stop.RELEASED
            elif now - self._renewed_at > self._settings.lease_seconds:
                # The database was out of reach for a whole lease: another worker may have the run by now.
                self._stop = Stop.LEASE_LOST
        if self._stop is not None and self._term_at is None:
            self._term_at = now + self._settings.cancel_grace_seconds
            process.ask_cancel()
        if self._term_at is not None and now >= self._term_at:
            self._term_at = float("inf")
            process.stop(self._settings.kill_grace_seconds)

    def _look(self, now: float) -> None:
        """Write what was reported, renew the lease when it is time, and look for the note of a cancel."""
        if self._stop is Stop.LEASE_LOST:
            return
        is_due = now - self._renewed_at >= self._settings.lease_seconds / 3
        try:
            if is_due or self._progress or self._points or self._lines:
                is_noted = self._report()
                self._renewed_at = now
            else:
                with self._database.read() as tx:
                    is_noted = attempts.is_cancel_requested(tx, self._claim.run.id, self._claim.attempt)
        except LeaseLostError:
            self._stop = Stop.LEASE_LOST
        except LedgerError:
            del self._lines[:-MAX_WAITING_LINES]  # tried again at the next look
        except Exception as error:  # noqa: BLE001 - what a flow reports must not end its supervisor
            self._drop_report(error)
        else:
            if is_noted and self._stop is None:
                self._stop = Stop.CANCELLED

    def _report(self) -> bool:
        """Write what was reported and renew the lease, in one transaction; whether a cancel was asked for."""
        run_id, attempt = self._claim.run.id, self._claim.attempt
        report = self._unwritten()
        with self._database.write() as tx:
            hold = attempts.renew(tx, run_id, attempt, self._settings.lease)
            attempts.write_report(tx, run_id, attempt, report, position=self._position)
        self._position += max(len(report.points), 1)
        self._progress, self._points, self._lines = None, [], []
        return hold.is_cancel_requested

    def _drop_report(self, error: Exception) -> None:
        """Give up what was reported and the database refuses, and say so in the log."""
        text = f"what the run reported here could not be stored, and was dropped: {sentence_of(error)}"
        self._progress, self._points = None, []
        self._lines = [LogLine(at=dt.datetime.now(dt.UTC), level="ERROR", text=text, stream="system")]

    def _unwritten(self) -> Report:
        """Give what was reported and not yet written."""
        return Report(
            progress=(self._progress.pct, self._progress.note) if self._progress else None,
            points=[(p.key, p.step, None if math.isnan(p.value) else p.value, p.at) for p in self._points],
            lines=[{"at": x.at.isoformat(), "level": x.level, "stream": x.stream, "text": x.text} for x in self._lines],
        )

    def _write_unwritten(self) -> None:
        if self._progress or self._points or self._lines:
            self._report()

    def conclude_unstarted(self, error: Exception) -> Run:
        """Write the end of an attempt whose process was never started."""
        if isinstance(error, StorageError):
            step = error.next_step or "look at the object store: optaic doctor"
            self._end = Failed(code=ReasonCode.STORAGE_ERROR, message=error.message, next_step=step)
        detail = str(error) if isinstance(error, EngineError | OSError) else sentence_of(error)
        return self.conclude(Exited(exit_code=None, signal=None, detail=detail, started=False))

    def conclude(self, exited: Exited) -> Run:
        """Write the end of the attempt, now that all its processes are dead."""
        if self._stop is not Stop.LEASE_LOST or isinstance(self._end, Finished):
            # A flow that finished has its answer tried even if the lease may be lost: the ledger decides.
            try:
                return self._insist(lambda: self._write_end(exited))
            except LeaseLostError:
                pass
        with self._database.read() as tx:
            return runs.get(tx, self._claim.run.id)

    def _write_end(self, exited: Exited) -> Run:
        run_id, attempt = self._claim.run.id, self._claim.attempt
        if isinstance(self._end, Finished) and exited.exit_code == 0:
            self._check_stored(self._end)
            try:
                return complete(
                    self._database,
                    run_id,
                    attempt,
                    self._end.result,
                    exit_code=exited.exit_code,
                    last_report=self._unwritten(),
                    position=self._position,
                )
            except NoOutputError as error:
                self._write_unwritten()
                reason, is_repeatable = self._reason(ReasonCode.NO_OUTPUT, error.message, error.next_step), False
                outcome = AttemptOutcome.FAILED
        else:
            self._write_unwritten()
            reason, outcome, is_repeatable = self._why(exited)
        return end_attempt(
            self._database,
            run_id,
            attempt,
            reason,
            outcome=outcome,
            is_repeatable=is_repeatable,
            exit_code=exited.exit_code if exited.signal is None else -exited.signal,
        )

    def _check_stored(self, end: Finished) -> None:
        """Refuse a result whose objects are not in the store, with the size that it says."""
        result, store = end.result, open_store(self._settings.storage_url)
        stored = [item.stored for item in result.artifacts]
        parts = result.dataset.segments if result.dataset else ()
        for key, size in [*((item.key, item.size_bytes) for item in (*stored, *parts))]:
            check_key(key)
            if store.size_of(key) != size:
                raise InvalidOutputError(f"the object {key} that the run returned is not what it says it wrote")

    def _why(self, exited: Exited) -> tuple[Reason, AttemptOutcome, bool]:
        """Give the reason of an attempt that did not finish, its outcome, and whether it may be repeated."""
        run = self._claim.run
        if self._stop is Stop.TIMED_OUT:
            message = f"ran longer than its timeout of {run.timeout_seconds:g} seconds, and was stopped"
            step = "make it faster, or raise `timeout` of the instance in optaic.yaml"
            return self._reason(ReasonCode.TIMED_OUT, message, step), AttemptOutcome.FAILED, False
        if self._stop is Stop.RELEASED:
            message = "the worker was shut down and gave the run back"
            step = "nothing: the next worker takes it up"
            return self._reason(ReasonCode.RELEASED, message, step), AttemptOutcome.RELEASED, True
        if isinstance(self._end, Failed) and self._stop is None:
            reason = self._reason(self._end.code, self._end.message, self._end.next_step)
            return reason, AttemptOutcome.FAILED, self._end.retryable
        if self._stop is Stop.CANCELLED:
            return self._reason(ReasonCode.CANCELLED, "stopped on request", None), AttemptOutcome.CANCELLED, False
        if not exited.started:
            message = f"its process could not be started: {exited.detail}"
            step = "look at the worker's memory and process limits: optaic doctor"
            return self._reason(ReasonCode.ENGINE_ERROR, message, step), AttemptOutcome.FAILED, True
        how = f"with exit code {exited.exit_code}"
        if exited.signal is not None:
            how = f"killed by {signal.Signals(exited.signal).name}"
        message = f"its process ended without an answer, {how}" + (f" ({exited.detail})" if exited.detail else "")
        step = f"look at its last lines: optaic logs {run.id}; a kill that nobody asked for is often a lack of memory"
        return self._reason(ReasonCode.PROCESS_DIED, message, step), AttemptOutcome.FAILED, True

    def _reason(self, code: str, message: str, next_step: str | None) -> Reason:
        run_id = self._claim.run.id
        return Reason(code=code, message=message, next_step=next_step or f"see what it wrote: optaic logs {run_id}")

    def _insist(self, write: Callable[[], Run]) -> Run:
        """Try a write until the database takes it, for as long as a lease."""
        give_up_at = time.monotonic() + self._settings.lease_seconds
        while True:
            try:
                return write()
            except LedgerError:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(TICK_SECONDS)
            except LeaseLostError:
                raise
            except OptaicError as error:
                return self._fail(error.code, error.message, error.next_step)
            except Exception as error:  # noqa: BLE001 - a result that cannot be stored fails its run, not the worker
                self._drop_report(error)
                message = f"what the run returned could not be stored: {sentence_of(error)}"
                return self._fail(ReasonCode.INVALID_OUTPUT, message, None)

    def _fail(self, code: str, message: str, next_step: str | None) -> Run:
        """Fail the run because what it returned could not be published."""
        with suppress(LedgerError):
            self._write_unwritten()
        reason = self._reason(code, message, next_step)
        return end_attempt(self._database, self._claim.run.id, self._claim.attempt, reason)
