"""Commands about the project as a whole: init, apply, status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optaic.cli import render
from optaic.cli.options import json_option
from optaic.cli.render import Heading

if TYPE_CHECKING:
    from optaic.lifecycle.apply import Changes
    from optaic.settings import Settings

SOURCES_FILE = "sources.py"
"""Where the example of a user's own function goes; never overwritten."""


@click.command("init")
@click.argument("folder", metavar="[DIR]", required=False, default=".", type=click.Path(path_type=Path))
def init_command(*, folder: Path) -> None:
    """Make a project: optaic.yaml, and a ledger in .optaic/ (which git ignores).

    Nothing is overwritten. In a project without a ledger, such as a fresh clone, only the ledger is made.
    """
    from optaic.project import new_project_text, new_sources_text
    from optaic.settings import PROJECT_FILE

    root = folder.absolute()
    file = root / PROJECT_FILE
    is_new = not file.exists()
    if is_new:
        make_folder(root)
        file.write_text(new_project_text(_project_name(root)), encoding="utf-8")
    make_ledger(root, is_new=is_new)
    render.say(f"made {folder / PROJECT_FILE}" if is_new else f"kept {folder / PROJECT_FILE} as it is")
    if is_new and not (root / SOURCES_FILE).exists():
        (root / SOURCES_FILE).write_text(new_sources_text(), encoding="utf-8")
        render.say(f"made {folder / SOURCES_FILE}, an example of a function of your own")
    render.say(f"made {folder / '.optaic'}, the ledger")
    steps = [] if root == Path.cwd() else [f"cd {folder}"]
    render.tell_next(*steps, f"look at {PROJECT_FILE}, then: optaic apply", "optaic run prices")


def make_folder(root: Path) -> None:
    """Make a folder for a project.

    Raises
    ------
    InvalidInputError
        If it cannot be made.
    """
    from optaic.errors import InvalidInputError

    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"cannot make {root}: {error.strerror}", next_step="choose another folder") from error


def make_ledger(root: Path, *, is_new: bool) -> Settings:
    """Make the ledger of a project that has none.

    Raises
    ------
    ConflictError
        If it has one.
    LedgerError
        If the database cannot be reached.
    """
    import os

    from optaic import bootstrap
    from optaic.errors import ConflictError, LedgerError
    from optaic.settings import PROJECT_FILE, read_settings

    settings = read_settings(root, os.environ)
    if not is_new:
        try:
            bootstrap.open_runtime(settings).close()
        except LedgerError:
            pass  # it has none, or an older one: that is what this command is for
        else:
            raise ConflictError(
                f"{root} is a project already; {PROJECT_FILE} and its ledger were left as they are",
                next_step="declare what the file says with: optaic apply",
            )
    bootstrap.make_home(settings)
    return settings


def _project_name(root: Path) -> str:
    """Make a name of the folder's: lower case letters, digits and underscores, starting with a letter."""
    kept = "".join(char if char.isascii() and char.isalnum() else "_" for char in root.name.lower()).strip("_")
    if not kept or not kept[0].isalpha():
        kept = f"project_{kept}".strip("_")
    return kept[:100]


@click.command("apply")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="Archive instances that the file no longer has; nothing is deleted.")
@click.option("--dry-run", is_flag=True, help="Change nothing; only say what would change.")
@json_option
def apply_command(file: Path | None, *, prune: bool, dry_run: bool, as_json: bool) -> None:
    """Declare definitions, instances, flows and inputs as optaic.yaml says. Doing it again changes nothing."""
    from optaic.client import connect

    with connect(None if file is None else file.absolute().parent) as ledger:
        changes = ledger.apply(prune=prune, dry_run=dry_run, path=None if file is None else file.absolute())
    if as_json:
        render.print_json(_changes_json(changes, dry_run=dry_run))
        return
    print_changes(changes, dry_run=dry_run)
    if not dry_run:
        _tell_what_runs(changes)


def _changes_json(changes: Changes, *, dry_run: bool) -> dict[str, Any]:
    return {
        "project": changes.project,
        "dry_run": dry_run,
        "is_empty": changes.is_empty,
        "items": [
            {
                "action": item.action,
                "instance": item.instance,
                "kind": item.kind,
                "details": list(item.details),
            }
            for item in changes.items
        ],
        "next": None,
    }


_MARKS = {"created": "+", "updated": "~", "archived": "-", "kept": "?"}
_COLOURS = {"created": "green", "updated": "yellow", "archived": "red", "kept": "magenta"}


def print_changes(changes: Changes, *, dry_run: bool = False) -> None:
    """Print what an apply changed, one instance a line, without those that are as they were."""
    for item in changes.items:
        if item.action in _MARKS:
            text = f"{_MARKS[item.action]} {item.instance}"
            details = f": {', '.join(item.details)}" if item.details else ""
            why = "  (no longer in the file; archive it with: optaic apply --prune)" if item.action == "kept" else ""
            render.say(f"{render.tint(text, _COLOURS[item.action])}  {item.kind} {item.action}{details}{why}")
    if changes.is_empty:
        count = sum(item.action == "unchanged" for item in changes.items)
        render.say(f"nothing to change: {count} instance{'' if count == 1 else 's'} as declared")
    elif dry_run:
        render.say("nothing was changed: this was a dry run")


def _tell_what_runs(changes: Changes) -> None:
    """Name the commands that would bring what changed up to date."""
    changed = [item.instance for item in changes.items if item.action in ("created", "updated")]
    if changed:
        render.tell_next(*(f"optaic run {name}" for name in changed[:3]), "optaic status")


@click.command("status")
@json_option
def status_command(*, as_json: bool) -> None:
    """Every flow: status, version, last data date, expected date, and why it is not ready."""
    from optaic.client import connect

    with connect() as ledger:
        items = ledger.status()
    if as_json:
        render.print_items(items)
    elif not items:
        render.say("nothing is declared yet")
        render.tell_next("optaic apply")
    else:
        print_status(items)


def print_status(items: list[dict[str, Any]]) -> None:
    """Print the flows with their statuses, and why some are not ready."""
    is_dated = any(item["expected_date"] for item in items)
    render.print_table(
        [
            Heading(name="flow", gives_way="cut"),
            Heading(name="status", is_status=True),
            Heading(name="version", is_number=True),
            Heading(name="last data"),
            *([Heading(name="expected")] if is_dated else []),
            Heading(name="why", gives_way="wrap"),
        ],
        [
            [
                f"{item['instance']}.{item['flow_kind']}",
                str(item["status"]),
                "" if item["version"] is None else str(item["version"]),
                item["last_data_date"] or "",
                *([item["expected_date"] or ""] if is_dated else []),
                _why(item),
            ]
            for item in items
        ],
    )
    steps = _what_makes_ready(items)
    if steps:
        render.say()
        render.tell_next(*steps)


def _why(item: dict[str, Any]) -> str:
    """Say why a flow is not ready, and which run of it waits."""
    told: list[str] = [item["error"]] if item["error"] else []
    told += [cause["detail"] for cause in item["causes"]]
    if item["pending_run"] is not None:
        told.append(f"run {render.tip_id(item['pending_run'])} waits for a worker")
    return "; ".join(dict.fromkeys(told))  # an upstream that is read in two roles is told once


def _what_makes_ready(items: list[dict[str, Any]]) -> list[str]:
    """Name the commands for what waits or is not ready, ends of the graph first: what they need comes with them."""
    pending = [item for item in items if item["pending_run"] is not None]
    steps = ["optaic worker --until-idle"] if pending else []
    waiting = [item for item in items if item["next_step"] not in (None, *steps) and item["status"] != "running"]
    needed = {cause["upstream"] for item in waiting for cause in item["causes"]}
    ends = [item for item in waiting if item["target"] not in needed]
    if not ends:
        return steps
    ends.sort(key=lambda item: not item["next_step"].endswith("--recursive"))
    return [*steps, ends[0]["next_step"], f"optaic why {ends[0]['target']}"]
