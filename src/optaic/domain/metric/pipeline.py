"""The standard metrics of a PipelineRun."""

from __future__ import annotations

from optaic.domain.metric.definition import Better, Metric, Unit

PIPELINE = (
    Metric(name="rows_fetched", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows that the source returned."),
    Metric(name="rows_inserted", unit=Unit.ROWS, better=Better.NEITHER, meaning="Rows whose key was not there before."),
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
)
