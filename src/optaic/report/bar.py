"""Bars with names: the weights of a portfolio, the drift of features."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optaic.report.canvas import Plot, write_empty, write_figure, write_percent, write_svg
from optaic.report.markup import Html, element
from optaic.report.number import format_value

_ROW_PX = 24
_LIMIT = 1e300
_MAX_LABEL = 14


def bar_chart(
    name: str, title: str, labels: Sequence[str], values: Sequence[float], *, unit: str, note: str = ""
) -> Html:
    """Draw a horizontal bar for each name: the weights of a portfolio.

    Parameters
    ----------
    name, title, note
        As for `Plot`.
    labels
        The names, from the top.
    values
        Their lengths, as many; what is not finite has no bar and is written as unknown.
    unit
        How values are written, as `format_value` names it.

    Returns
    -------
    Html
        A `figure`. Without names it says that there are no data.

    Raises
    ------
    ValueError
        If there are not as many values as labels.
    """
    plot = Plot(name=name, title=title, height_px=_ROW_PX * len(labels), note=note)
    if not labels:
        return write_empty(plot)
    finite = [value if math.isfinite(value) and abs(value) < _LIMIT else 0.0 for value in values]
    low, high = min(0.0, *finite), max(0.0, *finite)
    span = (high - low) or 1.0
    zero = -low / span
    rows: list[Html] = []
    for at, (label, value, length) in enumerate(zip(labels, values, finite, strict=True)):
        middle = _ROW_PX * at + 16
        bar = element(
            "rect",
            x=write_percent(zero + min(length, 0.0) / span),
            y=_ROW_PX * at + 4,
            width=write_percent(abs(length) / span),
            height=16,
            rx=2,
            class_="bar below" if length < 0 else "bar",
        )
        rows += [
            bar,
            element("text", _shorten(label), x=-76, y=middle, class_="tick end"),
            element("text", format_value(value, unit), x=-8, y=middle, class_="tick end"),
        ]
    rows.append(element("line", x1=write_percent(zero), x2=write_percent(zero), y1=0, y2=plot.height_px, class_="base"))
    told = ", ".join(f"{label} {format_value(value, unit)}" for label, value in zip(labels, values, strict=True))
    drawing = write_svg(plot, f"{title}: {told}.", rows)
    return write_figure(plot, element("div", drawing, class_="plot named"))


def _shorten(label: str) -> str:
    return label if len(label) <= _MAX_LABEL else label[: _MAX_LABEL - 1] + "…"
