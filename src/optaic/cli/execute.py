"""Commands that set runs going and stop them: run, retry, cancel."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import click

from optaic.cli import render
from optaic.cli.alert import print_alerts
from optaic.cli.app import EXIT_FAILED
from optaic.cli.chart import print_curves
from optaic.cli.figure import print_metrics
from optaic.cli.files import print_files
from optaic.cli.options import json_option
from optaic.cli.progress import watch

if TYPE_CHECKING:
    from types import FrameType

    from optaic.client import Ledger
    from optaic.handle import RunHandle

_EPILOG = "Ctrl-C asks the run to stop and waits for it; a second one leaves at once."


@click.command("run", epilog=_EPILOG)
@click.argument("target")
@click.option("--detach", is_flag=True, help="Record the run and return; a worker executes it.")
@click.option("--recursive", is_flag=True, help="First what is not ready upstream, in order.")
@click.option("--smart", is_flag=True, help="The same, but skip what is ready already, the target too.")
@click.option("-n", "slots", type=click.IntRange(1, 256), help="How many runs at once; processors, 4 at most.")
@click.option("--force", is_flag=True, help="In spite of upstream freshness (recorded).")
@click.option("--mode", metavar="full|incremental", help="How a dataset refreshes; see above for the default.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Another value of a parameter; makes a trial.")
@click.option("--as-of", metavar="INSTANT", help="Read the inputs as they were known then; makes a trial.")
@click.option("--seed", type=int, metavar="N", help="Another seed; makes a trial.")
@click.option("--idempotency-key", metavar="K", help="The same key gives the same run.")
@json_option
def run_command(
    target: str,
    *,
    detach: bool,
    recursive: bool,
    smart: bool,
    slots: int | None,
    force: bool,
    mode: str | None,
    params: tuple[str, ...],
    as_of: str | None,
    seed: int | None,
    idempotency_key: str | None,
    as_json: bool,
) -> int:
    """Run an instance, or one flow of it, and wait for its end.

    It is executed here, unless a worker takes it first. Nothing is run if an upstream is not ready; --recursive runs
    these first, and `optaic plan` shows beforehand what that would be.

    A dataset is refreshed incrementally once it has a version and its function takes `start`, unless its code or
    config has changed since: then in full. Only --mode full finds corrections of the past and withdrawn rows, and makes
    a dataset anew of which a file is missing or damaged. Do not give --mode incremental right after a change of params:
    no history is fetched then for what is new.
    """
    from optaic.client import connect

    with connect() as ledger:
        if recursive or smart:
            from optaic.cli.plan import follow_plan
            from optaic.domain.plan import check_alone

            check_alone(is_forced=force, params=params, as_of=as_of, seed=seed, mode=mode)
            plan = ledger.submit_plan(target, smart=smart, idempotency_key=idempotency_key)
            return follow_plan(ledger, plan, detach=detach, slots=slots, as_json=as_json)
        if slots is not None:
            raise click.UsageError("-n goes with --recursive or --smart: a single run is one run")
        run = ledger.submit(
            target,
            params=_read_params(params),
            seed=seed,
            as_of=as_of,
            mode=mode,
            force=force,
            idempotency_key=idempotency_key,
        )
        return _follow(ledger, run, detach=detach, as_json=as_json)


@click.command("retry", epilog=_EPILOG)
@click.argument("run_reference", metavar="RUN")
@click.option("--detach", is_flag=True, help="Record the run and return; a worker executes it.")
@json_option
def retry_command(run_reference: str, *, detach: bool, as_json: bool) -> int:
    """Repeat a run that has ended, as a new run that names it, and wait for its end.

    An official run is repeated with the present config and code of its flow, a trial with its own parameters.
    """
    from optaic.client import connect

    with connect() as ledger:
        return _follow(ledger, ledger.retry(run_reference), detach=detach, as_json=as_json)


@click.command("cancel")
@click.argument("run_reference", metavar="RUN|PLAN")
@json_option
def cancel_command(run_reference: str, *, as_json: bool) -> None:
    """Ask a run to stop: a pending one ends at once, a running one when its processes are dead.

    Of a plan, this stops what no other plan needs.
    """
    from optaic.cli.plan import cancel_plan
    from optaic.client import connect
    from optaic.errors import ConflictError, IllegalTransitionError, InvalidInputError, NotFoundError

    was = ""

    with connect() as ledger:
        try:
            ledger.get(run_reference)
        except (NotFoundError, InvalidInputError):
            if cancel_plan(ledger, run_reference, as_json=as_json):
                return
            raise
        try:
            run = ledger.cancel(run_reference)
        except IllegalTransitionError as error:
            run = ledger.get(run_reference)
            if run.status != "cancelled":
                raise ConflictError(
                    f"run {run.id} of {run.instance} has already {run.status}",
                    next_step=f"optaic show {render.tip_id(run.id)}",
                ) from error
            was = " already"
        if as_json:
            render.print_json(run.to_json())
        elif run.record.status.is_terminal:
            render.say(f"run {run.id} of {run.instance} is{was} {render.paint(run.status)}")
        else:
            render.say(f"run {run.id} of {run.instance} was asked to stop")
            render.tell_next(f"optaic show {render.tip_id(run.id)}")


def _read_params(texts: tuple[str, ...]) -> dict[str, Any]:
    from optaic.domain.parameters import parse_param
    from optaic.errors import InvalidInputError

    found: dict[str, Any] = {}
    for text in texts:
        name, value = parse_param(text)
        if name in found:
            raise InvalidInputError(f"--param {name} is given twice", next_step="give each parameter once")
        found[name] = value
    return found


def _follow(ledger: Ledger, run: RunHandle, *, detach: bool, as_json: bool) -> int:
    """Execute a recorded run, show how it goes and how it ended; give the exit code."""
    if not detach and not execute_watched(ledger, run):
        return EXIT_FAILED
    with suppress(BrokenPipeError):  # the exit code says how it ended, also to those who read no further
        if as_json:
            render.print_json(run.to_json())
        else:
            print_outcome(run)
    return 0 if run.status == "completed" or detach else EXIT_FAILED


def execute_watched(ledger: Ledger, run: RunHandle) -> bool:
    """Execute a recorded run and show how it goes; whether it was waited for to its end."""
    if run.record.status.is_terminal:
        return True
    with Signals() as signals, watch() as watching:
        is_wanted = is_asked = False

        def tell(seen: RunHandle) -> None:
            nonlocal is_wanted, is_asked
            if not seen.record.status.is_terminal and signals.look():
                watching.note("asking the run to stop; Ctrl-C again leaves at once")
                is_wanted = True
            if is_wanted and not is_asked:
                _ask_to_stop(ledger, seen)  # while the database is away, it is asked again at the next look
                is_asked = True
            watching(seen)

        try:
            ledger.execute(run, on_progress=tell)
        except Leave as leaving:
            watching.close()
            _tell_left(run, leaving)
            return False
    return True


def _ask_to_stop(ledger: Ledger, run: RunHandle) -> None:
    from optaic.errors import IllegalTransitionError

    try:
        ledger.cancel(run.id)
    except IllegalTransitionError:
        return  # it has ended by itself, which is seen at the next look


def _tell_left(run: RunHandle, leaving: Leave) -> None:
    """Say what becomes of a run that this process has left."""
    run.refresh()
    click.echo(f"{leaving.why}: run {run.id} is {run.status_text}", err=True)
    if run.status == "pending":
        click.echo("  next: a worker takes it up again: optaic worker --until-idle", err=True)
    else:
        click.echo(f"  next: optaic show {render.tip_id(run.id)}", err=True)


class Leave(BaseException):
    """The process was told to go."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Signals:
    """For the length of a block: Ctrl-C is a wish that is looked for; so is to leave, by a second one or SIGTERM.

    What a handler raises could hit anywhere, in the middle of a statement of the ledger or inside a lock; a wish is
    read between two looks at the run. A third Ctrl-C does not wait for that.
    """

    def __init__(self) -> None:
        self._interrupts = 0
        self._is_taken = False
        self._why = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number, handler in (
            (signal.SIGINT, self._interrupt),
            (signal.SIGTERM, self._terminate),
            (signal.SIGHUP, self._terminate),
        ):
            self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def look(self) -> bool:
        """Tell once that Ctrl-C was pressed.

        Raises
        ------
        Leave
            If the process was told to go. It takes a moment, in which the run is given back; further signals are
            ignored, so that none cuts that short.
        """
        if self._why:
            for number in self._before:
                signal.signal(number, signal.SIG_IGN)
            raise Leave(self._why)
        if self._interrupts and not self._is_taken:
            self._is_taken = True
            return True
        return False

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 1:
            self._why = "interrupted"
        if self._interrupts > 2:
            # The database does not answer. The lease of what still runs expires, and the next worker takes it up.
            os._exit(EXIT_FAILED)

    def _terminate(self, number: int, _frame: FrameType | None) -> None:
        self._why = f"stopped by {signal.Signals(number).name}"


def print_outcome(run: RunHandle) -> None:
    """Print how a run ended, and what to type next."""
    print_summary(run)
    record, tip = run.record, render.tip_id(run.id)
    render.say()
    if record.reason is not None and record.status in ("failed", "cancelled"):
        render.tell_next(record.reason.next_step, f"optaic show {tip}")
    elif record.status == "pending":
        render.tell_next("a worker executes it: optaic worker", f"optaic logs {tip} -f")
    else:
        render.tell_next(f"optaic show {tip}", f"optaic logs {tip}", "optaic runs")


def print_summary(run: RunHandle) -> None:
    """Print how a run ended: status, version, reason, metrics, files."""
    print_end(run)
    if run.type == "MonitoringRun":
        print_alerts(run.alerts)
    print_metrics(run)
    print_curves(run)
    print_files(run)


def print_end(run: RunHandle) -> None:
    """Print how a run ended in a few lines: status, version, reason."""
    record = run.record
    render.say(head_of(run))
    render.say(f"  run      {record.id}  ({record.standing})")
    version = version_of(run)
    if version:
        render.say(f"  version  {version}")
    if record.reason is not None:
        render.say_fact("  reason   ", f"{record.reason.message} [{record.reason.code}]")


def head_of(run: RunHandle) -> str:
    """Say what ran, how it stands or ended, and how long it took."""
    record = run.record
    head = f"{render.strong(record.instance + '.' + record.flow_kind)}  {render.paint(run.status_text)}"
    if record.ended_at is not None and record.started_at is not None:
        head += f" in {render.took(record.started_at, record.ended_at, record.ledger_now)}"
    return head


def version_of(run: RunHandle) -> str:
    """Say which version a run made, or why it made none; an empty text where none was to be expected."""
    if run.version is not None:
        return str(run.version)
    if run.status != "completed" or run.type == "MonitoringRun":
        return ""
    if run.standing != "official":
        return "none: trials make no versions"
    return f"none: {'nothing has changed' if run.record.flow_kind == 'refresh' else 'the output is the same as before'}"
