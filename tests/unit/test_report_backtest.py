"""The report of a backtest: what was given is what it says, doubts first, in one small file."""

from __future__ import annotations

import datetime as dt
import re
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from optaic.errors import InvalidInputError
from optaic.report.backtest import BacktestReport, Comparison, backtest_page
from optaic.report.caution import describe_survivorship, list_cautions
from optaic.report.page import Figure
from optaic.sources.sp500 import _read
from tests.documents import read_document

MINUS = "\u2212"


def equal_weight() -> BacktestReport:
    """Hold 20 stocks in equal weights, rebalanced daily, 8,313 sessions: real prices, chosen in hindsight."""
    wide = _read("sp500_dataset")
    dates = wide["date"]
    prices = wide.drop("date").to_numpy()
    returns = np.concatenate(([0.0], (prices[1:] / prices[:-1] - 1).mean(axis=1)))
    value = 1e7 * np.cumprod(1 + returns)
    monthly = (
        pl.DataFrame({"date": dates, "r": returns})
        .group_by(pl.col("date").dt.year().alias("year"), pl.col("date").dt.month().alias("month"))
        .agg(((1 + pl.col("r")).product() - 1).alias("return"))
    )
    drawdown = value / np.maximum.accumulate(value) - 1
    rolling = pl.Series(returns).rolling_mean(252) / pl.Series(returns).rolling_std(252) * 252**0.5
    half = np.full(dates.len(), 0.5)
    return BacktestReport(
        run_id="019c3f3a-7d10",
        instance="equal_weight",
        period=(dates[0], dates[-1]),
        created_at=dt.datetime(2023, 1, 2, 8, tzinfo=dt.UTC),
        figures=[
            Figure(name="sharpe_ratio", unit="ratio", value=0.9512, standard_error=0.1773, note="of 14 trials"),
            Figure(name="max_drawdown", unit="fraction", value=float(drawdown.min()), group="Risk"),
            Figure(name="num_trades", unit="count", value=7920, group="Trading"),
            Figure(name="win_rate", unit="fraction", value=None, group="Trading"),
        ],
        warnings=list_cautions(survivorship=1.0, has_costs=False, has_risk_free=False),
        assumptions={"survivorship": describe_survivorship(1.0), "costs": "none", "risk_free": "none"},
        equity_curve=pl.DataFrame({"date": dates, "value": value, "benchmark": value * 0.9}),
        drawdowns=pl.DataFrame({"date": dates, "drawdown": drawdown}),
        rolling_sharpe=pl.DataFrame({"date": dates, "sharpe_ratio": rolling, "standard_error": half}),
        monthly_returns=monthly,
        exposures=pl.DataFrame({"date": dates, "gross": half * 2, "net": half}),
        turnover=pl.DataFrame({"date": dates, "turnover": np.abs(returns)}),
        costs=pl.DataFrame({"date": dates, "cost": np.cumsum(np.abs(returns)) * 1e-3}),
        comparisons=[
            Comparison(label="this backtest", figures=[Figure(name="cagr", unit="fraction", value=0.1761)]),
            Comparison(
                label="delisting at -30%",
                figures=[
                    Figure(name="cagr", unit="fraction", value=0.1532),
                    Figure(name="sharpe_ratio", unit="ratio", value=0.83, standard_error=0.17),
                ],
            ),
        ],
        benchmark="S&P 500",
        currency="USD",
    )


def nothing() -> BacktestReport:
    return BacktestReport(
        run_id="019",
        instance="empty",
        period=None,
        created_at=dt.datetime(2023, 1, 2, tzinfo=dt.UTC),
        figures=[],
        assumptions={},
    )


def test_thirty_three_years_of_sessions_are_a_page_of_a_few_hundred_kilobytes_built_in_a_moment() -> None:
    report = equal_weight()
    assert report.equity_curve is not None
    assert report.equity_curve.height == 8313
    start = time.process_time()
    page = backtest_page(report)
    assert time.process_time() - start < 1.0
    assert len(page.encode()) < 400_000
    assert "No data." not in page


def test_the_same_report_gives_the_same_bytes() -> None:
    assert backtest_page(equal_weight()) == backtest_page(equal_weight())


def test_at_full_survivorship_the_first_line_warns_and_costs_none_follows() -> None:
    said = read_document(backtest_page(equal_weight())).text
    assert said.split("\n")[0].startswith("Survivorship 100%: every position was in a name that is still alive")
    assert said.index("Survivorship 100%") < said.index("costs: none") < said.index("risk_free: none")
    assert said.index("risk_free: none") < said.index("Assumptions") < said.index("0.95")


def test_figures_are_those_that_were_given() -> None:
    report = equal_weight()
    assert report.drawdowns is not None
    worst = report.drawdowns["drawdown"].min()
    assert isinstance(worst, float)
    said = read_document(backtest_page(report)).text
    assert f"{MINUS}{-100 * worst:.2f}%" in said
    assert re.search(r"0\.95\s*± 0\.18 standard error\s*of 14 trials", said)
    assert re.search(r"Number of trades\s*7,920", said)
    assert re.search(r"Win rate\s*\u2013", said)


def test_the_variant_with_failing_delistings_stands_beside_the_backtest() -> None:
    said = read_document(backtest_page(equal_weight())).text
    assert re.search(r"this backtest\s*17\.61%\s*\u2013", said), "it has no Sharpe ratio in this table"
    assert re.search(r"delisting at -30%\s*15\.32%\s*0\.83\s*± 0\.17 standard error", said)


def test_charts_end_at_the_values_that_were_given() -> None:
    report = equal_weight()
    assert report.equity_curve is not None
    told = " ".join(read_document(backtest_page(report)).hidden["desc"])
    last = report.equity_curve["value"][-1]
    assert f"equal_weight: first 10.0M, last {last / 1e9:.2f}B" in told
    assert "S&P 500: first 9.00M" in told
    assert "From 1990-01-02 to 2022-12-28" in told


def test_monthly_returns_are_in_percent_and_years_are_compounded() -> None:
    months = pl.DataFrame({"year": [2020, 2020, 2021], "month": [1, 12, 6], "return": [0.1, -0.5, None]})
    said = read_document(backtest_page(replace(nothing(), monthly_returns=months))).text
    assert re.search(rf"202010\.0{MINUS}50\.0{MINUS}45\.0\n", said), "1.1 x 0.5 = 0.55"
    assert re.search(r"\n2021\n", said), "a month without a return is empty, and so is its year"


def test_gains_and_losses_are_coloured_by_their_size() -> None:
    months = pl.DataFrame({"year": [2020] * 3, "month": [1, 2, 3], "return": [0.1, -0.1, 0.0]})
    page = backtest_page(replace(nothing(), monthly_returns=months))
    assert f'<td class="u5">10.0</td><td class="d5">{MINUS}10.0</td><td>0.0</td>' in page


@pytest.mark.parametrize(
    "months",
    [
        pl.DataFrame({"year": [2020], "month": [13], "return": [0.1]}),
        pl.DataFrame({"year": [2020] * 2, "month": [1, 1], "return": [0.1, 0.1]}),
        pl.DataFrame({"year": [None], "month": [1], "return": [0.1]}, schema_overrides={"year": pl.Int32}),
        pl.DataFrame({"year": [2020], "month": [1]}),
    ],
)
def test_months_that_are_none_are_refused(months: pl.DataFrame) -> None:
    with pytest.raises(InvalidInputError, match="monthly returns"):
        backtest_page(replace(nothing(), monthly_returns=months))


def test_a_backtest_without_a_session_still_has_a_page() -> None:
    page = read_document(backtest_page(nothing()))
    assert "no sessions" in page.text
    assert page.text.count("No data.") == 7


def test_a_backtest_of_one_session_still_has_a_page() -> None:
    report = equal_weight()
    frames = {
        name: getattr(report, name)[:1]
        for name in ("equity_curve", "drawdowns", "monthly_returns", "exposures", "turnover", "costs")
    }
    page = read_document(backtest_page(replace(report, **frames, rolling_sharpe=report.rolling_sharpe)))
    assert "No data." not in page.text
    assert "From 1990-01-02 to 1990-01-02" in " ".join(page.hidden["desc"])


def test_empty_frames_are_no_data() -> None:
    report = equal_weight()
    frames = {
        name: getattr(report, name).clear()
        for name in (
            "equity_curve", "drawdowns", "rolling_sharpe", "monthly_returns", "exposures", "turnover", "costs",
        )
    }  # fmt: skip
    assert read_document(backtest_page(replace(report, **frames))).text.count("No data.") == 7


def test_a_rolling_sharpe_ratio_is_drawn_with_its_standard_error_or_says_that_it_lacks_one() -> None:
    report = equal_weight()
    assert report.rolling_sharpe is not None
    assert "± 1 standard error" in read_document(backtest_page(report)).text
    bare = replace(report, rolling_sharpe=report.rolling_sharpe.drop("standard_error"))
    assert "standard error not known" in read_document(backtest_page(bare)).text


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidInputError, match="no column drawdown: it has date"):
        backtest_page(replace(nothing(), drawdowns=pl.DataFrame({"date": [dt.date(2020, 1, 1)]})))


def test_names_of_a_hostile_project_are_text() -> None:
    hostile = "<script>alert(1)</script>"
    report = replace(
        equal_weight(), instance=hostile, benchmark=hostile, currency=hostile, assumptions={hostile: hostile}
    )
    page = read_document(backtest_page(report))
    assert page.count("script") == 1
    assert page.text.count(hostile) >= 5


def test_doubts_are_listed_from_the_most_severe() -> None:
    all_of_them = list_cautions(
        survivorship=1.0,
        has_costs=False,
        is_ruined=True,
        same_bar=True,
        in_sample_rows=1,
        view="latest",
        has_risk_free=False,
        missing_prices=1,
        failed_solves=2,
    )
    heads = [sentence.split(".")[0].split(":")[0] for sentence in all_of_them]
    assert heads == [
        "Survivorship 100%", "Ruined", "costs", "same_bar", "in_sample", "view", "Missing prices",
        "Failed solves", "risk_free",
    ]  # fmt: skip
    assert "1 row of predictions was used" in all_of_them[4]
    assert "1 position-day was" in all_of_them[6]


@pytest.mark.parametrize(
    ("fallbacks", "said"),
    [
        (0, "the weights of before were kept."),
        (1, "its declared fallback was used at 1, the weights of before were kept at 2."),
        (3, "its declared fallback was used."),
    ],
)
def test_what_was_done_without_a_solution_is_told(fallbacks: int, said: str) -> None:
    [sentence] = list_cautions(survivorship=0.5, has_costs=True, failed_solves=3, fallbacks=fallbacks)
    assert sentence == f"Failed solves: at 3 rebalances the optimiser found no solution, and {said}"


@pytest.mark.parametrize("survivorship", [0.0, 0.9999, None, float("nan")])
def test_without_a_doubt_nothing_is_said(survivorship: float | None) -> None:
    assert list_cautions(survivorship=survivorship, has_costs=True) == ()


def test_survivorship_that_is_not_known_is_not_a_number() -> None:
    assert describe_survivorship(None) == describe_survivorship(float("nan")) == "not known"
