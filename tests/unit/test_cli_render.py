"""Figures, dates and names as a terminal shows them."""

from __future__ import annotations

import pytest

from optaic.cli.figure import units_of, write_metric
from optaic.cli.files import fold_names
from optaic.cli.render import between, number
from optaic.project.checks import with_effect


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_234, "1,234"),
        (0.123456789, "0.123457"),
        (5_274_100.4, "5,274,100"),
        (-12_345_678.9, "-12,345,679"),
        (999_999.4, "999,999"),
        (1e-9, "1e-09"),
        (1.5e18, "1.5e+18"),
        (None, "-"),
        ("none", "none"),
    ],
)
def test_a_figure_has_six_digits_or_more_and_money_no_exponent(value: object, text: str) -> None:
    assert number(value) == text


def test_every_residual_of_an_optimiser_is_a_percentage_and_what_rounding_leaves_is_nothing() -> None:
    metrics = {"constraint_residual": 0.02, "residual_max_weights": 0.02, "residual_budget": 2.2e-16}
    units = units_of(("PortfolioOptimizationRun", metrics))
    assert [write_metric(name, metrics, units) for name in metrics] == ["2 %", "2 %", "0 %"]
    assert write_metric("residual_budget", {"residual_budget": -2e-6}, units) == "-0.0002 %"


def test_options_without_effect_on_a_backtest_are_not_shown() -> None:
    params = {"top": 0.2, "long_short": False, "rebalance": "monthly", "lag": 1}
    assert list(with_effect(params, ["optimizer", "prices"])) == ["rebalance", "lag"]
    assert list(with_effect(params, ["weights", "prices"])) == ["lag"]
    assert with_effect(params, ["signal", "prices"]) == params


def test_dates_that_are_open_at_one_end_are_told_in_words() -> None:
    assert between("2005-01-03", "2022-12-28") == "2005-01-03 to 2022-12-28"
    assert between("2005-01-03", None) == "from 2005-01-03 on"
    assert between(None, "2022-12-28") == "to 2022-12-28"
    assert between(None, None) == ""


def test_a_folder_of_many_files_is_told_in_one_line() -> None:
    few = ["a.json", "fits/1.skops", "fits/2.skops"]
    assert list(fold_names(few)) == few
    many = [f"fits/{number}.skops" for number in range(5)]
    assert fold_names(["a.json", *many, "b.json"]) == {
        "a.json": ["a.json"],
        "fits/ (5 files)": many,
        "b.json": ["b.json"],
    }
