"""`ledger.status()` of 5,000 flows, which is what a user calls, on SQLite and PostgreSQL.

The graph is that of `lineage.py`, 50 layers of 100: all are ready; then all but the first layer are stale because of
it; then none has ever run, as in a project that was just applied. Every status is transitive, and told with its causes
and what to type. Beside the time on the wall stands the CPU time of this process.
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing

import _ledgers
from _graph import Graph, build, id_of, vacuum
from _ledgers import Databases
from sqlalchemy import delete, update

from optaic.bootstrap import open_runtime
from optaic.client import Ledger
from optaic.domain.freshness import EVERYTHING
from optaic.domain.status import Freshness
from optaic.ledger import downstream
from optaic.ledger.session import Database, lock_graph
from optaic.ledger.tables import flows, run_inputs
from optaic.settings import read_settings

DAGSTER_SECONDS = 2.0
"""What Dagster needs for the stale status of 5,000 assets, from direct parents alone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"))
    given = parser.parse_args()
    graph = Graph(layers=50, width=100)
    _ledgers.say_conditions(f"status of {graph.size:,} flows, {graph.edges():,} edges; the least of {given.blocks}")
    with _ledgers.servers((given.only,) if given.only else ("SQLite", "PostgreSQL")) as servers:
        for system, databases in servers.items():
            _status(system, databases, graph, given.blocks)


def _status(system: str, databases: Databases, graph: Graph, blocks: int) -> None:
    url = _ledgers.migrated(databases, "status")
    with _ledgers.temporary_folder() as root:
        runtime = open_runtime(read_settings(root, {"OPTAIC_DATABASE_URL": url}))
        with closing(Ledger(runtime)) as ledger:
            build(runtime.database, graph)
            for freshness_of_most in (Freshness.READY, Freshness.STALE, Freshness.NOT_INITIALIZED):
                _bring_to(runtime.database, graph, freshness_of_most)
                vacuum(runtime.database)
                wall, cpu, items = list[float](), list[float](), ledger.status()
                for _ in range(blocks):
                    begun, started = time.process_time(), time.perf_counter()
                    items = ledger.status()
                    wall.append(time.perf_counter() - started)
                    cpu.append(time.process_time() - begun)
                is_so = [item["freshness"] == freshness_of_most for item in items]
                # Nothing makes a flow of the first layer stale but what is its own.
                assert len(items) == graph.size
                assert sum(is_so) >= graph.size - graph.width
                causes = sum(len(item["causes"]) for item in items)
                print(
                    f"  {system:12} status of {graph.size:,} flows, {freshness_of_most}, {causes:,} causes: "
                    f"{min(wall) * 1e3:.0f} ms, CPU {min(cpu) * 1e3:.0f} ms, "
                    f"{DAGSTER_SECONDS / min(wall):.0f} times as fast as {DAGSTER_SECONDS:.0f} s",
                    flush=True,
                )


def _bring_to(database: Database, graph: Graph, wanted: Freshness) -> None:
    """Make all but the first layer stale because of it; or let none of the flows ever have run."""
    first = [id_of(flow) for flow in range(graph.width)]
    own = {"own_stale_from": EVERYTHING, "own_blocks_from": EVERYTHING}
    with database.write() as tx:
        lock_graph(tx)
        if wanted is Freshness.NOT_INITIALIZED:
            nothing = dict.fromkeys(
                ("current_run_id", "current_version_id", "last_attempt_run_id", "last_attempt_ok", "last_data_date")
            )
            tx.conn.execute(delete(run_inputs))
            tx.conn.execute(update(flows).values(freshness=wanted, **own, **nothing))
        elif wanted is Freshness.STALE:
            tx.conn.execute(update(flows).where(flows.c.id.in_(first)).values(freshness=wanted, **own))
        if wanted is not Freshness.READY:
            downstream.spread(tx, {EVERYTHING: first})


if __name__ == "__main__":
    main()
