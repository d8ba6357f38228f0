"""Commands about what is still valid, and where it comes from: why, lineage."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import click

from optaic.cli import render
from optaic.cli.options import json_option
from optaic.cli.render import Heading
from optaic.cli.tree import Branch, draw

MAX_NAMES = 4
"""So many names are told of a longer row of flows."""

MAX_BRANCHES = 200
"""So many lines of a graph are drawn; the rest is counted."""

WIDE = 100
"""A terminal from so many columns on shows all of a graph of runs."""

Document = Mapping[str, Any]


@click.command("why")
@click.argument("target", metavar="TARGET")
@json_option
def why_command(target: str, *, as_json: bool) -> None:
    """Why a flow is ready, or why it is not: back to the run, version, config or code that made it so."""
    from optaic.client import connect

    with connect() as ledger:
        document = ledger.why(target)
    if as_json:
        render.print_json(document)
        return
    render.say(f"{render.strong(document['target'])}  {_state(document)}")
    for name, value in _facts(document):
        render.say_fact(f"  {name:<9}  ", value)
    branches = _explanation(document)
    if branches:
        render.say()
        _print_tree(branches)
    if document["next_steps"]:
        render.say()
        render.tell_next(*document["next_steps"])


def _state(node: Document) -> str:
    since = "" if node["stale_from"] is None else f" from {node['stale_from']} on"
    return render.paint(node.get("status", node["freshness"])) + since


def _facts(document: Document) -> list[tuple[str, str]]:
    """Say what its current state speaks of, and which run of it waits."""
    waits = [] if document["pending_run"] is None else [("waits", f"run {document['pending_run']}, for a worker")]
    if document["run"] is None:
        return waits
    run, inputs = document["run"], document["inputs"]
    made = "no version" if document["version"] is None else f"version {document['version']}"
    data = f", data to {document['last_data_date']}" if document["last_data_date"] else ""
    return [
        ("has", f"{made}{data}"),
        ("run", f"{render.tip_id(run['id'])}  ended {_at(run['ended_at'])}"),
        *(("read" if index == 0 else "", _reading(item)) for index, item in enumerate(inputs)),
        *([("ready", f"until {_at(document['ready_until'])}{_expected(document)}")] if _is_timed(document) else []),
        *waits,
    ]


def _is_timed(document: Document) -> bool:
    return document["freshness"] == "ready" and document["ready_until"] is not None


def _expected(document: Document) -> str:
    return f", when data of {document['expected_date']} are due" if document["expected_date"] else ""


def _at(instant: str | None) -> str:
    return "" if instant is None else f"{instant[:10]} {instant[11:16]} UTC"


def _reading(item: Document) -> str:
    """Say what was read of an input: `prices[close] version 3, to 2022-12-28, by run 0192...`."""
    selector = "" if item["selector"] == "current" else f" ({item['selector']})"
    return f"{_read(item)}{selector}{_slice(item)}, made by run {render.tip_id(item['run_id'])}"


def _read(item: Document) -> str:
    return f"{item['target']}{_columns(item)} version {item['version']}"


def _columns(item: Document) -> str:
    return f"[{', '.join(item['columns'])}]" if item["columns"] else ""


def _slice(item: Document) -> str:
    """Say which event dates of an input were read; nothing if all were."""
    if item["columns"] == []:
        return ", not read"
    dates = render.between(item["first_date"], item["last_date"])
    return f", {dates}" if dates else ""


def _explanation(document: Document) -> list[Branch]:
    """Make the tree of causes; each is a branch, with what explains it below."""
    root = Branch("")
    pending = [(document, root)]
    told: dict[str, Branch] = {document["target"]: root}
    again: list[tuple[Branch, str]] = []
    while pending:
        node, branch = pending.pop(0)
        causes = [cause for cause in node["causes"] if cause["kind"] != "upstream_not_ready"]
        if branch is not root and causes and causes[0]["kind"] == "never_run":
            del causes[0]  # its state says so
        branch.below += [Branch(_failure(node["error"]))] if node["error"] is not None else []
        branch.below += map(_own, causes)
        branch.below += [Branch(item["message"]) for item in node["missing"]]
        for child in node["because"]:
            below = Branch(_head(child))
            told.update(dict.fromkeys((*child["through"], child["target"]), below))
            branch.below.append(below)
            pending.append((child, below))
        # A flow that explains several is told once, and only named where it comes again.
        first = {(*child["through"], child["target"])[0] for child in node["because"]}
        for cause in node["causes"]:
            if cause["kind"] == "upstream_not_ready" and cause["upstream"] not in first:
                goal = cause["leads_to"]
                branch.below.append(Branch(cause["detail"] + (f", by {goal}" if goal != cause["upstream"] else "")))
                again.append((branch.below[-1], goal))
    places = {id(drawn.branch): place for place, drawn in enumerate(draw(root.below))}
    for branch, target in again:
        if target in told:
            is_above = places[id(told[target])] < places[id(branch)]
            branch.text += " (see above)" if is_above else " (see below)"
    return root.below


def _head(node: Document) -> str:
    through = ""
    if node["through"]:
        names = list(node["through"])
        if len(names) > MAX_NAMES:
            names[MAX_NAMES // 2 : -1] = [f"{len(names) - MAX_NAMES // 2 - 1} more"]
        through = f", through {', '.join(names)}"
    return f"{render.strong(node['target'])}  {_state(node)}{through}"


def _failure(error: Document) -> str:
    return f"its last run, {render.tip_id(error['run_id'])}, failed: {error['message']} [{error['code']}]"


def _own(cause: Document) -> Branch:
    """Say what is behind a cause."""
    match cause["kind"]:
        case "input_changed":
            changes = [_change(change) for change in cause["changes"]]
            if len(changes) == 1:
                return Branch(f"{cause['upstream']} has {changes[0]}")
            earlier = len(changes) - MAX_NAMES
            if earlier > 1:
                changes[:earlier] = [f"{earlier} more before these"]
            return Branch(cause["detail"], below=[Branch(change) for change in changes])
        case "config_changed":
            return Branch(cause["detail"], below=[Branch(_difference(item)) for item in cause["differences"]])
        case "code_changed":
            before, after = cause["run_digest"] or "none", cause.get("digest") or "none"
            return Branch(f"{cause['detail']}: {before[:12]} -> {after[:12]}")
        case _:
            return Branch(cause["detail"])


def _change(change: Document) -> str:
    columns = ", ".join(change["columns"]) if change["columns"] else "rows"
    since = f" from {change['changed_from']} on" if change["changed_from"] else ""
    run = f"{_at(change['published_at'])}, run {render.tip_id(change['run_id'])}"
    return f"version {change['version']} since {run}: changed {columns}{since}"


def _difference(item: Document) -> str:
    before, after = ("nothing" if item[name] is None else render.compact(item[name]) for name in ("before", "after"))
    return f"{item['path']}: {before} -> {after}"


def _print_tree(branches: Sequence[Branch]) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for drawn in draw(branches):
        text = drawn.branch.text
        if not width:
            render.say(drawn.first + text)
            continue
        # Colours have no width; they are only in heads, which are short.
        room = max(width - len(drawn.first), 30) + len(text) - len(click.unstyle(text))
        lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        render.say("\n".join([drawn.first + lines[0], *(drawn.rest + line for line in lines[1:])]))


@click.command("lineage")
@click.argument("reference", metavar="TARGET|RUN")
@click.option("--depth", type=int, help="At most so many steps upstream and downstream.")
@json_option
def lineage_command(reference: str, *, depth: int | None, as_json: bool) -> None:
    """Draw the graph, upstream and downstream: of TARGET as it is, of RUN as it was.

    Of a column of a dataset, prices[close], downstream is what reads this column.
    """
    from optaic.client import connect

    with connect() as ledger:
        document = ledger.lineage(reference, depth=depth)
    if as_json:
        render.print_json(document)
        return
    _print_graph(document)


def _print_graph(document: Document) -> None:
    is_of_runs = document["kind"] == "run"
    nodes = {node["id"]: node for node in document["nodes"]}
    root = nodes[document["root"]]
    headings = [
        Heading(name="run" if is_of_runs else "flow"),
        Heading(name="status", is_status=True),
        Heading(name="made" if is_of_runs else "version", is_number=True),
        Heading(name="ended (UTC)" if is_of_runs else "last data"),
        Heading(name="read", gives_way="wrap"),
    ]
    if is_of_runs and sys.stdout.isatty() and shutil.get_terminal_size().columns < WIDE:
        # What it read, and of whom, matters more than when it ended.
        headings[3] = Heading(name="")
    columns = f"[{','.join(document['columns'])}]" if document.get("columns") else ""
    rows = [[_name(root) + columns, *_cells(root), ""]]
    left_out = 0
    for title, near, far in (("reads", "downstream", "upstream"), ("is read by", "upstream", "downstream")):
        branches = _branches(document, nodes, near=near, far=far)
        if not branches:
            rows.append([f"{title} nothing" if near == "downstream" else "is read by nobody", "", "", "", ""])
            continue
        drawn = list(draw(branches))
        rows.append([title, "", "", "", ""])
        rows += [[item.first + item.branch.text, *item.branch.cells] for item in drawn[:MAX_BRANCHES]]
        left_out += max(len(drawn) - MAX_BRANCHES, 0)
    is_shown = [bool(heading.name) for heading in headings]
    render.print_table(list(compress(headings, is_shown)), [list(compress(row, is_shown)) for row in rows])
    _tell_more(document, root, left_out)


def _tell_more(document: Document, root: Document, left_out: int) -> None:
    reference = document["root"] if document["kind"] == "run" else root["target"]
    if left_out:
        render.say()
        render.say(f"... and {left_out} more lines; all of it: optaic lineage {reference} --json")
    elif document["is_cut"]:
        render.say()
        render.say("there is more beyond this depth")
    if document["kind"] == "flow" and root["freshness"] != "ready":
        render.say()
        render.tell_next(f"optaic why {root['target']}")


def _name(node: Document) -> str:
    return f"{node['target']} {node['id'][: render.MIN_ID_LENGTH]}" if _is_run(node) else node["target"]


def _cells(node: Document) -> tuple[str, str, str]:
    version = "" if node["version"] is None else str(node["version"])
    if _is_run(node):
        status = node["status"] if node["standing"] == "official" else f"{node['status']} ({node['standing']})"
        return status, version, _at(node["ended_at"]).removesuffix(" UTC")
    return node["status"], version, node["last_data_date"] or ""


def _branches(document: Document, nodes: Mapping[str, Document], *, near: str, far: str) -> list[Branch]:
    """Make the tree one way from the root; what is reached by several ways is told once, by the shortest."""
    edges: dict[str, list[Document]] = {}
    for edge in document["edges"]:
        edges.setdefault(edge[near], []).append(edge)
    # As deep as leaves half of the width for names.
    deepest = max(shutil.get_terminal_size().columns // 6, 4) if sys.stdout.isatty() else MAX_BRANCHES
    root = Branch("")
    level = [(str(document["root"]), root)]
    told: dict[str, Branch] = {}
    again: list[tuple[Branch, str]] = []
    for depth in range(1, deepest + 1):
        following: list[tuple[str, Branch]] = []
        for node_id, branch in level:
            for edge in edges.get(node_id, []):
                node = nodes[edge[far]]
                child = Branch(_name(node), (*_cells(node), _how(edge, nodes)))
                branch.below.append(child)
                if node["id"] not in told:
                    told[node["id"]] = child
                    following.append((node["id"], child))
                elif node["id"] in edges:
                    again.append((child, node["id"]))
                if depth == deepest and node["id"] in edges:
                    child.text += f" ... on with: optaic lineage {node['id'] if _is_run(node) else node['target']}"
        level = following
    places = {id(drawn.branch): place for place, drawn in enumerate(draw(root.below))}
    for branch, node_id in again:
        is_above = places[id(told[node_id])] < places[id(branch)]
        branch.text += " (see above)" if is_above else " (see below)"
    return root.below


def _is_run(node: Document) -> bool:
    return "standing" in node


def _how(edge: Document, nodes: Mapping[str, Document]) -> str:
    """Say how an edge reads: columns, selector, the role where it is not the upstream's name; of a run the slice."""
    instance = nodes[edge["upstream"]]["instance"]
    version = f"version {edge['version']}" if "version" in edge else ""
    parts = [
        f"{version}{_columns(edge)}",
        f"({edge['selector']})" if edge["selector"] != "current" else "",
        f"as {edge['role']}" if edge["role"] != instance else "",
    ]
    return " ".join(part for part in parts if part) + (_slice(edge) if version else "")
