"""Command demo: the example project, end to end, on real market data."""

from __future__ import annotations

from contextlib import chdir
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optaic.cli import render
from optaic.cli.render import Heading

if TYPE_CHECKING:
    from optaic.client import Ledger

DEMO_FOLDER = "optaic-demo"
FIRST_END = "2022-06-30"
"""Where the prices of the first refresh end; the file in the package says so."""

LAST_END = "2022-12-28"
"""The last session of the data set."""

CODE = "signals.py"
"""The demo's own functions."""

CORRECTION = 'date: "2015-06-30", symbol: JPM, close: 50.0'
"""A price that the vendor had wrong."""

AS_OF = "2022-03-31"
"""The evening at which the demo looks back."""


@click.command("demo")
@click.argument("folder", metavar="[DIR]", required=False, default=DEMO_FOLDER, type=click.Path(path_type=Path))
def demo_command(*, folder: Path) -> int:
    """Make an example project and take it through its life, on real S&P 500 prices; no network is needed.

    The prices are refreshed three times: in full, incrementally, and once more when there is nothing new. Then datasets
    are made from them, a signal is previewed and another one backtested. An old price is corrected, and what depends on
    it is brought up to date, and nothing else.
    """
    from optaic.client import connect

    root = folder.absolute()
    _make_project(root, folder)
    with connect(root) as ledger:
        _say("Declare what optaic.yaml says.", "optaic apply")
        _apply(ledger)
        _say(f"Refresh the prices, in full: {FIRST_END} is where the source ends for now.", "optaic run prices")
        ended_well = _refresh(ledger)
        _say(f"Half a year later: move `end` to {LAST_END} in optaic.yaml, declare it, and refresh what is new.")
        _edit(root, FIRST_END, LAST_END)
        _say("", "optaic apply")
        _apply(ledger)
        _say("", "optaic run prices --mode incremental")
        ended_well &= _refresh(ledger, mode="incremental")
        _say("Once more. Nothing is new, so no version is made: the run says so.", "optaic run prices")
        ended_well &= _refresh(ledger)
        _look(ledger)
    _say("What is made from the prices: what must run for the volatility, and then run it.")
    ended_well &= _type(root, "plan", "volatility")
    ended_well &= _type(root, "run", "volatility", "--recursive")
    ended_well &= _type(root, "run", "crisis")
    _say("A signal, previewed: does it order the returns that follow?")
    ended_well &= _type(root, "run", "reversal_preview")
    _say("Another, as a dataset, and a portfolio of its best fifth, month by month. Each decision sees what was known.")
    ended_well &= _type(root, "run", "momentum_bt", "--recursive")
    _say("A refresh that finds nothing new stops at once: nothing downstream became stale.")
    ended_well &= _type(root, "run", "prices")
    ended_well &= _type(root, "status")
    _say(f"One old price is corrected, in optaic.yaml: {CORRECTION}.")
    _edit(root, "correction: null  ", f"correction: {{{CORRECTION}}}  ")
    ended_well &= _type(root, "apply")
    ended_well &= _type(root, "why", "volatility")
    _say("The correction travels downstream. The crisis of 2008 was read up to 2009: it stays ready, and does not run.")
    ended_well &= _type(root, "run", "volatility", "--recursive")
    ended_well &= _type(root, "run", "momentum_bt", "--recursive")
    ended_well &= _type(root, "run", "reversal_preview")
    ended_well &= _type(root, "status")
    _tell_what_next(folder)
    return 0 if ended_well else 1


def _make_project(root: Path, shown: Path) -> None:
    from optaic.cli.project import make_folder, make_ledger
    from optaic.errors import InvalidInputError
    from optaic.settings import PROJECT_FILE

    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InvalidInputError(
            f"{shown} is not empty, and the demo begins in a new folder",
            next_step=f"look around in it (cd {shown}; optaic runs), or remove it, or name another: optaic demo DIR",
        )
    make_folder(root)
    source = files("optaic.cli").joinpath("demo_project")
    text = source.joinpath(PROJECT_FILE).read_text(encoding="utf-8")
    _say(f"A new project in {shown}: optaic.yaml, its code in {CODE}, and a ledger in .optaic/.", f"cd {shown}")
    (root / PROJECT_FILE).write_text(text, encoding="utf-8")
    (root / CODE).write_text(source.joinpath(CODE).read_text(encoding="utf-8"), encoding="utf-8")
    make_ledger(root, is_new=True)
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            render.say(f"    {line}")


def _edit(root: Path, before: str, after: str) -> None:
    """Edit the project file as the user would."""
    from optaic.settings import PROJECT_FILE

    file = root / PROJECT_FILE
    file.write_text(file.read_text(encoding="utf-8").replace(before, after, 1), encoding="utf-8")


def _type(root: Path, *arguments: str) -> bool:
    """Do what typing a command in the project's folder does; whether it ended well."""
    from optaic.cli.app import cli

    _say("", f"optaic {' '.join(arguments)}")
    with chdir(root):
        return not cli.main(args=list(arguments), prog_name="optaic", standalone_mode=False)


def _say(text: str, command: str = "") -> None:
    if text:
        render.say()
        render.say(text)
    if command:
        render.say(render.strong(f"$ {command}"))


def _apply(ledger: Ledger) -> None:
    from optaic.cli.project import print_changes

    print_changes(ledger.apply())


def _refresh(ledger: Ledger, *, mode: str | None = None) -> bool:
    from optaic.cli.execute import print_summary
    from optaic.cli.progress import watch

    run = ledger.submit("prices", mode=mode)
    with watch() as watching:
        ledger.execute(run, on_progress=watching)
    print_summary(run)
    return run.status == "completed"


def _look(ledger: Ledger) -> None:
    from optaic.cli.inspect import print_runs

    _say("What ran:", "optaic runs")
    print_runs(ledger.runs())
    _say("What it made:", "python -c 'import optaic; print(optaic.connect().versions(\"prices\"))'")
    versions = ledger.versions("prices")
    render.print_table(
        [
            Heading(name="version", is_number=True),
            Heading(name="rows", is_number=True),
            Heading(name="first data"),
            Heading(name="last data"),
            Heading(name="changed from"),
            Heading(name="digest"),
        ],
        [
            [
                str(item["version"]),
                render.number(item["row_count"]),
                item["first_data_date"] or "",
                item["last_data_date"] or "",
                item["changed_from"] or "",
                item["content_digest"][:12],
            ]
            for item in versions
        ],
    )
    _say(
        f"And the last prices as they were known when the session of {AS_OF} closed. A price is known two hours after "
        "its close\n(`known_at` in optaic.yaml), so the session before is the last one in it:",
        f'ledger.data("prices", as_of="{AS_OF}", start="2022-03-30", symbols=["AAPL", "JPM", "XOM"])',
    )
    frame = ledger.data("prices", as_of=AS_OF, start="2022-03-30", symbols=["AAPL", "JPM", "XOM"])
    render.print_table(
        [Heading(name=name) for name in frame.columns],
        [[str(value) for value in row] for row in frame.rows()],
    )


def _tell_what_next(folder: Path) -> None:
    render.say()
    render.tell_next(
        f"cd {folder}",
        "optaic status",
        "optaic show momentum_bt@latest",
        "optaic export momentum_bt@latest report   (then open report/artifacts/report.html)",
        "optaic logs prices@latest",
        "then a project of your own, with your own function as the source: optaic init my-project",
    )
