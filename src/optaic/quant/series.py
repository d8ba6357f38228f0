"""Arrays as the numerics take them: checked once, where they enter."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

ROUNDING = 1e-14
"""A standard deviation of returns up to this, per unit of the largest return (or of 1), is rounding: V_t / V_{t-1} - 1
of a constant growth already deviates by 1e-16, and a Sharpe ratio of 1e12 would be made of it."""


def as_series(values: npt.ArrayLike, name: str, *, length: int | None = None) -> FloatArray:
    """Take one number a session.

    Parameters
    ----------
    values : array_like of shape (n_sessions,)
        What the caller has; a copy is made only where it is not float64 already.
    name
        What errors call it.
    length
        The number of sessions that it must have.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        Finite everywhere. It may be empty.

    Raises
    ------
    InvalidInputError
        If it has not one dimension, not that length, or a value that is NaN or infinite.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise InvalidInputError(f"{name} has {series.ndim} dimensions, not one", next_step="give one number a session")
    if length is not None and len(series) != length:
        raise InvalidInputError(
            f"{name} has {len(series)} sessions where {length} are needed", next_step="align it with the returns"
        )
    if not (finite := np.isfinite(series)).all():
        place = int(np.argmin(finite))
        raise InvalidInputError(
            f"{name} is {series[place]} at position {place}", next_step="fill or leave out what is missing first"
        )
    return series


def as_panel(values: npt.ArrayLike, name: str, *, shape: tuple[int, int] | None = None) -> FloatArray:
    """Take one number a session and symbol.

    Parameters
    ----------
    values : array_like of shape (n_sessions, n_symbols)
        NaN where there is none; an infinite value counts as missing, as it does in expressions.
    name
        What errors call it.
    shape
        The shape that it must have.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols), float64
        Finite or NaN everywhere. The caller's array is never changed.

    Raises
    ------
    InvalidInputError
        If it has not two dimensions, or not that shape.
    """
    panel = np.asarray(values, dtype=np.float64)
    if panel.ndim != 2:
        raise InvalidInputError(
            f"{name} has {panel.ndim} dimensions, not two", next_step="give one row a session and one column a symbol"
        )
    if shape is not None and panel.shape != shape:
        raise InvalidInputError(
            f"{name} has shape {panel.shape} where {shape} is needed",
            next_step="put both on the same sessions and symbols",
        )
    infinite = np.isinf(panel)
    return np.where(infinite, np.nan, panel) if infinite.any() else panel


def as_mask(values: npt.ArrayLike | None, name: str, *, shape: tuple[int, int]) -> BoolArray:
    """Take a truth value a session and symbol; None is true everywhere.

    Raises
    ------
    InvalidInputError
        If it has not that shape, or is not boolean.
    """
    if values is None:
        return np.ones(shape, dtype=np.bool_)
    mask = np.asarray(values)
    if mask.dtype != np.bool_ or mask.shape != shape:
        raise InvalidInputError(
            f"{name} is {mask.dtype} of shape {mask.shape} where bool of {shape} is needed",
            next_step="give true where the symbol is a member on the session",
        )
    return mask


def check_sessions_per_year(sessions_per_year: float) -> float:
    """Take the constant of the calendar by which figures are annualised.

    Raises
    ------
    InvalidInputError
        If it is not a positive, finite number.
    """
    if not (math.isfinite(sessions_per_year) and sessions_per_year > 0):
        raise InvalidInputError(
            f"sessions per year cannot be {sessions_per_year}",
            next_step="give the calendar's constant: XNYS 252, weekdays 260, every day 365",
        )
    return float(sessions_per_year)


def deviation(values: FloatArray) -> float:
    """Compute the standard deviation (ddof=1), or NaN where nothing may be divided by it.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Finite values.

    Returns
    -------
    float
        In the unit of the values. NaN for fewer than two values, for values that differ by rounding only (see
        `ROUNDING`), and where the sum of squares is too large for a float64.
    """
    if len(values) < 2:
        return math.nan
    spread = float(np.std(values, ddof=1))
    rounding = ROUNDING * max(1.0, float(np.max(np.abs(values))))
    return spread if math.isfinite(spread) and spread > rounding else math.nan
