"""Export: a run as a folder that can be read without the product."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optaic.cli import render

if TYPE_CHECKING:
    from optaic.client import Ledger
    from optaic.handle import RunHandle

ARTIFACTS = "artifacts"
"""The folder of the run's own files; apart from ours, so that no name of theirs can meet one of ours."""


@click.command("export")
@click.argument("run_reference", metavar="RUN")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def export_command(run_reference: str, *, folder: Path) -> None:
    """Write a run into a new or empty folder: run.json, inputs.json, metrics.csv, log.txt, and its files."""
    from optaic.client import connect

    with connect() as ledger:
        run = ledger.get(run_reference)
        names = export(ledger, run, folder)
    render.say(f"exported run {run.id} to {folder}: {len(names)} files")
    for name in names:
        render.say(f"  {name}")


def export(ledger: Ledger, run: RunHandle, folder: Path) -> list[str]:
    """Write a run into a folder; each artifact is verified against its digest as it is read.

    Returns
    -------
    list of str
        What was written, relative to the folder.

    Raises
    ------
    InvalidInputError
        If the folder has something in it, or cannot be written to.
    StorageError
        If an artifact cannot be read, or is not what was written.
    """
    from optaic.domain.artifact import check_name
    from optaic.errors import InvalidInputError

    _check_empty(folder)
    document = run.to_json()
    files: dict[str, bytes] = {
        "run.json": _json(document),
        "inputs.json": _json(document["inputs"]),
        "metrics.csv": _metrics(ledger, run).encode(),
        "log.txt": _log(run).encode(),
    }
    written: list[str] = []
    try:
        for name, data in files.items():
            _write(folder / name, data)
            written.append(name)
        for name in run.artifacts:
            # The ledger's names were checked when they were written; a folder of the user's deserves a second look.
            _write(folder / ARTIFACTS / check_name(name), run.artifact(name))
            written.append(f"{ARTIFACTS}/{name}")
    except OSError as error:
        raise InvalidInputError(
            f"cannot write into {folder}: {error.strerror or error}", next_step="choose another folder"
        ) from error
    return written


def _check_empty(folder: Path) -> None:
    from optaic.errors import InvalidInputError

    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is a file", next_step="choose a new or empty folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidInputError(f"{folder} is not empty; nothing was written", next_step="choose a new or empty folder")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)


def _json(document: Any) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _metrics(ledger: Ledger, run: RunHandle) -> str:
    """Write every reported point, then the metrics that the run has at its end without having been reported."""
    from optaic.ledger import attempts

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["attempt", "key", "step", "value", "at"])
    with ledger.runtime.database.read() as tx:
        points = attempts.points(tx, run.id)
    for point in points:
        writer.writerow(
            [point.attempt, point.key, _cell(point.step), _cell(point.value), render.iso(point.at)],
        )
    reported = {point.key for point in points}
    for key, value in run.metrics.items():
        if key not in reported:
            writer.writerow([run.record.attempt, key, "", _cell(value), ""])
    return text.getvalue()


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _log(run: RunHandle) -> str:
    fields = ("at", "attempt", "level", "stream", "text")
    return "".join("\t".join(str(line[field]) for field in fields) + "\n" for line in run.logs())
