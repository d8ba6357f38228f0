"""The expression language: parsed by a grammar of its own, checked, and compiled to lazy Polars."""

from optaic.quant.expression.compile import evaluate
from optaic.quant.expression.functions import CATALOGUE
from optaic.quant.expression.grid import known_column, to_grid
from optaic.quant.expression.history import lookahead, lookback
from optaic.quant.expression.parse import parse
from optaic.quant.expression.signature import Function, Shape
from optaic.quant.expression.tree import Expression, Kind

__all__ = [
    "CATALOGUE",
    "Expression",
    "Function",
    "Kind",
    "Shape",
    "evaluate",
    "known_column",
    "lookahead",
    "lookback",
    "parse",
    "to_grid",
]
