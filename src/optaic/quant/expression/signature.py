"""What the catalogue says of a function: its parameters, what it looks at, when its result is null."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from optaic.quant.expression.tree import Kind


class Shape(StrEnum):
    """Along what a function looks."""

    ELEMENT = "element"
    """Each cell by itself."""
    TIME = "time"
    """The sessions of one symbol."""
    CROSS_SECTION = "cross-section"
    """The symbols of one session."""
    GROUP = "group"
    """The symbols of one session that are of one group."""


class Role(StrEnum):
    """What a parameter takes."""

    SERIES = "series"
    """Cells: numbers, or conditions as 1 and 0."""
    CONDITION = "condition"
    """Cells that are true or false."""
    VALUE = "value"
    """Cells of any kind."""
    GROUP = "group"
    """Cells of any kind; those that are equal are one group."""
    WINDOW = "window"
    """A constant number of sessions, 1 or more."""
    PERIODS = "periods"
    """A constant: how many cells of the window must exist."""
    BUCKETS = "buckets"
    """A constant number, 2 or more."""
    FRACTION = "fraction"
    """A constant from 0 to 1."""
    TAIL = "tail"
    """A constant above 0 and below 0.5."""
    POSITIVE = "positive"
    """A constant above 0."""


_ROLES = {
    "condition": Role.CONDITION,
    "value": Role.VALUE,
    "then": Role.VALUE,
    "otherwise": Role.VALUE,
    "values": Role.VALUE,
    "exposures": Role.VALUE,
    "group": Role.GROUP,
    "n": Role.WINDOW,
    "limit": Role.WINDOW,
    "min_periods": Role.PERIODS,
    "buckets": Role.BUCKETS,
    "q": Role.FRACTION,
    "quantile": Role.TAIL,
    "mads": Role.POSITIVE,
}

CONSTANTS = frozenset({Role.WINDOW, Role.PERIODS, Role.BUCKETS, Role.FRACTION, Role.TAIL, Role.POSITIVE})
"""Roles that take a constant, not cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a function.

    Attributes
    ----------
    name, role
        What it is called, and what it takes.
    required
        Whether it must be given.
    variadic
        Whether it takes all positional arguments that are left.
    keyword_only
        Whether it must be given by name.
    default
        The constant that is taken when it is left out, if there is one.
    """

    name: str
    role: Role
    required: bool = True
    variadic: bool = False
    keyword_only: bool = False
    default: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function of the catalogue.

    Attributes
    ----------
    name
        As it is written, in capitals.
    shape
        Along what it looks.
    signature
        Its parameters as text: `name=` may be left out, `name=1` has a default, `*name` takes several, and what follows
        a lone `*` is given by name.
    meaning
        One sentence.
    nulls
        When its result is null.
    window
        Which sessions it looks at; empty unless it looks along time.
    example
        An expression that runs on the inputs `open high low close volume sector`.
    full_history
        Whether it needs all sessions from the first on: a refresh recomputes it from the start.
    looks_ahead
        Whether it looks at later sessions: only a model's target may.
    least
        The least number of cells that it can be computed from, thus the smallest window.
    gives
        The kind of its result; `ANY` for that of its arguments.
    """

    name: str
    shape: Shape
    signature: str
    meaning: str
    nulls: str
    window: str = ""
    example: str
    full_history: bool = False
    looks_ahead: bool = False
    least: int = 1
    gives: Kind = Kind.NUMBER

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The signature, read."""
        found: list[Parameter] = []
        by_name = False
        for part in self.signature.split(", "):
            if part == "*":
                by_name = True
                continue
            name, equals, default = part.lstrip("*").partition("=")
            found.append(
                Parameter(
                    name=name,
                    role=_ROLES.get(name, Role.SERIES),
                    required=not equals,
                    variadic=part.startswith("*"),
                    keyword_only=by_name,
                    default=float(default) if default else None,
                )
            )
        return tuple(found)

    @property
    def usage(self) -> str:
        """How it is called: `TS_MEAN(x, n, min_periods=)`."""
        return f"{self.name}({self.signature.replace('*, ', '')})"
