"""A backtest that follows an optimiser: fitted anew at each rebalance, to what was known then, on what is held."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import optaic
from optaic.backtesting import Backtest
from optaic.cli.figure import print_metrics
from optaic.errors import ProjectFileError
from tests.research import Research, open_research

LOOKBACK = 60

PRICES = """
  prices: {kind: dataset, definition: "sources:prices", known_at: {lag: close, calendar: weekdays}}
"""

INVERSE = (
    PRICES
    + """
  inverse:
    kind: portfolio_optimizer
    definition: skfolio.optimization:InverseVolatility
    lookback: 60
    calendar: weekdays
    inputs: {prices: prices}
  follows:
    kind: backtest
    inputs: {optimizer: inverse, prices: prices}
    config: {start: 2021-02-01, end: 2022-06-30, rebalance: monthly, calendar: weekdays}
"""
)

Floats = npt.NDArray[np.float64]


@pytest.fixture
def research(tmp_path: Path, database_url: str) -> Iterator[Research]:
    with open_research(tmp_path / "project", database_url) as opened:
        opened.declare(INVERSE)
        yield opened


@pytest.fixture
def lone(tmp_path: Path, sqlite_url: str) -> Iterator[Research]:
    """Where the database makes no difference."""
    with open_research(tmp_path / "project", sqlite_url) as opened:
        opened.declare(INVERSE)
        yield opened


def wide(prices: pl.DataFrame) -> tuple[list[dt.date], list[str], Floats]:
    """Give sessions, names and closes; NaN where there is none."""
    table = prices.pivot("symbol", index="date", values="close").sort("date")
    return table["date"].to_list(), table.columns[1:], table.drop("date").to_numpy()


def work_out(prices: pl.DataFrame, *, start: dt.date, end: dt.date) -> Backtest:
    """Weigh by inverse volatility of the lookback at each month's end, and simulate the weights that come out."""
    days, names, closes = wide(prices.filter(pl.col("date") <= end))
    rows: list[dict[str, Any]] = []
    for place, day in enumerate(days[:-1]):
        if day < start or day.month == days[place + 1].month or place < LOOKBACK:
            continue
        window = closes[place - LOOKBACK : place + 1]
        deviation = (window[1:] / window[:-1] - 1).std(axis=0, ddof=1)
        inverse = np.where(np.isfinite(deviation), 1 / deviation, 0.0)
        weights = inverse / inverse.sum()
        rows += [{"date": day, "symbol": name, "weight": weights[at]} for at, name in enumerate(names)]
    return optaic.backtest(
        weights=pl.DataFrame(rows),
        prices=prices.filter(pl.col("date").is_between(start, end)).select("date", "symbol", "close"),
        sessions_per_year=260,
    )


def test_a_backtest_follows_an_optimiser_as_if_its_weights_had_been_worked_out_by_hand(
    lone: Research, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = lone.ledger.run("follows", recursive=True)
    assert (run.status, run.type, run.version) == ("completed", "BacktestRun", 1), run.reason
    start, end = dt.date(2021, 2, 1), dt.date(2022, 6, 30)
    plain = work_out(lone.ledger.data("prices"), start=start, end=end)
    ours, theirs = run.frame("equity_curve"), plain.equity_curve
    assert ours["date"].to_list() == theirs["date"].to_list()
    assert np.abs(ours["value"].to_numpy() / theirs["value"].to_numpy() - 1).max() < 1e-12
    for name in ("sharpe_ratio", "turnover", "num_trades", "information_ratio"):
        assert run.metrics[name] == pytest.approx(plain.metrics[name], rel=1e-9)
    slices = {item.role: (str(item.first_date), str(item.last_date)) for item in run.inputs}
    assert slices["optimizer"] == ("None", "2022-05-31")
    assert slices["prices"][1] == "2022-06-30"

    # Two decisions of the first months had no whole lookback, and none failed: said in figures, report and comparison.
    said = "inverse version 1, skfolio.optimization:InverseVolatility, lookback 60 sessions"
    counts = {"optimizer": said, "failed_solves": 0, "fallbacks": 0, "skipped_decisions": 1}
    assert {name: run.metrics[name] for name in counts} == counts
    monkeypatch.setenv("COLUMNS", "100")
    print_metrics(run)
    *figures, sentence = capsys.readouterr().out.splitlines()
    assert max(map(len, figures)) <= 100, "what is long takes no room of the figures"
    assert sentence == f"optimizer  {said}"
    report = run.artifact("report.html").decode()
    assert said in report
    assert "0 failed, 0 fallbacks used" in report
    again = lone.ledger.reproduce(run.id)
    assert again.status == "completed", again.reason
    assert again.comparison is not None
    assert (again.comparison["verdict"], again.comparison["largest_difference"]) == ("identical", 0.0)
    rows = {(row["section"], row["name"]): row["values"] for row in lone.ledger.diff(run.id, again.id)["rows"]}
    assert rows["metrics", "optimizer"] == [said, said]
    assert rows["metrics", "failed_solves"] == [0, 0]
    assert rows["inputs", "optimizer"] == ["inverse.optimize version 1"] * 2


@pytest.mark.slow
def test_what_an_optimiser_decides_today_leaves_a_backtest_ready_and_how_it_decides_does_not(
    research: Research,
) -> None:
    (research.root / "days").write_text("450")
    first = research.ledger.run("follows", recursive=True)
    assert first.status == "completed", first.reason
    # New prices, and a later decision of the same optimiser.
    (research.root / "days").write_text("500")
    research.ledger.run("prices")
    assert research.freshness() == {"prices": "ready", "inverse": "stale", "follows": "ready"}
    assert research.ledger.run("inverse").version == 2
    assert research.freshness() == {"prices": "ready", "inverse": "ready", "follows": "ready"}
    # The date on which it decides by itself is its own affair.
    dated = INVERSE.replace("lookback: 60", "lookback: 60\n    date: 2022-11-30")
    research.declare(dated)
    assert research.ledger.run("inverse").version == 3
    assert research.freshness()["follows"] == "ready"
    # With another lookback all of the backtest's decisions may be others.
    research.declare(dated.replace("lookback: 60", "lookback: 40"))
    assert research.freshness()["follows"] == "stale"
    assert research.ledger.run("inverse").version == 4
    assert research.freshness() == {"prices": "ready", "inverse": "ready", "follows": "stale"}
    causes = [cause["detail"] for cause in research.ledger.why("follows")["causes"]]
    assert causes == ["inverse has published version 4 since"]
    run = research.ledger.run("follows")
    assert (run.status, run.version) == ("completed", 2), run.reason
    assert research.freshness()["follows"] == "ready"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("optimizer: inverse,", "optimizer: prices,"),
            "follows reads prices as its optimizer, and it is none",
        ),
        (("optimizer: inverse,", "signal: inverse,"), "follows reads rows of inverse, and optimize makes files"),
        (
            ("optimizer: inverse,", "optimizer: inverse, signal: prices,"),
            "needs one of signal, weights and optimizer as an input",
        ),
        (
            (
                "inputs: {optimizer: inverse, prices: prices}",
                "inputs: {signal: prices, prices: prices, groups: prices}",
            ),
            "has no use for groups without an optimizer",
        ),
        (
            ("optimizer: inverse, prices: prices", "optimizer: inverse, prices: prices, groups: prices"),
            "follows reads groups, and its optimizer inverse has no use for it",
        ),
        (
            (
                "    inputs: {prices: prices}",
                "    target: {unit: return}\n    inputs: {prices: prices, expected_returns: 'prices[close]'}",
            ),
            "inverse reads expected_returns, and follows, which refits it at each rebalance, does not",
        ),
    ],
)
def test_what_a_backtest_cannot_follow_is_refused_before_anything_is_written(
    lone: Research, change: tuple[str, str], said: str
) -> None:
    before = lone.freshness()
    with pytest.raises(ProjectFileError) as caught:
        lone.declare(INVERSE.replace(*change) + "  more: {kind: dataset, definition: 'sources:prices'}\n")
    assert said in caught.value.message
    assert lone.freshness() == before
