"""Which parameters a function reads from its context, as `ctx.params["n"]`, found in its source."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any


def with_used_params(schema: Mapping[str, Any], function: ast.FunctionDef) -> dict[str, Any]:
    """Add to a schema what a function reads from `ctx.params` beside what its signature declares.

    `ctx.params["n"]` and `ctx.params.get("n")` add a parameter of any type, which need not be given. The schema becomes
    open if the function uses `ctx.params` in another way; or if it declares no parameter and gives the context to
    another function, which may read from it.

    Parameters
    ----------
    schema
        As `optaic.domain.parameters.schema_of` gives it.
    function
        The definition; its first argument is the context.

    Returns
    -------
    dict
        The schema, with more parameters.
    """
    arguments = [*function.args.posonlyargs, *function.args.args]
    if not arguments:
        return dict(schema)
    names, is_read_whole, is_passed_on = _uses(function, arguments[0].arg)
    declared: Mapping[str, Any] = schema["params"]
    used = {name: {"type": "Any", "required": False} for name in sorted(names) if name not in declared}
    is_open = bool(schema["open"]) or is_read_whole or (is_passed_on and not declared)
    return {"params": {**declared, **used}, "open": is_open}


def _uses(function: ast.FunctionDef, context: str) -> tuple[set[str], bool, bool]:
    """Give the names that are read, whether `params` is used otherwise, and whether the context is."""
    owners = {child: node for node in ast.walk(function) for child in ast.iter_child_nodes(node)}
    names: set[str] = set()
    is_read_whole = is_passed_on = False
    for node, owner in owners.items():
        if not isinstance(node, ast.Name) or node.id != context:
            continue
        if not isinstance(owner, ast.Attribute):
            is_passed_on = True
        elif owner.attr == "params":
            name = _name_read(owner, owners)
            if name is None:
                is_read_whole = True
            else:
                names.add(name)
    return names, is_read_whole, is_passed_on


def _name_read(params: ast.Attribute, owners: Mapping[ast.AST, ast.AST]) -> str | None:
    """Give the name in `ctx.params["n"]`, `ctx.params.get("n")` or `"n" in ctx.params`; None of any other use."""
    use = owners[params]
    text: ast.AST | None = None
    if isinstance(use, ast.Subscript) and use.value is params:
        text = use.slice
    elif isinstance(use, ast.Compare) and use.comparators == [params] and isinstance(use.ops[0], ast.In | ast.NotIn):
        text = use.left
    elif isinstance(use, ast.Attribute) and use.attr == "get":
        call = owners[use]
        text = call.args[0] if isinstance(call, ast.Call) and call.func is use and call.args else None
    return text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else None
