"""Axes: round numbers that enclose the values, and dates where years begin."""

from __future__ import annotations

import datetime as dt
import doctest
import importlib
import pkgutil
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import optaic.report
from optaic.report.number import format_short
from optaic.report.scale import EPOCH, date_ticks, make_axis


def day(year: int, month: int = 1, of_month: int = 1) -> int:
    return (dt.date(year, month, of_month) - EPOCH).days


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_a_linear_axis_encloses_the_values_with_a_few_round_ticks(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    axis = make_axis(low, high, unit="ratio")
    slack = 1e-6 * (axis.high - axis.low)
    assert axis.low - slack <= low
    assert high <= axis.high + slack
    assert 3 <= len(axis.ticks) <= 8
    assert axis.ticks[0] == axis.low
    assert axis.ticks[-1] == axis.high
    steps = [after - before for before, after in pairwise(axis.ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)


@given(st.floats(1e-4, 1e12), st.floats(1e-4, 1e12))
def test_a_log_axis_encloses_the_values_and_its_ticks_lie_inside(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    axis = make_axis(low, high, unit="money", is_log=True)
    places = [axis.place(tick) for tick in axis.ticks]
    assert 2 <= len(places) <= 12
    assert places == sorted(places)
    assert places[0] >= -1e-9
    assert places[-1] <= 1 + 1e-9
    assert 0 <= axis.place(low) <= axis.place(high) <= 1
    assert len(set(axis.labels)) == len(axis.labels), "no two ticks are written alike"


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (-0.487, 0.0, ("\u221250%", "\u221240%", "\u221230%", "\u221220%", "\u221210%", "0%")),
        (0.0, 0.021, ("0.0%", "0.5%", "1.0%", "1.5%", "2.0%", "2.5%")),
    ],
)
def test_percentages_have_as_many_decimals_as_their_steps_need(
    low: float, high: float, labels: tuple[str, ...]
) -> None:
    assert make_axis(low, high, unit="fraction").labels == labels


def test_money_is_written_short() -> None:
    assert make_axis(1e7, 2e9, unit="money", is_log=True).labels == ("10M", "30M", "100M", "300M", "1B")
    assert format_short(-2_500, 500) == "\u22122.5k"


def test_a_constant_has_an_axis_around_it() -> None:
    for value in (0.0, 5.0, -3e9, 1e-300):
        axis = make_axis(value, value, unit="ratio")
        assert axis.low < value < axis.high


@given(st.integers(-700_000, 2_900_000), st.integers(0, 40_000))
def test_dates_are_few_in_order_and_inside(first: int, span: int) -> None:
    last = min(first + span, 2_932_896)
    ticks = date_ticks(first, last)
    days = [at for at, _ in ticks]
    assert 1 <= len(days) <= 7
    assert days == sorted(set(days))
    assert first <= days[0]
    assert days[-1] <= last


def test_long_charts_have_years_short_ones_months_and_the_shortest_days() -> None:
    assert [label for _, label in date_ticks(day(1990), day(2022, 12, 28))] == [
        "1990", "1995", "2000", "2005", "2010", "2015", "2020",
    ]  # fmt: skip
    assert date_ticks(day(2020, 6), day(2023)) == ((day(2021), "2021"), (day(2022), "2022"), (day(2023), "2023"))
    assert [label for _, label in date_ticks(day(2020, 11), day(2021, 3, 15))] == [
        "Nov 2020", "Dec", "2021", "Feb", "Mar",
    ]  # fmt: skip
    assert date_ticks(day(2020, 2, 28), day(2020, 2, 28)) == ((day(2020, 2, 28), "28 Feb 2020"),)


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(optaic.report.__path__)])
def test_examples_of_the_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"optaic.report.{name}")).failed == 0
