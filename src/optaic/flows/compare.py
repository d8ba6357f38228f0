"""What a refresh has found: fetched rows against the rows that a dataset has, by key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from optaic.domain.known import Anchor, Derived, KnownRule, Lag
from optaic.domain.version import DELETED, KNOWN_AT
from optaic.flows.calendar import closes, opens
from optaic.flows.fetched import Fetched
from optaic.storage.view import INSTANT

SAMPLE_ROWS = 1_000
"""How many changed rows are shown."""

_REPLACED = "replaced\0"  # no column that a person names has a null character


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What has to be written, and what is told of it.

    Attributes
    ----------
    inserts
        One row for each key that is new to the dataset: key columns, value columns, `known_at`; sorted by key.
    revises
        Further rows of keys that are there: the same columns and `_deleted`; sorted by key and `known_at`.
    sample
        At most `SAMPLE_ROWS` of all these, with a column `change`: `inserted`, `updated` or `deleted`.
    inserted
        Fetched rows whose key the current view does not have; withdrawn keys that returned are among them.
    updated
        Fetched rows whose key it has, with other values or another vintage.
    deleted
        Rows of the current view that are withdrawn.
    unchanged
        Fetched rows that bring nothing new.
    keys_added
        By how many keys the view grows, `deleted` not counted.
    changed_columns
        The value columns that differ; empty if rows come or go.
    """

    inserts: pl.DataFrame
    revises: pl.DataFrame
    sample: pl.DataFrame
    inserted: int
    updated: int
    deleted: int
    unchanged: int
    keys_added: int
    changed_columns: tuple[str, ...]

    @property
    def changed_from(self) -> dt.date | None:
        """The earliest event date that differs; None if nothing does."""
        firsts: list[dt.date] = [
            frame.to_series(0)[0] for frame in (self.inserts, self.revises) if not frame.is_empty()
        ]
        return min(firsts, default=None)


def known_instants(dates: pl.Series, rule: KnownRule, started_at: dt.datetime) -> pl.Series:
    """Give the instants at which rows were known that are new.

    Parameters
    ----------
    dates
        Their event dates, ascending.
    rule
        A lag, or anything else for `started_at`.
    started_at
        When the run started (UTC).

    Returns
    -------
    Series
        `known_at`, Datetime in microseconds, UTC; as long as `dates`.

    Raises
    ------
    InvalidInputError
        If the calendar of a lag is unknown, or has no session after a date.
    """
    if not isinstance(rule, Lag):
        return pl.Series(KNOWN_AT, [started_at], dtype=INSTANT).new_from_index(0, dates.len())
    days = dates.unique(maintain_order=True)
    if rule.anchor is Anchor.DATE:
        anchors = days.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    else:
        edges = closes if rule.anchor is Anchor.CLOSE else opens
        anchors = pl.Series(edges(days.to_list(), rule.calendar), dtype=INSTANT)
    return (anchors + rule.offset).gather(dates.rle_id()).alias(KNOWN_AT)


def compare_first(fetched: Fetched, *, rule: KnownRule, started_at: dt.datetime) -> Difference:
    """Take every row as new: the dataset has no version yet, or is made anew. Not where a key has several vintages.

    Raises
    ------
    InvalidInputError
        As `known_instants`.
    """
    rows = fetched.frame
    inserts = _dated(rows, rule, started_at)
    return Difference(
        inserts=inserts,
        revises=inserts.clear().with_columns(pl.lit(value=False).alias(DELETED)),
        sample=_marked(inserts, "inserted"),
        inserted=rows.height,
        updated=0,
        deleted=0,
        unchanged=0,
        keys_added=rows.height,
        changed_columns=(),
    )


def compare(
    fetched: Fetched,
    state: pl.DataFrame,
    *,
    rule: KnownRule,
    started_at: dt.datetime,
    is_full: bool,
    tolerance: float = 0.0,
) -> Difference:
    """Compare fetched rows, each key once, with the last row of each key.

    Parameters
    ----------
    fetched
        What the source returned.
    state
        Key columns, value columns, `known_at` and `_deleted`, sorted by key: of all keys if `is_full`, else at least of
        the fetched keys.
    rule
        How rows get their `known_at`: a lag or observed.
    started_at
        When the run started (UTC): what replaces a row was not known before.
    is_full
        Whether keys that were not fetched are withdrawn.
    tolerance
        A number within so much of the stored one, relative to the larger of the two, keeps the stored one: what is
        recomputed may round otherwise.

    Returns
    -------
    Difference
        What has to be written.

    Raises
    ------
    InvalidInputError
        As `known_instants`.

    Notes
    -----
    Null equals null and NaN equals NaN.
    """
    keys = list(fetched.keys)
    state = with_columns_of(state, fetched)
    inserted: list[pl.DataFrame] = []
    returned: list[pl.DataFrame] = []
    updated: list[pl.DataFrame] = []
    differing: set[str] = set()
    pairs, gone = align(fetched.frame, state, keys)
    for rows, before in pairs:
        is_absent = before[KNOWN_AT].is_null()
        is_withdrawn = before[DELETED].fill_null(value=False)
        is_kept = ~(is_absent | is_withdrawn)
        is_updated = is_kept & ~is_kept
        for name in fetched.values:
            differs = _differs(rows[name], before[name], tolerance) & is_kept
            if differs.any():
                differing.add(name)
                is_updated |= differs
        replaced = rows.with_columns(before[KNOWN_AT].alias(_REPLACED))
        inserted.append(rows.filter(is_absent))
        returned.append(replaced.filter(is_withdrawn))
        updated.append(replaced.filter(is_updated))
    withdrawn = gone.filter(~pl.col(DELETED)) if is_full else gone.clear()
    withdrawn = withdrawn.select(
        *keys,
        *(pl.lit(None, dtype=fetched.frame.schema[name]).alias(name) for name in fetched.values),
        pl.col(KNOWN_AT).alias(_REPLACED),
    )
    inserts = pl.concat(inserted).sort(keys) if len(inserted) > 1 else inserted[0]
    inserts = _dated(inserts, rule, started_at)
    parts = {
        "inserted": _restated(pl.concat(returned).sort(keys), rule, started_at, is_deleted=False),
        "updated": _restated(pl.concat(updated).sort(keys), rule, started_at, is_deleted=False),
        "deleted": _restated(withdrawn, rule, started_at, is_deleted=True),
    }
    counts = {change: rows.height for change, rows in parts.items()}
    added = inserts.height + counts["inserted"]
    samples = [_marked(inserts, "inserted"), *(_marked(rows.drop(DELETED), change) for change, rows in parts.items())]
    return Difference(
        inserts=inserts,
        revises=pl.concat(parts.values()).sort(keys),
        sample=pl.concat(samples).head(SAMPLE_ROWS),
        inserted=added,
        updated=counts["updated"],
        deleted=counts["deleted"],
        unchanged=fetched.frame.height - added - counts["updated"],
        keys_added=added,
        changed_columns=() if added or counts["deleted"] else in_order(differing, fetched.values),
    )


def with_columns_of(state: pl.DataFrame, fetched: Fetched) -> pl.DataFrame:
    """Add the columns that the fetched rows have and the stored ones do not, as nulls."""
    added = [name for name in fetched.values if name not in state.columns]
    return state.with_columns(pl.lit(None, dtype=fetched.frame.schema[name]).alias(name) for name in added)


def in_order(names: set[str], order: Sequence[str]) -> tuple[str, ...]:
    """Give names in the order of the columns."""
    return tuple(name for name in order if name in names)


def align(
    rows: pl.DataFrame, state: pl.DataFrame, keys: Sequence[str]
) -> tuple[list[tuple[pl.DataFrame, pl.DataFrame]], pl.DataFrame]:
    """Put fetched rows and stored rows of the same key side by side.

    Parameters
    ----------
    rows, state
        Each sorted by key, each key once.
    keys
        The key columns; the first is the event date.

    Returns
    -------
    pairs : list of (DataFrame, DataFrame)
        Of equal height; the n-th rows of both have the same key, and what is not stored is null in the second.
    gone : DataFrame
        Stored rows whose key was not fetched.
    """
    if _is_same(rows, state, keys):
        return [(rows, state)], state.clear()
    # Dates that have the same keys are compared by place, which costs a tenth of a join: mostly all but a few.
    date = keys[0]
    lengths = rows.group_by(date).len().join(state.group_by(date).len(), on=[date, "len"], how="semi")
    is_even = pl.col(date).is_in(lengths[date].implode())
    rows_even, state_even = rows.filter(is_even), state.filter(is_even)
    is_other = pl.Series([False]).new_from_index(0, rows_even.height)
    for name in keys[1:]:
        is_other |= rows_even[name] != state_even[name]
    dates = lengths.join(rows_even.filter(is_other).select(date), on=date, how="anti")[date]
    is_placed = pl.col(date).is_in(dates.implode())
    rest, rest_state = rows.filter(~is_placed), state.filter(~is_placed)
    joined = rest.select(keys).join(rest_state, on=keys, how="left", maintain_order="left")
    gone = rest_state.join(rest.select(keys), on=keys, how="anti", maintain_order="left")
    return [(rows.filter(is_placed), state.filter(is_placed)), (rest, joined)], gone


def _is_same(rows: pl.DataFrame, state: pl.DataFrame, keys: Sequence[str]) -> bool:
    return rows.height == state.height and all((rows[name] == state[name]).all() for name in keys)


def _dated(rows: pl.DataFrame, rule: KnownRule, started_at: dt.datetime) -> pl.DataFrame:
    """Give new rows their known_at; those of a derived dataset have it."""
    if isinstance(rule, Derived):
        return rows
    return rows.with_columns(known_instants(rows.to_series(0), rule, started_at))


def _restated(rows: pl.DataFrame, rule: KnownRule, started_at: dt.datetime, *, is_deleted: bool) -> pl.DataFrame:
    """Give rows that replace others their known_at: not before the run, nor before what they replace.

    A derived row that is made of something that was known later than what it replaces is known since then.
    """
    replaced = pl.col(_REPLACED)
    from_run = pl.max_horizontal(pl.lit(started_at, dtype=INSTANT), replaced)
    if isinstance(rule, Derived):
        own = pl.col(KNOWN_AT)
        known = from_run if is_deleted else pl.when(own > replaced).then(own).otherwise(from_run)
    else:
        known = pl.max_horizontal(known_instants(rows.to_series(0), rule, started_at), from_run)
    return rows.with_columns(known.alias(KNOWN_AT), pl.lit(is_deleted).alias(DELETED)).drop(_REPLACED)


def _differs(fetched: pl.Series, stored: pl.Series, tolerance: float) -> pl.Series:
    differs = fetched.ne_missing(stored)
    if not tolerance or not fetched.dtype.is_float():
        return differs
    pair = pl.DataFrame({"fetched": fetched, "stored": stored})
    scale = pl.max_horizontal(pl.col("fetched").abs(), pl.col("stored").abs())
    near = (pl.col("fetched") - pl.col("stored")).abs() <= tolerance * scale
    return differs & ~pair.select(near.fill_null(value=False)).to_series()


def _marked(rows: pl.DataFrame, change: str) -> pl.DataFrame:
    return rows.head(SAMPLE_ROWS).with_columns(pl.lit(change).alias("change"))
