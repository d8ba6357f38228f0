"""How things look on a terminal, and in a pipe: tables, times, sizes, and the one JSON document."""

from __future__ import annotations

import datetime as dt
import json
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from optaic.cli.app import use_colour

MIN_ID_LENGTH = 13
"""Ids begin with the time in milliseconds: 12 digits and a hyphen; fewer are common to all runs of an hour."""

TIP_ID_LENGTH = 18
"""Characters of an id in a command to type: the time, and 12 bits that tell apart what the same millisecond made."""

STATUS_COLOURS = {
    "completed": "green",
    "done": "green",
    "ready": "green",
    "ok": "green",
    "running": "cyan",
    "pending": "yellow",
    "waiting": "yellow",
    "blocked": "red",
    "stale": "yellow",
    "stale_source_delayed": "yellow",
    "warning": "yellow",
    "no_verdict": "yellow",
    "failed": "red",
    "error": "red",
    "problem": "red",
    "critical": "red",
    "lost": "red",
    "cancelled": "magenta",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A column of a table.

    Attributes
    ----------
    name
        What stands above it.
    is_number
        Set to the right.
    is_status
        Coloured by its first word.
    gives_way
        What happens to it when the terminal is narrow: `wrap` goes on in the next line, `cut` ends in an ellipsis.
    """

    name: str
    is_number: bool = False
    is_status: bool = False
    gives_way: Literal["no", "wrap", "cut"] = "no"


def print_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return iso(value)
    return str(value)


def print_items(items: Sequence[Mapping[str, Any]], *, following: str | None = None) -> None:
    """Print a list as a JSON document, with the cursor of the next page."""
    print_json({"items": list(items), "next": following})


def print_table(headings: Sequence[Heading], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: for people on a terminal, as plain aligned text elsewhere."""
    if sys.stdout.isatty():
        _print_rich(headings, rows)
        return
    names = [heading.name for heading in headings]
    widths = [max(len(row[i]) for row in [names, *rows]) for i in range(len(names))]
    for row in [names, *rows]:
        cells = [
            cell.rjust(width) if heading.is_number else cell.ljust(width)
            for cell, width, heading in zip(row, widths, headings, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _print_rich(headings: Sequence[Heading], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(
            heading.name,
            justify="right" if heading.is_number else "left",
            no_wrap=heading.gives_way == "no",
            overflow="fold" if heading.gives_way == "wrap" else "ellipsis",
        )
    for row in rows:
        table.add_row(
            *(
                Text(cell, style=colour_of(cell) or "") if heading.is_status else Text(cell)
                for cell, heading in zip(row, headings, strict=True)
            )
        )
    Console(no_color=not use_colour(sys.stdout), highlight=False).print(table)


def colour_of(status: str) -> str | None:
    """Give the colour of a status by its first word; None for an unknown one."""
    return STATUS_COLOURS.get(status.split(" ", maxsplit=1)[0])


def paint(status: str) -> str:
    """Colour a status, where the output takes colour."""
    colour = colour_of(status)
    return tint(status, colour) if colour else status


def tint(text: str, colour: str) -> str:
    """Colour a text, where the output takes colour."""
    return click.style(text, fg=colour) if use_colour(sys.stdout) else text


def strong(text: str) -> str:
    """Make a text bold, where the output takes it."""
    return click.style(text, bold=True) if use_colour(sys.stdout) else text


def say(text: str = "") -> None:
    """Print a line; its colours were decided when it was made."""
    click.echo(text, color=True)


def say_fact(head: str, text: str) -> None:
    """Print a text after a head, on a terminal with its further lines below its first."""
    if not sys.stdout.isatty():
        say(f"{head}{text}")
        return
    import shutil
    import textwrap

    indent = len(click.unstyle(head))
    width = max(shutil.get_terminal_size().columns - indent, 30)
    # A word that is too long, such as an id in a command to type, is left whole so that it can be copied.
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    say(head + f"\n{' ' * indent}".join(lines))


def tell_next(*commands: str) -> None:
    """Say what to type next, one command a line."""
    for index, command in enumerate(commands):
        say_fact("  next: " if index == 0 else "        ", command)


def short_ids(ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Give the shortest beginnings, of one length, that tell some ids apart."""
    texts = {run_id: str(run_id) for run_id in ids}
    length = MIN_ID_LENGTH
    while len({text[:length] for text in texts.values()}) < len(texts):
        length += 1
    return {run_id: text[:length] for run_id, text in texts.items()}


def tip_id(run_id: uuid.UUID | str) -> str:
    """Give the beginning of an id that a command to type names a run by."""
    return str(run_id)[:TIP_ID_LENGTH]


def iso(instant: dt.datetime) -> str:
    """Write an instant as ISO 8601 in UTC."""
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def ago(instant: dt.datetime | None, now: dt.datetime) -> str:
    """Say how long ago something was: `3 min ago`; an empty text for None."""
    if instant is None:
        return ""
    seconds = (now - instant).total_seconds()
    if seconds < 1:
        return "now"
    return f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """Say a duration in its largest unit: `0.8 s`, `42 s`, `3 min`, `5 h`, `12 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size * (1.5 if unit == "min" else 1):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def took(started_at: dt.datetime | None, ended_at: dt.datetime | None, now: dt.datetime) -> str:
    """Say how long a run took, or has taken so far; an empty text before it started."""
    if started_at is None:
        return ""
    return span(max(((ended_at or now) - started_at).total_seconds(), 0.0))


def between(first: object, last: object) -> str:
    """Say which dates are meant: `2015-01-02 to 2015-12-31`, `from 2015-01-02 on`; an empty text for all of them."""
    if first and last:
        return f"{first} to {last}"
    return f"from {first} on" if first else f"to {last}" if last else ""


def size(size_bytes: float) -> str:
    """Say a size: `512 B`, `1.4 MB` (powers of 1,000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1_000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1_000
    return f"{size_bytes:.1f} TB"


def number(value: object) -> str:
    """Write a metric for a person: thousands with commas, six significant digits or more; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"


def compact(value: Any) -> str:
    """Write a parameter on one line, as JSON without needless quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
