"""Flows that run by themselves, by the command line: what sets them off, and what they wait for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands import SOURCES, Project, dataset

BROKEN = """

def follows(ctx):
    raise ValueError("a bug of mine")
"""
MENDED = """

def follows(ctx):
    return ctx.input("b").frame().select("date", "symbol", "close")
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """`auto` runs by itself when `base` has something new."""
    made = Project(tmp_path)
    made.run("init")
    (tmp_path / "sources.py").write_text(SOURCES)
    write(made, MENDED)
    auto = dataset("auto", "follows", "inputs: {b: base}", "schedule: {when: upstream}")
    made.declare(dataset("base", "prices") + auto.replace("sources:", "following:"))
    return made


def write(project: Project, code: str) -> None:
    (project.root / "following.py").write_text(code)


def official(project: Project) -> list[tuple[str, int | None]]:
    """Give status and version of the runs of `auto`, the newest first."""
    return [(run["status"], run["version"]) for run in project.json("runs", "--instance", "auto")["items"]]


def test_a_change_of_code_while_a_run_waits_loses_nothing(project: Project) -> None:
    project.run("run", "base")
    assert official(project) == [("pending", None)]
    write(project, MENDED + "# edited\n")
    project.run("apply")
    project.run("run", "base")
    project.run("worker", "--until-idle")
    assert official(project)[0] == ("completed", 1)
    project.run("worker", "--until-idle")
    assert sum(status == "completed" for status, _ in official(project)) == 1


def test_a_mended_bug_is_tried_again_by_itself(project: Project) -> None:
    write(project, BROKEN)
    project.run("apply")
    project.run("run", "base")
    project.run("worker", "--until-idle")
    assert official(project) == [("failed", None)]
    project.run("worker", "--until-idle")
    assert official(project) == [("failed", None)], "the same failure is not repeated"
    (item,) = project.json("schedule", "list")["items"]
    failed = project.last("auto")
    assert item["waits"]["run_id"] == item["last_run"] == failed["id"]
    assert (item["waits"]["code"], item["waits"]["until"]) == ("flow_error", None)
    assert item["last_at"].endswith("Z")
    listed = project.run("schedule", "list").stdout
    assert failed["id"][:18] in listed
    assert "a bug of mine" in listed
    assert " ago" in listed
    assert "next: mend it, then: optaic apply; or as it is: optaic run auto" in listed
    write(project, MENDED)
    project.run("apply")
    project.run("worker", "--until-idle")
    assert official(project) == [("completed", 1), ("failed", None)]
    (item,) = project.json("schedule", "list")["items"]
    assert item["waits"] is None


def test_code_that_was_not_applied_is_tried_again_once_it_was(project: Project) -> None:
    project.run("run", "base")
    write(project, MENDED + "# edited\n")
    project.run("worker", "--until-idle")
    failed = official(project)
    assert set(failed) == {("failed", None)}
    assert len(failed) == 2, "once more at once, and then only after a while"
    project.run("apply")
    project.run("worker", "--until-idle")
    assert official(project) == [("completed", 1), *failed]


def test_a_run_says_which_versions_set_it_off_and_that_nobody_asked_for_it(project: Project) -> None:
    base = project.json("run", "base")
    run = project.last("auto")
    version = {"upstream": "base", "version": 1, "run_id": base["id"]}
    assert (run["triggered_by"]["versions"], run["triggered_by"]["new"]) == ([version], [version])
    assert (run["submitted_by"], base["submitted_by"], base["triggered_by"]) == ("system", "owner", None)
    status = {item["target"]: item for item in project.json("status")["items"]}
    assert (status["auto"]["status"], status["auto"]["pending_run"]) == ("not_initialized", run["id"])
    assert status["auto"]["next_step"] == "optaic worker --until-idle"
    assert status["base"]["pending_run"] is None
    said = project.run("status").stdout
    assert f"run {run['id'][:18]} waits for a worker" in said
    assert "next: optaic worker --until-idle" in said
    assert f"run {run['id']}, for a worker" in project.run("why", "auto").stdout
    shown = project.run("show", "auto@latest").stdout
    assert f"set off by  base version 1 (run {base['id']})" in shown
    assert "upstream, by system" in shown


def test_what_was_run_by_hand_is_not_run_again(project: Project) -> None:
    project.run("run", "base")
    project.run("run", "auto")
    project.run("worker", "--until-idle")
    runs: list[dict[str, Any]] = project.json("runs", "--instance", "auto")["items"]
    assert [(run["status"], run["trigger"]) for run in runs] == [("completed", "manual"), ("cancelled", "upstream")]
    assert runs[1]["reason"]["code"] == "superseded"
    assert runs[0]["id"] in project.run("show", runs[1]["id"]).stdout
