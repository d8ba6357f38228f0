"""Reads an expression: a grammar of its own, and nothing that it names is ever executed or imported.

::

    or       = and { OR and }
    and      = not { AND not }
    not      = NOT not | compare
    compare  = sum [ ( < | <= | > | >= | == | != ) sum ]
    sum      = product { ( + | - ) product }
    product  = sign { ( * | / ) sign }
    sign     = ( - | + ) sign | power
    power    = atom [ ** sign ]
    atom     = number | 'text' | name | {param} | FUNCTION ( arguments ) | ( or )
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import cast

from optaic.domain.suggestion import did_you_mean
from optaic.errors import ExpressionError
from optaic.quant.expression.check import Argument, bind, expect_condition, expect_number, find_function
from optaic.quant.expression.functions import CATALOGUE
from optaic.quant.expression.lexer import Word, read_words
from optaic.quant.expression.tree import Expression, Kind, Name, Node, Number, Operation, Span, Text, parts

MAX_LENGTH = 10_000
"""Characters of an expression."""

MAX_NODES = 2_000
"""Parts of an expression."""

MAX_DEPTH = 100
"""Levels of an expression: parts within parts."""

_COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!="})
_BINDING = {"OR": 1, "AND": 2, **dict.fromkeys(_COMPARISONS, 4), "+": 5, "-": 5, "*": 6, "/": 6, "**": 8}
_NOT, _SIGN = 3, 7
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = frozenset({"and", "or", "not"})


def parse(
    source: str,
    *,
    params: Mapping[str, object] | None = None,
    names: Iterable[str] | Mapping[str, Kind] | None = None,
    allow_lead: bool = False,
) -> Expression:
    """Read an expression and check all that can be known without data.

    Parameters
    ----------
    source
        The text.
    params
        What its `{placeholders}` stand for: finite numbers, or names of inputs. It is never read as text of an
        expression.
    names
        The inputs that there are; a mapping also says what they hold. Without it any name will do.
    allow_lead
        Whether `LEAD` may be used: in a model's target alone.

    Returns
    -------
    Expression
        The syntax tree, with its text.

    Raises
    ------
    ExpressionError
        At the first place that is wrong, with what is wrong there.

    Examples
    --------
    >>> parse("CS_RANK(close / TS_MEAN(close, {n}))", params={"n": 20}).names
    ('close',)
    """
    if len(source) > MAX_LENGTH:
        problem = f"the expression has {len(source)} characters, and at most {MAX_LENGTH} are read"
        raise ExpressionError(source, problem, start=MAX_LENGTH, end=MAX_LENGTH + 1)
    values = {name: _param(source, name, value) for name, value in (params or {}).items()}
    root = _Parser(source, values, _kinds(names), allow_lead=allow_lead).whole()
    if root.kind is Kind.TEXT:
        raise ExpressionError(source, "the expression gives text, and a number or a condition is needed", start=0)
    return Expression(source=source, params=tuple(sorted(values.items())), root=root, allow_lead=allow_lead)


def _kinds(names: Iterable[str] | Mapping[str, Kind] | None) -> Mapping[str, Kind] | None:
    if names is None:
        return None
    if isinstance(names, Mapping):
        return cast("Mapping[str, Kind]", names)
    return dict.fromkeys(names, Kind.ANY)


def _param(source: str, name: str, value: object) -> float | str:
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        try:
            if isinstance(value, str) or math.isfinite(value):
                return value if isinstance(value, str) else float(value)
        except OverflowError:
            pass
    match = re.search(r"\{ *" + re.escape(name) + r" *\}", source)
    start, end = match.span() if match else (0, 1)
    raise ExpressionError(
        source, f"the param {name} is {str(value)[:40]!r}, and must be a number or a name", start=start, end=end
    )


class _Parser:
    """Reads words from left to right, and binds operators by their strength (Pratt 1973)."""

    def __init__(
        self, source: str, params: Mapping[str, float | str], names: Mapping[str, Kind] | None, *, allow_lead: bool
    ) -> None:
        self._source = source
        self._params = params
        self._names = names
        self._allow_lead = allow_lead
        self._words = list(read_words(source))
        self._next = 0
        self._count = 0
        self._open = 0
        self._heights: dict[int, int] = {}

    def whole(self) -> Node:
        if self._word.kind == "end":
            raise ExpressionError(self._source, "the expression is empty", start=0)
        root = self._expression(0)
        if self._word.kind != "end":
            raise self._unexpected("an operator")
        return root

    @property
    def _word(self) -> Word:
        return self._words[self._next]

    def _step(self) -> Word:
        word = self._word
        self._next += 1
        return word

    def _is_sign(self, *signs: str) -> bool:
        return self._word.kind == "sign" and self._word.text in signs

    def _expression(self, least: int) -> Node:
        self._open += 1
        if self._open > MAX_DEPTH:
            raise self._at(f"the expression is nested more than {MAX_DEPTH} levels deep", self._word)
        left = self._prefix()
        while self._word.kind == "sign" and (strength := _BINDING.get(self._word.text, 0)) > least:
            operator = self._step()
            if operator.text in _COMPARISONS:
                right = self._expression(strength)
                left = self._compare(operator, left, right)
                if self._is_sign(*_COMPARISONS):
                    raise self._at("comparisons do not chain", self._word, "write a < b AND b < c")
            else:
                # A power binds its right side as a sign does: 2 ** -1, and 2 ** 3 ** 2 from the right.
                right = self._expression(_SIGN - 1 if operator.text == "**" else strength)
                left = self._join(operator, left, right)
        self._open -= 1
        return left

    def _prefix(self) -> Node:
        word = self._word
        if self._is_sign("-", "+"):
            self._step()
            operand = self._expression(_SIGN)
            expect_number(self._source, operand)
            if word.text == "+":
                return operand
            return self._operation("-", (operand,), Span(start=word.start, end=operand.span.end), Kind.NUMBER)
        if self._is_sign("NOT"):
            self._step()
            operand = self._expression(_NOT)
            expect_condition(self._source, operand)
            return self._operation("NOT", (operand,), Span(start=word.start, end=operand.span.end), Kind.CONDITION)
        if self._is_sign("("):
            self._step()
            inner = self._expression(0)
            if not self._is_sign(")"):
                raise self._unexpected("`)`", opened=word)
            self._step()
            return inner
        return self._atom()

    def _atom(self) -> Node:
        word = self._word
        span = Span(start=word.start, end=word.end)
        if word.kind == "number":
            self._step()
            value = float(word.text)
            if not math.isfinite(value):
                raise self._at("the number is too large", word)
            return self._made(Number(value=value, span=span))
        if word.kind == "text":
            self._step()
            return self._made(Text(value=word.text, span=span))
        if word.kind == "param":
            self._step()
            return self._made(self._placeholder(word, span))
        if word.kind == "name":
            self._step()
            return self._call(word) if self._is_sign("(") else self._made(self._name(word.text, span))
        raise self._unexpected("a number, a name or a function")

    def _placeholder(self, word: Word, span: Span) -> Node:
        if word.text not in self._params:
            hint = did_you_mean(word.text, self._params)
            raise self._at(f"there is no param {word.text}{hint}", word, f"give it: params: {{{word.text}: ...}}")
        value = self._params[word.text]
        if not isinstance(value, str):
            return Number(value=value, span=span)
        if not _NAME.fullmatch(value):
            raise self._at(f"the param {word.text} is {value[:40]!r}, and must be a number or a name", word)
        return self._name(value, span)

    def _name(self, name: str, span: Span) -> Name:
        if self._names is None:
            if name in CATALOGUE:
                raise self._function_without_arguments(name, span)
            return Name(name=name, span=span)
        if name not in self._names:
            if name in CATALOGUE:
                raise self._function_without_arguments(name, span)
            problem = f"unknown name {name}{did_you_mean(name, self._names)}"
            known = ", ".join(sorted(self._names)[:12]) or "none"
            raise ExpressionError(
                self._source, problem, start=span.start, end=span.end, next_step=f"the inputs are: {known}"
            )
        return Name(name=name, span=span, kind=self._names[name])

    def _function_without_arguments(self, name: str, span: Span) -> ExpressionError:
        problem = f"{name} is a function: write {CATALOGUE[name].usage}"
        return ExpressionError(self._source, problem, start=span.start, end=span.end)

    def _call(self, name: Word) -> Node:
        name_span = Span(start=name.start, end=name.end)
        function = find_function(self._source, name.text, name_span, allow_lead=self._allow_lead)
        opened = self._step()
        arguments: list[Argument] = []
        while not self._is_sign(")"):
            if arguments:
                if not self._is_sign(","):
                    raise self._unexpected("`,` or `)`", opened=opened)
                self._step()
            arguments.append(self._argument())
        end = self._step().end
        return self._made(bind(self._source, function, Span(start=name.start, end=end), name_span, arguments))

    def _argument(self) -> Argument:
        word, following = self._word, self._words[min(self._next + 1, len(self._words) - 1)]
        if word.kind == "name" and following.kind == "sign" and following.text == "=":
            self._step()
            self._step()
            span = Span(start=word.start, end=word.end)
            return Argument(node=self._expression(0), name=word.text, name_span=span)
        return Argument(node=self._expression(0))

    def _compare(self, operator: Word, left: Node, right: Node) -> Node:
        kinds = {left.kind, right.kind}
        if Kind.TEXT in kinds:
            if kinds - {Kind.TEXT, Kind.ANY}:
                raise self._compared_with_text(operator, left, right)
            if operator.text not in {"==", "!="}:
                raise self._at("text is equal or not, but not less or more", operator, "write == or !=")
        return self._binary(operator, left, right, Kind.CONDITION)

    def _compared_with_text(self, operator: Word, left: Node, right: Node) -> ExpressionError:
        """Say which of two sides is text and which is none, and what either can be compared with."""
        texts = [side for side in (left, right) if side.kind is Kind.TEXT]
        others = [side for side in (left, right) if side.kind is not Kind.TEXT]
        text, other = (self._source[side.span.start : side.span.end] for side in (*texts, *others))
        what = "a condition" if others[0].kind is Kind.CONDITION else "a number"
        steps = [] if text.startswith(("'", '"')) else [f"{text} == 'Energy'"]
        steps += ["leave out the comparison"] if what == "a condition" else [f"{other} {operator.text} 10"]
        return self._at(
            f"text is compared with text, and {other} is {what}", operator, f"for example: {', or '.join(steps)}"
        )

    def _join(self, operator: Word, left: Node, right: Node) -> Node:
        if operator.text in {"AND", "OR"}:
            expect_condition(self._source, left)
            expect_condition(self._source, right)
            return self._binary(operator, left, right, Kind.CONDITION)
        expect_number(self._source, left)
        expect_number(self._source, right)
        return self._binary(operator, left, right, Kind.NUMBER)

    def _binary(self, operator: Word, left: Node, right: Node, kind: Kind) -> Node:
        span = Span(start=left.span.start, end=right.span.end)
        return self._operation(operator.text, (left, right), span, kind)

    def _operation(self, operator: str, operands: tuple[Node, ...], span: Span, kind: Kind) -> Node:
        return self._made(Operation(operator=operator, operands=operands, span=span, kind=kind))

    def _made(self, node: Node) -> Node:
        """Count a part, and how deep it is: a long chain of operators is as deep as it is long."""
        self._count += 1
        height = 1 + max((self._heights[id(part)] for part in parts(node)), default=0)
        self._heights[id(node)] = height
        if self._count > MAX_NODES or height > MAX_DEPTH:
            limit = f"{MAX_NODES} parts" if self._count > MAX_NODES else f"{MAX_DEPTH} levels"
            raise ExpressionError(
                self._source,
                f"the expression has more than {limit}",
                start=node.span.start,
                end=node.span.start + 1,
                next_step="make a dataset of a part of it, and read that",
            )
        return node

    def _at(self, problem: str, word: Word, next_step: str | None = None) -> ExpressionError:
        return ExpressionError(self._source, problem, start=word.start, end=word.end, next_step=next_step)

    def _unexpected(self, wanted: str, *, opened: Word | None = None) -> ExpressionError:
        word = self._word
        if word.kind == "end":
            more = f", to close the `(` at character {opened.start + 1}" if opened else ""
            return self._at(f"the expression ends where {wanted} is needed{more}", word)
        step = None
        if word.text in _WORDS:
            step = f"write {word.text.upper()}"
        elif word.text == "=":
            step = "write == to compare"
        shown = {"param": f"{{{word.text}}}", "text": f"'{word.text}'"}.get(word.kind, word.text)
        return self._at(f"{shown} stands where {wanted} is needed", word, step)
