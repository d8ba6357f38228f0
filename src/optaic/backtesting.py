"""`optaic.backtest`: the simulator as a pure function on frames. No project, no ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Unpack

import numpy as np
import polars as pl

from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError
from optaic.quant.figures import equal_weight_returns, measure
from optaic.quant.market import read_benchmark, read_market, read_members, read_targets
from optaic.quant.options import STRESSED_DELISTING_RETURN, BacktestOptions, SimulatorOptions
from optaic.quant.panel import Booleans, Floats
from optaic.quant.simulate import Decide, simulate
from optaic.quant.simulation import Simulation

EQUAL_WEIGHT = "equal weight of the universe"
"""The name of the benchmark where none is given."""

GIVEN_BENCHMARK = "benchmark prices (dividends not stated)"
"""What a benchmark is called where nothing is said of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Backtest:
    """A backtest. Frames are made when they are asked for; money is in the currency of the prices, after all costs.

    Attributes
    ----------
    simulation : Simulation
        The arrays behind the frames.
    symbols : list of str
        Columns of the arrays.
    is_adjusted : bool
        Whether the prices were said to be adjusted for splits and dividends.
    sessions_per_year : float
        What annualises.
    benchmark : ndarray of shape (n_sessions - 1,), float64
        Its simple returns in the sessions after the first, as fractions.
    benchmark_name : str
        What the benchmark is, in words.
    members : ndarray of shape (n_sessions, n_symbols), bool, or None
        The universe that the equal weight is of; None for all names.
    skipped_decisions : int
        Decisions that could not be taken, because nothing was known of whom to hold.
    in_sample_rows : int or None
        Predictions that were used though their fit had seen their dates; None where nobody looked.
    optimizer : str or None
        The optimiser that decided, in words; None where none did.
    failed_solves, fallbacks : int or None
        At how many decisions it had no solution, and at how many of these its declared fallback was used; at the others
        what was held was kept. None without an optimiser.
    """

    simulation: Simulation
    symbols: list[str]
    is_adjusted: bool
    sessions_per_year: float
    benchmark: Floats
    benchmark_name: str
    members: Booleans | None = None
    skipped_decisions: int = 0
    in_sample_rows: int | None = None
    optimizer: str | None = None
    failed_solves: int | None = None
    fallbacks: int | None = None

    def __repr__(self) -> str:
        done = self.simulation
        if not len(done.value):
            return "<Backtest of no session>"
        first, last = done.panel.dates[0], done.panel.dates[-1]
        grown = done.value[-1] / done.options.capital - 1
        names, trades = len(self.symbols), len(done.fill_shares)
        return f"<Backtest of {names} names, {first} to {last}: {grown:+.2%}, {trades:,} trades>"

    @property
    def equity_curve(self) -> pl.DataFrame:
        """The portfolio, session by session.

        Columns: date (Date); value and cash at the close (currency); gross_exposure and net_exposure at the close,
        after drift (fractions of the value); turnover, one-way, without the first purchase (fraction of the value
        before the trade); costs, interest, borrow_fees and dividends of the session (currency); stale_marks,
        positions without a price; missed_fills, orders without one.
        """
        done = self.simulation
        return pl.DataFrame(
            {
                "date": done.panel.dates,
                "value": done.value,
                "cash": done.cash,
                "gross_exposure": done.gross_exposure,
                "net_exposure": done.net_exposure,
                "turnover": done.turnover,
                "costs": done.costs,
                "interest": done.interest,
                "borrow_fees": done.borrow_fees,
                "dividends": done.dividends,
                "stale_marks": done.stale_marks,
                "missed_fills": done.missed_fills,
            }
        )

    @property
    def returns(self) -> pl.DataFrame:
        """Simple returns net of costs of the sessions after the first. Columns: date (Date), return (fraction)."""
        done = self.simulation
        return pl.DataFrame({"date": done.panel.dates[1:], "return": done.returns})

    @property
    def drawdowns(self) -> pl.DataFrame:
        """How far the value is below its highest close so far. Columns: date (Date), drawdown (fraction, at most 0)."""
        done = self.simulation
        return pl.DataFrame(
            {"date": done.panel.dates, "drawdown": done.value / np.maximum.accumulate(done.value) - 1.0}
        )

    @property
    def positions(self) -> pl.DataFrame:
        """What is held at each close, in the order of dates and symbols.

        Columns: date (Date), symbol (String), shares (negative is short), price (last close), market_value (currency).
        """
        return self._held().select("date", "symbol", "shares", "price", "market_value")

    @property
    def weights(self) -> pl.DataFrame:
        """What is held at each close, after drift. Columns: date (Date), symbol (String), weight (of the value)."""
        return self._held().select("date", "symbol", weight=pl.col("market_value") / pl.col("value"))

    @property
    def trades(self) -> pl.DataFrame:
        """Every fill, in the order of dates and symbols.

        Columns: date (Date), symbol (String), shares (negative is a sale), price (the market's, without slippage),
        notional (currency, signed), cost (currency; costs and slippage).
        """
        fills = self.simulation.fills
        return self._named(
            fills.session,
            fills.symbol,
            {"shares": fills.shares, "price": fills.price, "notional": fills.notional, "cost": fills.cost},
        )

    @property
    def delistings(self) -> pl.DataFrame:
        """Positions that ended because their names stopped having prices.

        Columns: date (Date), symbol (String), shares, price (the last close), delisting_return (fraction), is_assumed
        (Boolean: the option's return, because the name's own is not known).
        """
        ended = self.simulation.delistings
        return self._named(
            ended.session,
            ended.symbol,
            {
                "shares": ended.shares,
                "price": ended.price,
                "delisting_return": ended.delisting_return,
                "is_assumed": ended.is_assumed,
            },
        )

    @property
    def metrics(self) -> dict[str, Any]:
        """Figures of the whole backtest, by name; what is not defined is None. Computed anew at each call.

        What they mean stands at `optaic.domain.metric.backtest`.
        """
        done = self.simulation
        figures: dict[str, Any] = dict(
            measure(done, sessions_per_year=self.sessions_per_year, benchmark=self.benchmark)
        )
        figures |= {
            "total_costs": float(done.costs.sum()),
            "stale_marks": int(done.stale_marks.sum()),
            "missed_fills": int(done.missed_fills.sum()),
            "skipped_decisions": self.skipped_decisions,
            "in_sample_rows": self.in_sample_rows,
            "optimizer": self.optimizer,
            "failed_solves": self.failed_solves,
            "fallbacks": self.fallbacks,
            "delisted_positions": len(done.delistings.session),
            "assumed_delistings": int(done.delistings.is_assumed.sum()),
            "costs": self.options["assumptions"]["costs"],
            "impact": "none",
            "benchmark": self.benchmark_name,
        }
        return figures

    @property
    def options(self) -> dict[str, Any]:
        """All options with their values, and under `assumptions` what was assumed, in words."""
        done = self.simulation
        chosen = done.options
        has_events = done.panel.dividends is not None or done.panel.splits is not None
        return {
            **asdict(chosen),
            "assumptions": {
                "costs": f"{chosen.costs_bps + chosen.slippage_bps:g} bps" if chosen.cost_rate else "none",
                "impact": "none",
                "cash_rate": "none" if done.panel.cash_rates is None else "annual simple, Act/360",
                "prices": "adjusted" if self.is_adjusted else "raw, with events" if has_events else "as given",
                "same_bar": chosen.is_same_bar,
                "delisting": f"{chosen.delisting_return:.0%} from the last price where the return is not known",
            },
        }

    def with_delisting_return(self, delisting_return: float = STRESSED_DELISTING_RETURN) -> Backtest:
        """Repeat the backtest with another return for delisted names whose own is not known.

        Parameters
        ----------
        delisting_return : float
            Return from the last price, as a fraction; at least -1.

        Returns
        -------
        Backtest
            The same in everything else: what was decided stays decided, also where it was decided on what was held.
        """
        done = self.simulation
        options = done.options.with_delisting_return(delisting_return)
        again = replace(self, simulation=simulate(done.panel, done.targets, decided=done.decided, options=options))
        if self.benchmark_name != EQUAL_WEIGHT:
            return again
        # The same names are delisted there.
        theirs = equal_weight_returns(done.panel, members=self.members, delisting_return=delisting_return)
        return replace(again, benchmark=theirs)

    @property
    def stressed(self) -> Backtest | None:
        """The same backtest with delistings at -30 %, to be shown beside this one; None if none was assumed."""
        return self.with_delisting_return() if self.simulation.delistings.is_assumed.any() else None

    def _held(self) -> pl.DataFrame:
        done = self.simulation
        rows = int(done.held_sessions.sum())
        session, symbol = np.empty(rows, dtype=np.int32), np.empty(rows, dtype=np.int32)
        shares, price = np.empty(rows), np.empty(rows)
        end = 0
        for t, (counts, marks) in enumerate(done.replay()):
            held = np.flatnonzero(counts)
            start, end = end, end + len(held)
            session[start:end], symbol[start:end] = t, held
            shares[start:end], price[start:end] = counts[held], marks[held]
        columns = {"shares": shares, "price": price, "market_value": shares * price, "value": done.value[session]}
        return self._named(session, symbol, columns)

    def _named(
        self,
        session: np.ndarray[Any, np.dtype[np.integer[Any]]],
        symbol: np.ndarray[Any, np.dtype[np.integer[Any]]],
        columns: Mapping[str, np.ndarray[Any, Any]],
    ) -> pl.DataFrame:
        names = pl.Series("symbol", self.symbols, dtype=pl.String)
        return pl.DataFrame(
            {"date": self.simulation.panel.dates[session], "symbol": names.gather(pl.Series(symbol)), **columns}
        )


def backtest(
    *,
    weights: Any,
    prices: Any,
    opens: Any = None,
    dividends: Any = None,
    splits: Any = None,
    delisting_returns: Mapping[str, float] | None = None,
    cash_rates: Any = None,
    adjusted: bool = False,
    benchmark: Any = None,
    benchmark_name: str = GIVEN_BENCHMARK,
    universe: Any = None,
    sessions_per_year: float = 252.0,
    skipped_decisions: int = 0,
    decide: Decide | None = None,
    **options: Unpack[BacktestOptions],
) -> Backtest:
    """Simulate a portfolio that trades to target weights.

    Weights decided at the close of a session are traded `lag` sessions later (one, unless asked otherwise), at the
    close or at the open; every trade costs 10 bps of its notional unless asked otherwise. Between trades the weights
    drift. The rules are those of `optaic.quant.simulate.simulate`.

    Parameters
    ----------
    weights : polars or pandas frame
        Long (date, symbol, weight) or wide (date, and a column for each symbol; in pandas dates may be the index).
        Each date is a decision: fractions of the portfolio's value, negative is short; a symbol that is absent or
        null is not to be held. On dates that are absent no decision is taken.
    prices : polars or pandas frame
        Long (date, symbol, close) or wide. Its dates are the sessions. Null and NaN are missing prices. A long frame
        may also have the columns open, dividend and split; they are taken where nothing else is given for them, the
        last two not if `adjusted`.
    opens : frame, optional
        Prices at the open; long (date, symbol, open) or wide.
    dividends : frame, optional
        Cash for each share held at the close before; long (date, symbol, dividend) or wide.
    splits : frame, optional
        Shares after for each share held at the close before; long (date, symbol, split) or wide.
    delisting_returns : mapping of str to float, optional
        By symbol, the return from the last price to what holders got in the end, as a fraction.
    cash_rates : float or frame, optional
        Annual simple rate of cash as a fraction, Act/360: one number, or a frame (date, rate), where a session takes
        the last rate up to its date.
    adjusted : bool
        Say so if prices are adjusted for splits and dividends already.
    benchmark : frame, optional
        Prices (date, close) to measure against; a session without one takes the last before it. Left out, it is the
        equal weight of the universe, rebalanced each session without costs.
    benchmark_name : str
        What these prices are, in words; say whether they are a total or a price return.
    universe : frame, optional
        Whose equal weight that is: long (date, symbol, member) or wide, true where a name is in it; a session without a
        row takes the last one before it. Left out, all names that have prices.
    sessions_per_year : float
        What annualises: a constant of the calendar (252 of exchanges, 260 of weekdays, 365 of every day).
    skipped_decisions : int
        How many decisions the caller could not take; counted among the metrics.
    decide : callable, optional
        Takes the decisions on the dates of `weights`, where they depend on what is held; what the weights of these
        dates are is then not looked at. Called, date by date, with the session's place among the dates of the prices
        and the weights held at its close (an array in alphabetical order of the symbols); gives such an array of
        targets, or None to trade nothing.
    **options
        See `optaic.quant.options.SimulatorOptions`: capital, execution, lag, same_bar, costs_bps, slippage_bps,
        borrow_bps, max_weight, gross, net, no_trade_band, max_turnover, delisting_return.

    Returns
    -------
    Backtest
        With equity_curve, returns, weights, positions, trades, drawdowns and delistings as Polars frames, metrics,
        and the options with all assumptions.

    Raises
    ------
    InvalidInputError
        If a table has no dates, two rows with the same key, or values that are no numbers; if weights are not finite,
        stand on dates that are no sessions of the prices, or name symbols without prices; if a price is not positive;
        if adjusted prices come with dividends or splits; if an option is out of its range; or if the portfolio is
        ruined.

    Examples
    --------
    >>> import datetime as dt
    >>> days = [dt.date(2024, 1, 2), dt.date(2024, 1, 3), dt.date(2024, 1, 4)]
    >>> prices = pl.DataFrame({"date": days, "A": [50.0, 50.0, 60.0], "B": [20.0, 20.0, 20.0]})
    >>> weights = pl.DataFrame({"date": days[:1], "A": [0.5], "B": [0.5]})
    >>> backtest(weights=weights, prices=prices, capital=1000.0, costs_bps=0.0).equity_curve["value"].to_list()
    [1000.0, 1000.0, 1100.0]
    """
    known = BacktestOptions.__annotations__
    for name in options:
        if name not in known:
            raise InvalidInputError(
                f"a backtest has no option {name!r}{did_you_mean(name, known)}",
                next_step=f"its options: {', '.join(known)}",
            )
    chosen = SimulatorOptions(**options)
    market = read_market(
        prices,
        opens=opens,
        dividends=dividends,
        splits=splits,
        delisting_returns=delisting_returns,
        cash_rates=cash_rates,
        is_adjusted=adjusted,
    )
    targets, decided = read_targets(weights, market)
    done = simulate(market.panel, targets, decided=decided, decide=decide, options=chosen)
    members: Booleans | None = None
    if benchmark is None:
        members = None if universe is None else read_members(universe, market)
        returns = equal_weight_returns(market.panel, members=members, delisting_return=chosen.delisting_return)
    else:
        returns = read_benchmark(benchmark, market)
    return Backtest(
        simulation=done,
        symbols=market.symbols,
        is_adjusted=adjusted,
        sessions_per_year=sessions_per_year,
        benchmark=returns,
        benchmark_name=EQUAL_WEIGHT if benchmark is None else benchmark_name,
        members=members,
        skipped_decisions=skipped_decisions,
    )
