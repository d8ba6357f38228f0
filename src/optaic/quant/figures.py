"""The figures of a simulated backtest: what it earned, what it held, what it traded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from optaic.quant.options import MISSING_SESSIONS, SimulatorOptions
from optaic.quant.panel import Booleans, Floats, Integers, Panel, cash_returns, year_fractions
from optaic.quant.simulate import simulate
from optaic.quant.simulation import Simulation
from optaic.quant.summary import Book, Figure, summarize
from optaic.quant.trades import Episodes, find_episodes


def measure(
    simulation: Simulation, *, sessions_per_year: float = 252.0, benchmark: Floats | None = None
) -> dict[str, Figure]:
    """Measure a backtest by the standard metrics.

    Parameters
    ----------
    simulation
        The backtest.
    sessions_per_year
        A, what annualises: a constant of the calendar.
    benchmark : ndarray of shape (n_sessions - 1,), float64, optional
        Simple returns of the benchmark in the sessions after the first, as fractions.

    Returns
    -------
    dict
        Every metric of `optaic.quant.summary.UNITS`; what is not defined is None. Cash earns the cash rate, if there is
        one, and that is the risk-free return.

    Raises
    ------
    InvalidInputError
        If the benchmark has another length, or a return that is not finite.
    """
    return summarize(
        simulation.returns,
        sessions_per_year=sessions_per_year,
        calendar_days=_calendar_days(simulation.panel),
        risk_free=_risk_free(simulation.panel),
        benchmark=benchmark,
        book=Book(
            traded=simulation.turnover[1:],
            gross_exposures=simulation.gross_exposure[1:],
            net_exposures=simulation.net_exposure[1:],
            held_sessions=simulation.held_sessions,
            alive=simulation.is_alive,
            num_trades=len(simulation.fill_shares),
            episodes=episodes_of(simulation),
        ),
    )


def measure_benchmark(benchmark: Floats, panel: Panel, *, sessions_per_year: float = 252.0) -> dict[str, Figure]:
    """Measure a benchmark as the backtest beside it is measured: over the same days, in excess of the same cash.

    Parameters
    ----------
    benchmark : ndarray of shape (n_sessions - 1,), float64
        Its simple returns in the sessions after the first, as fractions.
    panel
        That of the backtest.
    sessions_per_year
        A, what annualises.

    Returns
    -------
    dict
        As `measure` gives; None for what follows from what was held and traded, and from a benchmark.

    Raises
    ------
    InvalidInputError
        If the benchmark has another length, or a return that is not finite.
    """
    return summarize(
        benchmark,
        sessions_per_year=sessions_per_year,
        calendar_days=_calendar_days(panel),
        risk_free=_risk_free(panel),
    )


def _calendar_days(panel: Panel) -> int | None:
    return int((panel.dates[-1] - panel.dates[0]).astype(np.int64)) if len(panel.dates) else None


def _risk_free(panel: Panel) -> Floats | None:
    return None if panel.cash_rates is None else cash_returns(panel.dates, panel.cash_rates)[1:]


def equal_weight_returns(panel: Panel, *, members: Booleans | None = None, delisting_return: float = 0.0) -> Floats:
    """Compute the returns of the equal weight: of all names with a price, rebalanced at each close without costs.

    It is simulated as any portfolio is: with splits, dividends and delistings; who has no price stands at the last one.

    Parameters
    ----------
    panel : Panel
        Prices, and what happens to their holders.
    members : ndarray of shape (n_sessions, n_symbols), bool, optional
        Who is in the universe at each close. All names if left out.
    delisting_return : float
        Return of delisted names whose own is not known, from their last price; as a fraction.

    Returns
    -------
    ndarray of shape (n_sessions - 1,), float64
        As fractions; 0 where nobody is held. Empty for fewer than two sessions.

    Examples
    --------
    >>> dates = np.array(["2024-01-02", "2024-01-03"], dtype="datetime64[D]")
    >>> equal_weight_returns(Panel(dates=dates, close=np.array([[10.0, 20.0], [11.0, 20.0]]))).round(10).tolist()
    [0.05]
    """
    # Who is in a gap cannot be traded, and keeps its place; the others do not grow into it.
    rows = np.arange(panel.n_sessions)[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(panel.close), -MISSING_SESSIONS - 1, rows), axis=0)
    held = rows - last <= MISSING_SESSIONS
    if members is not None:
        held &= members
    counts = held.sum(axis=1)
    targets = held / np.maximum(counts, 1)[:, None]
    free = SimulatorOptions(
        capital=1.0, same_bar=True, costs_bps=0.0, borrow_bps=0.0, delisting_return=delisting_return
    )
    return simulate(replace(panel, cash_rates=None), targets, decided=counts > 0, options=free).returns


def episodes_of(simulation: Simulation) -> Episodes:
    """Gather the fills of a backtest into episodes: with the ends of delisted positions, dividends and borrow fees.

    Parameters
    ----------
    simulation
        The backtest. Quantities before a split are counted in shares of the last session.
    """
    fills, ended = simulation.fills, simulation.delistings
    session, symbol, income = _incomes(simulation)
    growth = _growth(simulation)
    held = _factor(growth, fills.session, fills.symbol)
    left = _factor(growth, ended.session, ended.symbol)
    marks = np.zeros(simulation.panel.n_symbols)
    for _, marks in simulation.replay():  # noqa: B007 - the last ones are wanted
        pass
    none = np.zeros(len(income))
    return find_episodes(
        # What is paid, and what ends, comes before what is traded in the same session.
        session=np.concatenate([session, ended.session, fills.session]),
        symbol=np.concatenate([symbol, ended.symbol, fills.symbol]),
        quantity=np.concatenate([none, -ended.shares * left, fills.shares * held]),
        price=np.concatenate([none, ended.price * (1.0 + ended.delisting_return) / left, fills.price / held]),
        cost=np.concatenate([none, np.zeros(len(ended.session)), fills.cost]),
        income=np.concatenate([income, np.zeros(len(ended.session) + len(fills.session))]),
        marks=marks,
        n_sessions=len(simulation.value),
    )


def _growth(simulation: Simulation) -> Floats | None:
    """Give, for each session and symbol, the shares of the last session that one share of that session has become."""
    splits = simulation.panel.splits
    if splits is None:
        return None
    ratios = np.where(np.isnan(splits), 1.0, splits)
    later = np.ones_like(ratios)
    later[:-1] = np.cumprod(ratios[:0:-1], axis=0)[::-1]
    return later


def _factor(growth: Floats | None, session: Integers, symbol: NDArray[np.int32]) -> Floats:
    return np.ones(len(session)) if growth is None else growth[session, symbol]


def _incomes(simulation: Simulation) -> tuple[Integers, Integers, Floats]:
    """Give what positions were paid or charged while they were held: session, symbol, currency."""
    panel, options = simulation.panel, simulation.options
    sessions: list[Integers] = []
    symbols: list[Integers] = []
    incomes: list[Floats] = []
    years = year_fractions(panel.dates)
    shares, marks = np.zeros(panel.n_symbols), np.zeros(panel.n_symbols)
    for t, (after, closes) in enumerate(simulation.replay()):
        paid = np.zeros(panel.n_symbols)
        if panel.dividends is not None:
            paid += shares * np.where(np.isnan(panel.dividends[t]), 0.0, panel.dividends[t])
        short = np.minimum(shares, 0.0)
        if options.borrow_bps:
            paid += short * marks * (options.borrow_bps / 1e4 * float(years[t]))
        found = np.flatnonzero(paid)
        sessions.append(np.full(len(found), t, dtype=np.int64))
        symbols.append(found)
        incomes.append(paid[found])
        shares, marks = after.copy(), closes.copy()
    if not sessions:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    return np.concatenate(sessions), np.concatenate(symbols), np.concatenate(incomes)
