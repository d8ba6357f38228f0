"""Propagation through a layered graph of 100,000 flows and 500,000 edges, on SQLite and PostgreSQL.

A flow publishes a version. Measured is what the transaction of its completion does beyond storing the version: its
readers are settled, everything downstream becomes stale, and one activity tells of it; then the readers consume the
version, and everything downstream is ready again. Beside it, in the same database, the bare recursive UPDATE that marks
the same flows stale and looks at nothing else. At the end the stored freshness of all flows is compared with the
definition, applied to each anew.
"""

from __future__ import annotations

import argparse
import datetime as dt
import time
import uuid
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import _ledgers
from _ledgers import Databases
from sqlalchemy import ColumnElement, Integer, String, Table, cast, delete, func, insert, literal, select, text, update
from sqlalchemy.types import Uuid

from optaic.domain.freshness import EVERYTHING, evaluate
from optaic.domain.status import Freshness
from optaic.ledger import cache, catalog, downstream, freshness
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.ledger.state import database_clock, load_facts
from optaic.ledger.tables import (
    flow_inputs,
    flows,
    instances,
    run_inputs,
    runs,
    version_segments,
    versions,
)
from optaic.lifecycle import gate
from optaic.lifecycle.complete import complete
from optaic.lifecycle.propagate import propagate, readers_of
from tests.factories import add_dataset, claim_run, dataset_result, submit_run
from tests.rows import counted

LAYERS = 100
WIDTH = 1_000
STEPS = ((3, 41), (7, 306), (11, 739), (13, 113), (17, 521), (19, 887))
"""The k-th upstream of flow i of a layer is flow (factor * i + offset + 29 * layer) mod WIDTH of the layer before."""

FROM = dt.date(2024, 1, 2)
DAGSTER_SECONDS = 2.0
"""What Dagster needs for the stale status of 5,000 assets, from direct parents alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Flows by number, `layer * width + place`.

    Attributes
    ----------
    layers, width
        Its shape.
    """

    layers: int
    width: int

    @property
    def size(self) -> int:
        """How many flows there are."""
        return self.layers * self.width

    def upstreams(self, flow: int) -> list[int]:
        """Give what a flow reads: five flows of the layer before, each twentieth flow six."""
        layer, place = divmod(flow, self.width)
        if not layer:
            return []
        steps = STEPS if flow % 20 == 0 else STEPS[:5]
        first = (layer - 1) * self.width
        return [first + (factor * place + offset + 29 * layer) % self.width for factor, offset in steps]

    def edges(self) -> int:
        """Count the edges."""
        return sum(len(self.upstreams(flow)) for flow in range(self.size))

    def descendants(self, flow: int) -> list[int]:
        """List what is downstream of a flow."""
        reached = {flow}
        for other in range((flow // self.width + 1) * self.width, self.size):
            if not reached.isdisjoint(self.upstreams(other)):
                reached.add(other)
        return sorted(reached - {flow})


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
        _build(database, graph)
        _vacuum(database)
        wide, narrow = 0, (graph.layers - 4) * graph.width
        for flow, count in ((wide, blocks), (narrow, 10 * blocks)):
            _compare(system, database, flow, len(graph.descendants(flow)), count)
        _gate(system, database, graph, blocks)
        _against_dagster(system, database, graph, blocks)
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
    flow_id = _id(flow)
    with closing(Database(database.url)) as other:
        for number in range(2, blocks + 2):
            with _undone(other) as tx:
                bare.append(_seconds(lambda tx=tx: _bare(tx, flow_id)))
            with database.write() as tx:
                _publish(tx, flow_id, number)
                stale.append(_seconds(lambda tx=tx: _propagate(tx, flow_id, below)))
            if below > 1_000:
                _vacuum(other)
            with database.write() as tx:
                lock_graph(tx)
                _consume(tx, flow_id, number)
                back.append(_seconds(lambda tx=tx: _propagate(tx, flow_id, below)))
            if below > 1_000:
                _vacuum(other)
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
    tx.conn.execute(_copy(tx, runs, runs.c.id == flow_id, id=new))
    tx.conn.execute(_copy(tx, versions, versions.c.id == flow_id, id=new, run_id=new, number=literal(number)))
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
        upstreams = [_id(flow) for flow in range(20)]
        flow_id = _id(graph.size - 1)
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


def _against_dagster(system: str, database: Database, graph: Graph, blocks: int) -> None:
    """Measure the freshness of 5,000 flows, with and without causes: all ready, then all stale by the first layer."""
    wanted = [_id(flow) for flow in range(max(graph.size - 5_000, graph.width), graph.size)]
    for freshness_of_all in (Freshness.READY, Freshness.STALE):
        with _undone(database) as tx:
            if freshness_of_all is Freshness.STALE:
                lock_graph(tx)
                stale = {"own_stale_from": EVERYTHING, "own_blocks_from": EVERYTHING, "freshness": Freshness.STALE}
                first = [_id(flow) for flow in range(graph.width)]
                tx.conn.execute(update(flows).where(flows.c.id.in_(first)).values(stale))
                downstream.spread(tx, {EVERYTHING: first})
            alone = min(_seconds(lambda tx=tx: cache.stored(tx, wanted)) for _ in range(blocks))
            took = min(_seconds(lambda tx=tx: freshness.states(tx, wanted)) for _ in range(blocks))
            states = freshness.states(tx, wanted).values()
            assert {state.freshness for state in states} == {freshness_of_all}
            causes = sum(len(state.causes) for state in states)
        print(f"  {system:12} freshness of {len(wanted):,} {freshness_of_all} flows: {_against(alone)}")
        print(f"  {'':12} with their {causes:,} causes: {_against(took)}")


def _against(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms, {DAGSTER_SECONDS / seconds:.0f} times as fast as {DAGSTER_SECONDS:.0f} s"


# ----------------------------------------------------------------------------------------------------------- the graph


def _build(database: Database, graph: Graph) -> None:
    """Make a flow that has run, and repeat its rows by one statement for each table."""
    base = add_dataset(database, "base")
    held = claim_run(database, submit_run(database, "base"))
    complete(database, held.run.id, 1, dataset_result(held))
    with database.write() as tx:
        counter = select(literal(0).label("n")).cte("counter", recursive=True)
        counter = counter.union_all(select(counter.c.n + 1).where(counter.c.n < graph.size - 1))
        one = _id_of(tx, counter.c.n)
        flow = catalog.get_flow(tx, base)
        name = "flow_" + cast(counter.c.n, String())
        own = {"flow_id": one, "instance_id": one, "run_id": one}
        copies: list[tuple[Table, ColumnElement[bool], dict[str, Any]]] = [
            (instances, instances.c.id == flow.instance_id, {"id": one, "name": name}),
            (flows, flows.c.id == base, {"id": one, "instance_id": one, "current_run_id": one}),
            (runs, runs.c.id == flow.current_run_id, {"id": one, **own}),
            (versions, versions.c.id == flow.current_version_id, {"id": one, **own}),
            (version_segments, version_segments.c.version_id == flow.current_version_id, {"version_id": one}),
        ]
        for table, condition, values in copies:
            if table is flows:
                values["current_version_id"] = one
            tx.conn.execute(_copy(tx, table, condition, source=counter, **values))
        _connect(tx, graph)
        tx.conn.execute(
            text("UPDATE flows SET archived_at = created_at WHERE id = :base").bindparams(
                base=base if tx.is_postgresql else base.hex
            )
        )


def _connect(tx: Transaction, graph: Graph) -> None:
    """Insert all edges, and what the runs of the readers pinned over them."""
    width = graph.width
    counter = select(literal(width).label("n")).cte("counter", recursive=True)
    counter = counter.union_all(select(counter.c.n + 1).where(counter.c.n < graph.size - 1))
    n = counter.c.n
    layer, place = cast(func.floor(n / width), Integer), n % width
    for number, (factor, offset) in enumerate(STEPS):
        upstream = (layer - 1) * width + (place * factor + offset + layer * 29) % width
        shared = {"tenant_id": literal(tx.tenant_id), "role": literal(f"input_{number}")}
        shared |= {"upstream_flow_id": _id_of(tx, upstream)}
        edge = shared | {
            "id": _id_of(tx, n * 10 + number),
            "flow_id": _id_of(tx, n),
            "kind": literal("data_dependency"),
            "selector": literal("current"),
            "position": literal(number),
            "created_at": db_now(),
        }
        pin = shared | {
            "run_id": _id_of(tx, n),
            "version_id": _id_of(tx, upstream),
            "selector": literal("current"),
            "pinned_at": db_now(),
        }
        for table, values in ((flow_inputs, edge), (run_inputs, pin)):
            rows = select(*values.values()).select_from(counter)
            if number == 5:
                rows = rows.where(n % 20 == 0)
            tx.conn.execute(insert(table).from_select(list(values), rows))


def _copy(tx: Transaction, table: Table, condition: ColumnElement[bool], source: Any = None, **values: Any) -> Any:
    """Give the statement that repeats a row, with other values in some columns, for each row of a source."""
    values = {name: value for name, value in values.items() if name in table.c}
    kept = [column for column in table.c if column.name not in values]
    query = select(*values.values(), *kept).where(table.c.tenant_id == tx.tenant_id, condition)
    if source is not None:
        query = query.join_from(table, source, literal(1) == 1)
    return insert(table).from_select([*values, *(column.name for column in kept)], query)


def _id(number: int) -> uuid.UUID:
    return uuid.UUID(int=number + 1)


def _id_of(tx: Transaction, number: ColumnElement[Any]) -> ColumnElement[Any]:
    if tx.is_postgresql:
        return cast(func.lpad(func.to_hex(number + 1), 32, "0"), Uuid())
    return func.printf("%032x", number + 1)


def _vacuum(database: Database) -> None:
    """Leave neither dead rows of what was undone nor old statistics behind."""
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("VACUUM ANALYZE flows, flow_inputs, run_inputs, versions, runs"))
    else:
        with database.write() as tx:
            tx.conn.execute(text("ANALYZE"))


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
