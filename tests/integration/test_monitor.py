"""Monitors, from the project file to alerts: what they find, what they cannot judge, and who is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from optaic.errors import NotFoundError, UpstreamNotReadyError
from optaic.handle import RunHandle
from optaic.ledger.tables import activities, alerts, monitoring_runs
from tests.research import Research, open_research

PRICES = """
  prices:
    kind: dataset
    definition: "monitored:prices"
    known_at: {lag: "close + 2h", calendar: weekdays}
    monitor: {check: data_quality, window: 63}
"""

SOURCE = '''
"""Prices that a file beside this spoils in their last sessions."""

from pathlib import Path

import polars as pl

import sources


def prices(ctx):
    frame = sources.prices(ctx)
    how = Path("spoiled").read_text() if Path("spoiled").exists() else ""
    dates = frame["date"].unique().sort()
    late = pl.col("date") >= dates[-20]
    if how == "missing":
        frame = frame.with_columns(pl.when(late).then(None).otherwise(pl.col("close")).alias("close"))
    if how == "decimal point":
        wrong = (pl.col("date") == dates[-10]) & (pl.col("symbol") == "S03")
        frame = frame.with_columns(pl.when(wrong).then(pl.col("close") * 100).otherwise(pl.col("close")).alias("close"))
    if how == "stands still":
        last = frame.filter(pl.col("date") == dates[-21]).select("symbol", last="close")
        frame = frame.join(last, on="symbol").with_columns(pl.when(late).then("last").otherwise("close").alias("close"))
        frame = frame.drop("last")
    if how == "gap":
        frame = frame.filter(pl.col("date") != dates[-10])
    if how == "empty":
        frame = frame.clear()
    return frame
'''


@pytest.fixture
def research(tmp_path: Path, database_url: str) -> Iterator[Research]:
    with open_research(tmp_path / "project", database_url) as opened:
        (opened.root / "monitored.py").write_text(SOURCE)
        opened.declare(PRICES)
        yield opened


def found(run: RunHandle) -> Sequence[Mapping[str, Any]]:
    assert run.status == "completed", run.reason
    return run.alerts


def check(research: Research, how: str = "") -> RunHandle:
    (research.root / "spoiled").write_text(how)
    research.ledger.run("prices", mode="full")
    return research.ledger.run("prices.monitor")


def test_sound_prices_are_ok_and_the_figures_say_what_was_looked_at(research: Research) -> None:
    run = check(research)
    assert (run.type, run.status, run.version) == ("MonitoringRun", "completed", None), run.reason
    assert found(run) == []
    assert run.metrics["verdict"] == "ok"
    assert run.metrics["rows_checked"] == 63 * 30
    assert run.metrics["missing_pct"] == 0.0
    assert run.metrics["gap_count"] == 0
    assert run.metrics["duplicate_pct"] == 0.0
    assert run.metrics["staleness_hours"] > 24
    assert run.frame("quality")["column"].to_list() == ["close"]
    assert b"verdict: ok" in run.artifact("report.html")
    assert [(item.role, item.instance, item.version) for item in run.inputs] == [("subject", "prices", 1)]


@pytest.mark.parametrize(
    ("how", "metric", "value", "severity"),
    [
        ("missing", "missing_pct[close]", 20 / 63, "critical"),
        ("decimal point", "outlier_mads[close]", None, "warning"),
        ("stands still", "duplicate_pct", 20 / 63, "warning"),
        ("gap", "gap_count", 1.0, "warning"),
    ],
)
def test_spoiled_prices_raise_the_alert_that_names_what_is_wrong(
    research: Research, how: str, metric: str, value: float | None, severity: str
) -> None:
    run = check(research, how)
    raised = found(run)
    assert [(alert["metric"], alert["severity"]) for alert in raised] == [(metric, severity)]
    assert value is None or raised[0]["value"] == pytest.approx(value, rel=1e-12)
    assert raised[0]["threshold"] <= raised[0]["value"]
    assert raised[0]["message"].endswith("(classic threshold)")
    assert run.metrics["verdict"] == severity
    assert raised[0]["message"].encode() in run.artifact("report.html")


def test_alerts_are_rows_and_activities_of_the_run_that_found_them(research: Research) -> None:
    run = check(research, "missing")
    with research.ledger.runtime.database.read() as tx:
        [row] = tx.conn.execute(select(alerts).where(alerts.c.run_id == run.id)).all()
        [told] = tx.conn.execute(select(activities).where(activities.c.verb == "alert.raised")).all()
        noted = tx.conn.execute(select(monitoring_runs).where(monitoring_runs.c.run_id == run.id)).one()
    assert (row.severity, row.kind, row.metric) == ("critical", "data_quality", "missing_pct[close]")
    assert (row.flow_id, row.acknowledged_at) == (run.record.flow_id, None)
    assert (told.resource_type, told.resource_id) == ("alert", str(row.id))
    assert (told.payload["run_id"], told.payload["message"]) == (str(run.id), row.message)
    assert (noted.monitor, noted.verdict, noted.alert_count) == ("data_quality", "critical", 1)
    assert noted.alerts_json[0]["value"] == row.value
    assert (str(noted.window_end), str(noted.reference_start)) == ("2022-12-02", "2021-01-04")


def test_a_monitor_is_run_after_what_it_needs_and_not_again_where_nothing_is_new(research: Research) -> None:
    run = research.ledger.run("prices.monitor", recursive=True)
    assert run.metrics["verdict"] == "ok"
    assert research.freshness() == {"prices": "ready", "prices.monitor": "ready"}
    (research.root / "days").write_text("499")
    research.ledger.run("prices", mode="full")
    assert research.freshness() == {"prices": "ready", "prices.monitor": "stale"}


def test_a_trial_finds_the_same_and_alarms_nobody(research: Research) -> None:
    check(research, "missing")
    run = research.ledger.run("prices.monitor", as_of="2030-01-01T00:00:00Z")
    assert run.standing == "trial"
    assert [alert["metric"] for alert in found(run)] == ["missing_pct[close]"]
    with research.ledger.runtime.database.read() as tx:
        assert tx.conn.execute(select(alerts).where(alerts.c.run_id == run.id)).all() == []


def test_a_monitor_is_reproduced_identically(research: Research) -> None:
    run = check(research, "missing")
    again = research.ledger.reproduce(run.id)
    assert again.comparison is not None
    assert (again.comparison["verdict"], again.comparison["places"]) == ("identical", [])


def test_what_cannot_be_judged_is_no_verdict_and_says_why(research: Research) -> None:
    (research.root / "days").write_text("40")
    run = check(research)
    assert run.metrics["verdict"] == "no_verdict"
    [alert] = found(run)
    assert (alert["severity"], alert["metric"]) == ("info", "outlier_pct")
    assert "nothing lies before the 40 dates of the window" in alert["message"]


def test_declared_thresholds_take_the_place_of_the_classic_ones(research: Research) -> None:
    research.declare(
        PRICES.replace("window: 63", "window: 21, mads: 3, thresholds: {missing_pct: {critical: 0.99}, gap_count: 9}")
    )
    run = check(research, "missing")
    assert run.metrics["missing_pct"] == pytest.approx(20 / 21, rel=1e-12)
    assert run.metrics["verdict"] == "ok"


def test_columns_that_are_declared_and_not_there_are_a_change_of_the_schema(research: Research) -> None:
    research.declare(PRICES.replace("window: 63", "columns: [close, volume]"))
    run = check(research)
    [alert] = found(run)
    assert (alert["metric"], alert["value"]) == ("schema_changes", 1.0)
    assert alert["message"].startswith("the table lacks volume: warning")


def test_a_monitor_looks_also_at_data_that_are_stale_and_needs_a_version(research: Research) -> None:
    with pytest.raises(UpstreamNotReadyError, match="has no version yet"):
        research.ledger.run("prices.monitor")
    research.ledger.run("prices")
    research.declare(
        PRICES + "    freshness: {frequency: daily, calendar: weekdays}\n"
    )  # of 2022, and so overdue ever since
    assert research.freshness()["prices"].startswith("stale")
    run = research.ledger.run("prices.monitor")
    assert [alert["metric"] for alert in found(run)] == ["overdue_hours"]
    assert run.metrics["overdue_hours"] > 1000
    assert run.metrics["verdict"] == "critical"


def test_a_monitor_comes_and_goes_with_its_declaration_and_makes_nothing_else_stale(research: Research) -> None:
    check(research)
    assert research.freshness() == {"prices": "ready", "prices.monitor": "ready"}
    research.declare(PRICES.replace("window: 63", "window: 21"))
    assert research.freshness() == {"prices": "ready", "prices.monitor": "ready"}
    research.declare(PRICES.replace("    monitor: {check: data_quality, window: 63}\n", ""))
    assert research.freshness() == {"prices": "ready"}
    with pytest.raises(NotFoundError, match="prices has no monitor flow"):
        research.ledger.run("prices.monitor")
    research.declare(PRICES)
    assert research.freshness() == {"prices": "ready", "prices.monitor": "ready"}
    assert research.ledger.run("prices.monitor").metrics["verdict"] == "ok"
    assert len(research.ledger.runs(type="MonitoringRun")) == 2


BACKTEST = """
  prices: {kind: dataset, definition: "sources:prices", known_at: {lag: "close + 2h"}}
  momentum:
    kind: dataset
    expression: "CS_ZSCORE(close / TS_REF(close, 20) - 1)"
    inputs: {close: "prices[close]"}
  backtest:
    kind: backtest
    inputs: {signal: momentum, prices: prices}
    config: {start: 2021-02-01, end: 2022-06-30, rebalance: monthly, top: 0.2, adjusted: true, calendar: weekdays}
    monitor: {check: performance, window: 126, thresholds: {volatility: 0.001, max_drawdown: {critical: -0.99}}}
"""


def test_a_backtest_is_watched_by_the_thresholds_that_are_declared(research: Research) -> None:
    (research.root / "optaic.yaml").write_text("project: research\n")
    research.declare(BACKTEST)
    backtest = research.ledger.run("backtest", recursive=True)
    assert research.freshness()["backtest.monitor"] == "not_initialized"
    run = research.ledger.run("backtest.monitor")
    returns = backtest.frame("returns")["return"].to_numpy()[-126:]
    [alert] = found(run)
    assert (alert["metric"], alert["severity"], alert["threshold"]) == ("volatility", "warning", 0.001)
    assert alert["value"] == pytest.approx(np.sqrt(260) * returns.std(ddof=1), rel=1e-12)
    assert alert["message"].endswith("warning at or above 0.1 % (declared threshold)")
    assert run.metrics["total_return"] == pytest.approx(np.prod(1 + returns) - 1, abs=1e-12)
    assert (run.metrics["window_sessions"], run.metrics["verdict"]) == (126, "warning")
    assert research.freshness()["backtest.monitor"] == "ready"
    research.declare(BACKTEST[: BACKTEST.index(", thresholds")] + "}\n")
    run = research.ledger.run("backtest.monitor")
    assert run.metrics["verdict"] == "no_verdict"
    assert "no threshold is declared" in found(run)[0]["message"]
