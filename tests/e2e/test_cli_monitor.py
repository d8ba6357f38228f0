"""Monitors on the command line: run, shown with what they found, and listed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.commands import SOURCES, Project, dataset


def test_a_monitor_is_run_and_shows_what_it_found_and_what_it_could_not_judge(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("init")
    (tmp_path / "sources.py").write_text(SOURCES)
    project.declare(dataset("prices", "prices", "monitor: {check: data_quality, columns: [close, volume]}"))
    refused = project.run("run", "prices.monitor", code=3)
    assert "prices.monitor reads prices, which has no version yet" in refused.stderr
    project.run("run", "prices")
    done = project.run("run", "prices.monitor")
    assert "files    quality.parquet, report.html" in done.stdout
    assert "the table lacks volume: warning at or above 1 (classic threshold)" in done.stdout
    (report,) = re.findall(r"^  report   (.+)$", done.stdout, re.MULTILINE)
    assert (tmp_path / report).read_text().startswith("<!doctype html>")
    assert "version" not in done.stdout, "monitors make none, and are not expected to"
    shown = project.run("show", "prices.monitor@latest").stdout
    assert report in shown
    assert "the table lacks volume: warning at or above 1 (classic threshold)" in " ".join(shown.split())
    assert "nothing lies before the 3 dates of the window" in " ".join(shown.split())
    document = project.last("prices.monitor")
    assert [(alert["severity"], alert["metric"]) for alert in document["alerts"]] == [
        ("warning", "schema_changes"),
        ("info", "outlier_pct"),
    ]
    assert (document["metrics"]["verdict"], document["version"]) == ("warning", None)
    assert "alerts" not in project.last("prices")
    listed = {item["flow_kind"]: item["status"] for item in project.json("status")["items"]}
    assert listed == {"refresh": "ready", "monitor": "ready"}
    assert [item["type"] for item in project.json("runs", "--where", "alert_count = 2")["items"]] == ["MonitoringRun"]


def test_a_monitor_that_is_taken_out_of_the_file_is_gone_and_says_what_there_is(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("init")
    (tmp_path / "sources.py").write_text(SOURCES)
    project.declare(dataset("prices", "prices", "monitor: {check: data_quality}"))
    project.declare(dataset("prices", "prices"))
    refused = project.run("run", "prices.monitor", code=2)
    assert "prices has no monitor flow; it has: refresh" in refused.stderr
