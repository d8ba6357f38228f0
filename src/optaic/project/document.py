"""YAML as nodes that know their place, read without executing or building anything that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from optaic.domain.scalar import read_scalar
from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError, NotFoundError, ProjectFileError

MAX_BYTES = 4 * 2**20
MAX_NODES = 200_000
"""Values of a file after its aliases are expanded; without a limit, nine lines of aliases make a billion."""
MAX_DEPTH = 50
MAX_BRACKETS = 500
"""`[` and `{` open at once; the parser recurses over them."""

_CORE = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(
    _CORE + name for name in ("null", "bool", "int", "float", "str", "timestamp", "value", "merge")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake, and where it is; line and column from 1."""

    line: int
    column: int
    text: str
    next_step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key of a mapping, and its value."""

    key: yaml.ScalarNode
    value: yaml.Node


class Document:
    """A file as nodes, and the mistakes found in it so far.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    NotFoundError
        If there is no such file.
    ProjectFileError
        If it is too large, not UTF-8, or not YAML.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._count = 0
        self.root = self._compose(self._read())

    def _read(self) -> str:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"there is no file {self.path}", next_step="make a project with: optaic init") from None
        except OSError as error:
            raise ProjectFileError(str(self.path), f"the file cannot be read: {error.strerror}") from None
        if len(content) > MAX_BYTES:
            raise ProjectFileError(str(self.path), f"the file is larger than {MAX_BYTES // 2**20} MiB")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line, column = _place_of(content.decode("latin-1"), error.start)
            raise ProjectFileError(
                str(self.path), "this is not UTF-8 text", line=line, column=column, next_step="save it as UTF-8"
            ) from None

    def _compose(self, text: str) -> yaml.Node | None:
        deepest = _bracket_depth(text)
        if deepest > MAX_BRACKETS:
            raise ProjectFileError(str(self.path), f"brackets are nested more than {MAX_BRACKETS} levels deep")
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        try:
            return yaml.compose(text, Loader=loader)
        except yaml.reader.ReaderError as error:
            line, column = _place_of(text, error.position)
            problem = "this character is not allowed in YAML"
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
            problem = f"this is not valid YAML: {error.problem or error.context}"
        except (yaml.YAMLError, RecursionError) as error:
            line, column, problem = 1, 1, f"this is not valid YAML: {error}"
        raise ProjectFileError(
            str(self.path),
            problem,
            line=line,
            column=column,
            next_step="check the indentation here and on the line before; quote texts with `: ` or special characters",
        )

    def report(self, node: yaml.Node, text: str, next_step: str | None = None) -> None:
        """Note a mistake at a node."""
        line, column = place(node)
        self.report_at(line, column, text, next_step)

    def report_at(self, line: int, column: int, text: str, next_step: str | None = None) -> None:
        """Note a mistake at a place; only the first one there, since others follow from it."""
        if not any((other.line, other.column) == (line, column) for other in self.problems):
            self.problems.append(Problem(line=line, column=column, text=text, next_step=next_step))

    def raise_problems(self) -> None:
        """Raise the first mistake in the order of the file, with the number of the others, if there is any.

        Raises
        ------
        ProjectFileError
            With line and column.
        """
        if not self.problems:
            return
        first, *others = sorted(self.problems, key=lambda problem: (problem.line, problem.column))
        more = ""
        if others:
            noun = "mistake" if len(others) == 1 else "mistakes"
            more = f" (and {len(others)} more {noun}, the next at {others[0].line}:{others[0].column})"
        raise ProjectFileError(
            str(self.path), first.text + more, line=first.line, column=first.column, next_step=first.next_step
        )

    def entries(self, node: yaml.Node, what: str) -> dict[str, Entry]:
        """Give the entries of a mapping by key; keys are text, whatever they look like (`on`, `1`)."""
        if not isinstance(node, yaml.MappingNode) or node.tag != f"{_CORE}map":
            self.report(node, f"{what} must be a mapping of names to values, not {_describe(node)}")
            return {}
        found: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            self._spend(node)
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _SCALAR_TAGS:
                self.report(key, f"a name in {what} must be text, not {_describe(key)}")
            elif key.tag == f"{_CORE}merge":
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    for name, entry in self._merged(source, what, node).items():
                        merged.setdefault(name, entry)
            elif key.value in found:
                line, _ = place(found[key.value].key)
                self.report(key, f"{key.value!r} is there twice in {what}; the first is on line {line}")
            else:
                found[key.value] = Entry(key=key, value=value)
        return {**merged, **found}

    def _merged(self, source: yaml.Node, what: str, node: yaml.Node) -> dict[str, Entry]:
        if source is node or (isinstance(source, yaml.MappingNode) and _has_merge(source)):
            self.report(source, f"`<<` in {what} takes from a mapping that itself has a `<<`")
            return {}
        return self.entries(source, what)

    def fields(self, node: yaml.Node, what: str, known: tuple[str, ...]) -> dict[str, Entry]:
        """Give the entries of a mapping whose keys are fixed; others are mistakes and left out."""
        return self.only(self.entries(node, what), what, known)

    def only(self, found: dict[str, Entry], what: str, known: tuple[str, ...]) -> dict[str, Entry]:
        """Take out entries whose key is not known, as mistakes."""
        for name in [name for name in found if name not in known]:
            entry = found.pop(name)
            self.report(
                entry.key, f"{what} has no field {name!r}{did_you_mean(name, known)}", f"its fields: {', '.join(known)}"
            )
        return found

    def plain(self, node: yaml.Node, depth: int = 0) -> Any:
        """Make JSON values of a node; what cannot be one is a mistake and becomes None."""
        self._spend(node)
        if depth > MAX_DEPTH:
            self.report(node, f"this is nested more than {MAX_DEPTH} levels deep")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
            return [self.plain(item, depth + 1) for item in cast("list[yaml.Node]", node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
            return {key: self.plain(entry.value, depth + 1) for key, entry in self.entries(node, "this").items()}
        self._refuse_tag(node)
        return None

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        is_plain = node.style is None or node.style == ""
        if node.tag not in _SCALAR_TAGS or (not is_plain and node.tag != f"{_CORE}str"):
            self._refuse_tag(node)
            return None
        if not is_plain:
            return node.value
        try:
            return read_scalar(node.value)
        except InvalidInputError as error:
            self.report(node, error.message, error.next_step)
            return None

    def _refuse_tag(self, node: yaml.Node) -> None:
        tag = str(node.tag).replace(_CORE, "!!")
        self.report(node, f"the tag {tag} is not allowed", "take it out: a project file holds plain values only")

    def _spend(self, node: yaml.Node) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            line, column = place(node)
            raise ProjectFileError(
                str(self.path), f"the file has more than {MAX_NODES:,} values", line=line, column=column,
                next_step="use fewer aliases (*name)",
            )  # fmt: skip

    def text(self, entry: Entry | None, what: str) -> str | None:
        """Give a field that must be text; None if it is missing or wrong."""
        value = None if entry is None else self.plain(entry.value)
        if entry is None or isinstance(value, str):
            return value
        self.report(entry.value, f"{what} must be text, not {_describe(entry.value)}", "quote it")
        return None

    def integer(self, entry: Entry | None, what: str, low: int, high: int) -> int | None:
        """Give a field that must be an integer from low to high; None if it is missing or wrong."""
        if entry is None:
            return None
        value = self.plain(entry.value)
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        if is_integer and low <= value <= high:
            return value
        shown = value if is_integer else _describe(entry.value)
        self.report(entry.value, f"{what} must be an integer from {low} to {high}, not {shown}")
        return None

    def texts(self, entry: Entry | None, what: str) -> tuple[str, ...] | None:
        """Give a field that must be a list of text, without repetition; None if it is missing or wrong."""
        if entry is None:
            return None
        if not isinstance(entry.value, yaml.SequenceNode):
            self.report(entry.value, f"{what} must be a list, not {_describe(entry.value)}", "write it as [a, b]")
            return None
        found: list[str] = []
        for item in cast("list[yaml.Node]", entry.value.value):
            value = self.plain(item)
            if not isinstance(value, str) or not value:
                self.report(item, f"{what} must hold texts, not {_describe(item)}", "quote it")
            elif value in found:
                self.report(item, f"{value!r} is there twice in {what}")
            else:
                found.append(value)
        return tuple(found)


def place(node: yaml.Node) -> tuple[int, int]:
    """Give line and column of a node, from 1."""
    return node.start_mark.line + 1, node.start_mark.column + 1


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    text = str(node.value)
    return repr(text if len(text) <= 60 else text[:56] + " ...") if text else "nothing"


def _has_merge(node: yaml.MappingNode) -> bool:
    return any(key.tag == f"{_CORE}merge" for key, _ in cast("list[tuple[yaml.Node, yaml.Node]]", node.value))


def _place_of(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _brackets(text: str) -> Iterator[int]:
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        yield depth


def _bracket_depth(text: str) -> int:
    """Give an upper bound of how deep flow collections are nested; brackets within texts count too."""
    return max(_brackets(text), default=0)
