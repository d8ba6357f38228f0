"""The standard metrics of a backtest: complete, in one order, and never NaN."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from optaic.errors import InvalidInputError
from optaic.quant.series import FloatArray
from optaic.quant.summary import UNITS, Book, summarize
from optaic.quant.trades import find_episodes
from tests.market import index_returns, portfolio_returns, sessions

ANY = npst.arrays(
    np.float64,
    st.integers(0, 12),
    elements=st.one_of(
        st.floats(-0.1, 0.1),
        st.sampled_from([0.0, -1.0, 1e-17, 1e-14, 1 + 2e-14, 1e-300]),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
)


def of_returns(returns: npt.ArrayLike, **more: Any) -> dict[str, Any]:
    return summarize(returns, sessions_per_year=252, calendar_days=365, **more)


def test_the_metrics_of_33_years_of_real_returns() -> None:
    days = sessions()
    figures: dict[str, Any] = summarize(
        portfolio_returns(),
        sessions_per_year=252,
        calendar_days=int((days[-1] - days[0]).astype(int)),
        benchmark=index_returns(),
    )
    assert list(figures) == list(UNITS)
    assert figures["sessions"] == 8312
    assert figures["sharpe_ratio"] == pytest.approx(0.978002459184391, rel=1e-10)
    assert figures["total_return"] == pytest.approx(247.42441253451932, rel=1e-10)
    # 12,048 days from 1990-01-02 to 2022-12-28.
    assert figures["cagr"] == pytest.approx(248.42441253451932 ** (365.25 / 12048) - 1, rel=1e-10)
    assert figures["calmar_ratio"] == pytest.approx(figures["cagr"] / 0.4840751122596194, rel=1e-10)
    assert figures["sharpe_ratio_standard_error"] == pytest.approx(1 / math.sqrt(33), rel=0.05)
    assert figures["probabilistic_sharpe_ratio"] > 0.999
    assert figures["beta"] == pytest.approx(0.9607067940819359, rel=1e-10)
    assert figures["alpha"] == pytest.approx(252 * 0.00039891771550659705, rel=1e-10)
    assert figures["information_ratio"] == pytest.approx(0.08639876124015299 * math.sqrt(252), rel=1e-10)
    assert figures["drawdown_open"] is False
    assert figures["ruined"] is False
    assert figures["risk_free"] == "none"
    assert figures["turnover"] is None


@given(ANY, st.integers(-3, 4000), st.randoms(use_true_random=False))
def test_no_finite_input_gives_nan_infinity_or_a_crash(returns: FloatArray, days: int, random: Any) -> None:
    other = returns.copy()
    random.shuffle(other)
    for benchmark, risk_free in ((None, None), (other, None), (returns, other)):
        figures = summarize(
            returns, sessions_per_year=252, calendar_days=days, benchmark=benchmark, risk_free=risk_free
        )
        assert list(figures) == list(UNITS)
        assert all(math.isfinite(figure) for figure in figures.values() if isinstance(figure, float)), figures
        assert not any(isinstance(figure, np.generic) for figure in figures.values())


@given(st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=40), st.sampled_from([1e-3, 7.0, 1e9]))
def test_the_capital_changes_no_metric(returns: list[float], capital: float) -> None:
    values = np.cumprod([1.0, *(1 + value for value in returns)])
    scaled = values * capital
    one, other = (of_returns(path[1:] / path[:-1] - 1) for path in (values, scaled))
    if np.std(returns) > 1e-6:
        for name, figure in one.items():
            if isinstance(figure, float):
                assert other[name] == pytest.approx(figure, rel=1e-6, abs=1e-9), name


def none(figures: dict[str, Any]) -> set[str]:
    return {name for name in list(UNITS)[: list(UNITS).index("beta")] if figures[name] is None}


RATIOS = {"sharpe_ratio", "sharpe_ratio_standard_error", "probabilistic_sharpe_ratio", "skewness", "kurtosis"}


def test_no_session_has_counts_only() -> None:
    figures = of_returns([])
    assert {name for name, figure in figures.items() if figure is not None} == {
        "sessions",
        "sessions_per_year",
        "risk_free",
    }


def test_one_session_has_returns_but_nothing_that_divides() -> None:
    figures = of_returns([-0.02])
    assert none(figures) == RATIOS | {"volatility"}
    assert figures["total_return"] == pytest.approx(-0.02)
    assert figures["cvar_95"] == -0.02
    assert figures["drawdown_duration"] == 1
    assert figures["drawdown_open"] is True


def test_constant_returns_have_no_ratio_and_no_drawdown() -> None:
    figures = of_returns(np.full(20, 0.001))
    assert none(figures) == RATIOS | {"sortino_ratio", "calmar_ratio"}
    assert figures["volatility"] == pytest.approx(0.0, abs=1e-12)
    assert (figures["max_drawdown"], figures["drawdown_duration"]) == (0.0, 0)


def test_a_strategy_that_did_nothing_has_zeros_and_no_ratio() -> None:
    figures = of_returns(np.zeros(20), benchmark=np.linspace(-0.01, 0.01, 20))
    assert none(figures) == RATIOS | {"sortino_ratio", "calmar_ratio"}
    assert (figures["total_return"], figures["cagr"], figures["volatility"]) == (0.0, 0.0, 0.0)
    assert figures["beta"] == 0.0


def test_a_value_that_goes_to_zero_is_ruin() -> None:
    figures = of_returns([0.1, -1.4, 0.3])
    assert figures["ruined"] is True
    assert (figures["total_return"], figures["cagr"], figures["max_drawdown"]) == (-1.0, -1.0, -1.0)
    assert figures["annualized_return"] == pytest.approx(252 * -1.0 / 3)


def test_a_benchmark_that_does_not_move_has_no_beta_but_is_tracked() -> None:
    figures = of_returns([0.01, -0.01, 0.02], benchmark=np.zeros(3))
    assert (figures["beta"], figures["alpha"]) == (None, None)
    assert figures["tracking_error"] == pytest.approx(figures["volatility"])
    same = of_returns([0.01, -0.01, 0.02], benchmark=[0.01, -0.01, 0.02])
    assert (same["beta"], same["tracking_error"], same["information_ratio"]) == (pytest.approx(1.0), 0.0, None)


def test_moments_of_returns_that_hardly_deviate_are_moments_all_the_same() -> None:
    returns = 1.0 + np.array([100, 13, 13]) * 2.0**-52
    figures = of_returns(returns)
    assert figures["kurtosis"] == pytest.approx(1.5)
    assert figures["skewness"] == pytest.approx(math.sqrt(0.5))


def test_without_calendar_days_there_is_no_cagr() -> None:
    figures = summarize([0.1, -0.1], sessions_per_year=252)
    assert (figures["cagr"], figures["calmar_ratio"]) == (None, None)


def test_a_risk_free_series_is_said() -> None:
    figures = of_returns([0.01, -0.01, 0.02], risk_free=[1e-4, 1e-4, 2e-4])
    assert figures["risk_free"] == "series"
    assert figures["sharpe_ratio"] < of_returns([0.01, -0.01, 0.02])["sharpe_ratio"]


def test_what_was_held_and_traded_is_summarised() -> None:
    episodes = find_episodes(
        session=[0, 0, 2, 2],
        symbol=[0, 1, 0, 0],
        quantity=[5, 5, -5, 1],
        price=[10, 10, 12, 12],
        cost=[0, 0, 1, 0],
        marks=[12, 9],
        n_sessions=3,
    )
    book = Book(
        traded=[0.0, 0.0, 0.25],
        gross_exposures=[1.0, 1.0, 0.6],
        net_exposures=[1.0, 0.9, 0.2],
        held_sessions=[3, 3],
        alive=[True, False],
        num_trades=4,
        episodes=episodes,
    )
    figures = of_returns([0.0, 0.01, -0.01], book=book)
    assert {name: figures[name] for name in list(UNITS)[list(UNITS).index("turnover") :]} == {
        "turnover": pytest.approx(252 * 0.25 / 3),
        "gross_exposure": pytest.approx((1 + 1 + 0.6) / 3),
        "net_exposure": pytest.approx((1 + 0.9 + 0.2) / 3),
        "num_trades": 4,
        "win_rate": 1.0,
        "profit_factor": None,
        "avg_trade_return": pytest.approx(9 / 50),
        "avg_holding_period": 2.0,
        "open_episodes": 2,
        "survivorship": 0.5,
    }


def test_a_book_covers_the_sessions_of_the_returns() -> None:
    nothing = find_episodes(session=[], symbol=[], quantity=[], price=[], cost=[], marks=[], n_sessions=2)
    book = Book(
        traded=[0.0, 0.0, 0.0],
        gross_exposures=[0.0, 0.0],
        net_exposures=[0.0, 0.0],
        held_sessions=[],
        alive=np.zeros(0, dtype=bool),
        num_trades=0,
        episodes=nothing,
    )
    with pytest.raises(InvalidInputError, match="traded fractions has 3 sessions where 2 are needed"):
        of_returns([0.1, 0.2], book=book)
    figures = of_returns([0.1, 0.2], book=replace(book, traded=[0.0, 0.0]))
    names = list(UNITS)
    assert {name: figures[name] for name in names[names.index("turnover") :] if figures[name] is not None} == {
        "turnover": 0.0,
        "gross_exposure": 0.0,
        "net_exposure": 0.0,
        "num_trades": 0,
        "open_episodes": 0,
    }


@pytest.mark.parametrize("wrong", [{"benchmark": [0.1]}, {"risk_free": [0.1, math.nan]}])
def test_series_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        of_returns([0.1, 0.2], **wrong)


def test_the_reference_names_every_metric_with_its_unit_in_this_order() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
    page = page[page.index("## BacktestRun") : page.index("A run adds")]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE)
    assert rows == list(UNITS.items())
