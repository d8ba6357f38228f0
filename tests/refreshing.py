"""What tests of datasets share: refreshing by the product's own flow, and publishing its result without a ledger."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import polars as pl

from optaic.domain.kind import FlowKind
from optaic.domain.status import Standing
from optaic.domain.version import DatasetVersion, content_digest
from optaic.flows.context import RunContext
from optaic.flows.refresh import refresh
from optaic.flows.report import Batch
from optaic.flows.task import PinnedInput, Result, Task
from optaic.storage.objects import ObjectStore
from tests.contexts import Told

START = dt.datetime(2024, 3, 1, 22, tzinfo=dt.UTC)


class Dataset:
    """A dataset without a ledger: each official refresh is published as the next version."""

    def __init__(self, store: ObjectStore, **config: Any) -> None:
        self.store = store
        self.config = config
        self.versions: list[DatasetVersion] = []
        self.runs = 0

    @property
    def current(self) -> DatasetVersion | None:
        return self.versions[-1] if self.versions else None

    def task(
        self,
        *,
        mode: str | None = None,
        at: dt.datetime | None = None,
        params: Mapping[str, Any] | None = None,
        standing: Standing = Standing.OFFICIAL,
    ) -> Task:
        self.runs += 1
        return Task(
            run_id=uuid.UUID(int=self.runs),
            attempt=1,
            tenant_id=1,
            instance="prices",
            flow_kind=FlowKind.REFRESH,
            code_ref="sources:prices",
            code_digest=None,
            config=self.config,
            params=params or {},
            seed=1,
            as_of=None,
            mode=mode,
            standing=standing,
            started_at=at or START + dt.timedelta(days=self.runs),
            current=self.current,
        )

    def refresh(self, source: object, **task: Any) -> Result:
        """Refresh from a callable or a ready table, and publish what comes out."""

        def give(ctx: RunContext) -> object:
            return source

        definition: Callable[..., Any] = source if callable(source) else give
        one = self.task(**task)
        context = RunContext(one, store=self.store, sink=_ignore)
        try:
            result = refresh(one, definition, context, self.store)
        finally:
            context.close()
        change = result.dataset
        assert change is not None
        if change.segments:
            segments = (*(self.current.segments if self.current else ()), *change.segments)
            version = DatasetVersion(
                id=one.run_id,
                number=len(self.versions) + 1,
                key_columns=tuple(self.config.get("key", ("date", "symbol"))),
                columns=change.columns,
                segments=segments,
                row_count=change.row_count,
                first_data_date=change.first_data_date,
                last_data_date=change.last_data_date,
                content_digest=content_digest(segments),
            )
            self.versions.append(version)
        return result


@contextmanager
def opened(
    *,
    told: Told | None = None,
    as_of: dt.datetime | None = None,
    config: Mapping[str, Any] | None = None,
    columns: Mapping[str, tuple[str, ...]] | None = None,
    **datasets: Dataset,
) -> Generator[RunContext]:
    """Give the context of a run that reads some datasets, each by the name of its role; perhaps only some columns."""
    first = next(iter(datasets.values()))
    pinned = tuple(
        PinnedInput(role=role, instance=role, version=one.current, columns=(columns or {}).get(role, ()))
        for role, one in datasets.items()
        if one.current
    )
    task = replace(first.task(), inputs=pinned, as_of=as_of, config=config or {})
    context = RunContext(task, store=first.store, sink=told or _ignore)
    try:
        yield context
    finally:
        context.close()


def _ignore(batch: Batch) -> None:
    """Take a report, for nobody."""


def table(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """Make a frame of `(date or day of January 2024, symbol, close)`."""
    days = [dt.date(2024, 1, row[0]) if isinstance(row[0], int) else row[0] for row in rows]
    return pl.DataFrame(
        {"date": days, "symbol": [row[1] for row in rows], "close": [row[2] for row in rows]},
        schema={"date": pl.Date, "symbol": pl.String, "close": pl.Float64},
    )
