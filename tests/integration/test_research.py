"""Signals, previews and backtests, from prices to figures: exact inputs, what was known, and nothing run in vain."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import optaic
from optaic.errors import InvalidInputError, ProjectFileError
from tests.research import INSTANCES, Research, open_research

CHANGES = '''

def changes(ctx):
    """A universe of changes: ten names join in the beginning, five of them leave in July."""
    joined = [(dt.date(2021, 1, 4), f"S{number:02d}", True) for number in range(10)]
    left = [(dt.date(2021, 7, 1), f"S{number:02d}", False) for number in range(5)]
    return pl.DataFrame(joined + left, schema=["date", "symbol", "member"], orient="row")
'''


@pytest.fixture
def research(tmp_path: Path, database_url: str) -> Iterator[Research]:
    with open_research(tmp_path / "project", database_url) as opened:
        opened.declare()
        yield opened


def test_a_backtest_brings_everything_up_to_date_and_keeps_what_it_held_traded_and_earned(research: Research) -> None:
    run = research.ledger.run("backtest", recursive=True)
    assert (run.status, run.type, run.version) == ("completed", "BacktestRun", 1), run.reason
    tables = {name: run.frame(name) for name in ("equity_curve", "returns", "weights", "trades", "positions")}
    values = tables["equity_curve"]["value"]
    assert run.metrics["total_return"] == pytest.approx(values[-1] / values[0] - 1, abs=1e-12)
    returns = tables["returns"]["return"].to_numpy()
    sharpe_ratio = np.sqrt(260) * returns.mean() / returns.std(ddof=1)
    assert run.metrics["sharpe_ratio"] == pytest.approx(sharpe_ratio, rel=1e-12)
    assert run.metrics["num_trades"] == tables["trades"].height
    # Six of thirty names, equally, bought at the close after the month's last session.
    first = tables["weights"].filter(pl.col("date") == tables["weights"]["date"][0])
    assert (first["date"][0].isoformat(), first.height) == ("2021-03-01", 6)
    assert first["weight"].to_list() == pytest.approx([1 / 6] * 6, abs=1e-3)
    report = run.artifact("report.html").decode()
    assert "backtest" in report
    for assumption in ("monthly, at the close", "of the names that have a signal, in equal weights", "10,000,000"):
        assert assumption in report
    slices = {item.role: (str(item.first_date), str(item.last_date)) for item in run.inputs}
    assert slices == {"prices": ("2021-02-01", "2022-06-30"), "signal": ("2021-02-26", "2022-06-30")}


def test_a_backtest_whose_output_is_the_same_makes_no_new_version(research: Research) -> None:
    research.ledger.run("backtest", recursive=True)
    again = research.ledger.run("backtest")
    assert (again.status, again.standing, again.version) == ("completed", "official", None)
    assert research.freshness() == {
        "backtest": "ready",
        "look": "not_initialized",
        "momentum": "ready",
        "prices": "ready",
    }


def test_new_prices_leave_a_backtest_that_ends_before_them_ready_and_a_correction_does_not(research: Research) -> None:
    (research.root / "days").write_text("450")
    research.ledger.run("backtest", recursive=True)
    (research.root / "days").write_text("500")
    research.ledger.run("prices")
    research.ledger.run("momentum")
    assert research.freshness()["backtest"] == "ready"
    (research.root / "correction").write_text("100")
    research.ledger.run("prices", mode="full")
    assert research.freshness()["backtest"] == "stale"
    run = research.ledger.run("backtest", recursive=True)
    assert (run.status, run.version) == ("completed", 2)
    assert research.freshness()["backtest"] == "ready"


def test_a_corrected_price_is_known_to_the_signal_from_the_correction_on(research: Research) -> None:
    first = research.ledger.run("momentum", recursive=True)
    before = research.ledger.data("momentum")
    (research.root / "correction").write_text("100")
    research.ledger.run("prices", mode="full")
    second = research.ledger.run("momentum")
    after = research.ledger.data("momentum")
    assert second.metrics["rows_unchanged"] + second.metrics["rows_updated"] == before.height
    # The corrected name changes on its date and 20 sessions later; the whole cross-section of those dates with it.
    changed = after.join(before, on=["date", "symbol"]).filter(pl.col("value") != pl.col("value_right"))
    assert changed["date"].n_unique() == 2
    assert second.metrics["rows_updated"] == changed.height
    corrected_at = research.ledger.data("prices")["known_at"].max()
    assert changed["known_at"].unique().to_list() == [corrected_at]
    as_it_was = research.ledger.data("momentum", as_of="2023-06-30T00:00:00Z")
    assert as_it_was.equals(before)
    assert first.version == 1
    third = research.ledger.run("momentum")
    assert (third.version, third.metrics["rows_updated"]) == (None, 0)


def test_weights_a_benchmark_and_cash_give_what_the_plain_function_gives(research: Research) -> None:
    research.declare(
        INSTANCES
        + '  halves: {kind: dataset, definition: "sources:halves", known_at: {lag: "close + 2h"}}\n'
        + '  market: {kind: dataset, definition: "sources:market", inputs: {close: prices}}\n'
        + '  cash: {kind: dataset, definition: "sources:cash"}\n'
        + "  held:\n    kind: backtest\n"
        + "    inputs: {weights: halves, prices: prices, benchmark: market, cash: cash}\n"
        + "    config: {adjusted: true, calendar: weekdays, costs_bps: 20, benchmark: total_return}\n"
    )
    run = research.ledger.run("held", recursive=True)
    assert run.status == "completed", run.reason
    data = research.ledger.data
    plain = optaic.backtest(
        weights=data("halves").select("date", "symbol", "weight"),
        prices=data("prices").select("date", "symbol", "close"),
        benchmark=data("market").select("date", "close"),
        cash_rates=data("cash").select("date", "rate"),
        adjusted=True,
        costs_bps=20,
        sessions_per_year=260,
    )
    assert run.frame("equity_curve").equals(plain.equity_curve)
    assert run.frame("trades")["date"].unique().to_list() == [dt.date(2021, 4, 1), dt.date(2021, 10, 1)]
    for name in ("sharpe_ratio", "beta", "information_ratio", "turnover"):
        assert run.metrics[name] == plain.metrics[name]
    assert (run.metrics["risk_free"], run.metrics["benchmark"]) == ("series", "market[close] (total return)")


def test_only_members_of_the_universe_are_bought(research: Research) -> None:
    research.declare(
        INSTANCES
        + '  members: {kind: dataset, definition: "sources:members", inputs: {close: prices},'
        + ' known_at: {lag: "close + 2h"}}\n'
        + "  ten:\n    kind: backtest\n    inputs: {signal: momentum, prices: prices, universe: members}\n"
        + "    config: {adjusted: true, calendar: weekdays, top: 0.3}\n"
    )
    run = research.ledger.run("ten", recursive=True)
    assert run.status == "completed", run.reason
    weights = run.frame("weights")
    assert weights["symbol"].max() == "S09"
    assert weights.group_by("date").len()["len"].unique().to_list() == [3]


def test_a_universe_that_says_something_twice_a_year_holds_in_between(research: Research) -> None:
    """Decisions, cross-sections, previews and optimisers carry its last word forward."""
    sources = research.root / "sources.py"
    sources.write_text(sources.read_text() + CHANGES)
    inputs = "{close: 'prices[close]', prices: prices, universe: changes}"
    research.declare(
        INSTANCES
        + '  changes: {kind: dataset, definition: "sources:changes", known_at: {lag: "close + 2h"}}\n'
        + "  few:\n    kind: backtest\n    inputs: {signal: momentum, prices: prices, universe: changes}\n"
        + "    config: {start: 2021-02-01, adjusted: true, calendar: weekdays, top: 0.3}\n"
        + f"  seen:\n    kind: experiment\n    expression: CS_RANK(close)\n    inputs: {inputs}\n"
        + "  even:\n    kind: portfolio_optimizer\n    definition: skfolio.optimization:EqualWeighted\n"
        + "    lookback: 20\n    inputs: {prices: prices, universe: changes}\n    calendar: weekdays\n"
    )
    first, second = [f"S{number:02d}" for number in range(10)], [f"S{number:02d}" for number in range(5, 10)]
    run = research.ledger.run("few", recursive=True)
    assert run.status == "completed", run.reason
    weights = run.frame("weights").filter(pl.col("weight") > 1e-9)
    spring = weights.filter(pl.col("date").is_between(dt.date(2021, 3, 3), dt.date(2021, 6, 28)))
    later = weights.filter(pl.col("date") > dt.date(2021, 8, 5))
    assert spring.group_by("date").len()["len"].unique().to_list() == [3]
    assert set(spring["symbol"]) <= set(first)
    assert later.group_by("date").len()["len"].unique().to_list() == [1]
    assert set(later["symbol"]) <= set(second)
    run = research.ledger.run("seen", recursive=True)
    assert run.status == "completed", run.reason
    there = run.frame("preview").drop_nulls("value").group_by("date").len()
    assert there.filter(pl.col("date") < dt.date(2021, 7, 1))["len"].unique().to_list() == [10]
    assert there.filter(pl.col("date") >= dt.date(2021, 7, 1))["len"].unique().to_list() == [5]
    run = research.ledger.run("even", recursive=True)
    assert run.status == "completed", run.reason
    assert run.frame("weights")["symbol"].to_list() == second


def test_a_signal_that_knows_tomorrow_earns_its_absurd_profit_only_on_the_same_bar(research: Research) -> None:
    research.declare(
        INSTANCES
        + '  oracle: {kind: dataset, definition: "sources:tomorrow", known_at: {lag: "close + 2h"}}\n'
        + "  cheat:\n    kind: backtest\n    inputs: {signal: oracle, prices: prices}\n"
        + "    config: {rebalance: daily, top: 0.1, adjusted: true, calendar: weekdays}\n"
    )
    honest = research.ledger.run("cheat", recursive=True)
    assert honest.status == "completed", honest.reason
    assert abs(honest.metrics["sharpe_ratio"]) < 3
    cheat = research.ledger.run("cheat", params={"same_bar": True})
    assert cheat.standing == "trial"
    assert cheat.metrics["sharpe_ratio"] > 20
    assert b"Nobody could have traded so" in cheat.artifact("report.html")
    assert b"Nobody could have traded so" not in honest.artifact("report.html")


def test_a_backtest_sees_nothing_that_was_not_known_when_it_decided(research: Research) -> None:
    research.declare(
        INSTANCES
        + '  late: {kind: dataset, definition: "sources:tomorrow"}\n'
        + "  blind:\n    kind: backtest\n    inputs: {signal: late, prices: prices}\n"
        + "    config: {adjusted: true, calendar: weekdays}\n"
    )
    run = research.ledger.run("blind", recursive=True)
    assert run.status == "failed"
    assert "no row of late was known when it was decided" in (run.reason or "")
    assert "[nothing_known]" in (run.reason or "")
    seen = research.ledger.run("blind", params={"view": "latest"})
    assert (seen.status, seen.metrics["view"]) == ("completed", "latest")


def test_a_preview_says_what_a_signal_looks_like_and_foretells(research: Research) -> None:
    run = research.ledger.run("look", recursive=True)
    assert (run.status, run.type, run.version) == ("completed", "ExperimentRun", 1), run.reason
    frame = run.frame("preview")
    values = frame["value"].drop_nulls()
    assert run.metrics["rows_computed"] == frame.height == 500 * 30
    assert run.metrics["nan_pct"] == pytest.approx(5 / 500)
    assert run.metrics["mean"] == pytest.approx(values.mean(), abs=1e-12)
    assert run.metrics["std"] == pytest.approx(values.std(), abs=1e-12)
    # Prices are a random walk: five sessions back say nothing of the next.
    assert abs(run.metrics["ic"]) < 0.03
    assert 0.6 < run.metrics["signal_autocorrelation"] < 0.9
    found = research.ledger.runs(type="ExperimentRun", where="ic > -1")
    assert [one.id for one in found] == [run.id]


def test_a_preview_has_every_row_that_its_dataset_will_have(research: Research) -> None:
    # On the second date two names have a value of the date before, and no input any more.
    fields = '{expression: "TS_REF(weight, 1)", inputs: {weight: halves}'
    research.declare(
        INSTANCES
        + '  halves: {kind: dataset, definition: "sources:halves", known_at: observed}\n'
        + f"  seen: {fields}, kind: experiment}}\n  kept: {fields}, kind: dataset}}\n"
    )
    preview = research.ledger.run("seen", recursive=True)
    research.ledger.run("kept")
    rows = preview.frame("preview")
    kept = research.ledger.data("kept").select("date", "symbol", "value")
    assert rows.drop_nulls("value").select("date", "symbol", "value").equals(kept)
    assert (kept.height, preview.metrics["rows_computed"], preview.metrics["coverage"]) == (2, 6, pytest.approx(1 / 3))


def test_an_experiment_is_promoted_to_a_dataset_and_all_else_in_the_file_stays(research: Research) -> None:
    before = (research.root / "optaic.yaml").read_text()
    changes = research.ledger.promote("look", "reversal")
    assert [(item.action, item.instance) for item in changes.items if item.action != "unchanged"] == [
        ("created", "reversal")
    ]
    after = (research.root / "optaic.yaml").read_text()
    assert after.startswith(before.rstrip())
    research.ledger.run("reversal", recursive=True)
    preview = research.ledger.run("look").frame("preview").drop_nulls("value")
    assert (
        research.ledger.data("reversal")
        .select("date", "symbol", "value")
        .equals(preview.select("date", "symbol", "value"))
    )
    with pytest.raises(InvalidInputError, match="only an experiment can be promoted"):
        research.ledger.promote("prices", "more")
    assert (research.root / "optaic.yaml").read_text() == after


def test_promotions_at_once_are_all_made(research: Research) -> None:
    names = [f"promoted_{number}" for number in range(6)]
    start = threading.Barrier(len(names))

    def promote(name: str) -> None:
        start.wait()
        research.ledger.promote("look", name)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(promote, names))
    text = (research.root / "optaic.yaml").read_text()
    assert [text.count(f"  {name}:") for name in names] == [1] * len(names)
    assert set(names) <= set(research.freshness())


@pytest.mark.parametrize(
    ("instance", "said"),
    [
        ('{kind: dataset, expression: "CS_RANK(clse)", inputs: {close: prices}}', "clse"),
        ('{kind: dataset, expression: "RANK(close)", inputs: {close: prices}}', "CS_RANK or TS_RANK"),
        ('{kind: dataset, expression: "TS_MEAN(close, 0)", inputs: {close: prices}}', "must be 1 or more"),
        ('{kind: dataset, expression: "5", inputs: {close: prices}}', "reads nothing"),
        ('{kind: dataset, expression: "close", params: {n: 3}, inputs: {close: prices}}', "no placeholder {n}"),
        ("{kind: backtest, inputs: {signal: momentum, prices: prices}, config: {top: 2}}", "top is 2"),
        ("{kind: backtest, inputs: {signal: momentum, prices: prices}, config: {lag: 0}}", "lag is 0"),
        ("{kind: backtest, inputs: {signal: momentum, prices: prices}, config: {rebalance: yearly}}", "rebalance"),
        ("{kind: backtest, inputs: {signal: momentum, prices: prices}, config: {cost: 3}}", "no param 'cost'"),
        ("{kind: backtest, inputs: {signal: momentum, prices: prices}, config: {start: soon}}", "start"),
        (
            "{kind: backtest, inputs: {signal: look, prices: prices}, config: {start: 2022-01-01, end: 2021-01-01}}",
            "start 2022-01-01 is after end 2021-01-01",
        ),
        (
            "{kind: backtest, inputs: {weights: momentum, prices: prices}, config: {rebalance: monthly}}",
            "rebalance has no effect on weights",
        ),
        (
            "{kind: backtest, inputs: {weights: momentum, signal: momentum, prices: prices}}",
            "needs one of signal, weights and optimizer as an input, and has signal and weights",
        ),
        ("{kind: backtest, inputs: {signal: momentum, prices: prices}, config: {calendar: XNYX}}", "XNYX"),
        (
            "{kind: backtest, inputs: {signal: momentum, prices: prices}, config: {benchmark: price}}",
            "benchmark says what an index is, and none is read",
        ),
        (
            "{kind: backtest, inputs: {signal: momentum, prices: prices, benchmark: prices}, config: {benchmark: net}}",
            "benchmark is 'net'",
        ),
        *(
            (f"{{kind: backtest, inputs: {{signal: momentum, prices: prices}}, config: {{{option}: {value}}}}}", said)
            for option, value, said in (
                ("sessions_per_year", "0", "sessions_per_year is 0"),
                ("sessions_per_year", "-1", "sessions_per_year is -1"),
                ("lag", "1" + "0" * 25, "lag is 1000"),
                ("rebalance", "1" + "0" * 25, "rebalance is 1000"),
            )
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_before_anything_is_written(
    research: Research, instance: str, said: str
) -> None:
    with pytest.raises(ProjectFileError) as caught:
        research.declare(INSTANCES + f"  wrong: {instance}\n")
    assert said in caught.value.message
    assert "wrong" not in research.freshness()


@pytest.mark.parametrize(
    ("target", "params", "said"),
    [
        ("momentum", {"N": 20}, "momentum has no param 'N'"),
        ("momentum", {"n": "abc"}, "abc"),
        ("momentum", {"n": -5}, "must be 1 or more"),
        ("backtest", {"rebalance": "fortnightly"}, "rebalance is 'fortnightly'"),
        ("backtest", {"top": 2}, "top is 2"),
        ("backtest", {"sessions_per_year": 0.0}, "sessions_per_year is 0.0"),
        ("backtest", {"calendar": "os.system"}, "calendar is wrong"),
        ("backtest", {"end": "2020-01-01"}, "start 2021-02-01 is after end 2020-01-01"),
    ],
)
def test_params_of_a_run_that_cannot_be_computed_are_refused_and_no_run_is_recorded(
    research: Research, target: str, params: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        research.ledger.run(target, params=params)
    assert said in caught.value.message
    assert research.ledger.runs() == []


def test_the_params_of_an_expression_can_be_given_to_a_run(research: Research) -> None:
    research.ledger.run("prices")
    run = research.ledger.run("momentum", params={"n": 5})
    assert (run.status, run.standing, run.params) == ("completed", "trial", {"n": 5})


@pytest.mark.parametrize(("function", "code"), [("nothing", "no_output"), ("two_values", "invalid_output")])
def test_a_preview_of_what_is_no_signal_fails_with_the_reason(research: Research, function: str, code: str) -> None:
    research.declare(
        INSTANCES + f'  odd: {{kind: experiment, definition: "sources:{function}", inputs: {{close: prices}}}}\n'
    )
    run = research.ledger.run("odd", recursive=True)
    assert run.status == "failed"
    assert f"[{code}]" in (run.reason or "")


def test_a_tracked_experiment_cannot_be_run_and_says_so(research: Research) -> None:
    with research.ledger.track("idea") as run:
        run.log_metric("ic", 0.1)
    with pytest.raises(InvalidInputError, match="idea is a tracked experiment"):
        research.ledger.run("idea")
