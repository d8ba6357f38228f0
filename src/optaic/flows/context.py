"""What flow code sees of its run."""

from __future__ import annotations

import datetime as dt
import logging
import mimetypes
import os
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optaic.domain.artifact import Artifact, attempt_prefix, check_name, next_name
from optaic.errors import InvalidInputError, RunCancelledError
from optaic.flows.input import Input
from optaic.flows.metric import MAX_STEP, to_name, to_number, to_step
from optaic.flows.reporter import FLUSH_SECONDS, Reporter, RunLogger, Sink
from optaic.flows.secret import masker
from optaic.flows.table import write_parquet
from optaic.flows.task import Slice, Task

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from optaic.storage.objects import ObjectStore

PARQUET = "application/vnd.apache.parquet"

_MEDIA_TYPES = mimetypes.MimeTypes()  # without the machine's own list, so that they are the same everywhere
_MEDIA_TYPES.add_type(PARQUET, ".parquet")
_MAX_NOTE_CHARS = 500


class RunContext:
    """What a run lets its flow's code see and say.

    Made by the runner in the run's own process, and by `track()` in a notebook.

    Parameters
    ----------
    task
        What is executed, secrets resolved.
    store
        Where artifacts are written and inputs are read.
    sink
        Takes batches of reports; what it raises is raised in the flow, at its next report.
    flush_seconds
        How often a batch is sent.
    secrets
        Values that no name of an artifact or a column may hold: names cannot be masked, because keys of objects and
        stored tables hold them too.
    """

    def __init__(
        self,
        task: Task,
        *,
        store: ObjectStore,
        sink: Sink,
        flush_seconds: float = FLUSH_SECONDS,
        secrets: tuple[str, ...] = (),
    ) -> None:
        self._task = task
        self._store = store
        self._secrets = secrets
        self._mask = masker(secrets) or str
        self._reporter = Reporter(sink, flush_seconds=flush_seconds, mask=self._mask)
        self._add_point = self._reporter.add_point
        self._set_progress = self._reporter.set_progress
        self._metrics: dict[str, float] = {}
        self._texts: dict[str, str] = {}
        self._names: set[str] = set()
        self._artifacts: list[Artifact] = []
        self._naming = threading.Lock()
        self._inputs = {one.role: Input(one, store, task.as_of) for one in task.inputs}
        self._is_cancelled = False
        self.log: logging.Logger = RunLogger(task.instance, self._reporter)
        """A logger; its lines from level INFO on are the run's log."""

    @property
    def run_id(self) -> uuid.UUID:
        """The run."""
        return self._task.run_id

    @property
    def attempt(self) -> int:
        """The number of this try, from 1."""
        return self._task.attempt

    @property
    def instance(self) -> str:
        """The instance that is executed."""
        return self._task.instance

    @property
    def params(self) -> Mapping[str, Any]:
        """The run's parameters, defaults filled in and secrets resolved."""
        return self._task.params

    @property
    def config(self) -> Mapping[str, Any]:
        """What the project file says of the instance, as it was applied; secrets stay references."""
        return self._task.config

    @property
    def seed(self) -> int:
        """For every random generator; `random` and numpy's global one are seeded with it already."""
        return self._task.seed

    @property
    def as_of(self) -> dt.datetime | None:
        """The instant (UTC) as of which inputs are read; None for the pinned versions' current views."""
        return self._task.as_of

    @property
    def mode(self) -> str | None:
        """`full` or `incremental`; None when the kind of flow has no modes."""
        return self._task.mode

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the run to stop. A flow that looks can end in good order; others are killed."""
        return self._is_cancelled

    def raise_if_cancelled(self) -> None:
        """End the flow here if its run was asked to stop.

        Raises
        ------
        RunCancelledError
            If it was.
        """
        if self._is_cancelled:
            raise RunCancelledError(f"run {self.run_id} was asked to stop, and its flow did")

    def ask_cancel(self) -> None:
        """Make `cancelled` true. For whoever runs the flow, from any thread."""
        self._is_cancelled = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """The roles of its inputs, sorted."""
        return tuple(sorted(self._inputs))

    def input(self, role: str) -> Input:
        """Give a pinned upstream by its role.

        Raises
        ------
        InvalidInputError
            If the flow declares no input of this role.
        """
        found = self._inputs.get(role)
        if found is None:
            declared = ", ".join(sorted(self._inputs)) or "none"
            raise InvalidInputError(
                f"{self.instance} has no input {role!r}; it declares: {declared}",
                next_step="declare it under `inputs:` of the instance in optaic.yaml, then run: optaic apply",
            )
        return found

    def progress(self, pct: float, note: str | None = None) -> None:
        """Say how far the work is.

        Parameters
        ----------
        pct
            0 to 100; what lies beyond is taken for the nearer end.
        note
            What is being done; its first 500 characters are kept.

        Raises
        ------
        InvalidInputError
            If `pct` is not a number, or the run has ended.
        """
        if type(pct) is not float and type(pct) is not int:
            pct = to_number("progress", pct)
        if not 0.0 <= pct <= 100.0:
            if pct != pct:  # noqa: PLR0124 - NaN is not equal to itself
                raise InvalidInputError("progress is NaN; give a number from 0 to 100")
            pct = min(max(float(pct), 0.0), 100.0)
        if note is not None and (type(note) is not str or len(note) > _MAX_NOTE_CHARS):
            note = self._mask(str(note))[:_MAX_NOTE_CHARS]
        self._set_progress(pct, note)

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:
        """Log one value of a metric.

        Parameters
        ----------
        name
            Up to 200 letters, digits and `_ . : / @ = + -` or blanks, starting with a letter, digit or `_`.
        value
            A finite number or NaN.
        step
            Its place in a series. The last value logged is the run's value of the metric.

        Raises
        ------
        InvalidInputError
            If name, value or step is not allowed, or the run has ended.
        """
        if type(value) is not float or value - value != 0.0:
            value = to_number(f"metric {name!r}", value)
        if step is not None and (type(step) is not int or not -MAX_STEP <= step <= MAX_STEP):
            step = to_step(name, step)
        if type(name) is not str or name not in self._metrics:
            name = to_name(name)
        self._add_point(name, value, step)
        self._metrics[name] = value

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
        """Log returns as the table `returns.parquet`, and the metrics that a backtest has of its returns.

        Parameters, returned metrics and errors are those of `optaic.flows.returns.measure_returns`; what is not defined
        is returned as None, and not logged.

        Raises
        ------
        InvalidInputError
            If it is no series of finite returns with a date each, or something beside it does not fit.
        StorageError
            If the table cannot be stored.
        """
        from optaic.flows.returns import measure_returns  # numerics are loaded only where there are returns

        frame, figures = measure_returns(
            returns,
            benchmark=benchmark,
            cash_rates=cash_rates,
            calendar=calendar,
            sessions_per_year=sessions_per_year,
            start=start,
        )
        self.log_frame("returns", frame)
        for name, value in figures.items():
            if isinstance(value, str):
                self._texts[name] = value
            elif value is not None:
                self.log_metric(name, float(value))
        return figures

    def log_frame(self, name: str, frame: pl.DataFrame | pl.LazyFrame | pd.DataFrame | pd.Series) -> Artifact:
        """Write a table as a Parquet artifact.

        Parameters
        ----------
        name
            Relative path; `.parquet` is added if it is not there. A name used before gets a sequence:
            `scores-2.parquet`.
        frame
            Of Polars or pandas; the index of a pandas frame becomes a column, unless it only counts rows.

        Returns
        -------
        Artifact
            As it was stored.

        Raises
        ------
        InvalidInputError
            If the name is not allowed, or it is not a table that can be written as Parquet.
        StorageError
            If it cannot be stored.
        """
        name = self._checked(name if name.endswith(".parquet") else f"{name}.parquet")
        path = self._store.scratch_path(".parquet")
        try:
            write_parquet(name, frame, path)
            return self._keep(name, path, kind="frame", media_type=PARQUET, take=True)
        finally:
            path.unlink(missing_ok=True)

    def log_file(self, name: str, path: str | os.PathLike[str]) -> Artifact:
        """Store a copy of a file as an artifact.

        Parameters
        ----------
        name
            Relative path with a suffix. A name used before gets a sequence: `plot-2.png`.
        path
            The file; it stays where it is.

        Returns
        -------
        Artifact
            As it was stored.

        Raises
        ------
        InvalidInputError
            If the name is not allowed, or there is no such file.
        StorageError
            If it cannot be stored.
        """
        self._checked(name)
        source = Path(path)
        if not source.is_file():
            raise InvalidInputError(f"artifact {name!r}: there is no file {str(path)!r}")
        media_type = _MEDIA_TYPES.guess_type(name)[0] or "application/octet-stream"
        return self._keep(name, source, kind="file", media_type=media_type, take=False)

    @property
    def metrics(self) -> Mapping[str, float | str]:
        """The last value of each metric that was logged."""
        return {**self._texts, **self._metrics}

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The artifacts that were stored, in order."""
        return tuple(self._artifacts)

    @property
    def slices(self) -> Mapping[str, Slice | None]:
        """By role, the first and the last event date that were asked for; None where nothing was read."""
        return {role: one.slice for role, one in self._inputs.items()}

    @property
    def read_whole(self) -> tuple[str, ...]:
        """The roles of which the version as such was asked for."""
        return tuple(role for role, one in self._inputs.items() if one.is_read_whole)

    def say(self, text: str, *, level: str = "INFO") -> None:
        """Write a line of the product's own into the run's log."""
        self._reporter.add_line(level, text, "system")

    def has_secret(self, name: str) -> bool:
        """Whether a name holds the value of a secret. For whoever runs the flow."""
        return any(secret in name for secret in self._secrets)

    def flush(self) -> None:
        """Send the reports that are buffered now.

        Raises
        ------
        Exception
            What the sink has raised.
        """
        self._reporter.flush()

    def close(self) -> None:
        """Send the last reports; later ones are refused.

        Raises
        ------
        Exception
            What the sink has raised.
        """
        self._reporter.close()

    def _checked(self, name: str) -> str:
        if self.has_secret(name):
            raise InvalidInputError(
                "the name of an artifact holds a secret", next_step="name it after something that everybody may see"
            )
        return check_name(name)

    def _keep(self, name: str, path: Path, *, kind: str, media_type: str, take: bool) -> Artifact:
        with self._naming:
            name = next_name(name, self._names)
            self._names.add(name)
        key = f"{attempt_prefix(self._task.tenant_id, self.run_id, self.attempt)}/{name}"
        stored = self._store.put(key, path, take=take)
        artifact = Artifact(name=name, kind=kind, media_type=media_type, stored=stored)
        with self._naming:
            self._artifacts.append(artifact)
        return artifact
