"""Figures of a signal: does it order what follows, how fast does it change, what do its quantiles earn.

A signal and its labels are panels of shape (n_sessions, n_symbols), NaN where there is none. `members` says who is in
the universe at t; who is not is left out, as what is NaN is. Labels come from `optaic.quant.labels`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.ranks import correlate_rows, rank_rows
from optaic.quant.series import FloatArray, as_mask, as_panel, deviation

MIN_NAMES = 10
"""Fewer names than this on a session have no information coefficient."""


def information_coefficients(
    signal: npt.ArrayLike, labels: npt.ArrayLike, *, members: npt.ArrayLike | None = None, min_names: int = MIN_NAMES
) -> FloatArray:
    """Compute ic_t, the Spearman correlation of signal and label across the members of session t.

    Parameters
    ----------
    signal, labels : array_like of shape (n_sessions, n_symbols)
        NaN where there is none. A symbol counts at t if it has both.
    members : array_like of shape (n_sessions, n_symbols), bool, optional
        Who is in the universe at t.
    min_names
        A session with fewer symbols has no coefficient.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        In [-1, 1], equal values sharing the mean of their ranks. NaN with too few symbols, and where all signals or all
        labels are equal.

    Examples
    --------
    >>> information_coefficients([[1, 2, 3, 4]], [[0.1, 0.3, 0.2, 0.4]], min_names=4).round(6).tolist()
    [0.8]
    """
    left, right = _pair(signal, labels, members)
    return correlate_rows(rank_rows(left), rank_rows(right), min_names=min_names)


def _pair(signal: npt.ArrayLike, labels: npt.ArrayLike, members: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    left = as_panel(signal, "signal")
    shape = (left.shape[0], left.shape[1])
    right = as_panel(labels, "labels", shape=shape)
    there = as_mask(members, "members", shape=shape) & ~np.isnan(left) & ~np.isnan(right)
    return np.where(there, left, np.nan), np.where(there, right, np.nan)


def ic(coefficients: npt.ArrayLike) -> float:
    """Compute the mean of ic_t over the sessions that have one; never pooled over sessions.

    Parameters
    ----------
    coefficients : array_like of shape (n_sessions,)
        What `information_coefficients` gave; NaN is left out.

    Returns
    -------
    float
        In [-1, 1]; NaN without a coefficient.

    Examples
    --------
    >>> ic([0.1, np.nan, 0.3])
    0.2
    """
    found = _present(coefficients)
    return float(np.mean(found)) if len(found) else math.nan


def ic_ir(coefficients: npt.ArrayLike) -> float:
    """Compute mean / std(ddof=1) of ic_t, per session: not annualised.

    Parameters
    ----------
    coefficients : array_like of shape (n_sessions,)
        What `information_coefficients` gave; NaN is left out.

    Returns
    -------
    float
        NaN for fewer than two coefficients, and where they do not deviate.

    Examples
    --------
    >>> round(ic_ir([0.1, 0.3]), 6)
    1.414214
    """
    found = _present(coefficients)
    spread = deviation(found)
    return float(np.mean(found)) / spread if math.isfinite(spread) else math.nan


def hit_rate(coefficients: npt.ArrayLike) -> float:
    """Compute the share of sessions with ic_t > 0, among those that have one.

    Parameters
    ----------
    coefficients : array_like of shape (n_sessions,)
        What `information_coefficients` gave; NaN is left out.

    Returns
    -------
    float
        A fraction; NaN without a coefficient.

    Examples
    --------
    >>> hit_rate([0.1, -0.1, 0.0, np.nan, 0.2])
    0.5
    """
    found = _present(coefficients)
    return float(np.mean(found > 0)) if len(found) else math.nan


def _present(coefficients: npt.ArrayLike) -> FloatArray:
    values = np.asarray(coefficients, dtype=np.float64)
    return values[~np.isnan(values)]


class Method(StrEnum):
    """How the variance of the mean was estimated."""

    HANSEN_HODRICK = "hansen_hodrick"
    """From all sessions, with the autocovariances up to lag h - 1."""

    NON_OVERLAPPING = "non_overlapping"
    """From every h-th session, whose labels share no return."""

    UNDEFINED = "undefined"
    """By neither: too few coefficients, or none that deviate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TStatistic:
    """A t-statistic of a mean, and where it comes from.

    Attributes
    ----------
    value
        Mean over its standard error; NaN if undefined.
    method
        How the standard error was estimated.
    observations
        Coefficients that it was estimated from.
    """

    value: float
    method: Method
    observations: int


def ic_t_statistic(coefficients: npt.ArrayLike, *, horizon: int) -> TStatistic:
    """Compute the t-statistic of the mean of ic_t, whose labels overlap (Hansen and Hodrick 1980).

    Labels of h sessions share returns with those of the h - 1 sessions before, so ic_t is autocorrelated up to lag
    h - 1 and the naive statistic is too large, by up to sqrt(h). The variance of the mean is

        (g_0 + 2 sum_{k=1}^{h-1} g_k) / n,    g_k = (1/n) sum_t (x_t - m)(x_{t-k} - m),

    without weights, so that it need not be positive. Where it is not, the statistic is that of every h-th session from
    the first that has a coefficient, with std(ddof=1) / sqrt(n).

    Parameters
    ----------
    coefficients : array_like of shape (n_sessions,)
        What `information_coefficients` gave, on consecutive sessions: lags count sessions, also those without a
        coefficient (NaN), whose products are left out of the sums.
    horizon
        h of the labels, in sessions; at least 1.

    Returns
    -------
    TStatistic

    Raises
    ------
    InvalidInputError
        If the horizon is below 1.

    Notes
    -----
    Equal to statsmodels' HAC covariance with the uniform kernel, h - 1 lags and no small-sample correction.

    Examples
    --------
    >>> statistic = ic_t_statistic([0.02, 0.05, 0.01, 0.04, -0.01, 0.03], horizon=1)
    >>> round(statistic.value, 6), statistic.method.value, statistic.observations
    (2.898275, 'hansen_hodrick', 6)
    """
    if horizon < 1:
        raise InvalidInputError(
            f"a label of {horizon} sessions has no overlap", next_step="give a horizon of 1 or more"
        )
    values = np.asarray(coefficients, dtype=np.float64)
    found = _present(values)
    if math.isfinite(deviation(found)):
        mean = float(np.mean(found))
        centred = np.where(np.isnan(values), 0.0, values - mean)
        lags = range(1, min(horizon, len(centred)))
        covariance = float(centred @ centred) + 2.0 * sum(float(centred[lag:] @ centred[:-lag]) for lag in lags)
        # A sum that is 0 but for rounding must not become a statistic of millions.
        if covariance > 1e-12 * float(centred @ centred):
            error = math.sqrt(covariance) / len(found)
            return TStatistic(value=mean / error, method=Method.HANSEN_HODRICK, observations=len(found))
        apart = _present(values[int(np.argmin(np.isnan(values))) :: horizon])
        spread = deviation(apart)
        if math.isfinite(spread):
            value = float(np.mean(apart)) / (spread / math.sqrt(len(apart)))
            return TStatistic(value=value, method=Method.NON_OVERLAPPING, observations=len(apart))
    return TStatistic(value=math.nan, method=Method.UNDEFINED, observations=len(found))


def signal_autocorrelations(
    signal: npt.ArrayLike, *, members: npt.ArrayLike | None = None, min_names: int = MIN_NAMES
) -> FloatArray:
    """Compute the Spearman correlation of the signal at t with that at t - 1, across the members of both sessions.

    Parameters
    ----------
    signal : array_like of shape (n_sessions, n_symbols)
        NaN where there is none.
    members : array_like of shape (n_sessions, n_symbols), bool, optional
        Who is in the universe at t.
    min_names
        A pair of sessions with fewer common symbols has none.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        In [-1, 1]; NaN at the first session. `signal_autocorrelation` is `ic` of it: the mean over sessions.

    Examples
    --------
    >>> signal_autocorrelations([[1, 2, 3], [10, 30, 20]], min_names=3).tolist()
    [nan, 0.5]
    """
    panel = as_panel(signal, "signal")
    panel = np.where(as_mask(members, "members", shape=(panel.shape[0], panel.shape[1])), panel, np.nan)
    if not len(panel):
        return np.zeros(0)
    return np.append([np.nan], information_coefficients(panel[1:], panel[:-1], min_names=min_names))


def signal_autocorrelation(
    signal: npt.ArrayLike, *, members: npt.ArrayLike | None = None, min_names: int = MIN_NAMES
) -> float:
    """Compute the mean over sessions of the rank autocorrelation at lag 1.

    Parameters
    ----------
    signal : array_like of shape (n_sessions, n_symbols)
        NaN where there is none.
    members : array_like of shape (n_sessions, n_symbols), bool, optional
        Who is in the universe at t.
    min_names
        A pair of sessions with fewer common symbols is left out.

    Returns
    -------
    float
        In [-1, 1]; NaN where no pair of sessions has one.

    Examples
    --------
    >>> signal_autocorrelation([[1, 2, 3], [10, 30, 20]], min_names=3)
    0.5
    """
    return ic(signal_autocorrelations(signal, members=members, min_names=min_names))
