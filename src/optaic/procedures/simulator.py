"""The product's own simulator, as the definition of a backtest: from what was known to trades and their figures."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from optaic.backtesting import Backtest, backtest
from optaic.domain.optimizer import OPTIMIZER
from optaic.errors import InSampleInputError, InvalidInputError, NoOutputError
from optaic.flows.calendar import annual_sessions, next_session, opens
from optaic.flows.evidence import LABEL_END
from optaic.flows.grid import DATE, SYMBOL, to_grid, value_column
from optaic.flows.pursuit import Pursuit, pursue
from optaic.flows.sight import refuse_blindness
from optaic.flows.universe import UNIVERSE, is_member, members_by
from optaic.quant.rebalance import Rebalance, decide_sessions
from optaic.quant.selection import select_targets

if TYPE_CHECKING:
    import numpy.typing as npt

    from optaic.flows.context import RunContext
    from optaic.flows.input import Input

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
    calendar
        Whose sessions the next open is one of, and say whether the last session is the last of its week or month.
    sessions_per_year
        What annualises; None for the calendar's.
    allow_in_sample
        Whether predictions may be used whose fit had seen their dates; recorded.

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
    members: pl.DataFrame | None = None
    pursued: Pursuit | None = None
    skipped = 0
    if OPTIMIZER in ctx.inputs:
        asked = np.flatnonzero(_decide(sessions, rebalance, rebalance_offset, calendar))
        pursued = pursue(
            ctx,
            sessions,
            symbols,
            asked[asked < len(sessions) - (0 if same_bar else lag)].tolist(),
            view=view,
            calendar=calendar,
            is_adjusted=adjusted,
            allow_in_sample=allow_in_sample,
        )
        weights, members = pursued.weights, pursued.members
    elif WEIGHTS in ctx.inputs:
        weights = _weights(ctx.input(WEIGHTS), dates, view=view, calendar=calendar)
    else:
        decided = _decide(sessions, rebalance, rebalance_offset, calendar)
        deciding = dates.filter(pl.Series(decided))
        signal = _seen(ctx.input(SIGNAL), deciding, view=view, calendar=calendar, allow_in_sample=allow_in_sample)
        grid = to_grid(signal, _SEEN, dates=sessions, symbols=symbols)
        eligible = ~np.isnan(to_grid(table, "close", dates=sessions, symbols=symbols).values)
        if UNIVERSE in ctx.inputs:
            decisions = pl.DataFrame({DATE: deciding}) if view == "latest" else _decisions(deciding, calendar)
            is_in = is_member(members_by(ctx, decisions), sessions, symbols)
            keys = {DATE: np.repeat(sessions[decided], len(symbols)), SYMBOL: symbols * len(deciding)}
            members = pl.DataFrame({**keys, "member": is_in[decided].ravel()})
            eligible &= is_in
        targets, taken = select_targets(
            grid.values,
            top=top,
            eligible=eligible,
            decided=decided,
            gross=1.0 if gross is None else gross,
            net=net,
            is_long_short=long_short,
        )
        skipped = int((decided & ~taken).sum())
        decided = taken
        weights = _long(targets, decided, sessions, symbols)
    if weights.is_empty():
        raise NoOutputError(
            f"{ctx.instance}: no decision could be taken from {dates[0]} to {dates[-1]}: no name had a signal",
            next_step="look at the dates of the signal, and for how many names it has values: optaic show",
        )
    ctx.progress(40, "decided" if pursued is None else "deciding")
    done = backtest(
        weights=weights,
        prices=table.select(DATE, SYMBOL, *(name for name in _PRICE_COLUMNS if name in table.columns)),
        adjusted=adjusted,
        cash_rates=_cash(ctx, end),
        benchmark=_benchmark(ctx, start, end),
        sessions_per_year=sessions_per_year or annual_sessions(calendar),
        capital=capital,
        execution=execution,
        lag=lag,
        same_bar=same_bar,
        costs_bps=costs_bps,
        slippage_bps=slippage_bps,
        borrow_bps=borrow_bps,
        max_weight=max_weight,
        universe=members,
        skipped_decisions=skipped,
        gross=None if SIGNAL in ctx.inputs else gross,
        net=None if SIGNAL in ctx.inputs else net,
        no_trade_band=no_trade_band,
        max_turnover=max_turnover,
        delisting_return=delisting_return,
        decide=None if pursued is None else pursued.decide,
    )
    return done if pursued is None else pursued.finish(done)


def _decide(
    sessions: npt.NDArray[np.datetime64], rebalance: Rebalance, offset: int, calendar: str
) -> npt.NDArray[np.bool_]:
    # Where the prices end, the calendar knows whether their last session is the last of its week or month.
    return decide_sessions(sessions, rebalance, offset=offset, following=next_session(sessions[-1].item(), calendar))


_SEEN = "seen"
_PRICE_COLUMNS = ("close", "open", "dividend", "split")


def _seen(source: Input, dates: pl.Series, *, view: str, calendar: str, allow_in_sample: bool) -> pl.DataFrame:
    """Read what was seen of an input when it was decided on: date, symbol, seen (Float64)."""
    column = value_column(source, "value", "prediction", "signal", "weight")
    is_fitted = LABEL_END in source.all_columns
    columns = [column, *([LABEL_END] if is_fitted else [])]
    if not len(dates):
        return pl.DataFrame(schema={DATE: pl.Date, SYMBOL: pl.String, _SEEN: pl.Float64})
    if view == "latest":
        frame = source.frame(start=dates[0], end=dates[-1]).filter(pl.col(DATE).is_in(dates.implode()))
    else:
        frame = source.known_by(_decisions(dates, calendar), columns=columns).collect(engine="streaming")
        if frame.is_empty():
            refuse_blindness(source, dates)
    if is_fitted and not allow_in_sample:
        late = frame.filter(pl.col(LABEL_END) >= pl.col(DATE))
        if not late.is_empty():
            raise InSampleInputError(
                f"{late.height} rows of {source.instance} are in-sample: their fit had seen labels up to "
                f"{late[LABEL_END].max()}",
                next_step="predict out of sample, or set allow_in_sample: true, which is recorded",
            )
    return frame.select(DATE, SYMBOL, pl.col(column).cast(pl.Float64).alias(_SEEN))


def _decisions(dates: pl.Series, calendar: str) -> pl.DataFrame:
    """Say until when something must have been known to be decided on: until the next session opens."""
    following = [date + dt.timedelta(days=1) for date in dates.to_list()]
    decided_at = pl.Series("decided_at", opens(following, calendar), dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({DATE: dates, "decided_at": decided_at})


def _weights(source: Input, dates: pl.Series, *, view: str, calendar: str) -> pl.DataFrame:
    frame = _seen(source, dates, view=view, calendar=calendar, allow_in_sample=True)
    # What is null on a date of decision is not to be held; where all is null, nothing is.
    return frame.rename({_SEEN: "weight"}).with_columns(pl.col("weight").fill_null(0.0))


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


def _cash(ctx: RunContext, end: dt.date | None) -> pl.DataFrame | None:
    if CASH not in ctx.inputs:
        return None
    source = ctx.input(CASH)
    return source.frame(end=end).select(DATE, pl.col(value_column(source, "rate", "value")).alias("rate"))
