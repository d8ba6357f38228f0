"""What a running flow tells: progress, metric points and log lines, one by one and in batches.

Flow code may report ten thousand times a second, so on its way a report is a plain tuple in a batch; the dataclasses
are built by whoever reads the batch.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

ProgressRow = tuple[float, str | None, float]
"""`pct, note, at`: as the fields of `Progress`, but the instant in seconds since 1970 (UTC)."""

PointRow = tuple[str, float, int | None, float]
"""`key, value, step, at`: as the fields of `MetricPoint`, but the instant in seconds since 1970 (UTC)."""

LineRow = tuple[float, str, str, str]
"""`at, level, text, stream`: as the fields of `LogLine`, but the instant in seconds since 1970 (UTC)."""


LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
"""The levels of a log line."""

STREAMS = frozenset({"log", "output", "system"})
"""The streams of a log line; what they are stands at `LogLine`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the flow says it is.

    Attributes
    ----------
    pct
        0 to 100.
    note
        What it is doing; None if it did not say.
    at
        When it said so (UTC, by the clock of the machine that executes it).
    """

    pct: float
    note: str | None
    at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPoint:
    """One value of a metric.

    Attributes
    ----------
    key
        Its name.
    value
        Finite or NaN.
    step
        Its place in a series; None for a metric that has one value.
    at
        When it was logged (UTC, by the clock of the machine that executes the flow).
    """

    key: str
    value: float
    step: int | None
    at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a run's log.

    Attributes
    ----------
    at
        When it was written (UTC, by the clock of the machine that executes the flow).
    level
        `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    text
        Without a line end, unless the flow logged several lines at once.
    stream
        `log` (written with `ctx.log`), `output` (the process's standard output and error) or `system` (the product's
        own words).
    """

    at: dt.datetime
    level: str
    text: str
    stream: str


Report = Progress | MetricPoint | LogLine
"""What flow code tells while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The reports of a fraction of a second.

    Attributes
    ----------
    progress
        The last progress; None if there was none since the batch before.
    points
        Metric points, in the order in which they were logged.
    lines
        Log lines, in the order in which they were written.
    """

    progress: ProgressRow | None = None
    points: list[PointRow] = field(default_factory=list[PointRow])
    lines: list[LineRow] = field(default_factory=list[LineRow])

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return self.progress is not None or bool(self.points) or bool(self.lines)

    def reports(self) -> list[Report]:
        """Build the dataclasses: log lines, then metric points, then the progress."""
        found: list[Report] = [
            LogLine(at=instant(at), level=level, text=text, stream=stream) for at, level, text, stream in self.lines
        ]
        found.extend(
            MetricPoint(key=key, value=value, step=step, at=instant(at)) for key, value, step, at in self.points
        )
        if self.progress is not None:
            pct, note, at = self.progress
            found.append(Progress(pct=pct, note=note, at=instant(at)))
        return found


def instant(seconds: float) -> dt.datetime:
    """Turn seconds since 1970 into an aware instant (UTC)."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
