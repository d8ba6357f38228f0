"""A run is reproduced from what was stored of it, whatever has become of the project, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import select

from optaic.domain.status import Standing
from optaic.engines.process import ForkServer
from optaic.engines.supervise import supervise
from optaic.ledger.tables import activities
from optaic.lifecycle.claim import claim
from tests.projects import Project, open_project
from tests.reproductions import MORE_SOURCES, ROWS, reproduced, state, verdict


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        server.warm()
        yield server


@pytest.fixture
def project(tmp_path: Path, database_url: str, server: ForkServer) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url, lease_seconds=20) as project:
        with (project.root / "sources.py").open("a") as file:
            file.write(MORE_SOURCES)
        yield project


def test_a_run_is_reproduced_after_code_config_and_upstream_have_changed(project: Project, server: ForkServer) -> None:
    read = {"inputs": "{close: 'prices[close]'}"}
    project.declare(prices={"params": "{close: 4.0}"}, halves=read)
    first = project.execute(server, "prices")
    run = project.execute(server, "halves")
    assert (first.version, run.version, run.metrics["total"]) == (1, 1, 8.0)
    # The upstream has a new version, the instance another config, and its code is another.
    project.declare(prices={"params": "{close: 6.0}"}, halves={**read, "seed": "7"})
    assert project.execute(server, "prices").version == 2
    code = project.root / "sources.py"
    code.write_text(code.read_text().replace("/ 2", "/ 3").replace("def table(close=1.0):", "def table(close=9.0):"))
    project.ledger.apply()
    project.execute(server, "prices")
    assert project.execute(server, "halves").metrics["total"] == 12.0
    before = state(project)
    for original in (first, run):
        again = reproduced(project, server, original)
        assert verdict(again) == ("identical", [])
        assert (again.standing, again.version, again.record.trigger) == ("trial", None, "reproduce")
        assert again.record.reproduces_id == original.id
        kept = ("seed", "revision", "code_digest", "params", "as_of", "mode", "fingerprint")
        ours, theirs = again.to_json(), original.to_json()
        assert {name: ours[name] for name in kept} == {name: theirs[name] for name in kept}
        assert again.record.source_digest == original.record.source_digest
        assert list(again.inputs) == list(original.inputs)
    assert state(project) == before


def test_nothing_but_the_run_itself_is_written(project: Project, server: ForkServer) -> None:
    project.declare("prices")
    run = project.execute(server, "prices")
    before = state(project)
    again = reproduced(project, server, run)
    assert state(project) == before
    assert project.ledger.data("prices")["close"].to_list() == [1.0, 1.0]
    with project.database.read() as tx:
        verbs = set(
            tx.conn.execute(select(activities.c.verb).where(activities.c.resource_id == str(again.id))).scalars()
        )
    assert verbs == {"pipeline_run.submitted", "pipeline_run.started", "pipeline_run.completed"}


def test_an_incremental_refresh_starts_from_the_version_that_it_started_from(
    project: Project, server: ForkServer
) -> None:
    fields = {"known_at": "observed"}
    project.declare(grows={**fields, "params": "{days: 3}"})
    full = project.execute(server, "grows")
    project.declare(grows={**fields, "params": "{days: 5}"})
    more = project.execute(server, "grows", mode="incremental")
    none = project.execute(server, "grows")
    project.declare(grows={**fields, "params": "{days: 9}"})
    assert project.execute(server, "grows", mode="incremental").version == 3
    assert [run.metrics["rows_inserted"] for run in (full, more, none)] == [3, 2, 0]
    for run in (full, more, none):
        again = reproduced(project, server, run)
        assert verdict(again) == ("identical", [])
        assert again.record.mode == run.record.mode
        assert project.text(again)[0] == project.text(run)[0]
    # What was observed then is known since then, also in what the reproduction found.
    again = reproduced(project, server, more)
    stored = project.ledger.data("grows", version=2).filter(pl.col("date") > pl.date(2024, 1, 3))
    assert again.frame("changes/1")["known_at"].to_list() == stored["known_at"].to_list()


def test_a_source_that_says_something_else_is_told_where_and_what(
    project: Project, server: ForkServer, tmp_path: Path
) -> None:
    file = tmp_path / "vendor.csv"
    file.write_text(ROWS.format("1.0"))
    project.declare(outside={"params": f"{{file: '{file}'}}"})
    run = project.execute(server, "outside")
    file.write_text(ROWS.format("1.5"))
    again = reproduced(project, server, run)
    said, places = verdict(again)
    assert said == "different"
    assert places == [
        ("changes", "close", 1.0, 1.5),
        ("difference.parquet", "close", 1.0, 1.5),
        ("raw.parquet", "close", 1.0, 1.5),
    ]
    assert again.comparison is not None
    place = again.comparison["places"][0]
    assert place["key"] == {"date": "2024-01-02", "symbol": "A"}
    assert (place["count"], place["relative_difference"]) == (1, pytest.approx(1 / 3))
    # A row that is gone.
    file.write_text(ROWS.format("1.0").rpartition("2024-01-03")[0])
    again = reproduced(project, server, run)
    assert again.comparison is not None
    assert again.comparison["verdict"] == "different"
    assert again.comparison["places"][0]["note"] == "the row is only in the original"
    assert again.comparison["places"][0]["key"] == {"date": "2024-01-03", "symbol": "A"}
    metrics = {place["name"] for place in again.comparison["places"] if place["part"] == "metric"}
    assert metrics == {"rows_fetched", "rows_inserted", "last_data_date"}


def test_noise_is_told_from_difference(project: Project, server: ForkServer, tmp_path: Path) -> None:
    file = tmp_path / "vendor.csv"
    file.write_text(ROWS.format("1.0"))
    project.declare(outside={"params": f"{{file: '{file}'}}"})
    run = project.execute(server, "outside")
    for noise, said in ((1e-10, "identical"), (1e-8, "within_tolerance"), (1e-5, "different")):
        file.write_text(ROWS.format(1.0 + noise))
        again = reproduced(project, server, run)
        assert verdict(again)[0] == said
        assert again.comparison is not None
        assert again.comparison["largest_difference"] == pytest.approx(noise, rel=1e-4)


def test_chance_is_seeded_as_it_was(project: Project, server: ForkServer) -> None:
    project.declare(chance={"seed": "11"})
    official = project.execute(server, "chance")
    trial = project.execute(server, "chance", seed=12, params={"scale": 2.0})
    assert official.metrics["random"] != trial.metrics["random"]
    for run in (official, trial):
        again = reproduced(project, server, run)
        assert verdict(again) == ("identical", [])
        assert again.metrics["random"] == run.metrics["random"]
        assert (again.record.seed, again.params) == (run.record.seed, run.params)


def test_a_reproduction_is_reproduced_itself(project: Project, server: ForkServer, tmp_path: Path) -> None:
    file = tmp_path / "vendor.csv"
    file.write_text(ROWS.format("1.0"))
    project.declare(outside={"params": f"{{file: '{file}'}}", "known_at": "observed"})
    run = project.execute(server, "outside")
    file.write_text(ROWS.format("1.5"))
    second = reproduced(project, server, run)
    third = reproduced(project, server, second)
    assert project.ledger.get("outside@latest").id == run.id
    assert verdict(second)[0] == "different"
    assert verdict(third) == ("identical", [])
    assert third.record.reproduces_id == second.id
    assert third.frame("changes/1")["known_at"].to_list() == second.frame("changes/1")["known_at"].to_list()
    # A retry of a reproduction reproduces the same run once more.
    fourth = project.ledger.retry(third.id)
    assert (fourth.record.reproduces_id, fourth.record.retry_of_id) == (second.id, third.id)
    assert (fourth.standing, fourth.record.trigger) == (Standing.TRIAL, "reproduce")


def test_a_run_that_failed_is_reproduced_and_compared_by_how_it_ended(project: Project, server: ForkServer) -> None:
    project.declare("raises")
    run = project.execute(server, "raises")
    code = project.root / "sources.py"
    code.write_text(code.read_text().replace('raise ValueError("the vendor sent no prices")', "return table()"))
    project.ledger.apply()
    again = reproduced(project, server, run)
    assert (again.status, again.reason) == ("failed", run.reason)
    assert again.comparison is not None
    assert again.comparison["verdict"] == "identical"
    assert again.comparison["original"] == str(run.id)


def test_what_succeeds_now_and_failed_then_is_different(project: Project, server: ForkServer, tmp_path: Path) -> None:
    file = tmp_path / "vendor.csv"
    project.declare(outside={"params": f"{{file: '{file}'}}"})
    run = project.execute(server, "outside")
    assert run.status == "failed"
    file.write_text(ROWS.format("1.0"))
    again = reproduced(project, server, run)
    assert verdict(again) == (
        "different",
        [("status", None, "failed", "completed"), ("reason", None, "flow_error", None)],
    )
    # It started from nothing, as the original did, and published nothing.
    assert again.metrics["rows_inserted"] == 3
    assert project.ledger.versions("outside") == []


def test_a_run_as_of_an_instant_is_reproduced_as_of_it(project: Project, server: ForkServer) -> None:
    read = {"inputs": "{close: 'prices[close]'}"}
    project.declare(prices={"params": "{close: 4.0}"}, halves=read)
    project.execute(server, "prices")
    project.execute(server, "halves")
    run = project.execute(server, "halves", as_of="2030-01-01T00:00Z")
    assert (run.standing, run.metrics["total"]) == ("trial", 8.0)
    project.declare(prices={"params": "{close: 6.0}"}, halves=read)
    project.execute(server, "prices")
    again = reproduced(project, server, run)
    assert verdict(again) == ("identical", [])
    assert again.record.as_of == run.record.as_of


def test_an_upstream_that_is_stale_or_broken_does_not_hold_up_a_reproduction(
    project: Project, server: ForkServer
) -> None:
    project.declare(prices={}, halves={"inputs": "{close: 'prices[close]'}"})
    project.execute(server, "prices")
    run = project.execute(server, "halves")
    project.declare(prices={"params": "{close: 3.0}"}, halves={"inputs": "{close: 'prices[close]'}"})
    assert {item["instance"]: item["freshness"] for item in project.ledger.status()} == {
        "prices": "stale",
        "halves": "stale",
    }
    assert verdict(reproduced(project, server, run)) == ("identical", [])


def test_a_dataset_with_vintages_is_compared_vintage_by_vintage(
    project: Project, server: ForkServer, tmp_path: Path
) -> None:
    file = tmp_path / "vendor.csv"
    file.write_text(ROWS.format("1.0"))
    project.declare(vintages={"params": f"{{file: '{file}'}}", "known_at": "{column: published_at}"})
    run = project.execute(server, "vintages")
    assert (run.status, run.version) == ("completed", 1), run.reason
    again = reproduced(project, server, run)
    assert verdict(again) == ("identical", [])
    assert {"changes/1.parquet", "changes/1-2.parquet"} <= set(again.artifacts)
    # Another value in the second vintage of A: `1.0` was known on the 1st, `3.0` on the 3rd of February.
    file.write_text(ROWS.format("1.0").replace("3.0", "3.5"))
    again = reproduced(project, server, run)
    assert again.comparison is not None
    places = [place for place in again.comparison["places"] if place["part"] == "dataset"]
    assert [(place["column"], place["original"], place["reproduction"]) for place in places] == [("close", 3.0, 3.5)]
    assert places[0]["key"] == {"date": "2024-01-02", "symbol": "A", "known_at": "2024-02-03T00:00:00Z"}


def test_a_worker_with_another_project_folder_runs_the_stored_source(
    project: Project, server: ForkServer, tmp_path: Path
) -> None:
    project.declare("prices")
    run = project.execute(server, "prices")
    again = project.ledger.reproduce(run.id, detach=True)
    held = claim(project.database, worker="there", lease=project.settings.lease, run_id=again.id)
    assert held is not None
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    supervise(project.database, server, held, replace(project.settings, project_root=elsewhere))
    assert verdict(again.refresh()) == ("identical", [])
    assert list(elsewhere.iterdir()) == []
