"""What an instance executes: code of somebody's own, or a procedure of the product."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from optaic.domain.kind import InstanceKind
from optaic.domain.known import DERIVED
from optaic.domain.optimizer import OPTIMIZER, OPTIONAL_ROLES
from optaic.errors import InvalidInputError
from optaic.project.checks import EXPRESSION, SIMULATOR, check_effect, check_expression, check_options
from optaic.project.document import Document, Entry
from optaic.project.spec import InputSpec

_CODE_REF = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def read_procedure(
    document: Document,
    kind: InstanceKind,
    fields: Mapping[str, Entry],
    instance: Entry,
    what: str,
    *,
    inputs: Sequence[InputSpec],
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """Read what an instance executes.

    Parameters
    ----------
    document
        Takes the mistakes.
    kind
        What the instance is.
    fields
        What is declared of it.
    instance, what
        Where it stands, and what messages call it.
    inputs, params
        What it declares to read, and to compute with.

    Returns
    -------
    dict
        For the instance's config: `definition`, its code; with an expression also `expression` and, of a dataset,
        `known_at`.
    """
    if kind is InstanceKind.BACKTEST and "definition" not in fields:
        _check_backtest(document, fields, instance, what, inputs)
        _check_options(document, fields.get("config") or fields.get("params"), params, inputs)
        return {"definition": SIMULATOR}
    if "expression" in fields:
        return _expression(document, kind, fields, inputs, params)
    return {"definition": _definition(document, fields.get("definition"), instance, what)}


def _definition(document: Document, entry: Entry | None, instance: Entry, what: str) -> str | None:
    if entry is None:
        document.report(
            instance.key,
            f"{what} has no definition",
            "name its function, definition: package.module:function; or write an expression",
        )
    value = document.text(entry, "definition")
    if value is not None and entry is not None and (len(value) > 300 or not _CODE_REF.fullmatch(value)):
        document.report(
            entry.value, f"{value[:100]!r} does not name a definition", "write it as package.module:function"
        )
    return value


def _expression(
    document: Document,
    kind: InstanceKind,
    fields: Mapping[str, Entry],
    inputs: Sequence[InputSpec],
    params: Mapping[str, Any],
) -> dict[str, Any]:
    entry = fields["expression"]
    text = document.text(entry, "expression")
    for field, reason in (
        ("definition", "an expression is computed by the product itself"),
        ("key", "the rows of an expression are by date and symbol"),
        ("known_at", "a row that is computed is known when the last of what it uses is"),
    ):
        if field in fields:
            document.report(fields[field].key, f"`{field}:` beside `expression:`: {reason}", f"take {field} out")
    if text is not None:
        _check_expression(document, entry, text, inputs, params)
    found: dict[str, Any] = {"definition": EXPRESSION, "expression": text}
    if kind is InstanceKind.DATASET:
        found["known_at"] = DERIVED
    return found


def _check_expression(
    document: Document, entry: Entry, text: str, inputs: Sequence[InputSpec], params: Mapping[str, Any]
) -> None:
    try:
        check_expression(text, params, [item.role for item in inputs])
    except InvalidInputError as error:
        document.report(entry.value, error.message, error.next_step)


def _check_backtest(
    document: Document, fields: Mapping[str, Entry], instance: Entry, what: str, inputs: Sequence[InputSpec]
) -> None:
    if "config" in fields and "params" in fields:
        document.report(fields["params"].key, f"{what} has config and params", "put all of it into config")
    roles = {item.role for item in inputs}
    place = fields["inputs"].key if "inputs" in fields else instance.key
    if "prices" not in roles:
        document.report(place, f"{what} reads no prices", "add to its inputs: prices: INSTANCE")
    deciding = [role for role in ("signal", "weights", OPTIMIZER) if role in roles]
    if len(deciding) != 1:
        document.report(
            place,
            f"{what} needs one of signal, weights and optimizer as an input"
            + (f", and has {' and '.join(deciding)}" if deciding else ""),
            "leave one of them in" if deciding else "add to its inputs: signal: INSTANCE",
        )
    for role in OPTIONAL_ROLES:
        if role in roles and OPTIMIZER not in roles:
            document.report(place, f"{what} has no use for {role} without an optimizer", f"take {role} out of inputs")


def _check_options(
    document: Document, entry: Entry | None, params: Mapping[str, Any], inputs: Sequence[InputSpec]
) -> None:
    """Refuse options of the simulator that are out of range, before anything is declared."""
    if entry is None or document.problems:
        return
    try:
        check_effect(params, [item.role for item in inputs])
        check_options(params)
    except InvalidInputError as error:
        parts = document.entries(entry.value, "config")
        named = parts.get(error.message.split(maxsplit=1)[0])
        document.report((named or entry).value, error.message, error.next_step)
