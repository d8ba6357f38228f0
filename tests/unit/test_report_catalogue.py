"""Metrics as figures: grouped, in order, and never without what belongs beside them."""

from __future__ import annotations

import re

import pytest

from optaic.report.catalogue import list_figures
from optaic.report.page import figure_groups
from tests.documents import read_document

CATALOGUE: list[tuple[str, str, float | str | None]] = [
    ("sessions", "sessions", 8312),
    ("cagr", "fraction_per_year", 0.1761),
    ("volatility", "fraction_per_year", 0.1893),
    ("sharpe_ratio", "ratio", 0.95),
    ("sharpe_ratio_standard_error", "ratio", 0.177),
    ("risk_free", "text", "none"),
    ("drawdown_duration", "sessions", 812),
    ("drawdown_open", "boolean", True),
    ("total_return", "fraction", 209.4),
    ("win_rate", "fraction", None),
    ("house_metric", "ratio", 1.5),
]


def test_metrics_are_grouped_and_keep_their_order_within_a_group() -> None:
    figures = [(figure.group, figure.name) for figure in list_figures(CATALOGUE)]
    assert figures == [
        ("Return", "cagr"),
        ("Return", "total_return"),
        ("Return for risk", "sharpe_ratio"),
        ("Risk", "volatility"),
        ("Risk", "drawdown_duration"),
        ("Trades", "win_rate"),
        ("Other", "sessions"),
        ("Other", "house_metric"),
    ]


def test_what_belongs_to_a_figure_stands_beside_it() -> None:
    notes = {"sharpe_ratio": "deflated 0.90 over 100 trials"}
    said = read_document(figure_groups(list_figures(CATALOGUE, notes=notes))).text
    assert re.search(
        r"Sharpe ratio\s*0\.95\s*± 0\.18 standard error\s*deflated 0\.90 over 100 trials; risk_free: none", said
    )
    assert re.search(r"Drawdown duration\s*812 sessions\s*still open", said)
    assert re.search(r"CAGR per year\s*17\.61%", said)


def test_a_recovered_drawdown_and_a_given_cash_rate_say_nothing() -> None:
    changed = [("drawdown_open", "boolean", False), ("risk_free", "text", "series")]
    figures = list_figures(
        [entry for entry in CATALOGUE if entry[0] not in dict.fromkeys(n for n, *_ in changed)] + changed
    )
    assert {figure.note for figure in figures} == {""}


@pytest.mark.parametrize("error", [None, float("nan"), float("inf"), "none"])
def test_a_standard_error_that_is_no_number_is_not_known(error: float | str | None) -> None:
    figures = list_figures([("sharpe_ratio", "ratio", 1.0), ("sharpe_ratio_standard_error", "ratio", error)])
    assert [figure.name for figure in figures] == ["sharpe_ratio"]
    assert "standard error not known" in figure_groups(figures)


def test_what_would_belong_to_a_missing_figure_stands_alone() -> None:
    figures = list_figures([("drawdown_open", "boolean", True), ("risk_free", "text", "none")])
    said = read_document(figure_groups(figures)).text
    assert re.search(r"Drawdown open\s*yes", said)
    assert re.search(r"Risk free\s*none", said)
