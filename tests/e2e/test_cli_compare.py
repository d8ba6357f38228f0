"""Runs held against each other from the command line: reproduce, diff, compare."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from tests.commands import SOURCES, Project, dataset
from tests.e2e.test_cli_terminal import on_terminal

VENDOR = '''

def vendor(ctx, *, file: str):
    """A vendor who may correct the past, or be gone."""
    text = Path(file).read_text()
    ctx.log_metric("answer", float(text))
    return rows(2, float(text))
'''

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two runs of `prices`, with different params, config and code, and one of `vendor`."""
    folder = tmp_path_factory.mktemp("compare")
    mine = Project(folder / "project")
    mine.root.mkdir()
    mine.run("init")
    (mine.root / "sources.py").write_text(SOURCES + VENDOR)
    (folder / "answer").write_text("1.0")
    more = dataset("vendor", "vendor", f"params: {{file: '{folder / 'answer'}'}}")
    mine.declare(dataset("prices", "prices", "params: {days: 4}") + more)
    mine.run("run", "prices")
    mine.run("run", "vendor")
    (mine.root / "sources.py").write_text(SOURCES.replace('"AAA", "BBB"', '"AAA", "CCC"') + VENDOR)
    mine.declare(dataset("prices", "prices", "params: {days: 6}", "seed: 3") + more)
    mine.run("run", "prices")
    return mine


@pytest.fixture(scope="module")
def runs(project: Project) -> dict[str, Any]:
    """The originals: `first` and `second` of prices, and `vendor`."""
    second, vendor, first = project.json("runs")["items"]
    return {"first": first, "second": second, "vendor": vendor}


def test_reproduce_says_that_all_is_identical_after_the_working_tree_has_changed(
    project: Project, runs: dict[str, Any]
) -> None:
    told = project.run("reproduce", runs["first"]["id"]).stdout
    assert f"compared    identical to run {runs['first']['id'][:18]}" in told
    assert "none: trials make no versions" in told
    assert "next: optaic diff" in told
    assert project.last("prices")["id"] == runs["second"]["id"]
    again = project.json("runs", "--limit", "1")["items"][0]
    again = project.json("show", again["id"])
    assert again["reproduces"] == runs["first"]["id"]
    assert again["comparison"]["verdict"] == "identical"
    assert (again["standing"], again["version"]) == ("trial", None)
    assert "identical to run" in project.run("show", again["id"]).stdout
    assert project.json("status")["items"][0]["version"] == runs["second"]["version"]


def test_reproduce_says_where_it_differs_and_leaves_with_1(project: Project, runs: dict[str, Any]) -> None:
    (project.root.parent / "answer").write_text("2.0")
    try:
        told = project.run("reproduce", runs["vendor"]["id"], code=1).stdout
        document = project.json("reproduce", runs["vendor"]["id"], code=1)
    finally:
        (project.root.parent / "answer").write_text("1.0")
    assert f"compared    different from run {runs['vendor']['id'][:18]}, in 3 places" in told
    (changes,) = re.findall(r"^changes close .*$", told, re.MULTILINE)
    assert changes.split() == ["changes", "close", "2024-01-01", "AAA", "101.0", "102.0", "4", "0.0098"]
    assert document["status"] == "completed"
    assert [(place["name"], place["column"]) for place in document["comparison"]["places"]] == [
        ("changes", "close"),
        ("difference.parquet", "close"),
        ("answer", None),
    ]
    # It can be seen again.
    shown = project.run("show", document["id"]).stdout
    assert changes in shown


def test_a_reproduction_that_fails_leaves_with_1_and_says_how_it_ended(project: Project, runs: dict[str, Any]) -> None:
    answer = project.root.parent / "answer"
    answer.rename(answer.with_suffix(".gone"))
    try:
        told = project.run("reproduce", runs["vendor"]["id"], code=1).stdout
    finally:
        answer.with_suffix(".gone").rename(answer)
    assert "failed" in told
    assert re.search(r"^status +completed +failed", told, re.MULTILINE)
    assert "a reproduction has the project's source as it was applied" in told


def test_a_worker_executes_what_was_recorded_and_it_is_found_later(project: Project, runs: dict[str, Any]) -> None:
    recorded = project.json("reproduce", runs["first"]["id"], "--detach")
    assert (recorded["status"], recorded["comparison"]) == ("pending", None)
    project.run("worker", "--until-idle")
    assert project.json("show", recorded["id"])["comparison"]["verdict"] == "identical"


def test_what_cannot_be_reproduced_is_a_mistake_in_words(project: Project) -> None:
    code = "import optaic\nwith optaic.connect() as l, l.track('idea') as run: run.log_metric('ic', 0.1)"
    subprocess.run([sys.executable, "-c", code], cwd=project.root, env=project.environment, check=True)
    refused = project.run("reproduce", "idea@latest", code=2)
    assert "but not its code" in refused.stderr
    assert "optaic diff" in refused.stderr
    assert "there is no run" in project.run("reproduce", "0123456789abcdef", code=2).stderr


def test_diff_tells_what_differs_first(project: Project, runs: dict[str, Any]) -> None:
    told = project.run("diff", runs["first"]["id"], runs["second"]["id"]).stdout
    differs, same = told.split("the same in all:")
    for line in (
        r"^params days +4 +6",
        r"^run seed +0 +3",
        r"^config seed +0 +3",
        r"^source sources.py +\w{12} +\w{12}",
        r"^source optaic.yaml +\w{12} +\w{12}",
        r"^metrics rows_fetched +8 +12 +\+4",
        r"^metrics duration_seconds .*(better|worse)$",
        r"^artifacts quality.json +\w{12} +\w{12}",
    ):
        assert re.search(line, differs, re.MULTILINE), line
    assert "params shift" not in differs
    assert "shift=0" in same
    document = project.json("diff", runs["first"]["id"], runs["second"]["id"])
    assert [run["id"] for run in document["runs"]] == [runs["first"]["id"], runs["second"]["id"]]
    flags = [row["is_different"] for row in document["rows"]]
    assert flags == sorted(flags, reverse=True)
    assert sum(flags) == document["different"]
    rows = {(row["section"], row["name"]): row for row in document["rows"]}
    assert rows["metrics", "rows_fetched"]["difference"] == 4
    assert rows["params", "days"]["values"] == [4, 6]


def test_diff_of_a_run_with_itself_has_nothing(project: Project, runs: dict[str, Any]) -> None:
    assert "nothing differs" in project.run("diff", runs["first"]["id"], runs["first"]["id"]).stdout


def test_diff_goes_on_without_the_files_of_a_source_that_is_gone(project: Project, runs: dict[str, Any]) -> None:
    stored = list((project.root / ".optaic" / "objects").rglob("*.tar.gz"))
    for path in stored:
        path.rename(path.with_suffix(".away"))
    try:
        told = project.run("diff", runs["first"]["id"], runs["second"]["id"]).stdout
    finally:
        for path in stored:
            path.with_suffix(".away").rename(path)
    assert "the files of the source were not compared" in told
    assert re.search(r"^params days +4 +6", told, re.MULTILINE)


def test_compare_has_runs_as_columns_and_marks_the_best(project: Project, runs: dict[str, Any]) -> None:
    ids = [runs["first"]["id"], runs["second"]["id"], "vendor@latest"]
    told = project.run("compare", *ids).stdout
    assert re.search(r"^params days +4 +6 +\(none\)", told, re.MULTILINE)
    (took,) = re.findall(r"^metrics duration_seconds .*$", told, re.MULTILINE)
    assert (took.count("best"), took.count("worst")) == (1, 1)
    differs, same = project.run("compare", *ids[:2]).stdout.split("the same in all:")
    assert ("rows_updated" in differs, "rows_updated=0" in same) == (False, True)
    document = project.json("compare", *ids)
    assert len(document["runs"]) == 3
    assert all(len(row["values"]) == 3 for row in document["rows"])
    assert "name 2 to 20 runs" in project.run("compare", ids[0], code=2).stderr
    assert "name 2 to 20 runs" in project.run("compare", *ids[:1] * 21, code=2).stderr


@pytest.mark.parametrize("count", [2, 9])
def test_nothing_is_wider_than_the_terminal(project: Project, runs: dict[str, Any], count: int) -> None:
    ids = [runs["first"]["id"], runs["second"]["id"], runs["vendor"]["id"]] * 3
    commands = [["compare", *ids[:count]]]
    if count == 2:
        commands += [["diff", *ids[:2]], ["reproduce", ids[0]], ["show", "prices@latest"]]
    for command in commands:
        text = _ESCAPE.sub("", on_terminal(project, *command)).replace("\r", "\n")
        wide = [line for line in text.split("\n") if len(line) > 80 and len(max(line.split(), key=len)) < 40]
        assert not wide, wide
        if command[0] == "compare":
            heads = re.findall(r"^ +(\d(?: +\d)*) *$", text, re.MULTILINE)
            assert " ".join(heads).split() == [str(number) for number in range(1, count + 1)]


def test_the_project_is_in_order_afterwards(project: Project) -> None:
    assert project.json("doctor")["ok"]
