"""Command plan, and what `run --recursive` shows: what must run for a target, in which order, and how it goes."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import click

from optaic.cli import render
from optaic.cli.app import EXIT_FAILED, EXIT_NOT_READY
from optaic.cli.execute import Leave, Signals, print_summary
from optaic.cli.options import json_option
from optaic.cli.render import Heading

if TYPE_CHECKING:
    import uuid

    from optaic.client import Ledger
    from optaic.domain.run import Run
    from optaic.ledger.session import Database
    from optaic.planning import PlanHandle, Progress

UNSEEN = dt.timedelta(seconds=60)
"""For how long what has happened may go unseen: a transaction has its instants before others see it."""

MANY = 40
"""Of a longer plan only so many steps are listed; --json gives all."""


MANY_HINTS = 3
"""Of so many steps at most it is said what to do."""


@click.command("plan")
@click.argument("target", metavar="TARGET|PLAN")
@click.option("--smart", is_flag=True, help="Skip what is ready already, the target too.")
@json_option
def plan_command(target: str, *, smart: bool, as_json: bool) -> None:
    """Show what `optaic run TARGET --recursive` would run, in which batches, and why; nothing is run.

    Of a plan that was recorded, by its id: how its steps stand.
    """
    from optaic.client import connect
    from optaic.errors import NotFoundError

    with connect() as ledger:
        try:
            found = ledger.plan(target, smart=smart)
        except NotFoundError:
            plan = _find(ledger, target)
            if plan is None:
                raise
            if as_json:
                render.print_json(plan.to_json())
            else:
                print_steps(plan)
                render.tell_next(*_hints(plan))
            return
    if as_json:
        render.print_json(found)
    elif not found["steps"]:
        render.say(f"nothing to run: {found['target']} is ready")
    else:
        _print_plan(found, smart=smart)


def _find(ledger: Ledger, reference: str) -> PlanHandle | None:
    from optaic.errors import NotFoundError

    try:
        return ledger.get_plan(reference)
    except NotFoundError:
        return None


def _print_plan(found: Mapping[str, Any], *, smart: bool) -> None:
    rows: list[list[str]] = []
    for batch in found["batches"]:
        for step in batch["steps"]:
            seconds = step["expected_seconds"]
            rows.append(
                [
                    str(batch["batch"]),
                    step["target"],
                    _why(step["causes"], is_needed=step["is_needed"]),
                    "-" if seconds is None else render.span(seconds),
                ]
            )
    headings = [
        Heading(name="batch", is_number=True),
        Heading(name="target"),
        Heading(name="why", gives_way="wrap"),
        Heading(name="takes", is_number=True),
    ]
    render.print_table(headings, rows[:MANY])
    if len(rows) > MANY:
        render.say(f"... and {len(rows) - MANY} more; all of them with: --json")
    render.say()
    steps, batches = len(rows), len(found["batches"])
    total = found["expected_seconds"]
    takes = "; nothing of it has run before" if total is None else f"; about {render.span(total)} if nothing waits"
    render.say(f"{_counted(steps, 'step')} in {_counted(batches, 'batch', 'batches')}{takes}")
    steps_on = [
        str(cause["next_step"])
        for batch in found["batches"]
        for step in batch["steps"]
        for cause in step["causes"]
        if cause.get("next_step")
    ]
    # What selects a version that is not there is refused as it stands.
    render.tell_next(
        *(dict.fromkeys(steps_on) or [f"optaic run {found['target']} --{'smart' if smart else 'recursive'}"])
    )


def _counted(number: int, one: str, more: str | None = None) -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _why(causes: Sequence[Mapping[str, Any]], *, is_needed: bool) -> str:
    told = "; ".join(dict.fromkeys(str(cause["detail"]) for cause in causes)) or "it was asked for"
    return told if is_needed else f"{told} (only if that changes what it reads)"


def follow_plan(ledger: Ledger, plan: PlanHandle, *, detach: bool, slots: int | None, as_json: bool) -> int:
    """Execute a recorded plan, show how it goes and how it ended; give the exit code."""
    if not detach and not execute_plan_watched(ledger, plan, slots=slots):
        return EXIT_FAILED
    with suppress(BrokenPipeError):  # the exit code says how it ended, also to those who read no further
        if as_json:
            render.print_json(_document(plan))
        else:
            _print_outcome(plan, detach=detach)
    return 0 if plan.status == "completed" or detach else _failure(plan)


def execute_plan_watched(ledger: Ledger, plan: PlanHandle, *, slots: int | None = None) -> bool:
    """Execute a recorded plan and show how it goes; whether it was waited for to its end."""
    from optaic.planning import execute_plan, stop_plan

    if plan.status != "running":
        return True
    with Signals() as signals, PlanWatch(ledger.runtime.database, plan.id) as watching:
        is_wanted = is_asked = False

        def tell(progress: Progress) -> None:
            nonlocal is_wanted, is_asked
            if signals.look():
                watching.note("asking the plan to stop; Ctrl-C again leaves at once")
                is_wanted = True
            if is_wanted and not is_asked:
                stop_plan(ledger.runtime, plan)  # while the database is away, it is asked again at the next look
                is_asked = True
            watching(progress)

        try:
            execute_plan(ledger.runtime, plan, slots=slots, on_progress=tell)
        except Leave as leaving:
            watching.close()
            plan.refresh()
            click.echo(f"{leaving.why}: plan {plan.id} is {plan.status}", err=True)
            click.echo("  next: a worker goes on with it: optaic worker --until-idle", err=True)
            return False
    return True


def _failure(plan: PlanHandle) -> int:
    step = plan.record.target_step
    reason = None if step is None else step.reason
    return EXIT_NOT_READY if reason and reason.get("code") == "upstream_not_ready" else EXIT_FAILED


def _document(plan: PlanHandle) -> dict[str, Any]:
    """Give the target's run as JSON, as a single run has it, with the plan beside; without a run, what is known."""
    run, step = plan.run, plan.record.target_step
    found: dict[str, Any] = {"id": None, "status": plan.status}
    if run is not None:
        found = run.to_json()
    elif step is not None:
        found = {
            "id": None,
            "instance": step.instance,
            "flow_kind": step.flow_kind,
            "status": step.status,
            "reason": step.reason,
        }
    return found | {"plan": plan.to_json()}


def _print_outcome(plan: PlanHandle, *, detach: bool) -> None:
    if not plan.steps:
        render.say(f"nothing to run: {plan.target} is ready")
        return
    print_steps(plan)
    run = plan.run
    if run is not None and run.record.status.is_terminal and not detach:
        render.say()
        print_summary(run)
    render.say()
    render.tell_next(*_hints(plan))


def _hints(plan: PlanHandle) -> list[str]:
    """Say what to do after a plan: first what the steps that came to nothing say themselves."""
    if plan.status == "running":
        return ["a worker executes it: optaic worker", f"optaic plan {plan.id}"]
    if plan.status == "completed":
        return ["optaic status", f"optaic lineage {plan.target}@latest"] if plan.steps else ["optaic status"]
    failed = [step for step in plan.steps if step.status == "failed" and step.run_id is not None]
    ended = failed or [step for step in plan.steps if step.status in ("cancelled", "blocked")]
    hints = [str(step.reason["next_step"]) for step in ended if step.reason and step.reason.get("next_step")]
    hints = list(dict.fromkeys(hints))[:MANY_HINTS]
    for step in failed[:MANY_HINTS]:
        if not any(f"optaic logs {step.run_id}" in hint for hint in hints):
            hints.append(f"optaic logs {render.tip_id(step.run_id or '')}")
    again = [f"optaic run {plan.target} --recursive"] if failed else []
    return [*hints, *again] or ["optaic status"]


def print_steps(plan: PlanHandle) -> None:
    """Print the steps of a plan, and how it stands."""
    ids = render.short_ids([step.run_id for step in plan.steps if step.run_id is not None])
    headings = [
        Heading(name="batch", is_number=True),
        Heading(name="target"),
        Heading(name="step", is_status=True),
        Heading(name="run"),
        Heading(name="reason", gives_way="wrap"),
    ]
    rows = [
        [
            str(step.batch),
            step.target,
            step.status.replace("_", " "),
            "" if step.run_id is None else ids[step.run_id],
            "" if step.reason is None else str(step.reason.get("message", "")),
        ]
        for step in plan.steps[:MANY]
    ]
    shown = slice(None) if any(row[-1] for row in rows) else slice(-1)
    render.print_table(headings[shown], [row[shown] for row in rows])
    if len(plan.steps) > MANY:
        render.say(f"... and {len(plan.steps) - MANY} more; all of them with: --json")
    render.say()
    render.say(f"plan {plan.id} of {plan.target} is {render.paint(plan.status)}")


def cancel_plan(ledger: Ledger, reference: str, *, as_json: bool) -> bool:
    """Cancel the plan that is meant, and say so; False if there is none."""
    from optaic.lifecycle.cancel import cancel_plan as cancel

    plan = _find(ledger, reference)
    if plan is None:
        return False
    plan.record = cancel(ledger.runtime.database, plan.id)
    if as_json:
        render.print_json(plan.to_json())
    elif plan.status == "cancelled":
        render.say(f"plan {plan.id} of {plan.target} is {render.paint(plan.status)}")
    else:
        render.say(f"plan {plan.id} of {plan.target} was asked to stop")
        render.tell_next(f"optaic plan {plan.id}")
    return True


class PlanWatch:
    """Tells on stderr which runs of a plan start and end: on a terminal with a bar and a line for each running one.

    What happened between two looks is told too, in the order in which it happened: by the instants of the attempts,
    which are of the database's clock.
    """

    def __init__(self, database: Database, plan_id: uuid.UUID) -> None:
        self._database = database
        self._plan_id = plan_id
        from optaic.ledger.state import database_clock

        with database.read() as tx:
            self._begun = self._since = database_clock(tx)
        self._seen: object = None
        self._told: set[tuple[uuid.UUID, int, str]] = set()
        self._live = _Live() if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, progress: Progress) -> None:
        """Show how far the plan is now."""
        if self._live is not None:
            self._live.show(progress)
        seen = (dict(progress.counts), {(run.id, run.attempt) for run in progress.running})
        if seen != self._seen:
            self._seen = seen
            for text in self._news():
                self.note(text)

    def _news(self) -> list[str]:
        """Say what has happened and was not told yet."""
        from optaic.ledger import plans, runs
        from optaic.ledger.state import database_clock

        with self._database.read() as tx:
            now = database_clock(tx)
            attempts = plans.attempts_since(tx, self._plan_id, self._since)
            records = {run.id: run for run in runs.many(tx, list({row.run_id for row in attempts}))}
        self._since = max(self._begun, now - UNSEEN)
        # Of two at the same instant the end comes first: it may have let the other begin.
        events: list[tuple[dt.datetime, str, str]] = []
        for row in attempts:
            run = records[row.run_id]
            if self._is_new(row.run_id, row.number, "start"):
                again = f", attempt {row.number}" if row.number > 1 else ""
                events.append((row.claimed_at, "start", f"{run.instance}.{run.flow_kind} running{again}"))
            if row.ended_at is not None and self._is_new(row.run_id, row.number, "end"):
                events.append((row.ended_at, "end", f"{run.instance}.{run.flow_kind} {_ending(run, row.number)}"))
        return [text for _, _, text in sorted(events)]

    def _is_new(self, run_id: uuid.UUID, number: int, what: str) -> bool:
        """Whether it was not told yet; it is taken as told from now on."""
        key = (run_id, number, what)
        is_new = key not in self._told
        self._told.add(key)
        return is_new

    def note(self, text: str) -> None:
        """Say a line."""
        if self._live is None:
            click.echo(text, err=True)
        else:
            self._live.note(text)

    def close(self) -> None:
        """Stop watching."""
        if self._live is not None:
            self._live.close()


def _ending(run: Run, attempt: int) -> str:
    """Say how an attempt ended: with its run, or so that the run is tried again."""
    if run.status.is_terminal and attempt == run.attempt:
        return f"{run.status} in {render.took(run.started_at, run.ended_at, run.ledger_now)}"
    return "pending"


class _Live:
    """A bar of steps, and below it a bar for each run that is running; gone when the watch ends."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

        from optaic.cli.app import use_colour

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True, no_color=not use_colour(sys.stderr)),
            transient=True,
        )
        self._steps = self._bar.add_task("steps", total=None, note="")
        self._lines: dict[uuid.UUID, TaskID] = {}
        self._bar.start()

    def show(self, progress: Progress) -> None:
        """Draw how far it is."""
        self._bar.update(
            self._steps, total=progress.total, completed=progress.ended, note=f"{progress.ended} of {progress.total}"
        )
        for run in progress.running:
            if run.id not in self._lines:
                self._lines[run.id] = self._bar.add_task(f"{run.instance}.{run.flow_kind}", total=None, note="")
            pct = run.progress_pct
            self._bar.update(
                self._lines[run.id],
                total=None if pct is None else 100.0,
                completed=pct or 0.0,
                note=run.progress_note or "",
            )
        for run_id in self._lines.keys() - {run.id for run in progress.running}:
            self._bar.remove_task(self._lines.pop(run_id))

    def note(self, text: str) -> None:
        """Say a line above the bars."""
        self._bar.console.print(text, markup=False)

    def close(self) -> None:
        """Take the bars away."""
        self._bar.stop()
