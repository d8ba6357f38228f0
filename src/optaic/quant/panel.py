"""Prices, and what happens to their holders, on the grid of all sessions x symbols."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optaic.errors import InvalidInputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Dates = NDArray[np.datetime64]

DAYS_OF_YEAR = 360.0
"""The year of simple rates: Act/360."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """What the market did, session by session. Arrays are kept as they are given, not copied.

    Parameters
    ----------
    dates : ndarray of shape (n_sessions,), datetime64[D]
        Strictly increasing.
    close : ndarray of shape (n_sessions, n_symbols), float64
        Price of a share at the close, in currency; NaN where there is none: not listed, halted, delisted.
    open : ndarray of shape (n_sessions, n_symbols), float64, optional
        Price at the open; NaN where there is none. Needed to execute at the open.
    dividends : ndarray of shape (n_sessions, n_symbols), float64, optional
        Cash for each share that was held at the close before, in currency; NaN or 0 where there is none.
    splits : ndarray of shape (n_sessions, n_symbols), float64, optional
        Shares after for each share held at the close before (2.0 for two-for-one); NaN or 1 where nothing happens.
    delisting_returns : ndarray of shape (n_symbols,), float64, optional
        Return from the last price to what holders got in the end, as a fraction; NaN where it is not known.
    cash_rates : ndarray of shape (n_sessions,), float64, optional
        Annual simple rates as fractions, Act/360. The rate of a session is for the days until the next one.

    Raises
    ------
    InvalidInputError
        If shapes or dtypes differ from these, if dates don't increase, if a price or a split is not positive, if a
        dividend is negative, if anything is infinite, if a delisting return is below -1, or if a cash rate is not
        finite.

    Notes
    -----
    Prices that are adjusted for total return already come without `dividends` and `splits`.
    """

    dates: Dates
    close: Floats
    open: Floats | None = None
    dividends: Floats | None = None
    splits: Floats | None = None
    delisting_returns: Floats | None = None
    cash_rates: Floats | None = None

    def __post_init__(self) -> None:
        if self.dates.ndim != 1 or self.dates.dtype != np.dtype("datetime64[D]"):
            raise InvalidInputError(
                f"dates have shape {self.dates.shape} and dtype {self.dates.dtype}",
                next_step="give one row of datetime64[D]",
            )
        if np.isnat(self.dates).any() or (np.diff(self.dates).astype(np.int64) <= 0).any():
            raise InvalidInputError("dates do not increase strictly", next_step="sort the sessions, each once")
        if self.close.ndim != 2:
            raise InvalidInputError(
                f"close has shape {self.close.shape}", next_step="give an array of shape (n_sessions, n_symbols)"
            )
        grid = (len(self.dates), self.close.shape[1])
        self._check("close", self.close, grid, above=0.0)
        self._check("open", self.open, grid, above=0.0)
        self._check("dividends", self.dividends, grid, least=0.0)
        self._check("splits", self.splits, grid, above=0.0)
        self._check("delisting_returns", self.delisting_returns, grid[1:], least=-1.0)
        self._check("cash_rates", self.cash_rates, grid[:1])
        if self.cash_rates is not None and np.isnan(self.cash_rates).any():
            first = self.dates[int(np.isnan(self.cash_rates).argmax())]
            raise InvalidInputError(f"there is no cash rate on {first}", next_step="fill the gaps, or leave cash out")

    def _check(
        self,
        name: str,
        values: Floats | None,
        shape: tuple[int, ...],
        *,
        least: float | None = None,
        above: float | None = None,
    ) -> None:
        if values is None:
            return
        if values.shape != shape or values.dtype != np.float64:
            raise InvalidInputError(
                f"{name} has shape {values.shape} and dtype {values.dtype}", next_step=f"give float64 of shape {shape}"
            )
        if not values.size:
            return
        # Two reductions make no array of the panel's size, and ignore NaN.
        low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
        if np.isinf(low) or np.isinf(high):
            raise InvalidInputError(f"{name} holds an infinite value", next_step="give NaN where there is no value")
        if above is not None and low <= above:
            raise InvalidInputError(f"{name} holds {low:g}", next_step=f"all must be above {above:g}, or NaN")
        if least is not None and low < least:
            raise InvalidInputError(f"{name} holds {low:g}", next_step=f"all must be {least:g} or more, or NaN")

    @property
    def n_sessions(self) -> int:
        """How many sessions there are."""
        return self.close.shape[0]

    @property
    def n_symbols(self) -> int:
        """How many symbols there are."""
        return self.close.shape[1]


def year_fractions(dates: Dates) -> Floats:
    """Count the calendar days since the session before, as fractions of a year of 360 days.

    Parameters
    ----------
    dates : ndarray of shape (n_sessions,), datetime64[D]
        Sessions, increasing.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        Act/360 fractions of a year; 0 for the first session. Empty for empty input.

    Examples
    --------
    >>> friday_to_tuesday = np.array(["2024-01-05", "2024-01-08", "2024-01-09"], dtype="datetime64[D]")
    >>> (year_fractions(friday_to_tuesday) * 360).tolist()
    [0.0, 3.0, 1.0]
    """
    fractions = np.zeros(len(dates))
    fractions[1:] = np.diff(dates).astype(np.int64) / DAYS_OF_YEAR
    return fractions


def cash_returns(dates: Dates, rates: Floats) -> Floats:
    """Turn annual simple rates into what cash earns from session to session.

    Parameters
    ----------
    dates : ndarray of shape (n_sessions,), datetime64[D]
        Sessions, increasing.
    rates : ndarray of shape (n_sessions,), float64
        Annual simple rates as fractions, Act/360; the rate of a session is for the days until the next one.

    Returns
    -------
    ndarray of shape (n_sessions,), float64
        Return of cash since the session before, as a fraction; 0 for the first session. NaN where the rate before is
        NaN.

    Examples
    --------
    >>> dates = np.array(["2024-01-05", "2024-01-08"], dtype="datetime64[D]")
    >>> cash_returns(dates, np.array([0.036, 0.05])).round(10).tolist()
    [0.0, 0.0003]
    """
    returns = year_fractions(dates)
    returns[1:] *= rates[:-1]
    return returns


def total_return_prices(panel: Panel) -> Floats:
    """Give prices as if dividends were reinvested at the close, and no share were ever split.

    Parameters
    ----------
    panel : Panel
        Closes, and what happens to holders. A dividend is paid for each share before a split of the same session.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols), float64
        The close times the shares that one share of the first session has become; NaN where there is no close, and then
        a dividend of that session is left out. The closes themselves, if the panel has neither dividends nor splits.

    Examples
    --------
    >>> dates = np.array(["2024-01-02", "2024-01-03"], dtype="datetime64[D]")
    >>> split = Panel(dates=dates, close=np.array([[100.0], [25.0]]), splits=np.array([[np.nan], [4.0]]))
    >>> total_return_prices(split).ravel().tolist()
    [100.0, 100.0]
    """
    if panel.dividends is None and panel.splits is None:
        return panel.close
    shares = np.ones_like(panel.close)
    if panel.splits is not None:
        shares = np.where(np.isnan(panel.splits), 1.0, panel.splits)
    if panel.dividends is not None:
        shares = shares + np.nan_to_num(panel.dividends / panel.close, nan=0.0)
    return panel.close * np.cumprod(shares, axis=0)
