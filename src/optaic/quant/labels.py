"""What a signal is compared with: the return that follows it, and its transforms."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.options import MISSING_SESSIONS
from optaic.quant.ranks import rank_rows
from optaic.quant.series import FloatArray, as_mask, as_panel

VOLATILITY_WINDOW = 63
"""Sessions over which `vol_scaled` estimates volatility: a quarter."""


class Transform(StrEnum):
    """What is done to a forward return before a model learns it or a signal is compared with it."""

    RAW = "raw"
    """Nothing."""

    CS_DEMEAN = "cs_demean"
    """Less the mean over the members of the session."""

    CS_RANK = "cs_rank"
    """Average rank among the members of the session over their count, in (0, 1]."""

    VOL_SCALED = "vol_scaled"
    """Over the symbol's own volatility of the horizon, known at t: the return in units of what is usual for it."""


def forward_returns(
    prices: npt.ArrayLike, *, horizon: int, lag: int = 1, delisting_returns: npt.ArrayLike | None = None
) -> FloatArray:
    """Compute the label y_t = P_{t+lag+h} / P_{t+lag} - 1.

    Parameters
    ----------
    prices : array_like of shape (n_sessions, n_symbols)
        Prices above 0, adjusted for splits and dividends; NaN (and 0 or less) where there is none.
    horizon
        h, sessions from entry to exit; at least 1.
    lag
        Sessions from the decision at t to the entry: that of the backtest. 0 enters at the price that the signal saw.
    delisting_returns : array_like of shape (n_symbols,), optional
        What a holder of a symbol earned on its last price when it was delisted, as a fraction; NaN for nothing.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols), float64
        Fractions over the horizon. NaN at the last lag + h sessions, and where there is no price to enter at.

    Raises
    ------
    InvalidInputError
        If the horizon is below 1, the lag negative, or there is not one delisting return a symbol.

    Notes
    -----
    A label is what a position earns in the simulator without costs, from entry to exit: where there is no price it
    stands at the last one, for `MISSING_SESSIONS` sessions in a row; in the next one it is delisted, ends, and earns
    the delisting return. So names are never dropped for what happens after entry: y depends on the future, as a label
    must, but whether it exists depends on t + lag alone, and on the end of the panel.

    Examples
    --------
    >>> prices = np.array([[10.0], [20.0], [18.0], *[[np.nan]] * 6])
    >>> forward_returns(prices, horizon=6, delisting_returns=[-0.5])[:2].round(4).ravel().tolist()
    [-0.1, -0.5]
    """
    if horizon < 1 or lag < 0:
        raise InvalidInputError(
            f"a horizon of {horizon} sessions after a lag of {lag} gives no label",
            next_step="give a horizon of 1 or more and a lag of 0 or more",
        )
    panel = as_panel(prices, "prices")
    panel = np.where(panel > 0, panel, np.nan)
    n_sessions, n_symbols = panel.shape
    after = np.zeros(n_symbols)
    if delisting_returns is not None:
        after = np.nan_to_num(np.asarray(delisting_returns, dtype=np.float64))
        if after.shape != (n_symbols,):
            raise InvalidInputError(
                f"there are {after.size} delisting returns for {n_symbols} symbols", next_step="give one a symbol"
            )
    labels = np.full(panel.shape, np.nan)
    if n_sessions > lag + horizon:
        entries = panel[lag : n_sessions - horizon]
        labels[: n_sessions - lag - horizon] = _worth(panel, after, horizon)[lag:] / entries - 1.0
    return labels


def _worth(panel: FloatArray, after: FloatArray, horizon: int) -> FloatArray:
    """Give what a share bought in each session but the last `horizon` is worth that many sessions later."""
    n_sessions = len(panel)
    row = np.arange(n_sessions)[:, None]
    latest = np.maximum.accumulate(np.where(np.isnan(panel), -1, row), axis=0)
    marks = np.take_along_axis(panel, np.maximum(latest, 0), axis=0)
    is_delisting = (row - latest == MISSING_SESSIONS + 1) & (latest >= 0)
    ends = np.where(is_delisting, row, n_sessions)
    ends = np.minimum.accumulate(ends[::-1], axis=0)[::-1]
    exits = np.broadcast_to(row[horizon:], (n_sessions - horizon, panel.shape[1]))
    end = ends[: n_sessions - horizon]
    is_ended = end <= exits
    worth = np.take_along_axis(marks, np.where(is_ended, end, exits), axis=0)
    return np.where(is_ended, worth * (1.0 + after), worth)


def trailing_volatility(prices: npt.ArrayLike, *, window: int = VOLATILITY_WINDOW) -> FloatArray:
    """Compute the standard deviation (ddof=1) of the last `window` simple returns, known at the close of t.

    Parameters
    ----------
    prices : array_like of shape (n_sessions, n_symbols)
        Prices above 0, adjusted for splits and dividends; NaN (and 0 or less) where there is none.
    window
        Returns in each estimate; at least 2.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols), float64
        Fractions per square root of a session, not annualised. NaN unless all returns of the window exist.

    Raises
    ------
    InvalidInputError
        If the window is below 2.

    Examples
    --------
    >>> trailing_volatility([[100.0], [110.0], [99.0]], window=2).round(6).ravel().tolist()
    [nan, nan, 0.141421]
    """
    if window < 2:
        raise InvalidInputError(
            f"a window of {window} returns has no deviation", next_step="give a window of 2 or more"
        )
    panel = as_panel(prices, "prices")
    panel = np.where(panel > 0, panel, np.nan)
    spreads = np.full(panel.shape, np.nan)
    if len(panel) <= window:
        return spreads
    returns = panel[1:] / panel[:-1] - 1.0
    # Two passes over shifted rows: running sums leave 1e-8 where a price stood still, and labels are divided by it.
    shifted = [returns[first : len(returns) - window + first + 1] for first in range(window)]
    mean = np.zeros_like(shifted[0])
    for part in shifted:
        mean += part
    mean /= window
    total = np.zeros_like(mean)
    for part in shifted:
        total += np.square(part - mean)
    spreads[window:] = np.sqrt(total / (window - 1))
    return spreads


def transform_labels(
    labels: npt.ArrayLike,
    transform: str,
    *,
    members: npt.ArrayLike | None = None,
    prices: npt.ArrayLike | None = None,
    horizon: int | None = None,
    window: int = VOLATILITY_WINDOW,
) -> FloatArray:
    """Transform forward returns, session by session.

    Parameters
    ----------
    labels : array_like of shape (n_sessions, n_symbols)
        Forward returns, as fractions; NaN where there is none.
    transform
        A value of `Transform`: `raw`, `cs_demean`, `cs_rank` or `vol_scaled`.
    members : array_like of shape (n_sessions, n_symbols), bool, optional
        Who is compared at t. Those who are not get NaN, whatever the transform.
    prices : array_like of shape (n_sessions, n_symbols), optional
        For `vol_scaled`: the prices that the labels were made of.
    horizon
        For `vol_scaled`: h of the labels.
    window
        For `vol_scaled`: returns in the estimate of volatility.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols), float64
        `raw`, `cs_demean`: fractions. `cs_rank`: in (0, 1]. `vol_scaled`: y_t / (s_t sqrt(h)), a number of standard
        deviations, where s_t is the deviation (ddof=1) of the symbol's `window` returns to t, which know nothing of
        the label; NaN where s_t is 0 or its window is not full. On a session with fewer than 2 labels the two
        transforms across symbols are NaN.

    Raises
    ------
    InvalidInputError
        If the transform is unknown, or `vol_scaled` has no prices or horizon.

    Examples
    --------
    >>> transform_labels([[0.1, -0.1, 0.3, np.nan]], "cs_rank").round(4).tolist()
    [[0.6667, 0.3333, 1.0, nan]]
    """
    if transform not in tuple(Transform):
        raise InvalidInputError(f"there is no transform {transform!r}", next_step=f"use: {', '.join(Transform)}")
    panel = as_panel(labels, "labels")
    shape = (panel.shape[0], panel.shape[1])
    panel = np.where(as_mask(members, "members", shape=shape), panel, np.nan)
    match Transform(transform):
        case Transform.RAW:
            return panel
        case Transform.VOL_SCALED:
            if prices is None or horizon is None:
                raise InvalidInputError(
                    "vol_scaled needs the prices and the horizon of the labels", next_step="give prices= and horizon="
                )
            spreads = trailing_volatility(as_panel(prices, "prices", shape=shape), window=window) * np.sqrt(horizon)
            return np.divide(panel, spreads, out=np.full(shape, np.nan), where=spreads > 1e-14)
        case Transform.CS_DEMEAN | Transform.CS_RANK:
            there = ~np.isnan(panel)
            count = there.sum(axis=1, keepdims=True)
            divisor = np.maximum(count, 1)
            if transform == Transform.CS_RANK:
                found = rank_rows(panel) / divisor
            else:
                found = panel - np.where(there, panel, 0.0).sum(axis=1, keepdims=True) / divisor
            return np.where(count >= 2, found, np.nan)
