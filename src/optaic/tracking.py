"""Tracking: a block of somebody's own program as a run, from a notebook or a script."""

from __future__ import annotations

import datetime as dt
import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from optaic.bootstrap import Runtime
from optaic.domain.reason import ReasonCode
from optaic.errors import ConflictError, InvalidInputError, OptaicError
from optaic.flows.context import RunContext
from optaic.flows.task import Result
from optaic.holding import Hold
from optaic.lifecycle.track import read_inputs, track
from optaic.worker import worker_name

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from optaic.domain.artifact import Artifact
    from optaic.flows.input import Input


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
        self._hold: Hold | None = None

    def __enter__(self) -> Self:
        """Record and claim the run.

        Raises
        ------
        ConflictError
            If another kind of instance has the name, or the block was entered before.
        NotFoundError, UpstreamNotReadyError
            If an input does not exist or has no version.
        """
        if self._hold is not None:
            raise ConflictError(f"run {self.id} was tracked already; call track() again for a new run")
        settings = self._runtime.settings
        self._runtime.rescue()
        asked_at = time.monotonic()
        claim = track(
            self._runtime.database,
            self._name,
            worker=worker_name(),
            lease=settings.lease,
            params=self._params,
            inputs=self._inputs,
            seed=self._seed,
            as_of=self._as_of,
        )
        self._hold = Hold(self._runtime, claim, asked_at=asked_at)
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
        hold = self._held()
        if not hold.is_own:
            return  # a process that was forked inside of the block leaves it too, but the run is not its own
        if error is not None and kind is not None:
            _log_traceback(hold.context, kind, error, trace)
        hold.ending()
        try:
            try:
                hold.context.close()
            except OptaicError:
                if error is None:
                    raise
            hold.let_go()
            _conclude(hold, kind, error)
        except OptaicError as failure:
            if error is None:
                raise
            error.add_note(f"optaic: run {self.id} could not be ended: {failure.message}")
        except Exception as failure:
            # What the block reported cannot be stored. The run fails all the same, and the block's own error goes on.
            hold.fail_unstorable(failure)
            if error is None:
                raise

    @property
    def id(self) -> uuid.UUID:
        """The run's id."""
        return self._held().claim.run.id

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

    def log_returns(
        self,
        returns: pl.DataFrame | pd.DataFrame | pd.Series,
        *,
        benchmark: pl.DataFrame | pd.DataFrame | None = None,
        cash_rates: float | pl.DataFrame | pd.DataFrame | None = None,
        calendar: str = "XNYS",
        sessions_per_year: float | None = None,
        start: dt.date | None = None,
    ) -> Mapping[str, float | int | bool | str | None]:
        """Log returns of one's own as a table, and the metrics that a backtest has of its returns.

        Parameters
        ----------
        returns
            Simple returns per session, net of costs, as fractions: a column of dates and one of returns, or a series of
            pandas with dates as its index.
        benchmark
            Prices (date, close) to measure against.
        cash_rates
            Annual simple rate of cash as a fraction: one number, or a frame (date, rate).
        calendar
            An exchange's code, `weekdays` or `daily`: its constant annualises.
        sessions_per_year
            Another constant; of monthly returns 12.
        start
            When the value was 1; None for the last session before the first return.

        Returns
        -------
        Mapping
            The metrics; None where one is not defined.

        Raises
        ------
        InvalidInputError
            If it is no series of finite returns with a date each, or something beside it does not fit.
        StorageError
            If the table cannot be stored.
        LeaseLostError
            If the run was taken away.
        """
        self._held().check()
        return self._inside().log_returns(
            returns,
            benchmark=benchmark,
            cash_rates=cash_rates,
            calendar=calendar,
            sessions_per_year=sessions_per_year,
            start=start,
        )

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
        self._held().check()
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
        self._held().check()
        return self._inside().log_file(name, path)

    def _held(self) -> Hold:
        if self._hold is None:
            raise InvalidInputError(
                "this run has not begun", next_step=f'write: with ledger.track("{self._name}") as run: ...'
            )
        return self._hold

    def _inside(self) -> RunContext:
        return self._held().context


def _conclude(hold: Hold, kind: type[BaseException] | None, error: BaseException | None) -> None:
    if kind is None:
        context = hold.context
        hold.complete(
            Result(
                metrics=context.metrics,
                artifacts=context.artifacts,
                slices=context.slices,
                read_whole=context.read_whole,
            )
        )
        return
    hold.write_last()
    if issubclass(kind, KeyboardInterrupt):
        hold.interrupt()
        return
    message = f"{kind.__name__}: {error}" if str(error) else kind.__name__
    code = error.code if isinstance(error, OptaicError) else ReasonCode.FLOW_ERROR
    hold.fail(code, " ".join(message.split())[:2000])


def _log_traceback(
    context: RunContext, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    import traceback

    context.say("".join(traceback.format_exception(kind, error, trace)).rstrip(), level="ERROR")
