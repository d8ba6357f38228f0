"""What an optimiser sees at each decision of a backtest: what was known then, of sessions up to the decision's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.domain.known import DECLARE
from optaic.domain.optimizer import EXPECTED, GROUPS, PRICES
from optaic.errors import InSampleInputError, InvalidInputError, NothingKnownError
from optaic.flows.decision import decision_times
from optaic.flows.evidence import EVENTS, EXPECTATIONS, group_columns, look_back, total_growth
from optaic.flows.grid import DATE, SYMBOL, impossible_prices, is_possible, number_column
from optaic.flows.in_sample import LABEL_END
from optaic.flows.known import Known

if TYPE_CHECKING:
    from optaic.flows.context import RunContext
    from optaic.flows.input import Input

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Dates = npt.NDArray[np.datetime64]

_NONE = "none"


class Sight:
    """What an optimiser sees at each decision of a backtest. Ask in the order of the decisions: time goes on.

    Every input is read once. What was published or corrected after a decision is not seen by it, and neither is a row
    of a later event date, whenever it was known.

    Parameters
    ----------
    ctx
        The backtest's context; `prices` and, where they are declared, `expected_returns` and `groups` are read up to
        the last decision.
    dates : ndarray of shape (n_sessions,), datetime64[D]
        The backtest's sessions.
    symbols
        Its names, in the order of all that is given.
    decisions
        The places of the sessions in which it decides; at least one, ascending.
    lookback
        Sessions of returns.
    view, calendar
        `replay`: what was known at the decision, as `decision_times` says. `latest`: all that is known now.
    is_adjusted
        Whether prices are adjusted for splits and dividends, so that such columns say nothing more.
    allow_in_sample
        Whether expected returns may be used whose fit had seen their dates.

    Raises
    ------
    InvalidInputError
        If an input has not the columns that are needed.
    """

    def __init__(
        self,
        ctx: RunContext,
        *,
        dates: Dates,
        symbols: Sequence[str],
        decisions: Sequence[int],
        lookback: int,
        view: str,
        calendar: str,
        is_adjusted: bool,
        allow_in_sample: bool,
    ) -> None:
        self._ctx, self._dates, self._symbols = ctx, dates, symbols
        self._lookback, self._allow_in_sample = lookback, allow_in_sample
        days: list[dt.date] = dates[list(decisions)].astype(object).tolist()
        self._last = days[-1]
        self._instants: dict[int, dt.datetime | None] = dict.fromkeys(decisions)
        if view != "latest":
            decided = decision_times(days, calendar, trading=dates.astype(object).tolist())["decided_at"]
            self._instants = dict(zip(decisions, decided.to_list(), strict=True))
        self._followed: dict[str, Known] = {PRICES: self._prices(ctx.input(PRICES), days[0], is_adjusted=is_adjusted)}
        self._sides: list[list[str]] = []
        self._in_sample: dict[int, int] = {}
        for role in (EXPECTED, GROUPS):
            if role in ctx.inputs:
                self._followed[role] = self._other(role, ctx.input(role))

    @property
    def blind(self) -> list[str]:
        """The roles of inputs of which there are rows, and none was known at the last decision asked about."""
        return [role for role, known in self._followed.items() if known.is_blind]

    @property
    def in_sample_rows(self) -> int:
        """How many expected returns were used so far though their fit had seen their dates; each counts once."""
        return sum(self._in_sample.values())

    @property
    def group_names(self) -> frozenset[str]:
        """Every group that the groups name on any date up to the last decision, whenever that was known."""
        return frozenset(text for texts in self._sides for text in texts)

    def returns_at(self, session: int) -> Floats:
        """Give simple total returns of the last sessions up to one, as they were known when it was decided.

        Returns
        -------
        ndarray of shape (lookback, n_symbols), float64
            NaN where there is none; fewer rows where fewer sessions were known.
        """
        known = self._at(PRICES, session)
        end = known.count_until(self._dates[session])
        # A session is a date of which something was known; and the decision's own, whose prices may have come too late.
        is_session: Booleans = np.logical_or.reduce(known.is_there[:end], axis=1)
        is_session[known.dates[:end] == self._dates[session]] = True
        rows = np.flatnonzero(is_session)[-(self._lookback + 1) :]
        events = {name: known.values[name][rows] for name in EVENTS if name in known.values}
        return total_growth(known.values["close"][rows], **events)[1:] - 1.0

    def expected_at(self, session: int) -> Floats:
        """Give what is expected of each name, in the unit of the input: that of the newest date up to the session.

        Returns
        -------
        ndarray of shape (n_symbols,), float64
            NaN for names without one.

        Raises
        ------
        InSampleInputError
            If their fit had seen that date.
        """
        known = self._at(EXPECTED, session)
        values = known.values["value"][: known.count_until(self._dates[session])]
        filled = np.flatnonzero(np.isfinite(values).any(axis=1))
        if not len(filled):
            return np.full(len(self._symbols), np.nan)
        found, date = values[filled[-1]], known.dates[filled[-1]]
        if LABEL_END in known.values:
            ends = known.values[LABEL_END][filled[-1]][np.isfinite(found)]
            late = int((ends >= date.astype(np.int64)).sum())
            if late and not self._allow_in_sample:
                raise InSampleInputError(
                    f"the expected returns of {self._ctx.input(EXPECTED).instance} for {date} are in-sample: their fit "
                    f"had seen labels up to {np.datetime64(int(np.nanmax(ends)), 'D')}",
                    next_step="predict out of sample, or set allow_in_sample: true, which is recorded",
                )
            self._in_sample[int(date.astype(np.int64))] = late
        return found

    def groups_at(self, session: int) -> dict[str, tuple[str, ...]]:
        """Give the groups of each name that has any, by its last row."""
        known = self._at(GROUPS, session)
        rows, has_row = known.last_rows("0", self._dates[session])
        return {
            self._symbols[place]: tuple(
                texts[int(known.values[str(number)][rows[place], place])] for number, texts in enumerate(self._sides)
            )
            for place in np.flatnonzero(has_row).tolist()
        }

    def _at(self, role: str, session: int) -> Known:
        known = self._followed[role]
        known.advance(self._instants[session])
        return known

    def _prices(self, source: Input, first: dt.date, *, is_adjusted: bool) -> Known:
        """Read about as many sessions before the first decision as are needed; all of them if those were too few."""
        close = number_column(source, "close")
        events = [] if is_adjusted else [name for name in EVENTS if name in source.columns and name != close]
        begin, start = source.pinned.date_range[0], look_back(first, self._lookback)
        rows = source.history([close, *events], start=start, end=self._last)
        if (
            begin is not None
            and begin < start
            and rows.filter(pl.col(DATE) <= first)[DATE].n_unique() <= self._lookback
        ):
            rows = source.history([close, *events], end=self._last)
        wrong = impossible_prices(rows, close)
        if not wrong.is_empty():
            # What was once known stays in the history after its correction: refused, it could never be decided on.
            self._ctx.say(
                f"{wrong.height} prices that {source.instance} has or had are zero, negative or infinite, and are "
                f"taken as missing; one is of {wrong[SYMBOL][0]} on {wrong[DATE][0]}",
                level="WARNING",
            )
            rows = rows.with_columns(pl.when(is_possible(close)).then(pl.col(close)).alias(close))
        return Known(rows.rename({close: "close"}), ["close", *events], self._symbols)

    def _other(self, role: str, source: Input) -> Known:
        if SYMBOL not in source.keys:
            raise InvalidInputError(f"{source.instance} has no column {SYMBOL!r}: its rows are of no names")
        if role == GROUPS:
            return self._groups(source)
        column = number_column(source, *EXPECTATIONS)
        fitted = [LABEL_END] if role == EXPECTED and LABEL_END in source.all_columns else []
        rows = source.history([column, *fitted], end=self._last).rename({column: "value"})
        rows = rows.with_columns(pl.col(name).cast(pl.Date).to_physical() for name in fitted)
        return Known(rows, ["value", *fitted], self._symbols)

    def _groups(self, source: Input) -> Known:
        """Follow texts as numbers: their places among all texts of a column."""
        columns = group_columns(source)
        rows = source.history(columns, end=self._last)
        codes: dict[str, pl.Series] = {}
        for number, name in enumerate(columns):
            texts = rows[name].cast(pl.String)
            if number:  # names are in the groups of a row if they are in the first
                texts = texts.fill_null(_NONE)
            known: list[str] = texts.drop_nulls().unique().sort().to_list()
            places: Mapping[str, Any] = {text: place for place, text in enumerate(known)}
            codes[str(number)] = texts.replace_strict(places, return_dtype=pl.Float64)
            self._sides.append(known)
        rows = rows.drop(columns).with_columns(**codes)
        return Known(rows, list(codes), self._symbols)


def refuse_blindness(source: Input, dates: pl.Series) -> None:
    """Refuse to decide on an input of which nothing was known on any date of decision, if it has rows at all.

    Parameters
    ----------
    source
        The input.
    dates
        The dates of decision, ascending.

    Raises
    ------
    NothingKnownError
        If it has rows; the message says when the first of them was known.
    """
    frame = source.frame(start=dates[0], end=dates[-1])
    if frame.is_empty():
        return
    raise NothingKnownError(
        f"no row of {source.instance} was known when it was decided: the first was known at {frame['known_at'].min()}",
        next_step=f"{DECLARE}; or set view: latest, which is recorded",
    )
