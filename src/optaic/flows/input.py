"""A pinned upstream, as flow code reads it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optaic.domain.version import DELETED, KNOWN_AT, DatasetVersion, FileVersion
from optaic.errors import InvalidInputError
from optaic.flows.task import PinnedInput, Slice

if TYPE_CHECKING:
    import polars as pl

    from optaic.storage.objects import ObjectStore


class Input:
    """A pinned upstream: exactly the version that this run consumes, whatever is refreshed meanwhile.

    Parameters
    ----------
    pinned
        What was pinned.
    store
        Where its segments are.
    as_of
        Read it as it was known at this instant; None for the version's current view.
    """

    def __init__(self, pinned: PinnedInput, store: ObjectStore, as_of: dt.datetime | None) -> None:
        self._pinned = pinned
        self._store = store
        self._as_of = as_of
        self.slice: Slice | None = None
        """The first and the last event date that were asked for; None as long as nothing was read."""
        self.is_read_whole = False
        """Whether the version as such was asked for: then all of it was read, columns that were not declared too."""

    @property
    def role(self) -> str:
        """The name under which the flow asks for it."""
        return self._pinned.role

    @property
    def pinned(self) -> PinnedInput:
        """What was pinned, for the product's own procedures: looking at it does not count as reading.

        What is learned here must reach no output, unless what it tells of is read as well.
        """
        return self._pinned

    @property
    def version(self) -> int:
        """The number of the pinned version. Asking counts as reading all of it: each version has another number."""
        self._widen(None, None)
        self.is_read_whole = True
        return self._pinned.version.number

    @property
    def instance(self) -> str:
        """The upstream instance."""
        return self._pinned.instance

    def lazy(self, *, start: dt.date | None = None, end: dt.date | None = None) -> pl.LazyFrame:
        """Scan it lazily.

        Parameters
        ----------
        start, end
            The first and the last event date to read, inclusive; None for all. What is not asked for here does not
            make this flow stale when it changes.

        Returns
        -------
        LazyFrame
            The key columns, the columns that the flow declared (all of them if none), and `known_at`, sorted by key: of
            declared columns since when these have been known as they are, whatever was corrected beside them.

        Raises
        ------
        StorageError
            If a segment cannot be read; with a lazy frame, perhaps only when it is collected.
        InvalidInputError
            If it is no dataset.
        """
        from optaic.storage.segments import scan

        version = self._dataset()
        self._widen(start, end)
        columns = list(self._pinned.columns) or None
        return scan(self._store, version, as_of=self._as_of, columns=columns, start=start, end=end)

    def frame(self, *, start: dt.date | None = None, end: dt.date | None = None) -> pl.DataFrame:
        """Read it whole, or between two event dates.

        Parameters
        ----------
        start, end
            As for `lazy`.

        Returns
        -------
        DataFrame
            As `lazy` describes it.

        Raises
        ------
        StorageError
            If a segment cannot be read.
        """
        return self.lazy(start=start, end=end).collect(engine="streaming")

    def with_withdrawn(self) -> pl.DataFrame:
        """Read it whole, with the rows that were withdrawn: their values are null, `known_at` says since when.

        Returns
        -------
        DataFrame
            As `frame` gives it, and a row for each withdrawn key.

        Raises
        ------
        StorageError
            If a segment cannot be read.
        InvalidInputError
            If it is no dataset.
        """
        import polars as pl

        from optaic.storage.view import Wanted, scan_last

        version = self._dataset()
        self._widen(None, None)
        rows = scan_last(self._store, version, Wanted(as_of=self._as_of, columns=list(self._pinned.columns) or None))
        values = [name for name in self.columns if name not in version.key_columns]
        kept = pl.when(~pl.col(DELETED).fill_null(value=False))
        return (
            rows.with_columns(kept.then(pl.col(name)).alias(name) for name in values)
            .drop(DELETED)
            .collect(engine="streaming")
        )

    def known_by(self, decisions: pl.DataFrame, *, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Scan rows as they were known when something was decided on them: of each key the last row known by then.

        Parameters
        ----------
        decisions
            `date` (Date), the event dates to read, each once and ascending, and `decided_at` (Datetime, UTC), the
            instant by which rows of that date must have been known.
        columns
            The value columns to read; None for `columns` of the input.

        Returns
        -------
        LazyFrame
            As `lazy` describes it. Rows that were withdrawn by then are left out, and no row is newer than the
            instant as of which the run reads.

        Raises
        ------
        StorageError
            If a segment cannot be read; perhaps only when it is collected.
        """
        import polars as pl

        from optaic.storage.segments import scan_history
        from optaic.storage.view import PLACE

        version = self._dataset()
        dates = decisions["date"]
        if len(dates):
            self._widen(dates[0], dates[-1])
        keys = list(version.key_columns)
        values = self.columns if columns is None else columns
        limits = decisions.lazy().select(pl.col("date").alias(keys[0]), "decided_at")
        if self._as_of is not None:
            limits = limits.with_columns(pl.min_horizontal("decided_at", pl.lit(self._as_of)))
        return (
            scan_history(self._store, version, dates=dates)
            .join(limits, on=keys[0])
            .filter(pl.col(KNOWN_AT) <= pl.col("decided_at"))
            .sort(KNOWN_AT, PLACE)
            .unique(keys, keep="last", maintain_order=True)
            .filter(~pl.col(DELETED).fill_null(value=False))
            .sort(keys)
            .select(*keys, *(name for name in values if name not in keys), KNOWN_AT)
        )

    def history(
        self, columns: Sequence[str], *, start: dt.date | None = None, end: dt.date | None = None
    ) -> pl.DataFrame:
        """Read every row that was ever known, in the order in which they became known: of a key the later one holds.

        Parameters
        ----------
        columns
            The value columns to read.
        start, end
            As for `lazy`.

        Returns
        -------
        DataFrame
            The key columns, these columns, `known_at`, and `_deleted` (Boolean): whether the key was withdrawn then. No
            row is newer than the instant as of which the run reads.

        Raises
        ------
        StorageError
            If a segment cannot be read.
        """
        import polars as pl

        from optaic.storage.segments import scan_history
        from optaic.storage.view import PLACE

        version = self._dataset()
        self._widen(start, end)
        rows = scan_history(self._store, version, start=start, end=end)
        if self._as_of is not None:
            rows = rows.filter(pl.col(KNOWN_AT) <= self._as_of)
        wanted = [*version.key_columns, *columns, KNOWN_AT, DELETED]
        return rows.select(*wanted, PLACE).sort(KNOWN_AT, PLACE).select(wanted).collect(engine="streaming")

    @property
    def columns(self) -> tuple[str, ...]:
        """The value columns that `frame` gives: those that the flow declared, else all but the key."""
        version = self._dataset()
        return self._pinned.columns or tuple(one.name for one in version.columns if one.name not in version.key_columns)

    @property
    def all_columns(self) -> tuple[str, ...]:
        """Every value column of the pinned version, whatever the flow declared."""
        version = self._dataset()
        return tuple(one.name for one in version.columns if one.name not in version.key_columns)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that identify a row; the first is the event date."""
        return self._dataset().key_columns

    @property
    def types(self) -> Mapping[str, str]:
        """The dtype of every column of the pinned version, as text, `known_at` left out."""
        return {one.name: one.dtype for one in self._dataset().columns}

    @property
    def date_range(self) -> tuple[dt.date | None, dt.date | None]:
        """The first and the last event date of the pinned version; None if it has none.

        Asking counts as reading all event dates: a later version may have others.
        """
        self._widen(None, None)
        return self._pinned.date_range

    @property
    def detail(self) -> Mapping[str, Any]:
        """What its flow says of the pinned version, as JSON: of a model, its fits. Empty for a dataset."""
        version = self._pinned.version
        return version.detail if isinstance(version, FileVersion) else {}

    def read_detail(self, *, end: dt.date | None = None) -> Mapping[str, Any]:
        """Read `detail`, and use it up to an event date: a version that says the same of it, and differs later, is
        none that would have to be read.

        Parameters
        ----------
        end
            The last event date for which it is used; None for all.
        """
        self._widen(None, end)
        return self.detail

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the pinned version's files; none of a dataset."""
        version = self._pinned.version
        return tuple(item.name for item in version.artifacts) if isinstance(version, FileVersion) else ()

    def read_file(self, name: str) -> bytes:
        """Read a file of the pinned version, whole, and verify its digest.

        Parameters
        ----------
        name
            One of `files`.

        Raises
        ------
        InvalidInputError
            If it has no such file.
        StorageError
            If it cannot be read, or is not what was written.
        """
        version = self._pinned.version
        artifacts = version.artifacts if isinstance(version, FileVersion) else ()
        for item in artifacts:
            if item.name == name:
                self._widen(None, None)
                return self._store.get(item.stored)
        raise InvalidInputError(
            f"version {version.number} of {self.instance} has no file {name!r}",
            next_step=f"it has: {', '.join(self.files) or 'none'}",
        )

    def _dataset(self) -> DatasetVersion:
        version = self._pinned.version
        if isinstance(version, DatasetVersion):
            return version
        raise InvalidInputError(
            f"{self.instance} is no dataset, so it has no rows",
            next_step=f"read one of its files: {', '.join(self.files) or 'it has none'}",
        )

    def _widen(self, first: dt.date | None, last: dt.date | None) -> None:
        # A side that is open once stays open: rows that a later version adds there would have been read.
        if self.slice is not None:
            before_first, before_last = self.slice
            first = None if first is None or before_first is None else min(first, before_first)
            last = None if last is None or before_last is None else max(last, before_last)
        self.slice = (first, last)
