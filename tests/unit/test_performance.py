"""Figures of returns, against hand-computed examples, pandas, scipy, statsmodels and empyrical."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from optaic.errors import InvalidInputError
from optaic.quant import benchmark, performance, periods
from tests.market import index_returns, portfolio_returns, sessions

A = 252
Array = npt.NDArray[np.float64]
RETURNS = npst.arrays(np.float64, st.integers(2, 60), elements=st.floats(-0.5, 0.5, width=32))


def close_to(expected: float) -> object:
    return pytest.approx(expected, rel=1e-10, abs=1e-13)


def test_a_series_small_enough_for_paper() -> None:
    returns = [0.10, -0.05, 0.02, -0.01]
    # 1.1 x 0.95 x 1.02 x 0.99 = 1.0552410 ...; mean 0.015; deviations 0.085, -0.065, 0.005, -0.025 with squares 0.0121.
    assert performance.total_return(returns) == close_to(1.1 * 0.95 * 1.02 * 0.99 - 1)
    assert performance.annualized_return(returns, sessions_per_year=A) == close_to(252 * 0.015)
    assert performance.volatility(returns, sessions_per_year=A) == close_to(math.sqrt(252 * 0.0121 / 3))
    assert performance.sharpe_ratio(returns, sessions_per_year=A) == close_to(
        math.sqrt(252) * 0.015 / math.sqrt(0.0121 / 3)
    )
    # Below 0: -0.05 and -0.01, mean square (0.0025 + 0.0001) / 4.
    assert performance.sortino_ratio(returns, sessions_per_year=A) == close_to(
        math.sqrt(252) * 0.015 / math.sqrt(0.00065)
    )
    # Position 0.05 x 3 = 0.15 between -0.05 and -0.01.
    assert performance.var_95(returns) == close_to(-0.05 + 0.15 * 0.04)
    assert performance.cvar_95(returns) == close_to(-0.05)


def test_cagr_counts_calendar_days_not_sessions() -> None:
    assert performance.cagr([0.21], calendar_days=1461) == close_to(1.21**0.25 - 1)
    assert performance.cagr([0.21, 0.0, 0.0], calendar_days=1461) == close_to(1.21**0.25 - 1)


def test_the_minimum_of_sortino_is_subtracted_above_and_below() -> None:
    assert performance.sortino_ratio([0.03, -0.01], sessions_per_year=1, minimum=0.01) == close_to(
        0.0 / math.sqrt(0.0004 / 2)
    )
    assert performance.sortino_ratio([0.05, -0.01], sessions_per_year=4, minimum=0.01) == close_to(
        2 * 0.01 / math.sqrt(0.0004 / 2)
    )


def test_the_risk_free_return_is_subtracted_session_by_session() -> None:
    returns, cash = np.array([0.01, 0.02, -0.01]), np.array([0.0, 0.01, 0.0])
    assert performance.sharpe_ratio(returns, sessions_per_year=A, risk_free=cash) == close_to(
        performance.sharpe_ratio(returns - cash, sessions_per_year=A)
    )


# What empyrical-reloaded 0.7.1 gives for the same returns, to all its digits.
EMPYRICAL = {
    "portfolio": {
        "total_return": 247.42441253451932,
        "volatility": 0.18934707267648052,
        "sharpe_ratio": 0.978002459184391,
        "sortino_ratio": 1.4324539932463092,
        "var_95": -0.01744199982729225,
        "cvar_95": -0.027142405758601076,
    },
    "index": {
        "total_return": 9.518001612499772,
        "volatility": 0.1829602152051402,
        "sharpe_ratio": 0.4816185818530746,
        "sortino_ratio": 0.6798458788186326,
        "var_95": -0.017630343602343588,
        "cvar_95": -0.027526179148002265,
    },
}


@pytest.mark.parametrize("name", ["portfolio", "index"])
def test_figures_of_33_years_are_those_of_empyrical(name: str) -> None:
    returns = portfolio_returns() if name == "portfolio" else index_returns()
    ours = {
        "total_return": performance.total_return(returns),
        "volatility": performance.volatility(returns, sessions_per_year=A),
        "sharpe_ratio": performance.sharpe_ratio(returns, sessions_per_year=A),
        "sortino_ratio": performance.sortino_ratio(returns, sessions_per_year=A),
        "var_95": performance.var_95(returns),
        "cvar_95": performance.cvar_95(returns),
    }
    assert ours == {key: close_to(value) for key, value in EMPYRICAL[name].items()}


def test_relative_figures_of_33_years_are_those_of_empyrical() -> None:
    ours, theirs = portfolio_returns(), index_returns()
    assert benchmark.beta(ours, theirs) == close_to(0.9607067940819359)
    assert benchmark.alpha(ours, theirs, sessions_per_year=1) == close_to(0.00039891771550659705)
    assert benchmark.information_ratio(ours, theirs, sessions_per_year=1) == close_to(0.08639876124015299)


@given(RETURNS.filter(lambda values: float(np.std(values)) > 1e-6))
def test_figures_are_those_of_pandas_and_scipy(returns: Array) -> None:
    series = pd.Series(returns)
    assert performance.volatility(returns, sessions_per_year=A) == close_to(series.std() * A**0.5)
    assert performance.sharpe_ratio(returns, sessions_per_year=A) == close_to(series.mean() / series.std() * A**0.5)
    assert performance.var_95(returns) == close_to(series.quantile(0.05))
    assert performance.cvar_95(returns) == close_to(series[series <= series.quantile(0.05)].mean())
    assert performance.skewness(returns) == pytest.approx(scipy.stats.skew(returns), rel=1e-9, abs=1e-9)
    assert performance.kurtosis(returns) == pytest.approx(scipy.stats.kurtosis(returns, fisher=False), rel=1e-9)


def test_alpha_and_beta_are_those_of_a_regression_on_excess_returns() -> None:
    ours, theirs = portfolio_returns(), index_returns()
    cash = np.linspace(0.0, 3e-4, len(ours))
    slope, intercept = np.asarray(scipy.stats.linregress(theirs - cash, ours - cash))[:2]
    assert benchmark.beta(ours, theirs, risk_free=cash) == close_to(slope)
    assert benchmark.alpha(ours, theirs, sessions_per_year=A, risk_free=cash) == close_to(A * intercept)
    assert benchmark.tracking_error(ours, theirs, sessions_per_year=A) == close_to(
        pd.Series(ours - theirs).std() * A**0.5
    )


def test_the_rolling_sharpe_ratio_is_that_of_each_window_alone() -> None:
    returns, cash = portfolio_returns()[:400], np.full(400, 1e-4)
    rolling = periods.rolling_sharpe_ratio(returns, window=63, sessions_per_year=A, risk_free=cash)
    assert np.isnan(rolling[:62]).all()
    for end in (63, 200, 400):
        window = slice(end - 63, end)
        assert rolling[end - 1] == close_to(
            performance.sharpe_ratio(returns[window], sessions_per_year=A, risk_free=cash[window])
        )
    assert np.isnan(periods.rolling_sharpe_ratio(returns[:10], window=63, sessions_per_year=A)).all()
    assert np.isnan(periods.rolling_sharpe_ratio(np.full(5, 0.01), window=3, sessions_per_year=A)).all()


def test_months_and_years_compound_as_in_pandas() -> None:
    returns, days = index_returns(), sessions()[1:]
    series = pd.Series(returns + 1.0, index=pd.DatetimeIndex(days.astype("datetime64[ns]")))
    table = periods.monthly_returns(days, returns)
    assert table["year"].to_list() == list(range(1990, 2023))
    assert table["total"].to_numpy() == pytest.approx((series.resample("YE").prod() - 1).to_numpy(), abs=1e-12)
    months = table.select(table.columns[1:13]).to_numpy().ravel()
    assert months == pytest.approx((series.resample("ME").prod() - 1).to_numpy(), abs=1e-12)
    # The last months of 2022, as empyrical-reloaded 0.7.1 aggregates them.
    assert table.row(-1)[10:13] == pytest.approx((0.07986345457689303, 0.05375286029370052, -0.07276519505601542))


def test_a_month_without_a_session_is_null_and_a_year_without_one_is_left_out() -> None:
    days = [dt.date(2020, 12, 31), dt.date(2022, 2, 1)]
    table = periods.monthly_returns(np.array(days, "datetime64[D]"), [0.1, 0.2])
    assert table["year"].to_list() == [2020, 2022]
    assert table["dec"].to_list() == [pytest.approx(0.1), None]
    assert table["feb"].to_list() == [None, pytest.approx(0.2)]
    assert table["total"].to_list() == [pytest.approx(0.1), pytest.approx(0.2)]
    assert periods.monthly_returns(np.array([], "datetime64[D]"), []).shape == (0, 14)


def test_dates_that_do_not_rise_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="do not rise"):
        periods.monthly_returns(np.array(["2020-01-02", "2020-01-02"], "datetime64[D]"), [0.1, 0.1])


@given(RETURNS, st.floats(0.5, 2.0))
def test_leverage_scales_volatility_and_leaves_the_sharpe_ratio(returns: Array, leverage: float) -> None:
    scaled = performance.volatility(returns * leverage, sessions_per_year=A)
    assert scaled == pytest.approx(leverage * performance.volatility(returns, sessions_per_year=A), abs=1e-12)
    ratio = performance.sharpe_ratio(returns, sessions_per_year=A)
    if np.std(returns) > 1e-9:
        assert performance.sharpe_ratio(returns * leverage, sessions_per_year=A) == pytest.approx(ratio, rel=1e-6)


@pytest.mark.parametrize("rate", [0.0, 1e-5, 0.01, -0.2, 3.0])
def test_growth_at_a_constant_rate_has_no_sharpe_ratio_however_it_rounds(rate: float) -> None:
    values = 1e6 * (1 + rate) ** np.arange(200)
    returns = values[1:] / values[:-1] - 1
    assert math.isnan(performance.sharpe_ratio(returns, sessions_per_year=A))
    assert math.isnan(performance.skewness(returns))
    assert math.isnan(benchmark.beta(returns, returns))
    assert math.isnan(benchmark.information_ratio(returns + 1e-3, returns, sessions_per_year=A))
    assert performance.volatility(returns, sessions_per_year=A) == pytest.approx(0.0, abs=1e-12)


def test_what_needs_more_sessions_than_there_are_is_nan() -> None:
    for figure in (performance.total_return, performance.var_95, performance.cvar_95, performance.skewness):
        assert math.isnan(figure([]))
    assert math.isnan(performance.annualized_return([], sessions_per_year=A))
    assert math.isnan(performance.cagr([], calendar_days=10))
    assert math.isnan(performance.cagr([0.1], calendar_days=0))
    assert math.isnan(performance.volatility([0.1], sessions_per_year=A))
    assert math.isnan(performance.sharpe_ratio([0.1], sessions_per_year=A))
    assert math.isnan(performance.sortino_ratio([], sessions_per_year=A))
    assert math.isnan(performance.sortino_ratio([0.1, 0.2], sessions_per_year=A))


def test_nothing_follows_ruin() -> None:
    assert performance.total_return([0.5, -1.5, 9.0]) == -1.0
    assert performance.cagr([0.5, -1.0], calendar_days=30) == -1.0


@pytest.mark.parametrize("wrong", [[0.1, math.nan], [math.inf, 0.1], [[0.1, 0.2]]])
def test_what_is_no_series_of_finite_returns_is_refused(wrong: list[float]) -> None:
    with pytest.raises(InvalidInputError, match="returns"):
        performance.sharpe_ratio(wrong, sessions_per_year=A)


def test_a_series_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="benchmark has 3 sessions where 2 are needed"):
        benchmark.beta([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(InvalidInputError, match="risk_free"):
        performance.sharpe_ratio([0.1, 0.2], sessions_per_year=A, risk_free=[0.1])


@pytest.mark.parametrize("sessions_per_year", [0, -252, math.nan, math.inf])
def test_sessions_per_year_must_be_positive(sessions_per_year: float) -> None:
    with pytest.raises(InvalidInputError, match="sessions per year"):
        performance.volatility([0.1, 0.2], sessions_per_year=sessions_per_year)


def test_a_window_of_one_session_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="window of 1"):
        periods.rolling_sharpe_ratio([0.1, 0.2], window=1, sessions_per_year=A)
