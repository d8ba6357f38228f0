"""The demo, as `make demo` runs it: real prices, no network, all seven types of run."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select

import optaic
from optaic.ledger.tables.extension import EXTENSIONS
from tests.commands import Project

MINUTES = 600.0
"""How long the demo, and all its reproductions, may take on a busy machine; a third of that is much."""

CHAIN = ("prices", "momentum", "returns", "reversal", "volatility", "ranker", "ranker.infer", "predictions_bt")
"""What predictions_bt is made of, as far as the correction concerns it, in the order of its plan."""


@pytest.fixture(scope="module")
def told(shared_folder: Path) -> tuple[str, Project]:
    """What the demo said, and its project: made by the first worker that needs it, and changed by none."""
    with (shared_folder / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = shared_folder / "demo.txt"
        if not text.exists():
            folder = Path(tempfile.mkdtemp(dir=shared_folder))
            text.write_text(f"{folder}\n{Project(folder).run('demo', patience=MINUTES).stdout}")
    folder, _, said = text.read_text().partition("\n")
    return said, Project(Path(folder) / "optaic-demo")


@pytest.fixture(scope="module")
def official(told: tuple[str, Project]) -> list[dict[str, Any]]:
    """The demo's official runs, in the order in which they were submitted."""
    runs = told[1].json("runs", "--standing", "official", "--limit", "100")["items"]
    return list(reversed(runs))


def target(run: dict[str, Any]) -> str:
    is_main = run["flow_kind"] not in ("infer", "monitor")
    return run["instance"] if is_main else f"{run['instance']}.{run['flow_kind']}"


def of(runs: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [run for run in runs if target(run) == name]


def test_demo_refreshes_in_full_then_incrementally_then_finds_nothing_new(
    told: tuple[str, Project], official: list[dict[str, Any]]
) -> None:
    full, incremental, unchanged, again, _ = of(official, "prices")
    assert [run["version"] for run in (full, incremental, unchanged, again)] == [1, 2, None, None]
    assert full["metrics"]["last_data_date"] == "2022-06-30"
    assert incremental["metrics"]["last_data_date"] == "2022-12-28"
    assert incremental["metrics"]["rows_inserted"] == 125 * 20
    assert full["metrics"]["rows_inserted"] + incremental["metrics"]["rows_inserted"] == 8_313 * 20
    assert unchanged["metrics"]["rows_inserted"] == again["metrics"]["rows_inserted"] == 0
    assert "nothing has changed" in told[0]


def test_demo_runs_all_seven_types_and_all_of_them_complete(
    told: tuple[str, Project], official: list[dict[str, Any]]
) -> None:
    assert {run["status"] for run in official} == {"completed"}
    types = {
        "PipelineRun", "ExperimentRun", "BacktestRun", "PortfolioOptimizationRun", "TrainingRun", "InferenceRun",
        "MonitoringRun",
    }  # fmt: skip
    assert {run["type"] for run in official} == types
    for kind in types:
        count = sum(run["type"] == kind for run in official)
        (line,) = [line for line in told[0].splitlines() if line.startswith(f"{kind} ")]
        assert line.split()[1:3] == [str(count)] * 2, "runs, and those that completed"


def test_every_column_of_every_run_type_has_something_to_say(told: tuple[str, Project]) -> None:
    # No calendar expects anything of prices that end in 2022, and no optimisation needed its fallback.
    silent = {"pipeline_runs.calendar", "portfolio_optimization_runs.fallback"}
    with create_engine(f"sqlite:///{told[1].root / '.optaic' / 'ledger.db'}").connect() as connection:
        for table in EXTENSIONS.values():
            counts = connection.execute(select(*(func.count(column).label(column.name) for column in table.c))).one()
            assert {f"{table.name}.{name}" for name, count in counts._mapping.items() if not count} <= silent


def test_demo_shows_what_to_type_and_a_look_back(told: tuple[str, Project]) -> None:
    text, _ = told
    for command in (
        "$ cd optaic-demo",
        "$ optaic apply",
        "$ optaic run prices",
        "$ optaic plan predictions_bt",
        "$ optaic run predictions_bt --recursive",
        "$ optaic lineage predictions_bt@latest",
        "$ optaic compare momentum_bt@latest predictions_bt@latest",
        "$ ledger.data(",
    ):
        assert command in text
    assert "2022-03-30" in text
    assert "2022-03-31 2" not in text, "a price that is known two hours after the close is not known at the close"
    assert "next: cd optaic-demo" in text


def test_demo_shows_what_came_out_with_its_doubts(told: tuple[str, Project]) -> None:
    text, demo = told
    assert "value at the close, net of costs" in text
    assert "drawdown: below the highest value so far" in text
    (sharpe,) = [line for line in text.splitlines() if line.startswith("metrics sharpe_ratio")]
    assert sharpe.count("±") == 2
    assert "survivors" in text
    assert "critical  psi[volatility]" in text
    reports = [Path(line.split()[1]) for line in text.splitlines() if line.endswith("/report.html")]
    assert len(reports) == 4
    for report in reports:
        assert (demo.root.parent / report).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_backtests_are_out_of_sample_from_2005_to_2022(official: list[dict[str, Any]]) -> None:
    backtests = [*of(official, "momentum_bt"), *of(official, "predictions_bt")]
    assert [run["version"] for run in backtests] == [1, 2, 1, 2]
    for run in backtests:
        assert (run["params"]["start"], run["params"]["end"]) == ("2005-01-03", "2022-12-28")
        assert (run["metrics"]["view"], run["params"]["allow_in_sample"]) == ("replay", False)
        assert run["metrics"]["sharpe_ratio_standard_error"] > 0.2
        assert run["metrics"]["survivorship"] == 1.0
        signal = next(item for item in run["inputs"] if item["role"] == "signal")
        assert (signal["first_date"], signal["last_date"]) == ("2005-01-31", "2022-11-30")


def test_the_lineage_of_the_predictions_backtest_is_exact(
    told: tuple[str, Project], official: list[dict[str, Any]]
) -> None:
    document = told[1].json("lineage", "predictions_bt@latest")
    nodes = {node["id"]: node for node in document["nodes"]}
    read = {
        (nodes[edge["downstream"]]["target"], edge["role"], nodes[edge["upstream"]]["target"], edge["version"])
        for edge in document["edges"]
    }
    assert read == {
        ("predictions_bt.backtest", "signal", "ranker.infer", 2),
        ("predictions_bt.backtest", "prices", "prices.refresh", 3),
        ("predictions_bt.backtest", "benchmark", "index.refresh", 1),
        ("ranker.infer", "model", "ranker.train", 2),
        ("ranker.infer", "momentum", "momentum.refresh", 2),
        ("ranker.infer", "reversal", "reversal.refresh", 2),
        ("ranker.infer", "volatility", "volatility.refresh", 2),
        ("ranker.train", "momentum", "momentum.refresh", 2),
        ("ranker.train", "reversal", "reversal.refresh", 2),
        ("ranker.train", "volatility", "volatility.refresh", 2),
        ("ranker.train", "prices", "prices.refresh", 3),
        ("momentum.refresh", "close", "prices.refresh", 3),
        ("reversal.refresh", "close", "prices.refresh", 3),
        ("volatility.refresh", "returns", "returns.refresh", 2),
        ("returns.refresh", "close", "prices.refresh", 3),
    }
    # Each upstream is the run that made that version.
    made = {(target(run), run["version"]): run["id"] for run in official if run["version"] is not None}
    for edge in document["edges"]:
        upstream = nodes[edge["upstream"]]
        assert made[target(upstream), edge["version"]] == upstream["id"]


def test_a_correction_is_taken_downstream_in_order_each_run_once_and_nothing_else_runs(
    official: list[dict[str, Any]],
) -> None:
    corrected = next(place for place, run in enumerate(official) if target(run) == "prices" and run["version"] == 3)
    wave, later = official[corrected : corrected + len(CHAIN)], official[corrected + len(CHAIN) :]
    assert sorted(map(target, wave)) == sorted(CHAIN)
    assert {run["trigger"] for run in wave} == {"plan"}
    ended = {target(run): run["ended_at"] for run in wave}
    for run in wave:
        for item in run["inputs"]:
            name = item["instance"] if item["flow_kind"] != "infer" else "ranker.infer"
            assert name not in ended or ended[name] <= run["started_at"], (target(run), name)
    versions = {target(run): run["version"] for run in wave}
    assert versions == {name: 3 if name == "prices" else 2 for name in CHAIN}
    # What was stale and not asked for was run afterwards, because the demo asked for it.
    assert list(map(target, later)) == ["momentum_bt", "reversal_preview", "ranker.monitor", "min_variance"]
    for untouched in ("crisis", "index", "factors"):
        assert len(of(official, untouched)) == 1


def test_a_correction_changes_what_read_it_and_only_that(
    told: tuple[str, Project], official: list[dict[str, Any]]
) -> None:
    assert of(official, "prices")[-1]["metrics"]["rows_updated"] == 1
    assert of(official, "returns")[-1]["metrics"]["rows_updated"] == 2
    # The 63 windows of each of the two returns, which overlap.
    assert of(official, "volatility")[-1]["metrics"]["rows_updated"] == 64
    first, second = of(official, "predictions_bt")
    assert second["metrics"]["sharpe_ratio"] != first["metrics"]["sharpe_ratio"]
    assert second["metrics"]["sharpe_ratio"] == pytest.approx(first["metrics"]["sharpe_ratio"], abs=1e-4)
    # What the optimiser read begins in 2021: the same weights, so no version.
    assert [run["version"] for run in of(official, "min_variance")] == [1, None]
    text = told[0]
    assert "params.correction: nothing -> " in text
    between = text[text.index("The crisis was read up to 2009") :]
    stale = {line.split()[0] for line in between.splitlines() if line.split()[1:2] == ["stale"]}
    assert stale == {"min_variance.optimize", "momentum_bt.backtest", "ranker.monitor", "reversal_preview.preview"}


def test_demo_leaves_a_project_in_order(told: tuple[str, Project]) -> None:
    _, demo = told
    assert {item["status"] for item in demo.json("status")["items"]} == {"ready"}
    assert demo.json("doctor")["ok"]
    assert "nothing to change" in demo.run("apply").stdout


def test_demo_refuses_a_folder_that_has_something_in_it(told: tuple[str, Project], tmp_path: Path) -> None:
    _, demo = told
    refused = Project(demo.root.parent).run("demo", code=2)
    assert "begins in a new folder" in refused.stderr
    (tmp_path / "thesis.txt").write_text("mine")
    Project(tmp_path).run("demo", ".", code=2)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_every_run_of_the_demo_is_reproduced_identically_in_a_fresh_process(
    told: tuple[str, Project], official: list[dict[str, Any]], tmp_path: Path
) -> None:
    demo = Project(shutil.copytree(told[1].root, tmp_path / "copy"))
    before = status(demo)
    with optaic.connect(demo.root) as ledger:
        recorded = [ledger.reproduce(run["id"], detach=True) for run in official]
        demo.run("worker", "--until-idle", "-n", "2", patience=MINUTES)
        for run, again in zip(official, recorded, strict=True):
            comparison = again.refresh().comparison
            assert comparison is not None, (run["id"], again.reason)
            assert comparison["verdict"] == "identical", (target(run), comparison["places"])
            assert comparison["largest_difference"] == 0.0
            assert comparison["original"] == run["id"]
    assert status(demo) == before


def status(demo: Project) -> list[dict[str, object]]:
    return [{**item, "last_run": None} for item in demo.json("status")["items"]]
