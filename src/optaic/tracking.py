"""Tracking: a block of somebody's own program as a run, from a notebook or a script."""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from optaic.bootstrap import Runtime
from optaic.domain.lease import AttemptOutcome
from optaic.domain.reason import Reason, ReasonCode
from optaic.domain.status import RunStatus
from optaic.errors import ConflictError, InvalidInputError, LeaseLostError, LedgerError, NoOutputError, OptaicError
from optaic.flows.alarm import Alarm
from optaic.flows.context import RunContext
from optaic.flows.report import Batch
from optaic.flows.task import Result
from optaic.ledger import attempts, runs
from optaic.lifecycle.claim import Claim
from optaic.lifecycle.complete import complete, end_attempt
from optaic.lifecycle.report import Unwritten
from optaic.lifecycle.track import read_inputs, track
from optaic.worker import worker_name

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from optaic.domain.artifact import Artifact
    from optaic.flows.input import Input

END_SECONDS = 5.0
"""For how long the end of a block is tried when the database is away."""


class Tracked:
    """A run whose code is the block of a `with` statement.

    It is recorded at entry, always a trial, and holds its run by heartbeats from a thread. It completes at the end of
    the block if it logged any metric or artifact; it fails with the exception's reason when the block raises. If the
    process dies, the lease expires and the run fails.
    """

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        *,
        params: Mapping[str, Any],
        inputs: Mapping[str, str] | Sequence[str],
        seed: int,
        as_of: dt.datetime | None,
    ) -> None:
        self._runtime = runtime
        self._name = name
        self._params = params
        self._inputs = read_inputs(inputs)
        self._seed = seed
        self._as_of = as_of
        self._claim: Claim | None = None
        self._context: RunContext | None = None
        self._is_ending = False
        self._unwritten = Unwritten()
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._alarm: Alarm | None = None
        self._heart: threading.Thread | None = None
        self._lost: LeaseLostError | None = None
        self._sure_until = 0.0
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        """Record and claim the run.

        Raises
        ------
        ConflictError
            If another kind of instance has the name, or the block was entered before.
        NotFoundError, UpstreamNotReadyError
            If an input does not exist or has no version.
        """
        if self._claim is not None:
            raise ConflictError(f"run {self._claim.run.id} was tracked already; call track() again for a new run")
        settings = self._runtime.settings
        self._runtime.rescue()
        self._sure_until = time.monotonic() + settings.lease_seconds
        self._claim = track(
            self._runtime.database,
            self._name,
            worker=worker_name(),
            lease=settings.lease,
            params=self._params,
            inputs=self._inputs,
            seed=self._seed,
            as_of=self._as_of,
        )
        self._owner = os.getpid()
        self._context = RunContext(self._claim.task, store=self._runtime.store, sink=self._take)
        self._alarm = Alarm(settings.lease_seconds / 3, self._start_heart)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run as the block ended; an exception of the block goes on its way.

        Raises
        ------
        NoOutputError
            If the block ended well but logged no metric and no artifact; the run has failed.
        LeaseLostError
            If the run was taken away meanwhile; nothing was changed.
        """
        if self._owner != os.getpid():
            return  # a process that was forked inside of the block leaves it too, but the run is not its own
        context, held = self._inside(), self._held()
        self._ended.set()
        if error is not None and kind is not None:
            _log_traceback(context, kind, error, trace)
        self._is_ending = True
        try:
            try:
                context.close()
            except OptaicError:
                if error is None:
                    raise
            if self._alarm is not None:
                self._alarm.cancel()
            if self._heart is not None:
                self._heart.join()
            self._conclude(context, held, kind, error)
        except OptaicError as failure:
            if error is None:
                raise
            error.add_note(f"optaic: run {held.run.id} could not be ended: {failure.message}")
        except Exception as failure:
            # What the block reported cannot be stored. The run fails all the same, and the block's own error goes on.
            self._unwritten.clear()
            message = f"what the block reported could not be stored: {type(failure).__name__}"
            with suppress(OptaicError):
                self._fail(held, ReasonCode.INVALID_OUTPUT, message, None)
            if error is None:
                raise

    def _conclude(
        self, context: RunContext, held: Claim, kind: type[BaseException] | None, error: BaseException | None
    ) -> None:
        database, run_id = self._runtime.database, held.run.id
        if kind is None:
            if self._lost is not None:
                raise self._lost
            result = Result(metrics=context.metrics, artifacts=context.artifacts, slices=context.slices)

            def end() -> None:
                if self._unwritten.is_doubted:
                    self._write()
                complete(
                    database,
                    run_id,
                    held.attempt,
                    result,
                    last_report=self._unwritten.report(),
                    position=self._unwritten.position,
                    held=held.run,
                    actor_id=database.actor_id,
                )

            try:
                self._insist(end)
            except NoOutputError as nothing:
                self._insist(self._write_last)
                self._fail(held, ReasonCode.NO_OUTPUT, nothing.message, nothing.next_step)
                raise
            return
        self._insist(self._write_last)
        if issubclass(kind, KeyboardInterrupt):
            reason = Reason(
                code=ReasonCode.CANCELLED, message="interrupted from the keyboard", next_step="run the program again"
            )
            end_attempt(
                database, run_id, held.attempt, reason, outcome=AttemptOutcome.FAILED, actor_id=database.actor_id
            )
            return
        message = f"{kind.__name__}: {error}" if str(error) else kind.__name__
        code = error.code if isinstance(error, OptaicError) else ReasonCode.FLOW_ERROR
        self._fail(held, code, " ".join(message.split())[:2000], None)

    def _fail(self, held: Claim, code: str, message: str, next_step: str | None) -> None:
        database = self._runtime.database
        step = next_step or f"see its traceback: optaic logs {held.run.id}"
        reason = Reason(code=code, message=message, next_step=step)
        end_attempt(database, held.run.id, held.attempt, reason, actor_id=database.actor_id)

    @property
    def id(self) -> uuid.UUID:
        """The run's id."""
        return self._held().run.id

    @property
    def seed(self) -> int:
        """The recorded seed."""
        return self._seed

    @property
    def log(self) -> logging.Logger:
        """A logger; its lines from level INFO on are the run's log."""
        return self._inside().log

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the run to stop."""
        return self._inside().cancelled

    def input(self, role: str) -> Input:
        """Give a pinned input by its role: `.frame()` or `.lazy()` reads it.

        Raises
        ------
        InvalidInputError
            If there is no input of this role.
        """
        return self._inside().input(role)

    def progress(self, pct: float, note: str | None = None) -> None:
        """Say how far the work is, in percent.

        Raises
        ------
        InvalidInputError
            If it is not a number, or the run has ended.
        """
        self._inside().progress(pct, note)

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:
        """Log one value of a metric; the last one is the run's.

        Raises
        ------
        InvalidInputError
            If name, value or step is not allowed, or the run has ended.
        LeaseLostError
            If the run was taken away; nothing more is written.
        """
        self._inside().log_metric(name, value, step)

    def log_frame(self, name: str, frame: pl.DataFrame | pl.LazyFrame | pd.DataFrame | pd.Series) -> Artifact:
        """Write a table as a Parquet artifact.

        Raises
        ------
        InvalidInputError
            If the name is not allowed, or it is no table.
        StorageError
            If it cannot be stored.
        LeaseLostError
            If the run was taken away; the file will never be visible.
        """
        self._check_held()
        return self._inside().log_frame(name, frame)

    def log_file(self, name: str, path: str | os.PathLike[str]) -> Artifact:
        """Store a copy of a file as an artifact.

        Raises
        ------
        InvalidInputError
            If the name is not allowed, or there is no such file.
        StorageError
            If it cannot be stored.
        LeaseLostError
            If the run was taken away; the file will never be visible.
        """
        self._check_held()
        return self._inside().log_file(name, path)

    def _held(self) -> Claim:
        if self._claim is None:
            raise InvalidInputError(
                "this run has not begun", next_step=f'write: with ledger.track("{self._name}") as run: ...'
            )
        return self._claim

    def _inside(self) -> RunContext:
        if self._context is None:
            self._held()
            raise ConflictError("the run is not open")
        return self._context

    def _check_held(self) -> None:
        """Look whether the run is still held, before bytes are written for it that nobody would ever see.

        While the lease that was renewed last cannot have expired, nobody can have taken the run, and nobody is asked.
        """
        context, held = self._inside(), self._held()
        if self._owner != os.getpid():
            raise InvalidInputError(
                "a process that was forked inside of a tracked block cannot write for its run",
                next_step="return the results to the block's own process and log them there",
            )
        if self._lost is None and time.monotonic() > self._sure_until:
            try:
                with self._runtime.database.read() as tx:
                    is_noted = attempts.is_cancel_requested(tx, held.run.id, held.attempt)
            except LeaseLostError as error:
                self._lost = error
            else:
                if is_noted:
                    context.ask_cancel()
        if self._lost is not None:
            raise self._lost

    def _take(self, batch: Batch) -> None:
        """Write a batch of reports; the last ones are written with the end of the run.

        What a database that is away does not take is written with the next one, or with the end.
        """
        with self._writing:
            self._unwritten.add(batch)
        if not self._is_ending:
            with suppress(LedgerError):
                self._write()

    def _write_last(self) -> None:
        if self._unwritten:
            self._write()

    def _write(self, *, is_heartbeat: bool = False) -> None:
        """Renew the lease, and write what was reported unless it is a heartbeat only."""
        held = self._held()
        with self._writing:
            if self._lost is not None:
                raise self._lost
            asked_at = time.monotonic()
            try:
                with self._runtime.database.write() as tx:
                    hold = attempts.renew(tx, held.run.id, held.attempt, self._runtime.settings.lease)
                    if not is_heartbeat:
                        self._unwritten.write(tx, held.run.id, held.attempt)
            except LeaseLostError as error:
                self._lost = error
                raise
            if not is_heartbeat:
                self._unwritten.written()
            self._sure_until = asked_at + self._runtime.settings.lease_seconds
        if hold.is_cancel_requested and self._context is not None:
            self._context.ask_cancel()

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
                        if (ended := runs.get(tx, self._held().run.id)).status is RunStatus.COMPLETED:
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


def _log_traceback(
    context: RunContext, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    import traceback

    context.say("".join(traceback.format_exception(kind, error, trace)).rstrip(), level="ERROR")
