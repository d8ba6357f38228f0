"""Episodes of holding a symbol, made from fills: from flat to flat, or to a change of sign."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.series import BoolArray, FloatArray, IntArray

FLAT = 1e-9
"""A position smaller than this part of the largest that was held in the symbol is none: sums of fills round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episodes:
    """Episodes by symbol and then by time; each array has one element an episode.

    Attributes
    ----------
    symbol : ndarray of int64
        The column of the symbol.
    opened, closed : ndarray of int64
        The session of the first fill, and of the one that ended it (of an open one: of the last mark).
    is_long : ndarray of bool
        Whether the position was above zero.
    notional : ndarray of float64
        What was paid, or received, for opening and enlarging it: the sum of |quantity| x price, in currency.
    profit : ndarray of float64
        Net of costs and with income, in currency; of an open one at the last mark.
    is_open : ndarray of bool
        Whether the position was still held at the end.
    """

    symbol: IntArray
    opened: IntArray
    closed: IntArray
    is_long: BoolArray
    notional: FloatArray
    profit: FloatArray
    is_open: BoolArray

    @property
    def returns(self) -> FloatArray:
        """Profit per notional, as a fraction; NaN where nothing was paid."""
        return np.divide(self.profit, self.notional, out=np.full_like(self.profit, np.nan), where=self.notional > 0)

    def __len__(self) -> int:
        return len(self.symbol)


def find_episodes(
    *,
    session: npt.ArrayLike,
    symbol: npt.ArrayLike,
    quantity: npt.ArrayLike,
    price: npt.ArrayLike,
    cost: npt.ArrayLike,
    marks: npt.ArrayLike,
    n_sessions: int,
    income: npt.ArrayLike | None = None,
    splits_since: npt.ArrayLike | None = None,
) -> Episodes:
    """Gather fills into episodes.

    A fill that turns a long position into a short one, or the reverse, ends one episode and opens the next: its cost is
    shared in proportion to the quantities.

    Parameters
    ----------
    session : array_like of shape (n_fills,), int
        The session of each fill, from 0. Fills of one symbol and session are taken in the order given.
    symbol : array_like of shape (n_fills,), int
        The column of each fill's symbol, from 0.
    quantity : array_like of shape (n_fills,)
        Shares, positive when bought.
    price : array_like of shape (n_fills,)
        Currency per share, without costs.
    cost : array_like of shape (n_fills,)
        Commission, slippage and impact of each fill, in currency, not negative.
    marks : array_like of shape (n_symbols,)
        The last price of each symbol, by which open episodes are valued; NaN where nothing is held.
    n_sessions
        Sessions in all: an open episode lasts until the last of them.
    income : array_like of shape (n_fills,), optional
        Dividends less borrow fees, in currency, that the position before the fill was paid. A payment without a trade
        is a row of quantity 0.
    splits_since : array_like of shape (n_fills,), optional
        Shares at the end for each share at the fill: the product of the splits after it, 1 without one. Quantities and
        prices are those of the fill's own time, marks those of the end.

    Returns
    -------
    Episodes

    Raises
    ------
    InvalidInputError
        If the arrays differ in length, or a fill has a value that is not finite.

    Examples
    --------
    >>> episodes = find_episodes(
    ...     session=[0, 1, 3],
    ...     symbol=[0, 0, 0],
    ...     quantity=[10, 10, -30],
    ...     price=[10, 11, 12],
    ...     cost=[1, 1, 3],
    ...     marks=[12.5],
    ...     n_sessions=5,
    ... )
    >>> episodes.profit.tolist(), episodes.notional.tolist(), episodes.is_open.tolist()
    ([26.0, -6.0], [210.0, 120.0], [False, True])
    """
    fills = _read_fills(
        sessions=np.asarray(session, dtype=np.int64),
        symbols=np.asarray(symbol, dtype=np.int64),
        amounts=[np.asarray(values, dtype=np.float64) for values in (quantity, price, cost)],
        income=income,
        splits_since=splits_since,
    )
    opens = (fills.before == 0) & (fills.after != 0)
    held = (fills.before != 0) | (fills.after != 0)  # the rest are payments, or fills of nothing, while flat
    number = (np.cumsum(opens) - 1)[held]
    count = int(opens.sum())
    traded = fills.quantity * fills.price
    enlarges = opens | (fills.before * fills.quantity > 0)
    profit = _sum_by(number, (fills.income - fills.cost - traded)[held], count)
    notional = _sum_by(number, np.where(enlarges, np.abs(traded), 0.0)[held], count)
    first = np.flatnonzero(opens)
    last = np.flatnonzero(held)[np.searchsorted(number, np.arange(count), side="right") - 1]
    left = fills.after[last]
    names = fills.symbol[first]
    is_open = left != 0
    return Episodes(
        symbol=names,
        opened=fills.session[first],
        closed=np.where(is_open, n_sessions - 1, fills.session[last]),
        is_long=fills.quantity[first] > 0,
        notional=notional,
        profit=profit + np.where(is_open, left * np.asarray(marks, dtype=np.float64)[names], 0.0),
        is_open=is_open,
    )


def _sum_by(number: IntArray, values: FloatArray, count: int) -> FloatArray:
    sums: FloatArray = np.zeros(count)
    np.add.at(sums, number, values)
    return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fills:
    """Fills by symbol and time, none of which turns a position: one that does stands as two, with flat between them."""

    session: IntArray
    symbol: IntArray
    quantity: FloatArray
    price: FloatArray
    cost: FloatArray
    income: FloatArray
    before: FloatArray
    after: FloatArray


def _read_fills(
    *,
    sessions: IntArray,
    symbols: IntArray,
    amounts: list[FloatArray],
    income: npt.ArrayLike | None,
    splits_since: npt.ArrayLike | None,
) -> _Fills:
    paid = np.zeros(len(sessions)) if income is None else np.asarray(income, dtype=np.float64)
    splits = np.ones(len(sessions)) if splits_since is None else np.asarray(splits_since, dtype=np.float64)
    amounts = [*amounts, paid, splits]
    if any(array.shape != (len(sessions),) for array in (sessions, symbols, *amounts)):
        raise InvalidInputError("the arrays of fills differ in length", next_step="give one element a fill in each")
    if not all(np.isfinite(array).all() for array in amounts):
        raise InvalidInputError("a fill has a value that is not finite", next_step="leave out what was not filled")
    if not (splits > 0).all():
        raise InvalidInputError("a split ratio is not above 0", next_step="give 1 where there was no split")
    quantity, price, cost = amounts[0] * splits, amounts[1] / splits, amounts[2]
    order = np.lexsort((sessions, symbols))  # stable: fills of one session keep their order
    before, after = _positions(symbols[order], quantity[order])
    turns = before * after < 0
    row = np.repeat(np.arange(len(order)), np.where(turns, 2, 1))
    is_second = np.diff(row, prepend=-1) == 0
    closes, reopens = turns[row] & ~is_second, turns[row] & is_second
    quantities, prices, costs, incomes = (array[order][row] for array in (quantity, price, cost, paid))
    parts = np.where(closes, -before[row], np.where(reopens, after[row], quantities))
    share = np.divide(parts, quantities, out=np.ones(len(row)), where=turns[row])
    return _Fills(
        session=sessions[order][row],
        symbol=symbols[order][row],
        quantity=parts,
        price=prices,
        cost=share * costs,
        income=np.where(reopens, 0.0, incomes),
        before=np.where(reopens, 0.0, before[row]),
        after=np.where(closes, 0.0, after[row]),
    )


def _positions(symbols: IntArray, quantities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sum quantities symbol by symbol: the position before and after each fill, exactly 0 where it is rounding."""
    before, after = np.zeros(len(symbols)), np.zeros(len(symbols))
    starts = np.flatnonzero(np.diff(symbols, prepend=-1)).tolist()
    for start, end in pairwise([*starts, len(symbols)]):
        position = np.cumsum(quantities[start:end])
        position[np.abs(position) <= FLAT * np.abs(position).max()] = 0.0
        after[start:end] = position
        before[start + 1 : end] = position[:-1]
    return before, after


def win_rate(episodes: Episodes) -> float:
    """Compute the share of closed episodes that earned something, net of costs.

    Parameters
    ----------
    episodes
        Open ones are left out.

    Returns
    -------
    float
        A fraction; NaN without a closed episode.

    Examples
    --------
    >>> two = {"session": [0, 0, 2, 2], "symbol": [0, 1, 0, 1], "quantity": [1, 1, -1, -1], "price": [10, 10, 14, 8]}
    >>> win_rate(find_episodes(**two, cost=np.zeros(4), marks=[0, 0], n_sessions=3))
    0.5
    """
    profit = episodes.profit[~episodes.is_open]
    return float(np.mean(profit > 0)) if len(profit) else math.nan


def profit_factor(episodes: Episodes) -> float:
    """Compute what the winning closed episodes earned per unit that the losing ones lost, net of costs.

    Parameters
    ----------
    episodes
        Open ones are left out.

    Returns
    -------
    float
        Currency per currency; NaN where nothing was lost.

    Examples
    --------
    >>> two = {"session": [0, 0, 2, 2], "symbol": [0, 1, 0, 1], "quantity": [1, 1, -1, -1], "price": [10, 10, 14, 8]}
    >>> profit_factor(find_episodes(**two, cost=np.zeros(4), marks=[0, 0], n_sessions=3))
    2.0
    """
    profit = episodes.profit[~episodes.is_open]
    lost = -float(profit[profit < 0].sum())
    return float(profit[profit > 0].sum()) / lost if lost > 0 else math.nan


def avg_trade_return(episodes: Episodes) -> float:
    """Compute the mean return of closed episodes: net profit per notional that opened and enlarged the position.

    Parameters
    ----------
    episodes
        Open ones are left out.

    Returns
    -------
    float
        A fraction of the episode's own notional, whatever its size; NaN without a closed episode that has one.

    Notes
    -----
    As vectorbt's positions: profit / (entry size x average entry price).

    Examples
    --------
    >>> two = {"session": [0, 0, 2, 2], "symbol": [0, 1, 0, 1], "quantity": [1, 1, -1, -1], "price": [10, 10, 14, 8]}
    >>> round(avg_trade_return(find_episodes(**two, cost=np.zeros(4), marks=[0, 0], n_sessions=3)), 6)
    0.1
    """
    returns = episodes.returns[~episodes.is_open]
    returns = returns[~np.isnan(returns)]
    return float(np.mean(returns)) if len(returns) else math.nan


def avg_holding_period(episodes: Episodes) -> float:
    """Compute the mean number of sessions from the first fill of a closed episode to the last.

    Parameters
    ----------
    episodes
        Open ones are left out.

    Returns
    -------
    float
        Sessions; 0 for what was closed in the session that opened it. NaN without a closed episode.

    Examples
    --------
    >>> two = {"session": [0, 0, 2, 4], "symbol": [0, 1, 0, 1], "quantity": [1, 1, -1, -1], "price": [10, 10, 14, 8]}
    >>> avg_holding_period(find_episodes(**two, cost=np.zeros(4), marks=[0, 0], n_sessions=5))
    3.0
    """
    held = (episodes.closed - episodes.opened)[~episodes.is_open]
    return float(np.mean(held)) if len(held) else math.nan
