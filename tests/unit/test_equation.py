"""Constraints over groups and symbols: understood as a whole, or refused; never left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from skfolio import optimization

from optaic.errors import InvalidInputError
from optaic.flows.equation import Names
from optaic.flows.refit import Solution
from tests.optimising import Follower, decided, long, walk, weekdays
from tests.unit.test_refit import GROUPS, SYMBOLS, refit, returns_of, solve, weights_of

DAYS = weekdays(60)
MEAN_RISK = "skfolio.optimization:MeanRisk"


def grouped(*equations: str, names: Names | None = None, fallback: Any = None, **params: Any) -> Solution:
    """Minimise variance under constraints over groups."""
    one = refit(optimization.MeanRisk, params={"linear_constraints": list(equations), **params}, fallback=fallback)
    return one.solve(returns_of(), symbols=SYMBOLS, groups=GROUPS, names=names)


GONE = Names(symbols=frozenset({*SYMBOLS, "OLD"}), groups=frozenset({"first", "second", "gone", "gone too"}))


@pytest.mark.parametrize(
    ("equation", "said"),
    [
        ("frist >= 0.4", "'frist', which is no group and no symbol; did you mean 'first'?"),
        ("0.5 * first + secnd <= 1", "'secnd', which is no group and no symbol; did you mean 'second'?"),
        ("gone tooo <= 1", "'gone tooo', which is no group and no symbol; did you mean 'gone too'?"),
        ("S00 <= 2 * S77", "'S77', which is no group and no symbol"),
        ("first 0.4", "is no constraint"),
    ],
)
def test_a_constraint_that_names_nothing_is_refused_whatever_the_fallback(equation: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        grouped("first <= 0.9", equation, names=GONE, fallback="equal_weight")
    assert said in caught.value.message
    assert caught.value.next_step


def test_a_count_of_names_in_a_group_that_is_none_is_refused_too() -> None:
    with pytest.raises(InvalidInputError, match=r"group_cardinalities names 'frist'.* did you mean 'first'"):
        grouped(group_cardinalities={"frist": 2})


def test_without_groups_a_constraint_names_symbols_or_is_refused() -> None:
    weights = weights_of(solve(optimization.MeanRisk, {"linear_constraints": ["S00 >= 0.3"]}))
    assert weights[0] >= 0.3 - 1e-6
    with pytest.raises(InvalidInputError, match="'tech', which is no group and no symbol") as caught:
        solve(optimization.MeanRisk, {"linear_constraints": ["tech >= 0.4"]})
    assert "groups: INSTANCE" in (caught.value.next_step or "")


def test_of_a_group_that_nobody_is_in_now_nothing_can_be_held() -> None:
    free = grouped("first <= 0.9", "gone <= 0.3", "OLD <= 0.1", names=GONE)
    assert weights_of(free).tolist() == weights_of(grouped("first <= 0.9", names=GONE)).tolist()
    assert [note for note in free.notes if "gone <= 0.3 limits nothing: no name that can be held is in it" in note]
    assert len(free.notes) == 2

    for equation in ("gone >= 0.4", "gone == 0.4", "gone too >= 0.4 + gone"):
        asked = grouped("first <= 0.9", equation, names=GONE)
        assert (asked.weights, asked.status, asked.broken) == (None, "infeasible", (f"{equation} by 0.4",))
        assert asked.residuals["groups"] == pytest.approx(0.4)
        assert "no name that can be held is in" in asked.message
    used = grouped("gone >= 0.4", names=GONE, fallback="equal_weight")
    assert (used.status, used.fallback) == ("infeasible", "equal_weight")


def test_what_is_left_of_a_constraint_is_kept() -> None:
    assert weights_of(grouped(names=GONE))[:8].sum() > 0.3
    ratio = {"objective_function": "MAXIMIZE_RATIO"}
    for params in ({}, ratio, {"left_inequality": [[1.0] + [0.0] * 19], "right_inequality": [0.01]}):
        weights = weights_of(grouped("first + gone <= 0.2", "second <= 0.9", names=GONE, **params))
        assert weights[:8].sum() <= 0.2 + 1e-6
    assert weights[0] <= 0.01 + 1e-6
    held = weights_of(grouped("first == 0.2 + gone", names=GONE))
    assert held[:8].sum() == pytest.approx(0.2, abs=1e-6)


def test_of_several_constraints_over_groups_the_one_that_is_broken_is_named() -> None:
    solution = grouped("first >= 0.8", "second >= 0.7", "first <= 0.95", names=GONE)
    assert solution.status == "infeasible"
    assert solution.residuals["groups"] + abs(solution.residuals["budget"]) == pytest.approx(0.5, abs=0.26)
    assert not any("0.95" in text for text in solution.broken)
    assert solution.broken


def banking(tmp_path: Path, *equations: str, **setup: Any) -> Follower:
    """Follow an optimiser with constraints over groups: A is a bank until session 30, and B from then on rail."""
    params = {"linear_constraints": list(equations)}
    one = Follower(tmp_path, MEAN_RISK, params=params, reads=["groups"], lookback=10, **setup)
    one.pin("prices", long(DAYS, walk(60, 3)))
    keys = {"date": [DAYS[0]] * 3 + [DAYS[30]] * 2, "symbol": ["A", "B", "C", "A", "B"]}
    one.pin("groups", pl.DataFrame({**keys, "sector": ["bank", "food", "food", "food", "rail"]}))
    return one


def test_a_constraint_that_nobody_can_keep_now_fails_the_solve_and_not_the_backtest(tmp_path: Path) -> None:
    one = banking(tmp_path, "bank >= 0.3")
    done = one.run(start=DAYS[15], rebalance=10)
    assert list(decided(done)) == [DAYS[15], DAYS[25]]
    assert done.failed_solves == 3
    one.contexts[-1].flush()
    [line] = [text for level, text, _ in one.told.lines if level == "WARNING"]
    assert f"best has no solution at 3 of 5 decisions: {DAYS[35]} (infeasible)" in line
    # What there is only later can be named before: it limits nothing then, or cannot be kept.
    assert banking(tmp_path / "two", "rail <= 0.1").run(start=DAYS[15], rebalance=10).failed_solves == 0
    third = banking(tmp_path / "three", "rail >= 0.1", fallback="equal_weight").run(start=DAYS[15], rebalance=10)
    assert (third.failed_solves, third.fallbacks) == (2, 2)


def test_a_constraint_over_a_group_that_there_never_is_fails_the_backtest(tmp_path: Path) -> None:
    one = banking(tmp_path, "bnak <= 0.3", fallback="equal_weight")
    with pytest.raises(InvalidInputError, match=r"names 'bnak', .*; did you mean 'bank'") as caught:
        one.run(start=DAYS[15], rebalance=10)
    assert "bank, food, rail" in (caught.value.next_step or "")
