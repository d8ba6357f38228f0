"""Comparing rows of a source that says when each was known: a key may have several vintages."""

from __future__ import annotations

import datetime as dt

import polars as pl

from optaic.domain.version import DELETED, KNOWN_AT
from optaic.flows.compare import SAMPLE_ROWS, Difference, in_order, with_columns_of
from optaic.flows.fetched import Fetched
from optaic.storage.view import INSTANT, PLACE

# What is known of a fetched row's key, and of the row; no column that a person names has a null character.
_LAST, _LAST_DELETED, _WITHDRAWN, _IN_VIEW = "last\0", "deleted\0", "withdrawn\0", "in view\0"
_STORED_DELETED, _IS_FIRST, _IS_LAST, _IS_FRESH, _IS_BACK = "stored\0", "first\0", "latest\0", "fresh\0", "back\0"


def compare_vintages(fetched: Fetched, history: pl.DataFrame, *, started_at: dt.datetime, is_full: bool) -> Difference:
    """Compare fetched vintages with all rows that are stored: the identity of a row is its key and its `known_at`.

    Parameters
    ----------
    fetched
        What the source returned, with `known_at`.
    history
        Key columns, value columns, `known_at`, `_deleted` and `_place`: of all keys if `is_full`, else at least of the
        fetched keys; in any order.
    started_at
        When the run started (UTC): the source does not say when a key was withdrawn or returned, so it is then.
    is_full
        Whether keys that were not fetched are withdrawn.

    Returns
    -------
    Difference
        What has to be written. A vintage that is stored with the same values is not written again; one with other
        values is, and hides the stored one.

    Notes
    -----
    A returned key is written with the values of its latest fetched vintage, because that vintage itself was known
    before the withdrawal, which would go on hiding it.
    """
    keys, values = list(fetched.keys), list(fetched.values)
    columns = [*keys, *values, KNOWN_AT]
    history = with_columns_of(history, fetched).sort(KNOWN_AT, PLACE)
    state = _states(history, keys)
    rows = _judged(fetched, history, state)
    after = pl.max_horizontal(pl.lit(started_at, dtype=INSTANT), pl.col(_LAST)).alias(KNOWN_AT)
    kept, lost = (pl.lit(value).alias(DELETED) for value in (False, True))

    is_insert = pl.col(_LAST).is_null() & pl.col(_IS_FIRST)
    inserts = rows.filter(is_insert).select(columns)
    later = rows.filter(pl.col(_IS_FRESH) & ~is_insert).select(*columns, kept)
    back = rows.filter(pl.col(_IS_BACK)).with_columns(after).select(*columns, kept)
    gone = (
        state.filter(~pl.col(_LAST_DELETED)).join(rows.select(keys), on=keys, how="anti") if is_full else state.clear()
    )
    nothing = (pl.lit(None, dtype=rows.schema[name]).alias(name) for name in values)
    withdrawn = gone.sort(keys).with_columns(after, *nothing).select(*columns, lost)

    changed = rows.filter(pl.col(_IS_FRESH) | pl.col(_IS_BACK))
    updated, inserted = changed.filter(pl.col(_IN_VIEW)), changed.filter(~pl.col(_IN_VIEW))
    is_new_vintage = updated[_STORED_DELETED].null_count() > 0
    differing = {name for name in values if updated[name].ne_missing(updated[_stored(name)]).any()}
    samples = (("inserted", inserted), ("updated", updated), ("deleted", withdrawn))
    return Difference(
        inserts=inserts,
        # A key may return at the very instant of its latest vintage: the two rows are equal then.
        revises=pl.concat([later, back, withdrawn]).unique([*keys, KNOWN_AT]).sort(*keys, KNOWN_AT),
        sample=pl.concat(
            part.head(SAMPLE_ROWS).select(*columns, pl.lit(change).alias("change")) for change, part in samples
        ).head(SAMPLE_ROWS),
        inserted=inserted.height,
        updated=updated.height,
        deleted=withdrawn.height,
        unchanged=rows.height - changed.height,
        keys_added=inserted.select(keys).n_unique(),
        # A vintage of an instant that has none is compared with nothing, so it may have changed any column.
        changed_columns=() if inserted.height or withdrawn.height or is_new_vintage else in_order(differing, values),
    )


def _states(history: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Give for each key its last instant, whether it is withdrawn, and when it was withdrawn last."""
    return history.group_by(keys).agg(
        pl.col(KNOWN_AT).last().alias(_LAST),
        pl.col(DELETED).last().alias(_LAST_DELETED),
        pl.col(KNOWN_AT).filter(pl.col(DELETED)).last().alias(_WITHDRAWN),
    )


def _judged(fetched: Fetched, history: pl.DataFrame, state: pl.DataFrame) -> pl.DataFrame:
    """Add to each fetched row what is stored of it and of its key, and what it is therefore."""
    keys, values = list(fetched.keys), list(fetched.values)
    identity = [*keys, KNOWN_AT]
    stored = history.unique(identity, keep="last").select(
        *identity, pl.col(DELETED).alias(_STORED_DELETED), *(pl.col(name).alias(_stored(name)) for name in values)
    )
    rows = fetched.frame.join(stored, on=identity, how="left").join(state, on=keys, how="left").sort(identity)
    # Sorted, so a key's first and last vintage are where its neighbour has another key.
    is_first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in keys)
    is_last = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in keys)
    is_equal = pl.all_horizontal(pl.lit(value=True), *(pl.col(n).eq_missing(pl.col(_stored(n))) for n in values))
    rows = rows.with_columns(
        is_first.alias(_IS_FIRST),
        is_last.alias(_IS_LAST),
        (~is_equal | pl.col(_STORED_DELETED).fill_null(value=True)).alias(_IS_FRESH),
        (~pl.col(_LAST_DELETED).fill_null(value=True)).alias(_IN_VIEW),
    )
    is_hidden = (pl.col(_WITHDRAWN) >= pl.col(KNOWN_AT)).fill_null(value=False)
    return rows.with_columns((pl.col(_IS_LAST) & is_hidden & (~pl.col(_IN_VIEW) | pl.col(_IS_FRESH))).alias(_IS_BACK))


def _stored(name: str) -> str:
    return f"{name}\0stored"
