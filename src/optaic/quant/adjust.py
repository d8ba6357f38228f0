"""Prices that dividends and splits do not move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optaic.quant.series import FloatArray, as_panel


def adjust_prices(
    close: npt.ArrayLike, *, dividends: npt.ArrayLike | None = None, splits: npt.ArrayLike | None = None
) -> FloatArray:
    """Value what one share of the first session has become: splits multiply it, dividends buy more of it.

    Parameters
    ----------
    close : array_like of shape (n_sessions, n_symbols)
        Raw closes; NaN where there is none.
    dividends : array_like of shape (n_sessions, n_symbols), optional
        Per share held at the close before, in the currency of the prices, on the ex-date; NaN is none.
    splits : array_like of shape (n_sessions, n_symbols), optional
        Shares that one share of the session before became; NaN is 1.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols), float64
        Ratios of it are total returns. NaN where the close is; a dividend of a session without a close is left out.

    Notes
    -----
    P_t U_t, where U_t = U_{t-1} (split_t + dividend_t / P_t) and U before the first session is 1: dividends are of the
    shares before the split, as the simulator pays them, and are reinvested at the close.

    Examples
    --------
    >>> adjust_prices([[100.0], [49.0]], dividends=[[0.0], [2.0]], splits=[[1.0], [2.0]]).ravel().tolist()
    [100.0, 100.0]
    """
    panel = as_panel(close, "close")
    shape = (panel.shape[0], panel.shape[1])
    grown = np.ones(shape) if splits is None else np.nan_to_num(as_panel(splits, "splits", shape=shape), nan=1.0)
    if dividends is not None:
        paid = np.nan_to_num(as_panel(dividends, "dividends", shape=shape))
        grown = grown + np.divide(paid, panel, out=np.zeros(shape), where=panel > 0)
    return panel * np.cumprod(grown, axis=0)
