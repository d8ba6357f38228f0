"""How far back, and how far ahead, an expression looks."""

from __future__ import annotations

from optaic.quant.expression.functions import CATALOGUE
from optaic.quant.expression.signature import Shape
from optaic.quant.expression.tree import Call, Expression, Node, parts


def lookback(expression: Expression) -> int | None:
    """Give how many sessions of input the value of a session needs, itself included.

    Returns
    -------
    int or None
        1 if it needs today alone; None if it needs all from the first session on, so that a refresh recomputes it from
        the start.

    Examples
    --------
    >>> from optaic.quant.expression.parse import parse
    >>> lookback(parse("TS_MEAN(TS_RETURN(close, 1), 20)"))
    21
    >>> lookback(parse("TS_EMA(close, 12)")) is None
    True
    """
    return _lookback(expression.root)


def _lookback(node: Node) -> int | None:
    below = [_lookback(part) for part in parts(node)]
    if None in below:
        return None
    most = max((found for found in below if found is not None), default=1)
    if not isinstance(node, Call) or CATALOGUE[node.function].shape is not Shape.TIME:
        return most
    function = CATALOGUE[node.function]
    if function.full_history:
        return None
    if function.looks_ahead:
        return most
    if node.function == "TS_FFILL":
        return most + node.count("limit")
    if node.function in {"TS_REF", "TS_DELTA", "TS_RETURN"}:
        return most + node.count("n")
    return most + node.count("n") - 1


def lookahead(expression: Expression) -> int:
    """Give how many later sessions the value of a session may need; 0 outside a model's target.

    Examples
    --------
    >>> from optaic.quant.expression.parse import parse
    >>> lookahead(parse("LEAD(close, 5) / close - 1", allow_lead=True))
    5
    """
    return _lookahead(expression.root)


def _lookahead(node: Node) -> int:
    most = max((_lookahead(part) for part in parts(node)), default=0)
    return most + node.count("n") if isinstance(node, Call) and CATALOGUE[node.function].looks_ahead else most
