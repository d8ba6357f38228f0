"""What can be asked of a ledger: its data, and what is still valid and why. Nothing here writes."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optaic.bootstrap import Runtime

if TYPE_CHECKING:
    import polars as pl


class Questions:
    """The questions that `optaic.connect()` answers; a ledger adds what changes it."""

    runtime: Runtime

    def data(
        self,
        name: str,
        *,
        version: int | None = None,
        as_of: dt.datetime | dt.date | str | None = None,
        columns: Sequence[str] | None = None,
        start: dt.date | str | None = None,
        end: dt.date | str | None = None,
        symbols: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Read a dataset: its current view, a version's, or as it was known at an instant.

        Only the segments that the filters touch are read.

        Parameters
        ----------
        name
            The dataset; `prices[close]` or `prices[close,volume]` selects columns too.
        version
            Its number; the current one by default.
        as_of
            Per key, the latest row known by then: an aware instant, or a date, which means that session's close.
        columns
            Columns beside the key and `known_at`; all by default.
        start, end
            First and last event date, inclusive.
        symbols
            Only these, by the second key column.

        Returns
        -------
        polars.DataFrame
            Key columns, columns, and `known_at` (UTC, microseconds), sorted by key.

        Raises
        ------
        NotFoundError
            If there is no such dataset or version.
        InvalidInputError
            If a column, date or instant is wrong.
        """
        from optaic.reading import read_dataset

        return read_dataset(
            self.runtime, name, version=version, as_of=as_of, columns=columns, start=start, end=end, symbols=symbols
        )

    def status(self) -> list[dict[str, Any]]:
        """Give every live flow's status, by target, as JSON-ready items that `optaic.overview.statuses` describes."""
        from optaic.overview import statuses

        with self.runtime.database.read() as tx:
            return list(statuses(tx).values())

    def why(self, target: str) -> dict[str, Any]:
        """Say why a flow is ready, or why it is not, back to what made it so.

        Parameters
        ----------
        target
            `instance` or `instance.flow_kind`.

        Returns
        -------
        dict
            JSON-ready; `optaic.explain.explain` describes it.

        Raises
        ------
        NotFoundError, InvalidInputError
            If there is no such target.
        """
        from optaic.explain import explain

        return explain(self.runtime, target)

    def plan(self, target: str, *, smart: bool = False) -> dict[str, Any]:
        """Say what `run(target, recursive=True)` would run, in which batches, and why; nothing is run.

        Parameters
        ----------
        target
            `instance` or `instance.flow_kind`.
        smart
            Leave the target out too if it is ready.

        Returns
        -------
        dict
            JSON-ready; `optaic.planning.plan_of` describes it.

        Raises
        ------
        NotFoundError, InvalidInputError
            If there is no such target.
        """
        from optaic.planning import plan_of

        return plan_of(self.runtime, target, is_smart=smart)

    def lineage(self, reference: str, *, depth: int | None = None) -> dict[str, Any]:
        """Give the graph that a flow stands in, or the one that a run stood in.

        Parameters
        ----------
        reference
            A target, for flows as they are; a run's id, its beginning, or `TARGET@latest`, for runs as they were.
        depth
            At most so many steps upstream and downstream; None for all.

        Returns
        -------
        dict
            JSON-ready: `{"nodes": [...], "edges": [...]}`, as `optaic.lineage` describes them.

        Raises
        ------
        NotFoundError, InvalidInputError
            If there is no such target or run, or the depth is below 1.
        """
        from optaic.lineage import lineage

        return lineage(self.runtime, reference, depth=depth)

    def diff(self, one: str | uuid.UUID, other: str | uuid.UUID) -> dict[str, Any]:
        """Put two runs side by side, differences first: what they are, params, config, code, inputs, metrics, files.

        Parameters
        ----------
        one, other
            A run's id, its beginning, or `TARGET@latest`.

        Returns
        -------
        dict
            JSON-ready; `optaic.comparing.diff` describes it.

        Raises
        ------
        NotFoundError, InvalidInputError
            If a reference names no run, or several.
        """
        from optaic.comparing import diff

        return diff(self.runtime, one, other)

    def compare(self, references: Sequence[str | uuid.UUID]) -> dict[str, Any]:
        """Put 2 to 20 runs side by side: what differs first, then metrics, with the best and the worst run of each.

        Returns
        -------
        dict
            JSON-ready; `optaic.comparing.compare` describes it.

        Raises
        ------
        NotFoundError, InvalidInputError
            If they are too few or too many, or a reference names no run, or several.
        """
        from optaic.comparing import compare

        return compare(self.runtime, references)

    def versions(self, name: str) -> list[dict[str, Any]]:
        """Give the versions of a dataset, newest first, as JSON-ready items.

        Raises
        ------
        NotFoundError
            If there is no such dataset.
        """
        from optaic.reading import version_items

        return version_items(self.runtime, name)
