"""A portfolio optimiser from project file to weights: exact inputs, honest ends, and stale when it should be."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from skfolio.optimization import MeanRisk

from optaic.domain.kind import RunType
from optaic.errors import InvalidInputError, ProjectFileError
from optaic.ledger.tables import EXTENSIONS
from tests.research import Research, open_research

PRICES = """
  prices: {kind: dataset, definition: "sources:prices", known_at: {lag: "close + 2h"}}
"""

MINIMUM = (
    PRICES
    + """
  minimum:
    kind: portfolio_optimizer
    definition: skfolio.optimization:MeanRisk
    params: {max_weights: 0.1}
    lookback: 120
    inputs: {prices: prices}
    calendar: weekdays
"""
)


@pytest.fixture
def research(tmp_path: Path, database_url: str) -> Iterator[Research]:
    with open_research(tmp_path / "project", database_url) as opened:
        opened.declare(MINIMUM)
        yield opened


def returns_of(research: Research, sessions: int, *, last: dt.date = dt.date.max) -> pl.DataFrame:
    """Give the last returns of all names up to a date: a column for each."""
    close = research.ledger.data("prices").filter(pl.col("date") <= last)
    wide = close.pivot("symbol", index="date", values="close").sort("date").tail(sessions + 1).drop("date")
    return wide.select(pl.all().pct_change()).tail(sessions)


def test_an_optimiser_runs_from_project_file_to_weights_moments_metrics_and_a_report(research: Research) -> None:
    run = research.ledger.run("minimum", recursive=True)
    assert (run.status, run.type, run.version) == ("completed", "PortfolioOptimizationRun", 1), run.reason
    weights = run.frame("weights")
    returns = returns_of(research, 120)
    assert weights["symbol"].to_list() == returns.columns
    direct = MeanRisk(max_weights=0.1).fit(returns.to_numpy())
    assert np.abs(weights["weight"].to_numpy() - direct.weights_).max() < 1e-10
    assert {str(date) for date in weights["date"]} == {"2022-12-02"}
    covariance = np.cov(returns.to_numpy(), rowvar=False) * 260
    stored = run.frame("covariance")["covariance"].to_numpy().reshape(30, 30)
    assert np.abs(stored - covariance).max() < 1e-12
    held = weights["weight"].to_numpy()
    assert run.metrics["expected_volatility"] == pytest.approx(np.sqrt(held @ covariance @ held), rel=1e-10)
    assert run.metrics["expected_return"] == pytest.approx(held @ returns.mean().to_numpy()[0] * 260, rel=1e-10)
    assert run.metrics["effective_n"] == pytest.approx(1 / (held**2).sum(), rel=1e-6)
    assert (run.metrics["solver_status"], run.metrics["fallback"]) == ("optimal", "none")
    assert run.metrics["constraint_residual"] <= 1e-6
    assert run.metrics["iterations"] > 0
    report = run.artifact("report.html").decode()
    assert "sum of weights = 1" in report
    assert "Constraint broken" not in report
    found = research.ledger.runs(type="PortfolioOptimizationRun", where="effective_n > 2")
    assert [one.id for one in found] == [run.id]


def test_what_was_decided_stands_in_the_ledger(research: Research) -> None:
    run = research.ledger.run("minimum", recursive=True)
    with research.ledger.runtime.database.read() as tx:
        table = EXTENSIONS[RunType.PORTFOLIO_OPTIMIZATION]
        row = tx.conn.execute(table.select().where(table.c.run_id == run.id)).one()
    assert (row.objective, row.lookback_sessions, row.asset_count) == ("MeanRisk", 120, 30)
    assert (row.solver_status, row.fallback) == ("optimal", None)
    assert set(row.residuals) == {"budget", "max_weights", "min_weights"}
    assert row.effective_n == run.metrics["effective_n"]
    assert row.decision_at is not None


def test_the_same_again_makes_no_new_version_and_new_prices_or_params_do(research: Research) -> None:
    (research.root / "days").write_text("450")
    assert research.ledger.run("minimum", recursive=True).version == 1
    again = research.ledger.run("minimum")
    assert (again.status, again.version) == ("completed", None)
    (research.root / "days").write_text("500")
    research.ledger.run("prices")
    assert research.freshness() == {"minimum": "stale", "prices": "ready"}
    assert research.ledger.run("minimum").version == 2
    research.declare(MINIMUM.replace("max_weights: 0.1", "max_weights: 0.2"))
    assert research.freshness()["minimum"] == "stale"
    assert research.ledger.run("minimum").version == 3
    research.declare(MINIMUM.replace("max_weights: 0.1", "max_weights: 0.2").replace("lookback: 120", "lookback: 60"))
    assert research.freshness()["minimum"] == "stale"
    trial = research.ledger.run("minimum", params={"max_weights": 0.3}, force=True)
    assert (trial.standing, trial.version) == ("trial", None)


def test_a_corrected_price_counts_within_the_lookback_and_not_before(research: Research) -> None:
    research.ledger.run("minimum", recursive=True)
    for session, version in (("10", None), ("450", 2)):
        (research.root / "correction").write_text(session)
        research.ledger.run("prices", mode="full")
        assert research.freshness()["minimum"] == "stale"
        assert research.ledger.run("minimum").version == version
        assert research.freshness()["minimum"] == "ready"


def test_a_decision_of_the_past_sees_what_was_known_then_and_stays_ready(research: Research) -> None:
    dated = MINIMUM + "    date: 2022-06-30\n"
    research.declare(dated)
    run = research.ledger.run("minimum", recursive=True)
    assert run.status == "completed", run.reason
    direct = MeanRisk(max_weights=0.1).fit(returns_of(research, 120, last=dt.date(2022, 6, 30)).to_numpy())
    assert np.abs(run.frame("weights")["weight"].to_numpy() - direct.weights_).max() < 1e-10
    # A correction of a price of that time is known only now.
    (research.root / "correction").write_text("380")
    research.ledger.run("prices", mode="full")
    after = research.ledger.run("minimum", force=True)
    assert (after.status, after.version) == ("completed", None)
    slices = {item.role: str(item.last_date) for item in run.inputs}
    assert slices == {"prices": "2022-06-30"}


def test_a_decision_after_the_last_price_is_refused(research: Research) -> None:
    research.declare(MINIMUM + "    date: 2022-12-06\n")
    run = research.ledger.run("minimum", recursive=True)
    assert run.status == "failed"
    assert "decides on 2022-12-06, and what it sees of prices ends on 2022-12-02" in (run.reason or "")


def test_a_decision_of_a_time_when_nothing_was_known_fails_and_says_so(research: Research) -> None:
    research.declare(MINIMUM.replace(', known_at: {lag: "close + 2h"}', "") + "    date: 2022-06-30\n")
    run = research.ledger.run("minimum", recursive=True)
    assert run.status == "failed"
    assert "[nothing_known]" in (run.reason or "")


def test_constraints_that_cannot_be_kept_fail_the_run_with_their_residuals(research: Research) -> None:
    research.declare(MINIMUM.replace("max_weights: 0.1", "max_weights: 0.03"))
    run = research.ledger.run("minimum", recursive=True)
    assert (run.status, run.version) == ("failed", None)
    assert "[solver_failed]" in (run.reason or "")
    assert "infeasible" in (run.reason or "")
    assert "the nearest weights break" in (run.reason or "")
    assert run.metrics["constraint_residual"] > 1e-3
    assert "residual_budget" in run.metrics


def test_a_declared_fallback_completes_the_run_and_is_recorded(research: Research) -> None:
    research.declare(MINIMUM.replace("max_weights: 0.1", "max_weights: 0.03") + "    fallback: equal_weight\n")
    run = research.ledger.run("minimum", recursive=True)
    assert run.status == "completed", run.reason
    assert run.frame("weights")["weight"].to_list() == pytest.approx([1 / 30] * 30, rel=1e-12)
    assert (run.metrics["solver_status"], run.metrics["fallback"]) == ("infeasible", "equal_weight")
    assert run.metrics["constraint_residual"] == pytest.approx(1 / 30 - 0.03, rel=1e-9)
    assert any("each weight <= 0.03 by" in str(line) for line in run.logs())
    report = run.artifact("report.html").decode()
    assert "the declared fallback" in report
    assert "Constraint broken: each weight &lt;= 0.03" in report


def test_a_lookback_longer_than_the_history_is_explained(research: Research) -> None:
    research.declare(MINIMUM.replace("lookback: 120", "lookback: 600"))
    run = research.ledger.run("minimum", recursive=True)
    assert run.status == "failed"
    assert "601 sessions of prices are needed; prices has 500" in (run.reason or "")


INPUTS = '''

def sides(ctx):
    """Two sectors, and who is a member: all but the first five names."""
    names = [f"S{number:02d}" for number in range(30)]
    sector = ["early" if number < 15 else "late" for number in range(30)]
    return pl.DataFrame({"date": [dt.date(2021, 1, 4)] * 30, "symbol": names, "sector": sector})


def members(ctx):
    names = [f"S{number:02d}" for number in range(30)]
    return pl.DataFrame(
        {"date": [dt.date(2021, 1, 4)] * 30, "symbol": names, "member": [number >= 5 for number in range(30)]}
    )


def scores(ctx):
    sessions, values = panel()
    return long(sessions[-1:], np.linspace(-1, 1, 30)[None, :], "score")


def held(ctx):
    names = [f"S{number:02d}" for number in range(30)]
    return pl.DataFrame({"date": [dt.date(2022, 11, 1)] * 30, "symbol": names, "weight": [1 / 30] * 30})


def seen(ctx):
    """Predictions whose fit had seen their dates."""
    names = [f"S{number:02d}" for number in range(30)]
    dates = {"date": [dt.date(2022, 12, 2)] * 30, "label_end": [dt.date(2022, 12, 9)] * 30}
    return pl.DataFrame({**dates, "symbol": names, "prediction": [0.1] * 30})


class Leader:
    """All in the name that rose most."""

    def __init__(self, share: float = 1.0):
        self.share = share

    def get_params(self, deep=True):
        return {"share": self.share}

    def set_params(self, **params):
        self.__dict__.update(params)
        return self

    def fit(self, X, y=None):
        best = X.to_numpy().sum(axis=0).argmax()
        self.weights_ = [self.share if place == best else 0.0 for place in range(X.shape[1])]
        return self
'''

EVERYTHING = (
    PRICES
    + """
  sides: {kind: dataset, definition: "sources:sides"}
  members: {kind: dataset, definition: "sources:members"}
  scores: {kind: dataset, definition: "sources:scores"}
  held: {kind: dataset, definition: "sources:held"}
  best:
    kind: portfolio_optimizer
    definition: skfolio.optimization:MeanRisk
    params: {objective_function: MAXIMIZE_UTILITY, linear_constraints: ["early <= 0.4"], max_weights: 0.2}
    lookback: 120
    calendar: weekdays
    inputs:
      prices: prices
      groups: sides
      universe: members
      expected_returns: "scores[score]"
      previous_weights: held
    target: {unit: score, ic: 0.1, horizon: 21}
    constraints: {turnover: 0.5}
"""
)


def test_groups_members_expected_returns_and_previous_weights_are_inputs(research: Research) -> None:
    sources = research.root / "sources.py"
    sources.write_text(sources.read_text() + INPUTS)
    research.declare(EVERYTHING)
    run = research.ledger.run("best", recursive=True)
    assert run.status == "completed", run.reason
    weights = dict(run.frame("weights").select("symbol", "weight").iter_rows())
    assert min(weights) == "S05"
    assert sum(weight for symbol, weight in weights.items() if symbol < "S15") <= 0.4 + 1e-6
    # What was held drifts to the decision; five of the names are members no more, and must be sold.
    prices = research.ledger.data("prices")
    first, last = (
        dict(prices.filter(pl.col("date") == day).select("symbol", "close").iter_rows())
        for day in (dt.date(2022, 11, 1), dt.date(2022, 12, 2))
    )
    grown = {symbol: last[symbol] / first[symbol] for symbol in first}
    drifted = {symbol: growth / sum(grown.values()) for symbol, growth in grown.items()}
    turnover = sum(abs(weights.get(symbol, 0.0) - weight) for symbol, weight in drifted.items()) / 2
    assert run.metrics["turnover"] == pytest.approx(turnover, rel=1e-9)
    assert turnover <= 0.5 + 1e-6
    # 0.1 x volatility over 21 sessions x score, a year.
    returns = returns_of(research, 120)
    means = dict(run.frame("expected_returns").select("symbol", "expected_return").iter_rows())
    expected = 0.1 * np.std(returns["S29"].to_numpy(), ddof=1) * 1.0 / np.sqrt(21) * 260
    assert means["S29"] == pytest.approx(expected, rel=1e-10)


def test_in_sample_predictions_are_no_expected_returns(research: Research) -> None:
    sources = research.root / "sources.py"
    sources.write_text(sources.read_text() + INPUTS)
    research.declare(
        MINIMUM.replace("{prices: prices}", "{prices: prices, expected_returns: seen}")
        + "    target: {unit: return}\n"
        + '  seen: {kind: dataset, definition: "sources:seen"}\n'
    )
    run = research.ledger.run("minimum", recursive=True)
    assert run.status == "failed"
    assert "[in_sample_input]" in (run.reason or "")
    assert "had seen labels up to 2022-12-09" in (run.reason or "")


def test_the_weights_of_another_optimiser_can_be_the_previous_ones(research: Research) -> None:
    follows = MINIMUM[len(PRICES) :].replace("minimum:", "follows:")
    follows = follows.replace("{prices: prices}", "{prices: prices, previous_weights: minimum}")
    research.declare(
        MINIMUM + follows.replace("max_weights: 0.1", "max_weights: 0.5") + "    constraints: {turnover: 0.05}\n"
    )
    run = research.ledger.run("follows", recursive=True)
    assert run.status == "completed", run.reason
    before = research.ledger.runs(instance="minimum")[0].frame("weights")["weight"].to_numpy()
    after = run.frame("weights")["weight"].to_numpy()
    assert np.abs(after - before).sum() / 2 == pytest.approx(run.metrics["turnover"], abs=1e-9)
    assert run.metrics["turnover"] <= 0.05 + 1e-6


def test_an_optimiser_of_the_project_is_run_and_stale_when_its_code_changes(research: Research) -> None:
    sources = research.root / "sources.py"
    sources.write_text(sources.read_text() + INPUTS)
    declared = PRICES + (
        '  leader: {kind: portfolio_optimizer, definition: "sources:Leader", params: {share: 0.5}, lookback: 60,\n'
        "           inputs: {prices: prices}}\n"
    )
    research.declare(declared)
    run = research.ledger.run("leader", recursive=True)
    assert run.status == "completed", run.reason
    best = returns_of(research, 60).sum().row(0)
    weights = run.frame("weights")["weight"].to_list()
    assert (max(weights), weights.index(max(weights))) == (0.5, best.index(max(best)))
    sources.write_text(sources.read_text() + "\n# a change\n")
    research.declare(declared)
    assert research.freshness()["leader"] == "stale"
    with pytest.raises(InvalidInputError, match="must be float"):
        research.ledger.run("leader", params={"share": "all"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("MeanRisk", "MeanRisks"), "did you mean 'MeanRisk'?"),
        (("skfolio.optimization:MeanRisk", "sklearn.svm:SVC"), "is not an optimiser that may be used"),
        (("max_weights", "max_wieghts"), "did you mean 'max_weights'?"),
        (("max_weights: 0.1", "risk_measure: CVARR"), "'CVARR'"),
        (("max_weights: 0.1", "fallback: previous"), "has no param 'fallback'"),
        (("lookback: 120", "lookback: 1"), "lookback must be an integer from 2"),
        (("lookback: 120", "lookback: 120\n    date: soon"), "date is 'soon'"),
        (("lookback: 120", "lookback: 120\n    fallback: equal_wieght"), "did you mean 'equal_weight'?"),
        (("lookback: 120", "lookback: 120\n    constraints: {gros: 1}"), "did you mean 'gross'?"),
        (("lookback: 120", "lookback: 120\n    constraints: {gross: lots}"), "must be a number"),
        (("lookback: 120", "lookback: 120\n    target: {unit: return}"), "reads no expected_returns"),
        (("calendar: weekdays", "calendar: MARS"), "'MARS' is not a calendar"),
        (("{prices: prices}", "{signal: prices}"), "reads no prices"),
        (("{prices: prices}", "{prices: prices, expected_returns: prices}"), "does not say their unit"),
        (
            ("{prices: prices}", "{prices: prices, expected_returns: prices}\n    target: {unit: score}"),
            "scores need ic and horizon",
        ),
    ],
)
def test_what_cannot_be_optimised_is_refused_before_anything_is_written(
    research: Research, change: tuple[str, str], said: str
) -> None:
    before = research.freshness()
    with pytest.raises(ProjectFileError) as caught:
        research.declare(MINIMUM.replace(*change) + "  more: {kind: dataset, definition: 'sources:prices'}\n")
    assert said in caught.value.message
    assert research.freshness() == before


def test_a_limit_of_turnover_that_limits_nothing_is_told(research: Research) -> None:
    research.declare(MINIMUM + "    constraints: {turnover: 0.05}\n")
    run = research.ledger.run("minimum", recursive=True)
    assert run.status == "completed", run.reason
    report = run.artifact("report.html").decode()
    assert "turnover limits nothing: there are no previous weights" in report
    assert "turnover: 0.05" in report
