"""Calling a definition with as much as its signature takes."""

from __future__ import annotations

import datetime as dt
import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from optaic.errors import InvalidInputError

if TYPE_CHECKING:
    from optaic.flows.context import RunContext

_EMPTY_KIND = inspect.Parameter.empty


def call_definition(
    definition: Callable[..., Any],
    context: RunContext,
    *,
    params: Mapping[str, Any],
    given: Mapping[str, Any] | None = None,
) -> object:
    """Call a definition.

    Parameters
    ----------
    definition
        A callable whose first parameter is the context.
    context
        Passed first.
    params
        By name; passed to parameters of these names. Texts become dates or instants where the annotation says so.
    given
        What the flow itself passes, where the signature has a parameter of that name: the `start` of a refresh. It wins
        over params.

    Returns
    -------
    object
        What it returned.

    Raises
    ------
    InvalidInputError
        If a param is no date or instant, and the signature says it is one.
    """
    accepted = dict(list(inspect.signature(definition).parameters.items())[1:])
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted.values())
    passed: dict[str, Any] = {name: value for name, value in (given or {}).items() if name in accepted}
    for name, value in params.items():
        parameter = accepted.get(name)
        if name in passed or (parameter is None and not takes_any):
            continue
        passed[name] = _converted(name, value, _EMPTY_KIND if parameter is None else parameter.annotation)
    return definition(context, **passed)


def _converted(name: str, value: object, annotation: object) -> object:
    """Make a date or an instant of a text whose parameter is annotated as one; JSON has neither."""
    if not isinstance(value, str):
        return value
    # Annotations may be texts, and may name what only a type checker imports, so they are read and not resolved.
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    words = set(re.findall(r"\w+", text.replace("datetime.date", "date")))
    kind = dt.datetime if "datetime" in words else dt.date if "date" in words else None
    if kind is None or "str" in words:
        return value
    try:
        return kind.fromisoformat(value)
    except ValueError:
        raise InvalidInputError(
            f"parameter {name!r} is {value!r}, which is no {kind.__name__}",
            next_step="write 2024-01-31" if kind is dt.date else "write 2024-01-31T21:00:00Z",
        ) from None
