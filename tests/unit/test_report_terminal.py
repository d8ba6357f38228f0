"""Charts in a terminal: they fit, lose no peak, and keep to the characters that the terminal has."""

from __future__ import annotations

import datetime as dt
import math
import re
from unicodedata import east_asian_width

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optaic.errors import InvalidInputError
from optaic.report.series import Series, read_series
from optaic.report.terminal import draw_lines


def line(values: list[float] | np.ndarray, label: str = "fund", *, is_quiet: bool = False) -> Series:
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=at) for at in range(len(values))]
    frame = pl.DataFrame({"date": days, "value": values}, schema={"date": pl.Date, "value": pl.Float64})
    return read_series(frame, "value", label=label, is_quiet=is_quiet)


def cells(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


@settings(deadline=None)
@given(
    st.lists(st.floats(), max_size=60),
    st.integers(24, 120),
    st.integers(4, 20),
    st.sampled_from(["utf-8", "ascii", "latin-1", "no such"]),
    st.text(max_size=30),
)
def test_a_chart_has_its_height_and_fits_the_width(
    values: list[float], width: int, height: int, encoding: str, label: str
) -> None:
    series = [line(values, label), line(values[::-1], "index", is_quiet=True)]
    for drawn in (series, series[:1]):
        chart = draw_lines(drawn, width, height, unit="money", is_log=len(drawn) == 1, encoding=encoding)
        rows = chart.split("\n")
        if chart == "(no data)":
            assert not any(math.isfinite(value) and abs(value) < 1e300 for value in values)
            continue
        assert len(rows) == height
        assert max(map(cells, rows)) <= width
        assert chart.isascii() or encoding == "utf-8"
        assert "\x1b" not in chart


def test_a_rising_line_is_drawn_from_the_lower_left_to_the_upper_right() -> None:
    chart = draw_lines([line([0.0, 1.0, 2.0, 3.0, 4.0])], 24, 6, encoding="ascii")
    assert chart.split("\n") == [
        "4 +                  ***",
        "  |             *****",
        "2 +        *****",
        "  |   *****",
        "0 +***",
        "   1 Jan 2020 4 Jan 2020",
    ]


def test_braille_has_eight_dots_in_each_character() -> None:
    chart = draw_lines([line([0.0, 1.0])], 24, 5)
    dots = sum((ord(letter) - 0x2800).bit_count() for letter in chart if 0x2800 <= ord(letter) < 0x2900)
    assert dots == 2 * (24 - len("1.0 ┤")), "one in each of the columns, of which a character has two"


def test_a_gap_stays_empty() -> None:
    chart = draw_lines([line([1.0, 1.0, math.nan, math.nan, math.nan, 1.0, 1.0])], 40, 4, encoding="ascii")
    (drawn,) = [row for row in chart.split("\n") if "*" in row]
    assert re.search(r"\*+ {10,}\*+$", drawn)


def test_a_single_crash_among_thousands_of_sessions_is_seen() -> None:
    values = np.full(8000, 1.0)
    values[4001] = 0.2
    chart = draw_lines([line(values)], 60, 10, encoding="ascii", includes_zero=True)
    bottom = [row for row in chart.split("\n") if row.startswith("0.2")]
    assert len(bottom) == 1
    assert "*" in bottom[0]


def test_drawdowns_are_percentages_and_dates_are_below() -> None:
    chart = draw_lines([line(np.linspace(0, -0.5, 1200))], 80, 8, unit="fraction")
    assert "\u221240%" in chart
    assert "0%" in chart
    assert re.search(r"2021 +2022 +2023", chart.split("\n")[-1])


def test_ascii_has_no_other_minus() -> None:
    chart = draw_lines([line([0.0, -0.5])], 40, 8, unit="fraction", encoding="ascii")
    assert "-40%" in chart


def test_the_legend_tells_lines_apart_also_without_colour() -> None:
    series = [line([1.0, 2.0]), line([1.5, 1.5], "index", is_quiet=True)]
    assert draw_lines(series, 40, 6).split("\n")[-1].split() == ["─", "fund", "┄", "index"]
    assert draw_lines(series, 40, 6, encoding="ascii").split("\n")[-1].split() == ["*", "fund", ".", "index"]


def test_colour_is_written_only_when_asked_and_changes_nothing_else() -> None:
    series = [line([1.0, 2.0]), line([1.5, 1.5], "index", is_quiet=True)]
    coloured = draw_lines(series, 40, 6, has_colour=True)
    assert "\x1b[36m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == draw_lines(series, 40, 6)


def test_a_label_cannot_command_the_terminal() -> None:
    chart = draw_lines([line([1.0, 2.0], "a\x1b[2Jb\n"), line([1.0, 2.0])], 60, 6)
    assert "\x1b" not in chart
    assert len(chart.split("\n")) == 6


@pytest.mark.parametrize(("width", "height"), [(23, 10), (80, 3)])
def test_too_little_room_is_refused(width: int, height: int) -> None:
    with pytest.raises(InvalidInputError, match="has no room"):
        draw_lines([line([1.0])], width, height)
