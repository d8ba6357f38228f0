"""The parameters of a definition: their schema, read from its signature, and checking values against it.

A schema is a JSON object::

    {"params": {"end": {"type": "date | None", "required": false, "default": null}, ...}, "open": false}

Types are written as in Python, of these words: `str, int, float, bool, date, datetime, None, Any, list[...],
dict[str, ...], Literal[...]` and `|`. Values are JSON: a date is its ISO text. `open` says that names beyond
these are taken too, as by `**params`. A default that is not a plain value stands as `default_text` only.
"""

from __future__ import annotations

import ast
import datetime as dt
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

from optaic.domain.fingerprint import json_value
from optaic.domain.scalar import read_scalar
from optaic.domain.suggestion import did_you_mean
from optaic.domain.text import check_text, check_texts
from optaic.errors import InvalidInputError

OPEN_SCHEMA: Mapping[str, Any] = {"params": {}, "open": True}
"""The schema of what cannot be read without executing it: every name and value is taken."""

START = "start"
"""The parameter by which a refresh says from when on it needs data; not one that users set."""

_SIMPLE = {name: name for name in ("str", "int", "float", "bool", "date", "datetime")}
_LISTS = frozenset({"list", "List", "Sequence", "tuple", "Tuple", "Iterable", "Collection", "set", "frozenset"})
_MAPPINGS = frozenset({"dict", "Dict", "Mapping", "MutableMapping"})
_MAX_SHOWN = 80


def schema_of(function: ast.FunctionDef, *, given: Collection[str] = (START,)) -> dict[str, Any]:
    """Read the parameter schema from a function's source; nothing is executed.

    Parameters
    ----------
    function
        The definition: the context first, then perhaps `start`, then its parameters.
    given
        Parameters that the flow itself passes, and users do not set.

    Returns
    -------
    dict
        The schema; see the module's docstring.

    Raises
    ------
    InvalidInputError
        If it takes no context, or has a parameter that cannot be passed by name.
    """
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    if not positional and arguments.vararg is None:
        raise InvalidInputError(
            f"function {function.name} takes no context",
            next_step=f"declare it as: def {function.name}(ctx, ...)",
        )
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    rest = list(zip(positional, defaults, strict=True))[1:]
    for argument, default in rest[: max(len(arguments.posonlyargs) - 1, 0)]:
        if default is None:
            raise InvalidInputError(
                f"parameter {argument.arg} of function {function.name} cannot be passed by name",
                next_step="move it behind the `/`",
            )
    named = rest[max(len(arguments.posonlyargs) - 1, 0) :]
    pairs = [*named, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    params = {arg.arg: _entry(arg.annotation, default) for arg, default in pairs if arg.arg not in given}
    return {"params": params, "open": arguments.kwarg is not None}


def check_params(schema: Mapping[str, Any], params: Mapping[str, Any], *, instance: str) -> dict[str, Any]:
    """Check parameters against the schema of their definition, and fill in its defaults.

    Parameters
    ----------
    schema
        As `schema_of` gives it; an empty one takes everything.
    params
        Values by name.
    instance
        Whose parameters they are, for the message.

    Returns
    -------
    dict
        JSON values: an integer for a float has become one, a date is ISO text.

    Raises
    ------
    InvalidInputError
        If a name is unknown, a value is of the wrong type, or one without a default is missing, or a text has a
        character that cannot be stored.
    """
    known: Mapping[str, Mapping[str, Any]] = schema.get("params", {})
    is_open = bool(schema.get("open", "params" not in schema))
    checked: dict[str, Any] = {}
    for name, entry in known.items():
        if name in params:
            checked[name] = _check(params[name], str(entry["type"]), name=name, instance=instance)
        elif entry.get("required"):
            raise InvalidInputError(
                f"{instance}: param {name} has no value, and no default",
                next_step=f"set it in the project file, params: {{{name}: ...}}, as {entry['type']}",
            )
        elif "default" in entry:
            checked[name] = entry["default"]
    for name in params:
        if name in known:
            continue
        if not is_open:
            names = ", ".join(known) or "it takes none"
            raise InvalidInputError(
                f"{instance} has no param {name!r}{did_you_mean(name, known)}", next_step=f"its params: {names}"
            )
        checked[name] = _check(params[name], "Any", name=name, instance=instance)
    for name, value in checked.items():
        check_texts([name, value], f"{instance}: param {check_text(name, 'a name of a param')}")
    return checked


def parse_param(text: str) -> tuple[str, Any]:
    """Read `name=value` of a command line; the value as a project file would.

    Returns
    -------
    tuple of (str, value)
        `n=21` gives 21, `n='21'` the text, `symbols=[A, B]` a list; `{"a": 1}` is read as JSON.

    Raises
    ------
    InvalidInputError
        If there is no `=`, or the name is no parameter's.

    Examples
    --------
    >>> parse_param("symbols=[ON, 7]")
    ('symbols', ['ON', 7])
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name.isidentifier():
        raise InvalidInputError(f"{text[:_MAX_SHOWN]!r} is not a parameter", next_step="write it as name=value")
    return name, _read_value(value.strip())


def _read_value(text: str) -> Any:
    if text[:1] in {"[", "{"}:
        try:
            return json_value(json.loads(text))
        except ValueError:
            inner = text[1:-1].strip()
        if not re.fullmatch(r"\[[^\[\]{}\"]*\]", text):
            raise InvalidInputError(
                f"{text[:_MAX_SHOWN]!r} is not a value", next_step="write lists as [A, B], all else as JSON"
            )
        return [_read_value(item.strip()) for item in inner.split(",")] if inner else []
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return read_scalar(text)


def _entry(annotation: ast.expr | None, default: ast.expr | None) -> dict[str, Any]:
    kind = "Any" if annotation is None else type_text(annotation)
    if default is None:
        return {"type": kind, "required": True}
    found, value = _plain_default(default)
    if not found:
        return {"type": kind, "required": False, "default_text": ast.unparse(default)}
    if value is None and kind != "Any" and "None" not in kind.split(" | "):
        kind = f"{kind} | None"
    if isinstance(value, int) and not isinstance(value, bool) and kind == "float":
        value = float(value)
    return {"type": kind, "required": False, "default": value}


def _plain_default(node: ast.expr) -> tuple[bool, Any]:
    """Read a default that is a literal, or a date of literals."""
    try:
        return True, json_value(ast.literal_eval(node))
    except (ValueError, TypeError, InvalidInputError):
        pass
    if isinstance(node, ast.Call) and _last_name(node.func) == "date" and not node.keywords:
        try:
            return True, dt.date(*(ast.literal_eval(part) for part in node.args)).isoformat()
        except (ValueError, TypeError):
            pass
    return False, None


def type_text(node: ast.expr) -> str:
    """Write an annotation in the words of a schema; what has no word is `Any`."""
    if isinstance(node, ast.Constant):
        return _constant_text(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([type_text(node.left), type_text(node.right)])
    name = _last_name(node.value if isinstance(node, ast.Subscript) else node)
    if isinstance(node, ast.Subscript):
        return _generic(name, node.slice)
    if name in _LISTS:
        return "list"
    return "dict" if name in _MAPPINGS else _SIMPLE.get(name, "Any")


def _constant_text(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, str):
        try:
            return type_text(ast.parse(value, mode="eval").body)
        except SyntaxError:
            pass
    return "Any"


def _generic(name: str, inside: ast.expr) -> str:
    parts = list(inside.elts) if isinstance(inside, ast.Tuple) else [inside]
    if name == "Optional":
        return _union([type_text(parts[0]), "None"])
    if name == "Union":
        return _union([type_text(part) for part in parts])
    if name == "Annotated":
        return type_text(parts[0])
    if name == "Literal":
        # Members of enumerations have no literal text.
        is_plain = all(isinstance(part, ast.Constant) and isinstance(part.value, str | int | None) for part in parts)
        return f"Literal[{', '.join(ast.unparse(part) for part in parts)}]" if is_plain else "Any"
    if name in _LISTS:
        is_mixed = name in {"tuple", "Tuple"} and not (len(parts) == 2 and ast.unparse(parts[1]) == "...")
        return "list" if is_mixed else f"list[{type_text(parts[0])}]"
    if name in _MAPPINGS and len(parts) == 2:
        return f"dict[str, {type_text(parts[1])}]"
    return "Any"


def _union(parts: Iterable[str]) -> str:
    flat = list(dict.fromkeys(word for part in parts for word in _alternatives(part)))
    if "Any" in flat:
        return "Any"
    return " | ".join([word for word in flat if word != "None"] + ["None"] * ("None" in flat))


def _alternatives(text: str) -> list[str]:
    node = _parsed(text)
    found: list[str] = []
    while isinstance(node, ast.BinOp):
        found.insert(0, ast.unparse(node.right))
        node = node.left
    return [ast.unparse(node), *found]


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class _MismatchError(Exception):
    """A value is not of a type."""


def _check(value: object, kind: str, *, name: str, instance: str) -> Any:
    shown = repr(value)
    shown = shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 4] + " ..."
    try:
        return _convert(_parsed(kind), value)
    except _MismatchError:
        raise InvalidInputError(
            f"{instance}: param {name} is {shown} ({_word(value)}); it must be {kind}",
            next_step="dates are written as 2024-12-31; quote a text that looks like a number",
        ) from None
    except InvalidInputError as error:
        raise InvalidInputError(f"{instance}: param {name}: {error.message}", next_step=error.next_step) from None


def _word(value: object) -> str:
    return "null" if value is None else type(value).__name__


@lru_cache(maxsize=1024)
def _parsed(kind: str) -> ast.expr:
    return ast.parse(kind, mode="eval").body


def _convert(node: ast.expr, value: object) -> Any:
    if isinstance(node, ast.BinOp):
        try:
            return _convert(node.left, value)
        except _MismatchError:
            return _convert(node.right, value)
    if isinstance(node, ast.Subscript):
        return _convert_generic(_last_name(node.value), node.slice, value)
    if isinstance(node, ast.Constant):  # None
        return _only(value, value is None)
    return _CONVERTERS[_last_name(node)](value)


def _convert_generic(name: str, inside: ast.expr, value: object) -> Any:
    if name == "list":
        items = cast("list[object]", _only(value, isinstance(value, list | tuple)))
        return [_convert(inside, item) for item in items]
    if name == "dict":
        entries = cast("Mapping[str, object]", _only(value, isinstance(value, Mapping)))
        kind = cast("ast.Tuple", inside).elts[1]
        return {json_value(key): _convert(kind, item) for key, item in entries.items()}
    choices = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    for choice in choices:
        literal = ast.literal_eval(choice)
        if literal == value and type(literal) is type(value):
            return value
    raise _MismatchError


def _only(value: object, is_right: bool) -> Any:  # noqa: FBT001 - the condition is the point
    if not is_right:
        raise _MismatchError
    return value


def _float(value: object) -> float:
    number = _only(value, isinstance(value, int | float) and not isinstance(value, bool))
    try:
        return json_value(float(number))
    except OverflowError:
        raise _MismatchError from None


def _date(value: object) -> str:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value.isoformat()
    text = _only(value, isinstance(value, str))
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError:
        raise _MismatchError from None


def _datetime(value: object) -> str:
    if isinstance(value, dt.datetime):
        return json_value(value)
    text = _only(value, isinstance(value, str))
    try:
        return dt.datetime.fromisoformat(text).isoformat()
    except ValueError:
        raise _MismatchError from None


_CONVERTERS: Mapping[str, Callable[[object], Any]] = {
    "Any": json_value,
    "str": lambda value: _only(value, isinstance(value, str)),
    "int": lambda value: _only(value, isinstance(value, int) and not isinstance(value, bool)),
    "bool": lambda value: _only(value, isinstance(value, bool)),
    "float": _float,
    "date": _date,
    "datetime": _datetime,
    "list": lambda value: json_value(_only(value, isinstance(value, list | tuple))),
    "dict": lambda value: json_value(_only(value, isinstance(value, Mapping))),
}
