"""Figures of returns beside those of a benchmark."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optaic.quant.performance import excess
from optaic.quant.series import FloatArray, as_series, check_sessions_per_year, deviation


def beta(returns: npt.ArrayLike, benchmark: npt.ArrayLike, *, risk_free: npt.ArrayLike | None = None) -> float:
    """Compute the slope of r - rf on b - rf, by ordinary least squares.

    Parameters
    ----------
    returns, benchmark : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.
    risk_free : array_like of shape (n_sessions,), optional
        What cash earned in each session, as a fraction; 0 without it.

    Returns
    -------
    float
        NaN for fewer than two sessions, and where b - rf has no deviation but rounding.

    Examples
    --------
    >>> round(beta([0.01, 0.03, 0.05], [0.01, 0.02, 0.03]), 6)
    2.0
    """
    return _fit_line(*_pair(returns, benchmark, risk_free))[0]


def alpha(
    returns: npt.ArrayLike,
    benchmark: npt.ArrayLike,
    *,
    sessions_per_year: float,
    risk_free: npt.ArrayLike | None = None,
) -> float:
    """Compute A times the intercept of r - rf on b - rf, by ordinary least squares (Jensen 1968).

    Parameters
    ----------
    returns, benchmark : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.
    sessions_per_year
        A.
    risk_free : array_like of shape (n_sessions,), optional
        What cash earned in each session, as a fraction; 0 without it.

    Returns
    -------
    float
        A fraction per year, not compounded; NaN where `beta` is.

    Notes
    -----
    empyrical compounds instead: (1 + intercept)^A - 1.

    Examples
    --------
    >>> round(alpha([0.011, 0.031, 0.051], [0.01, 0.02, 0.03], sessions_per_year=252), 6)
    -2.268
    """
    return check_sessions_per_year(sessions_per_year) * _fit_line(*_pair(returns, benchmark, risk_free))[1]


def _pair(
    returns: npt.ArrayLike, benchmark: npt.ArrayLike, risk_free: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    ours = as_series(returns, "returns")
    theirs = as_series(benchmark, "benchmark", length=len(ours))
    return excess(ours, risk_free), excess(theirs, risk_free)


def _fit_line(response: FloatArray, regressor: FloatArray) -> tuple[float, float]:
    if not math.isfinite(deviation(regressor)):
        return math.nan, math.nan
    centred = regressor - np.mean(regressor)
    slope = float(centred @ (response - np.mean(response)) / (centred @ centred))
    return slope, float(np.mean(response)) - slope * float(np.mean(regressor))


def tracking_error(returns: npt.ArrayLike, benchmark: npt.ArrayLike, *, sessions_per_year: float) -> float:
    """Compute sqrt(A) std(r - b, ddof=1).

    Parameters
    ----------
    returns, benchmark : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.
    sessions_per_year
        A.

    Returns
    -------
    float
        A fraction per square root of a year; NaN for fewer than two sessions.

    Examples
    --------
    >>> round(tracking_error([0.01, 0.03, 0.05], [0.01, 0.02, 0.03], sessions_per_year=252), 6)
    0.158745
    """
    active = _active(returns, benchmark)
    scale = math.sqrt(check_sessions_per_year(sessions_per_year))
    return scale * float(np.std(active, ddof=1)) if len(active) > 1 else math.nan


def information_ratio(returns: npt.ArrayLike, benchmark: npt.ArrayLike, *, sessions_per_year: float) -> float:
    """Compute A mean(r - b) / tracking_error.

    Parameters
    ----------
    returns, benchmark : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.
    sessions_per_year
        A.

    Returns
    -------
    float
        Annualised; NaN for fewer than two sessions, and where r - b has no deviation but rounding.

    Notes
    -----
    empyrical's `excess_sharpe` is the same per session, not annualised.

    Examples
    --------
    >>> round(information_ratio([0.01, 0.03, 0.05], [0.01, 0.02, 0.03], sessions_per_year=252), 6)
    15.874508
    """
    active = _active(returns, benchmark)
    scale = math.sqrt(check_sessions_per_year(sessions_per_year))
    spread = deviation(active)
    return scale * float(np.mean(active)) / spread if math.isfinite(spread) else math.nan


def _active(returns: npt.ArrayLike, benchmark: npt.ArrayLike) -> FloatArray:
    ours = as_series(returns, "returns")
    return ours - as_series(benchmark, "benchmark", length=len(ours))
