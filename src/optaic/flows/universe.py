"""Who is a member of a universe on a date: what the last row of the name up to that date says."""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.domain.known import DECLARE
from optaic.domain.version import DELETED, KNOWN_AT
from optaic.errors import InvalidInputError, NothingKnownError
from optaic.flows.context import RunContext
from optaic.flows.grid import DATE, SYMBOL, VALUE, Dates, to_grid, value_column
from optaic.storage.dtype import parse_dtype

UNIVERSE, MEMBER = "universe", "member"
"""The role of the input, and the column that says who is in it."""

_FROM, _ORDER = "from", "order"


def members_by(context: RunContext, decisions: pl.DataFrame) -> pl.DataFrame:
    """Say who was a member at each decision.

    A row holds from its date on, until the next one of the same name: a universe needs a row only where membership
    begins or ends. A row that was not known yet at the decision is passed over, and so is one that was withdrawn by
    then: the row before it holds.

    Parameters
    ----------
    context
        Of the run; its input `universe` is read.
    decisions
        `date` (Date), each once and ascending; and perhaps `decided_at` (Datetime, UTC), ascending, by which rows must
        have been known. Without it, what the pinned version holds counts.

    Returns
    -------
    DataFrame
        `date` (Date) and `symbol` (String): a row for each member, sorted. A member has true, or a number that is not
        0; null is no member.

    Raises
    ------
    InvalidInputError
        If the universe has not the key date and symbol, or its column is neither a truth value nor a number.
    NothingKnownError
        If it has rows up to the last decision, and none of them was known in time.
    """
    if decisions.is_empty():
        return pl.DataFrame(schema={DATE: pl.Date(), SYMBOL: pl.String()})
    rows = _read(context, decisions[DATE][-1])
    dates = decisions[DATE].to_numpy().astype("datetime64[D]")
    begins = np.searchsorted(dates, rows[DATE].to_numpy().astype("datetime64[D]"))
    if "decided_at" in decisions.columns:
        known = rows[KNOWN_AT].to_numpy()
        begins = np.maximum(begins, np.searchsorted(decisions["decided_at"].to_numpy(), known))
    else:
        rows = rows.with_columns(pl.Series(_FROM, begins)).unique([DATE, SYMBOL], keep="last", maintain_order=True)
        begins = rows[_FROM].to_numpy()
    seen = rows.with_columns(pl.Series(_FROM, begins, dtype=pl.Int64)).filter(pl.col(_FROM) < len(dates))
    if seen.is_empty() and not rows.is_empty():
        raise NothingKnownError(
            f"no row of {context.input(UNIVERSE).instance} was known when it was decided: the first was known at "
            f"{rows[KNOWN_AT].min()}",
            next_step=DECLARE,
        )
    withdrawn = seen.filter(DELETED)[SYMBOL].unique().implode()
    states = pl.concat(
        [_newest(seen.filter(~pl.col(SYMBOL).is_in(withdrawn))), _redone(seen.filter(pl.col(SYMBOL).is_in(withdrawn)))]
    )
    # Each state holds until the next one of the same name: the decisions between are spelt out for members alone.
    until = pl.col(_FROM).shift(-1).over(SYMBOL, order_by=_FROM).fill_null(len(dates))
    spans = states.with_columns(until=until).filter(MEMBER)
    spelt = spans.select(SYMBOL, pl.int_ranges(_FROM, "until").alias(_FROM)).explode(_FROM)
    return spelt.select(pl.lit(decisions[DATE]).gather(pl.col(_FROM)).alias(DATE), SYMBOL).sort(DATE, SYMBOL)


def is_member(members: pl.DataFrame, dates: Dates, symbols: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Give what `members_by` found as an array of shape (n_dates, n_symbols)."""
    return to_grid(members.with_columns(pl.lit(1.0).alias(VALUE)), VALUE, dates=dates, symbols=symbols).values == 1.0


def carried(context: RunContext, sessions: pl.Series) -> pl.DataFrame:
    """Say for each session and each name of the universe whether it is a member, and since when that is known.

    Parameters
    ----------
    context
        Of the run; its input `universe` is read.
    sessions
        Dates, ascending, each once.

    Returns
    -------
    DataFrame
        `date` (Date), `symbol` (String), `universe` (Boolean) and `known_at` (UTC), from the first row of a name on. A
        withdrawal counts as knowledge: the row before it holds, known since the withdrawal.

    Raises
    ------
    InvalidInputError
        As `members_by`.
    """
    rows = _read(context, None).unique([DATE, SYMBOL], keep="last", maintain_order=True).sort(SYMBOL, DATE)
    holds = (~pl.col(DELETED)).cum_sum().over(SYMBOL)
    rows = rows.with_columns(
        pl.when(~pl.col(DELETED)).then(MEMBER).forward_fill().over(SYMBOL).alias(UNIVERSE),
        pl.col(KNOWN_AT).cum_max().over(SYMBOL, holds),
    )
    grid = rows.select(pl.col(SYMBOL).unique()).join(sessions.alias(DATE).to_frame(), how="cross").sort(DATE)
    found = grid.join_asof(
        rows.select(DATE, SYMBOL, UNIVERSE, KNOWN_AT).sort(DATE), on=DATE, by=SYMBOL, check_sortedness=False
    )
    return found.filter(pl.col(KNOWN_AT).is_not_null()).select(DATE, SYMBOL, UNIVERSE, KNOWN_AT).sort(DATE, SYMBOL)


def _read(context: RunContext, end: dt.date | None) -> pl.DataFrame:
    """Read every row up to a date, replaced and withdrawn ones too, in the order in which they came to be known."""
    source = context.input(UNIVERSE)
    if source.keys != (DATE, SYMBOL):
        raise InvalidInputError(
            f"{source.instance} has the key {', '.join(source.keys)}; a universe is by date and symbol"
        )
    column = value_column(source, MEMBER, VALUE)
    dtype = source.types[column]
    if not (parse_dtype(dtype).is_numeric() or dtype == "Boolean"):
        raise InvalidInputError(
            f"{source.instance}[{column}] is {dtype}, and does not say who is a member",
            next_step=f"name a column of truth values, as universe: {source.instance}[member]",
        )
    says = pl.col(column).cast(pl.Float64).fill_nan(None).fill_null(0.0) != 0.0
    rows = source.history([column], end=end).select(
        pl.col(DATE).cast(pl.Date), pl.col(SYMBOL).cast(pl.String), says.alias(MEMBER), KNOWN_AT, DELETED
    )
    _warn(context, rows)
    return rows


def _warn(context: RunContext, rows: pl.DataFrame) -> None:
    """Say so where nobody ever leaves although lists of names seem to be meant."""
    ends = rows.group_by(SYMBOL).agg(pl.col(DATE).max())
    if rows.select(pl.col(MEMBER).all() & ~pl.col(DELETED).any()).item() and ends[DATE].n_unique() > 1:
        context.say(
            f"no row of {context.input(UNIVERSE).instance} says that a name is not a member, so each of its "
            f"{ends.height} names stays one from its first row on: give a row with false where a name leaves",
            level="WARNING",
        )


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    """Give the states of names of which no row was withdrawn: at a decision holds the row of the latest date so far."""
    ordered = rows.sort(DATE, maintain_order=True).with_row_index(_ORDER)
    states = (
        ordered.sort(SYMBOL, _FROM, _ORDER)
        .with_columns(pl.col(_ORDER).cum_max().over(SYMBOL))
        .unique([SYMBOL, _FROM], keep="last", maintain_order=True)
    )
    return states.select(SYMBOL, _FROM).with_columns(ordered[MEMBER].gather(states[_ORDER]))


def _redone(rows: pl.DataFrame) -> pl.DataFrame:
    """Give the states of names of which rows were withdrawn, by going through them."""
    found: list[tuple[str, int, bool]] = []
    for (symbol,), group in rows.sort(_FROM, maintain_order=True).group_by(SYMBOL, maintain_order=True):
        found += [(str(symbol), begin, state) for begin, state in _states(group)]
    schema = {SYMBOL: pl.String(), _FROM: pl.Int64(), MEMBER: pl.Boolean()}
    states = pl.DataFrame(found, schema=schema, orient="row")
    return states.unique([SYMBOL, _FROM], keep="last", maintain_order=True)


def _states(rows: pl.DataFrame) -> Iterator[tuple[int, bool]]:
    dates: list[dt.date] = []
    says: dict[dt.date, bool] = {}
    for date, begin, member, is_withdrawn in rows.select(DATE, _FROM, MEMBER, DELETED).iter_rows():
        if date in says:
            dates.remove(date)
            del says[date]
        if not is_withdrawn:
            bisect.insort(dates, date)
            says[date] = member
        yield begin, says[dates[-1]] if dates else False
