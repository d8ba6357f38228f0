"""How expressions are evaluated: on which rows, over which names, to how many digits, in any nesting."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from optaic.errors import ExpressionError, InvalidInputError
from optaic.quant.expression import evaluate, known_column, parse, to_grid
from tests.expression_reference import reference
from tests.panels import assert_same, evaluated, make_panel, parsed

DAYS = [dt.date(2024, 1, day) for day in range(1, 11)]


def _grid(**columns: list[Any]) -> pl.DataFrame:
    """Make a grid of one symbol for each ten cells."""
    count = len(next(iter(columns.values()))) // len(DAYS)
    symbols = [f"S{number}" for number in range(count) for _ in DAYS]
    return pl.DataFrame({"date": DAYS * count, "symbol": symbols, **columns})


def test_rows_are_those_of_the_grid_in_its_order() -> None:
    grid, _ = make_panel(0)
    result = evaluate("CS_RANK(close)", grid)
    assert result.columns == ["date", "symbol", "value"]
    assert_frame_equal(result.select("date", "symbol"), grid.select("date", "symbol"))
    assert result.schema["value"] == pl.Float64
    assert evaluate("close > open", grid, value="up").schema["up"] == pl.Boolean


def test_lazy_frames_give_lazy_frames() -> None:
    grid, _ = make_panel(0)
    text = "CS_ZSCORE(TS_MEAN(CS_RANK(volume), 5))"
    lazy = evaluate(text, grid.lazy(), members="member")
    assert isinstance(lazy, pl.LazyFrame)
    assert_frame_equal(lazy.collect(), evaluate(text, grid, members="member"))


def test_names_of_columns_are_free() -> None:
    grid, _ = make_panel(0)
    renamed = grid.rename({"date": "day", "symbol": "permno"})
    result = evaluate("TS_MEAN(close, 3)", renamed, date="day", symbol="permno")
    assert result.columns == ["day", "permno", "value"]
    assert result["value"].equals(evaluate("TS_MEAN(close, 3)", grid)["value"])


def test_symbols_may_be_numbers_or_categories_and_dates_instants() -> None:
    grid, _ = make_panel(0)
    expected = evaluate("CS_RANK(TS_MEAN(close, 3))", grid)["value"]
    for symbol in (pl.col("symbol").str.slice(1).cast(pl.Int32), pl.col("symbol").cast(pl.Categorical)):
        other = grid.with_columns(symbol, pl.col("date").cast(pl.Datetime("ns")))
        assert evaluate("CS_RANK(TS_MEAN(close, 3))", other)["value"].equals(expected)


def test_an_empty_grid_gives_an_empty_result() -> None:
    grid, _ = make_panel(0)
    for text in (
        "CS_RANK(close)",
        "TS_ZSCORE(close, 5)",
        "CS_NEUTRALIZE(close, size, group=sector)",
        "TS_MAD(close, 3)",
    ):
        assert evaluate(text, grid.clear()).height == 0


def test_a_grid_of_one_session_is_enough() -> None:
    grid = make_panel(0)[0].filter(pl.col("date") == pl.col("date").first())
    assert evaluate("CS_RANK(close)", grid)["value"].drop_nulls().max() == 1.0
    assert evaluate("TS_MEAN(close, 5, min_periods=1)", grid)["value"].equals(grid["close"], check_names=False)


_SPOILED: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "a row is missing": lambda grid: grid.head(grid.height - 1),
    "in no order": lambda grid: grid.sample(fraction=1.0, shuffle=True, seed=1),
    "by date": lambda grid: grid.sort("date", "symbol"),
    "latest first": lambda grid: grid.sort("symbol", "date", descending=[False, True]),
    "each pair twice": lambda grid: pl.concat([grid, grid]),
    "one date": lambda grid: grid.with_columns(date=pl.lit(DAYS[0])),
    "no symbols": lambda grid: grid.with_columns(symbol=pl.lit(None, dtype=pl.String)),
}


@pytest.mark.parametrize("what", list(_SPOILED))
def test_what_is_no_grid_is_refused(what: str) -> None:
    grid = _SPOILED[what](make_panel(0)[0])
    with pytest.raises(InvalidInputError, match="not the grid"):
        evaluate("TS_MEAN(close, 3)", grid)
    with pytest.raises(InvalidInputError, match="not the grid"):
        evaluate("TS_MEAN(close, 3)", grid.lazy()).collect()


def test_wrong_columns_are_named() -> None:
    grid, _ = make_panel(0)
    with pytest.raises(ExpressionError, match="unknown name clos; did you mean 'close'"):
        evaluate("TS_MEAN(clos, 3)", grid)
    with pytest.raises(InvalidInputError, match="no column universe"):
        evaluate("close", grid, members="universe")
    with pytest.raises(InvalidInputError, match="must be Boolean"):
        evaluate("close", grid, members="close")
    with pytest.raises(InvalidInputError, match="must be a date"):
        evaluate("close", grid.with_columns(date=pl.lit(1)))
    with pytest.raises(ExpressionError, match="unknown name date"):
        evaluate("close + date", grid)


def test_a_parsed_expression_keeps_its_params() -> None:
    grid, _ = make_panel(0)
    expression = parse("TS_MEAN(close, {n})", params={"n": 4})
    assert evaluate(expression, grid).equals(evaluate("TS_MEAN(close, 4)", grid))


def test_cross_sections_see_members_and_time_sees_the_whole_history() -> None:
    grid = _grid(
        close=[1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10] + [20.0] * 10 + [30.0] * 10,
        member=[False] * 5 + [True] * 5 + [True] * 10 + [True] * 9 + [None],
    )
    ranks = evaluate("CS_RANK(close)", grid, members="member")["value"].to_list()
    assert ranks[:5] == [None] * 5
    assert (ranks[5], ranks[15], ranks[25]) == (1 / 3, 2 / 3, 1.0)
    assert (ranks[4], ranks[14], ranks[24]) == (None, 0.5, 1.0)
    assert (ranks[9], ranks[19], ranks[29]) == (0.5, 1.0, None)
    # Its mean on the sixth session uses sessions in which it was no member.
    means = evaluate("TS_MEAN(close, 5)", grid, members="member")["value"].to_list()
    assert means[4] == 3.0
    assert means[5] == 4.0


@pytest.mark.parametrize(
    "text",
    [
        "CS_RANK(x)",
        "CS_ZSCORE(x)",
        "CS_DEMEAN(x)",
        "CS_SCALE(x)",
        "CS_GAUSS(x)",
        "CS_BUCKET(x, 2)",
        "CS_WINSORIZE(x, 0.1)",
        "CS_WINSORIZE(x, mads=3)",
        "CS_NEUTRALIZE(x, y)",
        "GROUP_RANK(x, g)",
        "GROUP_ZSCORE(x, g)",
        "GROUP_DEMEAN(x, g)",
    ],
)
def test_one_value_or_equal_values_give_null(text: str) -> None:
    x = [0.1] * 10 + [0.1] * 5 + [None] * 5 + [0.1 + 1e-17] * 5 + [None] * 5
    grid = _grid(x=x, y=[float(number) for number in range(30)], g=["a"] * 30)
    assert evaluate(text, grid)["value"].null_count() == 30


def test_what_is_not_finite_is_null() -> None:
    grid = _grid(x=[1.0, 0.0, -1.0, float("nan"), float("inf"), float("-inf"), None, 2.0, -0.0, 1e308])
    ones = [1.0] * 10
    assert evaluate("1 / x", grid)["value"].null_count() == 6
    assert evaluate("x / x", grid)["value"].drop_nulls().to_list() == ones[:4]
    assert evaluate("LOG(x)", grid)["value"].null_count() == 7
    assert evaluate("x * 10", grid)["value"].null_count() == 5
    assert evaluate("x > 0", grid)["value"].to_list()[3:7] == [None] * 4
    assert evaluate("1 / (1 / x)", grid)["value"].null_count() == 6
    assert evaluate("IF(x > 0, 1, 0)", grid)["value"].null_count() == 4
    assert evaluate("x > 0 AND 1 > 2", grid)["value"].null_count() == 4
    assert evaluate("x > 0 OR 1 < 2", grid)["value"].null_count() == 4


def test_a_window_needs_all_its_cells() -> None:
    grid = _grid(x=[1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    assert evaluate("TS_SUM(x, 3)", grid)["value"].to_list() == [None] * 5 + [15.0, 18.0, 21.0, 24.0, 27.0]
    relaxed = evaluate("TS_SUM(x, 3, min_periods=2)", grid)["value"].to_list()
    assert relaxed == [None, 3.0, 3.0, 6.0, 9.0, 15.0, 18.0, 21.0, 24.0, 27.0]


def test_windows_never_reach_into_another_symbol() -> None:
    grid = _grid(x=[1e12] * 10 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    for text in ("TS_SUM(x, 3, min_periods=1)", "TS_MAX(x, 3, min_periods=1)", "TS_PRODUCT(x, 3, min_periods=1)"):
        assert evaluate(text, grid)["value"][10] == 1.0
    assert evaluate("TS_REF(x, 1)", grid)["value"][10] is None
    assert evaluate("TS_FFILL(TS_REF(x, 1), 5)", grid)["value"][10] is None
    assert evaluate("LEAD(x, 1)", grid, allow_lead=True)["value"][9] is None


# ------------------------------------------------------------------------------------------------------ digits


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9, -1e12])
def test_variance_keeps_its_digits_beside_a_large_offset(offset: float) -> None:
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=30), 3) * 1024 + offset  # representable beside the offset
    exact = (x - offset).reshape(3, 10)
    grid = _grid(x=x.tolist(), y=exact.ravel()[::-1].tolist())
    for text, other in [
        ("TS_VAR(x, 5)", "TS_VAR(x - o, 5)"),
        ("TS_ZSCORE(x, 5)", "TS_ZSCORE(x - o, 5)"),
        ("TS_CORR(x, y, 5)", "TS_CORR(x - o, y, 5)"),
        ("TS_SKEW(x, 5)", "TS_SKEW(x - o, 5)"),
        ("TS_SLOPE(x, 5)", "TS_SLOPE(x - o, 5)"),
        ("CS_ZSCORE(x)", "CS_ZSCORE(x - o)"),
    ]:
        centred = evaluate(other, grid.with_columns(o=pl.lit(offset)))["value"]
        assert_same(evaluate(text, grid)["value"].to_numpy(), centred.to_numpy(), relative=1e-9)


def test_what_has_left_a_window_leaves_no_trace() -> None:
    rng = np.random.default_rng(1)
    quiet = rng.normal(size=9) * 1e-6
    grid = _grid(x=[1e12, *quiet], y=[-1e15, *quiet[::-1]])
    clean = _grid(x=[0.0, *quiet], y=[0.0, *quiet[::-1]])
    for text in (
        "TS_SUM(x, 3)",
        "TS_STD(x, 3)",
        "TS_COV(x, y, 3)",
        "TS_CORR(x, y, 4)",
        "TS_KURT(x, 4)",
        "TS_RESID(x, 3)",
    ):
        later = slice(5, None)
        found, expected = (evaluate(text, frame)["value"].to_numpy()[later] for frame in (grid, clean))
        assert_same(found, expected, relative=1e-9)


def test_a_constant_series_has_no_score() -> None:
    grid = _grid(x=[0.1] * 10, y=[0.1 * 3] * 5 + [0.3] * 5, z=[float(number) for number in range(10)])
    assert evaluate("TS_STD(x, 5)", grid)["value"].drop_nulls().to_list() == [0.0] * 6
    for text in ("TS_ZSCORE(x, 5)", "TS_ZSCORE(y, 5)", "TS_CORR(x, z, 5)", "TS_CORR(z, y, 5)", "TS_BETA(z, x, 5)"):
        assert evaluate(text, grid)["value"].null_count() == 10
    for text in ("TS_SKEW(x, 5)", "TS_KURT(y, 5)", "TS_RSQUARE(x, 5)"):
        assert evaluate(text, grid)["value"].null_count() == 10
    assert evaluate("TS_RANK(x, 4)", grid)["value"].drop_nulls().unique().to_list() == [2.5 / 4]
    assert evaluate("TS_ARGMAX(x, 4)", grid)["value"].drop_nulls().unique().to_list() == [0.0]


# ----------------------------------------------------------------------------------------------------- nesting

_INPUTS = st.sampled_from(["open", "close", "volume", "noise", "size"])
_WINDOW = st.sampled_from(["4", "6", "9"])


def _smooth(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Grow an expression by what turns a little rounding into a little rounding."""
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["TS_MEAN", "TS_ZSCORE", "TS_EMA", "TS_DECAY"]), inner, _WINDOW),
        st.builds("{}({}, {})".format, st.sampled_from(["TS_REF", "TS_DELTA", "TS_SUM", "TS_RESID"]), inner, _WINDOW),
        st.builds("TS_MEDIAN({}, {}, min_periods=3)".format, inner, _WINDOW),
        st.builds("TS_CORR({}, {}, {})".format, inner, inner, _WINDOW),
        st.builds("{}({})".format, st.sampled_from(["CS_ZSCORE", "CS_SCALE", "CS_DEMEAN"]), inner),
        st.builds("CS_NEUTRALIZE({}, size, group=country)".format, inner),
        st.builds("COALESCE(TS_MEAN({}, 4), {})".format, inner, inner),
    )


_SMOOTH = st.recursive(_INPUTS, _smooth, max_leaves=5)
_TREES = st.one_of(
    _SMOOTH,
    st.builds("CS_RANK({})".format, _INPUTS),
    st.builds("TS_MEAN(CS_RANK(TS_RETURN({}, 3)), {})".format, _INPUTS, _WINDOW),
    st.builds("IF({} > 0, {}, TS_ARGMAX({}, 4))".format, _INPUTS, _SMOOTH, _INPUTS),
)


@settings(max_examples=60)
@given(text=_TREES, seed=st.integers(0, 3))
def test_any_tree_is_what_its_definition_says(text: str, seed: int) -> None:
    grid, panel = make_panel(seed)
    found, expected = evaluated(text, grid), reference(parsed(text), panel)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    scale = float(np.nanmax(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * scale + 1e-12)


def test_deep_nesting_is_evaluated() -> None:
    grid, panel = make_panel(2)
    element = "noise" + " * 0.5 + noise" * 45
    assert_same(evaluated(element, grid), reference(parsed(element), panel))
    repeated = "noise"
    for _ in range(40):
        repeated = f"GREATER({repeated}, LESS(noise, 0))"
    assert_same(evaluated(repeated, grid), reference(parsed(repeated), panel))
    ratio = "size"
    for _ in range(40):
        ratio = f"(close / {ratio})"
    assert_same(evaluated(ratio, grid), reference(parsed(ratio), panel))
    staged = "CS_RANK(noise)"
    for _ in range(6):
        staged = f"CS_ZSCORE(TS_MEAN({staged}, 2))"
    assert_same(evaluated(staged, grid), reference(parsed(staged), panel), relative=1e-7)


# -------------------------------------------------------------------------------------------------------- grid


def test_long_inputs_are_put_on_the_grid() -> None:
    instant = dt.datetime(2024, 1, 2, 21, tzinfo=dt.UTC)
    close = pl.DataFrame(
        {"date": [DAYS[1], DAYS[0]], "symbol": ["B", "A"], "close": [2.0, 1.0], "known_at": [instant] * 2}
    )
    shares = pl.DataFrame({"date": [DAYS[2], dt.date(2030, 1, 1)], "symbol": ["C", "A"], "out": [7, 8]})
    grid = to_grid({"close": close, "shares": shares}, DAYS[:3])
    assert grid.columns == ["date", "symbol", "close", known_column("close"), "shares"]
    assert grid["symbol"].to_list() == ["A"] * 3 + ["B"] * 3 + ["C"] * 3
    assert grid["close"].to_list() == [1.0, None, None, None, 2.0, None, None, None, None]
    assert grid["shares"].to_list() == [None] * 8 + [7]
    assert grid[known_column("close")].null_count() == 7
    assert evaluate("TS_FFILL(close, 2)", grid)["value"].to_list() == [1.0, 1.0, 1.0, None, 2.0, 2.0, None, None, None]


def test_rows_that_no_grid_can_hold_are_refused() -> None:
    close = pl.DataFrame({"date": [DAYS[0], DAYS[0]], "symbol": ["A", "A"], "close": [1.0, 2.0]})
    with pytest.raises(InvalidInputError, match="close has more than one row for A on 2024-01-01"):
        to_grid({"close": close}, DAYS)
    with pytest.raises(InvalidInputError, match="the input close has no column symbol; did you mean 'symbols'"):
        to_grid({"close": close.rename({"symbol": "symbols"})}, DAYS)
    with pytest.raises(InvalidInputError, match="the input price has no column price"):
        to_grid({"price": close.with_columns(high=1.0)}, DAYS)
    assert to_grid({}, DAYS).height == 0


AVERAGED = """
import datetime, hashlib
import numpy as np, polars as pl
from optaic.quant.expression import evaluate
symbols, sessions = 40, 4000
start = datetime.date(2000, 1, 3)
dates = [start + datetime.timedelta(days=day) for day in range(sessions)]
cells = np.random.default_rng(3).normal(size=symbols * sessions)
names = [name for name in range(symbols) for _ in dates]
grid = pl.DataFrame({"date": dates * symbols, "symbol": names, "x": cells, "g": [str(name % 2) for name in names]})
for text in ("GROUP_MEAN(x, g)", "CS_ZSCORE(x)", "CS_NEUTRALIZE(x, TS_REF(x, 1))", "TS_STD(x, 20)"):
    for _ in range(3):
        print(text, hashlib.sha256(evaluate(text, grid)["value"].fill_null(-9).to_numpy().tobytes()).hexdigest())
"""


def test_values_are_the_same_to_the_last_bit_in_every_call_and_with_any_number_of_threads() -> None:
    found: set[str] = set()
    for threads in ("1", "4", "7"):
        command = [sys.executable, "-c", AVERAGED]
        environment = {**os.environ, "POLARS_MAX_THREADS": threads}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found |= set(done.stdout.splitlines())
    assert len(found) == 4, sorted(found)
