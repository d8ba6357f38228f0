"""Checks a call against the catalogue: arguments, windows, kinds. Each error points at the part that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from optaic.domain.suggestion import did_you_mean
from optaic.errors import ExpressionError
from optaic.quant.expression.functions import CATALOGUE
from optaic.quant.expression.signature import CONSTANTS, Function, Parameter, Role
from optaic.quant.expression.tree import Call, Kind, Node, Number, Operation, Span, Text

MAX_WINDOW = 10_000
"""Sessions: about 40 years."""

_ELSEWHERE = {
    "DELAY": "TS_REF",
    "LAG": "TS_REF",
    "SHIFT": "TS_REF",
    "STDDEV": "TS_STD",
    "CORRELATION": "TS_CORR",
    "COVARIANCE": "TS_COV",
    "WMA": "TS_DECAY",
    "LN": "LOG",
    "IIF": "IF",
    "WHERE": "IF",
    "FILLNA": "COALESCE",
    "ISNULL": "IS_NULL",
    "ISNAN": "IS_NULL",
    "INDNEUTRALIZE": "GROUP_DEMEAN",
    "QCUT": "CS_BUCKET",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An argument as it was written: its value, and the name that it was given by, if any, with the name's place."""

    node: Node
    name: str | None = None
    name_span: Span | None = None


@dataclass(slots=True)
class _Bound:
    operands: list[Node] = field(default_factory=list[Node])
    settings: dict[str, float] = field(default_factory=dict[str, float])
    group: Node | None = None


def find_function(source: str, name: str, span: Span, *, allow_lead: bool) -> Function:
    """Give the function of a name.

    Raises
    ------
    ExpressionError
        If there is none, with what may have been meant; or if it looks ahead, outside a model's target.
    """
    function = CATALOGUE.get(name)
    if function is None:
        raise _error(
            source, f"unknown function {name}{_meant(name)}", span, "list the functions with: optaic functions"
        )
    if function.looks_ahead and not allow_lead:
        raise _error(
            source,
            f"{name} looks ahead, so it parses only in a model's target",
            span,
            "use TS_REF for the value n sessions ago",
        )
    return function


def _meant(name: str) -> str:
    upper = name.upper()
    family = [known for known in CATALOGUE if known.partition("_")[2] == upper and known.startswith(("TS_", "CS_"))]
    family += [known for known in CATALOGUE if known == f"GROUP_{upper}"]
    if family:
        family.sort(key=lambda known: not known.startswith("CS_"))
        return f"; did you mean {' or '.join(family)}?"
    if upper in _ELSEWHERE:
        return f"; did you mean {_ELSEWHERE[upper]}?"
    return did_you_mean(name, CATALOGUE)


def bind(source: str, function: Function, span: Span, name_span: Span, arguments: Sequence[Argument]) -> Call:
    """Check the arguments of a call, and put them in the order of the parameters.

    Parameters
    ----------
    source
        The expression, for messages.
    function
        What is called.
    span, name_span
        The places of the call and of the function's name.
    arguments
        As they were written.

    Returns
    -------
    Call
        The call, with constants as numbers.

    Raises
    ------
    ExpressionError
        If there are too many arguments or too few, one is given twice, under an unknown name or of the wrong kind, or a
        constant is none, or is out of its range.
    """
    given = _assign(source, function, arguments)
    bound = _Bound()
    for parameter in function.parameters:
        nodes = given.get(parameter.name, [])
        if not nodes and parameter.required and not (parameter.variadic and bound.operands):
            raise _error(source, f"{function.usage}: {parameter.name} is missing", name_span)
        for node in nodes:
            _take(source, function, parameter, node, bound)
        if not nodes and parameter.default is not None:
            bound.settings[parameter.name] = parameter.default
    _check_together(source, function, given, bound, name_span)
    return Call(
        function=function.name,
        operands=tuple(bound.operands),
        settings=tuple(sorted(bound.settings.items())),
        group=bound.group,
        span=span,
        kind=_result(source, function, bound.operands),
    )


def _assign(source: str, function: Function, arguments: Sequence[Argument]) -> dict[str, list[Node]]:
    parameters = {parameter.name: parameter for parameter in function.parameters}
    places = [parameter for parameter in function.parameters if not parameter.keyword_only]
    given: dict[str, list[Node]] = {}
    named = False
    for argument in arguments:
        if argument.name is None:
            if named:
                problem = f"{function.usage}: arguments without a name come first"
                raise _error(source, problem, argument.node.span)
            if not places or (places[0].role is Role.GROUP and not places[0].required):
                problem = f"{function.usage}: one argument too many"
                raise _error(source, problem, argument.node.span)
            parameter = places[0] if places[0].variadic else places.pop(0)
            given.setdefault(parameter.name, []).append(argument.node)
            continue
        named = True
        span = argument.name_span or argument.node.span
        if argument.name not in parameters or parameters[argument.name].variadic:
            names = [name for name, parameter in parameters.items() if not parameter.variadic]
            hint = did_you_mean(argument.name, names)
            raise _error(source, f"{function.usage} has no argument {argument.name}{hint}", span)
        if argument.name in given:
            raise _error(source, f"{function.usage}: {argument.name} is given twice", span)
        given[argument.name] = [argument.node]
        places = [parameter for parameter in places if parameter.name != argument.name]
    return given


def _take(source: str, function: Function, parameter: Parameter, node: Node, bound: _Bound) -> None:
    if parameter.role in CONSTANTS:
        bound.settings[parameter.name] = _constant(source, function, parameter, node)
    elif parameter.role is Role.GROUP:
        bound.group = node
    else:
        if parameter.role is Role.SERIES:
            expect_number(source, node)
        elif parameter.role is Role.CONDITION:
            expect_condition(source, node)
        bound.operands.append(node)


def expect_number(source: str, node: Node) -> None:
    """Refuse text where numbers are needed.

    Raises
    ------
    ExpressionError
        If the part holds text.
    """
    if node.kind is Kind.TEXT:
        raise _error(source, "this is text, and a number is needed", node.span, "compare text: sector == 'Energy'")


def expect_condition(source: str, node: Node) -> None:
    """Refuse what is neither true nor false.

    Raises
    ------
    ExpressionError
        If the part holds numbers or text.
    """
    if node.kind in {Kind.NUMBER, Kind.TEXT}:
        problem = f"this is a {node.kind}, and a condition is needed"
        raise _error(source, problem, node.span, "compare it: volume > 0")


def constant(node: Node) -> float | None:
    """Give the value of a part that is made of numbers and + - * / alone; None for others, and where it is not finite.

    Examples
    --------
    >>> constant(Number(value=5.0, span=Span(start=0, end=1)))
    5.0
    """
    if isinstance(node, Number):
        return node.value
    if not isinstance(node, Operation) or node.operator not in {"+", "-", "*", "/"}:
        return None
    values = [constant(operand) for operand in node.operands]
    first, last = values[0], values[-1]
    if first is None or last is None:
        return None
    if len(values) == 1:
        return -first
    if node.operator == "/":
        found = first / last if last else float("inf")
    else:
        found = {"+": first + last, "-": first - last, "*": first * last}[node.operator]
    return found if abs(found) < float("inf") else None


def _constant(source: str, function: Function, parameter: Parameter, node: Node) -> float:
    value = constant(node)
    name = function.name
    asked = f"the window {parameter.name} of {name}" if parameter.role is Role.WINDOW else f"{parameter.name} of {name}"
    if value is None:
        what = "a text" if isinstance(node, Text) else "something else"
        wanted = "a whole number" if parameter.role in {Role.WINDOW, Role.PERIODS, Role.BUCKETS} else "a number"
        problem = f"{asked} is {wanted} that is the same everywhere, and this is {what}"
        raise _error(source, problem, node.span, f"write {function.usage} with a number or a placeholder: {{n}}")
    shown = f"{value:g}"
    if parameter.role in {Role.WINDOW, Role.PERIODS, Role.BUCKETS}:
        if value != int(value):
            raise _error(source, f"{asked} is {shown}, and must be a whole number", node.span)
        least = {Role.WINDOW: 1, Role.PERIODS: 1, Role.BUCKETS: 2}[parameter.role]
        if value < least:
            step = "LEAD looks ahead, and parses only in a model's target" if name == "TS_REF" and value < 0 else None
            counts = "counts sessions back, and " if parameter.role is Role.WINDOW else ""
            raise _error(source, f"{asked} is {shown}; it {counts}must be {least} or more", node.span, step)
        if value > MAX_WINDOW:
            raise _error(source, f"{asked} is {shown}; the most is {MAX_WINDOW}", node.span)
        if parameter.role is Role.WINDOW and value < function.least:
            raise _error(source, f"{name} needs {function.least} cells, and its window is {shown}", node.span)
    elif parameter.role is Role.FRACTION and not 0 <= value <= 1:
        raise _error(source, f"{asked} is {shown}, and must be from 0 to 1", node.span)
    elif parameter.role is Role.TAIL and not 0 < value < 0.5:
        step = f"write mads={shown} for so many median absolute deviations" if value >= 1 else None
        problem = f"{asked} is {shown}, and must be above 0 and below 0.5"
        raise _error(source, problem, node.span, step)
    elif parameter.role is Role.POSITIVE and not value > 0:
        raise _error(source, f"{asked} is {shown}, and must be above 0", node.span)
    return value


def _check_together(
    source: str, function: Function, given: dict[str, list[Node]], bound: _Bound, name_span: Span
) -> None:
    periods = bound.settings.get("min_periods")
    if periods is not None:
        place = given["min_periods"][0].span
        if periods > bound.settings["n"]:
            raise _error(source, f"min_periods is {periods:g}, more than the window of {bound.settings['n']:g}", place)
        if periods < function.least:
            raise _error(source, f"{function.name} needs {function.least} cells, min_periods is {periods:g}", place)
    if function.name == "CS_WINSORIZE" and len(bound.settings) != 1:
        step = "write CS_WINSORIZE(x, quantile=0.01) or CS_WINSORIZE(x, mads=3)"
        raise _error(source, "CS_WINSORIZE takes either quantile or mads", name_span, step)
    if function.name == "CS_NEUTRALIZE" and len(bound.operands) == 1 and bound.group is None:
        step = "write CS_NEUTRALIZE(x, beta, group=sector), or CS_DEMEAN(x)"
        raise _error(source, "CS_NEUTRALIZE needs an exposure or a group", name_span, step)


def _result(source: str, function: Function, operands: Sequence[Node]) -> Kind:
    if function.gives is not Kind.ANY:
        return function.gives
    return common_kind(source, operands[1:] if function.name == "IF" else operands)


def common_kind(source: str, nodes: Sequence[Node]) -> Kind:
    """Give the kind of what holds one of several parts: numbers if some are conditions and some numbers.

    Raises
    ------
    ExpressionError
        If some hold text and others do not.
    """
    kinds = {node.kind for node in nodes} - {Kind.ANY}
    if Kind.TEXT in kinds and len(kinds) > 1:
        other = next(node for node in nodes if node.kind is not nodes[0].kind)
        raise _error(source, f"this is a {other.kind}, and what stands before it is a {nodes[0].kind}", other.span)
    if not kinds:
        return Kind.ANY
    return kinds.pop() if len(kinds) == 1 else Kind.NUMBER


def _error(source: str, problem: str, span: Span, next_step: str | None = None) -> ExpressionError:
    return ExpressionError(source, problem, start=span.start, end=span.end, next_step=next_step)
