"""Versions that are selected by number, and sources that are late: what is said, and what is never recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import Project, dataset

SOURCES = """
import datetime as dt

import polars as pl


def prices(ctx, *, close: float = 1.0):
    return pl.DataFrame({"date": [dt.date(2024, 1, 2)], "symbol": ["AAA"], "close": [close]})


def reads(ctx):
    return ctx.input("x").frame().drop("known_at")
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    mine = Project(tmp_path / "mine")
    mine.root.mkdir()
    mine.run("init")
    (mine.root / "sources.py").write_text(SOURCES)
    return mine


def test_a_version_that_is_not_there_is_told_everywhere_and_nothing_is_recorded(project: Project) -> None:
    project.declare(
        dataset("prices", "prices")
        + dataset("pinned", "reads", "inputs: {x: {from: prices, select: 'version:9'}}")
        + dataset("after", "reads", "inputs: {x: pinned}")
    )
    project.run("run", "prices")
    told, helps = "prices has no version 9; it has version 1", "optaic runs --instance prices"
    for command in (("run", "pinned"), ("run", "pinned", "--recursive"), ("run", "pinned", "--force")):
        refused = project.run(*command, code=3).stderr
        assert told in refused
        assert helps in refused
        assert "select another version in optaic.yaml" in refused
    above = project.run("run", "after", "--recursive", code=3).stderr
    assert "pinned  not initialized  prices has no version 9" in above
    assert helps in project.run("run", "after", code=3).stderr
    assert [run["instance"] for run in project.json("runs")["items"]] == ["prices"]
    for command in (("why", "pinned"), ("plan", "pinned"), ("why", "after"), ("plan", "after")):
        said = project.run(*command).stdout
        assert told in said
        assert helps in said
        assert "optaic run pinned" not in said
    (item,) = [item for item in project.json("status")["items"] if item["instance"] == "pinned"]
    assert told in [cause["detail"] for cause in item["causes"]]
    assert helps in item["next_step"]
    assert told in project.run("status").stdout


def test_a_late_source_is_waited_for_or_gone_on_without(project: Project) -> None:
    late = "freshness: {frequency: daily, calendar: daily, on_delayed: %s}"
    readers = dataset("signal", "reads", "inputs: {x: prices}") + dataset("after", "reads", "inputs: {x: signal}")
    project.declare(dataset("prices", "prices", late % "wait") + readers)
    project.run("run", "prices")
    project.run("run", "prices")  # asked again, it still has nothing of 3 January
    for target in ("signal", "after"):
        refused = project.run("run", target, code=3).stderr
        assert "wait until the source of prices has data of 2024-01-03 (its next data are due at " in refused
        assert (f"optaic run {target} --force" in refused) == (target == "signal")  # signal itself has no version yet
        assert "on_delayed: run under freshness of prices" in refused
        assert "--recursive" not in refused
    said = project.run("why", "prices").stdout
    assert "next: wait until the source of prices has data of 2024-01-03" in said
    project.run("run", "signal", "--force")
    project.declare(dataset("prices", "prices", late % "run") + readers)
    project.run("run", "signal")
