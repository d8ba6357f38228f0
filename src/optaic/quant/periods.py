"""Figures of parts of a series of returns: of windows that roll, and of months."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.errors import InvalidInputError
from optaic.quant.performance import excess
from optaic.quant.series import ROUNDING, BoolArray, FloatArray, as_series, check_sessions_per_year

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def rolling_sharpe_ratio(
    returns: npt.ArrayLike, *, window: int, sessions_per_year: float, risk_free: npt.ArrayLike | None = None
) -> FloatArray:
    """Compute the Sharpe ratio of the last `window` sessions, at each session.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.
    window
        Sessions in each ratio, the session itself included.
    sessions_per_year
        A.
    risk_free : array_like of shape (n_sessions,), optional
        What cash earned in each session, as a fraction; 0 without it.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        Annualised; NaN at the first `window - 1` sessions, and where the window has no deviation but rounding.

    Raises
    ------
    InvalidInputError
        If the window has fewer than two sessions.

    Examples
    --------
    >>> rolling_sharpe_ratio([0.01, -0.01, 0.03], window=2, sessions_per_year=252).round(4).tolist()
    [nan, 0.0, 5.6125]
    """
    if window < 2:
        raise InvalidInputError(
            f"a window of {window} sessions has no deviation", next_step="give a window of 2 or more"
        )
    series = excess(returns, risk_free)
    scale = math.sqrt(check_sessions_per_year(sessions_per_year))
    ratios = np.full(len(series), np.nan)
    if len(series) < window:
        return ratios
    windows = np.lib.stride_tricks.sliding_window_view(series, window)
    means, spreads = windows.mean(axis=1), windows.std(axis=1, ddof=1)
    defined = spreads > ROUNDING * np.maximum(1.0, np.abs(windows).max(axis=1))
    ratios[window - 1 :][defined] = scale * means[defined] / spreads[defined]
    return ratios


def monthly_returns(dates: npt.ArrayLike, returns: npt.ArrayLike) -> pl.DataFrame:
    """Compound the returns of each month and of each year.

    Parameters
    ----------
    dates : array_like of shape (n_sessions,), datetime64 or datetime.date
        The session of each return, rising.
    returns : array_like of shape (n_sessions,)
        Simple returns per session, as fractions.

    Returns
    -------
    polars.DataFrame
        One row a year, rising: `year` (Int64); `jan` to `dec` (Float64, fractions; null for a month without a session);
        `total` (Float64, the fraction over the year's sessions). No row without a session.

    Raises
    ------
    InvalidInputError
        If the dates do not rise, or are not as many as the returns.

    Examples
    --------
    >>> table = monthly_returns(np.array(["2024-01-30", "2024-01-31", "2024-02-01"], "datetime64[D]"), [0.1, 0.1, -0.5])
    >>> [round(value, 4) for value in table.row(0)[1:3]], round(table["total"][0], 4)
    ([0.21, -0.5], -0.395)
    """
    days: npt.NDArray[Any] = np.asarray(dates, dtype="datetime64[D]")
    growth = np.maximum(1.0 + as_series(returns, "returns", length=len(days)), 0.0)
    if len(days) > 1 and not (np.diff(days) > np.timedelta64(0, "D")).all():
        raise InvalidInputError("the dates of the returns do not rise", next_step="sort them, one return a session")
    names = ("year", *_MONTHS, "total")
    if not len(days):
        return pl.DataFrame(schema={name: pl.Int64 if name == "year" else pl.Float64 for name in names})
    months = days.astype("datetime64[M]").astype(np.int64)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(months)) + 1])
    first_year, last_year = int(months[0]) // 12, int(months[-1]) // 12
    table = np.full((last_year - first_year + 1, 12), np.nan)
    table[months[starts] // 12 - first_year, months[starts] % 12] = np.multiply.reduceat(growth, starts) - 1.0
    traded: BoolArray = ~np.isnan(table)
    totals = np.where(traded, table + 1.0, 1.0).prod(axis=1) - 1.0
    columns = {name: table[:, month] for month, name in enumerate(_MONTHS)}
    years = np.arange(first_year, last_year + 1, dtype=np.int64) + 1970
    frame = pl.DataFrame({"year": years, **columns, "total": totals}).fill_nan(None)
    return frame.filter(traded.any(axis=1).tolist())
