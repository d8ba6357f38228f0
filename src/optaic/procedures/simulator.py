"""The product's own simulator, as the definition of a backtest: from what was known to trades and their figures."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from optaic.backtesting import EQUAL_WEIGHT, Backtest, backtest
from optaic.domain.optimizer import OPTIMIZER
from optaic.errors import InvalidInputError, NoOutputError
from optaic.flows.calendar import annual_sessions, next_session
from optaic.flows.decision import decision_times, outside_sessions
from optaic.flows.grid import DATE, SYMBOL, number_column, to_grid, value_column
from optaic.flows.in_sample import LABEL_END, count_in_sample, refuse_in_sample, say_in_sample
from optaic.flows.pursuit import Pursuit, pursue
from optaic.flows.sight import refuse_blindness
from optaic.flows.universe import UNIVERSE, is_member, members_by
from optaic.quant.rebalance import decide_sessions
from optaic.quant.selection import select_targets

if TYPE_CHECKING:
    import numpy.typing as npt

    from optaic.flows.context import RunContext

SIGNAL, WEIGHTS, PRICES, BENCHMARK, CASH = "signal", "weights", "prices", "benchmark", "cash"
"""The roles that it reads, beside `universe`, that of an optimiser and those that an optimiser reads."""


def simulate(
    ctx: RunContext,
    *,
    start: dt.date | None = None,
    end: dt.date | None = None,
    rebalance: Literal["daily", "weekly", "monthly"] | int = "monthly",
    rebalance_offset: int = 0,
    top: float = 0.2,
    long_short: bool = False,
    capital: float = 1e7,
    execution: Literal["close", "open"] = "close",
    lag: int = 1,
    same_bar: bool = False,
    costs_bps: float = 10.0,
    slippage_bps: float = 0.0,
    borrow_bps: float = 50.0,
    max_weight: float | None = None,
    gross: float | None = None,
    net: float | None = None,
    no_trade_band: float = 0.0,
    max_turnover: float | None = None,
    delisting_return: float = 0.0,
    adjusted: bool = False,
    view: Literal["replay", "latest"] = "replay",
    benchmark: Literal["total_return", "price"] | None = None,
    calendar: str = "XNYS",
    sessions_per_year: float | None = None,
    allow_in_sample: bool = False,
) -> Backtest:
    """Simulate a portfolio that follows a signal, weights, or an optimiser.

    It reads `prices` and one of `signal`, `weights` and `optimizer`; and, if they are declared, `universe` (Boolean:
    who may be bought), `benchmark` (one price series) and `cash` (an annual simple rate). An optimiser is fitted anew
    at each decision, to the prices of its lookback as they were known then, and is given the weights that are held;
    `expected_returns` and `groups` are read where it reads them.

    Parameters
    ----------
    ctx
        The run's context.
    start, end
        First and last session, inclusive; None for those of the prices. What lies beyond is not read.
    rebalance, rebalance_offset
        When to decide: `daily`, `weekly`, `monthly` or every n sessions; and how many sessions later. Weights are
        decided on the dates that they have rows of. Of an optimiser, decisions that could not be traded any more are
        not taken.
    top, long_short
        The share of names that is bought, and whether as many are sold.
    capital, execution, lag, same_bar, costs_bps, slippage_bps, borrow_bps
        As `SimulatorOptions` says: money, sessions, and basis points.
    max_weight, gross, net, no_trade_band, max_turnover, delisting_return
        Limits, as fractions; likewise. Of a signal, `gross` is what the absolute weights add up to, 1 by default.
    adjusted
        Whether the prices are adjusted for splits and dividends.
    view
        `replay`: a decision sees what was known before the next session opened. `latest`: what the pinned versions
        hold now.
    benchmark
        What the prices of the benchmark are: `total_return`, with dividends; `price`, without. None says nothing of it,
        and the results say so. It changes no figure.
    calendar
        Whose sessions the next open is one of, and say whether the last session is the last of its week or month.
    sessions_per_year
        What annualises; None for the calendar's.
    allow_in_sample
        Whether predictions may be used whose fit had seen their dates; those that are used are counted, and labelled.

    Returns
    -------
    Backtest
        With frames and metrics.

    Raises
    ------
    InvalidInputError
        If an option is out of its range, an input has not the columns that are needed, or an optimiser cannot be fitted
        or reads what is not declared here.
    CodeChangedError
        If the code of the optimiser is not that of its version.
    NoOutputError
        If no decision could be taken: there is nothing to simulate.
    SolverFailedError
        If the optimiser has no solution at any decision, and there is no fallback.
    NothingKnownError
        If no row was known when it was decided on.
    InSampleInputError
        If predictions are for dates that their fit had seen.
    """
    prices = ctx.input(PRICES)
    close = value_column(prices, "close")
    table = prices.frame(start=start, end=end).rename({close: "close"})
    if table.is_empty():
        raise InvalidInputError(f"{prices.instance} has no prices from {start} to {end}")
    ctx.progress(10, "prices are read")
    dates = table[DATE].unique().sort()
    symbols = table[SYMBOL].unique().sort().to_list()
    sessions = dates.to_numpy().astype("datetime64[D]")
    asked = pl.DataFrame({DATE: dates})
    if view != "latest":
        asked = decision_times(dates, calendar, trading=dates)
        _warn_of_other_dates(ctx, dates.to_list(), calendar)
    members = is_member(members_by(ctx, asked), sessions, symbols) if UNIVERSE in ctx.inputs else None
    pursued: Pursuit | None = None
    skipped = in_sample = 0
    if WEIGHTS in ctx.inputs:
        # What is null on a date of decision is not to be held; where all is null, nothing is.
        seen, in_sample = _seen(ctx, WEIGHTS, asked, allow_in_sample=allow_in_sample)
        weights = seen.rename({_SEEN: "weight"}).with_columns(pl.col("weight").fill_null(0.0))
    else:
        decided = decide_sessions(
            sessions,
            rebalance,
            offset=rebalance_offset,
            # Where the prices end, the calendar knows whether their last session is the last of its week or month.
            following=next_session(dates[-1], calendar),
        )
        if OPTIMIZER in ctx.inputs:
            places = np.flatnonzero(decided)
            pursued = pursue(
                ctx,
                sessions,
                symbols,
                places[places < len(sessions) - (0 if same_bar else lag)].tolist(),
                view=view,
                calendar=calendar,
                is_adjusted=adjusted,
                allow_in_sample=allow_in_sample,
                members=members,
            )
            weights = pursued.weights
        else:
            chosen = asked.filter(pl.Series(decided))
            signal, in_sample = _seen(ctx, SIGNAL, chosen, allow_in_sample=allow_in_sample)
            eligible = ~np.isnan(to_grid(table, "close", dates=sessions, symbols=symbols).values)
            targets, taken = select_targets(
                to_grid(signal, _SEEN, dates=sessions, symbols=symbols).values,
                top=top,
                eligible=eligible if members is None else eligible & members,
                decided=decided,
                gross=1.0 if gross is None else gross,
                net=net,
                is_long_short=long_short,
            )
            skipped = int((decided & ~taken).sum())
            weights = _long(targets, taken, sessions, symbols)
    if weights.is_empty():
        raise NoOutputError(
            f"{ctx.instance}: no decision could be taken from {dates[0]} to {dates[-1]}: no name "
            f"{'with a price' if members is None else 'of the universe with a price'} had a signal",
            next_step="look at the dates of the signal, and for how many names it has values: optaic show",
        )
    ctx.progress(40, "decided" if pursued is None else "deciding")
    done = backtest(
        weights=weights,
        prices=table.select(DATE, SYMBOL, *(name for name in _PRICE_COLUMNS if name in table.columns)),
        adjusted=adjusted,
        cash_rates=_cash(ctx, end),
        benchmark=_benchmark(ctx, start, end),
        benchmark_name=_benchmark_name(ctx, benchmark),
        sessions_per_year=annual_sessions(calendar) if sessions_per_year is None else sessions_per_year,
        capital=capital,
        execution=execution,
        lag=lag,
        same_bar=same_bar,
        costs_bps=costs_bps,
        slippage_bps=slippage_bps,
        borrow_bps=borrow_bps,
        max_weight=max_weight,
        universe=None if members is None else pl.DataFrame(members, schema=symbols).insert_column(0, dates),
        skipped_decisions=skipped,
        gross=None if SIGNAL in ctx.inputs else gross,
        net=None if SIGNAL in ctx.inputs else net,
        no_trade_band=no_trade_band,
        max_turnover=max_turnover,
        delisting_return=delisting_return,
        decide=None if pursued is None else pursued.decide,
    )
    return replace(done, in_sample_rows=in_sample) if pursued is None else pursued.finish(done)


_SEEN = "seen"
_INDICES = {"total_return": "total return", "price": "price return", None: "dividends not stated"}
_PRICE_COLUMNS = ("close", "open", "dividend", "split")


def _warn_of_other_dates(ctx: RunContext, dates: list[dt.date], calendar: str) -> None:
    outside = outside_sessions(dates, calendar)
    if outside:
        ctx.say(
            f"{len(outside)} of {len(dates)} dates of {ctx.input(PRICES).instance}, from {outside[0]} on, are no "
            f"sessions of {calendar}: what is decided before one sees what was known when that day began (UTC), and "
            f"a year has {annual_sessions(calendar):g} sessions; where the prices have another calendar, name it: "
            "calendar: daily",
            level="WARNING",
        )


def _seen(ctx: RunContext, role: str, decisions: pl.DataFrame, *, allow_in_sample: bool) -> tuple[pl.DataFrame, int]:
    """Read what was seen of an input at some decisions, or is there now: date, symbol, seen (Float64).

    The decisions are `date` and, where what was known counts, `decided_at`. How many of the rows are in-sample comes
    second; that is said in the log.
    """
    source = ctx.input(role)
    column = number_column(source, "value", "prediction", "signal", "weight")
    dates = decisions[DATE]
    if decisions.is_empty():
        return pl.DataFrame(schema={DATE: pl.Date, SYMBOL: pl.String, _SEEN: pl.Float64}), 0
    if "decided_at" not in decisions.columns:
        frame = source.frame(start=dates[0], end=dates[-1]).filter(pl.col(DATE).is_in(dates.implode()))
    else:
        columns = [column, *(name for name in (LABEL_END,) if name in source.all_columns)]
        frame = source.known_by(decisions, columns=columns).collect(engine="streaming")
        if frame.is_empty():
            refuse_blindness(source, dates)
    in_sample = 0
    if allow_in_sample:
        in_sample = count_in_sample(source, frame, start=dates[0], end=dates[-1])
        say_in_sample(ctx, source.instance, in_sample)
    else:
        refuse_in_sample(source, frame, start=dates[0], end=dates[-1], can_be_allowed=True)
    return frame.select(DATE, SYMBOL, pl.col(column).cast(pl.Float64).alias(_SEEN)), in_sample


def _long(
    targets: npt.NDArray[np.float64],
    decided: npt.NDArray[np.bool_],
    sessions: npt.NDArray[np.datetime64],
    symbols: list[str],
) -> pl.DataFrame:
    rows, columns = np.nonzero(targets[decided])
    chosen = np.flatnonzero(decided)
    names = pl.Series(symbols, dtype=pl.String)
    return pl.DataFrame(
        {
            DATE: sessions[chosen[rows]],
            SYMBOL: names.gather(pl.Series(columns)),
            "weight": targets[decided][rows, columns],
        }
    )


def _benchmark(ctx: RunContext, start: dt.date | None, end: dt.date | None) -> pl.DataFrame | None:
    if BENCHMARK not in ctx.inputs:
        return None
    source = ctx.input(BENCHMARK)
    frame = source.frame(start=start, end=end)
    if SYMBOL in frame.columns and frame[SYMBOL].n_unique() > 1:
        raise InvalidInputError(
            f"{source.instance} has {frame[SYMBOL].n_unique()} symbols; a benchmark is one series of prices",
            next_step="declare a dataset with one symbol",
        )
    return frame.select(DATE, pl.col(value_column(source, "close")).alias("close"))


def _benchmark_name(ctx: RunContext, kind: str | None) -> str:
    """Name the benchmark by instance and column, and say whether it is with dividends."""
    if BENCHMARK not in ctx.inputs:
        return EQUAL_WEIGHT
    source = ctx.input(BENCHMARK)
    return f"{source.instance}[{value_column(source, 'close')}] ({_INDICES[kind]})"


def _cash(ctx: RunContext, end: dt.date | None) -> pl.DataFrame | None:
    if CASH not in ctx.inputs:
        return None
    source = ctx.input(CASH)
    return source.frame(end=end).select(DATE, pl.col(value_column(source, "rate", "value")).alias("rate"))
