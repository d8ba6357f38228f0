"""A tour through a project: commands as they are typed, what comes of them in short, and the run it stops at."""

from __future__ import annotations

from contextlib import chdir
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optaic.cli import render

if TYPE_CHECKING:
    from optaic.client import Ledger
    from optaic.handle import RunHandle


class TourEnd(Exception):  # noqa: N818 - it is no error of the tour's: what it shows has ended otherwise
    """A command ended otherwise than the tour can go on from; what is wrong has been said."""


class Tour:
    """What is typed in a project's folder; `close()` ends the processes that its runs came from.

    Parameters
    ----------
    root
        The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._chapters = 0

    @cached_property
    def ledger(self) -> Ledger:
        """The project's ledger, opened when it is first needed: runs come from one process, which saves their start."""
        from optaic.client import connect

        return connect(self.root)

    def close(self) -> None:
        """Close the ledger."""
        if "ledger" in self.__dict__:
            self.ledger.close()

    def chapter(self, title: str, *lines: str) -> None:
        """Begin a chapter: its title, and why it is worth reading."""
        self._chapters += 1
        render.say()
        render.say(render.strong(f"{self._chapters}. {title}"))
        for line in lines:
            render.say(line)

    def say(self, *lines: str) -> None:
        """Say why the next command is typed."""
        render.say()
        for line in lines:
            render.say(line)

    def show(self, command: str) -> None:
        """Show a command whose output follows."""
        render.say()
        render.say(render.strong(f"$ {command}"))

    def type(self, *arguments: str) -> None:
        """Do what typing an `optaic` command does, and show all that it prints.

        Raises
        ------
        TourEnd
            If it does not end with exit code 0.
        """
        from optaic.cli.app import cli

        self.show(f"optaic {' '.join(arguments)}")
        with chdir(self.root):
            code = cli.main(args=list(arguments), prog_name="optaic", standalone_mode=False)
        if code:
            raise TourEnd

    def run(self, target: str, *shown: str, mode: str | None = None, is_recursive: bool = False) -> RunHandle:
        """Do what `optaic run` does, and show of what comes out only some metrics.

        Parameters
        ----------
        target
            What to run.
        shown
            Names of metrics.
        mode
            How a dataset is refreshed.
        is_recursive
            Whether first what is not ready upstream.

        Raises
        ------
        TourEnd
            If the run does not complete.
        """
        options = ["--recursive"] if is_recursive else [] if mode is None else ["--mode", mode]
        self.show(" ".join(["optaic run", target, *options]))
        run = _run_plan(self.ledger, target) if is_recursive else _run_alone(self.ledger, target, mode)
        if run is None:
            raise TourEnd
        _print_short(run, shown)
        return run

    def reproduce(self, reference: str) -> None:
        """Do what `optaic reproduce` does, and show only how the runs compare.

        Raises
        ------
        TourEnd
            If the run does not complete.
        """
        from optaic.cli.compare import print_comparison
        from optaic.cli.execute import execute_watched, print_end

        self.show(f"optaic reproduce {reference}")
        run = self.ledger.reproduce(reference, detach=True)
        is_waited = execute_watched(self.ledger, run)
        print_end(run)
        if not is_waited or run.status != "completed":
            raise TourEnd
        print_comparison(run)

    def edit(self, before: str, after: str) -> None:
        """Edit the project file, as its user would, and declare what it says."""
        from optaic.settings import PROJECT_FILE

        file = self.root / PROJECT_FILE
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(before, after, 1), encoding="utf-8")
        self.apply()

    def apply(self) -> None:
        """Do what `optaic apply` does, and show the change."""
        from optaic.cli.project import print_changes

        self.show("optaic apply")
        print_changes(self.ledger.apply())


def _run_alone(ledger: Ledger, target: str, mode: str | None) -> RunHandle | None:
    from optaic.cli.execute import execute_watched

    run = ledger.submit(target, mode=mode)
    return run if execute_watched(ledger, run) else None


def _run_plan(ledger: Ledger, target: str) -> RunHandle | None:
    from optaic.cli.plan import execute_plan_watched, print_steps

    plan = ledger.submit_plan(target)
    if not execute_plan_watched(ledger, plan):
        return None
    if len(plan.steps) > 1 or plan.run is None:
        print_steps(plan)
        render.say()
    return plan.run


def _print_short(run: RunHandle, names: tuple[str, ...]) -> None:
    """Print how a run ended, its version and some metrics in two lines; all that is known of it where it failed."""
    from optaic.cli.execute import head_of, print_end, version_of
    from optaic.cli.figure import units_of, write_metric

    if run.status != "completed":
        print_end(run)
        raise TourEnd
    units = units_of((run.type, run.metrics))
    version = version_of(run)
    facts = [f"version {version}"] if version else []
    render.say(head_of(run))
    render.say_fact("  ", "   ".join([*facts, *(f"{name} {write_metric(name, run.metrics, units)}" for name in names)]))


def tell_stopped(shown: Path) -> None:
    """Say that the demo ends early, and what to do."""
    click.echo(f"the demo stops here; what it has made stays in {shown}", err=True)
    click.echo(f"  next: cd {shown}; optaic status", err=True)
