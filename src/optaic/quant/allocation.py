"""What an allocation is expected to be: from weights and moments, without a solver."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError

Floats = npt.NDArray[np.float64]


def describe_allocation(
    weights: Floats,
    *,
    expected_returns: Floats,
    covariance: Floats,
    sessions_per_year: float,
    risk_free_rate: float = 0.0,
    previous: Floats | None = None,
) -> dict[str, float | None]:
    """Say what an allocation is expected to be.

    Parameters
    ----------
    weights : ndarray of shape (n_symbols,), float64
        Fractions of the value; below zero for short positions. Without NaN.
    expected_returns : ndarray of shape (n_symbols,), float64
        Simple returns per session, as fractions.
    covariance : ndarray of shape (n_symbols, n_symbols), float64
        Of simple returns per session.
    sessions_per_year : float
        What annualises.
    risk_free_rate : float
        Simple return per session, as a fraction.
    previous : ndarray of shape (n_symbols,), float64, optional
        The weights held before, drifted.

    Returns
    -------
    dict
        `expected_return` and `expected_volatility` (fractions per year), `expected_sharpe` (per year),
        `diversification_ratio`, `effective_n`, `concentration`, `gross_exposure`, `net_exposure`, `long_weight`,
        `short_weight` (0 or more), `num_positions`, and `turnover` (one-way, of this one decision). None where it is
        not defined: without risk no Sharpe ratio, without positions no effective number, without previous weights no
        turnover.

    Raises
    ------
    InvalidInputError
        If shapes differ, or a number is not finite.

    Notes
    -----
    expected_return = A w'mu, expected_volatility = sqrt(A w'S w), expected_sharpe = (A w'mu - A rf) / volatility
    (Markowitz 1952; Sharpe 1966). diversification_ratio = sum |w_i| s_i / s_p (Choueifaty and Coignard 2008, eq. 1,
    with absolute weights). effective_n = (sum |w|)^2 / sum w^2, the inverse of the Herfindahl index of the shares of
    the gross exposure, which is `concentration`. turnover = 1/2 sum |w - w_previous|.

    Examples
    --------
    >>> figures = describe_allocation(
    ...     np.array([0.5, 0.5]),
    ...     expected_returns=np.array([0.001, 0.003]),
    ...     covariance=np.array([[0.0004, 0.0], [0.0, 0.0004]]),
    ...     sessions_per_year=250,
    ... )
    >>> round(figures["expected_return"], 6), figures["effective_n"], round(figures["diversification_ratio"], 6)
    (0.5, 2.0, 1.414214)
    """
    n_symbols = len(weights)
    shapes = (expected_returns.shape, covariance.shape, (n_symbols,) if previous is None else previous.shape)
    if weights.shape != (n_symbols,) or shapes != ((n_symbols,), (n_symbols, n_symbols), (n_symbols,)):
        raise InvalidInputError(f"weights of shape {weights.shape} do not fit moments of shapes {shapes}")
    parts = (weights, expected_returns, covariance, *([] if previous is None else [previous]))
    if not all(bool(np.isfinite(part).all()) for part in parts):
        raise InvalidInputError("weights and moments must be finite numbers")
    mean = sessions_per_year * float(weights @ expected_returns)
    variance = max(float(weights @ covariance @ weights), 0.0)
    volatility = math.sqrt(sessions_per_year * variance)
    gross = float(np.abs(weights).sum())
    squares = float((weights**2).sum())
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return {
        "expected_return": mean,
        "expected_volatility": volatility,
        "expected_sharpe": (mean - sessions_per_year * risk_free_rate) / volatility if volatility > 0 else None,
        "diversification_ratio": float(np.abs(weights) @ deviations) / math.sqrt(variance) if variance > 0 else None,
        "effective_n": gross**2 / squares if squares > 0 else None,
        "concentration": squares / gross**2 if squares > 0 else None,
        "gross_exposure": gross,
        "net_exposure": float(weights.sum()),
        "long_weight": float(weights[weights > 0].sum()),
        "short_weight": float(np.abs(weights[weights < 0]).sum()),
        "num_positions": float(np.count_nonzero(np.abs(weights) > NEGLIGIBLE)),
        "turnover": None if previous is None else one_way_turnover(weights, previous),
    }


NEGLIGIBLE = 1e-6
"""A weight that is not larger, in absolute value, is no position: solvers leave such weights where zero is meant."""


def one_way_turnover(weights: Floats, previous: Floats) -> float:
    """Give the share of the value that is traded: half the sum of the absolute changes of weights.

    Examples
    --------
    >>> one_way_turnover(np.array([0.6, 0.4]), np.array([0.5, 0.5]))
    0.1
    """
    return round(float(np.abs(weights - previous).sum()) / 2.0, 15)


def drift_weights(weights: Floats, growth: Floats) -> Floats:
    """Let weights drift with the prices: what is not invested earns nothing.

    Parameters
    ----------
    weights : ndarray of shape (n_symbols,), float64
        Fractions of the value when they were set.
    growth : ndarray of shape (n_symbols,), float64
        What a unit of each has become since: 1 + its total return. NaN counts as 1.

    Returns
    -------
    ndarray of shape (n_symbols,), float64
        w_i g_i / (1 + sum w_j (g_j - 1)).

    Raises
    ------
    InvalidInputError
        If nothing is left of the value.

    Examples
    --------
    >>> drift_weights(np.array([0.5, 0.5]), np.array([1.2, 1.0])).round(6).tolist()
    [0.545455, 0.454545]
    """
    grown = np.where(np.isfinite(growth), growth, 1.0)
    value = 1.0 + float(weights @ (grown - 1.0))
    if not value > 0.0:
        raise InvalidInputError("the previous weights have lost their whole value, so there is nothing to rebalance")
    return weights * grown / value


def sample_moments(returns: Floats) -> tuple[Floats, Floats]:
    """Give the means and the covariance (ddof=1) of returns.

    Parameters
    ----------
    returns : ndarray of shape (n_sessions, n_symbols), float64
        Simple returns, without NaN; at least two sessions.

    Returns
    -------
    tuple of (ndarray of shape (n_symbols,), ndarray of shape (n_symbols, n_symbols))
        Per session.

    Examples
    --------
    >>> mean, covariance = sample_moments(np.array([[0.01], [0.03]]))
    >>> mean.tolist(), covariance.round(6).tolist()
    ([0.02], [[0.0002]])
    """
    return returns.mean(axis=0), np.atleast_2d(np.cov(returns, rowvar=False, ddof=1))


def scale_scores(scores: Floats, volatilities: Floats, *, ic: float, horizon: int) -> Floats:
    """Make expected returns of scores: IC times volatility times score.

    Parameters
    ----------
    scores : ndarray of shape (n_symbols,), float64
        Standardised over the names (mean 0, deviation 1); NaN gives 0.
    volatilities : ndarray of shape (n_symbols,), float64
        Standard deviation of simple returns per session.
    ic : float
        The correlation between scores and the returns of the next `horizon` sessions.
    horizon : int
        In sessions, 1 or more.

    Returns
    -------
    ndarray of shape (n_symbols,), float64
        Simple returns per session: over the horizon IC s_i sqrt(h) z_i (Grinold 1994, "Alpha is volatility times IC
        times score"), hence IC s_i z_i / sqrt(h) per session.

    Examples
    --------
    >>> scale_scores(np.array([1.0, -1.0]), np.array([0.02, 0.01]), ic=0.05, horizon=4).tolist()
    [0.0005, -0.00025]
    """
    return ic * volatilities * np.where(np.isfinite(scores), scores, 0.0) / math.sqrt(horizon)
