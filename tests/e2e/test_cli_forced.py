"""A run that went ahead in spite of its upstreams says so for ever."""

from __future__ import annotations

from pathlib import Path

from tests.commands import Project, dataset

SOURCES = """
import datetime as dt
from pathlib import Path

import polars as pl


def prices(ctx):
    close = float(Path("close").read_text())
    return pl.DataFrame({"date": [dt.date(2024, 1, 2)], "symbol": ["AAA"], "close": [close]})


def reads(ctx):
    return ctx.input("x").frame().drop("known_at")
"""


def test_a_forced_run_is_shown_as_forced_and_others_are_not(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    project = Project(root)
    project.run("init")
    (root / "sources.py").write_text(SOURCES)
    (root / "close").write_text("1.0")
    project.declare(
        dataset("prices", "prices")
        + dataset("middle", "reads", "inputs: {x: prices}")
        + dataset("last", "reads", "inputs: {x: middle}")
    )
    project.run("run", "last", "--recursive")
    (root / "close").write_text("2.0")
    project.run("run", "prices")
    project.run("run", "last", code=3)
    project.run("run", "last", "--force")
    forced, plain = project.last("last"), project.last("prices")
    assert (forced["forced"], plain["forced"]) == (True, False)
    assert project.json("show", forced["id"])["forced"] is True
    told = project.run("show", forced["id"]).stdout
    assert "forced      yes: its upstreams needed not be ready" in told
    assert "forced  " not in project.run("show", plain["id"]).stdout
    rows = project.json("diff", plain["id"], forced["id"])["rows"]
    assert [row["values"] for row in rows if row["name"] == "forced"] == [[False, True]]
