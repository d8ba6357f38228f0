"""Mistakes of users, and how the command line answers: one sentence, the next step, and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import SOURCES, Project, dataset


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    mine = Project(tmp_path_factory.mktemp("mistakes"))
    mine.run("init")
    (mine.root / "sources.py").write_text(SOURCES)
    mine.declare(
        dataset("prices", "prices")
        + dataset("returns", "prices", "inputs: {close: prices}")
        + dataset("raises", "raises")
        + dataset("returns_nothing", "returns_nothing")
        + dataset("wrong_schema", "wrong_schema")
        + dataset("hangs", "hangs", "timeout: 1s")
    )
    return mine


@pytest.mark.parametrize(
    ("arguments", "said", "next_step"),
    [
        (["run", "prics"], "did you mean 'prices'?", "optaic apply"),
        (["run", "prices", "--param", "dayz=3"], "dayz", "days"),
        (["run", "prices", "--param", "days=three"], "three", ""),
        (["run", "prices", "--param", "days"], "days", "="),
        (["run", "prices", "--param", "days=1", "--param", "days=2"], "twice", "once"),
        (["run", "prices", "--mode", "sideways"], "sideways", "incremental"),
        (["run", "prices", "--seed", "-1"], "seed", "4294967295"),
        (["run", "prices", "--as-of", "yesterday"], "yesterday", "2024"),
        (["show", "0199"], "there is no run 0199", "optaic runs"),
        (["show", "not-an-id"], "not-an-id", "optaic runs"),
        (["show", "prices@latest"], "has no runs", "optaic run prices"),
        (["logs", "nobody@latest"], "nobody", "optaic"),
        (["cancel", "0199"], "there is no run", "optaic runs"),
        (["retry", "0199"], "there is no run", "optaic runs"),
        (["runs", "--status", "done"], "done", "completed"),
        (["runs", "--where", "sharpe over 1"], "sharpe over 1", "--where"),
        (["runs", "--instance", "prics"], "did you mean 'prices'?", "optaic apply"),
        (["runs", "--limit", "0"], "out of range", "10000"),
        (["gc", "--grace", "soon"], "soon", "2h"),
        (["worker", "-n", "0"], "0", "optaic worker --help"),
        (["statsu"], "statsu", "optaic status"),
        (["run"], "TARGET", "optaic run --help"),
        (["run", "prices", "--recursve"], "--recursve", "optaic run --help"),
    ],
)
def test_wrong_usage_is_explained(project: Project, arguments: list[str], said: str, next_step: str) -> None:
    result = project.run(*arguments, code=2)
    message, _, following = result.stderr.partition("  next: ")
    assert said in message
    assert next_step in following
    assert result.stdout == ""


def test_with_json_a_mistake_is_a_problem_document(project: Project) -> None:
    problem = json.loads(project.run("run", "prics", "--json", code=2).stderr)
    assert problem["type"] == "urn:optaic:error:not_found"
    assert problem["exit_code"] == 2
    assert "prics" in problem["detail"]
    assert problem["next_step"]


def test_an_upstream_without_data_has_its_own_exit_code(project: Project) -> None:
    refused = project.run("run", "returns", code=3)
    assert "prices" in refused.stderr
    assert "next: optaic run returns --recursive" in refused.stderr


@pytest.mark.parametrize(
    ("target", "reason", "said"),
    [
        ("raises", "flow_error", "ValueError: the vendor sent no prices"),
        ("returns_nothing", "no_output", "returns_nothing"),
        ("wrong_schema", "invalid_output", "date"),
        ("hangs", "timed_out", "timeout"),
    ],
)
def test_a_source_that_misbehaves_fails_its_run_with_a_reason(
    project: Project, target: str, reason: str, said: str
) -> None:
    result = project.run("run", target, code=1)
    assert said in result.stdout
    assert f"[{reason}]" in result.stdout
    assert "next: " in result.stdout
    run = project.last(target)
    assert (run["status"], run["reason"]["code"], run["version"]) == ("failed", reason, None)
    assert run["reason"]["next_step"]


def test_the_trace_of_a_source_that_raised_is_in_its_log(project: Project) -> None:
    project.run("run", "raises", code=1)
    log = project.run("logs", "raises@latest").stdout
    assert "Traceback" in log
    assert "in raises" in log


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("project: mine\ninstances:\n  prices: {kind: dataset\n", "optaic.yaml:"),
        (
            "project: mine\ninstances:\n  prices: {kind: dataset, definition: sources:prices,\n    keys: [date]}\n",
            "optaic.yaml:4:5",
        ),
        (
            "project: mine\ninstances:\n  prices: {kind: dataset, definition: sources:price}\n",
            "optaic.yaml:3:39",
        ),
        (
            "project: mine\ninstances:\n  a:\n    kind: dataset\n    definition: sources:prices\n  a: {}\n",
            "optaic.yaml:6:3",
        ),
        ("project: mine\ninstances:\n  prices: {kind: datset}\n", "optaic.yaml:3:18"),
    ],
)
def test_mistakes_in_the_project_file_have_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    mine = Project(tmp_path)
    mine.run("init")
    (tmp_path / "sources.py").write_text(SOURCES)
    (tmp_path / "optaic.yaml").write_text(text)
    assert place in mine.run("apply", code=2).stderr
    assert mine.json("status")["items"] == []


def test_doctor_names_the_mistake_in_the_project_file(tmp_path: Path) -> None:
    mine = Project(tmp_path)
    mine.run("init")
    (tmp_path / "optaic.yaml").write_text("project: mine\ninstances:\n  prices: {kind: datset}\n")
    report = mine.json("doctor", code=1)
    assert not report["ok"]
    problems = [check for check in report["items"] if check["level"] == "problem"]
    assert [check["name"] for check in problems] == ["project"]
    assert "optaic.yaml:3:18" in problems[0]["message"]


def test_code_that_changed_must_be_applied_first(tmp_path: Path) -> None:
    mine = Project(tmp_path)
    mine.run("init")
    (tmp_path / "sources.py").write_text(SOURCES)
    mine.declare(dataset("prices", "prices"))
    (tmp_path / "sources.py").write_text(SOURCES + "\n# another thought\n")
    refused = mine.run("run", "prices", code=2)
    assert "is not the code that was applied" in refused.stderr
    assert "optaic apply" in refused.stderr


def test_outside_a_project_it_says_how_to_make_one(tmp_path: Path) -> None:
    nowhere = Project(tmp_path)
    assert "next: make a project here with: optaic init" in nowhere.run("runs", code=2).stderr
    assert "optaic init" in nowhere.run("doctor", code=1).stdout


def test_help_lists_only_what_works(project: Project) -> None:
    listed = project.run("--help").stdout.partition("Commands:")[2]
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    assert "run" in names
    assert not {"sweep", "luck", "serve"} & set(names)
    for name in names:
        assert "Usage: optaic" in project.run(name, "--help").stdout


def test_a_reader_that_has_seen_enough_is_no_error(project: Project) -> None:
    process = project.start("runs", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_work_is_done_to_its_end_though_nobody_reads_what_it_says(project: Project) -> None:
    for arguments in (("run", "prices", "--force"), ("run", "prices", "--seed", "78")):
        read_end, write_end = os.pipe()
        os.close(read_end)
        process = project.start(*arguments, stdout=write_end, stderr=write_end)
        os.close(write_end)
        assert process.wait(timeout=60) == 0
        assert project.json("runs")["items"][0]["status"] == "completed"


def test_a_mistake_of_the_product_says_so_and_exits_70() -> None:
    script = (
        "import sys; from optaic.cli import app\n"
        "app.COMMANDS['runs'] = ('optaic.cli.missing', 'not there')\n"
        "app.main(['runs'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=Project(Path.cwd()).environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 70
    assert "this is a bug of optaic" in result.stderr
    assert "OPTAIC_DEBUG=1" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_has_no_marks_of_its_source(project: Project) -> None:
    said = project.run("--help").stdout
    assert "\\" not in said
    assert "\b" not in said
    assert "TARGET is an instance" in said


def test_a_metric_that_no_run_has_is_noted(project: Project) -> None:
    project.run("run", "prices")
    assert "no run has a metric 'rows_insertd'" in project.run("runs", "--where", "rows_insertd > 0").stderr
    assert "no run has a metric 'sharp'" in project.run("runs", "--sort", "-sharp").stderr
    assert project.run("runs", "--where", "rows_inserted > 0", "--sort", "submitted_at").stderr == ""


def test_a_cancel_that_comes_too_late_says_so(project: Project) -> None:
    project.run("run", "prices", "--detach", "--seed", "77")
    assert "is cancelled" in project.run("cancel", "prices@latest").stdout
    assert "is already cancelled" in project.run("cancel", "prices@latest").stdout
    project.run("run", "prices", "--seed", "78")
    assert "has already completed" in project.run("cancel", "prices@latest", code=2).stderr


def test_status_says_why_a_flow_is_in_error(project: Project) -> None:
    project.run("run", "raises", code=1)
    run = json.loads(project.run("show", "raises@latest", "--json").stdout)
    assert run["reason"]["message"] in project.run("status").stdout
    assert (run["code_ref"], run["revision"], len(run["code_digest"])) == ("sources:raises", 1, 64)
