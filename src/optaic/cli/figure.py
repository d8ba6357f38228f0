"""Metrics of a run as a person reads them: in their units, and a Sharpe ratio never without its standard error."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from optaic.cli import render
from optaic.cli.render import Heading

if TYPE_CHECKING:
    from optaic.handle import RunHandle

_MANY = 16
"""More metrics than this stand in two columns, where there is room."""

_TWO_COLUMNS = 84
"""Characters that two columns need."""


def print_metrics(run: RunHandle) -> None:
    """Print the metrics of a run, if it has any."""
    rows = _rows(run)
    if not rows:
        return
    render.say()
    headings = [Heading(name="metric"), Heading(name="value", is_number=True)]
    if len(rows) > _MANY and shutil.get_terminal_size((80, 24)).columns >= _TWO_COLUMNS:
        half = (len(rows) + 1) // 2
        right = [*rows[half:], *([["", ""]] * (2 * half - len(rows)))]
        render.print_table([*headings, *headings], [[*one, *other] for one, other in zip(rows, right, strict=False)])
    else:
        render.print_table(headings, rows)


def _rows(run: RunHandle) -> list[list[str]]:
    from optaic.domain.kind import RunType
    from optaic.domain.metric import STANDARD_METRICS

    units = {metric.name: metric.unit.value for metric in STANDARD_METRICS.get(RunType(run.type), ())}
    rows: list[list[str]] = []
    for name, value in run.metrics.items():
        error = run.metrics.get(f"{name}_standard_error")
        text = _text(value, units.get(name, ""))
        if isinstance(error, int | float):
            text += f" ± {_text(error, units.get(name, ''))}"
        if not (name.endswith("_standard_error") and name.removesuffix("_standard_error") in run.metrics):
            rows.append([name, text])
    return rows


def _text(value: Any, unit: str) -> str:
    if unit == "fraction" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{100 * value:,.4g} %"
    return render.number(value)
