"""The standard metrics: named once, kept in columns of their own, and really reported."""

from __future__ import annotations

from optaic.domain.kind import RunType
from optaic.domain.metric import STANDARD_METRICS
from optaic.ledger.tables import EXTENSIONS


def test_a_pipeline_run_has_the_eight_standard_metrics() -> None:
    assert [metric.name for metric in STANDARD_METRICS[RunType.PIPELINE]] == [
        "rows_fetched",
        "rows_inserted",
        "rows_updated",
        "rows_deleted",
        "rows_unchanged",
        "last_data_date",
        "duration_seconds",
        "bytes_processed",
    ]


def test_every_standard_metric_has_a_column_in_the_extension_table_of_its_type() -> None:
    for run_type, metrics in STANDARD_METRICS.items():
        assert {metric.name for metric in metrics} <= set(EXTENSIONS[run_type].columns.keys())
