"""Charts for a terminal: lines in Braille dots, or in plain characters where the terminal has no Unicode."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from unicodedata import east_asian_width

import numpy as np
from numpy.typing import NDArray

from optaic.errors import InvalidInputError
from optaic.report.number import MINUS
from optaic.report.scale import Axis, AxisUnit, date_ticks, make_axis
from optaic.report.series import Series, thin

LEAST_WIDTH, LEAST_HEIGHT = 24, 4
"""Below it there is no room for a line beside its labels."""

_COLOURS = (36, 33, 35, 32, 34)
_QUIET_COLOUR = 90
_MARKS = "*o+x#"
_QUIET_MARK = "."
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a Braille cell: four rows of two."""

_LEAST_OF_A_LOGARITHM = 1e-290


def draw_lines(
    series: Sequence[Series],
    width: int = 80,
    height: int = 10,
    *,
    unit: AxisUnit = "ratio",
    is_log: bool = False,
    includes_zero: bool = False,
    encoding: str = "utf-8",
    has_colour: bool = False,
) -> str:
    """Draw lines over dates as text.

    Parameters
    ----------
    series
        The lines. Quiet ones stand behind the others, and are dotted. Control characters in their labels are left out.
    width
        At most how many columns, at least 24.
    height
        How many lines, at least 4: the drawing, the dates below it, and a legend where there are several series.
    unit
        How values are written.
    is_log
        Equal distances for equal ratios. With a value at or below zero the chart is linear instead.
    includes_zero
        Whether the axis reaches to zero.
    encoding
        What the terminal takes; where it has no Braille, or is not known, the drawing is ASCII.
    has_colour
        Whether ANSI colours are written, a series each.

    Returns
    -------
    str
        `height` lines without a newline at the end, no trailing blanks. Without a value: `(no data)`, in one line.

    Raises
    ------
    InvalidInputError
        If there is less room than that.

    Notes
    -----
    A line joins a value to the next, across the sessions between them; a gap (NaN) interrupts it. No peak is lost: of
    each column the least and the greatest value are drawn.
    """
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        raise InvalidInputError(
            f"a chart of {width} columns and {height} lines has no room",
            next_step=f"give it at least {LEAST_WIDTH} columns and {LEAST_HEIGHT} lines",
        )
    is_ascii = not _can_write(encoding)
    finite = [one.values[np.isfinite(one.values)] for one in series]
    values = np.concatenate([*finite, np.empty(0)])
    if values.size == 0:
        return "(no data)"
    low, high = float(values.min()), float(values.max())
    logarithmic = is_log and low > _LEAST_OF_A_LOGARITHM
    if includes_zero and not logarithmic:
        low, high = min(low, 0.0), max(high, 0.0)
    has_legend = len(series) > 1
    rows = height - 1 - has_legend
    axis = make_axis(low, high, unit=unit, is_log=logarithmic, count=max(2, rows // 2))
    days = np.concatenate([one.days for one in series])
    first, last = int(days.min()), int(days.max())

    names = _axis_names(axis, rows)
    margin = max(len(name) for name in names)
    columns = width - margin - 2
    canvas = _Canvas(columns, rows, is_ascii=is_ascii)
    styles = _styles(series)
    for at in sorted(range(len(series)), key=lambda at: not series[at].is_quiet):
        _trace(canvas, series[at], axis, (first, last), styles[at])
    edge = "|" if is_ascii else "│"
    tick = "+" if is_ascii else "┤"
    lines = [
        f"{name:>{margin}} {tick if name else edge}{drawn}"
        for name, drawn in zip(names, canvas.rows(has_colour=has_colour), strict=True)
    ]
    lines.append(" " * (margin + 2) + _dates(first, last, columns))
    if has_legend:
        lines.append(_legend(series, styles, width, margin, is_ascii=is_ascii, has_colour=has_colour))
    whole = "\n".join(line.rstrip() for line in lines)
    return whole.replace(MINUS, "-") if is_ascii else whole


class _Canvas:
    """Dots, two by four to a character (or one, in ASCII), and which series each character belongs to."""

    def __init__(self, columns: int, rows: int, *, is_ascii: bool) -> None:
        self.is_ascii = is_ascii
        self.across, self.down = (1, 1) if is_ascii else (2, 4)
        self.cells = np.zeros((rows, columns), dtype=np.int32)
        self.owners: NDArray[np.int32] = np.zeros((rows, columns), dtype=np.int32)
        self.width, self.height = columns * self.across, rows * self.down

    def dot(self, x: int, y: int, mark: str, colour: int) -> None:
        row, column = y // self.down, x // self.across
        if self.is_ascii:
            self.cells[row, column] = ord(mark)
        else:
            self.cells[row, column] |= _DOTS[y % 4][x % 2]
        self.owners[row, column] = colour

    def rows(self, *, has_colour: bool) -> list[str]:
        base = 0 if self.is_ascii else _BRAILLE
        lines: list[str] = []
        for cells, owners in zip(self.cells.tolist(), self.owners.tolist(), strict=True):
            parts: list[str] = []
            for cell, owner in zip(cells, owners, strict=True):
                drawn = chr(base + cell) if cell else " "
                parts.append(_paint(drawn, owner) if has_colour and cell else drawn)
            lines.append("".join(parts))
        return lines


def _trace(canvas: _Canvas, series: Series, axis: Axis, days: tuple[int, int], style: tuple[str, int]) -> None:
    first, last = days
    span = max(last - first, 1)
    for piece in thin(series, canvas.width):
        at = np.log(piece.values) if axis.is_log else piece.values
        share = (at - axis.low) / (axis.high - axis.low)
        ys = np.clip(np.rint((1 - share) * (canvas.height - 1)), 0, canvas.height - 1).astype(int).tolist()
        xs = ((piece.days - first) * (canvas.width - 1) // span).tolist()
        points = list(zip(xs, ys, strict=True))
        if len(points) == 1:
            canvas.dot(*points[0], *style)
        for (x0, y0), (x1, y1) in pairwise(points):
            steps = max(abs(x1 - x0), abs(y1 - y0), 1)
            for step in range(steps + 1):
                x, y = x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps)
                if not series.is_quiet or canvas.is_ascii or x % 3 == 0:
                    canvas.dot(x, y, *style)


def _styles(series: Sequence[Series]) -> list[tuple[str, int]]:
    """Give each series its ASCII mark and its colour."""
    styles: list[tuple[str, int]] = []
    loud = 0
    for one in series:
        if one.is_quiet:
            styles.append((_QUIET_MARK, _QUIET_COLOUR))
            continue
        styles.append((_MARKS[loud % len(_MARKS)], _COLOURS[loud % len(_COLOURS)]))
        loud += 1
    return styles


def _axis_names(axis: Axis, rows: int) -> list[str]:
    """Give what is written before each row: the label of the tick that is nearest, empty for most rows."""
    names = [""] * rows
    for tick, label in zip(axis.ticks, axis.labels, strict=True):
        row = round((1 - axis.place(tick)) * (rows - 1))
        if not names[row]:
            names[row] = label
    return names


def _dates(first: int, last: int, columns: int) -> str:
    line = [" "] * columns
    free = 0
    for day, label in date_ticks(first, last, count=max(1, columns // 9)):
        start = min((day - first) * (columns - 1) // max(last - first, 1), columns - len(label))
        if start >= free:
            line[start : start + len(label)] = label
            free = start + len(label) + 1
    return "".join(line)


def _legend(
    series: Sequence[Series],
    styles: Sequence[tuple[str, int]],
    width: int,
    margin: int,
    *,
    is_ascii: bool,
    has_colour: bool,
) -> str:
    room = width - margin - 2
    parts: list[str] = []
    for one, (mark, colour) in zip(series, styles, strict=True):
        sign = mark if is_ascii else "┄" if one.is_quiet else "─"
        label = "".join(letter if letter.isprintable() else "?" for letter in one.label)
        label = _cut(label.encode("ascii", "replace").decode() if is_ascii else label, room - 2)
        if room < 3:
            break
        room -= _cells(label) + 4
        parts.append(f"{_paint(sign, colour) if has_colour else sign} {label}")
    return " " * (margin + 2) + "  ".join(parts)


def _can_write(encoding: str) -> bool:
    try:
        f"{chr(_BRAILLE + 0xFF)}│┤─┄".encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def _cells(label: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in label)


def _cut(label: str, room: int) -> str:
    while label and _cells(label) > room:
        label = label[:-1]
    return label


def _paint(drawn: str, colour: int) -> str:
    return f"\x1b[{colour}m{drawn}\x1b[0m"
