"""A run as Python sees it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from optaic import view
from optaic.bootstrap import Runtime
from optaic.domain.comparison import MEDIA_TYPE, compare_ends
from optaic.domain.run import Run
from optaic.errors import NotFoundError
from optaic.ledger import alerts, attempts, runs

if TYPE_CHECKING:
    import polars as pl


class RunHandle:
    """A run, as it was when it was read; `refresh()` reads it again.

    Its attributes are those of the run's JSON object; `metrics`, `params` and `inputs` are plain mappings and lists.
    """

    def __init__(self, runtime: Runtime, detail: view.Detail) -> None:
        self._runtime = runtime
        self._detail = detail

    def __repr__(self) -> str:
        run = self._detail.run
        return f"<{run.type} {run.id} of {run.instance}: {view.status_text(run)}>"

    @property
    def record(self) -> Run:
        """The run as the ledger holds it."""
        return self._detail.run

    @property
    def id(self) -> uuid.UUID:
        """Its id: a UUID of version 7."""
        return self._detail.run.id

    @property
    def type(self) -> str:
        """One of the seven types of run."""
        return self._detail.run.type

    @property
    def instance(self) -> str:
        """Whose run it is."""
        return self._detail.run.instance

    @property
    def flow_kind(self) -> str:
        """What it does with the instance."""
        return self._detail.run.flow_kind

    @property
    def status(self) -> str:
        """`pending`, `running`, `completed`, `failed` or `cancelled`."""
        return self._detail.run.status

    @property
    def status_text(self) -> str:
        """The status for a person: also `lost (lease expired)`, `running (cancelling)`, `pending (retry)`."""
        return view.status_text(self._detail.run)

    @property
    def standing(self) -> str:
        """`official` or `trial`."""
        return self._detail.run.standing

    @property
    def reason(self) -> str | None:
        """Why it failed, was cancelled or waits, as a sentence with its code."""
        reason = self._detail.run.reason
        return None if reason is None else f"{reason.message} [{reason.code}]"

    @property
    def triggered_by(self) -> Mapping[str, Any] | None:
        """What set it off; None for what somebody asked for.

        Of what ran by itself: `versions`, what it was to read, and of these `new`, what it had not read before: each
        with `upstream`, `version` and `run_id`, the run that published it. Of a step of a plan: `plan_id`.
        """
        return self._detail.run.triggered_by

    @property
    def submitted_by(self) -> str:
        """The name of the principal who submitted it; `system` for what ran by itself."""
        return self._detail.submitted_by

    @property
    def params(self) -> Mapping[str, Any]:
        """Its parameters, defaults filled in."""
        return self._detail.run.params

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Its metrics, by name; empty until it has ended."""
        return self._detail.run.metrics

    @property
    def inputs(self) -> Sequence[view.InputView]:
        """Exactly what it consumed."""
        return self._detail.inputs

    @property
    def artifacts(self) -> Sequence[str]:
        """The names of its files."""
        return [item.name for item in self._detail.artifacts]

    @property
    def alerts(self) -> Sequence[Mapping[str, Any]]:
        """What it found, if it is a monitor: severity, kind, metric, value, threshold and message, the worst first."""
        with self._runtime.database.read() as tx:
            return alerts.of_run(tx, self.id)

    @property
    def version(self) -> int | None:
        """The number of the version that it published; None if it published none."""
        return self._detail.version

    @property
    def comparison(self) -> dict[str, Any] | None:
        """How a reproduction compares with its original, as JSON: `verdict` (`identical`, `within_tolerance` or
        `different`), `places` where they differ, `largest_difference`; None for other runs, and until it has ended.
        """
        run = self._detail.run
        if run.reproduces_id is None or not run.status.is_terminal:
            return None
        for item in self._detail.artifacts:
            if item.media_type == MEDIA_TYPE:
                return json.loads(self._runtime.store.get(item.stored))
        with self._runtime.database.read() as tx:
            original = runs.get(tx, run.reproduces_id)
        compared = compare_ends((original.status, original.reason), (run.status, run.reason))
        return {"original": str(original.id), **compared.to_json()}

    def to_json(self) -> dict[str, Any]:
        """Give the run's JSON object."""
        return view.to_json(self._detail)

    def refresh(self) -> Self:
        """Read the run again, in place."""
        with self._runtime.database.read() as tx:
            self._detail = view.load_details(tx, [runs.get(tx, self.id)])[0]
        return self

    def artifact(self, name: str) -> bytes:
        """Read a file of the run, whole, and verify its digest.

        Raises
        ------
        NotFoundError
            If the run has no such file; the message names those that it has.
        StorageError
            If it cannot be read, or is not what was written.
        """
        for item in self._detail.artifacts:
            if item.name == name:
                return self._runtime.store.get(item.stored)
        raise self._lacking(name)

    def _lacking(self, name: str) -> NotFoundError:
        has = ", ".join(self.artifacts) or "none"
        return NotFoundError(f"run {self.id} has no artifact {name!r}; it has: {has}")

    def path(self, name: str) -> Path | None:
        """Say where a file of the run lies on this machine; None if the store is no local folder.

        Raises
        ------
        NotFoundError
            If the run has no such file.
        """
        for item in self._detail.artifacts:
            if item.name == name:
                root = self._runtime.store.root
                return None if root is None else root / item.stored.key
        raise self._lacking(name)

    def frame(self, name: str) -> pl.DataFrame:
        """Read a table of the run: a Parquet artifact, with or without its suffix.

        Raises
        ------
        NotFoundError
            If the run has no such table.
        StorageError
            If it cannot be read, or is not what was written.
        """
        import io

        import polars as pl

        full = name if name in self.artifacts else f"{name}.parquet"
        return pl.read_parquet(io.BytesIO(self.artifact(full)))

    def logs(self) -> list[dict[str, Any]]:
        """Read its log: lines with attempt, at, level, stream and text, in order."""
        return [line for _, chunk in self.log_after() for line in chunk]

    def log_after(self, place: tuple[int, int] = (0, -1)) -> list[tuple[tuple[int, int], list[dict[str, Any]]]]:
        """Read its log after a place: chunks of lines, each with the place to go on from."""
        with self._runtime.database.read() as tx:
            return [
                ((attempt, position), [{"attempt": attempt, **line} for line in lines])
                for attempt, position, lines in attempts.lines_after(tx, self.id, after=place)
            ]
