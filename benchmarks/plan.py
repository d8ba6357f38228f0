"""The plan of a target with 10,000 upstreams that are not ready, on SQLite and PostgreSQL.

The graph is that of `lineage.py`, 100 layers of 100 flows, and a target that reads all of the last layer. Measured is
what `ledger.plan(target)` does (read what is not ready, decide the steps, their batches, causes and times, and make the
JSON of it), the same with the JSON as text, what recording the plan does, with its 10,001 steps, 50,000
edges, pins, and the runs of its first batch, and what cancelling it does. Three states of the same graph: the code of
the first layer has changed, so that all else is stale because of that; nothing has ever run; the code of everything has
changed, so that each flow has a cause of its own. Each recorded plan is cancelled before the next.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import _ledgers
from _graph import Graph, build, id_of, vacuum
from _ledgers import Databases
from sqlalchemy import insert, select, update

from optaic.bootstrap import Runtime
from optaic.domain.plan import Plan, PlanMode
from optaic.ledger import catalog, freshness
from optaic.ledger.session import Database, lock_graph
from optaic.ledger.tables import definition_versions, flows
from optaic.lifecycle.cancel import cancel_plan
from optaic.lifecycle.plan import PlanRequest, create, preview
from optaic.planning import plan_of
from optaic.settings import Settings
from tests.factories import add_dataset

LAYERS = 100
WIDTH = 100
GOAL_SECONDS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--state", choices=list(_STATES), action="append")
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"))
    given = parser.parse_args()
    graph = Graph(layers=given.layers, width=given.width)
    _ledgers.say_conditions(
        f"planning: {graph.size:,} flows upstream, {graph.edges() + graph.width:,} edges; "
        f"the least of {given.blocks}, and the processor time of this process in it; goal {GOAL_SECONDS:.0f} s"
    )
    with _ledgers.servers((given.only,) if given.only else ("SQLite", "PostgreSQL")) as servers:
        for system, databases in servers.items():
            _measure(system, databases, graph, given.blocks, given.state or list(_STATES))


def _measure(system: str, databases: Databases, graph: Graph, blocks: int, states: list[str]) -> None:
    with closing(Database(_ledgers.migrated(databases, "plan"))) as database:
        build(database, graph)
        target = add_dataset(
            database, "target", inputs={f"r{one}": f"flow_{one}" for one in range(graph.size - graph.width, graph.size)}
        )
        settings = Settings(project_root=Path.cwd(), database_url=database.url, storage_url="unused")
        runtime = Runtime(settings=settings, database=database)
        for name in states:
            _STATES[name](database, graph)
            vacuum(database)
            print(f"  {system}, {name}:", flush=True)
            _say("decide the steps", [_took(lambda: _decide(database, target)) for _ in range(blocks)])
            _say("ledger.plan(target)", [_took(lambda: plan_of(runtime, "target")) for _ in range(blocks)])
            _say("and as JSON text", [_took(lambda: json.dumps(plan_of(runtime, "target"))) for _ in range(blocks)])
            recorded, cancelled = list[_Took](), list[_Took]()
            for _ in range(blocks):
                made = list[Plan]()
                recorded.append(_took(lambda made=made: made.append(_record(database))))
                assert len(made[0].steps) == graph.size + 1
                cancelled.append(_took(lambda made=made: cancel_plan(database, made[0].id)))
            _say("record the plan", recorded)
            _say("cancel it", cancelled)


def _decide(database: Database, target: uuid.UUID) -> None:
    with database.read() as tx:
        preview(tx, target, PlanMode.RECURSIVE)


def _record(database: Database) -> Plan:
    return create(database, PlanRequest(target="target"))


# ---------------------------------------------------------------------------------------------------------- the states


def _first_layer(database: Database, graph: Graph) -> None:
    _change_code(database, graph.width)


def _everything(database: Database, graph: Graph) -> None:
    _change_code(database, graph.size)


def _change_code(database: Database, count: int) -> None:
    """Let the first flows have other code than their last runs."""
    changed = [id_of(flow) for flow in range(count)]
    with database.write() as tx:
        lock_graph(tx)
        flow = catalog.get_flow(tx, id_of(0))
        row = (
            tx.conn.execute(select(definition_versions).where(definition_versions.c.id == flow.definition_version_id))
            .mappings()
            .one()
        )
        other = uuid.uuid4()
        tx.conn.execute(insert(definition_versions).values({**row, "id": other, "code_digest": other.hex * 2}))
        tx.conn.execute(update(flows).where(flows.c.id <= changed[-1]).values(definition_version_id=other))
        freshness.settle(tx, changed)


def _never_run(database: Database, graph: Graph) -> None:
    every = [id_of(flow) for flow in range(graph.size)]
    with database.write() as tx:
        lock_graph(tx)
        tx.conn.execute(
            update(flows).where(flows.c.id <= every[-1]).values(current_run_id=None, current_version_id=None)
        )
        freshness.settle(tx, every)


_STATES: dict[str, Callable[[Database, Graph], None]] = {
    "the first layer has other code": _first_layer,
    "everything has other code": _everything,
    "nothing has ever run": _never_run,
}


# --------------------------------------------------------------------------------------------------------------- times

_Took = tuple[float, float]


def _took(action: Callable[[], object]) -> _Took:
    """Give the seconds that something took, and those that this process had a processor for it."""
    started, worked = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - started, time.process_time() - worked


def _say(what: str, found: list[_Took]) -> None:
    took, worked = min(found)
    print(f"    {what:20} {took:6.2f} s, processor {worked:6.2f} s", flush=True)


if __name__ == "__main__":
    main()
