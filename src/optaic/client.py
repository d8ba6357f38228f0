"""What `optaic.connect()` returns: the calls of the product, in process, on this project's own ledger."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from optaic import bootstrap, view
from optaic.declarations import Declarations
from optaic.domain.run import Run
from optaic.handle import RunHandle
from optaic.ledger import runs
from optaic.ledger.search import Search, search
from optaic.lifecycle.cancel import cancel
from optaic.lifecycle.rescue import rescue
from optaic.lifecycle.retry import retry
from optaic.lifecycle.submit import Submission, submit, submitted_before
from optaic.questions import Questions
from optaic.settings import Settings
from optaic.staging import Staging

if TYPE_CHECKING:
    from optaic.planning import PlanHandle
    from optaic.tracking import Tracked


class Ledger(Questions, Declarations, Staging):
    """The ledger of a project. Make it with `optaic.connect()`; close it, or use it in a `with` block."""

    def __init__(self, runtime: bootstrap.Runtime) -> None:
        self.runtime = runtime

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def settings(self) -> Settings:
        """The settings that it was opened with."""
        return self.runtime.settings

    def close(self) -> None:
        """Close its connections; runs that other processes execute go on."""
        self.runtime.close()

    def submit(
        self,
        target: str,
        *,
        params: Mapping[str, Any] | None = None,
        seed: int | None = None,
        as_of: dt.datetime | dt.date | str | None = None,
        mode: str | None = None,
        force: bool = False,
        idempotency_key: str | None = None,
        priority: int = 0,
    ) -> RunHandle:
        """Record a run and return at once; a worker executes it.

        Parameters
        ----------
        target
            `instance` or `instance.flow_kind`.
        params, seed
            What differs from the instance's own; it makes the run a trial.
        as_of
            Read the inputs as they were known then: an aware instant, or a date, which means that session's close.
        mode, force
            How a dataset refreshes: `full` or `incremental`; go ahead in spite of upstream freshness.
        idempotency_key, priority
            The same key gives the same run; a higher priority is claimed first.

        Raises
        ------
        NotFoundError, InvalidInputError, UpstreamNotReadyError, IdempotencyMismatchError, CodeChangedError
            Nothing was recorded then.
        """
        from optaic.reading import code_digest_of

        rescue(self.runtime.database)
        submission = Submission(
            target=target,
            params=params or {},
            seed=seed,
            as_of=self._instant(as_of),
            mode=mode,
            is_forced=force,
            idempotency_key=idempotency_key,
            priority=priority,
        )
        # A repeated request gives its run, whatever has become of the target and its code.
        run = submitted_before(self.runtime.database, submission)
        if run is None:
            submission = replace(submission, code_digest=code_digest_of(self.runtime, target))
        return self._handle(run or submit(self.runtime.database, submission))

    def run(
        self,
        target: str,
        *,
        params: Mapping[str, Any] | None = None,
        seed: int | None = None,
        as_of: dt.datetime | dt.date | str | None = None,
        mode: str | None = None,
        force: bool = False,
        recursive: bool = False,
        smart: bool = False,
        idempotency_key: str | None = None,
        on_progress: Callable[[RunHandle], None] | None = None,
    ) -> RunHandle:
        """Record a run, execute it here unless a worker takes it first, and wait for its end.

        A failed run is returned, not raised: look at `status` and `reason`. Parameters are those of `submit`.
        `recursive` first runs what is not ready upstream, as a plan on one snapshot of versions; `smart` does the same
        and leaves out the target too if it is ready: the run that it has now is returned then.

        Raises
        ------
        NotFoundError, InvalidInputError, UpstreamNotReadyError, IdempotencyMismatchError, CodeChangedError
            Nothing was recorded then; of a plan, UpstreamNotReadyError also if an upstream failed.
        ConflictError
            If the plan was cancelled before the target ran.
        """
        if recursive or smart:
            from optaic.domain.plan import check_alone
            from optaic.planning import run_target

            check_alone(is_forced=force, params=params, seed=seed, as_of=as_of, mode=mode)
            return run_target(self.runtime, target, is_smart=smart, idempotency_key=idempotency_key)
        handle = self.submit(
            target, params=params, seed=seed, as_of=as_of, mode=mode, force=force, idempotency_key=idempotency_key
        )
        return self.execute(handle, on_progress=on_progress)

    def submit_plan(self, target: str, *, smart: bool = False, idempotency_key: str | None = None) -> PlanHandle:
        """Record what must run for a target, as `run(target, recursive=True)` does, and return at once.

        Raises
        ------
        NotFoundError, InvalidInputError, IdempotencyMismatchError, CodeChangedError
            Nothing was recorded then.
        """
        from optaic.planning import submit_plan

        return submit_plan(self.runtime, target, is_smart=smart, idempotency_key=idempotency_key)

    def get_plan(self, reference: str) -> PlanHandle:
        """Read a recorded plan by its id, or a unique beginning of it.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        from optaic.planning import find_plan

        return find_plan(self.runtime, reference)

    def execute(self, handle: RunHandle, *, on_progress: Callable[[RunHandle], None] | None = None) -> RunHandle:
        """Execute a recorded run here unless a worker has it, and wait for its end.

        An interrupt (Ctrl-C) asks the run to stop and goes on waiting; a second one leaves at once.
        """
        from optaic.execution import execute

        return execute(self.runtime, handle, on_progress=on_progress)

    def wait(
        self,
        reference: str | uuid.UUID,
        *,
        timeout: float | None = None,
        on_progress: Callable[[RunHandle], None] | None = None,
    ) -> RunHandle:
        """Wait for the end of a run that others execute, for at most `timeout` seconds.

        Raises
        ------
        NotFoundError
            If there is no such run.
        TimeoutError
            If it has not ended in time.
        """
        from optaic.execution import wait

        return wait(self.get(reference), timeout=timeout, on_progress=on_progress)

    def get(self, reference: str | uuid.UUID) -> RunHandle:
        """Read a run by its id, a unique prefix of it, or `TARGET@latest`.

        Raises
        ------
        NotFoundError
            If there is none.
        InvalidInputError
            If the prefix fits several, or the text names none.
        """
        with self.runtime.database.read() as tx:
            run = runs.get(tx, reference) if isinstance(reference, uuid.UUID) else runs.find(tx, reference)
            return RunHandle(self.runtime, view.load_details(tx, [run])[0])

    def runs(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the word that users read
        status: str | None = None,
        instance: str | None = None,
        standing: str | None = None,
        where: str | None = None,
        sort: str | None = None,
        limit: int = 50,
        before: uuid.UUID | None = None,
    ) -> list[RunHandle]:
        """List runs, newest first.

        Parameters are those of `optaic.ledger.search.Search`; `instance` may be `instance.flow_kind`, `where` is like
        `sharpe_ratio > 1 and max_drawdown > -0.2`, and `sort` a metric or a time, with `-` in front for descending. A
        metric ranks completed runs, unless `status` asks for others.

        Raises
        ------
        InvalidInputError
            If a name, condition or limit is wrong.
        """
        wanted = Search(
            type=type,
            status=status,
            target=instance,
            standing=standing,
            where=where,
            sort=sort,
            limit=limit,
            before=before,
        )
        with self.runtime.database.read() as tx:
            return [RunHandle(self.runtime, detail) for detail in view.load_details(tx, search(tx, wanted))]

    def cancel(self, reference: str | uuid.UUID) -> RunHandle:
        """Ask a run to stop: a pending one ends at once, a running one when its processes are dead.

        Raises
        ------
        NotFoundError
            If there is no such run.
        IllegalTransitionError
            If it has ended.
        """
        rescue(self.runtime.database)
        return self._handle(cancel(self.runtime.database, self.get(reference).id))

    def retry(self, reference: str | uuid.UUID) -> RunHandle:
        """Record a new run that repeats one that has ended.

        Raises
        ------
        NotFoundError
            If there is no such run.
        ConflictError
            If it has not ended.
        """
        from optaic.reading import code_digest_of

        rescue(self.runtime.database)
        run = self.get(reference)
        is_present = run.record.engine != "inline" and run.record.reproduces_id is None
        digest = code_digest_of(self.runtime, f"{run.instance}.{run.flow_kind}") if is_present else None
        return self._handle(retry(self.runtime.database, run.id, code_digest=digest))

    def reproduce(
        self,
        reference: str | uuid.UUID,
        *,
        detach: bool = False,
        on_progress: Callable[[RunHandle], None] | None = None,
    ) -> RunHandle:
        """Run again exactly what a run did, from its stored source; `comparison` of the new run says how it compares.

        `detach` only records the new run, which is always a trial; a worker executes it.

        Raises
        ------
        NotFoundError, ConflictError, InvalidInputError, StorageError
            If it has not ended, was tracked or never started, or its source is gone; nothing was recorded then.
        """
        from optaic.reproducing import reproduce

        handle = self._handle(reproduce(self.runtime, self.get(reference).record))
        return handle if detach else self.execute(handle, on_progress=on_progress)

    def track(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | Sequence[str] | None = None,
        seed: int = 0,
        as_of: dt.datetime | dt.date | str | None = None,
    ) -> Tracked:
        """Track a block of your own code as a trial: `with ledger.track("idea") as run: run.log_metric("ic", 0.03)`.

        Parameters
        ----------
        name
            The experiment; made if there is none.
        params, seed
            What the block works with; recorded with the run.
        inputs
            Datasets that it reads, by role (`{"close": "prices[close]"}`) or as a list of names; pinned at entry.
        as_of
            Read the inputs as they were known then.

        Returns
        -------
        Tracked
            To be used in a `with` block; its methods are those of the context that flow code gets.

        Raises
        ------
        ConflictError, NotFoundError, UpstreamNotReadyError, InvalidInputError
            At entry; nothing was recorded then.
        """
        from optaic.tracking import Tracked

        return Tracked(
            self.runtime, name, params=params or {}, inputs=inputs or {}, seed=seed, as_of=self._instant(as_of)
        )

    def _handle(self, run: Run) -> RunHandle:
        with self.runtime.database.read() as tx:
            return RunHandle(self.runtime, view.load_details(tx, [run])[0])

    def _instant(self, value: dt.datetime | dt.date | str | None) -> dt.datetime | None:
        if value is None:
            return None
        from optaic.reading import to_instant

        return to_instant(value)


def connect(folder: str | Path | None = None) -> Ledger:
    """Open the ledger of the project that a folder is in: the current one by default.

    Raises
    ------
    NotFoundError
        If the folder is in no project.
    LedgerError
        If the ledger cannot be reached, or its schema is another version's.
    """
    settings = bootstrap.locate(Path(folder) if folder is not None else None)
    return Ledger(bootstrap.open_runtime(settings))
