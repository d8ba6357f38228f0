"""Figures of a series of returns: what it earned, how much it moved, and the one divided by the other.

Returns are simple, net of costs, per session, as fractions: r_t = V_t / V_{t-1} - 1. A, the sessions per year, is a
constant of the calendar (XNYS 252, weekdays 260, every day 365) and an argument: it is never counted from the sample.
Losses are negative.

What is not defined is NaN, never infinite: a mean of no session, a deviation of fewer than two, a ratio whose
denominator is zero up to rounding. `optaic.quant.summary` turns NaN into None. Every function refuses NaN and infinite
returns.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optaic.quant.series import ROUNDING, FloatArray, as_series, check_sessions_per_year, deviation

DAYS_PER_YEAR = 365.25


def wealth(returns: npt.ArrayLike) -> FloatArray:
    """Give the value of 1 that was invested before the first session.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.

    Returns
    -------
    ndarray of shape (n_sessions + 1,), float64
        V_0 = 1, and the value after each session.

    Notes
    -----
    A return of -1 or less is ruin: the value is 0 from that session on, whatever returns follow, because a return on
    nothing, or on debt, has no meaning. So the total return is never below -1, and no drawdown is.

    Examples
    --------
    >>> wealth([0.1, -0.5, -1.2, 3.0]).round(2).tolist()
    [1.0, 1.1, 0.55, 0.0, 0.0]
    """
    growth: FloatArray = np.concatenate([[1.0], 1.0 + as_series(returns, "returns")])
    return np.multiply.accumulate(np.maximum(growth, 0.0))


def total_return(returns: npt.ArrayLike) -> float:
    """Compute V_T / V_0 - 1.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.

    Returns
    -------
    float
        A fraction, over the whole period; -1 after ruin, NaN without a session.

    Examples
    --------
    >>> round(total_return([0.1, -0.05, 0.02]), 6)
    0.0659
    """
    values = wealth(returns)
    return float(values[-1] - 1.0) if len(values) > 1 else math.nan


def annualized_return(returns: npt.ArrayLike, *, sessions_per_year: float) -> float:
    """Compute A mean(r), the arithmetic mean per year.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.
    sessions_per_year
        A.

    Returns
    -------
    float
        A fraction per year, not compounded; NaN without a session.

    Notes
    -----
    `annual_return` of empyrical is compounded; the compounded figure here is `cagr`.

    Examples
    --------
    >>> round(annualized_return([0.01, -0.005, 0.001], sessions_per_year=252), 6)
    0.504
    """
    series = as_series(returns, "returns")
    return check_sessions_per_year(sessions_per_year) * float(np.mean(series)) if len(series) else math.nan


def cagr(returns: npt.ArrayLike, *, calendar_days: int) -> float:
    """Compute the compound annual growth rate, (V_T / V_0)^(365.25 / calendar days) - 1.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.
    calendar_days
        From the date of V_0 (the session before the first return) to the date of V_T.

    Returns
    -------
    float
        A fraction per year, compounded; -1 after ruin; NaN without a session, and for no or negative days.

    Notes
    -----
    `annual_return` of empyrical and `cagr` of quantstats count years by sessions instead.

    Examples
    --------
    >>> round(cagr([0.1, 0.1], calendar_days=731), 6)
    0.099928
    """
    values = wealth(returns)
    if len(values) < 2 or calendar_days <= 0:
        return math.nan
    # numpy's power: that of Python raises where a short period annualises beyond the largest float.
    return float(np.power(values[-1], DAYS_PER_YEAR / calendar_days) - 1.0)


def volatility(returns: npt.ArrayLike, *, sessions_per_year: float) -> float:
    """Compute sqrt(A) std(r, ddof=1).

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.
    sessions_per_year
        A.

    Returns
    -------
    float
        A fraction per square root of a year; NaN for fewer than two sessions.

    Examples
    --------
    >>> round(volatility([0.01, -0.01], sessions_per_year=252), 6)
    0.224499
    """
    series = as_series(returns, "returns")
    scale = math.sqrt(check_sessions_per_year(sessions_per_year))
    return scale * float(np.std(series, ddof=1)) if len(series) > 1 else math.nan


def excess(returns: npt.ArrayLike, risk_free: npt.ArrayLike | None) -> FloatArray:
    """Give r - rf, or r where there is no risk-free series.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.
    risk_free : array_like of shape (n_sessions,), optional
        What cash earned in each session, as a fraction per session (not per year).

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        Fractions per session.

    Examples
    --------
    >>> excess([0.02, 0.01], [0.005, 0.0]).round(6).tolist()
    [0.015, 0.01]
    """
    series = as_series(returns, "returns")
    return series if risk_free is None else series - as_series(risk_free, "risk_free", length=len(series))


def sharpe_ratio(returns: npt.ArrayLike, *, sessions_per_year: float, risk_free: npt.ArrayLike | None = None) -> float:
    """Compute sqrt(A) mean(r - rf) / std(r - rf, ddof=1) (Sharpe 1994).

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.
    sessions_per_year
        A.
    risk_free : array_like of shape (n_sessions,), optional
        What cash earned in each session, as a fraction; 0 without it.

    Returns
    -------
    float
        Annualised. NaN for fewer than two sessions, and where r - rf has no deviation but rounding.

    Notes
    -----
    Equal to empyrical's and quantstats' figure at the same A. skfolio's ratio is per session unless annualised.

    Examples
    --------
    >>> round(sharpe_ratio([0.01, -0.005, 0.002], sessions_per_year=252), 6)
    4.935082
    """
    series = excess(returns, risk_free)
    return math.sqrt(check_sessions_per_year(sessions_per_year)) * session_sharpe_ratio(series)


def session_sharpe_ratio(series: FloatArray) -> float:
    """Compute mean / std(ddof=1) of excess returns: the Sharpe ratio per session, which significance is about.

    Parameters
    ----------
    series : ndarray of shape (n_sessions,)
        Finite excess returns per session, as fractions.

    Returns
    -------
    float
        Per session, not annualised; NaN where `deviation` is.

    Examples
    --------
    >>> round(session_sharpe_ratio(np.array([0.01, 0.03])), 6)
    1.414214
    """
    spread = deviation(series)
    return float(np.mean(series)) / spread if math.isfinite(spread) else math.nan


def sortino_ratio(returns: npt.ArrayLike, *, sessions_per_year: float, minimum: float = 0.0) -> float:
    """Compute A mean(r - m) / (sqrt(A) sqrt(mean(min(r - m, 0)^2))) (Sortino and Price 1994).

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.
    sessions_per_year
        A.
    minimum
        m, the minimal acceptable return, a fraction per session.

    Returns
    -------
    float
        Annualised. NaN without a session, and where no return lies below m but by rounding.

    Notes
    -----
    The mean under the root is over all sessions, not over those below m alone. Equal to empyrical's figure.

    Examples
    --------
    >>> round(sortino_ratio([0.01, -0.005, 0.002], sessions_per_year=252), 6)
    12.831212
    """
    series = as_series(returns, "returns") - minimum
    scale = math.sqrt(check_sessions_per_year(sessions_per_year))
    if not len(series):
        return math.nan
    downside = float(np.sqrt(np.mean(np.square(np.minimum(series, 0.0)))))
    return scale * float(np.mean(series)) / downside if ROUNDING < downside < math.inf else math.nan


def var_95(returns: npt.ArrayLike) -> float:
    """Compute the 5 % quantile of the returns, with linear interpolation: the historical value at risk.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.

    Returns
    -------
    float
        A fraction per session, negative for a loss (others turn the sign); NaN without a session.

    Examples
    --------
    >>> round(var_95([-0.03, -0.01, 0.0, 0.01, 0.02]), 6)
    -0.026
    """
    series = as_series(returns, "returns")
    return float(np.quantile(series, 0.05)) if len(series) else math.nan


def cvar_95(returns: npt.ArrayLike) -> float:
    """Compute the mean of the returns that do not exceed `var_95` (expected shortfall, Acerbi and Tasche 2002).

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.

    Returns
    -------
    float
        A fraction per session, negative for a loss; NaN without a session.

    Notes
    -----
    The mean of whole observations: skfolio weights the last one, so that exactly 5 % of the mass is averaged.

    Examples
    --------
    >>> cvar_95([-0.03, -0.01, 0.0, 0.01, 0.02])
    -0.03
    """
    series = as_series(returns, "returns")
    tail = series[series <= var_95(series)]
    return float(np.mean(tail)) if len(tail) else math.nan


def skewness(returns: npt.ArrayLike) -> float:
    """Compute m3 / m2^1.5 from biased central moments.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.

    Returns
    -------
    float
        0 for a symmetric sample. NaN for fewer than two sessions, and without deviation but rounding.

    Notes
    -----
    scipy's default. pandas and `TS_SKEW` of the expressions correct the bias.

    Examples
    --------
    >>> round(skewness([0.0, 0.0, 0.0, 0.04]), 6)
    1.154701
    """
    return _standardized_moment(as_series(returns, "returns"), 3)


def kurtosis(returns: npt.ArrayLike) -> float:
    """Compute m4 / m2^2 from biased central moments: raw, 3 for a normal distribution.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.

    Returns
    -------
    float
        At least 1. NaN for fewer than two sessions, and without deviation but rounding.

    Notes
    -----
    scipy's with `fisher=False`. pandas, quantstats and `TS_KURT` of the expressions give excess kurtosis, corrected
    for bias.

    Examples
    --------
    >>> round(kurtosis([0.0, 0.0, 0.0, 0.04]), 6)
    2.333333
    """
    return _standardized_moment(as_series(returns, "returns"), 4)


def _standardized_moment(series: FloatArray, order: int) -> float:
    if not math.isfinite(deviation(series)):
        return math.nan
    # Centred twice: where values hardly deviate, the rounding of the first mean would break Pearson's inequality.
    scores: FloatArray = (series - np.mean(series)) / np.std(series)
    scores -= np.mean(scores)
    scores /= np.sqrt(np.mean(np.square(scores)))
    return float(np.mean(scores**order))
