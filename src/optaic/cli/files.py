"""Files of a run as a person reads them: a folder of many in one line, and where a report lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optaic.cli import render
from optaic.cli.render import Heading

if TYPE_CHECKING:
    from optaic.handle import RunHandle

REPORT = "report.html"

MANY = 4
"""A folder with more files than this is told in one line."""


def fold_names(names: Iterable[str]) -> dict[str, list[str]]:
    """Give names as they are told, in order, each with those that it stands for.

    Examples
    --------
    >>> fold_names(["a.json", *(f"fits/{number}" for number in range(5))])
    {'a.json': ['a.json'], 'fits/ (5 files)': ['fits/0', 'fits/1', 'fits/2', 'fits/3', 'fits/4']}
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        head, slash, _ = name.rpartition("/")
        folders.setdefault(f"{head}/" if slash else name, []).append(name)
    told: dict[str, list[str]] = {}
    for folder, found in folders.items():
        if len(found) > MANY:
            told[f"{folder} ({len(found)} files)"] = found
        else:
            told |= {name: [name] for name in found}
    return told


def print_files(run: RunHandle) -> None:
    """Print the names of a run's files in a line, and where its report lies."""
    if not run.artifacts:
        return
    render.say()
    render.say_fact("  files    ", ", ".join(fold_names(run.artifacts)))
    _print_report(run)


def print_artifacts(run: RunHandle) -> None:
    """Print a table of a run's files, and where its report lies."""
    files: Sequence[Mapping[str, Any]] = run.to_json()["artifacts"]
    if not files:
        return
    by_name = {item["name"]: item for item in files}
    rows: list[list[str]] = []
    for told, names in fold_names(by_name).items():
        kinds = {by_name[name]["media_type"] for name in names}
        size_bytes = sum(by_name[name]["size_bytes"] for name in names)
        rows.append([told, render.size(size_bytes), kinds.pop() if len(kinds) == 1 else ""])
    render.say()
    render.print_table(
        [Heading(name="artifact", gives_way="wrap"), Heading(name="size", is_number=True), Heading(name="type")], rows
    )
    if REPORT in by_name:
        render.say()
        _print_report(run)


def _print_report(run: RunHandle) -> None:
    path = report_path(run)
    if path is not None:
        render.say(f"  report   {path}")


def report_path(run: RunHandle) -> Path | None:
    """Say where the report of a run lies, from the working directory if it is inside; None if that is nowhere here."""
    path = run.path(REPORT) if REPORT in run.artifacts else None
    here = Path.cwd()
    return path.relative_to(here) if path is not None and path.is_relative_to(here) else path
