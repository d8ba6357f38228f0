"""Figures of the quantiles of a signal: who is in them, how long, and what they earn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.ranks import rank_rows
from optaic.quant.series import FloatArray, IntArray, as_mask, as_panel

QUANTILES = 5


def assign_quantiles(
    signal: npt.ArrayLike, *, quantiles: int = QUANTILES, members: npt.ArrayLike | None = None
) -> IntArray:
    """Sort the members of each session into quantiles of equal size by their signal.

    Parameters
    ----------
    signal : array_like of shape (n_sessions, n_symbols)
        NaN where there is none.
    quantiles
        Q, at least 2.
    members : array_like of shape (n_sessions, n_symbols), bool, optional
        Who is in the universe at t.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols), int64
        1 for the lowest to Q for the highest: ceil(Q x average rank / count), so that equal signals share a quantile
        and one may be empty. 0 for who has no signal or is no member, and on sessions with fewer than Q names.

    Raises
    ------
    InvalidInputError
        If there are fewer than two quantiles.

    Examples
    --------
    >>> assign_quantiles([[0.4, 0.1, 0.3, 0.2, np.nan]], quantiles=2).tolist()
    [[2, 1, 2, 1, 0]]
    """
    if quantiles < 2:
        raise InvalidInputError(f"{quantiles} quantiles sort nothing", next_step="give 2 or more")
    panel = as_panel(signal, "signal")
    there = as_mask(members, "members", shape=(panel.shape[0], panel.shape[1])) & ~np.isnan(panel)
    count = there.sum(axis=1, keepdims=True)
    ranks = rank_rows(np.where(there, panel, np.nan))
    # The product comes first: it is exact, and so is its quotient where it is whole.
    scaled = np.ceil(quantiles * np.where(there, ranks, 0.0) / np.maximum(count, 1))
    return np.where(there & (count >= quantiles), scaled, 0.0).astype(np.int64)


def quantile_returns(
    signal: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    quantiles: int = QUANTILES,
    members: npt.ArrayLike | None = None,
) -> FloatArray:
    """Compute the mean label of each quantile, session by session.

    Parameters
    ----------
    signal, labels : array_like of shape (n_sessions, n_symbols)
        NaN where there is none. A symbol without a label is sorted too: whether it will have one is not known at t.
    quantiles
        Q, at least 2.
    members : array_like of shape (n_sessions, n_symbols), bool, optional
        Who is in the universe at t.

    Returns
    -------
    ndarray of shape (n_sessions, Q), float64
        In the unit of the labels, equal weights; NaN where no symbol of the quantile has a label. Its mean over
        sessions is `mean_by_quantile`.

    Raises
    ------
    InvalidInputError
        If there are fewer than two quantiles.

    Examples
    --------
    >>> quantile_returns([[4.0, 1.0, 3.0, 2.0]], [[0.04, 0.0, 0.02, 0.01]], quantiles=2).round(4).tolist()
    [[0.005, 0.03]]
    """
    found = assign_quantiles(signal, quantiles=quantiles, members=members)
    panel = as_panel(labels, "labels", shape=(found.shape[0], found.shape[1]))
    counted = (found > 0) & ~np.isnan(panel)
    cell = (np.arange(len(found))[:, None] * quantiles + found - 1)[counted]
    size = len(found) * quantiles
    sums: FloatArray = np.zeros(size)
    np.add.at(sums, cell, panel[counted])
    return _divide(sums, np.bincount(cell, minlength=size)).reshape(len(found), quantiles)


def quantile_turnovers(
    signal: npt.ArrayLike, *, quantiles: int = QUANTILES, members: npt.ArrayLike | None = None
) -> FloatArray:
    """Compute the share of each quantile's names at t that were not in it at t - 1.

    Parameters
    ----------
    signal : array_like of shape (n_sessions, n_symbols)
        NaN where there is none.
    quantiles
        Q, at least 2.
    members : array_like of shape (n_sessions, n_symbols), bool, optional
        Who is in the universe at t.

    Returns
    -------
    ndarray of shape (n_sessions, Q), float64
        Fractions per session. NaN at the first session, and where the quantile is empty at t or at t - 1.

    Notes
    -----
    As alphalens' `quantile_turnover`, for every quantile at once.

    Examples
    --------
    >>> quantile_turnovers([[1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]], quantiles=2).tolist()
    [[nan, nan], [0.5, 0.5]]
    """
    found = assign_quantiles(signal, quantiles=quantiles, members=members)
    size = len(found) * quantiles
    cells = np.arange(len(found))[:, None] * quantiles + found - 1
    names = np.bincount(cells[found > 0], minlength=size).reshape(len(found), quantiles)
    stays = np.zeros_like(found, dtype=np.bool_)
    stays[1:] = (found[1:] > 0) & (found[1:] == found[:-1])
    stayed = np.bincount(cells[stays], minlength=size).reshape(len(found), quantiles)
    known = names > 0
    known[1:] &= names[:-1] > 0
    known[:1] = False
    return _divide((names - stayed).astype(np.float64), np.where(known, names, 0))


def signal_turnover(
    signal: npt.ArrayLike, *, quantiles: int = QUANTILES, members: npt.ArrayLike | None = None
) -> float:
    """Compute the mean over quantiles, then over sessions, of the share of names that are new in their quantile.

    Parameters
    ----------
    signal : array_like of shape (n_sessions, n_symbols)
        NaN where there is none.
    quantiles
        Q, at least 2.
    members : array_like of shape (n_sessions, n_symbols), bool, optional
        Who is in the universe at t.

    Returns
    -------
    float
        A fraction per session: 0 where nobody ever changes quantile, near 1 - 1/Q for a signal without memory. NaN
        where no two sessions in a row have quantiles.

    Examples
    --------
    >>> signal_turnover([[1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]], quantiles=2)
    0.5
    """
    shares = quantile_turnovers(signal, quantiles=quantiles, members=members)
    known = ~np.isnan(shares)
    by_session = _divide(np.where(known, shares, 0.0).sum(axis=1), known.sum(axis=1))
    return float(mean_by_quantile(by_session[:, None])[0])


def mean_by_quantile(figures: FloatArray) -> FloatArray:
    """Compute the mean over sessions of each quantile's figures, leaving out sessions that have none.

    Parameters
    ----------
    figures : ndarray of shape (n_sessions, Q)
        What `quantile_returns` or `quantile_turnovers` gave.

    Returns
    -------
    ndarray of shape (Q,), float64
        NaN for a quantile that never had a figure.

    Examples
    --------
    >>> mean_by_quantile(np.array([[0.1, np.nan], [0.3, np.nan]])).round(4).tolist()
    [0.2, nan]
    """
    known = ~np.isnan(figures)
    return _divide(np.where(known, figures, 0.0).sum(axis=0), known.sum(axis=0))


def _divide(sums: FloatArray, counts: IntArray) -> FloatArray:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
