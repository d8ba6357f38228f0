"""Numerics across the symbols of a session: regression on groups and exposures, normal quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from optaic.quant.expression.kernel import ZERO, Matrix


def neutralize(x: Matrix, exposures: list[Matrix], groups: list[Matrix]) -> Matrix:
    """Regress each session's cells on exposures and group dummies, and give the residuals.

    Parameters
    ----------
    x
        Of shape (n_symbols, n_sessions), NaN where there is no cell.
    exposures
        Of the same shape.
    groups
        Of the same shape: whole numbers that name groups. Without any, there is an intercept.

    Returns
    -------
    ndarray of shape (n_symbols, n_sessions)
        Residuals by least squares; NaN where x, an exposure or a group is. Exposures that depend on each other share
        their effect. What is only rounding is 0.

    Examples
    --------
    >>> neutralize(np.array([[1.0], [2.0], [6.0]]), [], []).round(9).ravel().tolist()
    [-2.0, -1.0, 3.0]
    """
    found = np.full_like(x, np.nan)
    complete = np.isfinite(x)
    for other in (*exposures, *groups):
        complete &= np.isfinite(other)
    for session in range(x.shape[1]):
        rows = complete[:, session]
        if rows.sum() < 2:
            continue
        y = x[rows, session]
        # The first groups are taken out by their means (Frisch and Waugh 1933; Lovell 1963), which leaves few columns.
        first = groups[0][rows, session] if groups else np.zeros(len(y))
        member = np.unique(first, return_inverse=True)[1]
        residual = _within(y, member)
        others = [_dummies(group[rows, session]) for group in groups[1:]]
        design = [_within(column, member) for column in (*(e[rows, session] for e in exposures), *others)]
        if design:
            matrix = _scaled(np.column_stack(design))
            residual = residual - matrix @ np.linalg.lstsq(matrix, residual, rcond=None)[0]
        found[rows, session] = np.where(np.abs(residual) <= 1e-13 * np.abs(y).max(), 0.0, residual)
    return found


def _within(columns: NDArray[np.float64], member: NDArray[np.intp]) -> NDArray[np.float64]:
    """Subtract the mean of each group; what is left of a column that is constant within groups is 0."""
    counts = np.bincount(member)
    table = columns if columns.ndim == 2 else columns[:, None]
    means = np.column_stack([np.bincount(member, weights=column) / counts for column in table.T])
    away: NDArray[np.float64] = table - means[member]
    # Once more: the means of what had a large offset are not yet zero.
    means = np.column_stack([np.bincount(member, weights=column) / counts for column in away.T])
    away = away - means[member]
    away[:, np.abs(away).max(axis=0) <= ZERO * np.abs(table).max(axis=0)] = 0.0
    return away if columns.ndim == 2 else away[:, 0]


def _scaled(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring columns to one scale, so that small exposures are not taken for rounding; that changes no residual."""
    size = np.abs(matrix).max(axis=0)
    return np.asarray(matrix / np.where(size > 0, size, 1.0), dtype=np.float64)


def _dummies(group: NDArray[np.float64]) -> NDArray[np.float64]:
    return (group[:, None] == np.unique(group)[None, :]).astype(np.float64)


_CENTRAL = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125,
     1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077,
     687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_MIDDLE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip


def normal_quantile(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the quantiles of the standard normal distribution.

    Parameters
    ----------
    shares
        Of any shape; from 0 to 1.

    Returns
    -------
    ndarray of the same shape
        To about 16 digits, by AS 241 (Wichura 1988, PPND16); NaN outside (0, 1).

    Examples
    --------
    >>> normal_quantile(np.array([0.5, 0.975])).round(6).tolist()
    [0.0, 1.959964]
    """
    with np.errstate(all="ignore"):
        away = shares - 0.5
        central = 0.180625 - away * away
        tail = np.sqrt(-np.log(np.minimum(shares, 1 - shares)))
        outer = np.where(tail <= 5, _ratio(_MIDDLE, tail - 1.6), _ratio(_FAR, tail - 5))
        found = np.where(np.abs(away) <= 0.425, away * _ratio(_CENTRAL, central), np.sign(away) * outer)
        return np.where((shares > 0) & (shares < 1), found, np.nan)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: NDArray[np.float64]) -> NDArray[np.float64]:
    above, below = coefficients
    return np.asarray(np.polyval(above, x) / np.polyval(below, x), dtype=np.float64)
