"""What is still valid, why it is not, and where it came from, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import Project, dataset

SOURCES = '''
import datetime as dt
from pathlib import Path

import polars as pl


def prices(ctx, *, days: int = 4):
    """What the file says: from 3 January on, other closes whenever somebody writes it."""
    shift = float(Path("shift").read_text()) if Path("shift").exists() else 0.0
    if shift < 0:
        raise ValueError("the vendor sent no prices")
    rows = [
        {"date": dt.date(2024, 1, 1) + dt.timedelta(days=day), "symbol": "AAA", "close": day + (day > 1) * shift}
        for day in range(days)
    ]
    return pl.DataFrame(rows, schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64})


def reads(ctx):
    return ctx.input("x").frame().drop("known_at")


def ended(ctx):
    return ctx.input("x").frame(end=dt.date(2024, 1, 1)).drop("known_at")


def joins(ctx):
    ctx.input("right").frame()
    return ctx.input("left").frame().drop("known_at")
'''
PRICES = dataset("prices", "prices")
READERS = (
    dataset("returns", "reads", "inputs: {x: 'prices[close]'}")
    + dataset("left", "reads", "inputs: {x: returns}")
    + dataset("right", "reads", "inputs: {x: returns}")
    + dataset("signal", "joins", "inputs: {left: left, right: right}")
    + dataset("history", "ended", "inputs: {x: prices}")
    + dataset("pinned", "reads", "inputs: {x: {from: prices, select: 'version:1'}}")
)
ORDER = ("prices", "returns", "left", "right", "signal", "history", "pinned")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Seven datasets, each made once; then prices was restated from 3 January on."""
    root = tmp_path_factory.mktemp("explain") / "mine"
    root.mkdir()
    mine = Project(root)
    mine.run("init")
    (root / "sources.py").write_text(SOURCES)
    mine.declare(PRICES + READERS)
    refused = mine.run("run", "signal", code=3)
    assert "signal cannot run: what it reads is not ready" in refused.stderr
    for target in ORDER:
        mine.run("run", target)
    (root / "shift").write_text("5")
    mine.run("run", "prices")
    return mine


def test_status_shows_what_a_restatement_reaches(project: Project) -> None:
    items = {item["instance"]: item for item in project.json("status")["items"]}
    assert {name for name, item in items.items() if item["status"] == "stale"} == {"returns", "left", "right", "signal"}
    assert (items["returns"]["stale_from"], items["signal"]["stale_from"]) == ("2024-01-03", "2024-01-03")
    assert items["prices"]["version"] == 2
    assert items["prices"]["next_step"] is None
    assert items["returns"]["next_step"] == "optaic run returns"
    assert items["signal"]["next_step"] == "optaic run signal --recursive"
    assert {"status", "freshness", "version", "last_data_date", "expected_date", "causes"} <= items["signal"].keys()
    text = project.run("status").stdout
    assert "prices has published version 2 since" in text
    assert "next: optaic run signal --recursive" in text


def test_why_walks_back_to_the_version_that_made_it_stale(project: Project) -> None:
    publisher = project.last("prices")["id"]
    document = project.json("why", "signal")
    assert (document["freshness"], document["stale_from"]) == ("stale", "2024-01-03")
    (root,) = document["because"]
    assert (root["target"], root["through"], root["next_step"]) == ("returns", ["left"], "optaic run returns")
    (cause,) = root["causes"]
    (change,) = cause["changes"]
    assert (cause["kind"], change["version"], change["run_id"]) == ("input_changed", 2, publisher)
    assert (change["changed_from"], change["columns"]) == ("2024-01-03", ["close"])
    assert [one["leads_to"] for one in document["causes"]] == ["returns", "returns"]
    assert document["next_steps"] == ["optaic run signal --recursive"]
    text = project.run("why", "signal").stdout
    assert "returns  stale from 2024-01-03 on, through left" in text
    assert "changed close from 2024-01-03 on" in text
    assert "right is stale from 2024-01-03 on, by returns (see above)" in text


def test_why_says_on_what_a_ready_flow_stands(project: Project) -> None:
    document = project.json("why", "history")
    assert (document["freshness"], document["causes"], document["next_steps"]) == ("ready", [], [])
    (read,) = document["inputs"]
    assert (read["target"], read["version"], read["last_date"]) == ("prices", 1, "2024-01-01")
    assert document["run"]["id"] == project.last("history")["id"]
    assert "prices version 1, to 2024-01-01, made by run" in project.run("why", "history").stdout


def test_an_upstream_that_is_not_ready_is_exit_code_3_with_each_cause(project: Project) -> None:
    refused = project.run("run", "signal", code=3)
    lines = refused.stderr.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["left", "stale"], ["right", "stale"]]
    assert "returns is stale from 2024-01-03 on" in lines[1]
    assert "next: optaic run signal --recursive" in refused.stderr
    assert "optaic why signal" in refused.stderr
    error = json.loads(project.run("run", "signal", "--json", code=3).stderr)
    assert (error["exit_code"], error["next_step"]) == (3, "optaic run signal --recursive")
    assert [(one["target"], one["freshness"]) for one in error["blockers"]] == [("left", "stale"), ("right", "stale")]
    assert error["blockers"][0]["causes"][0]["kind"] == "upstream_not_ready"


def test_lineage_draws_a_flow_as_it_is(project: Project) -> None:
    document = project.json("lineage", "returns")
    nodes = {node["target"]: node for node in document["nodes"]}
    assert {name: node["distance"] for name, node in nodes.items()} == {
        "prices": -1, "returns": 0, "left": 1, "right": 1, "signal": 2,
    }  # fmt: skip
    edges = {(edge["upstream"], edge["downstream"]): edge for edge in document["edges"]}
    read = edges[nodes["prices"]["id"], nodes["returns"]["id"]]
    assert (read["role"], read["columns"], read["selector"]) == ("x", ["close"], "current")
    assert len(document["edges"]) == 5
    near = project.json("lineage", "returns", "--depth", "1")
    assert {node["target"] for node in near["nodes"]} == {"prices", "returns", "left", "right"}
    assert near["is_cut"]
    text = project.run("lineage", "signal").stdout
    assert "│  └─ returns" in text
    assert "returns (see above)" in text
    assert "[close] as x" in text
    assert "is read by nobody" in text
    assert "(version:1)" in project.run("lineage", "pinned").stdout


def test_a_column_of_a_dataset_is_a_target(project: Project) -> None:
    assert project.json("why", "prices[close]")["target"] == "prices"
    assert project.json("plan", "prices[close]")["target"] == "prices"
    assert "prices[close]" in project.run("lineage", "prices[close]").stdout


def test_a_run_shows_which_library_knew_the_sessions_expected_of_its_data(tmp_path: Path) -> None:
    from importlib.metadata import version

    mine = Project(tmp_path / "mine")
    mine.root.mkdir()
    mine.run("init")
    (mine.root / "sources.py").write_text(SOURCES)
    mine.declare(dataset("prices", "prices", "freshness: {frequency: monthly, calendar: XNYS, grace: 100}"))
    run = mine.json("run", "prices")
    library = f"exchange_calendars {version('exchange_calendars')}"
    assert mine.last("prices")["calendar"] == library
    assert f"calendar    {library}" in mine.run("show", run["id"]).stdout
    mine.run("export", run["id"], str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "run.json").read_text())["calendar"] == library


def test_the_lineage_of_a_column_shows_who_reads_it(tmp_path: Path) -> None:
    mine = Project(tmp_path / "mine")
    mine.root.mkdir()
    mine.run("init")
    source = SOURCES.replace("return pl.DataFrame(rows, schema", "return pl.DataFrame(rows, strict=False, schema")
    source = source.replace('"close": pl.Float64})', '"close": pl.Float64}).with_columns(volume=1)')
    (mine.root / "sources.py").write_text(source)
    mine.declare(
        PRICES
        + dataset("closes", "reads", "inputs: {x: 'prices[close]'}")
        + dataset("volumes", "reads", "inputs: {x: 'prices[volume]'}")
        + dataset("everything", "reads", "inputs: {x: prices}")
        + dataset("after", "reads", "inputs: {x: 'volumes[volume]'}")
    )

    def below(target: str) -> set[str]:
        return {node["target"] for node in mine.json("lineage", target)["nodes"]} - {"prices"}

    assert below("prices[nothing]") == {"everything"}  # no version yet that could say what columns it has
    mine.run("run", "prices[close]")
    assert below("prices") == {"closes", "volumes", "everything", "after"}
    assert below("prices[close]") == {"closes", "everything"}
    assert below("prices[volume]") == {"volumes", "everything", "after"}
    assert below("prices[date]") == below("prices")
    assert mine.json("lineage", "prices[close]")["columns"] == ["close"]
    assert "volumes" not in mine.run("lineage", "prices[close]").stdout


def test_lineage_draws_a_run_as_it_was(project: Project) -> None:
    first = project.json("runs", "--instance", "prices")["items"][-1]["id"]
    signal = project.last("signal")["id"]
    document = project.json("lineage", "signal@latest")
    nodes = {node["id"]: node for node in document["nodes"]}
    assert (document["kind"], document["root"]) == ("run", signal)
    assert nodes[first]["distance"] == -3
    assert {node["instance"] for node in nodes.values()} == {"signal", "left", "right", "returns", "prices"}
    assert {edge["version"] for edge in document["edges"]} == {1}
    below = project.json("lineage", first)
    assert signal in {node["id"] for node in below["nodes"]}
    (ended,) = [edge for edge in below["edges"] if edge["last_date"] is not None]
    assert ended["last_date"] == "2024-01-01"
    text = project.run("lineage", first[:18]).stdout
    assert "version 1 as x, to 2024-01-01" in text
    assert "reads nothing" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("why", "signa"), "did you mean 'signal'?"),
        (("why", "signal.trian"), "is not a kind of flow"),
        (("lineage", "nothing"), "there is no instance 'nothing'"),
        (("lineage", "prices@first"), "is not a run id"),
        (("lineage", "0000"), "there is no run 0000"),
        (("lineage", "signal", "--depth", "0"), "a depth of 0 shows nothing"),
        (("why",), "Missing argument"),
        (("why", "prices[closs]"), "prices has no column 'closs'; did you mean 'close'?"),
        (("lineage", "prices[volume]"), "it has: date, symbol, close"),
        (("lineage", "price[close]"), "did you mean 'prices'?"),
    ],
)
def test_what_cannot_be_meant_is_told(project: Project, arguments: tuple[str, ...], said: str) -> None:
    assert said in project.run(*arguments, code=2).stderr


def test_without_a_project_there_is_nothing_to_explain(tmp_path: Path) -> None:
    for command in ("why", "lineage"):
        refused = Project(tmp_path).run(command, "prices", code=2)
        assert "next: make a project here with: optaic init" in refused.stderr


def test_code_config_and_failures_are_named_with_what_to_do(project: Project) -> None:
    """The last of the story: it changes the project."""
    (project.root / "sources.py").write_text(SOURCES + "\n\nOTHER = 1\n")
    project.declare(PRICES + READERS.replace("prices[close]", "prices"), apply=False)
    (project.root / "sources.py").write_text(SOURCES.replace("2024, 1, 1) + dt", "2024, 1, 1) + 1 * dt"))
    assert project.json("why", "prices")["next_steps"] == ["optaic apply"]
    project.declare(dataset("prices", "prices", "params: {days: 3}") + READERS)
    (project.root / "shift").write_text("-1")
    project.run("run", "prices", code=1)
    document = project.json("why", "prices")
    causes = {cause["kind"]: cause for cause in document["causes"]}
    assert causes["config_changed"]["differences"] == [{"path": "params.days", "before": 4, "after": 3}]
    assert causes["code_changed"]["digest"] != causes["code_changed"]["run_digest"]
    assert "the vendor sent no prices" in document["error"]["message"]
    assert document["next_steps"][0].startswith("optaic logs ")
    text = project.run("why", "signal").stdout
    assert "params.days: 4 -> 3" in text
    assert "failed: ValueError: the vendor sent no prices" in text
