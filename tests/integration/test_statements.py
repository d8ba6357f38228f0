"""How many statements a step sends: a number that does not grow with the inputs, the list or the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from optaic.ledger import catalog, limits, search
from optaic.ledger.freshness import all_states, blockers
from optaic.ledger.session import Database
from optaic.lifecycle import gate
from optaic.lifecycle.claim import claim
from optaic.lifecycle.complete import complete
from optaic.lifecycle.rescue import rescue
from optaic.overview import statuses
from optaic.view import load_details
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run
from tests.rows import calls, counted


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def count(database: Database, action: Callable[[], object]) -> int:
    with counted(database) as seen:
        action()
    return len(seen)


def refresh(database: Database, name: str) -> None:
    held = claim_run(database, submit_run(database, name))
    complete(database, held.run.id, 1, dataset_result(held))


def add_reader(database: Database, name: str, width: int) -> None:
    """Add a dataset that reads so many others, which have a version each."""
    upstreams = [f"{name}_{number}" for number in range(width)]
    for upstream in upstreams:
        add_dataset(database, upstream)
        refresh(database, upstream)
    add_dataset(database, name, inputs={upstream: upstream for upstream in upstreams})


def test_submit_and_claim_and_complete_do_not_count_their_inputs(database: Database) -> None:
    counts: dict[int, tuple[int, ...]] = {}
    for width in (1, 20):
        name = f"reader{width}"
        add_reader(database, name, width)
        submitted = count(database, lambda name=name: submit_run(database, name))
        with counted(database) as seen:
            held = claim_run(database)
        claimed = len(seen)
        assert len(held.task.inputs) == width
        result = dataset_result(held)
        completed = count(database, lambda held=held, result=result: complete(database, held.run.id, 1, result))
        counts[width] = (submitted, claimed, completed)
    assert counts[1] == counts[20]
    locks = 2 * int(database.engine.dialect.name == "postgresql")
    assert counts[1] == (9, 20, 25 + locks)


def test_a_submission_with_a_key_sends_two_more(database: Database) -> None:
    add_dataset(database)
    plain = count(database, lambda: submit_run(database))
    assert count(database, lambda: submit_run(database, idempotency_key="k")) == plain + 2
    assert count(database, lambda: submit_run(database, idempotency_key="k")) < plain


def test_a_claim_that_finds_nothing_is_two_statements(database: Database) -> None:
    assert count(database, lambda: claim(database, worker="w", lease=LEASE)) == 2


def test_a_limit_costs_a_claim_two_statements(database: Database) -> None:
    with database.write() as tx:
        limits.set_limit(tx, "tenant", "*", 5)
    assert count(database, lambda: claim(database, worker="w", lease=LEASE)) == 4


def test_a_rescue_without_anything_lost_is_one_statement(database: Database) -> None:
    assert count(database, lambda: rescue(database)) == 1


def test_a_list_of_fifty_runs_is_five_statements(database: Database) -> None:
    def list_runs() -> int:
        with database.read() as tx:
            return len(load_details(tx, search.search(tx, search.Search(limit=50))))

    add_dataset(database)
    refresh(database, "prices")
    few = count(database, list_runs)
    for seed in range(1, 60):
        submit_run(database, seed=seed)
    assert list_runs() == 50
    assert count(database, list_runs) == few == 5


def test_the_gate_does_not_count_the_upstreams_that_block(database: Database) -> None:
    def look(name: str) -> int:
        with database.read() as tx:
            return len(blockers(tx, catalog.find_flow(tx, name).id))

    counts: list[int] = []
    for width in (1, 20):
        name = f"blocked{width}"
        upstreams = [f"{name}_{number}" for number in range(width)]
        for upstream in upstreams:
            add_dataset(database, upstream)
        add_dataset(database, name, inputs={upstream: upstream for upstream in upstreams})
        assert look(name) == width
        counts.append(count(database, lambda name=name: look(name)))
    assert counts[0] == counts[1]


def test_the_gate_of_a_run_with_twenty_upstreams_is_five_statements(database: Database) -> None:
    def find(name: str, *, is_checked: bool) -> None:
        with database.read() as tx:
            flow = catalog.find_flow(tx, name)
            if is_checked:
                gate.check(tx, flow, is_forced=False)

    for width in (1, 20):
        name = f"reader{width}"
        add_reader(database, name, width)
        found = count(database, lambda name=name: find(name, is_checked=False))
        assert count(database, lambda name=name: find(name, is_checked=True)) == found + 5


def test_the_status_of_flows_does_not_count_them_nor_the_runs_that_wait(database: Database) -> None:
    def status() -> int:
        with database.read() as tx:
            return sum(item["pending_run"] is not None for item in statuses(tx).values())

    add_reader(database, "small", 1)
    submit_run(database, "small")
    assert status() == 1
    few = count(database, status)
    add_reader(database, "large", 10)
    for name in ("large", "large", "small", "large_3"):
        submit_run(database, name)
    assert status() == 3
    assert count(database, status) == few


def test_the_freshness_of_fifty_flows_is_four_statements(database: Database) -> None:
    def status() -> int:
        with database.read() as tx:
            facts, states = all_states(tx)
        assert set(states) == {flow.id for flow in facts}
        return len(facts)

    add_reader(database, "small", 1)
    refresh(database, "small")
    few = count(database, status)
    add_reader(database, "large", 10)
    for number in range(37):
        add_dataset(database, f"other_{number}")
    refresh(database, "large")
    refresh(database, "large_3")
    assert status() == 50
    assert count(database, status) == few == 4


def test_the_status_of_a_project_is_three_statements_if_all_is_ready_and_three_more_to_tell_what_is_not(
    database: Database,
) -> None:
    def status() -> set[str]:
        with database.read() as tx:
            return {item["freshness"] for item in statuses(tx).values()}

    for width in (1, 10):
        name = f"reader{width}"
        add_reader(database, name, width)
        refresh(database, name)
        assert status() == {"ready"}
        assert count(database, status) == 3
    for number in range(10):
        add_dataset(database, f"new_{number}", inputs={"new": f"new_{number - 1}"} if number else {})
    assert status() == {"ready", "not_initialized"}
    assert count(database, status) == 6


def test_the_status_of_one_more_flow_costs_few_calls_also_if_it_has_never_run(database: Database) -> None:
    def status() -> list[dict[str, Any]]:
        with database.read() as tx:
            return list(statuses(tx).values())

    counts: list[int] = []
    for number in range(100):
        add_dataset(database, f"flow_{number:02}", inputs={"before": f"flow_{number - 1:02}"} if number else {})
        if number in (49, 99):
            status()
            counts.append(calls(status))
    assert [item["freshness"] for item in status()] == ["not_initialized"] * 100
    assert (counts[1] - counts[0]) / 50 < 150


def test_the_status_names_the_newest_run_of_a_flow(database: Database) -> None:
    add_dataset(database)
    submitted = [submit_run(database, seed=seed) for seed in range(30)]
    with database.read() as tx:
        (item,) = statuses(tx).values()
    assert item["last_run"] == str(submitted[-1].id)
