"""Ranks across symbols, session by session."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optaic.quant.series import FloatArray, as_panel


def rank_rows(values: npt.ArrayLike) -> FloatArray:
    """Rank the values of each row, from 1 for the smallest; equal values share the mean of their ranks.

    Parameters
    ----------
    values : array_like of shape (n_sessions, n_symbols)
        NaN (and infinite) where there is none: it is left out.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols), float64
        Ranks, NaN where there was no value.

    Examples
    --------
    >>> rank_rows([[0.3, 0.1, 0.3, np.nan]]).tolist()
    [[2.5, 1.0, 2.5, nan]]
    """
    panel = as_panel(values, "values")
    if panel.size == 0:
        return panel.copy()
    order = np.argsort(panel, axis=1)  # NaN comes last
    ordered = np.take_along_axis(panel, order, axis=1)
    width = panel.shape[1]
    position = np.arange(width, dtype=np.int32)
    differs = ordered[:, 1:] != ordered[:, :-1]  # NaN differs from all, itself included
    edge = np.ones((len(panel), 1), dtype=np.bool_)
    first = np.where(np.hstack([edge, differs]), position, np.int32(0))
    last = np.where(np.hstack([differs, edge]), position, np.int32(width - 1))
    np.maximum.accumulate(first, axis=1, out=first)
    np.minimum.accumulate(last[:, ::-1], axis=1, out=last[:, ::-1])
    ranks = np.empty_like(panel)
    np.put_along_axis(ranks, order, (first + last) * 0.5 + 1.0, axis=1)
    ranks[np.isnan(panel)] = np.nan
    return ranks


def correlate_rows(left: FloatArray, right: FloatArray, *, min_names: int) -> FloatArray:
    """Compute the Pearson correlation of each row of two panels, over the symbols that have both.

    Parameters
    ----------
    left, right : ndarray of shape (n_sessions, n_symbols)
        NaN where there is none, in both at the same places.
    min_names
        A row with fewer symbols has no correlation.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        In [-1, 1]; NaN with too few symbols, and where one side does not deviate.
    """
    there = ~np.isnan(left)
    count = there.sum(axis=1)
    divisor = np.maximum(count, 1)[:, None]
    x, y = np.where(there, left, 0.0), np.where(there, right, 0.0)
    x -= np.where(there, x.sum(axis=1, keepdims=True) / divisor, 0.0)
    y -= np.where(there, y.sum(axis=1, keepdims=True) / divisor, 0.0)
    product = np.einsum("ij,ij->i", x, y)
    scale = np.sqrt(np.einsum("ij,ij->i", x, x) * np.einsum("ij,ij->i", y, y))
    defined = (count >= max(min_names, 2)) & (scale > 0)
    correlation = np.divide(product, scale, out=np.full(len(product), np.nan), where=defined)
    return np.clip(correlation, -1.0, 1.0)
