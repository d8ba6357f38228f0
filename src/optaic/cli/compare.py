"""Commands that hold runs against each other: reproduce, diff, compare."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from optaic.cli import render
from optaic.cli.app import EXIT_FAILED
from optaic.cli.figure import is_beside, units_of, write_metric
from optaic.cli.files import fold_names
from optaic.cli.options import json_option
from optaic.cli.render import Heading

if TYPE_CHECKING:
    from optaic.handle import RunHandle

VERDICTS = {
    "identical": ("identical", "to"),
    "within_tolerance": ("within tolerance", "of"),
    "different": ("different", "from"),
}

VERDICT_COLOURS = {"identical": "green", "within_tolerance": "yellow", "different": "red"}

MAX_SHOWN = 20
"""Places that are shown of a comparison; all that were kept are in --json."""

MAX_NAME_WIDTH = 34
MAX_CELL_WIDTH = 30
GAP = 2


@click.command("reproduce", epilog="Exit codes: 0 identical or within tolerance, 1 different, or it failed.")
@click.argument("run_reference", metavar="RUN")
@click.option("--detach", is_flag=True, help="Record the run and return; a worker executes it.")
@json_option
def reproduce_command(run_reference: str, *, detach: bool, as_json: bool) -> int:
    """Run again exactly what a run did, and compare what comes out.

    The new run has the same versions of its inputs, config, params, seed and clock, and executes the source that was
    stored when the original was applied, whatever the project's folder has become. It is a trial: nothing is
    published. A run that failed can be reproduced too, if it was started; then how both ended is compared.
    """
    from optaic.cli.execute import execute_watched, print_summary
    from optaic.client import connect

    with connect() as ledger:
        run = ledger.reproduce(run_reference, detach=True)
        if not detach and not execute_watched(ledger, run):
            return EXIT_FAILED
        comparison = run.comparison
        with suppress(BrokenPipeError):
            if as_json:
                render.print_json({**run.to_json(), "comparison": comparison})
            else:
                print_summary(run)
                print_comparison(run)
                render.say()
                render.tell_next(*_next_steps(run))
        is_good = comparison is not None and comparison["verdict"] != "different"
    return 0 if detach or (run.status == "completed" and is_good) else EXIT_FAILED


def _next_steps(run: RunHandle) -> list[str]:
    record, tip = run.record, render.tip_id(run.id)
    if record.status == "pending":
        return ["a worker executes it: optaic worker", f"optaic show {tip}"]
    steps = [f"optaic diff {render.tip_id(str(record.reproduces_id))} {tip}", f"optaic show {tip}"]
    return steps if record.reason is None else [record.reason.next_step, *steps]


def print_comparison(run: RunHandle) -> None:
    """Print how a reproduction compares with its original, and where they differ; nothing for other runs."""
    comparison = run.comparison
    if comparison is None:
        return
    verdict: str = comparison["verdict"]
    said, link = VERDICTS[verdict]
    detail = f"{render.tint(said, VERDICT_COLOURS[verdict])} {link} run {render.tip_id(comparison['original'])}"
    if verdict != "identical":
        detail += f", in {comparison['place_count']} place{'' if comparison['place_count'] == 1 else 's'}"
    if comparison["largest_difference"]:
        detail += f"; largest relative difference {comparison['largest_difference']:.2g}"
    render.say_fact("  compared    ", detail)
    for why in dict.fromkeys(comparison["left_out"].values()):
        names = [name for name, reason in comparison["left_out"].items() if reason == why]
        render.say_fact("  left aside  ", f"{', '.join(fold_names(names))}: {why}")
    places: list[dict[str, Any]] = comparison["places"]
    if not places:
        return
    render.say()
    render.print_table(
        [
            Heading(name="where", gives_way="wrap"),
            Heading(name="first at", gives_way="wrap"),
            Heading(name="original", gives_way="wrap", is_number=True),
            Heading(name="reproduction", gives_way="wrap", is_number=True),
            Heading(name="values", is_number=True),
            Heading(name="rel. diff.", is_number=True),
        ],
        [_place_cells(place) for place in places[:MAX_SHOWN]],
    )
    if comparison["place_count"] > MAX_SHOWN:
        render.say(f"... and {comparison['place_count'] - MAX_SHOWN} more")


def _place_cells(place: Mapping[str, Any]) -> list[str]:
    where = str(place["name"]) + (f" {place['column']}" if place["column"] else "")
    key: Mapping[str, Any] = place["key"] or {}
    at = f"row {key['row']}" if set(key) == {"row"} else " ".join(str(value) for value in key.values())
    values = [_exact(place["original"]), _exact(place["reproduction"])]
    if place["note"]:
        where += f": {place['note']}"
        if place["original"] is None and place["reproduction"] is None:
            values = ["", ""]
    gap = place["relative_difference"]
    return [where, at, *values, str(place["count"]), "" if gap is None else f"{gap:.2g}"]


def _exact(value: object) -> str:
    """Write a value so that two that differ look different."""
    if isinstance(value, float):
        return repr(value)
    return "-" if value is None else str(value)


@click.command("diff")
@click.argument("one", metavar="RUN")
@click.argument("other", metavar="RUN")
@json_option
def diff_command(one: str, other: str, *, as_json: bool) -> None:
    """Put two runs side by side, differences first.

    What they are, params, config, code and the names of source files that differ, inputs, metrics, and artifacts by
    digest.
    """
    from optaic.client import connect

    with connect() as ledger:
        document = ledger.diff(one, other)
    if as_json:
        render.print_json(document)
        return
    _print_heads(document)
    rows = [row for row in document["rows"] if row["is_different"]]
    if rows:
        render.print_table(
            [
                Heading(name="differs", gives_way="wrap"),
                *(Heading(name=name, gives_way="wrap") for name in ("1", "2")),
                Heading(name="difference", gives_way="wrap"),
            ],
            [[_row_name(row), *_cells(row), _difference(row)] for row in rows],
        )
    else:
        render.say("nothing differs")
    for note in document["notes"]:
        render.say_fact("  note  ", note)
    _print_same(document["rows"])
    ids = [render.tip_id(run["id"]) for run in document["runs"]]
    render.say()
    render.tell_next(*(f"optaic show {run_id}" for run_id in ids))


@click.command("compare")
@click.argument("references", metavar="RUN...", nargs=-1, required=True)
@json_option
def compare_command(references: tuple[str, ...], *, as_json: bool) -> None:
    """Put 2 to 20 runs side by side: what differs, metrics last, with the best and the worst of each."""
    from optaic.client import connect

    with connect() as ledger:
        document = ledger.compare(references)
    if as_json:
        render.print_json(document)
        return
    _print_heads(document)
    differing = [row for row in document["rows"] if row["is_different"]]
    rows = [row for row in differing if row["section"] != "metrics"]
    table = [[_row_name(row), *_cells(row | {"difference": None})] for row in rows]
    table += _metric_rows(document, [row["name"] for row in differing if row["section"] == "metrics"])
    _print_blocks([str(number) for number in range(1, len(document["runs"]) + 1)], table)
    _print_same(document["rows"])


def _metric_rows(document: Mapping[str, Any], names: Sequence[str]) -> list[list[str]]:
    """Write metrics in their units, each with its standard error beside it."""
    runs = document["runs"]
    units = units_of(*((run["type"], run["metrics"]) for run in runs))
    rows = {row["name"]: row for row in document["rows"] if row["section"] == "metrics"}
    return [
        [
            _row_name(rows[name]),
            *(
                write_metric(name, run["metrics"], units) + _mark(rows[name], number) if is_there else "(none)"
                for number, (run, is_there) in enumerate(zip(runs, rows[name]["present"], strict=True))
            ),
        ]
        for name in names
        if not is_beside(name, rows)
    ]


def _print_heads(document: Mapping[str, Any]) -> None:
    """Say which runs these are; the tables then call them by their number."""
    names = [str(number) for number in range(1, len(document["runs"]) + 1)]
    render.print_table(
        [
            Heading(name="", is_number=True),
            Heading(name="run"),
            Heading(name="target", gives_way="cut"),
            Heading(name="status", is_status=True),
            Heading(name="standing"),
            Heading(name="submitted", gives_way="cut"),
        ],
        [
            [
                name,
                render.tip_id(run["id"]),
                f"{run['instance']}.{run['flow_kind']}",
                run["status"],
                run["standing"],
                run["submitted_at"][:19].replace("T", " "),
            ]
            for name, run in zip(names, document["runs"], strict=True)
        ],
    )
    render.say()


def _row_name(row: Mapping[str, Any]) -> str:
    return f"{row['section']} {row['name']}"


def _cells(row: Mapping[str, Any]) -> list[str]:
    cells: list[str] = []
    for number, (value, is_there) in enumerate(zip(row["values"], row["present"], strict=True)):
        text = _cell(row, value) if is_there else "(none)"
        if row["difference"] is None:  # of two runs, the difference says it
            text += _mark(row, number)
        cells.append(text)
    return cells


def _mark(row: Mapping[str, Any], number: int) -> str:
    return " best" if number in row["best"] else " worst" if number in row["worst"] else ""


def _cell(row: Mapping[str, Any], value: object) -> str:
    if value is None:
        return "-"
    if row["section"] in ("artifacts", "source") or (row["section"] == "code" and row["name"] != "definition"):
        return str(value)[:12]  # a digest
    return render.number(value) if row["section"] == "metrics" else render.compact(value)


def _difference(row: Mapping[str, Any]) -> str:
    if row["difference"] is None:
        return ""
    text = render.number(row["difference"])
    text = text if text.startswith("-") else f"+{text}"
    return f"{text} better" if 1 in row["best"] else f"{text} worse" if 1 in row["worst"] else text


def _print_same(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what does not differ, a line a section."""
    sections: dict[str, list[str]] = {}
    for row in rows:
        if not row["is_different"] and row["values"][0] is not None:
            sections.setdefault(row["section"], []).append(f"{row['name']}={_cell(row, row['values'][0])}")
    if sections:
        render.say()
        render.say("the same in all:")
        for section, items in sections.items():
            render.say_fact(f"  {section:<11}  ", "  ".join(items))


def _print_blocks(names: Sequence[str], table: Sequence[Sequence[str]]) -> None:
    """Print runs as columns: on a terminal as many at once as fit, and the others below."""
    if not sys.stdout.isatty():
        _print_columns(names, table, range(len(names)))
        return
    room = shutil.get_terminal_size().columns - min(max((len(row[0]) for row in table), default=0), MAX_NAME_WIDTH)
    widths = [
        min(max(len(name), *(len(row[number + 1]) for row in table)), MAX_CELL_WIDTH) if table else len(name)
        for number, name in enumerate(names)
    ]
    block: list[int] = []
    used = 0
    for number, width in enumerate(widths):
        if block and used + width + GAP > room:
            _print_columns(names, table, block)
            render.say()
            block, used = [], 0
        block.append(number)
        used += width + GAP
    _print_columns(names, table, block)


def _print_columns(names: Sequence[str], table: Sequence[Sequence[str]], chosen: Sequence[int]) -> None:
    render.print_table(
        [Heading(name="", gives_way="wrap"), *(Heading(name=names[number], gives_way="wrap") for number in chosen)],
        [[row[0], *(row[number + 1] for number in chosen)] for row in table],
    )
