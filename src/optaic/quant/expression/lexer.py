"""The words of an expression, with their places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from optaic.errors import ExpressionError

_WORD = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<param>\{[ ]*[A-Za-z_][A-Za-z0-9_]*[ ]*\})
      | (?P<text>'[^'\n]*'|"[^"\n]*")
      | (?P<sign>\*\*|<=|>=|==|!=|[-+*/<>(),=])""",
    re.VERBOSE,
)
_KEYWORDS = frozenset({"AND", "OR", "NOT"})
_INSTEAD = {
    "&": "write AND",
    "|": "write OR",
    "!": "write NOT, or != to compare",
    "~": "write NOT",
    "^": "write ** for powers",
    "%": "write fractions: 0.05 for 5 %",
    "?": "write IF(condition, then, otherwise)",
    "[": "write functions: TS_REF(x, 5) for the value 5 sessions ago",
    "{": "a placeholder is a name in braces: {n}",
    "'": "a text ends with the quote that it begins with, on the same line",
    '"': "a text ends with the quote that it begins with, on the same line",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word.

    Attributes
    ----------
    kind
        `number`, `name`, `param`, `text`, `sign` (which AND, OR and NOT are too) or `end`.
    text
        As it is written; of a placeholder its name, of a text what stands between the quotes.
    start, end
        Its offsets.
    """

    kind: str
    text: str
    start: int
    end: int


def read_words(source: str) -> Iterator[Word]:
    """Give the words of an expression in order, and at last one of kind `end`.

    Raises
    ------
    ExpressionError
        At a mark that no expression has.
    """
    place = 0
    while place < len(source):
        match = _WORD.match(source, place)
        if match is None:
            mark = source[place]
            raise ExpressionError(source, f"{mark!r} has no meaning here", start=place, next_step=_INSTEAD.get(mark))
        kind, text = str(match.lastgroup), match[0]
        place = match.end()
        if kind == "space":
            continue
        if kind == "name" and text in _KEYWORDS:
            kind = "sign"
        elif kind == "param":
            text = text[1:-1].strip()
        elif kind == "text":
            text = text[1:-1]
        yield Word(kind=kind, text=text, start=match.start(), end=place)
    yield Word(kind="end", text="", start=len(source.rstrip()), end=len(source.rstrip()) + 1)
