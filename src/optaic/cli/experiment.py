"""Commands about expressions and experiments: functions, promote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from optaic.cli import render
from optaic.cli.options import json_option
from optaic.cli.render import Heading

if TYPE_CHECKING:
    from optaic.quant.expression import Function


@click.command("functions")
@click.argument("name", metavar="[NAME]", required=False)
@json_option
def functions_command(name: str | None, *, as_json: bool) -> None:
    """List what expressions can call; of one, its window, what becomes of nulls, and an example."""
    from optaic.domain.suggestion import did_you_mean
    from optaic.errors import NotFoundError
    from optaic.quant.expression import CATALOGUE

    found = list(CATALOGUE.values())
    if name is not None:
        found = [one for one in found if one.name == name.upper()]
        if not found:
            raise NotFoundError(
                f"there is no function {name.upper()}{did_you_mean(name.upper(), CATALOGUE)}",
                next_step="see all of them with: optaic functions",
            )
    if as_json:
        render.print_items([_to_json(one) for one in found])
    elif name is not None:
        for label, value in _to_json(found[0]).items():
            if value and label != "name":
                text = "needs all sessions from the first on" if value is True else str(value)
                render.say(f"{label.replace('_', ' '):<13} {text}")
    else:
        render.print_table(
            [Heading(name="function"), Heading(name="shape"), Heading(name="what it gives", gives_way="wrap")],
            [[one.usage, str(one.shape), one.meaning] for one in found],
        )
        render.say()
        render.tell_next("optaic functions TS_MEAN   (its window, what becomes of nulls, an example)")


def _to_json(function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "usage": function.usage,
        "shape": str(function.shape),
        "meaning": function.meaning,
        "window": function.window,
        "nulls": function.nulls,
        "full_history": function.full_history,
        "example": function.example,
    }


@click.command("promote")
@click.argument("experiment", metavar="EXPERIMENT")
@click.option("--as", "name", metavar="NAME", required=True, help="The name of the new dataset.")
def promote_command(experiment: str, *, name: str) -> None:
    """Make a dataset of what an experiment computes: adds it to optaic.yaml, and applies the file."""
    from optaic.cli.project import print_changes
    from optaic.client import connect

    with connect() as ledger:
        changes = ledger.promote(experiment, name)
    print_changes(changes)
    render.tell_next(f"optaic run {name} --recursive")
