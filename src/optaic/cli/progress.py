"""Watching a run: a live bar on a terminal, plain lines elsewhere; on stderr, so that stdout holds the outcome."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from optaic.cli.app import go_silent, use_colour

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from optaic.handle import RunHandle

LINE_SECONDS = 1.0
"""The shortest time between two plain lines of progress."""


def watch() -> Watch:
    """Give the watch that fits where stderr goes."""
    return LiveWatch() if sys.stderr.isatty() else Watch()


class Watch:
    """Says in plain lines what changes: status, attempt, progress. Call it with the run whenever it was read."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None
        self._last_progress: tuple[float | None, str | None] = (None, None)
        self._said_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, run: RunHandle) -> None:
        """Show the run as it is now."""
        record = run.record
        state = (run.status_text, record.attempt)
        if state != self._last:
            self._last = state
            if not record.status.is_terminal:
                self.note(describe(run))
        progress = (record.progress_pct, record.progress_note)
        is_due = time.monotonic() - self._said_at >= LINE_SECONDS
        if progress != self._last_progress and is_due and not record.status.is_terminal:
            self._last_progress = progress
            self._said_at = time.monotonic()
            pct = "" if progress[0] is None else f"{progress[0]:3.0f} %"
            self.note("  ".join(part for part in (pct, progress[1]) if part))

    def note(self, text: str) -> None:
        """Say something beside the progress; that nobody reads it stops no work."""
        try:
            click.echo(text, err=True)
        except BrokenPipeError:
            go_silent(sys.stderr)

    def close(self) -> None:
        """Stop watching."""


class LiveWatch(Watch):
    """Draws a bar with percent, note and time elapsed; it is gone when the watch ends."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True, no_color=not use_colour(sys.stderr), highlight=False)
        self._bar: Progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[pct]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self._line: TaskID | None = None

    def __call__(self, run: RunHandle) -> None:
        """Show the run as it is now."""
        record = run.record
        pct, note = record.progress_pct, record.progress_note or ""
        if self._line is None:
            self._bar.start()
            self._line = self._bar.add_task("", total=None, pct="", note="")
        if record.status.is_terminal:
            return
        self._bar.update(
            self._line,
            description=describe(run),
            total=None if pct is None else 100.0,
            completed=pct or 0.0,
            pct="" if pct is None else f"{pct:3.0f} %",
            note=note,
        )

    def note(self, text: str) -> None:
        """Say something above the bar."""
        self._bar.console.print(text, markup=False)

    def close(self) -> None:
        """Take the bar away."""
        if self._line is not None:
            self._bar.stop()
            self._line = None


def describe(run: RunHandle) -> str:
    """Say what is going on with a run that has not ended, in a few words."""
    record = run.record
    text = f"{record.instance}.{record.flow_kind} {run.status_text}"
    if record.status == "pending" and record.reason is not None:
        return f"{text}: {record.reason.message}"
    if record.attempt > 1:
        return f"{text}, attempt {record.attempt}"
    return text
