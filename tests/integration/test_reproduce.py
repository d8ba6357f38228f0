"""A run is reproduced from what was stored of it, whatever has become of the project, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from optaic.domain.status import Standing
from optaic.engines.process import ForkServer
from optaic.engines.supervise import supervise
from optaic.errors import ConflictError, InvalidInputError, StorageError
from optaic.handle import RunHandle
from optaic.ledger.tables import activities, flow_inputs, flows, source_snapshots, versions
from optaic.lifecycle.claim import claim
from optaic.lifecycle.original import source_of
from tests.projects import Project, open_project

MORE_SOURCES = '''

def outside(ctx, *, file: str, noise: float = 0.0):
    """What a file says that is no part of the project: a vendor, who may correct the past."""
    frame = pl.read_csv(file, try_parse_dates=True)
    ctx.log_frame("raw", frame)
    return frame


def grows(ctx, start: dt.date | None = None, *, days: int = 3):
    ctx.log.info("from %s", start)
    first = dt.date(2024, 1, 1)
    frame = pl.DataFrame({"date": [first + dt.timedelta(days=n) for n in range(days)], "symbol": "A", "close": 1.5})
    return frame if start is None else frame.filter(pl.col("date") >= start)


def chance(ctx, *, scale: float = 1.0):
    import numpy
    ctx.log_metric("random", random.random())
    ctx.log_metric("numpy", float(numpy.random.default_rng(ctx.seed).normal()))
    return table(scale * float(numpy.random.random()))


def halves(ctx):
    frame = ctx.input("close").frame()
    ctx.log_metric("total", float(frame["close"].sum()))
    return frame.select("date", "symbol", pl.col("close") / 2)


def reads_own_file(ctx):
    return table(float(Path("local").read_text()))
'''

ROWS = "date,symbol,close\n2024-01-02,A,{}\n2024-01-02,B,2.0\n2024-01-03,A,3.0\n"


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


def reproduced(project: Project, server: ForkServer, run: RunHandle) -> RunHandle:
    """Reproduce a run, in a process of its own."""
    again = project.ledger.reproduce(run.id, detach=True)
    thread, failures = project.supervising(server, again)
    thread.join(60.0)
    assert failures == []
    return again.refresh()


def verdict(run: RunHandle) -> tuple[str, list[tuple[str, str | None, Any, Any]]]:
    """Give the verdict, and the places: thing, column, both values."""
    assert run.status == "completed", run.reason
    comparison = run.comparison
    assert comparison is not None
    assert comparison["place_count"] == len(comparison["places"])
    return comparison["verdict"], [
        (place["name"], place["column"], place["original"], place["reproduction"]) for place in comparison["places"]
    ]


def state(project: Project) -> dict[str, list[Any]]:
    """Read what a reproduction must not touch: flows with their freshness, edges, versions."""
    with project.database.read() as tx:
        return {
            table.name: sorted(map(tuple, tx.conn.execute(select(table)).all()), key=repr)
            for table in (flows, flow_inputs, versions)
        }


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


def test_a_file_that_is_no_source_is_missed_in_words(project: Project, server: ForkServer) -> None:
    project.declare("reads_own_file")
    project.say("local", "2.0")  # written after the source was stored
    run = project.execute(server, "reads_own_file")
    assert run.status == "completed"
    again = reproduced(project, server, run)
    assert again.status == "failed"
    assert again.record.reason is not None
    assert "a reproduction has the project's source as it was applied" in again.record.reason.next_step
    assert again.comparison is not None
    assert again.comparison["verdict"] == "different"


def snapshot_path(project: Project, run: RunHandle) -> Path:
    with project.database.read() as tx:
        source = source_of(tx, run.record)
    assert source is not None
    assert project.store.root is not None
    return project.store.root / source.archive.key


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_source_that_is_gone_or_damaged_is_said_before_anything_is_recorded(
    project: Project, server: ForkServer, damage: str
) -> None:
    project.declare("prices")
    run = project.execute(server, "prices")
    path = snapshot_path(project, run)
    kept = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(kept[:-9] + b"x" * 9)
    before = project.dump()
    with pytest.raises(StorageError, match=r"is gone" if damage == "gone" else r"is not what was stored") as raised:
        project.ledger.reproduce(run.id)
    assert "optaic doctor" in (raised.value.next_step or "")
    assert project.dump() == before
    path.write_bytes(kept)
    assert verdict(reproduced(project, server, run)) == ("identical", [])


def test_a_source_that_is_lost_after_the_submission_fails_the_reproduction_with_its_reason(
    project: Project, server: ForkServer
) -> None:
    project.declare("prices")
    run = project.execute(server, "prices")
    again = project.ledger.reproduce(run.id, detach=True)
    snapshot_path(project, run).unlink()
    thread, failures = project.supervising(server, again)
    thread.join(60.0)
    assert failures == []
    again.refresh()
    assert again.record.reason is not None
    assert (again.status, again.record.reason.code) == ("failed", "storage_error")
    assert "is gone" in again.record.reason.message
    assert run.refresh().status == "completed"


def test_a_source_archive_that_is_another_than_its_digest_is_not_executed(project: Project, server: ForkServer) -> None:
    """The row of the archive and its bytes agree, and the files in it are not those that were digested."""
    project.declare("prices")
    run = project.execute(server, "prices")
    code = project.root / "sources.py"
    code.write_text(code.read_text() + "\n\n# another\n")
    project.ledger.apply()
    other = project.execute(server, "prices")
    with project.database.read() as tx:
        rows = {row.digest: row for row in tx.conn.execute(select(source_snapshots))}
    theirs = rows[str(other.record.source_digest)]
    with project.database.write() as tx:
        tx.conn.execute(
            source_snapshots.update()
            .where(source_snapshots.c.digest == run.record.source_digest)
            .values(storage_key=theirs.storage_key, size_bytes=theirs.size_bytes, sha256=theirs.sha256)
        )
    reproduction = project.ledger.reproduce(run.id, detach=True)
    thread, _ = project.supervising(server, reproduction)
    thread.join(60.0)
    assert reproduction.refresh().record.reason is not None
    assert "is not what was stored" in (reproduction.reason or "")


def test_another_version_of_the_distribution_that_provides_the_code_is_said(
    project: Project, server: ForkServer
) -> None:
    project.declare("prices")
    run = project.execute(server, "prices")
    again = project.ledger.reproduce(run.id, detach=True)
    held = claim(project.database, worker="here", lease=project.settings.lease, run_id=again.id)
    assert held is not None
    # The digest covers name and version of the distribution; that of the original is another than what is found here.
    held = replace(held, task=replace(held.task, code_digest="0" * 64))
    ended = supervise(project.database, server, held, project.settings)
    assert ended.reason is not None
    assert ended.reason.code == "code_mismatch"
    assert "the environment differs, in the version of the distribution" in ended.reason.message
    assert str(run.id) in ended.reason.message


def test_a_run_as_of_an_instant_is_reproduced_as_of_it(project: Project, server: ForkServer) -> None:
    read = {"inputs": "{close: 'prices[close]'}"}
    project.declare(prices={"params": "{close: 4.0}"}, halves=read)
    project.execute(server, "prices")
    project.execute(server, "halves")
    run = project.execute(server, "halves", as_of="2024-02-01T00:00Z")
    assert (run.standing, run.metrics["total"]) == ("trial", 8.0)
    project.declare(prices={"params": "{close: 6.0}"}, halves=read)
    project.execute(server, "prices")
    again = reproduced(project, server, run)
    assert verdict(again) == ("identical", [])
    assert again.record.as_of == run.record.as_of


def test_what_cannot_be_reproduced_is_refused_in_words(project: Project, server: ForkServer) -> None:
    project.declare("prices", "waits")
    with project.ledger.track("idea", params={"n": 1}) as tracked:
        tracked.log_metric("ic", 0.5)
    with pytest.raises(InvalidInputError, match="the ledger has its params, seed, inputs, metrics, log and files, but"):
        project.ledger.reproduce(tracked.id)
    pending = project.ledger.submit("waits")
    with pytest.raises(ConflictError, match="only a run that has ended can be reproduced"):
        project.ledger.reproduce(pending.id)
    project.ledger.cancel(pending.id)
    with pytest.raises(InvalidInputError, match="never started"):
        project.ledger.reproduce(pending.id)
    assert len(project.ledger.runs()) == 2


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
