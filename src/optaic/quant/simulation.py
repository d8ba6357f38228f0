"""What a simulated backtest leaves: figures for each session, fills, delistings; positions and weights on demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Booleans, Floats, Integers, Panel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fills:
    """Fills in the order of sessions, and of columns within a session. All arrays have shape (n_fills,).

    Attributes
    ----------
    session : int64
        Row of the panel.
    symbol : int32
        Column of the panel.
    shares : float64
        Bought (positive) or sold (negative); fractional, never 0.
    price : float64
        Price of a share in the market, without slippage.
    notional : float64
        shares x price, signed.
    cost : float64
        Costs and slippage, positive, in currency.
    """

    session: Integers
    symbol: NDArray[np.int32]
    shares: Floats
    price: Floats
    notional: Floats
    cost: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delistings:
    """Positions that ended because their names stopped having prices. All arrays have shape (n_delistings,).

    Attributes
    ----------
    session : int64
        Row of the panel in which the position was closed.
    symbol : int32
        Column of the panel.
    shares : float64
        What was held.
    price : float64
        The last price.
    delisting_return : float64
        The return from that price, as a fraction.
    is_assumed : bool
        Whether that is the option's rather than the name's own.
    """

    session: Integers
    symbol: NDArray[np.int32]
    shares: Floats
    price: Floats
    delisting_return: Floats
    is_assumed: Booleans


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simulation:
    """A simulated backtest. Money is in the currency of the prices, after all costs; T is n_sessions.

    Attributes
    ----------
    panel, targets, decided, options
        What was simulated, and how: the arguments of `simulate`, with the decisions that it asked for.
    value : ndarray of shape (T,), float64
        Value of the portfolio at the close.
    cash : ndarray of shape (T,), float64
        Cash at the close; negative if it was borrowed.
    gross_exposure, net_exposure : ndarray of shape (T,), float64
        Sum of absolute and of signed weights at the close, after drift; fractions of the value.
    turnover : ndarray of shape (T,), float64
        1/2 sum |w_target - w_drifted| over the names that were traded, one-way, as a fraction of the value before the
        trade. 0 in sessions without a trade, and for the first purchase.
    costs : ndarray of shape (T,), float64
        Costs and slippage that left cash in the session.
    interest : ndarray of shape (T,), float64
        What cash earned since the session before; negative where cash was.
    borrow_fees : ndarray of shape (T,), float64
        What short positions cost since the session before.
    dividends : ndarray of shape (T,), float64
        Received for long positions, less paid for short ones.
    stale_marks : ndarray of shape (T,), int64
        Positions that stood at their last price at the close, because the session has none.
    missed_fills : ndarray of shape (T,), int64
        Orders that were not filled because there was no price.
    held_sessions : ndarray of shape (n_symbols,), int64
        In how many sessions the name was held at the close.
    is_alive : ndarray of shape (n_symbols,), bool
        Whether the name had a price and does not count as delisted at the panel's end.
    first_purchase : int or None
        The session of the first fill.
    fill_bounds : ndarray of shape (T + 1,), int64
        Fills of session t are those from fill_bounds[t] to fill_bounds[t + 1].
    fill_symbols : ndarray of shape (n_fills,), int32
        Column of the panel of each fill.
    fill_shares : ndarray of shape (n_fills,), float64
        Shares of each fill, signed.
    delistings : Delistings
        Positions that ended because their names stopped having prices.
    """

    panel: Panel
    targets: Floats
    decided: Booleans
    options: SimulatorOptions
    value: Floats
    cash: Floats
    gross_exposure: Floats
    net_exposure: Floats
    turnover: Floats
    costs: Floats
    interest: Floats
    borrow_fees: Floats
    dividends: Floats
    stale_marks: Integers
    missed_fills: Integers
    held_sessions: Integers
    is_alive: Booleans
    first_purchase: int | None
    fill_bounds: Integers
    fill_symbols: NDArray[np.int32]
    fill_shares: Floats
    delistings: Delistings

    @property
    def returns(self) -> Floats:
        """Simple returns net of costs, V_t / V_{t-1} - 1, of the sessions after the first: shape (T - 1,), fractions.

        What a decision of the first session's own bar gains or loses in that session (`same_bar` alone can) is in
        `value[0]`, and in no return.
        """
        return self.value[1:] / self.value[:-1] - 1.0

    @property
    def fills(self) -> Fills:
        """Every fill, made anew at each call: 44 bytes each."""
        session = np.repeat(np.arange(len(self.value)), np.diff(self.fill_bounds))
        opens = self.panel.open if self.options.execution == "open" else None
        prices = self.panel.close if opens is None else opens
        price = prices[session, self.fill_symbols]
        notional = self.fill_shares * price
        return Fills(
            session=session,
            symbol=self.fill_symbols,
            shares=self.fill_shares,
            price=price,
            notional=notional,
            cost=np.abs(notional) * self.options.cost_rate,
        )

    def replay(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield, for each session, the shares held at the close and the prices that they stand at.

        Yields
        ------
        shares, marks : ndarrays of shape (n_symbols,), float64
            The same two arrays each time, changed in place: copy what is to be kept. A mark is 0 before the first
            price.
        """
        shares = np.zeros(self.panel.n_symbols)
        marks = np.zeros(self.panel.n_symbols)
        ended, bounds = self.delistings, np.searchsorted(self.delistings.session, np.arange(len(self.value) + 1))
        for t, close in enumerate(self.panel.close):
            if self.panel.splits is not None:
                split_positions(self.panel.splits[t], shares, marks)
            shares[ended.symbol[bounds[t] : bounds[t + 1]]] = 0.0
            filled = slice(self.fill_bounds[t], self.fill_bounds[t + 1])
            shares[self.fill_symbols[filled]] += self.fill_shares[filled]
            np.copyto(marks, close, where=~np.isnan(close))
            yield shares, marks


def split_positions(ratios: Floats, shares: Floats, marks: Floats) -> None:
    """Turn shares and marks into those after a split, in place; NaN is no split.

    Parameters
    ----------
    ratios, shares, marks : ndarrays of shape (n_symbols,), float64
        Shares after for each share before; shares; prices of a share.
    """
    split = np.flatnonzero((ratios != 1.0) & ~np.isnan(ratios))
    shares[split] *= ratios[split]
    marks[split] /= ratios[split]
