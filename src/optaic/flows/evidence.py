"""What an optimiser sees when it decides: returns of names with a whole history, and what else was known then."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.domain.known import DECLARE
from optaic.domain.optimizer import EXPECTED, GROUPS, PREVIOUS, PRICES, UNIVERSE
from optaic.domain.version import KNOWN_AT
from optaic.errors import InvalidInputError, NothingKnownError
from optaic.flows.calendar import opens, sessions
from optaic.flows.equation import Names
from optaic.flows.grid import DATE, SYMBOL, number_column, refuse_prices, to_grid
from optaic.flows.in_sample import refuse_in_sample
from optaic.flows.universe import members_by
from optaic.quant.allocation import drift_weights, scale_scores

if TYPE_CHECKING:
    from optaic.flows.context import RunContext
    from optaic.flows.input import Input

Floats = npt.NDArray[np.float64]

EVENTS = ("split", "dividend")
"""Columns of prices that make returns total returns."""

EXPECTATIONS = ("expected_return", "prediction", "value")
"""Columns that are taken for expected returns, the first that there is."""

"""The column of predictions that says how far the labels reach that their fit has seen."""

_DAYS_PER_SESSION = 1.6
"""Calendar days that surely hold a session, on the average of some weeks with holidays."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What an optimiser sees.

    Attributes
    ----------
    date
        The last session that it sees: that of the decision.
    decided_at
        What was known by then counts; None where all that the pinned versions hold does.
    sessions : ndarray of shape (lookback + 1,), datetime64[D]
        Of the prices that the returns are made of.
    symbols
        Names with a price on each of these sessions, that are members of the universe, and of which a return is
        expected where expectations are read. Ascending.
    returns : ndarray of shape (lookback, n_symbols), float64
        Simple total returns per session, as fractions.
    left_out
        How many names with a price at the decision are not among the symbols.
    expected_returns : ndarray of shape (n_symbols,), float64, or None
        Simple, per session.
    previous : ndarray of shape (n_symbols,), float64, or None
        Weights held before, drifted to the decision.
    held_outside
        Sum of the absolute weights held before in other names.
    groups
        By name; None if none are read.
    names
        What constraints may name: every name that was read, and every group that one was ever in.
    """

    date: dt.date
    decided_at: dt.datetime | None
    sessions: npt.NDArray[np.datetime64]
    symbols: tuple[str, ...]
    returns: Floats
    left_out: int
    expected_returns: Floats | None = None
    previous: Floats | None = None
    held_outside: float = 0.0
    groups: Mapping[str, tuple[str, ...]] | None = None
    names: Names = field(default_factory=Names)


def gather(ctx: RunContext, setup: Mapping[str, Any]) -> Evidence:
    """Read what an optimiser sees.

    Parameters
    ----------
    ctx
        The run's context.
    setup
        `lookback` (sessions), `date` (ISO text, or None for the last session of the prices), `calendar`,
        `sessions_per_year`, and `target` of the expected returns: `{"unit": "return"}` (a year) or
        `{"unit": "score", "ic": x, "horizon": h}`.

    Returns
    -------
    Evidence
        With a date, decided just before the session after it opens, on what was known by then; without, on what the
        pinned versions hold.

    Raises
    ------
    InvalidInputError
        If the prices have fewer sessions than the lookback needs, or no name has a price on each of them, or an input
        has not the columns that are needed; prices end before the date; or one is zero, negative or infinite.
    NothingKnownError
        If there is a date, and no price was known when it was decided.
    InSampleInputError
        If expected returns are of dates that their fit had seen.
    """
    lookback, given = int(setup["lookback"]), setup.get("date")
    date = None if given is None else dt.date.fromisoformat(str(given))
    decided_at = None if date is None else opens([date + dt.timedelta(days=1)], str(setup["calendar"]))[0]
    weights = _previous(ctx, date or ctx.input(PRICES).pinned.date_range[1], decided_at)
    since = None if weights is None else cast("dt.date", weights[DATE][0])
    frame, close = _prices(ctx.input(PRICES), lookback, date, decided_at, since)
    everything = to_grid(frame, close)
    if len(everything.dates) <= lookback:
        raise InvalidInputError(
            f"{ctx.instance} looks back {lookback} sessions, for which {lookback + 1} sessions of prices are needed; "
            f"{ctx.input(PRICES).instance} has {len(everything.dates)}{'' if date is None else f' up to {date}'}",
            next_step="take a shorter lookback, or prices that begin earlier",
        )
    growth = _growth(frame, close, everything.dates, everything.symbols)
    window = slice(len(everything.dates) - lookback, None)
    last = everything.dates[-1].astype(object)
    if date is not None and sessions(last + dt.timedelta(days=1), date, str(setup["calendar"])):
        raise InvalidInputError(
            f"{ctx.instance} decides on {date}, and what it sees of {ctx.input(PRICES).instance} ends on {last}",
            next_step=f"refresh the prices, or decide on {last}",
        )
    has_history = np.isfinite(growth[window]).sum(axis=0) == lookback
    is_there = np.isfinite(everything.values[-1])
    members = _members(ctx, last, decided_at)
    expected = _expected(ctx, last, decided_at)
    keep = [
        place
        for place, symbol in enumerate(everything.symbols)
        if has_history[place] and (members is None or symbol in members) and (expected is None or symbol in expected)
    ]
    symbols = tuple(everything.symbols[place] for place in keep)
    if not symbols:
        raise InvalidInputError(
            f"{ctx.instance}: no name has a price on each of the {lookback + 1} sessions up to {last}"
            f"{'' if members is None else ' and is a member of the universe'}"
            f"{'' if expected is None else ' and has an expected return'}",
            next_step="take a shorter lookback, or look at the inputs",
        )
    returns = growth[window][:, keep] - 1.0
    groups, group_names = _groups(ctx, last, decided_at)
    previous, outside = _drifted(weights, everything.dates, everything.symbols, growth, symbols)
    return Evidence(
        date=last,
        decided_at=decided_at,
        sessions=everything.dates[len(everything.dates) - lookback - 1 :],
        symbols=symbols,
        returns=returns,
        left_out=int(is_there.sum()) - len(symbols),
        expected_returns=None
        if expected is None
        else per_session(np.array([expected[symbol] for symbol in symbols]), returns, setup),
        previous=previous,
        held_outside=outside,
        groups=groups,
        names=Names(symbols=frozenset(everything.symbols) | frozenset(groups or ()), groups=group_names),
    )


def look_back(last: dt.date, lookback: int) -> dt.date:
    """Give a date that is surely more than `lookback` sessions before another, and not much more."""
    return last - dt.timedelta(days=int(_DAYS_PER_SESSION * (lookback + 1)) + 15)


def _prices(
    source: Input, lookback: int, date: dt.date | None, decided_at: dt.datetime | None, since: dt.date | None
) -> tuple[pl.DataFrame, str]:
    """Read about as many sessions as are needed; all of them if those were too few."""
    close = number_column(source, "close")
    first, latest = source.pinned.date_range
    last = latest if date is None else date if latest is None else min(date, latest)
    start = None
    if last is not None:
        start = look_back(last, lookback)
        start = start if since is None else min(start, since)
        if first is None or start <= first:
            start = None
    frame = _rows(source, start, date, decided_at)
    if start is not None and frame[DATE].n_unique() <= lookback:
        frame = _rows(source, None, date, decided_at)
    if frame.is_empty():
        if decided_at is not None and first is not None and not source.frame(end=date).is_empty():
            raise NothingKnownError(
                f"no price of {source.instance} was known at {decided_at:%Y-%m-%d %H:%M} UTC, when it was decided",
                next_step=f"{DECLARE}; or take the date out",
            )
        raise InvalidInputError(f"{source.instance} has no prices{'' if date is None else f' up to {date}'}")
    refuse_prices(frame, close)
    return frame, close


def _rows(source: Input, start: dt.date | None, end: dt.date | None, decided_at: dt.datetime | None) -> pl.DataFrame:
    """Read rows between two dates: as they were known at an instant, or as the pinned version has them."""
    if decided_at is None or end is None:
        return source.frame(start=start, end=end)
    first = start or source.pinned.date_range[0] or end
    if first > end:
        return source.frame(start=first, end=end)
    days = pl.date_range(first, end, "1d", eager=True).alias(DATE)
    limits = pl.DataFrame({DATE: days}).with_columns(
        pl.lit(decided_at).cast(pl.Datetime("us", "UTC")).alias("decided_at")
    )
    frame = source.known_by(limits).collect(engine="streaming")
    source.lazy(start=start, end=end)  # what is read is said as it was asked for: open at the beginning
    return frame


def _growth(frame: pl.DataFrame, close: str, dates: Any, symbols: tuple[str, ...]) -> Floats:
    """Give what a unit became on each session, with splits and dividends if the prices have them; first row NaN."""
    events = {
        name: to_grid(frame, name, dates=dates, symbols=symbols).values
        for name in EVENTS
        if name in frame.columns and name != close
    }
    return total_growth(to_grid(frame, close, dates=dates, symbols=symbols).values, **events)


def total_growth(prices: Floats, *, split: Floats | None = None, dividend: Floats | None = None) -> Floats:
    """Give what a unit of money became on each session.

    Parameters
    ----------
    prices : ndarray of shape (n_sessions, n_symbols), float64
        At the close; NaN where there is none.
    split, dividend : ndarray of the same shape, float64, optional
        Shares after, and cash, for each share held at the close before; NaN is none.

    Returns
    -------
    ndarray of the same shape, float64
        Its excess over 1 is the total return. NaN in the first row, without prices of both sessions, and where nothing
        was left.
    """
    after = prices
    if split is not None:
        after = after * np.where(np.isnan(split), 1.0, split)
    if dividend is not None:
        after = after + np.where(np.isnan(dividend), 0.0, dividend)
    growth = np.full(prices.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        growth[1:] = np.where(prices[:-1] > 0.0, after[1:] / prices[:-1], np.nan)
    growth[~(growth > 0.0)] = np.nan
    return growth


def _members(ctx: RunContext, last: dt.date, decided_at: dt.datetime | None) -> set[str] | None:
    if UNIVERSE not in ctx.inputs:
        return None
    decision = pl.DataFrame({DATE: [last]})
    if decided_at is not None:
        decision = decision.with_columns(pl.lit(decided_at).cast(pl.Datetime("us", "UTC")).alias("decided_at"))
    return set(members_by(ctx, decision)[SYMBOL].to_list())


def _expected(ctx: RunContext, last: dt.date, decided_at: dt.datetime | None) -> dict[str, float] | None:
    """Read the newest expectations up to a date: those of one date, of the names that have one."""
    if EXPECTED not in ctx.inputs:
        return None
    source = ctx.input(EXPECTED)
    column = number_column(source, *EXPECTATIONS)
    frame = _rows(source, None, last, decided_at).filter(pl.col(column).is_not_null())
    frame = frame.filter(pl.col(DATE) == pl.col(DATE).max())
    if not frame.is_empty():
        refuse_in_sample(source, frame, start=frame[DATE][0], end=frame[DATE][0])
    frame = frame.with_columns(pl.col(column).cast(pl.Float64)).filter(pl.col(column).is_finite())
    return dict(zip(frame[SYMBOL].to_list(), frame[column].to_list(), strict=True))


def per_session(expected: Floats, returns: Floats, setup: Mapping[str, Any]) -> Floats:
    """Make expectations of an input simple returns per session.

    Parameters
    ----------
    expected : ndarray of shape (n_symbols,), float64
        Simple returns a year, or scores, as the `target` of the setup says.
    returns : ndarray of shape (lookback, n_symbols), float64
        Simple returns per session, whose deviations scale scores.
    setup
        With `target` and `sessions_per_year`.
    """
    target = cast("Mapping[str, Any]", setup["target"])
    if target["unit"] == "score":
        deviations = returns.std(axis=0, ddof=1)
        return scale_scores(expected, deviations, ic=float(target["ic"]), horizon=int(target["horizon"]))
    return expected / float(setup["sessions_per_year"])


def _groups(
    ctx: RunContext, last: dt.date, decided_at: dt.datetime | None
) -> tuple[dict[str, tuple[str, ...]] | None, frozenset[str] | None]:
    """Give the groups of each name by its last row, and every group of any row; None and None if none are read."""
    if GROUPS not in ctx.inputs:
        return None, None
    source = ctx.input(GROUPS)
    columns = group_columns(source)
    rows = _rows(source, None, last, decided_at)
    if SYMBOL not in rows.columns:
        raise InvalidInputError(f"{source.instance} has no column {SYMBOL!r}: its rows are of no names")
    rows = rows.filter(pl.col(columns[0]).is_not_null()).sort(DATE)
    rows = rows.select(SYMBOL, *(pl.col(name).cast(pl.String).fill_null("none") for name in columns))
    newest = rows.group_by(SYMBOL, maintain_order=True).last()
    every = frozenset(text for name in columns for text in rows[name].unique().to_list())
    return {str(row[0]): tuple(str(one) for one in row[1:]) for row in newest.iter_rows()}, every


def group_columns(source: Input) -> list[str]:
    """Give the columns that say to which groups a name belongs.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    columns = [name for name in source.columns if name not in (DATE, SYMBOL, KNOWN_AT)]
    if not columns:
        raise InvalidInputError(f"{source.instance} has no column that says to which group a name belongs")
    return columns


def _previous(ctx: RunContext, date: dt.date | None, decided_at: dt.datetime | None) -> pl.DataFrame | None:
    """Read the newest weights up to a date: date, symbol, weight."""
    if PREVIOUS not in ctx.inputs:
        return None
    source = ctx.input(PREVIOUS)
    if source.files:
        frame = pl.read_parquet(io.BytesIO(source.read_file("weights.parquet")))
        column = "weight"
        if date is not None:
            frame = frame.filter(pl.col(DATE) <= date)
    else:
        column = number_column(source, "weight", "value")
        frame = _rows(source, None, date, decided_at)
    frame = frame.filter(pl.col(column).is_not_null(), pl.col(DATE) == pl.col(DATE).max())
    if frame.is_empty():
        return None
    return frame.select(DATE, SYMBOL, pl.col(column).cast(pl.Float64).alias("weight"))


def _drifted(
    weights: pl.DataFrame | None, dates: Any, names: tuple[str, ...], growth: Floats, symbols: tuple[str, ...]
) -> tuple[Floats | None, float]:
    """Let the previous weights drift to the decision; those of other names are summed up."""
    if weights is None:
        return None, 0.0
    held = dict(zip(weights[SYMBOL].to_list(), weights["weight"].to_list(), strict=True))
    since = np.datetime64(weights[DATE][0], "D")
    places = {symbol: place for place, symbol in enumerate(names)}
    later = growth[dates > since]
    path = np.prod(np.where(np.isfinite(later), later, 1.0), axis=0)
    since_then = np.array([path[places[symbol]] if symbol in places else 1.0 for symbol in held])
    drifted = dict(zip(held, drift_weights(np.array(list(held.values())), since_then).tolist(), strict=True))
    inside = np.array([drifted.get(symbol, 0.0) for symbol in symbols])
    return inside, sum(abs(weight) for symbol, weight in drifted.items() if symbol not in symbols)
