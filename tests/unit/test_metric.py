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


def test_every_standard_metric_of_a_pipeline_run_has_a_column_in_its_extension_table() -> None:
    metrics = STANDARD_METRICS[RunType.PIPELINE]
    assert {metric.name for metric in metrics} <= set(EXTENSIONS[RunType.PIPELINE].columns.keys())


def test_no_metric_is_named_twice_for_a_type_of_run() -> None:
    for metrics in STANDARD_METRICS.values():
        names = [metric.name for metric in metrics]
        assert len(set(names)) == len(names)
