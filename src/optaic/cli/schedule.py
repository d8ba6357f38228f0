"""Command schedule: what runs by itself."""

from __future__ import annotations

import click

from optaic.cli import render
from optaic.cli.options import json_option
from optaic.cli.render import Heading


@click.group("schedule")
def schedule_command() -> None:
    """List, pause and resume what runs by itself.

    An instance with `schedule: {when: upstream}` runs as soon as all that it reads is ready and some of it is new. A
    worker executes it: optaic worker.
    """


@schedule_command.command("list")
@json_option
def list_command(*, as_json: bool) -> None:
    """List what runs by itself, and what it ran for last."""
    from optaic.client import connect
    from optaic.ledger import schedules

    with connect() as ledger, ledger.runtime.database.read() as tx:
        items = schedules.items(tx)
    if as_json:
        render.print_items(items)
        return
    if not items:
        render.say("nothing runs by itself")
        render.tell_next("declare it in optaic.yaml: schedule: {when: upstream}, then: optaic apply")
        return
    render.print_table(
        [
            Heading(name="flow", gives_way="cut"),
            Heading(name="when"),
            Heading(name="paused"),
            Heading(name="last"),
            Heading(name="last run"),
        ],
        [
            [
                f"{item['instance']}.{item['flow_kind']}",
                item["when"],
                "yes" if item["paused_at"] else "",
                item["last_at"] or "",
                (item["last_run"] or "")[: render.TIP_ID_LENGTH],
            ]
            for item in items
        ],
    )


@schedule_command.command("pause")
@click.argument("target")
def pause_command(target: str) -> None:
    """Let a target run by itself no more; what comes meanwhile is not lost."""
    _set(target, is_paused=True)


@schedule_command.command("resume")
@click.argument("target")
def resume_command(target: str) -> None:
    """Let a target run by itself again, at once if something came meanwhile."""
    _set(target, is_paused=False)


def _set(target: str, *, is_paused: bool) -> None:
    from optaic.client import connect
    from optaic.domain.text import check_text
    from optaic.lifecycle.trigger import pause

    check_text(target, "the target")
    with connect() as ledger:
        pause(ledger.runtime.database, target, is_paused=is_paused)
    render.say(f"{target} is {'paused' if is_paused else 'resumed'}")
    if is_paused:
        render.tell_next(f"optaic schedule resume {target}")
