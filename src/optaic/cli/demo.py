"""Command demo: the example project, end to end, on real market data."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optaic.cli import render
from optaic.cli.render import Heading

if TYPE_CHECKING:
    from optaic.cli.tour import Tour

DEMO_FOLDER = "optaic-demo"
FIRST_END = "2022-06-30"
"""Where the prices of the first refresh end; the file in the package says so."""

LAST_END = "2022-12-28"
"""The last session of the data set."""

CODE = "signals.py"
"""The demo's own functions."""

CORRECTION = 'date: "2015-06-30", symbol: AAPL, close: 28.0'
"""A price that the vendor had wrong: it was 28.373."""

AS_OF = "2022-03-31"
"""The evening at which the demo looks back."""

FIGURES = ("total_return", "volatility", "sharpe_ratio", "max_drawdown")
"""What is told of a backtest at once; all of it is compared at the end."""

REPORTS = ("momentum_bt", "predictions_bt", "min_variance", "ranker.monitor")


@click.command("demo")
@click.argument("folder", metavar="[DIR]", required=False, default=DEMO_FOLDER, type=click.Path(path_type=Path))
def demo_command(*, folder: Path) -> int:
    """Make an example project and take it through its life, on real S&P 500 prices; no network is needed.

    All seven types of run, in one chain: prices are refreshed; a signal is previewed, another one kept as a dataset; a
    model learns to rank, walk-forward, and predicts; its drift is monitored; weights are optimised; the signal and the
    predictions are backtested. Then an old price is corrected, and what depends on it is brought up to date, and
    nothing else.
    """
    from optaic.cli.tour import Tour, TourEnd, tell_stopped

    root = folder.absolute()
    tour = Tour(root)
    try:
        _make_project(tour, folder)
        _refresh(tour)
        _research(tour)
        _learn(tour)
        _watch_and_allocate(tour)
        _correct(tour)
        _look(tour, folder)
    except TourEnd:
        tell_stopped(folder)
        return 1
    finally:
        tour.close()
    return 0


def _make_project(tour: Tour, shown: Path) -> None:
    from optaic.cli.project import make_folder, make_ledger
    from optaic.errors import InvalidInputError
    from optaic.settings import PROJECT_FILE

    root = tour.root
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InvalidInputError(
            f"{shown} is not empty, and the demo begins in a new folder",
            next_step=f"look around in it (cd {shown}; optaic runs), or remove it, or name another: optaic demo DIR",
        )
    make_folder(root)
    source = files("optaic.cli").joinpath("demo_project")
    text = source.joinpath(PROJECT_FILE).read_text(encoding="utf-8")
    tour.chapter(
        "A project",
        f"{PROJECT_FILE} says what there is, {CODE} has its functions, .optaic/ is the ledger. Of what a run prints,",
        "the demo shows what matters here; `optaic show prices@latest` has all of it.",
    )
    tour.show(f"cd {shown}; cat {PROJECT_FILE}")
    (root / PROJECT_FILE).write_text(text, encoding="utf-8")
    (root / CODE).write_text(source.joinpath(CODE).read_text(encoding="utf-8"), encoding="utf-8")
    make_ledger(root, is_new=True)
    for line in text.partition("\n\n")[2].splitlines():
        render.say(f"    {line}" if line else "")
    tour.apply()


def _refresh(tour: Tour) -> None:
    tour.chapter(
        "Prices, as they become known",
        "Each refresh is a run, and what it finds new or changed becomes a version. The source ends in June for now.",
    )
    tour.run("prices", "rows_inserted", "last_data_date")
    tour.say(f"Half a year later (`end: {LAST_END}` in optaic.yaml), only what is new is asked for.")
    tour.edit(FIRST_END, LAST_END)
    tour.run("prices", "rows_fetched", "rows_inserted", "last_data_date", mode="incremental")
    tour.say("Once more: nothing is new, so no version is made, and nothing that reads them became stale.")
    tour.run("prices", "rows_fetched", "rows_inserted")
    tour.say(
        "The index will be the benchmark. It is without dividends (`benchmark: price` says so), and the stocks' prices",
        "are not: that flatters alpha.",
    )
    tour.run("index", "rows_inserted")
    tour.run("factors", "rows_inserted")
    _print_as_of(tour)


def _print_as_of(tour: Tour) -> None:
    tour.say(
        f"The prices as they were known at the close of {AS_OF}, in Python (`ledger = optaic.connect()`). A price is",
        "known two hours after its close, so that of the day before is the last one.",
    )
    asked = {"as_of": AS_OF, "start": "2022-03-30", "symbols": ["AAPL", "JPM"]}
    tour.show(f"ledger.data('prices', {', '.join(f'{name}={value!r}' for name, value in asked.items())})")
    frame = tour.ledger.data("prices", as_of=AS_OF, start="2022-03-30", symbols=["AAPL", "JPM"])
    render.print_table(
        [Heading(name=name) for name in frame.columns],
        [[str(value) for value in row] for row in frame.rows()],
    )


def _research(tour: Tour) -> None:
    tour.chapter(
        "Signals",
        "A preview asks what an expression foretells: its rank correlation with the returns that follow (ic), with a",
        "t-statistic that allows for their overlap.",
    )
    tour.run("reversal_preview", "coverage", "ic", "ic_t_statistic", "ic_21", "ic_t_statistic_21", "signal_turnover")
    tour.say(
        "Another signal is kept as a dataset, and the best fifth by it is held, month by month. Each decision sees",
        "what was known before the next open, and trades a session later. --recursive first runs what is not ready.",
    )
    tour.run("momentum_bt", *FIGURES, is_recursive=True)


def _learn(tour: Tour) -> None:
    from optaic.cli.chart import print_curves

    tour.chapter(
        "A model, walk-forward",
        "It learns to rank from three signals, once a year, on labels that had ended by then. What a backtest of its",
        "predictions needs, and why:",
    )
    tour.type("plan", "predictions_bt")
    run = tour.run("predictions_bt", *FIGURES, is_recursive=True)
    print_curves(run)


def _watch_and_allocate(tour: Tour) -> None:
    from optaic.cli.alert import print_alerts

    tour.chapter(
        "A monitor, an optimiser, and a look at one crisis",
        "Are the last year's features where the model has learned, and did its predictions come true (ic)?",
    )
    run = tour.run("ranker.monitor", "psi", "psi_prediction", "ic", "hit_rate", "matured_dates")
    print_alerts(run.alerts)
    tour.say("Weights for tomorrow: the least variance of the last year, at most a fifth in one name.")
    run = tour.run("min_variance", "expected_volatility", "effective_n", "solver_status")
    weights = run.frame("weights").sort("weight", "symbol", descending=[True, False])
    weights = weights.filter(weights["weight"] > 0.0005)
    held = [f"{symbol} {100 * weight:.1f} %" for symbol, weight in weights.select("symbol", "weight").rows()]
    render.say_fact("  weights  ", ", ".join(held))
    tour.say("A dataset that reads 2007 to 2009 alone:")
    tour.run("crisis", "rows_inserted", "last_data_date")
    tour.say("All is up to date. A refresh that finds nothing new leaves it so:")
    tour.run("prices", "rows_inserted")
    tour.type("status")


def _correct(tour: Tour) -> None:
    tour.chapter("One old price is corrected", f"In optaic.yaml: {CORRECTION}. What does that concern?")
    tour.edit("correction: null  ", f"correction: {{{CORRECTION}}}  ")
    tour.type("why", "predictions_bt")
    tour.type("plan", "predictions_bt")
    tour.say("All of it, in order, each once; not the index, and not what nobody asked for.")
    tour.run("predictions_bt", *FIGURES, is_recursive=True)
    tour.say(
        "The crisis was read up to 2009: it is ready, and did not run. What read 2015 and was not asked for is stale,",
        "and says why.",
    )
    tour.type("status")
    tour.say("It is brought up to date too. The optimiser read from 2021 on: the same weights, so no new version.")
    tour.run("momentum_bt", *FIGURES, is_recursive=True)
    tour.run("reversal_preview", "ic", "ic_t_statistic")
    tour.run("ranker.monitor", "verdict", "ic")
    tour.run("min_variance", "expected_volatility")


def _look(tour: Tour, shown: Path) -> None:
    tour.chapter("What there is now", "All seven types of run; those of one type: optaic runs --type TrainingRun")
    _print_types(tour)
    tour.say("From the prices to the last metric, version by version:")
    tour.type("lineage", "predictions_bt@latest")
    tour.say(
        "The two backtests, side by side. These are 20 companies that were still large in 2022: survivors, which",
        "flatters both. Hold the difference of their Sharpe ratios against the standard errors beside them.",
    )
    tour.type("compare", "momentum_bt@latest", "predictions_bt@latest")
    tour.say("The training once more, from the stored source and the pinned versions, in a fresh process:")
    tour.reproduce("ranker@latest")
    _print_reports(tour, shown)
    render.say()
    render.tell_next(
        f"cd {shown}",
        "optaic status",
        "optaic show predictions_bt@latest",
        "optaic run predictions_bt --param top=0.1   (a trial: it becomes nobody's input)",
        "optaic export predictions_bt@latest report   (the run with all its files, to give away)",
        "optaic logs ranker.monitor@latest",
        "then a project of your own, with your own function as the source: optaic init my-project",
    )


def _print_types(tour: Tour) -> None:
    from optaic.domain.kind import RunType

    rows: list[list[str]] = []
    for kind in RunType:
        found = tour.ledger.runs(type=kind, limit=100)
        targets = dict.fromkeys(run.instance for run in reversed(found))
        done = sum(run.status == "completed" for run in found)
        rows.append([kind, str(len(found)), str(done), ", ".join(targets)])
    render.say()
    render.print_table(
        [
            Heading(name="type"),
            Heading(name="runs", is_number=True),
            Heading(name="completed", is_number=True),
            Heading(name="of", gives_way="wrap"),
        ],
        rows,
    )


def _print_reports(tour: Tour, shown: Path) -> None:
    from optaic.cli.files import REPORT

    tour.say("Reports, to open in a browser; they need no network:")
    for target in REPORTS:
        path = tour.ledger.get(f"{target}@latest").path(REPORT)
        if path is not None:
            render.say(f"  {target:<14}  {shown / path.relative_to(tour.root)}")
