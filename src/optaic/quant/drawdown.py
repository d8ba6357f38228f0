"""How far, and for how long, a value was below its highest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optaic.quant.performance import cagr, wealth
from optaic.quant.series import FloatArray, IntArray

AT_THE_PEAK = 1e-12
"""A value less than this fraction below its peak has reached it: products of thousands of returns round so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawdownDuration:
    """The longest time from a peak to its recovery.

    Attributes
    ----------
    sessions
        From the session of the peak to the first that reaches it again, or to the last session if none did; 0 without a
        drawdown.
    is_open
        Whether the longest one had not recovered at the end, so that it is longer still.
    """

    sessions: int
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawdownEpisodes:
    """The times below a peak, from first to last; each array has one element an episode.

    Attributes
    ----------
    peak : ndarray of int64
        The session of the peak: 0 is before the first return, k is after the k-th.
    trough : ndarray of int64
        The session of the lowest value, numbered alike; the first of equals.
    recovery : ndarray of int64
        The first session that reaches the peak again; -1 if none did, which only the last episode can say.
    depth : ndarray of float64
        The drawdown at the trough, a negative fraction.
    """

    peak: IntArray
    trough: IntArray
    recovery: IntArray
    depth: FloatArray


def drawdowns(returns: npt.ArrayLike) -> FloatArray:
    """Compute V_t / max(V_0..V_t) - 1 after each session.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        Fractions in [-1, 0]; 0 at a peak, -1 after ruin. V_0, before the first session, is a peak too.

    Notes
    -----
    Compounded, as in empyrical and quantstats; skfolio's default adds returns instead.

    Examples
    --------
    >>> drawdowns([0.1, -0.5, 0.2, 1.0]).round(4).tolist()
    [0.0, -0.5, -0.4, 0.0]
    """
    values = wealth(returns)
    below = values / np.maximum.accumulate(values) - 1.0
    below[below > -AT_THE_PEAK] = 0.0
    return below[1:]


def max_drawdown(returns: npt.ArrayLike) -> float:
    """Compute the lowest drawdown.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.

    Returns
    -------
    float
        A fraction in [-1, 0]; 0 if the value never fell, NaN without a session.

    Examples
    --------
    >>> round(max_drawdown([0.1, -0.5, 0.2]), 6)
    -0.5
    """
    below = drawdowns(returns)
    return float(below.min()) if len(below) else math.nan


def drawdown_episodes(returns: npt.ArrayLike) -> DrawdownEpisodes:
    """Find the times below a peak.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.

    Returns
    -------
    DrawdownEpisodes
        With empty arrays if the value never fell.

    Examples
    --------
    >>> episodes = drawdown_episodes([0.1, -0.5, 0.2, 1.0, -0.1])
    >>> episodes.peak.tolist(), episodes.trough.tolist(), episodes.recovery.tolist(), episodes.depth.round(2).tolist()
    ([1, 4], [2, 5], [4, -1], [-0.5, -0.1])
    """
    below = drawdowns(returns)
    edges = np.diff(np.concatenate([[0], (below < 0).astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    troughs = np.array(
        [start + int(np.argmin(below[start:end])) for start, end in zip(starts, ends, strict=True)], np.int64
    )
    recoveries = np.where(ends < len(below), ends + 1, -1)
    return DrawdownEpisodes(peak=starts, trough=troughs + 1, recovery=recoveries, depth=below[troughs])


def avg_drawdown(returns: npt.ArrayLike) -> float:
    """Compute the mean of the episodes' troughs, the open one included.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.

    Returns
    -------
    float
        A fraction in [-1, 0]; 0 if the value never fell, NaN without a session.

    Notes
    -----
    skfolio's `average_drawdown` is the mean over all sessions instead.

    Examples
    --------
    >>> round(avg_drawdown([0.1, -0.5, 0.2, 1.0, -0.1]), 6)
    -0.3
    """
    depth = drawdown_episodes(returns).depth
    return float(depth.mean()) if len(depth) else max_drawdown(returns)


def drawdown_duration(returns: npt.ArrayLike) -> DrawdownDuration:
    """Find the longest time from a peak to its recovery.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.

    Returns
    -------
    DrawdownDuration
        In sessions; of equally long ones, the one that is still open.

    Examples
    --------
    >>> drawdown_duration([0.1, -0.5, 0.2, 1.0, -0.1])
    DrawdownDuration(sessions=3, is_open=False)
    """
    episodes = drawdown_episodes(returns)
    if not len(episodes.peak):
        return DrawdownDuration(sessions=0, is_open=False)
    last = len(np.asarray(returns))
    lengths = np.where(episodes.recovery < 0, last, episodes.recovery) - episodes.peak
    longest = int(lengths.max())
    return DrawdownDuration(sessions=longest, is_open=bool(episodes.recovery[-1] < 0 and lengths[-1] == longest))


def calmar_ratio(returns: npt.ArrayLike, *, calendar_days: int) -> float:
    """Compute cagr / |max_drawdown|, both over the whole period.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions; finite.
    calendar_days
        From the date of V_0 (the session before the first return) to the date of V_T.

    Returns
    -------
    float
        Per year. NaN without a drawdown, without a session, and for no or negative days.

    Notes
    -----
    Young (1991) took 36 months. empyrical divides its own annual return, which counts years by sessions.

    Examples
    --------
    >>> round(calmar_ratio([0.1, -0.5, 0.2, 1.0], calendar_days=365), 6)
    0.640502
    """
    worst = max_drawdown(returns)
    return cagr(returns, calendar_days=calendar_days) / -worst if worst < 0 else math.nan
