"""The graph of flows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Node = TypeVar("Node")


def find_cycle(edges: Iterable[tuple[Node, Node]]) -> list[Node] | None:
    """Find a cycle in a graph, without recursion.

    Parameters
    ----------
    edges
        Pairs (upstream, downstream).

    Returns
    -------
    list of nodes or None
        The nodes along one cycle, the first one again at the end; None if there is no cycle.

    Examples
    --------
    >>> find_cycle([("a", "b"), ("b", "c")])
    >>> find_cycle([("a", "b"), ("b", "a")])
    ['a', 'b', 'a']
    """
    below: dict[Node, list[Node]] = {}
    for upstream, downstream in edges:
        below.setdefault(upstream, []).append(downstream)
    done: set[Node] = set()
    for root in list(below):
        if root in done:
            continue
        path: list[Node] = []
        on_path: set[Node] = set()
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            node, is_left = stack.pop()
            if is_left:
                path.pop()
                on_path.discard(node)
                done.add(node)
            elif node in on_path:
                return [*path[path.index(node) :], node]
            elif node not in done:
                path.append(node)
                on_path.add(node)
                stack.append((node, True))
                stack.extend((child, False) for child in below.get(node, ()))
    return None
