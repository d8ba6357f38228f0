"""Charts over dates as inline SVG: lines, areas and columns.

The drawing fills whatever width it is given: paths are stretched to it, while text and strokes keep their size. Paths
count days horizontally, and tenths of a thousandth of the axis vertically, so the page's script can read the values
back from them; nothing is stored twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optaic.report.canvas import Plot, write_empty, write_figure, write_key, write_percent, write_svg
from optaic.report.markup import Html, element
from optaic.report.number import format_percent, format_short
from optaic.report.scale import EPOCH, Axis, AxisUnit, date_ticks, make_axis
from optaic.report.series import Series, thin

HEIGHT = 1000
"""Height of the drawing that paths are written in."""

_BUCKETS = 500
_COLUMNS = 400
_COLOURS = 5
_LEAST_OF_A_LOGARITHM = 1e-290


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """A shaded range around a line: one standard error to both sides.

    Attributes
    ----------
    low, high
        Its edges; gaps where either has one.
    label
        What it is called in the legend.
    """

    low: Series
    high: Series
    label: str


def line_chart(
    name: str,
    title: str,
    series: Sequence[Series],
    *,
    unit: AxisUnit,
    is_log: bool = False,
    includes_zero: bool = False,
    band: Band | None = None,
    note: str = "",
    height_px: int = 240,
) -> Html:
    """Draw one or several lines over dates.

    Parameters
    ----------
    name
        Letters, digits and hyphens, once on a page: ids are made from it.
    title
        What is shown.
    series
        The lines, the first in the strongest colour; of the quiet ones, all in the same grey.
    unit
        How values are written.
    is_log
        Equal distances for equal ratios. With a value at or below zero the chart is linear instead, and says so.
    includes_zero
        Whether the axis reaches to zero.
    band
        A shaded range behind the lines.
    note
        A sentence below the title.
    height_px
        Height of the drawing on the page.

    Returns
    -------
    Html
        A `figure`. Without a single value it says that there are no data.
    """
    plot = Plot(name=name, title=title, height_px=height_px, note=note)
    drawn = [*series, *((band.low, band.high) if band else ())]
    extent = _extent(drawn)
    if extent is None:
        return write_empty(plot)
    first, last, low, high = extent
    logarithmic = is_log and low > _LEAST_OF_A_LOGARITHM
    if is_log:
        scale = "log scale" if logarithmic else "linear scale, since values at or below zero have no logarithm"
        plot = replace(plot, note=f"{note} ({scale})" if note else scale)
    if includes_zero and not logarithmic:
        low, high = min(low, 0.0), max(high, 0.0)
    axis = make_axis(low, high, unit=unit, is_log=logarithmic)
    behind = [] if band is None else [_band_path(band, axis, first)]
    before: list[Html] = []
    keys = [] if band is None else [write_key(band.label, "band")]
    for one in series:
        colour = "quiet" if one.is_quiet else f"c{min(len(before) + 1, _COLOURS)}"
        (behind if one.is_quiet else before).append(_line_path(one, axis, first, f"series {colour}"))
        keys.append(write_key(one.label, colour))
    shown = keys if len(keys) > 1 else []
    return _draw(plot, unit, axis, (first, last), shapes=[*behind, *before], keys=shown, series=drawn)


def area_chart(name: str, title: str, series: Series, *, unit: AxisUnit, note: str = "", height_px: int = 150) -> Html:
    """Draw a line and the area between it and zero: a drawdown, seen as under water.

    Parameters
    ----------
    name, title, unit, note, height_px
        As for `line_chart`.
    series
        The line.

    Returns
    -------
    Html
        A `figure`. Without a single value it says that there are no data.
    """
    plot = Plot(name=name, title=title, height_px=height_px, note=note)
    extent = _extent([series])
    if extent is None:
        return write_empty(plot)
    first, last, low, high = extent
    axis = make_axis(min(low, 0.0), max(high, 0.0), unit=unit, count=4)
    zero = _height(axis, np.zeros(1))[0]
    areas = "".join(
        f"M{piece.days[0] - first} {zero:g}L{_points(piece, axis, first)}L{piece.days[-1] - first} {zero:g}Z"
        for piece in thin(series, _BUCKETS)
    )
    shapes = [element("path", class_="area", d=areas), _line_path(series, axis, first, "series loss")]
    return _draw(plot, unit, axis, (first, last), shapes=shapes, series=[series])


def column_chart(
    name: str, title: str, series: Series, *, unit: AxisUnit, note: str = "", height_px: int = 150
) -> Html:
    """Draw a thin column from zero at each date: turnover at each rebalance.

    Parameters
    ----------
    name, title, unit, note, height_px
        As for `line_chart`.
    series
        The heights. Where columns would be closer than the screen can show, the highest and the lowest of a few are
        drawn.

    Returns
    -------
    Html
        A `figure`. Without a single value it says that there are no data.
    """
    plot = Plot(name=name, title=title, height_px=height_px, note=note)
    extent = _extent([series])
    if extent is None:
        return write_empty(plot)
    first, last, low, high = extent
    axis = make_axis(min(low, 0.0), max(high, 0.0), unit=unit, count=4)
    zero = _height(axis, np.zeros(1))[0]
    columns = "".join(
        f"M{day - first} {height:g}V{zero:g}"
        for piece in thin(series, _COLUMNS)
        for day, height in zip(piece.days.tolist(), _height(axis, piece.values).tolist(), strict=True)
    )
    shapes = [_path(columns, "series column c1", series.label)]
    return _draw(plot, unit, axis, (first, last), shapes=shapes, series=[series])


def _extent(series: Sequence[Series]) -> tuple[int, int, float, float] | None:
    """Give the first and last day that has a row, and the least and greatest value."""
    values = np.concatenate([one.values[np.isfinite(one.values)] for one in series] or [np.empty(0)])
    if values.size == 0:
        return None
    days = np.concatenate([one.days for one in series])
    return int(days.min()), int(days.max()), float(values.min()), float(values.max())


def _height(axis: Axis, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give distances from the top, in tenths."""
    at = np.log(values) if axis.is_log else values
    return np.round(HEIGHT * (1.0 - (at - axis.low) / (axis.high - axis.low)), 1) + 0.0


def _points(piece: Series, axis: Axis, first: int) -> str:
    heights = _height(axis, piece.values).tolist()
    return "L".join(f"{day} {height:g}" for day, height in zip((piece.days - first).tolist(), heights, strict=True))


def _line_path(series: Series, axis: Axis, first: int, style: str) -> Html:
    # A piece of one point is a stroke without length, which round ends make a dot.
    pieces = (
        f"M{_points(piece, axis, first)}" + ("h0" if piece.days.size == 1 else "") for piece in thin(series, _BUCKETS)
    )
    return _path("".join(pieces), style, series.label)


def _path(points: str, style: str, label: str) -> Html:
    return element("path", class_=style, data_label=label, d=points)


def _band_path(band: Band, axis: Axis, first: int) -> Html:
    both = np.isfinite(band.low.values) & np.isfinite(band.high.values)
    edges: list[str] = []
    for run in np.split(np.arange(both.size), np.flatnonzero(np.diff(both)) + 1):
        if run.size == 0 or not both[run[0]]:
            continue
        # Thinned like the lines, so that no peak of a line is left outside.
        buckets = max(1, _BUCKETS * run.size // both.size)
        (there,), (back,) = (
            thin(Series(label="", days=edge.days[run], values=edge.values[run]), buckets)
            for edge in (band.high, band.low)
        )
        back = Series(label="", days=back.days[::-1], values=back.values[::-1])
        edges.append(f"M{_points(there, axis, first)}L{_points(back, axis, first)}Z")
    return element("path", class_="band", d="".join(edges))


def _draw(
    plot: Plot,
    unit: AxisUnit,
    axis: Axis,
    days: tuple[int, int],
    *,
    shapes: Sequence[Html],
    keys: Sequence[Html] = (),
    series: Sequence[Series],
) -> Html:
    first, last = days
    span = max(last - first, 1)
    height = plot.height_px
    lines: list[Html] = []
    for tick, label in zip(axis.ticks, axis.labels, strict=True):
        y = f"{height * (1 - axis.place(tick)):.1f}"
        is_zero = tick == 0 and not axis.is_log
        lines.append(element("line", x1=0, x2="100%", y1=y, y2=y, class_="base" if is_zero else "grid"))
        lines.append(element("text", label, x=-8, y=y, dy="0.32em", class_="tick end"))
    for day, label in date_ticks(first, last):
        x = write_percent((day - first) / span)
        lines.append(element("line", x1=x, x2=x, y1=height, y2=height + 4, class_="base"))
        lines.append(element("text", label, x=x, y=height + 18, class_="tick middle"))
    drawing = element(
        "svg",
        *shapes,
        viewBox=f"0 0 {span} {HEIGHT}",
        preserveAspectRatio="none",
        width="100%",
        height=height,
        class_="shapes",
    )
    told = _tell(unit, axis, days, series)
    box = element(
        "div",
        write_svg(plot, told, [*lines, drawing]),
        class_="plot",
        data_first=first,
        data_span=span,
        data_low=repr(axis.low),
        data_high=repr(axis.high),
        data_log="1" if axis.is_log else None,
        data_unit=unit,
    )
    return write_figure(plot, box, keys=keys)


def _tell(unit: AxisUnit, axis: Axis, days: tuple[int, int], series: Sequence[Series]) -> str:
    first, last = (str(EPOCH + dt.timedelta(days=day)) for day in days)
    said = [f"From {first} to {last}{', log scale' if axis.is_log else ''}."]
    for one in series:
        values = one.values[np.isfinite(one.values)]
        if values.size and one.label:
            start, end, low, high = (
                _write(float(v), unit) for v in (values[0], values[-1], values.min(), values.max())
            )
            said.append(f"{one.label}: first {start}, last {end}, lowest {low}, highest {high}.")
    return " ".join(said)


def _write(value: float, unit: AxisUnit) -> str:
    if unit == "fraction":
        return format_percent(value, 1)
    return format_short(value, 10.0 ** (np.floor(np.log10(abs(value))) - 2) if abs(value) >= 1000 else 0.01)
