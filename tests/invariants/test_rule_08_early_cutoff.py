"""Rule 8: no change, no version; no output, no success."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from optaic.domain.kind import FlowKind, InstanceKind
from optaic.domain.status import Freshness
from optaic.errors import NoOutputError
from optaic.flows.task import Result
from optaic.ledger import declaration
from optaic.ledger.freshness import all_states
from optaic.ledger.session import Database
from optaic.lifecycle.complete import complete
from optaic.lifecycle.track import track
from tests.factories import LEASE, add_dataset, claim_run, dataset_result, submit_run
from tests.rows import dump


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def refresh(database: Database, name: str, *, is_changed: bool = True) -> None:
    held = claim_run(database, submit_run(database, name))
    complete(database, held.run.id, 1, dataset_result(held, is_changed=is_changed))


def freshness(database: Database) -> dict[str, Freshness]:
    with database.read() as tx:
        facts, states = all_states(tx)
    return {flow.target: states[flow.id].freshness for flow in facts}


def test_a_refresh_that_changed_nothing_leaves_downstream_ready(database: Database) -> None:
    add_dataset(database)
    add_dataset(database, "returns", inputs={"close": "prices"})
    assert freshness(database) == {"prices": "not_initialized", "returns": "not_initialized"}
    refresh(database, "prices")
    refresh(database, "returns")
    assert freshness(database) == {"prices": "ready", "returns": "ready"}
    refresh(database, "prices", is_changed=False)
    assert freshness(database) == {"prices": "ready", "returns": "ready"}
    refresh(database, "prices")
    assert freshness(database) == {"prices": "ready", "returns": "stale"}
    refresh(database, "returns", is_changed=False)
    assert freshness(database) == {"prices": "ready", "returns": "ready"}


@pytest.mark.parametrize("result", [Result(), Result(metrics={"rows_fetched": 5})], ids=["nothing", "only words"])
def test_a_refresh_without_a_dataset_is_no_success(database: Database, result: Result) -> None:
    add_dataset(database)
    held = claim_run(database, submit_run(database))
    before = dump(database)
    with pytest.raises(NoOutputError):
        complete(database, held.run.id, 1, result)
    assert dump(database) == before


def test_a_preview_or_a_loop_that_left_nothing_is_no_success(database: Database) -> None:
    with database.write() as tx:
        declaration.add_instance(
            tx,
            name="idea",
            kind=InstanceKind.EXPERIMENT,
            project_id=None,
            flow_kinds=[FlowKind.PREVIEW],
            config={},
            config_digest="0" * 64,
            policies={},
        )
    held = claim_run(database, submit_run(database, "idea"))
    loop = track(database, "loop", worker="w", lease=LEASE)
    before = dump(database)
    for claimed in (held, loop):
        with pytest.raises(NoOutputError):
            complete(database, claimed.run.id, 1, Result())
    assert dump(database) == before
    assert complete(database, held.run.id, 1, Result(metrics={"ic": 0.1})).status == "completed"
