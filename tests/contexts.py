"""What tests of a flow's context share."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from pathlib import Path

from optaic.domain.kind import FlowKind
from optaic.domain.status import Standing
from optaic.flows.context import RunContext
from optaic.flows.report import Batch, LogLine, MetricPoint, Progress, Report
from optaic.flows.task import Task
from optaic.storage.objects import open_store

RUN_ID = uuid.UUID(int=5)


class Told:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def __call__(self, batch: Batch) -> None:
        self.batches.append(batch)

    @property
    def reports(self) -> list[Report]:
        return [report for batch in self.batches for report in batch.reports()]

    @property
    def points(self) -> list[tuple[str, float, int | None]]:
        return [(one.key, one.value, one.step) for one in self.reports if isinstance(one, MetricPoint)]

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        return [(one.level, one.text, one.stream) for one in self.reports if isinstance(one, LogLine)]

    @property
    def progress(self) -> list[tuple[float, str | None]]:
        return [(one.pct, one.note) for one in self.reports if isinstance(one, Progress)]


def context_of(folder: Path, sink: Callable[[Batch], None], *, flush_seconds: float = 60.0) -> RunContext:
    task = Task(
        run_id=RUN_ID,
        attempt=2,
        tenant_id=1,
        instance="prices",
        flow_kind=FlowKind.REFRESH,
        code_ref="a:b",
        code_digest=None,
        config={},
        params={"n": 21},
        seed=7,
        as_of=None,
        mode="full",
        standing=Standing.TRIAL,
        started_at=dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
        current=None,
    )
    return RunContext(task, store=open_store(folder.as_uri()), sink=sink, flush_seconds=flush_seconds)
