"""What a project file may say of a monitor, and where exactly it is wrong when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from optaic.domain.kind import FlowKind
from optaic.errors import ProjectFileError
from optaic.project import InputSpec, Project, read_project

PRICES = """project: p
instances:
  prices:
    kind: dataset
    definition: sources:prices
    monitor: {check: data_quality, window: 63}
"""


def read(folder: Path, text: str) -> Project:
    path = folder / "optaic.yaml"
    path.write_text(text)
    return read_project(path)


def test_a_monitor_is_a_flow_that_reads_what_its_instance_has_published(tmp_path: Path) -> None:
    [spec] = read(tmp_path, PRICES).instances
    assert list(spec.flow_inputs) == [FlowKind.REFRESH, FlowKind.MONITOR]
    assert spec.flow_inputs[FlowKind.MONITOR] == (InputSpec(role="subject", instance="prices"),)
    assert spec.config["monitor"] == [{"check": "data_quality", "window": 63}]


def test_a_threshold_is_one_number_that_warns_or_one_for_each_severity(tmp_path: Path) -> None:
    declared = "{missing_pct: 0.1, gap_count: {warning: 2, critical: 4}, overdue_hours: {critical: 9}}"
    [spec] = read(tmp_path, PRICES.replace("window: 63", f"thresholds: {declared}")).instances
    assert spec.config["monitor"] == [
        {
            "check": "data_quality",
            "window": 63,
            "thresholds": {
                "missing_pct": {"warning": 0.1},
                "gap_count": {"warning": 2.0, "critical": 4.0},
                "overdue_hours": {"critical": 9.0},
            },
        }
    ]


@pytest.mark.parametrize(
    ("declared", "problem", "step"),
    [
        ("{window: 3}", "monitor does not say what to check", "add check: data_quality"),
        ("{check: data_qality}", "did you mean 'data_quality'?", "its checks: data_quality"),
        ("{check: model_drift}", "a dataset has no check 'model_drift'", "its checks: data_quality"),
        ("{check: data_quality, window: 0}", "window must be an integer from 1", None),
        ("{check: data_quality, thresholds: {psi: 1}}", "thresholds has no field 'psi'", "its fields: missing_pct"),
        ("{check: data_quality, thresholds: {gap_count: many}}", "must be a number", "write a number"),
        (
            "{check: data_quality, thresholds: {gap_count: {warning: 5, critical: 2}}}",
            "critical of gap_count is below warning",
            "swap the two",
        ),
        ("{check: data_quality, calendar: XNIS}", "is not a calendar", "use an exchange's code"),
        ("[{check: data_quality}, {check: data_quality}]", "has the check data_quality twice", "put it into one"),
        ("{check: data_quality, mads: -1}", "mads must be above 0", None),
    ],
)
def test_a_monitor_that_is_declared_wrongly_is_refused_at_its_place(
    tmp_path: Path, declared: str, problem: str, step: str | None
) -> None:
    with pytest.raises(ProjectFileError) as caught:
        read(tmp_path, PRICES.replace("{check: data_quality, window: 63}", declared))
    assert problem in caught.value.message
    assert ":6:" in caught.value.message
    assert step is None or step in (caught.value.next_step or "")


def test_a_monitor_is_nothing_that_others_could_read(tmp_path: Path) -> None:
    copy = '  copy: {kind: dataset, definition: "sources:prices", inputs: {a: prices.monitor}}\n'
    with pytest.raises(ProjectFileError, match=r"reads prices\.monitor, which publishes nothing"):
        read(tmp_path, PRICES + copy)


def test_an_experiment_has_no_monitor(tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match="has no field 'monitor'"):
        read(tmp_path, PRICES.replace("kind: dataset", "kind: experiment"))
