"""The demo, as `make demo` runs it: real prices, no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import Project


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Project]:
    folder = tmp_path_factory.mktemp("demo")
    return Project(folder).run("demo").stdout, Project(folder / "optaic-demo")


def test_demo_refreshes_in_full_then_incrementally_then_finds_nothing_new(told: tuple[str, Project]) -> None:
    text, demo = told
    full, incremental, unchanged = [run for run in reversed(demo.json("runs")["items"]) if run["instance"] == "prices"][
        :3
    ]
    assert {run["status"] for run in (full, incremental, unchanged)} == {"completed"}
    assert [run["version"] for run in (full, incremental, unchanged)] == [1, 2, None]
    assert full["metrics"]["last_data_date"] == "2022-06-30"
    assert incremental["metrics"]["last_data_date"] == "2022-12-28"
    assert incremental["metrics"]["rows_inserted"] == 125 * 20
    assert full["metrics"]["rows_inserted"] + incremental["metrics"]["rows_inserted"] == 8_313 * 20
    assert unchanged["metrics"]["rows_inserted"] == 0
    assert "nothing has changed" in text


def test_demo_shows_what_to_type_and_a_look_back(told: tuple[str, Project]) -> None:
    text, _ = told
    for command in ("$ cd optaic-demo", "$ optaic apply", "$ optaic run prices", "$ optaic runs", "ledger.data("):
        assert command in text
    assert "2022-03-30" in text
    assert "2022-03-31 2" not in text, "a price that is known two hours after the close is not known at the close"
    assert "next: cd optaic-demo" in text


def test_demo_takes_a_correction_downstream_and_leaves_alone_what_it_does_not_reach(told: tuple[str, Project]) -> None:
    text, demo = told
    runs = {(run["instance"], run["version"]): run for run in demo.json("runs")["items"]}
    assert runs["prices", 3]["metrics"]["rows_updated"] == 1
    assert runs["returns", 2]["metrics"]["rows_updated"] == 2
    assert runs["volatility", 2]["metrics"]["rows_updated"] == 64  # the 63 windows of each of the two, which overlap
    assert ("crisis", 2) not in runs
    assert len([run for run in runs.values() if run["instance"] == "crisis"]) == 1
    assert {item["status"] for item in demo.json("status")["items"]} == {"ready"}
    assert "params.correction" in text


def test_demo_previews_a_signal_and_backtests_another_on_what_was_known(told: tuple[str, Project]) -> None:
    text, demo = told
    runs = demo.json("runs")["items"]
    assert {run["type"] for run in runs} == {"PipelineRun", "ExperimentRun", "BacktestRun"}
    first, second = [run for run in reversed(runs) if run["instance"] == "momentum_bt"]
    assert (first["status"], first["version"], first["metrics"]["view"]) == ("completed", 1, "replay")
    # The correction of 2015 was not known to any decision of then, and that day's price of JPM was not traded at: what
    # it changes is the benchmark.
    assert (second["status"], second["version"]) == ("completed", 2)
    assert second["metrics"]["sharpe_ratio"] == first["metrics"]["sharpe_ratio"]
    assert second["metrics"]["beta"] != first["metrics"]["beta"]
    assert "value at the close, net of costs" in text


def test_demo_leaves_a_project_in_order(told: tuple[str, Project]) -> None:
    _, demo = told
    assert demo.json("status")["items"][0]["status"] == "ready"
    assert demo.json("doctor")["ok"]
    assert "nothing to change" in demo.run("apply").stdout


def test_demo_refuses_a_folder_that_has_something_in_it(told: tuple[str, Project], tmp_path: Path) -> None:
    _, demo = told
    refused = Project(demo.root.parent).run("demo", code=2)
    assert "begins in a new folder" in refused.stderr
    (tmp_path / "thesis.txt").write_text("mine")
    Project(tmp_path).run("demo", ".", code=2)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_every_run_of_the_demo_is_reproduced_identically_in_a_fresh_process(told: tuple[str, Project]) -> None:
    _, demo = told
    before = status(demo)
    originals = [run["id"] for run in demo.json("runs", "--standing", "official")["items"]]
    assert len(originals) == 16
    for run_id in originals:
        demo.run("reproduce", run_id, "--detach")
    demo.run("worker", "--until-idle")
    reproductions = [demo.json("show", run["id"]) for run in demo.json("runs", "--standing", "trial")["items"]]
    assert {shown["reproduces"] for shown in reproductions} == set(originals)
    for shown in reproductions:
        assert shown["comparison"]["verdict"] == "identical", shown
        assert shown["comparison"]["largest_difference"] == 0.0
    assert status(demo) == before


def status(demo: Project) -> list[dict[str, object]]:
    return [{**item, "last_run": None} for item in demo.json("status")["items"]]
