"""Command model: the versions of a model, and which of them is in use."""

from __future__ import annotations

import re

import click

from optaic.cli import render
from optaic.cli.options import json_option
from optaic.cli.render import Heading
from optaic.domain.stage import NO_STAGE
from optaic.errors import InvalidInputError

_VERSION = re.compile(r"([^@]+)@([1-9][0-9]{0,8})")


@click.group("model")
def model_command() -> None:
    """List the versions of a model, and say which is in use.

    A version may be a candidate, the champion, archived, or none of these. A model has at most one champion; the one
    before is archived. An instance reads it by {from: alpha, select: "stage:champion"}.
    """


@model_command.command("stage")
@click.argument("version", metavar="MODEL@N")
@click.argument("stage", metavar="candidate|champion|archived|none")
@json_option
def stage_command(version: str, stage: str, *, as_json: bool) -> None:
    """Give a version of a model a stage: optaic model stage alpha@3 champion.

    With none, its stage is taken back.
    """
    from optaic.client import connect

    match = _VERSION.fullmatch(version)
    if match is None:
        raise InvalidInputError(
            f"{version[:60]!r} names no version of a model",
            next_step="write it as alpha@3; list them: optaic model list alpha",
        )
    name, number = match[1], int(match[2])
    with connect() as ledger:
        is_new = ledger.stage(name, number, stage)
    if as_json:
        given = None if stage == NO_STAGE else stage
        render.print_json({"model": name, "version": number, "stage": given, "changed": is_new})
        return
    if stage == NO_STAGE:
        render.say(f"{name}@{number} has no stage now" if is_new else f"{name}@{number} had no stage")
    else:
        render.say(f"{name}@{number} is {'now' if is_new else 'already'} {stage}")
    render.tell_next(f"optaic model list {name}", "optaic status")


@model_command.command("list")
@click.argument("model", metavar="MODEL")
@json_option
def list_command(model: str, *, as_json: bool) -> None:
    """List the versions of a model with their stages, newest first."""
    from optaic.client import connect

    with connect() as ledger:
        items = ledger.models(model)
    if as_json:
        render.print_items(items)
        return
    if not items:
        render.say(f"{model} has no version yet")
        render.tell_next(f"optaic run {model} --recursive")
        return
    render.print_table(
        [
            Heading(name="version"),
            Heading(name="stage"),
            Heading(name="fits"),
            Heading(name="labels to"),
            Heading(name="run"),
            Heading(name="made at"),
        ],
        [
            [
                f"{item['model']}@{item['version']}",
                item["stage"] or "",
                str(item["fits"]),
                item["label_end"] or "",
                item["run_id"][: render.TIP_ID_LENGTH],
                item["created_at"][:19],
            ]
            for item in items
        ],
    )
