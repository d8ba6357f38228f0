"""A pinned upstream, as flow code reads it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

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

    @property
    def version(self) -> int:
        """The number of the pinned version."""
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
            The key columns, the columns that the flow declared (all of them if none), and `known_at`, sorted by key.

        Raises
        ------
        StorageError
            If a segment cannot be read; with a lazy frame, perhaps only when it is collected.
        """
        from optaic.storage.segments import scan

        version = self._pinned.version
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
        return self.lazy(start=start, end=end).collect()

    def _widen(self, first: dt.date | None, last: dt.date | None) -> None:
        # A side that is open once stays open: rows that a later version adds there would have been read.
        if self.slice is not None:
            before_first, before_last = self.slice
            first = None if first is None or before_first is None else min(first, before_first)
            last = None if last is None or before_last is None else max(last, before_last)
        self.slice = (first, last)
