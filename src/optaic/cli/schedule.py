"""Command schedule: what runs by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from optaic.cli import render
from optaic.cli.options import json_option
from optaic.cli.render import Heading


@click.group("schedule")
def schedule_command() -> None:
    """List, pause and resume what runs by itself.

    An instance with `schedule: {when: upstream}` runs as soon as all that it reads is ready and some of it was read by
    no completed official run. A worker executes it: optaic worker. After a failure it waits for a new version, or for
    other code or config: optaic apply.
    """


@schedule_command.command("list")
@json_option
def list_command(*, as_json: bool) -> None:
    """List what runs by itself, when it last did, and what waits because its last run came to nothing."""
    from optaic.client import connect
    from optaic.ledger.state import database_clock
    from optaic.lifecycle.trigger import listed

    with connect() as ledger, ledger.runtime.database.read() as tx:
        items, now = listed(tx), database_clock(tx)
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
            Heading(name="waits", gives_way="wrap"),
        ],
        [
            [
                f"{item['instance']}.{item['flow_kind']}",
                item["when"],
                "yes" if item["paused_at"] else "",
                render.ago(item["last_at"], now),
                render.tip_id(item["last_run"] or ""),
                _waits(item["waits"]),
            ]
            for item in items
        ],
    )
    steps = [item["waits"]["next_step"] for item in items if item["waits"] is not None]
    if steps:
        render.say()
        render.tell_next(*steps)


def _waits(waits: Mapping[str, Any] | None) -> str:
    """Say what a flow waits for although all that it reads is ready."""
    if waits is None:
        return ""
    until = "something new" if waits["until"] is None else render.iso(waits["until"])
    return f"for {until}: run {render.tip_id(waits['run_id'])} {waits['status']}: {waits['message']} [{waits['code']}]"


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
