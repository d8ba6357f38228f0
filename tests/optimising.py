"""What tests of backtests that follow an optimiser share: the whole of it in this process, on datasets in a folder."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.backtesting import Backtest
from optaic.domain.kind import FlowKind
from optaic.domain.status import Standing
from optaic.domain.version import Column, DatasetVersion, FileVersion, Segment, SegmentRole, content_digest
from optaic.flows.backtest import backtest
from optaic.flows.code import code_digest, locate
from optaic.flows.context import RunContext
from optaic.flows.task import PinnedInput, Task
from optaic.procedures.simulator import simulate
from optaic.storage.objects import open_store
from optaic.storage.segments import write_segment
from tests.contexts import Told

Floats = npt.NDArray[np.float64]

FREE: dict[str, Any] = {"calendar": "weekdays", "capital": 1000.0, "costs_bps": 0.0}
KEYS = ["date", "symbol"]


def weekdays(count: int, first: str = "2024-01-01") -> list[dt.date]:
    """Give consecutive weekdays."""
    return np.busday_offset(np.datetime64(first, "D"), np.arange(count)).astype(object).tolist()


def long(days: Sequence[dt.date], values: Floats, name: str = "close") -> pl.DataFrame:
    """Make rows of a table of days by names A, B, ...; NaN is no row."""
    names = [chr(ord("A") + place) for place in range(values.shape[1])]
    frame = pl.DataFrame(
        {
            "date": [day for day in days for _ in names],
            "symbol": names * len(days),
            name: np.asarray(values, dtype=np.float64).ravel(),
        },
        schema={"date": pl.Date, "symbol": pl.String, name: pl.Float64},
    )
    return frame.filter(pl.col(name).is_finite())


def walk(days: int, names: int, seed: int = 1) -> Floats:
    """Give closes of a random walk: shape (days, names)."""
    moves = np.random.default_rng(seed).normal(0.0005, 0.02, (days, names)) * np.linspace(0.5, 2.0, names)
    return np.asarray(100.0 * np.cumprod(1.0 + moves, axis=0), dtype=np.float64)


def known_at_close(frame: pl.DataFrame) -> pl.DataFrame:
    """Let each row be known when its session of the calendar `weekdays` closes, at midnight."""
    midnight = (pl.col("date") + dt.timedelta(days=1)).cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(known_at=midnight)


class Follower:
    """A backtest that follows an optimiser, with its pinned inputs."""

    def __init__(
        self,
        folder: Path,
        definition: str = "skfolio.optimization:InverseVolatility",
        *,
        params: dict[str, Any] | None = None,
        reads: Sequence[str] = (),
        **setup: Any,
    ) -> None:
        self.store = open_store((folder / "objects").as_uri())
        self.told = Told()
        self.inputs: dict[str, PinnedInput] = {}
        self.contexts: list[RunContext] = []
        self.detail: dict[str, Any] = {
            "definition": definition,
            "code_digest": code_digest(locate(definition, Path.cwd())),
            "params": params or {},
            "seed": 0,
            "reads": list(reads),
            "optimizer": {"calendar": "weekdays", **setup},
        }
        version = FileVersion(
            id=uuid.uuid4(),
            number=3,
            run_id=uuid.uuid4(),
            artifacts=(),
            detail=self.detail,
            first_data_date=None,
            last_data_date=None,
            content_digest="0" * 64,
        )
        self.inputs["optimizer"] = PinnedInput(role="optimizer", instance="best", version=version)

    def pin(self, role: str, rows: pl.DataFrame, *revisions: pl.DataFrame) -> None:
        """Pin a dataset; rows are known at their close unless they say when. Revisions do, and perhaps `_deleted`."""
        if "known_at" not in rows.columns:
            rows = known_at_close(rows)
        days: list[dt.date] = rows["date"].sort().to_list()
        segments: list[Segment] = []
        for place, part in enumerate([rows, *revisions]):
            frame = part.with_columns(pl.col("known_at").cast(pl.Datetime("us", "UTC"))).sort(*KEYS, "known_at")
            if place and "_deleted" not in frame.columns:
                frame = frame.with_columns(_deleted=pl.lit(value=False))
            kind = SegmentRole.REVISE if place else SegmentRole.INSERT
            key = f"t1/datasets/{role}/{uuid.uuid4()}-1-{place + 1}.parquet"
            segments.append(write_segment(self.store, key, frame, role=kind, key_columns=KEYS))
        version = DatasetVersion(
            id=uuid.uuid4(),
            number=1,
            key_columns=tuple(KEYS),
            columns=tuple(
                Column(name=name, dtype=str(kind)) for name, kind in rows.schema.items() if name != "known_at"
            ),
            segments=tuple(segments),
            row_count=rows.height,
            first_data_date=days[0],
            last_data_date=days[-1],
            content_digest=content_digest(segments),
        )
        self.inputs[role] = PinnedInput(role=role, instance=f"the_{role}", version=version)

    def task(self, *, as_of: dt.datetime | None = None, **params: Any) -> Task:
        """Make what is executed."""
        return Task(
            run_id=uuid.uuid4(),
            attempt=1,
            tenant_id=1,
            instance="follows",
            flow_kind=FlowKind.BACKTEST,
            code_ref=None,
            code_digest=None,
            config={},
            params={**FREE, **params},
            seed=0,
            as_of=as_of,
            mode=None,
            standing=Standing.OFFICIAL,
            started_at=dt.datetime(2030, 1, 1, tzinfo=dt.UTC),
            current=None,
            inputs=tuple(self.inputs.values()),
        )

    def context(self, task: Task | None = None) -> RunContext:
        """Make the context of a run."""
        self.contexts.append(RunContext(task or self.task(), store=self.store, sink=self.told))
        return self.contexts[-1]

    def flow(self, **params: Any) -> tuple[Mapping[str, Any], str]:
        """Execute the whole flow; give its metrics and its report."""
        task = self.task(**params)
        result = backtest(task, simulate, self.context(task), self.store)
        [report] = [one for one in result.artifacts if one.name == "report.html"]
        return result.metrics, self.store.get(report.stored).decode()

    def run(self, **options: Any) -> Backtest:
        """Simulate it; without costs, a capital of 1000."""
        return simulate(self.context(), **{**FREE, **options})


def decided(done: Backtest) -> dict[dt.date, list[float]]:
    """Give the weights that were decided, by date."""
    simulation = done.simulation
    days = simulation.panel.dates.astype(object)
    return {days[place]: simulation.targets[place].tolist() for place in np.flatnonzero(simulation.decided)}
