"""Metrics of a run as a person reads them: in their units, and a Sharpe ratio never without its standard error."""

from __future__ import annotations

import shutil
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from optaic.cli import render
from optaic.cli.render import Heading

if TYPE_CHECKING:
    from optaic.handle import RunHandle

_MANY = 16
"""More metrics than this stand in two columns, where there is room."""

_ERROR = "_standard_error"

_SENTENCE = 32
"""A value with more characters stands below the table."""

_RESIDUAL = "residual_"
"""How the names of the residuals of single constraints begin; their unit is that of the worst of them."""

_NOISE = 1e-9
"""A fraction below this is what rounding leaves of nothing."""

_TWO_COLUMNS = 84
"""Characters that two columns need."""


def print_metrics(run: RunHandle) -> None:
    """Print the metrics of a run, if it has any."""
    rows = _rows(run)
    if not rows:
        return
    # A sentence among numbers would take the room of all of them.
    sentences = [row for row in rows if len(row[1]) > _SENTENCE]
    rows = [row for row in rows if len(row[1]) <= _SENTENCE]
    render.say()
    headings = [Heading(name="metric"), Heading(name="value", is_number=True)]
    if len(rows) > _MANY and shutil.get_terminal_size((80, 24)).columns >= _TWO_COLUMNS:
        half = (len(rows) + 1) // 2
        right = [*rows[half:], *([["", ""]] * (2 * half - len(rows)))]
        render.print_table([*headings, *headings], [[*one, *other] for one, other in zip(rows, right, strict=False)])
    else:
        render.print_table(headings, rows)
    for name, text in sentences:
        render.say_fact(f"{name}  ", text)


def _rows(run: RunHandle) -> list[list[str]]:
    units = units_of((run.type, run.metrics))
    return [[name, write_metric(name, run.metrics, units)] for name in run.metrics if not is_beside(name, run.metrics)]


def units_of(*runs: tuple[str, Mapping[str, Any]]) -> dict[str, str]:
    """Give the units of the standard metrics of some runs, by name.

    Parameters
    ----------
    *runs
        The type and the metrics of each. Returns that were logged as such have the metrics of a backtest, in its units.
    """
    from optaic.domain.kind import RunType
    from optaic.domain.metric import STANDARD_METRICS

    kinds = [RunType(kind) for kind, _ in runs]
    # Only what measures returns writes this text: a person logs numbers.
    if any(isinstance(metrics.get("risk_free"), str) for _, metrics in runs):
        kinds = [RunType.BACKTEST, *kinds]
    return {one.name: one.unit.value for kind in kinds for one in STANDARD_METRICS.get(kind, ())}


def is_beside(name: str, metrics: Container[str]) -> bool:
    """Whether a metric is the standard error of another one, which it is told with."""
    return name.endswith(_ERROR) and name.removesuffix(_ERROR) in metrics


def write_metric(name: str, metrics: Mapping[str, Any], units: Mapping[str, str]) -> str:
    """Write a metric in its unit, with its standard error if there is one."""
    unit = units.get("constraint_residual" if name.startswith(_RESIDUAL) else name, "")
    error = metrics.get(f"{name}{_ERROR}")
    text = _text(metrics.get(name), unit)
    return f"{text} ± {_text(error, unit)}" if isinstance(error, int | float) else text


def _text(value: Any, unit: str) -> str:
    if unit == "fraction" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{0 if abs(value) < _NOISE else 100 * value:,.4g} %"
    return render.number(value)
