"""A market, and decisions in it, read from frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from optaic.errors import InvalidInputError
from optaic.quant.options import MISSING_SESSIONS
from optaic.quant.panel import Booleans, Dates, Floats, Panel
from optaic.quant.wide import Wide, align, read_frame, refuse_values, spread


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Market:
    """A panel with the names of its columns.

    Attributes
    ----------
    panel : Panel
        What the simulator takes.
    grid : Wide
        Sessions, symbols and closes.
    """

    panel: Panel
    grid: Wide

    @property
    def symbols(self) -> list[str]:
        """The symbols, one for each column of the panel, in alphabetical order."""
        return self.grid.symbols


def read_market(
    prices: Any,
    *,
    opens: Any = None,
    dividends: Any = None,
    splits: Any = None,
    delisting_returns: Mapping[str, float] | None = None,
    cash_rates: Any = None,
    is_adjusted: bool = False,
) -> Market:
    """Read prices, and what happens to their holders, from frames.

    Parameters
    ----------
    prices : polars or pandas frame
        Long (date, symbol, close and, if they are there, open, dividend, split) or wide. Its dates are the sessions.
    opens, dividends, splits : frame, optional
        Long (date, symbol, and open, dividend or split) or wide.
    delisting_returns : mapping of str to float, optional
        By symbol, as fractions.
    cash_rates : float or frame, optional
        One annual simple rate, or a frame (date, rate), of which a session takes the last one up to its date.
    is_adjusted : bool
        Whether prices are adjusted for splits and dividends already.

    Returns
    -------
    Market
        The panel and its symbols.

    Raises
    ------
    InvalidInputError
        If a table is none, holds values that cannot be, does not fit the sessions and symbols of the prices, or comes
        beside adjusted prices that have its content already.
    """
    table = read_frame(prices, "prices")
    grid = spread(table, "close", "prices")
    closes = grid.values
    refuse_values(grid, (closes <= 0) | np.isinf(closes), "the price", "give null where there is no price")
    events = _events(table, {"open": opens, "dividend": dividends, "split": splits}, grid, is_adjusted=is_adjusted)
    panel = Panel(
        dates=grid.dates,
        close=closes,
        open=events["open"],
        dividends=events["dividend"],
        splits=events["split"],
        delisting_returns=_by_symbol(delisting_returns, grid.symbols),
        cash_rates=read_rates(cash_rates, grid.dates),
    )
    return Market(panel=panel, grid=grid)


def read_targets(weights: Any, market: Market) -> tuple[Floats, Booleans]:
    """Read decisions: target weights on dates of the market's sessions.

    Parameters
    ----------
    weights : polars or pandas frame
        Long (date, symbol, weight) or wide. Each date is a decision; a symbol that is absent or null is to weigh 0.
    market : Market
        The sessions and symbols.

    Returns
    -------
    targets : ndarray of shape (n_sessions, n_symbols), float64
        Fractions of the portfolio's value; 0 where nothing is given.
    decided : ndarray of shape (n_sessions,), bool
        The sessions that are dates of the weights.

    Raises
    ------
    InvalidInputError
        If they are no such table, stand on other dates, name other symbols, or are not finite.
    """
    table = read_frame(weights, "weights")
    wanted = spread(table, "weight", "weights")
    _refuse_infinite(table)
    return align(wanted, market.grid, "weights", absent=0.0), np.isin(market.grid.dates, wanted.dates)


def read_benchmark(benchmark: Any, market: Market) -> Floats:
    """Read what a backtest is measured against.

    Parameters
    ----------
    benchmark : polars or pandas frame
        Prices: date and close. A session without one takes the last before it.
    market : Market
        The sessions.

    Returns
    -------
    ndarray of shape (n_sessions - 1,), float64
        Simple returns in the sessions after the first, as fractions.

    Raises
    ------
    InvalidInputError
        If it is no such table, a price is not positive, the first is later than the first session, the last more than 5
        sessions before the last session, or there is none for more than 5 sessions in a row.
    """
    return benchmark_returns(benchmark, market.grid.dates)


def benchmark_returns(benchmark: Any, dates: Dates) -> Floats:
    """Read the returns of a benchmark from its prices.

    Parameters
    ----------
    benchmark : polars or pandas frame
        Prices: date and close.
    dates : ndarray of shape (n_sessions,), datetime64[D]
        Sessions, increasing. One without a price takes the last before it.

    Returns
    -------
    ndarray of shape (n_sessions - 1,), float64
        Simple returns in the sessions after the first, as fractions.

    Raises
    ------
    InvalidInputError
        If it is no such table, a price is not positive, the first is later than the first session, the last more than 5
        sessions before the last session, or there is none for more than 5 sessions in a row.
    """
    prices, known = _carry(benchmark, "close", "benchmark", dates)
    _refuse_gap(known, dates)
    if len(known) and (missing := int((dates > known[-1]).sum())) > MISSING_SESSIONS:
        raise InvalidInputError(
            f"benchmark: its last close is of {known[-1]}, {missing} sessions before {dates[-1]}",
            next_step="give one that goes on, or end where it does",
        )
    if not ((prices > 0) & np.isfinite(prices)).all():
        raise InvalidInputError("benchmark: a price is not positive", next_step="leave days without a price out")
    return prices[1:] / prices[:-1] - 1.0


def _refuse_gap(known: Dates, dates: Dates) -> None:
    """Refuse a series without a value for more than 5 sessions in a row, before its last one."""
    row = np.searchsorted(known, dates, side="right") - 1
    is_carried = (known[row] < dates) & (row < len(known) - 1)
    counts = np.bincount(row[is_carried], minlength=1)
    if not (counts > MISSING_SESSIONS).any():
        return
    first = int(np.argmax(counts > MISSING_SESSIONS))
    raise InvalidInputError(
        f"benchmark: it has no close for {counts[first]} sessions in a row, after {known[first]} and before "
        f"{known[first + 1]}",
        next_step="give one without the gap",
    )


def read_rates(cash_rates: Any, dates: Dates) -> Floats | None:
    """Read what cash earns.

    Parameters
    ----------
    cash_rates : float or frame, optional
        One annual simple rate as a fraction, or a frame (date, rate).
    dates : ndarray of shape (n_sessions,), datetime64[D]
        Sessions, increasing. Each takes the last rate up to its date.

    Returns
    -------
    ndarray of shape (n_sessions,), float64, or None
        None without rates.

    Raises
    ------
    InvalidInputError
        If it is no such table, or the first rate is later than the first session.
    """
    if cash_rates is None:
        return None
    if isinstance(cash_rates, (int, float)):
        return np.full(len(dates), float(cash_rates))
    return _carry(cash_rates, "rate", "cash_rates", dates)[0]


def read_members(universe: Any, market: Market) -> Booleans:
    """Read who is in a universe.

    Parameters
    ----------
    universe : polars or pandas frame
        Long (date, symbol, member) or wide; true, or a number that is not 0, for who is in it; null for who is not.
        Symbols without prices are left out.
    market : Market
        The sessions and symbols.

    Returns
    -------
    ndarray of shape (n_sessions, n_symbols), bool
        What the last row of a name up to each session says; nobody is in it before its first row.

    Raises
    ------
    InvalidInputError
        If it is no such table.
    """
    table = read_frame(universe, "universe")
    is_long = "symbol" in table.columns
    says = pl.col("member") if is_long else pl.exclude("date")
    wanted = spread(table.with_columns(says.cast(pl.Float64).fill_nan(None).fill_null(0.0)), "member", "universe")
    rows = np.searchsorted(wanted.dates, market.grid.dates, side="right") - 1
    found = np.zeros(market.grid.values.shape, dtype=np.bool_)
    places = {symbol: place for place, symbol in enumerate(wanted.symbols)}
    for column, symbol in enumerate(market.symbols):
        if symbol in places:
            values = wanted.values[:, places[symbol]]
            last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))[rows]
            found[:, column] = (rows >= 0) & (last >= 0) & (values[last] != 0.0)
    return found


def _refuse_infinite(weights: pl.DataFrame) -> None:
    # NaN is not null: it is a computation that went wrong, and no wish to hold nothing.
    names = ["weight"] if "symbol" in weights.columns else [name for name in weights.columns if name != "date"]
    if not names:
        return
    sound = weights.select(pl.col(names).cast(pl.Float64).is_finite().all()).row(0)
    for name, is_sound in zip(names, sound, strict=True):
        if not is_sound:
            first = weights.filter(~pl.col(name).is_finite()).row(0, named=True)
            raise InvalidInputError(
                f"the weight of {first.get('symbol', name)} on {first['date']} is {first[name]}",
                next_step="give null, or no row, for what is not to be held",
            )


def _events(
    prices: pl.DataFrame, given: Mapping[str, Any], grid: Wide, *, is_adjusted: bool
) -> dict[str, Floats | None]:
    found: dict[str, Floats | None] = {}
    for value, frame in given.items():
        name = f"{value}s"
        if is_adjusted and value != "open":
            if frame is not None:
                raise InvalidInputError(
                    f"the prices are said to be adjusted, and there are {name} besides",
                    next_step="give raw prices, or leave these out: adjusted prices have them already",
                )
            found[value] = None
        elif frame is not None:
            found[value] = align(spread(read_frame(frame, name), value, name), grid, name, absent=np.nan)
        elif "symbol" in prices.columns and value in prices.columns:
            found[value] = spread(prices, value, name).values
        else:
            found[value] = None
    return found


def _by_symbol(returns: Mapping[str, float] | None, symbols: list[str]) -> Floats | None:
    if returns is None:
        return None
    unknown = sorted(set(returns) - set(symbols))
    if unknown:
        raise InvalidInputError(
            f"delisting_returns: there are no prices of {', '.join(unknown[:3])}", next_step="leave these symbols out"
        )
    return np.array([returns.get(symbol, np.nan) for symbol in symbols], dtype=np.float64)


def _carry(frame: Any, value: str, name: str, dates: Dates) -> tuple[Floats, Dates]:
    """Read a series; give each session its last value up to that date, and the dates of the series."""
    table = read_frame(frame, name)
    if table.columns.count(value) != 1:
        raise InvalidInputError(
            f"{name} has the columns {', '.join(table.columns)}", next_step=f"give a frame of date and {value}"
        )
    known = spread(table.select("date", value).drop_nulls(), value, name)
    row = np.searchsorted(known.dates, dates, side="right") - 1
    if len(row) and row[0] < 0:
        raise InvalidInputError(
            f"{name}: there is no {value} up to {dates[0]}", next_step=f"start {name} no later than the prices"
        )
    return known.values[row, 0], known.dates
