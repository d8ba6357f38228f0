"""The graph that a flow stands in, as it is; and the graph that a run stood in, as it was."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Row

from optaic.bootstrap import Runtime
from optaic.domain.run import Run
from optaic.domain.text import check_text
from optaic.errors import InvalidInputError
from optaic.ledger import lineage as graph
from optaic.ledger import runs
from optaic.ledger.session import Transaction
from optaic.ledger.targets import find_target
from optaic.overview import statuses

PIECE = 1_000
"""So many runs are read at once."""


def lineage(runtime: Runtime, reference: str, *, depth: int | None = None) -> dict[str, Any]:
    """Give the graph of a flow or of a run: a few statements for each step away, however wide it is.

    Parameters
    ----------
    runtime
        The project's.
    reference
        A target; of columns of a dataset, `prices[close]`, downstream only what reads these; or a run's id, its
        beginning, or `TARGET@latest`.
    depth
        At most so many steps upstream and downstream; None for all.

    Returns
    -------
    dict
        JSON-ready: `kind` (`flow` or `run`), `root` (the id of the node asked about), `nodes`, `edges`, and `is_cut`
        (whether `depth` left something out); of a flow also `columns` (those that were asked about, None for all).

        A node has `id, distance` (negative upstream); of a flow `target, status, freshness, version, last_data_date`,
        of a run `target, status, standing, version` (the one that it made), `ended_at`. An edge has `upstream` and
        `downstream` (ids of nodes), `role, selector, columns` (None for all of them), and between runs `version`,
        `first_date` and `last_date` (None for an open side), `as_of`.

    Raises
    ------
    NotFoundError
        If there is no such target or run.
    InvalidInputError
        If the depth is below 1, there is no such column, or the text names neither.
    """
    check_text(reference, "the reference")
    if depth is not None and depth < 1:
        raise InvalidInputError(f"a depth of {depth} shows nothing", next_step="use 1 or more")
    with runtime.database.read() as tx:
        return _of_run(tx, reference, depth) if is_run(reference) else _of_flow(tx, reference, depth)


def is_run(reference: str) -> bool:
    """Tell whether a text means a run: names of instances start with a letter, ids of runs with a digit."""
    return "@" in reference or reference[:1].isdigit()


class _Graph:
    """Nodes by their distance from the root, and the edges between them."""

    def __init__(self, root: uuid.UUID) -> None:
        self.root = root
        self.distances = {root: 0}
        self.edges: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.is_cut = False

    def grow(
        self,
        step: Callable[[Collection[uuid.UUID]], Sequence[tuple[uuid.UUID, uuid.UUID, dict[str, Any]]]],
        *,
        is_upstream: bool,
        depth: int | None,
    ) -> None:
        """Walk one way from the root; `step` gives the edges one step away, as (upstream, downstream, facts)."""
        sign, away = (-1, 0) if is_upstream else (1, 0)
        frontier: set[uuid.UUID] = {self.root}
        while frontier:
            found = step(frontier)
            if away == depth:
                self.is_cut |= bool(found)
                return
            away += 1
            frontier = set()
            for upstream, downstream, facts in found:
                far = upstream if is_upstream else downstream
                if far not in self.distances:
                    self.distances[far] = sign * away
                    frontier.add(far)
                self.edges.setdefault((upstream, downstream, facts["role"]), facts)

    def to_json(self, kind: str, nodes: dict[uuid.UUID, dict[str, Any]]) -> dict[str, Any]:
        """Give it as JSON; nodes without facts are left out with their edges."""
        return {
            "kind": kind,
            "root": str(self.root),
            "is_cut": self.is_cut,
            "nodes": [
                {"id": str(node_id), "distance": distance, **nodes[node_id]}
                for node_id, distance in sorted(self.distances.items(), key=lambda item: item[1])
                if node_id in nodes
            ],
            "edges": [
                {"upstream": str(upstream), "downstream": str(downstream), **facts}
                for (upstream, downstream, _), facts in self.edges.items()
                if upstream in nodes and downstream in nodes
            ],
        }


def _of_flow(tx: Transaction, target: str, depth: int | None) -> dict[str, Any]:
    asked = find_target(tx, target)
    flow = asked.flow
    found = _Graph(flow.id)
    for is_upstream in (True, False):

        def step(
            flow_ids: Collection[uuid.UUID], *, is_upstream: bool = is_upstream
        ) -> list[tuple[uuid.UUID, uuid.UUID, dict[str, Any]]]:
            rows = [
                row
                for row in graph.edges(tx, flow_ids, is_upstream=is_upstream)
                if is_upstream or row.upstream_flow_id != flow.id or asked.is_read_by(row.columns)
            ]
            return [(row.upstream_flow_id, row.flow_id, _edge(row)) for row in rows]

        found.grow(step, is_upstream=is_upstream, depth=depth)
    items = statuses(tx, found.distances)
    kept = ("target", "instance", "flow_kind", "status", "freshness", "version", "last_data_date")
    nodes = {flow_id: {name: item[name] for name in kept} for flow_id, item in items.items()}
    if flow.id not in nodes:
        raise InvalidInputError(
            f"{flow.instance} is a tracked loop: its runs have lineage, it has none itself",
            next_step=f"optaic lineage {flow.instance}@latest",
        )
    return found.to_json("flow", nodes) | {"columns": list(asked.columns) or None}


def _edge(row: Row[Any]) -> dict[str, Any]:
    selector = row.selector
    if selector != "current":
        selector = f"{selector}:{row.selector_stage or row.selector_version}"
    return {"role": row.role, "kind": row.kind, "selector": selector, "columns": row.columns}


def _of_run(tx: Transaction, reference: str, depth: int | None) -> dict[str, Any]:
    found = _Graph(runs.find(tx, reference).id)
    for is_upstream in (True, False):
        read = graph.inputs_of if is_upstream else graph.consumers_of

        def step(
            run_ids: Collection[uuid.UUID],
            read: Callable[[Transaction, Collection[uuid.UUID]], list[Row[Any]]] = read,
        ) -> list[tuple[uuid.UUID, uuid.UUID, dict[str, Any]]]:
            return [(row.made_by, row.run_id, _reading(row)) for row in read(tx, run_ids)]

        found.grow(step, is_upstream=is_upstream, depth=depth)
    made = graph.made_by(tx, found.distances)
    ids = list(found.distances)
    nodes = {
        run.id: _run(run, made.get(run.id))
        for start in range(0, len(ids), PIECE)
        for run in runs.many(tx, ids[start : start + PIECE])
    }
    return found.to_json("run", nodes)


def _reading(row: Row[Any]) -> dict[str, Any]:
    return {
        "role": row.role,
        "selector": row.selector,
        "columns": row.columns,
        "version": row.number,
        "first_date": row.first_date.isoformat() if row.first_date else None,
        "last_date": row.last_date.isoformat() if row.last_date else None,
        "as_of": _instant(row.as_of),
    }


def _run(run: Run, made: Row[Any] | None) -> dict[str, Any]:
    return {
        "target": f"{run.instance}.{run.flow_kind}",
        "instance": run.instance,
        "flow_kind": run.flow_kind,
        "status": run.status,
        "standing": run.standing,
        "version": None if made is None else made.number,
        "ended_at": _instant(run.ended_at),
    }


def _instant(value: dt.datetime | None) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")
