"""Propagation through a layered graph of 100,000 flows and 500,000 edges, on SQLite and PostgreSQL.

A flow publishes a version. Measured is what the transaction of its completion does beyond storing the version: its
readers are settled, everything downstream becomes stale, and one activity tells of it; then the readers consume the
version, and everything downstream is ready again. Beside it, in the same database, the bare recursive UPDATE that marks
the same flows stale and looks at nothing else. At the end the stored freshness of all flows is compared with the
definition, applied to each anew.
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Callable
from contextlib import closing, contextmanager
from typing import Any

import _ledgers
from _graph import Graph, build, copy_of, id_of, vacuum
from _ledgers import Databases
from sqlalchemy import (
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.types import Uuid

from optaic.domain.freshness import evaluate
from optaic.ledger import catalog
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.state import database_clock, load_facts
from optaic.ledger.tables import (
    flow_inputs,
    flows,
    run_inputs,
    runs,
    versions,
)
from optaic.lifecycle import gate
from optaic.lifecycle.propagate import propagate, readers_of
from tests.rows import counted

LAYERS = 100
WIDTH = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"))
    given = parser.parse_args()
    graph = Graph(layers=given.layers, width=given.width)
    _ledgers.say_conditions(
        f"propagation: {graph.size:,} flows, {graph.edges():,} edges; the least of {given.blocks} blocks"
    )
    with _ledgers.servers((given.only,) if given.only else ("SQLite", "PostgreSQL")) as servers:
        for system, databases in servers.items():
            _measure(system, databases, graph, given.blocks)


def _measure(system: str, databases: Databases, graph: Graph, blocks: int) -> None:
    with closing(Database(_ledgers.migrated(databases, "lineage"))) as database:
        build(database, graph)
        vacuum(database)
        for flow, count in ((0, blocks), (graph.narrow, 10 * blocks)):
            below = len(graph.descendants(flow))
            _compare(system, database, flow, below, count)
        _gate(system, database, graph, blocks)
        with database.read() as tx:
            truth = evaluate(load_facts(tx), database_clock(tx))
            live = select(flows.c.id, flows.c.freshness).where(flows.c.archived_at.is_(None))
            said = dict(tx.conn.execute(live).tuples().all())
        assert {flow_id: state.freshness for flow_id, state in truth.items()} == said


def _compare(system: str, database: Database, flow: int, below: int, blocks: int) -> None:
    """Measure bare, stale and ready again in turn; each begins with all flows ready, or ends so.

    As in a worker, what is measured is committed, on a connection that has done the same before. The bare UPDATE is
    undone, on another: the driver of PostgreSQL forgets its prepared statements when it rolls back.
    """
    bare, stale, back = list[float](), list[float](), list[float]()
    flow_id = id_of(flow)
    with closing(Database(database.url)) as other:
        for number in range(2, blocks + 2):
            with _undone(other) as tx:
                bare.append(_seconds(lambda tx=tx: _bare(tx, flow_id)))
            with database.write() as tx:
                _publish(tx, flow_id, number)
                stale.append(_seconds(lambda tx=tx: _propagate(tx, flow_id, below)))
            if below > 1_000:
                vacuum(other)
            with database.write() as tx:
                lock_graph(tx)
                _consume(tx, flow_id, number)
                back.append(_seconds(lambda tx=tx: _propagate(tx, flow_id, below)))
            if below > 1_000:
                vacuum(other)
    low = min(bare)
    print(f"  {system:12} {below:>7,} descendants: bare UPDATE {low * 1e3:9.2f} ms")
    for name, found in (("stale", stale), ("ready again", back)):
        print(f"  {'':12} {name:>19}: {min(found) * 1e3:9.2f} ms, ratio {min(found) / low:5.2f}", flush=True)


def _bare(tx: Transaction, flow_id: uuid.UUID) -> None:
    live = (flow_inputs.c.tenant_id == tx.tenant_id, flow_inputs.c.ended_at.is_(None))
    below = select(flow_inputs.c.flow_id).where(*live, flow_inputs.c.upstream_flow_id == flow_id)
    reached = below.cte("reached", recursive=True)
    step = select(flow_inputs.c.flow_id).where(*live, flow_inputs.c.upstream_flow_id == reached.c.flow_id)
    if not tx.is_postgresql:  # with it SQLite reads no whole table for a few descendants; it is as fast for many
        step = step.where(func.likelihood(reached.c.flow_id.is_not(None), text("0.0001")))
    reached = reached.union(step)
    tx.conn.execute(
        update(flows)
        .where(flows.c.tenant_id == tx.tenant_id, flows.c.id.in_(select(reached.c.flow_id)))
        .values(freshness="stale")
    )


def _publish(tx: Transaction, flow_id: uuid.UUID, number: int) -> None:
    lock_graph(tx)
    new = literal(uuid.uuid4(), Uuid())
    tx.conn.execute(copy_of(tx, runs, runs.c.id == flow_id, id=new))
    tx.conn.execute(copy_of(tx, versions, versions.c.id == flow_id, id=new, run_id=new, number=literal(number)))
    tx.conn.execute(update(flows).where(flows.c.id == flow_id).values(current_version_id=new, current_run_id=new))


def _consume(tx: Transaction, flow_id: uuid.UUID, number: int) -> None:
    """Let the readers have read what was published: as if their refreshes had changed nothing."""
    readers = readers_of(tx, flow_id)
    newest = select(versions.c.id).where(
        versions.c.tenant_id == tx.tenant_id, versions.c.flow_id == flow_id, versions.c.number == number
    )
    # Found by the readers' runs: a look at all pins would leave nothing else in the database's cache.
    reading = select(flows.c.current_run_id).where(flows.c.tenant_id == tx.tenant_id, flows.c.id.in_(readers))
    tx.conn.execute(
        update(run_inputs)
        .where(
            run_inputs.c.tenant_id == tx.tenant_id,
            run_inputs.c.run_id.in_(reading),
            run_inputs.c.upstream_flow_id == flow_id,
        )
        .values(version_id=newest.scalar_subquery())
    )


def _propagate(tx: Transaction, flow_id: uuid.UUID, below: int) -> None:
    readers = readers_of(tx, flow_id)
    settled = propagate(tx, [flow_id, *readers], cause={"kind": "run", "run_id": str(flow_id)})
    assert len(settled.own.keys() | settled.downstream.keys()) == below


def _gate(system: str, database: Database, graph: Graph, blocks: int) -> None:
    """Measure the gate of a run with 20 upstreams, and count its statements."""
    with _undone(database) as tx:
        upstreams = [id_of(flow) for flow in range(20)]
        flow_id = id_of(graph.size - 1)
        tx.conn.execute(delete(flow_inputs).where(flow_inputs.c.flow_id == flow_id))
        edge = select(*flow_inputs.c).limit(1)
        row = tx.conn.execute(edge).mappings().one()
        tx.conn.execute(
            insert(flow_inputs),
            [
                {**row, "id": uuid.uuid4(), "flow_id": flow_id, "upstream_flow_id": one, "role": f"r{number}"}
                for number, one in enumerate(upstreams)
            ],
        )
        flow = catalog.get_flow(tx, flow_id)
        gate.check(tx, flow, is_forced=False)
        took = min(_seconds(lambda: gate.check(tx, flow, is_forced=False)) for _ in range(10 * blocks))
        with counted(database) as statements:
            gate.check(tx, flow, is_forced=False)
    print(f"  {system:12} gate of a run with 20 upstreams: {took * 1e3:.2f} ms, {len(statements)} statements")


class _Undo(Exception):  # noqa: N818 - not an error
    pass


@contextmanager
def _undone(database: Database) -> Any:
    """Open a transaction that is rolled back at the end."""
    try:
        with database.write() as tx:
            yield tx
            raise _Undo
    except _Undo:
        pass


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
