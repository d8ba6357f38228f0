"""Charts: whatever the values, every coordinate is a number inside the drawing, and no peak is lost."""

from __future__ import annotations

import datetime as dt
import math
import re
from itertools import pairwise
from typing import get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optaic.errors import InvalidInputError
from optaic.report.bar import bar_chart
from optaic.report.chart import HEIGHT, Band, area_chart, column_chart, line_chart
from optaic.report.scale import AxisUnit
from optaic.report.series import Series, read_series, thin
from tests.documents import Document, read_document

FIRST = dt.date(2020, 1, 1)

ANY_VALUES = st.one_of(
    st.lists(st.floats(width=64), max_size=40),
    st.lists(st.floats(-1.0, 1.0) | st.just(math.nan), max_size=40),
    st.lists(st.floats(0.1, 1e9), max_size=40),
    st.floats(allow_nan=False).map(lambda value: [value] * 3),
)


def series(values: list[float] | np.ndarray, *, label: str = "line", step: int = 1) -> Series:
    days = [FIRST + dt.timedelta(days=step * at) for at in range(len(values))]
    frame = pl.DataFrame({"date": days, "value": values}, schema={"date": pl.Date, "value": pl.Float64})
    return read_series(frame, "value", label=label)


def numbers(html: str) -> list[tuple[float, float]]:
    """Give the points of all paths."""
    paths = [value for name, value in read_document(html).attributes if name == "d"]
    for path in paths:
        assert re.fullmatch(r"(?:[ML]\d+ [\d.]+|h0|V[\d.]+|Z)*", path), path
    return [(float(x), float(y)) for path in paths for x, y in re.findall(r"[ML](\S+?) ([\d.]+)", path)]


@settings(deadline=None)
@given(ANY_VALUES, st.booleans(), st.sampled_from(get_args(AxisUnit)))
def test_every_coordinate_lies_inside_the_drawing(values: list[float], is_log: bool, unit: AxisUnit) -> None:
    line = series(values)
    band = Band(low=series([v - 1 for v in values]), high=series([v + 1 for v in values]), label="band")
    drawn = [
        line_chart("a", "A", [line], unit=unit, is_log=is_log),
        line_chart("b", "B", [line], unit=unit, is_log=is_log, band=band),
        area_chart("c", "C", line, unit=unit),
        column_chart("d", "D", line, unit=unit),
    ]
    for html in drawn:
        attributes = read_document(html).attributes
        assert not [value for _, value in attributes if re.search(r"(?<![a-z])(?:nan|inf)", value)]
        for x, y in numbers(html):
            assert 0 <= x <= max(len(values) - 1, 1)
            assert 0 <= y <= HEIGHT
    has_value = any(math.isfinite(value) and abs(value) < 1e300 for value in values)
    assert [("No data." in html) for html in drawn[2:]] == [not has_value] * 2


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=300), st.integers(1, 20))
def test_thinning_keeps_the_peaks_the_ends_and_the_gaps(values: list[float], buckets: int) -> None:
    line = series(values)
    pieces = thin(line, buckets)
    kept = [(int(day), float(value)) for piece in pieces for day, value in zip(piece.days, piece.values, strict=True)]
    there = [(int(d), float(v)) for d, v in zip(line.days, line.values, strict=True) if math.isfinite(v)]
    assert set(kept) <= set(there)
    assert kept == sorted(kept)
    assert len(kept) <= 4 * buckets or len(there) <= 2 * buckets
    if there:
        assert {kept[0], kept[-1]} == {there[0], there[-1]}
        assert min(v for _, v in kept) == min(v for _, v in there)
        assert max(v for _, v in kept) == max(v for _, v in there)
    for one, following in pairwise(pieces):
        between = (line.days > one.days[-1]) & (line.days < following.days[0])
        assert np.isnan(line.values[between]).any(), "a line is only interrupted by a gap"


def test_a_gap_interrupts_the_line_and_a_lone_value_is_a_dot() -> None:
    html = line_chart("a", "A", [series([1.0, 2.0, math.nan, 1.5, math.nan])], unit="ratio")
    (path,) = [value for name, value in read_document(html).attributes if name == "d"]
    assert path == "M0 1000L1 0M3 500h0"


def test_heights_are_shares_of_the_axis() -> None:
    html = line_chart("a", "A", [series([0.0, 50.0, 100.0])], unit="ratio")
    assert numbers(html) == [(0, 1000), (1, 500), (2, 0)]


def test_equal_ratios_are_equal_distances_on_a_log_scale() -> None:
    html = line_chart("a", "A", [series([1.0, 10.0, 100.0])], unit="ratio", is_log=True)
    heights = [y for _, y in numbers(html)]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.11)
    assert "log scale" in read_document(html).text


def test_a_value_at_zero_makes_the_scale_linear_and_the_chart_says_so() -> None:
    html = line_chart("a", "A", [series([1.0, 0.0])], unit="ratio", is_log=True)
    assert "linear scale, since" in read_document(html).text


def test_a_drawdown_hangs_from_zero() -> None:
    html = area_chart("a", "A", series([0.0, -0.2, -0.1]), unit="fraction")
    area = next(value for name, value in read_document(html).attributes if name == "d")
    assert area == "M0 0L0 0L1 1000L2 500L2 0Z"
    assert [label for label in ("0%", "\u221210%", "\u221220%") if f">{label}<" in html]


def test_a_band_reaches_from_its_low_to_its_high_edge_and_has_the_gaps_of_both() -> None:
    low, high = series([0.0, 0.0, math.nan, 0.0]), series([50.0, 100.0, 100.0, 100.0])
    html = line_chart("a", "A", [series([25.0] * 4)], unit="ratio", band=Band(low=low, high=high, label="band"))
    band = next(value for name, value in read_document(html).attributes if name == "d")
    assert band == "M0 500L1 0L1 1000L0 1000ZM3 0L3 1000Z"


def test_no_peak_of_a_long_line_lies_outside_its_band() -> None:
    values = np.cumsum(np.random.default_rng(3).normal(size=8000))
    band = Band(low=series(values - 1.0), high=series(values + 1.0), label="band")
    paths = [
        v
        for n, v in read_document(line_chart("a", "A", [series(values)], unit="ratio", band=band)).attributes
        if n == "d"
    ]
    shaded, line = ([(int(x), float(y)) for x, y in re.findall(r"[ML](\d+) ([\d.]+)", path)] for path in paths)
    assert min(y for _, y in shaded) < min(y for _, y in line) < max(y for _, y in line) < max(y for _, y in shaded)
    assert len(paths[0]) < 80_000


def test_columns_stand_on_zero() -> None:
    html = column_chart("a", "A", series([0.1, 0.2]), unit="fraction")
    (path,) = [value for name, value in read_document(html).attributes if name == "d"]
    assert path == "M0 500V1000M1 0V1000"


def test_years_are_written_where_they_begin() -> None:
    html = line_chart("a", "A", [series([1.0, 2.0, 3.0, 4.0], step=366)], unit="ratio")
    years = re.findall(r'<text x="([\d.]+)%"[^>]*>(\d{4})</text>', html)
    span = 3 * 366
    expected = [(year, 100 * (dt.date(year, 1, 1) - FIRST).days / span) for year in (2020, 2021, 2022, 2023)]
    assert [(int(year), float(x)) for x, year in years] == [(year, pytest.approx(x, abs=0.01)) for year, x in expected]


def test_a_chart_of_thirty_years_of_sessions_is_small() -> None:
    walk = np.cumsum(np.random.default_rng(1).normal(size=8313))
    assert len(line_chart("a", "A", [series(walk)], unit="ratio")) < 40_000
    assert len(column_chart("a", "A", series(np.abs(walk)), unit="ratio")) < 40_000


def test_chart_tells_those_who_do_not_see_it_what_it_shows() -> None:
    html = line_chart("equity", "Equity", [series([1e6, 3e6, 2e6], label="fund")], unit="money")
    page = read_document(html)
    attributes = dict(page.attributes)
    assert attributes["role"] == "img"
    assert attributes["aria-labelledby"] == "equity-title equity-desc"
    assert page.hidden["title"] == ["Equity"]
    assert page.hidden["desc"] == [
        "From 2020-01-01 to 2020-01-03. fund: first 1.00M, last 2.00M, lowest 1.00M, highest 3.00M."
    ]


def test_the_quiet_line_stands_behind_and_the_legend_names_all() -> None:
    quiet = Series(label="index", days=series([1.0, 2.0]).days, values=np.array([1.0, 2.0]), is_quiet=True)
    page = read_document(line_chart("a", "A", [series([2.0, 1.0], label="fund"), quiet], unit="ratio"))
    drawn = [value for name, value in page.attributes if name == "data-label"]
    assert drawn == ["index", "fund"]
    assert "fundindex" in page.text.replace("\n", "").replace(" ", "")


def test_labels_are_escaped() -> None:
    hostile = '<script>"x'
    line = series([1.0, 2.0], label=hostile)
    charts = [
        line_chart("a", hostile, [line, line], unit="ratio", note=hostile),
        area_chart("b", hostile, line, unit="ratio"),
        column_chart("c", hostile, line, unit="ratio"),
        bar_chart("d", hostile, [hostile], [0.5], unit="fraction"),
    ]
    assert not [html for html in charts if "<script" in html]


def test_bars_are_as_long_as_their_values_on_both_sides_of_zero() -> None:
    page = read_document(bar_chart("w", "Weights", ["AAPL", "MSFT", "XOM"], [0.3, -0.1, math.nan], unit="fraction"))
    bars = _rectangles(page)
    assert [(x, width) for x, width in bars] == [("25.00%", "75.00%"), ("0.00%", "25.00%"), ("25.00%", "0.00%")]
    for written in ("AAPL", "30.00%", "\u221210.00%", "\u2013"):
        assert written in page.raw


def _rectangles(page: Document) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for (name, x), (following, width) in zip(page.attributes, page.attributes[2:], strict=False):
        if name == "x" and following == "width":
            found.append((x, width))
    return found


def test_bars_without_names_are_no_data_and_too_few_values_a_mistake() -> None:
    assert "No data." in bar_chart("w", "Weights", [], [], unit="fraction")
    with pytest.raises(ValueError, match="shorter"):
        bar_chart("w", "Weights", ["A", "B"], [1.0], unit="fraction")


def test_a_frame_may_be_unsorted_have_instants_and_integers() -> None:
    frame = pl.DataFrame(
        {
            "date": [dt.datetime(2020, 1, 3, 21, tzinfo=dt.UTC), None, dt.datetime(2020, 1, 2, 21, tzinfo=dt.UTC)],
            "value": [3, 9, 2],
        }
    )
    line = read_series(frame, "value", label="x")
    assert line.days.tolist() == [18263, 18264]
    assert line.values.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pl.DataFrame({"date": [FIRST]}), "no column value: it has date"),
        (pl.DataFrame({"value": [1.0]}), "no column date"),
        (pl.DataFrame({"date": ["2020-01-01"], "value": [1.0]}), "wrong type: date String"),
        (pl.DataFrame({"date": [FIRST], "value": ["1"]}), "wrong type.*value String"),
    ],
)
def test_a_frame_that_cannot_be_drawn_is_refused_by_what_is_wrong(frame: pl.DataFrame, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read_series(frame, "value", label="x")


def test_a_date_beyond_the_calendar_is_refused() -> None:
    far = pl.DataFrame({"date": [4_000_000], "value": [1.0]}).with_columns(pl.col("date").cast(pl.Int32).cast(pl.Date))
    with pytest.raises(InvalidInputError, match="outside the years"):
        read_series(far, "value", label="x")
