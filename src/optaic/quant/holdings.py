"""Figures of weights: how much was traded, how much was held, and whether it is still alive."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.series import FloatArray, as_panel, as_series, check_sessions_per_year


def traded_fractions(targets: npt.ArrayLike, drifted: npt.ArrayLike) -> FloatArray:
    """Compute 1/2 sum |w_target - w_drifted| in each session: one-way, first purchase excluded.

    Parameters
    ----------
    targets : array_like of shape (n_sessions, n_symbols)
        Weights after the session's trade, as fractions of the value; equal to the drifted ones where nothing was
        traded. NaN counts as 0.
    drifted : array_like of shape (n_sessions, n_symbols)
        Weights before it. NaN counts as 0.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        Fractions of the value per session; 0 in the first session that buys, if nothing was held before it.

    Examples
    --------
    >>> traded_fractions([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]], [[0.0, 0.0], [0.5, 0.5], [0.6, 0.4]]).tolist()
    [0.0, 0.0, 0.4]
    """
    held = np.nan_to_num(as_panel(drifted, "drifted weights"))
    wanted = np.nan_to_num(as_panel(targets, "target weights", shape=(held.shape[0], held.shape[1])))
    traded = 0.5 * np.abs(wanted - held).sum(axis=1)
    if traded.any() and not held[: (first := int(np.argmax(traded > 0))) + 1].any():
        traded[first] = 0.0
    return traded


def turnover(traded: npt.ArrayLike, *, sessions_per_year: float) -> float:
    """Compute A times the mean per session of 1/2 sum |w_target - w_drifted|: one-way, first purchase excluded.

    Parameters
    ----------
    traded : array_like of shape (n_sessions,)
        What `traded_fractions` gave, for each session of the returns: also those without a trade.
    sessions_per_year
        A.

    Returns
    -------
    float
        Times the value per year: 1.0 is the whole portfolio replaced once a year. NaN without a session.

    Examples
    --------
    >>> turnover([0.0, 0.4, 0.1, 0.0], sessions_per_year=252)
    31.5
    """
    series = as_series(traded, "traded fractions")
    return check_sessions_per_year(sessions_per_year) * float(np.mean(series)) if len(series) else math.nan


def gross_exposures(weights: npt.ArrayLike) -> FloatArray:
    """Compute sum |w| at each close, after drift; `gross_exposure` of a backtest is its mean over sessions.

    Parameters
    ----------
    weights : array_like of shape (n_sessions, n_symbols)
        Weights at each close, as fractions of the value. NaN counts as 0.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        Fractions of the value.

    Examples
    --------
    >>> gross_exposures([[0.5, -0.5], [1.0, np.nan]]).tolist()
    [1.0, 1.0]
    """
    gross: FloatArray = np.abs(np.nan_to_num(as_panel(weights, "weights"))).sum(axis=1)
    return gross


def net_exposures(weights: npt.ArrayLike) -> FloatArray:
    """Compute sum w at each close, after drift; `net_exposure` of a backtest is its mean over sessions.

    Parameters
    ----------
    weights : array_like of shape (n_sessions, n_symbols)
        Weights at each close, as fractions of the value. NaN counts as 0.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        Fractions of the value.

    Examples
    --------
    >>> net_exposures([[0.5, -0.5], [1.0, np.nan]]).tolist()
    [0.0, 1.0]
    """
    net: FloatArray = np.nan_to_num(as_panel(weights, "weights")).sum(axis=1)
    return net


def survivorship(held_sessions: npt.ArrayLike, alive: npt.ArrayLike) -> float:
    """Compute the share of position-days in names that are alive at the panel's end.

    Parameters
    ----------
    held_sessions : array_like of shape (n_symbols,)
        In how many sessions each symbol was held at the close, whatever its weight.
    alive : array_like of shape (n_symbols,), bool
        Whether the symbol has a price at the end of the panel that it was chosen from.

    Returns
    -------
    float
        A fraction; at 1 the panel may hold survivors only. NaN where nothing was held.

    Raises
    ------
    InvalidInputError
        If there is not one truth value a symbol.

    Examples
    --------
    >>> survivorship([30, 10], [True, False])
    0.75
    """
    days, living = as_series(held_sessions, "held sessions"), np.asarray(alive)
    if living.dtype != np.bool_ or living.shape != days.shape:
        raise InvalidInputError(
            f"alive is {living.dtype} of shape {living.shape} where bool of {days.shape} is needed",
            next_step="give one truth value a symbol",
        )
    held = float(days.sum())
    return float(days[living].sum()) / held if held > 0 else math.nan
