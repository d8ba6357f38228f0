"""Reading the segments of a version: which are touched, which rows of them hold, and how they come out sorted."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl

from optaic.domain.version import DELETED, KNOWN_AT, DatasetVersion, Segment, SegmentRole
from optaic.errors import InvalidInputError, ObjectMissingError, StorageError
from optaic.storage.dtype import schema_of
from optaic.storage.objects import ObjectStore

INSTANT = pl.Datetime("us", "UTC")
"""The type of `known_at`."""

PLACE = "_place"
"""Of rows read by `scan_files`: their place in the version; of rows known at the same instant, the last one holds."""

_MAX_MERGED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows and columns a reader asks for; None for all.

    Attributes
    ----------
    as_of
        Only rows known at this instant (aware).
    columns
        The value columns.
    start, end
        The first and the last event date, inclusive.
    symbols
        Values of the key column `symbol`, or of the second key column if none has that name.
    dates
        Event dates, ascending.
    """

    as_of: dt.datetime | None = None
    columns: Sequence[str] | None = None
    start: dt.date | None = None
    end: dt.date | None = None
    symbols: Sequence[str] | None = None
    dates: pl.Series | None = None

    def has_part_of(self, segment: Segment) -> bool:
        """Whether the segment may hold a row that is asked for."""
        return (
            (self.start is None or segment.last_date >= self.start)
            and (self.end is None or segment.first_date <= self.end)
            and (self.as_of is None or segment.first_known_at <= self.as_of)
            and (self.dates is None or _has_date(segment, self.dates))
        )

    def schema(self, version: DatasetVersion) -> dict[str, pl.DataType]:
        """Give the columns that are asked for, keys first, with their types; `known_at` left out.

        Raises
        ------
        InvalidInputError
            If a column is unknown.
        """
        schema = schema_of(version)
        if self.columns is None:
            return schema
        unknown = [name for name in self.columns if name not in schema and name != KNOWN_AT]
        if unknown:
            raise InvalidInputError(
                f"the dataset has no column {', '.join(map(repr, unknown))}; it has: {', '.join([*schema, KNOWN_AT])}"
            )
        names = dict.fromkeys([*version.key_columns, *(name for name in self.columns if name != KNOWN_AT)])
        return {name: schema[name] for name in names}

    def predicates(self, version: DatasetVersion) -> list[pl.Expr]:
        """Give the conditions that rows have to meet.

        Raises
        ------
        InvalidInputError
            If `as_of` has no time zone, or there are symbols but no such key column.
        """
        date = pl.col(version.date_column)
        found: list[pl.Expr] = []
        if self.as_of is not None:
            if self.as_of.tzinfo is None:
                raise InvalidInputError("as_of is an instant with a time zone", next_step="write 2024-01-31T21:00:00Z")
            found.append(pl.col(KNOWN_AT) <= pl.lit(self.as_of.astimezone(dt.UTC), dtype=INSTANT))
        if self.start is not None:
            found.append(date >= self.start)
        if self.end is not None:
            found.append(date <= self.end)
        if self.symbols is not None:
            names = version.key_columns[1:]
            if not names:
                raise InvalidInputError("the dataset has no symbols: its only key is the date")
            found.append(pl.col("symbol" if "symbol" in names else names[0]).is_in(list(self.symbols)))
        if self.dates is not None:
            found.append(date.is_in(self.dates.implode()))
        return found


def scan_last(store: ObjectStore, version: DatasetVersion, wanted: Wanted) -> pl.LazyFrame:
    """Scan the last row of every key, withdrawn keys included.

    Parameters
    ----------
    store
        Where the segments are.
    version
        Which version.
    wanted
        Which part of it.

    Returns
    -------
    LazyFrame
        Key columns, value columns, `known_at` and `_deleted` (Boolean), sorted by key. Where columns are asked for,
        `known_at` is since when these have been known as they are.

    Raises
    ------
    InvalidInputError
        If what is asked for cannot be there.
    StorageError
        If the revisions cannot be read: their dates are, at once.
    """
    schema, predicates, keys = wanted.schema(version), wanted.predicates(version), list(version.key_columns)

    def rows_of(segments: Sequence[Segment]) -> pl.LazyFrame:
        rows = scan_files(store, segments, schema)
        return rows.filter(*predicates) if predicates else rows

    segments = [one for one in version.segments if wanted.has_part_of(one)]
    inserts = [one for one in segments if one.role is SegmentRole.INSERT]
    revises = [one for one in segments if one.role is SegmentRole.REVISE]
    dates = pl.Series([], dtype=pl.Date)
    if revises:
        # Revisions are few, so their dates are read now: all other dates are then spared the search by key.
        with reading("the revisions of the dataset"):
            dates = rows_of(revises).select(pl.col(keys[0]).unique().sort()).collect(engine="streaming").to_series()
    near = {one.key for one in inserts if _has_date(one, dates)}
    parts = [rows_of(chain) for chain in _chains([one for one in inserts if one.key not in near])]
    if dates.len():
        near_rows = [rows_of(chain) for chain in _chains([one for one in inserts if one.key in near])]
        is_near = pl.col(keys[0]).is_in(dates.implode())
        parts += [rows.filter(~is_near) for rows in near_rows]
        read = None if wanted.columns is None else [name for name in schema if name not in keys]
        parts.append(_resolved([rows.filter(is_near) for rows in near_rows], rows_of(revises), keys, read))
    if not parts:
        return pl.LazyFrame(schema={**schema, KNOWN_AT: INSTANT, DELETED: pl.Boolean()})
    return _merged(parts, keys).select(*schema, KNOWN_AT, DELETED)


def _resolved(
    inserted: list[pl.LazyFrame], revised: pl.LazyFrame, keys: list[str], read: list[str] | None
) -> pl.LazyFrame:
    """Put inserted rows and their revisions together: of each key the last row, known since what is read of it was."""
    touched = revised.select(keys).unique()
    untouched = [rows.join(touched, on=keys, how="anti", maintain_order="left") for rows in inserted]
    earlier = [rows.join(touched, on=keys, how="semi", maintain_order="left") for rows in inserted]
    # A stable sort keeps the order of segments among rows known at the same instant.
    every = pl.concat([*earlier, revised]).sort(KNOWN_AT, maintain_order=True)
    if read is not None:
        every = every.with_columns(_known_since(keys, read))
    return _merged([*untouched, every.unique(keys, keep="last", maintain_order=True).sort(keys)], keys)


def _known_since(keys: list[str], read: list[str]) -> pl.Expr:
    """Give the instant from which a row said the same of some columns: a correction of others is no news of these."""
    cells = [pl.col(name) for name in (*read, DELETED)]
    differs = pl.any_horizontal(
        pl.int_range(pl.len()).over(keys) == 0, *(cell.ne_missing(cell.shift(1).over(keys)) for cell in cells)
    )
    return pl.when(differs).then(pl.col(KNOWN_AT)).forward_fill().over(keys).alias(KNOWN_AT)


def _merged(parts: list[pl.LazyFrame], keys: list[str]) -> pl.LazyFrame:
    """Put parts that are each sorted by key together, sorted by key."""
    if len(parts) > _MAX_MERGED:
        return pl.concat(parts).sort(keys)
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge_sorted(part, key=keys)
    return merged


def scan_files(
    store: ObjectStore, segments: Sequence[Segment], schema: dict[str, pl.DataType], *, has_place: bool = False
) -> pl.LazyFrame:
    """Scan segments one after the other, as if they were one file.

    Parameters
    ----------
    store
        Where they are.
    segments
        At least one.
    schema
        The columns to read; those that a segment does not have are null.
    has_place
        Whether to number the rows.

    Returns
    -------
    LazyFrame
        The columns of the schema, `known_at`, `_deleted` (Boolean), and perhaps `_place` (UInt32).

    Raises
    ------
    ObjectMissingError
        If a segment is not in a local store.
    DigestMismatchError
        If a segment in a local store has another size than was recorded.
    """
    for one in segments:
        store.check_size(one.key, one.size_bytes)
    rows = pl.scan_parquet(
        [store.scan_source(one.key) for one in segments],
        schema={**schema, KNOWN_AT: INSTANT, DELETED: pl.Boolean()},
        glob=False,
        hive_partitioning=False,
        missing_columns="insert",  # a column that was added later
        extra_columns="ignore",  # a column that was not asked for
        row_index_name=PLACE if has_place else None,
    )
    return rows.with_columns(pl.col(DELETED).fill_null(value=False))


@contextmanager
def reading(what: str) -> Generator[None]:
    """Turn what Polars raises about files into errors of the store; used around every collect of segments.

    Raises
    ------
    ObjectMissingError
        If a file is not there.
    StorageError
        If a file cannot be read or written.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissingError(
            f"a part of {what} is missing: {_short(error)}",
            next_step="check the storage of this project: optaic doctor",
        ) from error
    except (OSError, pl.exceptions.ComputeError) as error:
        # Polars tells of a full disk in one or the other, and in words.
        if re.search(r"no space left|os error 28\b|quota exceeded", str(error), re.IGNORECASE):
            raise StorageError(
                f"the disk is full; {what} was not stored", next_step="free some space (optaic gc), then: optaic retry"
            ) from error
        raise StorageError(
            f"{what} could not be read or written: {_short(error)}",
            next_step="check the storage of this project: optaic doctor",
        ) from error


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _chains(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Sort segments into chains whose event dates do not overlap, so that each chain is sorted by key as it stands."""
    chains: list[list[Segment]] = []
    for one in sorted(segments, key=lambda one: (one.first_date, one.last_date)):
        for chain in chains:
            if chain[-1].last_date < one.first_date:
                chain.append(one)
                break
        else:
            chains.append([one])
    return chains


def _has_date(segment: Segment, dates: pl.Series) -> bool:
    """Whether any of the dates, which ascend, is one that the segment spans."""
    place = dates.search_sorted(segment.first_date, side="left")
    return place < dates.len() and dates[place] <= segment.last_date
