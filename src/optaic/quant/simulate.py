"""The backtest simulator: one pass over the sessions, all symbols at once.

In each session, in this order:

1. Dividends and splits of what was held at the close before; positions that end because their names stopped having
   prices.
2. Cash earns, and short positions cost, for the calendar days since the session before, on the balances of its close.
3. The weights decided `lag` sessions ago are traded at the close or at the open.
4. Costs leave cash, which may go below zero.
5. What is held is marked at the close.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optaic.errors import InvalidInputError
from optaic.quant.options import MISSING_SESSIONS, SimulatorOptions
from optaic.quant.panel import Booleans, Floats, Panel, year_fractions
from optaic.quant.selection import cap_weights
from optaic.quant.simulation import Delistings, Simulation, split_positions

_ROUNDING = 1e-12
"""Differences of weights that are rounding and not an order."""

Decide = Callable[[int, Floats], Floats | None]
"""Takes a session and the weights at its close; gives the weights to trade to, None to trade nothing."""


def simulate(
    panel: Panel,
    targets: Floats,
    *,
    decided: Booleans | None = None,
    decide: Decide | None = None,
    options: SimulatorOptions | None = None,
) -> Simulation:
    """Simulate a portfolio that trades to target weights, session by session.

    Shares are fractional. A target is a fraction of the portfolio's value just before the trade; between trades the
    weights drift. A name has a price in a session if it has a close, and an open too where orders are filled at the
    open. Without a price there is no fill, the order is not repeated, and the position stands at its last close; for
    at most 5 sessions in a row. In the sixth it ends, without costs, at its delisting return if that is known, else
    at the option's. A name whose prices come back can be bought again.

    Parameters
    ----------
    panel : Panel
        Prices, and what happens to their holders.
    targets : ndarray of shape (n_sessions, n_symbols), float64
        Row t holds the weights decided in session t, fractions of the value; negative is short. Rows without a decision
        are not looked at.
    decided : ndarray of shape (n_sessions,), bool, optional
        In which sessions a decision was taken. All if left out.
    decide : callable, optional
        Takes the decisions where they depend on what is held: asked at the close of each session that is decided and
        whose decision can still be traded, in their order, with the session and the weights held at its close, after
        its trades and marks (an ndarray of its own of shape (n_symbols,), zeros before the first purchase; in the same
        bar before the trade that it decides). What it gives becomes that session's row of the targets; None is no
        decision, and nothing is traded for it.
    options : SimulatorOptions, optional
        Capital, execution, lag, costs, limits.

    Returns
    -------
    Simulation
        Values, returns, fills and counts; targets and decided as they were taken. An empty panel gives empty arrays.

    Raises
    ------
    InvalidInputError
        If shapes differ, if a target that is to be traded is not finite, if orders are to be filled at the open and
        there are no open prices or `decide` is asked in the same bar, at whose close, or if the portfolio is worth
        nothing any more (the message names the date).

    Notes
    -----
    The cost of a trade is (costs_bps + slippage_bps) / 10,000 of its notional. Decisions of the last `lag` sessions are
    never traded. A difference between target and drifted weight within 1e-12 is no order.

    Examples
    --------
    One share at 100, bought at the second close for 10 bps, is 110 at the third.

    >>> panel = Panel(
    ...     dates=np.array(["2024-01-02", "2024-01-03", "2024-01-04"], dtype="datetime64[D]"),
    ...     close=np.array([[90.0], [100.0], [110.0]]),
    ... )
    >>> once = np.array([True, False, False])
    >>> result = simulate(panel, np.ones((3, 1)), decided=once, options=SimulatorOptions(capital=100.0))
    >>> result.value.round(6).tolist()
    [100.0, 99.9, 109.9]
    """
    chosen = SimulatorOptions() if options is None else options
    taken = np.ones(panel.n_sessions, dtype=np.bool_) if decided is None else decided
    _check(panel, targets, taken, chosen)
    if decide is not None:
        if chosen.is_same_bar and chosen.execution == "open":
            raise InvalidInputError(
                "who decides on what is held at the close cannot trade at the open of the same bar",
                next_step='leave same_bar out, or take execution="close"',
            )
        targets, taken = targets.copy(), taken.copy()
        taken[max(panel.n_sessions - chosen.delay, 0) :] = False
    pass_over = _Pass(panel, targets, taken, chosen, decide)
    for t in range(panel.n_sessions):
        pass_over.step(t)
    return pass_over.finish()


def _check(panel: Panel, targets: Floats, decided: Booleans, options: SimulatorOptions) -> None:
    if targets.shape != panel.close.shape or targets.dtype != np.float64:
        raise InvalidInputError(
            f"targets have shape {targets.shape} and dtype {targets.dtype}",
            next_step=f"give float64 of the shape of the closes, {panel.close.shape}",
        )
    if decided.shape != (panel.n_sessions,) or decided.dtype != np.bool_:
        raise InvalidInputError(
            f"decided has shape {decided.shape} and dtype {decided.dtype}",
            next_step=f"give bool of shape ({panel.n_sessions},)",
        )
    if options.execution == "open" and panel.open is None:
        raise InvalidInputError(
            "orders are to be filled at the open, and there are no open prices",
            next_step='give them, or take execution="close"',
        )


def _zeros(count: int) -> Floats:
    return np.zeros(count)


class _Pass:
    """The state of one pass over the sessions."""

    def __init__(
        self, panel: Panel, targets: Floats, decided: Booleans, options: SimulatorOptions, decide: Decide | None
    ) -> None:
        sessions, symbols = panel.n_sessions, panel.n_symbols
        self.panel, self.targets, self.decided, self.options = panel, targets, decided, options
        self.decide = decide
        self.years = year_fractions(panel.dates)
        self.cash = options.capital
        self.short_value = 0.0
        self.first_purchase: int | None = None
        self.shares, self.marks = _zeros(symbols), _zeros(symbols)
        self.missing = np.zeros(symbols, dtype=np.int32)
        self.has_missing = False
        self.held_sessions = np.zeros(symbols, dtype=np.int64)
        # From here on the names are those of Simulation.
        self.value, self.cash_at_close, self.costs = _zeros(sessions), _zeros(sessions), _zeros(sessions)
        self.gross_exposure, self.net_exposure = _zeros(sessions), _zeros(sessions)
        self.turnover, self.dividends = _zeros(sessions), _zeros(sessions)
        self.interest, self.borrow_fees = _zeros(sessions), _zeros(sessions)
        self.stale_marks, self.missed_fills = np.zeros(sessions, dtype=np.int64), np.zeros(sessions, dtype=np.int64)
        # Room for every order that could be; pages that no fill reaches are never given by the operating system.
        trades = int(decided[: max(sessions - options.delay, 0)].sum()) * symbols
        self.fill_symbols, self.fill_shares = np.empty(trades, dtype=np.int32), np.empty(trades)
        self.fill_bounds = np.zeros(sessions + 1, dtype=np.int64)
        self.ended: list[tuple[int, int, float, float, float, bool]] = []

    def step(self, t: int) -> None:
        close = self.panel.close[t]
        priced = ~np.isnan(close)
        self._accrue(t)
        self._distribute(t)
        self._count_missing(t, priced)
        self.fill_bounds[t + 1] = self.fill_bounds[t]
        row = t - self.options.delay
        is_trading = row >= 0 and bool(self.decided[row])
        if is_trading and self.panel.open is not None and self.options.execution == "open":
            opening = self.panel.open[t]
            tradable = priced & ~np.isnan(opening)
            self._trade(t, row, np.where(tradable, opening, self.marks), tradable)
        np.copyto(self.marks, close, where=priced)
        if is_trading and row == t:
            is_trading = self._ask(t)
        if is_trading and self.options.execution == "close":
            self._trade(t, row, self.marks, priced)
        self._mark(t, priced)
        if row < t:
            self._ask(t)

    def _ask(self, t: int) -> bool:
        """Have the decision of a session taken, if it is to be taken only now; whether there is one."""
        if self.decide is not None and self.decided[t]:
            worth = self.shares * self.marks
            taken = self.decide(t, worth / self._be_worth(t, self.cash + float(worth.sum())))
            if taken is None:
                self.decided[t] = False
            elif taken.shape != worth.shape:
                raise InvalidInputError(
                    f"the decision of {self.panel.dates[t]} has shape {taken.shape}",
                    next_step=f"give a weight for each symbol, shape {worth.shape}",
                )
            else:
                self.targets[t] = taken
        return bool(self.decided[t])

    def _accrue(self, t: int) -> None:
        # On the balances of the close before: what this session pays out was not there to earn.
        years = float(self.years[t])
        rates = self.panel.cash_rates
        interest = 0.0 if rates is None or t == 0 else self.cash * float(rates[t - 1]) * years
        fees = self.short_value * self.options.borrow_bps / 1e4 * years
        self.interest[t] = interest
        self.borrow_fees[t] = fees
        self.cash += interest - fees

    def _distribute(self, t: int) -> None:
        if self.panel.dividends is not None:
            paid = self.panel.dividends[t]
            received = float(self.shares @ np.where(np.isnan(paid), 0.0, paid))
            self.dividends[t] = received
            self.cash += received
        if self.panel.splits is not None:
            split_positions(self.panel.splits[t], self.shares, self.marks)

    def _count_missing(self, t: int, priced: Booleans) -> None:
        if priced.all():
            if self.has_missing:
                self.missing.fill(0)
                self.has_missing = False
            return
        self.has_missing = True
        self.missing += 1
        self.missing[priced] = 0
        for i in np.flatnonzero((self.missing > MISSING_SESSIONS) & (self.shares != 0.0)).tolist():
            self._end_position(t, i)

    def _end_position(self, t: int, i: int) -> None:
        known = np.nan if self.panel.delisting_returns is None else float(self.panel.delisting_returns[i])
        is_assumed = bool(np.isnan(known))
        delisting_return = self.options.delisting_return if is_assumed else known
        shares, mark = float(self.shares[i]), float(self.marks[i])
        self.cash += shares * mark * (1.0 + delisting_return)
        self.shares[i] = 0.0
        self.ended.append((t, i, shares, mark, delisting_return, is_assumed))

    def _trade(self, t: int, row: int, prices: Floats, tradable: Booleans) -> None:
        options = self.options
        worth = self.shares * prices
        value = self._be_worth(t, self.cash + float(worth.sum()))
        weights = self.targets[row]
        if not np.isfinite(weights.sum()):
            raise InvalidInputError(
                f"a target weight of {self.panel.dates[row]} is not finite",
                next_step="decide 0 for names not to be held",
            )
        weights = cap_weights(weights, max_weight=options.max_weight, gross=options.gross, net=options.net)
        worth /= value
        difference = np.subtract(weights, worth, out=worth)
        ordered = np.abs(difference) > options.no_trade_band + _ROUNDING
        filled = np.flatnonzero(ordered & tradable)
        self.missed_fills[t] = np.count_nonzero(ordered) - len(filled)
        if not len(filled):
            return
        paid, held = prices[filled], self.shares[filled]
        traded = weights[filled] * value / paid - held
        turnover = 0.5 * float(np.abs(traded) @ paid) / value
        if self.first_purchase is None:
            self.first_purchase = t
        else:
            if options.max_turnover is not None and turnover > options.max_turnover:
                traded *= options.max_turnover / turnover
                turnover = options.max_turnover
            self.turnover[t] = turnover
        self.shares[filled] = held + traded
        cost = float(np.abs(traded) @ paid) * options.cost_rate
        self.cash -= float(traded @ paid) + cost
        self.costs[t] = cost
        start = int(self.fill_bounds[t])
        self.fill_bounds[t + 1] = start + len(filled)
        self.fill_symbols[start : start + len(filled)] = filled
        self.fill_shares[start : start + len(filled)] = traded

    def _mark(self, t: int, priced: Booleans) -> None:
        worth = self.shares * self.marks
        net = float(worth.sum())
        gross = float(np.abs(worth).sum())
        value = self._be_worth(t, self.cash + net)
        self.short_value = (gross - net) / 2
        held = self.shares != 0.0
        self.held_sessions += held
        if self.has_missing:
            self.stale_marks[t] = np.count_nonzero(held & ~priced)
        self.value[t] = value
        self.cash_at_close[t] = self.cash
        self.gross_exposure[t] = gross / value
        self.net_exposure[t] = net / value

    def _be_worth(self, t: int, value: float) -> float:
        if not value > 0.0:
            raise InvalidInputError(
                f"the portfolio is worth {value:,.2f} on {self.panel.dates[t]}: it is ruined",
                next_step="lower the weights (gross, max_weight), or end the backtest before that date",
            )
        return value

    def finish(self) -> Simulation:
        count = int(self.fill_bounds[-1])
        session, symbol, shares, price, returns, assumed = zip(*self.ended, strict=True) if self.ended else ((),) * 6
        return Simulation(
            panel=self.panel,
            targets=self.targets,
            decided=self.decided,
            options=self.options,
            value=self.value,
            cash=self.cash_at_close,
            gross_exposure=self.gross_exposure,
            net_exposure=self.net_exposure,
            turnover=self.turnover,
            costs=self.costs,
            interest=self.interest,
            borrow_fees=self.borrow_fees,
            dividends=self.dividends,
            stale_marks=self.stale_marks,
            missed_fills=self.missed_fills,
            held_sessions=self.held_sessions,
            is_alive=(self.marks > 0.0) & (self.missing <= MISSING_SESSIONS),
            first_purchase=self.first_purchase,
            fill_bounds=self.fill_bounds,
            fill_symbols=self.fill_symbols[:count],
            fill_shares=self.fill_shares[:count],
            delistings=Delistings(
                session=np.array(session, dtype=np.int64),
                symbol=np.array(symbol, dtype=np.int32),
                shares=np.array(shares, dtype=np.float64),
                price=np.array(price, dtype=np.float64),
                delisting_return=np.array(returns, dtype=np.float64),
                is_assumed=np.array(assumed, dtype=np.bool_),
            ),
        )
