"""In which sessions a backtest decides."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import numpy as np

from optaic.errors import InvalidInputError
from optaic.quant.panel import Booleans, Dates, Integers

Rebalance = Literal["daily", "weekly", "monthly"] | int
"""Every session, the last one of each week (Monday to Sunday) or month, or every n sessions from the first one on."""


def decide_sessions(
    dates: Dates, rebalance: Rebalance, *, offset: int = 0, following: dt.date | None = None
) -> Booleans:
    """Mark the sessions in which a decision is taken.

    Parameters
    ----------
    dates : ndarray of shape (n_sessions,), datetime64[D]
        Sessions, strictly increasing.
    rebalance : {"daily", "weekly", "monthly"} or int
        `weekly` and `monthly` decide in the period's last session; a number n in sessions 0, n, 2n, ...
    offset : int
        Decide that many sessions later. With a number n it must be below n. Decisions beyond the last session are not
        taken.
    following : date, optional
        The session after the last one, by the exchange's calendar; the next weekday if left out.

    Returns
    -------
    ndarray of shape (n_sessions,), bool
        True where a decision is taken. Empty for empty input.

    Raises
    ------
    InvalidInputError
        If `rebalance` is none of these, if `offset` is negative or not below n, or if `following` is no later date.

    Notes
    -----
    Whether the last session given is the last one of its period is not known from the sessions: it is if `following`
    lies in another period, so that a month that is only half there gets no decision, and one that ends with holidays
    gets its own.

    Examples
    --------
    >>> dates = np.array(["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-29"], dtype="datetime64[D]")
    >>> decide_sessions(dates, "monthly").tolist()
    [False, True, False, True]
    >>> easter = np.array(["2024-03-27", "2024-03-28"], dtype="datetime64[D]")
    >>> decide_sessions(easter, "monthly", following=dt.date(2024, 4, 1)).tolist()
    [False, True]
    >>> decide_sessions(dates, 2, offset=1).tolist()
    [False, True, False, True]
    """
    check_rebalance(rebalance, offset=offset)
    if isinstance(rebalance, int):
        return np.arange(len(dates)) % rebalance == offset
    if rebalance == "daily":
        return _delay(np.ones(len(dates), dtype=np.bool_), offset)
    if not len(dates):
        return np.zeros(0, dtype=np.bool_)
    after = np.array([following], dtype="datetime64[D]")
    if following is None:
        after = np.busday_offset(dates[-1:] + np.timedelta64(1, "D"), 0, roll="forward")
    elif after[0] <= dates[-1]:
        raise InvalidInputError(f"the session after {dates[-1]} is said to be {following}")
    periods = _periods(np.concatenate([dates, after]), rebalance)
    return _delay(periods[:-1] != periods[1:], offset)


def check_rebalance(rebalance: object, *, offset: object = 0) -> None:
    """Refuse what says no sessions.

    Parameters
    ----------
    rebalance, offset
        As for `decide_sessions`.

    Raises
    ------
    InvalidInputError
        If `rebalance` is none of these, or if `offset` is negative or not below n.
    """
    if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
        raise InvalidInputError(f"rebalance_offset is {offset!r}", next_step="give a number of sessions, 0 or more")
    if isinstance(rebalance, int):
        if isinstance(rebalance, bool) or rebalance < 1:
            raise InvalidInputError(f"rebalance is {rebalance!r}", next_step="give a number of sessions, 1 or more")
        if offset >= rebalance:
            raise InvalidInputError(
                f"rebalance_offset is {offset}, and rebalance is every {rebalance} sessions",
                next_step=f"give an offset from 0 to {rebalance - 1}",
            )
    elif rebalance not in ("daily", "weekly", "monthly"):
        raise InvalidInputError(
            f"rebalance is {rebalance!r}", next_step="give daily, weekly, monthly or a number of sessions"
        )


def _periods(dates: Dates, rebalance: str) -> Integers:
    if rebalance == "monthly":
        return dates.astype("datetime64[M]").astype(np.int64)
    return (dates.astype(np.int64) + 3) // 7  # day 0 of the epoch was a Thursday


def _delay(decided: Booleans, offset: int) -> Booleans:
    later = np.zeros_like(decided)
    later[offset:] = decided[: max(len(decided) - offset, 0)]
    return later
