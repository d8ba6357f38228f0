"""A portfolio optimiser on the command line: on real prices, from the project file to weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import Project

DECLARED = """project: sp500
instances:
  prices: {kind: dataset, definition: "optaic.sources:sp500_prices", known_at: {lag: "close + 2h"}}
  min_variance:
    kind: portfolio_optimizer
    definition: skfolio.optimization:MeanRisk
    params: {max_weights: 0.2}
    lookback: 252
    inputs: {prices: prices}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    mine = Project(tmp_path)
    mine.run("init")
    (tmp_path / "optaic.yaml").write_text(DECLARED)
    mine.run("apply")
    return mine


def test_minimum_variance_runs_is_shown_and_refuses_what_it_does_not_know(project: Project) -> None:
    told = project.run("run", "min_variance", "--recursive").stdout
    assert "completed" in told
    run = project.last("min_variance")
    assert (run["type"], run["version"]) == ("PortfolioOptimizationRun", 1)
    # The annual volatility of 2022 of the least risky portfolio of 20 large stocks, at most a fifth in each.
    assert run["metrics"]["expected_volatility"] == pytest.approx(0.1501, abs=1e-4)
    assert run["metrics"]["solver_status"] == "optimal"
    shown = project.run("show", "min_variance@latest").stdout
    for words in ("expected_volatility", "15.01 %", "weights.parquet", "report.html"):
        assert words in shown
    status = {item["target"]: item["status"] for item in project.json("status")["items"]}
    assert status == {"min_variance": "ready", "prices": "ready"}
    refused = project.run("run", "min_variance", "--param", "max_weight=0.1", code=2).stderr
    assert "did you mean 'max_weights'?" in refused
    (project.root / "optaic.yaml").write_text(DECLARED.replace("0.2", "0.25"))
    project.run("apply")
    status = {item["target"]: item["status"] for item in project.json("status")["items"]}
    assert status == {"min_variance": "stale", "prices": "ready"}
