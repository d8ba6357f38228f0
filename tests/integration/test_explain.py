"""Why and lineage on both databases: deep graphs, a constant number of statements, tracked loops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.errors import InvalidInputError, UpstreamNotReadyError
from optaic.lifecycle.complete import complete
from tests.factories import add_dataset, claim_run, dataset_result, submit_run
from tests.projects import Project, open_project
from tests.rows import counted


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Iterator[Project]:
    with open_project(tmp_path / "project", database_url) as opened:
        yield opened


def add_chain(project: Project, name: str, length: int) -> str:
    """Add datasets that read each other in a row, none of which has run; give the last."""
    add_dataset(project.database, f"{name}_0")
    for number in range(1, length):
        add_dataset(project.database, f"{name}_{number}", inputs={"x": f"{name}_{number - 1}"})
    return f"{name}_{length - 1}"


def test_why_does_not_count_the_flows_on_the_way(project: Project) -> None:
    counts: list[int] = []
    for length in (3, 30):
        last = add_chain(project, f"chain{length}", length)
        with counted(project.database) as seen:
            document = project.ledger.why(last)
        counts.append(len(seen))
        assert document["freshness"] == "not_initialized"
        assert json.dumps(document)
    assert counts[0] == counts[1]


def test_an_upstream_that_is_not_ready_is_told_once_in_however_many_roles_it_is_read(project: Project) -> None:
    add_dataset(project.database)
    add_dataset(project.database, "returns", inputs=dict.fromkeys(("open", "close", "volume"), "prices"))
    add_dataset(project.database, "signal", inputs={"returns": "returns"})
    with pytest.raises(UpstreamNotReadyError) as caught:
        submit_run(project.database, "returns")
    assert caught.value.message == "returns cannot run: prices is not initialized (it has never completed)"
    assert [one["target"] for one in caught.value.blockers] == ["prices"]
    with pytest.raises(UpstreamNotReadyError) as caught:
        submit_run(project.database, "signal")
    assert caught.value.message.count("prices is not initialized") == 1


def test_lineage_follows_a_chain_to_its_end_and_stops_at_a_depth(project: Project) -> None:
    last = add_chain(project, "chain", 40)
    document = project.ledger.lineage(last)
    assert [node["distance"] for node in document["nodes"]] == list(range(-39, 1))
    assert len(document["edges"]) == 39
    assert not document["is_cut"]
    cut = project.ledger.lineage("chain_20", depth=2)
    assert [node["target"] for node in cut["nodes"]] == [f"chain_{number}" for number in range(18, 23)]
    assert cut["is_cut"]


def test_the_lineage_of_a_run_stays_as_it_was(project: Project) -> None:
    add_dataset(project.database)
    add_dataset(project.database, "returns", inputs={"close": "prices"})
    made: dict[str, list[str]] = {"prices": [], "returns": []}
    for name in ("prices", "returns", "prices", "returns"):
        held = claim_run(project.database, submit_run(project.database, name))
        complete(project.database, held.run.id, 1, dataset_result(held))
        made[name].append(str(held.run.id))
    for index in (0, 1):
        document = project.ledger.lineage(made["returns"][index])
        assert [node["id"] for node in document["nodes"]] == [made["prices"][index], made["returns"][index]]
        (edge,) = document["edges"]
        assert (edge["upstream"], edge["role"], edge["version"]) == (made["prices"][index], "close", index + 1)
        below = project.ledger.lineage(made["prices"][index])
        assert [node["id"] for node in below["nodes"]] == [made["prices"][index], made["returns"][index]]


def test_a_tracked_loop_has_runs_and_nothing_that_could_be_stale(project: Project) -> None:
    with project.ledger.track("idea") as run:
        run.log_metric("ic", 0.1)
    for ask in (project.ledger.why, project.ledger.lineage):
        with pytest.raises(InvalidInputError, match="idea is a tracked loop") as refused:
            ask("idea")
        assert refused.value.next_step
    assert len(project.ledger.lineage("idea@latest")["nodes"]) == 1
