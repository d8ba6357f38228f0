"""Plans by the command line: what would run, and running it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.commands import SOURCES, Project, dataset, send, wait_until

PLAN_SOURCES = (
    SOURCES
    + """

def copies(ctx):
    if Path("broken").exists():
        raise ValueError("broken on purpose")
    return ctx.input("close").frame().select("date", "symbol", "close")


def waits_for(ctx):
    frame = ctx.input("close").frame().select("date", "symbol", "close")
    Path("started").write_text("")
    while not Path("go").exists():
        ctx.raise_if_cancelled()
        time.sleep(0.02)
    return frame
"""
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.run("init")
    (tmp_path / "sources.py").write_text(PLAN_SOURCES)
    made.declare(
        dataset("prices", "prices")
        + dataset("left", "copies", "inputs: {close: prices}")
        + dataset("right", "copies", "inputs: {close: prices}")
        + dataset("signal", "copies", "inputs: {close: left, other: right}")
        + dataset("slow", "waits_for", "inputs: {close: prices}")
        + dataset("after", "copies", "inputs: {close: slow}")
    )
    return made


def test_a_plan_shows_batches_and_runs_nothing(project: Project) -> None:
    found = project.json("plan", "signal")
    assert [[step["target"] for step in batch["steps"]] for batch in found["batches"]] == [
        ["prices"],
        ["left", "right"],
        ["signal"],
    ]
    assert found["batches"][0]["steps"][0]["causes"][0]["kind"] == "never_run"
    assert project.json("runs")["items"] == []
    said = project.run("plan", "signal").stdout
    assert "4 steps in 3 batches" in said
    assert "next: optaic run signal --recursive" in said


def test_recursive_runs_the_plan_and_smart_then_has_nothing_to_do(project: Project) -> None:
    project.run("run", "signal", code=3)
    done = project.run("run", "signal", "--recursive", "--json")
    run = json.loads(done.stdout)
    assert (run["instance"], run["status"], run["version"], run["trigger"]) == ("signal", "completed", 1, "plan")
    assert {step["status"] for step in run["plan"]["items"]} == {"done"}
    seen = [" ".join(line.split()[:2]) for line in done.stderr.splitlines()]
    for name in ("prices", "left", "right"):
        if {f"{name}.refresh running", "signal.refresh running"} <= set(seen):
            assert seen.index(f"{name}.refresh completed") < seen.index("signal.refresh running"), done.stderr
    assert "nothing to run" in project.run("run", "signal", "--smart").stdout
    assert "nothing to run" in project.run("plan", "signal", "--smart").stdout
    assert project.json("plan", "signal")["expected_seconds"] > 0
    shown = project.run("plan", run["plan"]["id"]).stdout
    assert f"plan {run['plan']['id']} of signal is completed" in shown


def test_a_failure_is_told_with_what_it_blocked(project: Project) -> None:
    (project.root / "broken").touch()
    failed = project.run("run", "signal", "--recursive", code=1)
    assert "broken on purpose" in failed.stdout
    assert "blocked" in failed.stdout
    assert "next: read the log with: optaic logs" in failed.stdout
    document = project.json("run", "signal", "--recursive", code=1)
    assert (document["id"], document["status"]) == (None, "blocked")
    assert document["reason"]["code"] == "upstream_failed"
    step = next(step for step in document["plan"]["items"] if step["status"] == "failed")
    assert step["reason"]["next_step"] == f"read the log with: optaic logs {step['run_id']}"
    assert step["reason"]["next_step"] in project.run("plan", document["plan"]["id"]).stdout


def test_a_detached_plan_is_executed_by_a_worker(project: Project) -> None:
    recorded = project.json("run", "signal", "--recursive", "--detach", "--idempotency-key", "k")
    again = project.json("run", "signal", "--recursive", "--detach", "--idempotency-key", "k")
    assert again["plan"]["id"] == recorded["plan"]["id"]
    project.run("worker", "--until-idle", "-n", "2")
    assert project.json("plan", recorded["plan"]["id"])["status"] == "completed"


def test_a_plan_is_cancelled_by_its_id(project: Project) -> None:
    plan = project.json("run", "signal", "--recursive", "--detach")["plan"]
    assert "is cancelled" in project.run("cancel", plan["id"]).stdout
    project.run("cancel", plan["id"], code=2)
    assert {step["status"] for step in project.json("plan", plan["id"])["items"]} == {"cancelled"}


def test_an_interrupt_stops_the_plan(project: Project) -> None:
    process = project.start("run", "after", "--recursive")
    wait_until((project.root / "started").exists, "the step that waits")
    stdout, stderr = send(process, signal.SIGINT)
    assert process.returncode == 1, stderr
    assert "asking the plan to stop" in stderr
    assert "of after is cancelled" in stdout
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "options",
    [("--recursive", "--force"), ("--recursive", "--seed", "3"), ("--smart", "--mode", "full"), ("-n", "2")],
)
def test_what_does_not_go_together_is_refused(project: Project, options: tuple[str, ...]) -> None:
    assert "error:" in project.run("run", "signal", *options, code=2).stderr
    assert project.json("runs")["items"] == []
