"""known_at of a derived row: the latest of what it used, so that nobody sees a value before they could have."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optaic.quant.expression import CATALOGUE, evaluate
from tests.panels import make_panel

START = dt.datetime(2024, 1, 1, 21, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def _grid(symbols: int, hours: list[int | None], **columns: list[Any]) -> pl.DataFrame:
    sessions = len(hours) // symbols
    dates = [START.date() + DAY * day for day in range(sessions)] * symbols
    names = [f"S{number}" for number in range(symbols) for _ in range(sessions)]
    known = [None if hour is None else START + HOUR * hour for hour in hours]
    kinds = {"known": pl.Datetime("us", "UTC")}
    return pl.DataFrame({"date": dates, "symbol": names, "known": known, **columns}, schema_overrides=kinds)


def _hours(text: str, grid: pl.DataFrame, known_at: dict[str, str], **options: Any) -> list[int | None]:
    found = evaluate(text, grid, known_at=known_at, **options)["known_at"].to_list()
    return [None if instant is None else round((instant - START) / HOUR) for instant in found]


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("x", [0, 24, 99, 72, 96, 120]),
        ("x * 2 + 1", [0, 24, 99, 72, 96, 120]),
        ("TS_MEAN(x, 2)", [0, 24, 99, 99, 96, 120]),
        ("TS_MEAN(TS_MEAN(x, 2), 2)", [0, 24, 99, 99, 99, 120]),
        ("TS_REF(x, 2)", [None, None, 0, 24, 99, 72]),
        ("TS_DELTA(x, 2)", [0, 24, 99, 72, 99, 120]),
        ("TS_EMA(x, 2)", [0, 24, 99, 99, 99, 120]),
        ("TS_FFILL(x, 1)", [0, 24, 99, 99, 96, 120]),
        ("LEAD(x, 1)", [24, 99, 72, 96, 120, None]),
        ("7", [None] * 6),
    ],
)
def test_along_time_it_is_the_latest_of_the_sessions_used(text: str, hours: list[int | None]) -> None:
    grid = _grid(1, [0, 24, 99, 72, 96, 120], x=[1.0, 2, 3, 4, 5, 6])
    assert _hours(text, grid, {"x": "known"}, allow_lead=True) == hours


def test_across_symbols_it_is_the_latest_of_the_members() -> None:
    grid = _grid(3, [0, 24, 5, 24, 9, 99], x=[1.0, 2, 3, 4, 5, 6], member=[True] * 5 + [False], g=["a", "a", "b"] * 2)
    assert _hours("CS_RANK(x)", grid, {"x": "known"}) == [9, 99] * 3
    assert _hours("CS_RANK(x)", grid, {"x": "known"}, members="member") == [9, 24] * 3
    assert _hours("GROUP_MEAN(x, g)", grid, {"x": "known"}, members="member") == [9, 24] * 3
    assert _hours("TS_MEAN(CS_RANK(x), 2)", grid, {"x": "known"}, members="member") == [9, 24] * 3
    # That the third was no member was known at 99 too.
    both = {"x": "known", "member": "known"}
    assert _hours("CS_RANK(x)", grid, both, members="member") == [9, 99] * 3


def test_of_several_inputs_it_is_the_latest() -> None:
    grid = _grid(1, [0, 24, 48], x=[1.0, 2, 3], y=[1.0, 2, 3]).with_columns(late=pl.col("known") + 30 * HOUR)
    assert _hours("x + y", grid, {"x": "known", "y": "late"}) == [30, 54, 78]
    assert _hours("x", grid, {"x": "known", "y": "late"}) == [0, 24, 48]
    assert _hours("IF(x > 0, x, y)", grid, {"x": "known", "y": "late"}) == [30, 54, 78]
    assert evaluate("x", grid, known_at={"x": "known"}).schema["known_at"] == pl.Datetime("us", "UTC")
    assert "known_at" not in evaluate("x", grid).columns


_EXAMPLES = [function.example for function in CATALOGUE.values() if not function.looks_ahead]
_NESTED = [
    "CS_ZSCORE(TS_MEAN(CS_RANK(TS_RETURN(close, 2)), 3))",
    "TS_MEAN(close, 5, min_periods=2) + GROUP_RANK(TS_EMA(volume, 3), sector)",
    "TS_CORR(CS_RANK(volume), close, 4, min_periods=3)",
    "TS_FFILL(IF(volume > open, close, TS_REF(close, 1)), 2) - TS_ARGMAX(high, 3)",
    "CS_NEUTRALIZE(noise, TS_MEAN(size, 3), group=CS_BUCKET(volume, 2))",
]
_INPUTS = ("open", "high", "low", "close", "volume", "noise", "size", "sector", "member")


@settings(max_examples=80)
@given(
    text=st.sampled_from(_EXAMPLES) | st.sampled_from(_NESTED),
    seed=st.integers(0, 5),
    session=st.integers(0, 31),
    members=st.booleans(),
)
def test_what_was_known_then_gives_what_is_derived_then(text: str, seed: int, session: int, *, members: bool) -> None:
    """as_of(expr(X), t) = expr(as_of(X, t)), for each row that the first has."""
    text = text.replace("252", "9").replace("63", "7").replace("26", "8").replace("21", "6").replace("20", "5")
    text = text.replace("10)", "4)").replace("12)", "3)")
    grid, _ = make_panel(seed)
    rng = np.random.default_rng(seed)
    columns: dict[str, str] = {name: f"{name}.known_at" for name in _INPUTS}
    # Most cells are known on their day, some are restated later: before, there was another value.
    delays = {name: rng.choice([0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 200], grid.height) for name in _INPUTS}
    instant = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    latest = grid.with_columns(
        **{columns[name]: instant + pl.lit(pl.Series(delays[name])) * HOUR for name in _INPUTS}
    ).with_columns(pl.when(pl.col(name).is_not_null()).then(columns[name]).alias(columns[name]) for name in _INPUTS)
    then = grid["date"].unique().sort()[session]
    moment = dt.datetime(then.year, then.month, then.day, 12, tzinfo=dt.UTC)
    earlier = grid.sample(fraction=1.0, shuffle=True, seed=seed)
    had = {name: pl.Series(rng.random(grid.height) < 0.5) & latest[columns[name]].is_not_null() for name in _INPUTS}
    before = latest.with_columns(
        pl.when(pl.col(columns[name]) <= moment)
        .then(pl.col(name))
        .otherwise(pl.when(had[name]).then(earlier[name]))
        .alias(name)
        for name in _INPUTS
    ).with_columns(pl.when(pl.col("date") <= then).then(pl.col(name)).alias(name) for name in _INPUTS)
    universe = "member" if members else None
    derived = evaluate(text, latest, members=universe, known_at=columns)
    redone = evaluate(text, before, members=universe)
    kept = (derived["known_at"] <= moment).fill_null(value=False)
    found, expected = (frame["value"].filter(kept).cast(pl.Float64).to_numpy() for frame in (redone, derived))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
