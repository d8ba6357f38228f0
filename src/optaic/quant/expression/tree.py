"""The syntax tree of an expression: immutable, equal where the meaning is equal, with the place of each part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What the cells of a part hold."""

    NUMBER = "number"
    """Float64 cells."""
    CONDITION = "condition"
    """True, false or null."""
    TEXT = "text"
    """Names of groups."""
    ANY = "any"
    """Not known before the inputs are: a name, or what is made of names alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a part stands in the text: offsets, the end excluded."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A constant.

    Attributes
    ----------
    value
        Finite.
    span
        Where it stands. Two parts are equal wherever they stand.
    """

    value: float
    span: Span = field(compare=False)

    @property
    def kind(self) -> Kind:
        """A number."""
        return Kind.NUMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A constant text in quotes, to compare groups with."""

    value: str
    span: Span = field(compare=False)

    @property
    def kind(self) -> Kind:
        """A text."""
        return Kind.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """An input."""

    name: str
    span: Span = field(compare=False)
    kind: Kind = field(default=Kind.ANY, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operator with its one or two operands; `-` with one is the negation."""

    operator: str
    operands: tuple[Node, ...]
    span: Span = field(compare=False)
    kind: Kind = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function of the catalogue with its arguments, checked and in the order of its parameters.

    Attributes
    ----------
    function
        Its name.
    operands
        Arguments that have cells. A variadic parameter has several.
    settings
        Constant arguments (windows and the like), by name; those left out are absent.
    group
        The group, if the function has one and it was given.
    """

    function: str
    operands: tuple[Node, ...]
    settings: tuple[tuple[str, float], ...] = ()
    group: Node | None = None
    span: Span = field(compare=False)
    kind: Kind = field(compare=False)

    def setting(self, name: str, default: float | None = None) -> float | None:
        """Give a constant argument, or `default` if it was left out."""
        return dict(self.settings).get(name, default)

    def count(self, name: str) -> int:
        """Give a constant argument that is a whole number and was not left out.

        Raises
        ------
        KeyError
            If it was left out.
        """
        return int(dict(self.settings)[name])


Node = Number | Text | Name | Operation | Call


def parts(node: Node) -> tuple[Node, ...]:
    """Give what a part is made of, its group included."""
    if isinstance(node, Operation):
        return node.operands
    if isinstance(node, Call):
        return node.operands if node.group is None else (*node.operands, node.group)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """Give a part and all that it is made of, itself first."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(reversed(parts(part)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A parsed expression.

    Attributes
    ----------
    source
        The text as it was written.
    params
        What its placeholders stood for, sorted by name.
    root
        Its syntax tree.
    allow_lead
        Whether it may look ahead, as the target of a model.
    """

    source: str
    params: tuple[tuple[str, float | str], ...]
    root: Node
    allow_lead: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs that it reads, sorted."""
        return tuple(sorted({part.name for part in walk(self.root) if isinstance(part, Name)}))
