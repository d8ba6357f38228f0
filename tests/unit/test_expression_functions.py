"""Each function of the catalogue against an independent computation from its definition, on panels as they come."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import polars as pl
import pytest

from optaic.quant.expression import CATALOGUE, Function, evaluate
from optaic.quant.expression.signature import Parameter, Role
from tests.expression_reference import COVERED, reference
from tests.panels import KINDS, assert_same, evaluated, make_panel, parsed

PAIRS = (("score", "noise"), ("close", "volume"), ("noise", "score"))
WINDOWS = ((3, None), (5, 3), (7, 4), (20, 4), (60, 5))


def _argument(parameter: Parameter, first: str, second: str, n: int, minimum: int | None) -> str | None:
    match parameter.role:
        case Role.CONDITION:
            return f"{first} > {second}"
        case Role.WINDOW:
            return str(n)
        case Role.PERIODS:
            return None if minimum is None else f"min_periods={minimum}"
        case Role.GROUP:
            return "group=sector"
        case Role.BUCKETS:
            return "4"
        case Role.FRACTION:
            return "0.3"
        case Role.TAIL:
            return "0.1"
        case Role.POSITIVE:
            return None
        case Role.VALUE if parameter.variadic:
            return f"{second}, size"
        case _:
            return {"y": second, "low": second, "otherwise": second, "high": "size"}.get(parameter.name, first)


def _calls(function: Function) -> Iterator[str]:
    yield function.example
    for first, second in PAIRS:
        for n, minimum in WINDOWS:
            if n < function.least or (minimum is not None and minimum < function.least):
                continue
            arguments = [_argument(parameter, first, second, n, minimum) for parameter in function.parameters]
            yield f"{function.name}({', '.join(argument for argument in arguments if argument)})"


def test_every_function_has_a_reference() -> None:
    assert set(CATALOGUE) - COVERED == set()
    assert COVERED - set(CATALOGUE) == set()


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_function_is_what_its_definition_says(name: str) -> None:
    for seed in (0, 1):
        grid, panel = make_panel(seed)
        for call in dict.fromkeys(_calls(CATALOGUE[name])):
            try:
                found, expected = evaluated(call, grid), reference(parsed(call), panel)
                assert_same(found, expected, of_largest=name == "CS_NEUTRALIZE")
            except AssertionError as error:
                raise AssertionError(f"{call} on panel {seed}: {error}") from error


@pytest.mark.parametrize(
    "text",
    [
        "CS_WINSORIZE(score, mads=2)",
        "CS_WINSORIZE(noise, mads=1.5)",
        "CS_WINSORIZE(noise, quantile=0.25)",
        "CS_NEUTRALIZE(noise, size)",
        "CS_NEUTRALIZE(noise, sector)",
        "CS_NEUTRALIZE(noise, LOG(size), volume, score)",
        "CS_NEUTRALIZE(noise, sector, country)",
        "CS_NEUTRALIZE(close, size, country, group=sector)",
        "CS_NEUTRALIZE(noise, size, 2 * size, group=CS_BUCKET(volume, 2))",
        "GROUP_MEAN(volume, CS_BUCKET(size, 3))",
        "GROUP_RANK(volume, close > open)",
        "TS_SUM(close > open, 5)",
        "TS_COUNT(IS_NULL(volume), 10)",
        "IF(sector == 'Tech', noise, -noise)",
        "IF(member, 1, 0) + (country != sector)",
        "NOT (close > open) OR volume > size AND member",
        "(close > open) == (noise > 0)",
        "IF(close > open, noise > 0, noise < 0)",
        "COALESCE(sector, 'none') == 'none'",
        "close / (score * 0) + 1",
        "1 / (close / (score * 0))",
        "LOG(noise) ** 2 + SQRT(noise) + LOG(0 * noise)",
        "EXP(10 * close) - (-2) ** 0.5 * noise",
        "noise ** score + 2 ** 3 ** 2 - -score ** 2",
        "TS_RETURN(close)",
        "TS_MEAN(3, 4)",
        "1",
    ],
)
def test_combination_is_what_its_definition_says(text: str) -> None:
    grid, panel = make_panel(3)
    assert_same(evaluated(text, grid), reference(parsed(text), panel), of_largest="NEUTRALIZE" in text)


def test_exponential_mean_is_that_of_pandas_where_a_cell_exists() -> None:
    # Span 3 is left out: for alpha = 1/2 exactly, pandas 3.1.1 weighs what follows a gap unlike its own manual.
    grid, panel = make_panel(5)
    close = pd.DataFrame(panel.inputs["close"])
    for n in (2, 5, 12):
        oracle = close.ewm(span=n, min_periods=n, adjust=False).mean().where(close.notna())
        assert_same(evaluated(f"TS_EMA(close, {n})", grid), oracle.to_numpy())


@pytest.mark.parametrize(("function", "method"), [("TS_SKEW", "skew"), ("TS_KURT", "kurt"), ("TS_STD", "std")])
def test_moments_are_those_of_pandas(function: str, method: str) -> None:
    grid, panel = make_panel(6)
    rolling = pd.DataFrame(panel.inputs["noise"]).replace(np.inf, np.nan).rolling(6, min_periods=5)
    oracle = getattr(rolling, method)()
    assert_same(evaluated(f"{function}(noise, 6, min_periods=5)", grid), oracle.to_numpy(), relative=1e-8)


def test_worked_examples_by_hand() -> None:
    grid, _ = make_panel(0, sessions=12, symbols=4)
    cells = [float(number) for number in (*range(1, 13), *range(2, 14), *range(3, 15), *([7] * 12))]
    flat = grid.with_columns(close=pl.Series(cells))
    ranks = evaluate("CS_RANK(close)", flat)["value"].to_list()
    assert [ranks[0], ranks[12], ranks[24], ranks[36]] == [0.25, 0.5, 0.75, 1.0]
    # On the fifth session the values are 5, 6, 7 and 7: the two ranks 3 and 4 are shared.
    assert [ranks[4], ranks[16], ranks[28], ranks[40]] == [0.25, 0.5, 0.875, 0.875]
    assert evaluate("TS_DECAY(close, 3)", flat)["value"][2] == pytest.approx((3 * 3 + 2 * 2 + 1) / 6, abs=1e-12)
    assert evaluate("TS_ARGMAX(close, 5)", flat)["value"].to_list()[36 + 4] == 0.0
    assert evaluate("CS_BUCKET(close, 2)", flat)["value"].to_list()[0::12] == [1.0, 1.0, 2.0, 2.0]
    assert evaluate("TS_SLOPE(close * 2, 4)", flat)["value"][7] == pytest.approx(2.0, abs=1e-12)


def test_catalogue_says_what_a_reader_asks() -> None:
    for function in CATALOGUE.values():
        assert function.meaning.endswith("."), function.name
        assert function.nulls, function.name
        assert bool(function.window) == (function.shape == "time"), function.name
        assert function.name in function.example, function.name
        assert set(parsed(function.example).names) <= set(KINDS)
    assert [name for name, function in CATALOGUE.items() if function.full_history] == ["TS_EMA"]
    assert [name for name, function in CATALOGUE.items() if function.looks_ahead] == ["LEAD"]
