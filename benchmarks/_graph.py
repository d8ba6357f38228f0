"""The layered graph of flows that several scripts measure on: each has run, and read the layer before."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, String, Table, cast, func, insert, literal, select, text, true
from sqlalchemy.types import Uuid

from optaic.ledger import catalog
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database, Transaction
from optaic.ledger.tables import flow_inputs, flows, instances, run_inputs, runs, version_segments, versions
from optaic.lifecycle.complete import complete
from tests.factories import add_dataset, claim_run, dataset_result, submit_run

STEPS = ((3, 41), (7, 306), (11, 739), (13, 113), (17, 521), (19, 887))
"""The k-th upstream of flow i of a layer is flow (factor * i + offset + 29 * layer) mod WIDTH of the layer before."""

NARROW_READER = 55
"""The place of the flow that reads it beside the five that read any flow: with it exactly 189 are downstream of it, of
100 layers of 1,000."""


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
        found = [first + (factor * place + offset + 29 * layer) % self.width for factor, offset in steps]
        return [*found, self.narrow] if flow == self.narrow_reader else found

    @property
    def narrow(self) -> int:
        """The flow that has few descendants: it is three layers before the last."""
        return (self.layers - 4) * self.width

    @property
    def narrow_reader(self) -> int:
        """The flow that reads it beside those that the steps say."""
        return (self.layers - 3) * self.width + NARROW_READER

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


def build(database: Database, graph: Graph) -> None:
    """Make a flow that has run, and repeat its rows by one statement for each table."""
    base = add_dataset(database, "base")
    held = claim_run(database, submit_run(database, "base"))
    complete(database, held.run.id, 1, dataset_result(held))
    with database.write() as tx:
        counter = select(literal(0).label("n")).cte("counter", recursive=True)
        counter = counter.union_all(select(counter.c.n + 1).where(counter.c.n < graph.size - 1))
        one = id_in(tx, counter.c.n)
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
            tx.conn.execute(copy_of(tx, table, condition, source=counter, **values))
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
    readings = [
        ((layer - 1) * width + (place * factor + offset + layer * 29) % width, n % 20 == 0 if number == 5 else true())
        for number, (factor, offset) in enumerate(STEPS)
    ]
    readings.append((literal(graph.narrow), n == graph.narrow_reader))
    for number, (upstream, is_read) in enumerate(readings):
        shared = {"tenant_id": literal(tx.tenant_id), "role": literal(f"input_{number}")}
        shared |= {"upstream_flow_id": id_in(tx, upstream)}
        edge = shared | {
            "id": id_in(tx, n * 10 + number),
            "flow_id": id_in(tx, n),
            "kind": literal("data_dependency"),
            "selector": literal("current"),
            "position": literal(number),
            "created_at": db_now(),
        }
        pin = shared | {
            "run_id": id_in(tx, n),
            "version_id": id_in(tx, upstream),
            "selector": literal("current"),
            "pinned_at": db_now(),
        }
        for table, values in ((flow_inputs, edge), (run_inputs, pin)):
            rows = select(*values.values()).select_from(counter).where(is_read)
            tx.conn.execute(insert(table).from_select(list(values), rows))


def copy_of(tx: Transaction, table: Table, condition: ColumnElement[bool], source: Any = None, **values: Any) -> Any:
    """Give the statement that repeats a row, with other values in some columns, for each row of a source."""
    values = {name: value for name, value in values.items() if name in table.c}
    kept = [column for column in table.c if column.name not in values]
    query = select(*values.values(), *kept).where(table.c.tenant_id == tx.tenant_id, condition)
    if source is not None:
        query = query.join_from(table, source, literal(1) == 1)
    return insert(table).from_select([*values, *(column.name for column in kept)], query)


def id_of(number: int) -> uuid.UUID:
    return uuid.UUID(int=number + 1)


def id_in(tx: Transaction, number: ColumnElement[Any]) -> ColumnElement[Any]:
    if tx.is_postgresql:
        return cast(func.lpad(func.to_hex(number + 1), 32, "0"), Uuid())
    return func.printf("%032x", number + 1)


def vacuum(database: Database) -> None:
    """Leave neither dead rows of what was undone nor old statistics behind."""
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("VACUUM ANALYZE flows, flow_inputs, run_inputs, versions, runs"))
    else:
        with database.write() as tx:
            tx.conn.execute(text("ANALYZE"))
