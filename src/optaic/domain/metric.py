"""The standard metrics of each run type: what they are called, what they count, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from optaic.domain.kind import RunType


class Unit(StrEnum):
    """What a metric is counted in."""

    ROWS = "rows"
    BYTES = "bytes"
    SECONDS = "seconds"
    DATE = "date"


class Better(StrEnum):
    """Which way a metric is better, where there is one."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A standard metric.

    Attributes
    ----------
    name
        Its key, in the run's metrics and in searches.
    unit
        What it is counted in.
    better
        Which way is better.
    meaning
        A sentence.
    """

    name: str
    unit: Unit
    better: Better
    meaning: str


STANDARD_METRICS: dict[RunType, tuple[Metric, ...]] = {
    RunType.PIPELINE: (
        Metric(name="rows_fetched", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows that the source returned."),
        Metric(
            name="rows_inserted", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows whose key was not there before."
        ),
        Metric(name="rows_updated", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows whose values differ."),
        Metric(
            name="rows_deleted",
            unit=Unit.ROWS,
            better=Better.NEITHER,
            meaning="Rows that the source no longer has; found by full refreshes only.",
        ),
        Metric(name="rows_unchanged", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows that were the same."),
        Metric(
            name="last_data_date",
            unit=Unit.DATE,
            better=Better.HIGHER,
            meaning="The last event date of the dataset after the refresh.",
        ),
        Metric(
            name="duration_seconds",
            unit=Unit.SECONDS,
            better=Better.LOWER,
            meaning="From the start of the first attempt to the completion, by the database's clock.",
        ),
        Metric(
            name="bytes_processed",
            unit=Unit.BYTES,
            better=Better.NEITHER,
            meaning="Size in memory of the table that the source returned.",
        ),
    ),
}
"""By run type; the types that this version does not execute yet have none."""
