"""Plans as Python sees them: what would run for a target, and running it from the process that asked."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from optaic import view
from optaic.bootstrap import Runtime
from optaic.domain.plan import (
    Plan,
    PlanMode,
    PlannedStep,
    PlanStatus,
    Step,
    StepStatus,
    distinct_causes,
    expected_seconds,
)
from optaic.domain.run import Run
from optaic.domain.text import check_text
from optaic.errors import (
    ConflictError,
    LedgerAwayError,
    LedgerError,
    NotFoundError,
    UpstreamNotReadyError,
)
from optaic.handle import RunHandle
from optaic.ledger import catalog, plans, runs, snapshots
from optaic.ledger.targets import find_target
from optaic.lifecycle.cancel import cancel_plan
from optaic.lifecycle.plan import PlanRequest, create, planned_before, preview
from optaic.lifecycle.rescue import rescue
from optaic.worker import Patience, work

POLL_SECONDS = 0.2
"""How often a waiting process looks at its plan."""


def default_slots() -> int:
    """Say how many runs of a plan this process executes at once: as many as it has processors, four at most."""
    return min(os.cpu_count() or 1, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a plan is: its status, its steps counted by status, and its runs that are running."""

    status: PlanStatus
    counts: Mapping[StepStatus, int]
    running: Sequence[Run]

    @property
    def ended(self) -> int:
        """How many steps have ended."""
        return self.total - sum(self.counts.get(one, 0) for one in (StepStatus.WAITING, StepStatus.RUNNING))

    @property
    def total(self) -> int:
        """How many steps there are."""
        return sum(self.counts.values())


OnProgress = Callable[[Progress], None]
"""Told how far a plan is each time it was read."""


class PlanHandle:
    """What must run for a target, as recorded: `status`, `steps`, and the target's `run`."""

    def __init__(self, runtime: Runtime, plan: Plan) -> None:
        self._runtime = runtime
        self.record = plan

    @property
    def id(self) -> uuid.UUID:
        """Its id: a UUID of version 7."""
        return self.record.id

    @property
    def target(self) -> str:
        """What it is for."""
        return self.record.target

    @property
    def status(self) -> str:
        """`running`, `completed`, `failed` or `cancelled`."""
        return self.record.status

    @property
    def steps(self) -> Sequence[Step]:
        """Its steps, in the order of their batches."""
        return self.record.steps

    @property
    def run(self) -> RunHandle | None:
        """The run of the target; the one that its state speaks of if it did not have to run. None before there is one.

        It is read anew each time.
        """
        step = self.record.target_step
        with self._runtime.database.read() as tx:
            run_id = None if step is None else step.run_id
            if step is None or step.status is StepStatus.NOT_NEEDED:
                run_id = catalog.get_flow(tx, self.record.target_flow_id).current_run_id
            if run_id is None:
                return None
            return RunHandle(self._runtime, view.load_details(tx, [runs.get(tx, run_id)])[0])

    def refresh(self) -> Self:
        """Read the plan again, in place."""
        with self._runtime.database.read() as tx:
            self.record = plans.get(tx, self.record.id)
        return self

    def progress(self) -> Progress:
        """Read how far it is, without its steps."""
        with self._runtime.database.read() as tx:
            return Progress(
                status=plans.get(tx, self.id, with_steps=False).status,
                counts=plans.step_counts(tx, self.id),
                running=plans.running_runs(tx, self.id),
            )

    def to_json(self) -> dict[str, Any]:
        """Give the plan's JSON object; `items` are its steps."""
        record = self.record
        names = {step.flow_id: step.target for step in record.steps}
        return {
            "id": str(record.id),
            "target": record.target,
            "mode": record.mode,
            "status": record.status,
            "reason": record.reason,
            "created_at": record.created_at,
            "ended_at": record.ended_at,
            "items": [
                {
                    "batch": step.batch,
                    "target": step.target,
                    "instance": step.instance,
                    "flow_kind": step.flow_kind,
                    "status": step.status,
                    "run_id": None if step.run_id is None else str(step.run_id),
                    "reason": step.reason,
                    "causes": list(step.causes),
                    "upstream": [names[one] for one in step.upstream_ids if one in names],
                }
                for step in record.steps
            ],
            "next": None,
        }


def plan_of(runtime: Runtime, target: str, *, is_smart: bool = False) -> dict[str, Any]:
    """Say what would run for a target now, in which batches, and why. Nothing is written.

    Returns
    -------
    dict
        JSON-ready: `target, mode, expected_seconds` and `batches`, each with `batch, expected_seconds` and `steps`:
        `target, instance, flow_kind, causes, upstream, is_needed, expected_seconds`. What is not `is_needed` runs only
        if something that it reads changes. Seconds are those of the last runs, None where there are none; a batch takes
        as long as its longest step, the whole as long as its longest way through.

    Raises
    ------
    NotFoundError, InvalidInputError
        If there is no such target.
    """
    check_text(target, "the target")
    mode = _mode(is_smart=is_smart)
    with runtime.database.read() as tx:
        flow = find_target(tx, target).flow
        planned = preview(tx, flow.id, mode)
        seconds = snapshots.seconds_of(tx, [step.flow_id for step in planned])
    targets = {step.flow_id: step.target for step in planned}
    # What is not ready is told in the same words, by the same object, to all who read it.
    causes = {key: cause.to_json() for key, cause in distinct_causes(planned).items()}
    batches: dict[int, list[PlannedStep]] = {}
    for step in planned:
        batches.setdefault(step.batch, []).append(step)
    return {
        "target": flow.target,
        "mode": mode,
        "steps": len(planned),
        "expected_seconds": expected_seconds(planned, seconds),
        "batches": [
            {
                "batch": number,
                "expected_seconds": max(
                    (seconds[one.flow_id] for one in batch if one.flow_id in seconds), default=None
                ),
                "steps": [_step_json(one, targets, causes, seconds.get(one.flow_id)) for one in batch],
            }
            for number, batch in batches.items()
        ],
    }


def _step_json(
    step: PlannedStep,
    targets: Mapping[uuid.UUID, str],
    causes: Mapping[int, dict[str, Any]],
    seconds: float | None,
) -> dict[str, Any]:
    return {
        "target": step.target,
        "instance": step.instance,
        "flow_kind": step.flow_kind,
        "causes": [causes[id(cause)] for cause in step.causes],
        "upstream": [targets[one] for one in step.upstream_ids],
        "is_needed": step.is_needed,
        "expected_seconds": seconds,
    }


def submit_plan(
    runtime: Runtime, target: str, *, is_smart: bool = False, idempotency_key: str | None = None
) -> PlanHandle:
    """Record what must run for a target, and return at once; a worker executes it.

    Raises
    ------
    NotFoundError, InvalidInputError, IdempotencyMismatchError, CodeChangedError
        Nothing was recorded then.
    """
    rescue(runtime.database)
    mode = _mode(is_smart=is_smart)
    request = PlanRequest(target=target, mode=mode, idempotency_key=idempotency_key)
    # A repeated request gives its plan, whatever has become of the code.
    plan = planned_before(runtime.database, request)
    if plan is None:
        plan = create(runtime.database, replace(request, code_digests=_code_digests(runtime, target, mode)))
    return PlanHandle(runtime, plan)


def _mode(*, is_smart: bool) -> PlanMode:
    return PlanMode.SMART if is_smart else PlanMode.RECURSIVE


def _code_digests(runtime: Runtime, target: str, mode: PlanMode) -> dict[str, str]:
    """Digest the code, as it is in the project now, of everything that would run; by its reference."""
    from optaic.flows.code import code_digest, locate

    check_text(target, "the target")
    with runtime.database.read() as tx:
        planned = preview(tx, find_target(tx, target).flow.id, mode)
        refs = {code.code_ref for code in snapshots.code_of(tx, [step.flow_id for step in planned])}
    return {ref: code_digest(locate(ref, runtime.settings.project_root)) for ref in refs}


def execute_plan(
    runtime: Runtime, handle: PlanHandle, *, slots: int | None = None, on_progress: OnProgress | None = None
) -> PlanHandle:
    """Execute a recorded plan here, beside whatever workers there are, and wait for its end.

    Parameters
    ----------
    runtime
        The ledger and its engine.
    handle
        The plan; brought up to date.
    slots
        How many runs at once; `default_slots()` if None.
    on_progress
        Told how far it is, several times a second. What it raises ends the waiting, and gives running work back.

    Raises
    ------
    ConflictError
        If what executed the plan here has ended before it; others may go on with it.
    LedgerAwayError
        If the database stayed away for longer than a lease; it says how the plan was left.
    """
    if handle.record.status is PlanStatus.RUNNING:
        shutdown, left = threading.Event(), threading.Event()
        # Whoever leaves wants to be gone: what runs goes on in another attempt, not in this process.
        settings = replace(runtime.settings, shutdown_grace_seconds=0.0)

        def serve() -> None:
            try:
                work(
                    runtime.database,
                    runtime.server,
                    settings,
                    slots=slots or default_slots(),
                    shutdown=shutdown,
                    plan_id=handle.id,
                )
            finally:
                left.set()

        threading.Thread(target=serve, name="optaic-plan", daemon=True).start()
        patience, progress = Patience(runtime.settings), None
        try:
            while progress is None or progress.status is PlanStatus.RUNNING:
                try:
                    progress = handle.progress()
                    if on_progress is not None:
                        on_progress(progress)
                    patience.answered()
                except LedgerError as error:
                    if patience.is_over:
                        raise _left(handle, progress, error) from error
                    # Asked again, whatever was read before: who looks on may not have been told of it.
                    progress = None if progress is None else replace(progress, status=PlanStatus.RUNNING)
                if (progress is None or progress.status is PlanStatus.RUNNING) and left.wait(POLL_SECONDS):
                    raise ConflictError(
                        f"what executed plan {handle.id} here has ended before it",
                        next_step="execute the rest with: optaic worker --until-idle",
                    )
        finally:
            shutdown.set()
            left.wait()
    return handle.refresh()


def _left(handle: PlanHandle, progress: Progress | None, error: LedgerError) -> LedgerAwayError:
    """Say how a plan is left by a process that has waited for the ledger in vain."""
    running = () if progress is None else progress.running
    runs = ", ".join(f"run {run.id} of {run.instance}" for run in running)
    told = f"; {runs}, running when the ledger last answered, is tried again unless it has ended" if runs else ""
    return LedgerAwayError(
        f"{error.message}; plan {handle.id} of {handle.target} goes on when the ledger is back{told}",
        next_step=f"optaic worker --until-idle, or the same command again; how it stands: optaic plan {handle.id}",
    )


def run_target(
    runtime: Runtime,
    target: str,
    *,
    is_smart: bool = False,
    idempotency_key: str | None = None,
    slots: int | None = None,
) -> RunHandle:
    """Run what is not ready upstream of a target, then the target, and wait; give the target's run.

    An interrupt (Ctrl-C) asks the plan to stop and goes on waiting; a second one leaves at once.

    Raises
    ------
    NotFoundError, InvalidInputError, IdempotencyMismatchError, CodeChangedError
        Nothing was recorded then.
    UpstreamNotReadyError
        If the target did not run, because an upstream failed or is still not ready.
    ConflictError
        If it did not run, because the plan was cancelled.
    """
    handle = submit_plan(runtime, target, is_smart=is_smart, idempotency_key=idempotency_key)
    try:
        execute_plan(runtime, handle, slots=slots)
    except KeyboardInterrupt:
        stop_plan(runtime, handle)
        execute_plan(runtime, handle.refresh(), slots=slots)
    found, step = handle.run, handle.record.target_step
    if found is not None:
        return found
    reason: Mapping[str, Any] = (step.reason if step is not None else None) or {}
    if step is not None and step.status is StepStatus.BLOCKED:
        raise UpstreamNotReadyError(
            f"{handle.target} did not run: {reason.get('message')}",
            next_step=reason.get("next_step"),
            target=handle.target,
        )
    raise ConflictError(f"{handle.target} did not run: plan {handle.id} was cancelled", next_step="ask for it again")


def stop_plan(runtime: Runtime, handle: PlanHandle) -> PlanHandle:
    """Cancel a plan: what no other plan needs stops; nothing happens if it has ended."""
    try:
        handle.record = cancel_plan(runtime.database, handle.id)
    except ConflictError:
        handle.refresh()
    return handle


def find_plan(runtime: Runtime, reference: str) -> PlanHandle:
    """Read a plan by its id, or a unique beginning of it.

    Raises
    ------
    NotFoundError
        If there is none.
    InvalidInputError
        If the beginning fits several.
    """
    with runtime.database.read() as tx:
        found = plans.find(tx, check_text(reference, "the reference"))
        if found is None:
            raise NotFoundError(f"there is no plan {reference}")
        return PlanHandle(runtime, plans.get(tx, found.id))
