"""Commands that keep a project well: gc, doctor."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from optaic.cli import render
from optaic.cli.app import EXIT_FAILED
from optaic.cli.options import json_option

if TYPE_CHECKING:
    from optaic.lifecycle.doctor import Check

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")

_SELF = re.compile(r":? ?optaic doctor$")
"""What errors recommend elsewhere; here it is what was just done."""


def read_duration(text: str) -> dt.timedelta:
    """Read a duration: `90s`, `30m`, `2h`, `7d`; a bare number is seconds.

    Raises
    ------
    InvalidInputError
        If it is none.
    """
    from optaic.errors import InvalidInputError

    match = _DURATION.fullmatch(text.strip().lower())
    unit = _UNITS.get(match[2] or "s") if match else None
    if match is None or unit is None or float(match[1]) * unit > 1e9:
        raise InvalidInputError(f"{text!r} is not a duration", next_step="write for example 90s, 30m, 2h or 7d")
    return dt.timedelta(seconds=float(match[1]) * unit)


@click.command("gc")
@click.option("--grace", metavar="AGE", help="Leave alone what is younger: 90s, 30m, 2h, 7d.  [default: one day]")
@click.option("--dry-run", is_flag=True, help="Remove nothing; only say what would be removed.")
@json_option
def gc_command(*, grace: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove files that no completed run refers to: what failed and killed runs have left behind.

    Files of runs that are pending or running are never touched, and nothing that is referred to.
    """
    from optaic.client import connect
    from optaic.lifecycle.gc import find_garbage, remove
    from optaic.lifecycle.rescue import rescue

    age = None if grace is None else read_duration(grace)
    with connect() as ledger:
        if age is None:
            age = dt.timedelta(seconds=ledger.settings.gc_grace_seconds)
        database, store = ledger.runtime.database, ledger.runtime.store
        if not dry_run:
            rescue(database)  # what a lost run wrote is not garbage before its end has been decided
        found = find_garbage(database, store, grace=age, now=dt.datetime.now(dt.UTC))
        removed = 0 if dry_run else remove(store, found.orphans)
    if as_json:
        render.print_json(
            {
                "dry_run": dry_run,
                "grace_seconds": age.total_seconds(),
                "objects": found.objects,
                "orphans": len(found.orphans),
                "orphan_bytes": found.size_bytes,
                "removed": removed,
                "kept_young": found.young_count,
                "kept_unknown": found.unknown_count,
                "keys": [item.key for item in found.orphans],
            }
        )
        return
    verb = "would remove" if dry_run else "removed"
    count = len(found.orphans) if dry_run else removed
    render.say(f"{verb} {count:,} of {found.objects:,} objects, {render.size(found.size_bytes)}")
    if found.young_count:
        render.say(f"left {found.young_count:,} unreferenced for now: younger than the grace, or of runs not ended")
    if found.unknown_count:
        render.say(f"left {found.unknown_count:,} unreferenced whose names are not those of runs' files")
    if dry_run and found.orphans:
        render.tell_next("optaic gc" + (f" --grace {grace}" if grace else ""))


@click.command("doctor")
@click.option("--migrate", is_flag=True, help="First bring the ledger's schema to this version (make a backup before).")
@click.option("--deep", is_flag=True, help="Read every file that runs refer to, whole, and verify its SHA-256.")
@json_option
def doctor_command(*, migrate: bool, deep: bool, as_json: bool) -> int:
    """Check Python, libraries, project file, database, storage, leases and files, and say what to do.

    Files that runs refer to are compared by size; with --deep by SHA-256, which reads all of them.
    """
    from optaic import bootstrap
    from optaic.errors import OptaicError
    from optaic.lifecycle.doctor import Check, Level, check_libraries, check_python, examine

    checks: list[Check] = []
    try:
        settings = bootstrap.locate()
    except OptaicError as error:
        place = Check(name="project", level=Level.PROBLEM, message=error.message, next_step=error.next_step)
        checks = [check_python(), check_libraries(), place]
    else:
        if migrate:
            bootstrap.make_home(settings)
        checks = list(examine(settings, now=dt.datetime.now(dt.UTC), is_deep=deep))
    checks = [
        replace(check, next_step=_SELF.sub("", check.next_step) or None) if check.next_step else check
        for check in checks
    ]
    problems = sum(check.level is Level.PROBLEM for check in checks)
    warnings = sum(check.level is Level.WARNING for check in checks)
    if as_json:
        render.print_json({"ok": problems == 0, "items": [asdict(check) for check in checks], "next": None})
    else:
        _print_checks(checks, problems, warnings)
    return EXIT_FAILED if problems else 0


def _print_checks(checks: Sequence[Check], problems: int, warnings: int) -> None:
    for check in checks:
        render.say_fact(f"{render.paint(f'{check.level:<7}')}  {check.name:<10}  ", check.message)
        if check.next_step:
            render.say_fact(f"{'':<21}next: ", check.next_step)
    render.say()
    if problems or warnings:
        render.say(f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}")
    else:
        render.say("all is well")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
