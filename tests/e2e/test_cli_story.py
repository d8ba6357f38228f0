"""What a user can do in a folder of their own, told once from beginning to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.commands import SOURCES, Project, dataset


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after `init`, with functions of its own and two runs: the first made a version, the second none."""
    root = tmp_path_factory.mktemp("work") / "my-project"
    root.mkdir()
    mine = Project(root)
    made = mine.run("init")
    assert "next: " in made.stdout
    assert "optaic apply" in made.stdout
    (root / "sources.py").write_text(SOURCES)
    mine.declare(dataset("prices", "prices", "params: {days: 4}"))
    mine.run("run", "prices")
    mine.run("run", "prices")
    return mine


def test_init_makes_a_project_once(project: Project) -> None:
    assert (project.root / "optaic.yaml").is_file()
    assert (project.root / ".optaic" / ".gitignore").read_text() == "*\n"
    again = project.run("init", code=2)
    assert "is a project already" in again.stderr
    assert "project: mine" in (project.root / "optaic.yaml").read_text()


def test_what_init_writes_can_be_applied_and_run(tmp_path: Path) -> None:
    fresh = Project(tmp_path)
    fresh.run("init", "first-steps")
    inside = Project(tmp_path / "first-steps")
    inside.run("apply")
    inside.run("run", "prices")
    assert inside.last("prices")["version"] == 1


def test_a_clone_without_a_ledger_gets_one_and_keeps_its_file(tmp_path: Path) -> None:
    text = "project: cloned\ninstances: {}\n"
    (tmp_path / "optaic.yaml").write_text(text)
    clone = Project(tmp_path)
    refused = clone.run("runs", code=2)
    assert "next: optaic init" in refused.stderr
    clone.run("init")
    assert (tmp_path / "optaic.yaml").read_text() == text
    assert "there are no runs yet" in clone.run("runs").stdout


def test_apply_is_idempotent_and_says_what_it_would_change(project: Project) -> None:
    assert "nothing to change" in project.run("apply").stdout
    before = (project.root / "optaic.yaml").read_text()
    project.declare(dataset("prices", "prices", "params: {days: 4}") + dataset("other", "prices"), apply=False)
    planned = project.run("apply", "--dry-run").stdout
    assert "other" in planned
    assert [item["instance"] for item in project.json("status")["items"]] == ["prices"]
    (project.root / "optaic.yaml").write_text(before)


def test_runs_lists_them_newest_first_and_filters(project: Project) -> None:
    document = project.json("runs")
    assert document["next"] is None
    second, first = document["items"][-2:]
    assert (first["version"], second["version"]) == (1, None)
    assert first["metrics"]["rows_inserted"] == 8
    assert second["metrics"]["rows_unchanged"] == 8
    assert project.json("runs", "--where", "rows_inserted > 5")["items"] == [first]
    assert project.json("runs", "--instance", "prices", "--status", "failed")["items"] == []
    page = project.json("runs", "--limit", "1")
    following = project.json("runs", "--limit", "1", "--after", page["next"])
    assert following["items"][0]["id"] != page["items"][0]["id"]
    table = project.run("runs").stdout
    assert first["id"][:13] in table
    assert "\x1b" not in table
    assert "─" not in table


def test_show_tells_everything_of_a_run(project: Project) -> None:
    first = project.json("runs", "--where", "rows_inserted > 5")["items"][0]
    text = project.run("show", first["id"][:18]).stdout
    for part in ("prices.refresh", "completed", first["id"], "rows_inserted", "days=4", "next: "):
        assert part in text
    document = project.json("show", first["id"])
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["completed"]
    assert document["params"] == {"days": 4, "shift": 0.0}


def test_logs_are_read_and_followed_to_their_end(project: Project) -> None:
    assert "asked for 4 days" in project.run("logs", "prices@latest").stdout
    assert "asked for 4 days" in project.run("logs", "prices@latest", "-f").stdout
    lines = project.json("logs", "prices@latest")["items"]
    assert {"attempt", "at", "level", "stream", "text"} <= lines[0].keys()


def test_another_parameter_makes_a_trial_and_no_version(project: Project) -> None:
    text = project.run("run", "prices", "--param", "days=6", "--param", "shift=0.5").stdout
    assert "trials make no versions" in text
    trial = project.last("prices")
    assert (trial["standing"], trial["version"], trial["params"]["days"]) == ("trial", None, 6)
    assert project.json("status")["items"][0]["version"] == 1


def test_the_same_idempotency_key_gives_the_same_run(project: Project) -> None:
    first = project.json("run", "prices", "--idempotency-key", "monday")
    assert project.json("run", "prices", "--idempotency-key", "monday")["id"] == first["id"]
    mismatch = project.run("run", "prices", "--idempotency-key", "monday", "--seed", "7", code=2)
    assert "belongs to another request" in mismatch.stderr


def test_a_retry_is_a_new_run_that_names_the_first(project: Project) -> None:
    first = project.last("prices")
    again = project.json("retry", first["id"])
    assert again["retry_of"] == first["id"]
    assert again["status"] == "completed"


def test_detached_runs_wait_for_a_worker_and_a_pending_one_can_be_cancelled(project: Project) -> None:
    waiting = project.json("run", "prices", "--detach")
    unwanted = project.json("run", "prices", "--detach")
    assert waiting["status"] == "pending"
    assert project.json("cancel", unwanted["id"])["status"] == "cancelled"
    assert "already cancelled" in project.run("cancel", unwanted["id"]).stdout
    served = project.run("worker", "-n", "2", "--until-idle").stdout
    assert waiting["id"] in served
    assert unwanted["id"] not in served
    assert project.json("show", waiting["id"])["status"] == "completed"


def test_export_writes_the_run_and_its_files(project: Project, tmp_path: Path) -> None:
    run = project.json("run", "prices", "--param", "days=5")
    folder = tmp_path / "exported"
    project.run("export", run["id"], str(folder))
    assert json.loads((folder / "run.json").read_text())["id"] == run["id"]
    assert json.loads((folder / "inputs.json").read_text()) == []
    points = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [point["value"] for point in points if point["key"] == "loss"] == ["0.5", "0.25"]
    assert "asked for 5 days" in (folder / "log.txt").read_text()
    exported = {str(path.relative_to(folder / "artifacts")) for path in (folder / "artifacts").rglob("*.*")}
    assert exported == {item["name"] for item in run["artifacts"]}
    assert exported
    refused = project.run("export", run["id"], str(folder), code=2)
    assert "is not empty" in refused.stderr


def test_gc_and_doctor_find_everything_in_order(project: Project) -> None:
    document = project.json("gc", "--grace", "0s")
    assert document["orphans"] == document["removed"]
    report = project.json("doctor")
    assert report["ok"], report
    assert {check["name"] for check in report["items"]} >= {"python", "project", "database", "storage", "references"}
    # A warning may be the machine's, such as a disk that is nearly full; a problem would be the ledger's.
    assert not [line for line in project.run("doctor").stdout.splitlines() if line.startswith("problem")]


def test_status_shows_each_flow_with_its_version_and_data(project: Project) -> None:
    item = project.json("status")["items"][0]
    assert (item["instance"], item["flow_kind"], item["status"]) == ("prices", "refresh", "ready")
    assert item["last_data_date"] == "2024-01-04"
    assert "prices.refresh" in project.run("status").stdout
