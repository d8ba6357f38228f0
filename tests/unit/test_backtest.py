"""`optaic.backtest`: frames in, frames out; and what it says about frames that cannot be simulated."""

from __future__ import annotations

import datetime as dt
import doctest
import importlib
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import optaic
from optaic import InvalidInputError

DAYS = [dt.date(2024, 1, day) for day in (2, 3, 4, 5)]
WIDE = pl.DataFrame({"date": DAYS, "A": [50.0, 50.0, 60.0, 66.0], "B": [20.0, 20.0, 20.0, None]})
LONG = WIDE.unpivot(index="date", variable_name="symbol", value_name="close")
WEIGHTS = pl.DataFrame({"date": [DAYS[0], DAYS[1]], "A": [0.5, 0.0], "B": [0.5, None]})
LONG_WEIGHTS = pl.DataFrame({"date": [DAYS[0], DAYS[0], DAYS[1]], "symbol": ["A", "B", "A"], "weight": [0.5, 0.5, 0.0]})
FREE: dict[str, Any] = {"capital": 1000.0, "costs_bps": 0.0}


def run(**changes: Any) -> optaic.Backtest:
    given: dict[str, Any] = {"weights": WEIGHTS, "prices": WIDE, **FREE, **changes}
    return optaic.backtest(**given)


def test_each_frame_has_the_columns_that_it_documents() -> None:
    # Day 1 buys 10 A at 50 and 25 B at 20; day 2 sells both, at 60 and 20: 1100 in cash. Costs are 1 % here.
    result = run(costs_bps=100.0)
    curve = result.equity_curve
    assert curve.columns == [
        "date",
        "value",
        "cash",
        "gross_exposure",
        "net_exposure",
        "turnover",
        "costs",
        "interest",
        "borrow_fees",
        "dividends",
        "stale_marks",
        "missed_fills",
    ]
    assert curve["date"].to_list() == DAYS
    assert curve["value"].to_list() == pytest.approx([1000, 990, 1079, 1079], rel=1e-14)
    assert result.returns.to_dict(as_series=False) == {
        "date": DAYS[1:],
        "return": pytest.approx([-0.01, 1079 / 990 - 1, 0.0], rel=1e-12),
    }
    assert result.drawdowns["drawdown"].to_list() == pytest.approx([0, -0.01, 0, 0], rel=1e-12)
    assert result.trades.to_dict(as_series=False) == {
        "date": [DAYS[1], DAYS[1], DAYS[2], DAYS[2]],
        "symbol": ["A", "B", "A", "B"],
        "shares": [10.0, 25.0, -10.0, -25.0],
        "price": [50.0, 20.0, 60.0, 20.0],
        "notional": [500.0, 500.0, -600.0, -500.0],
        "cost": [5.0, 5.0, 6.0, 5.0],
    }
    assert result.positions.to_dict(as_series=False) == {
        "date": [DAYS[1], DAYS[1]],
        "symbol": ["A", "B"],
        "shares": [10.0, 25.0],
        "price": [50.0, 20.0],
        "market_value": [500.0, 500.0],
    }
    assert result.weights.to_dict(as_series=False) == {
        "date": [DAYS[1], DAYS[1]],
        "symbol": ["A", "B"],
        "weight": pytest.approx([500 / 990, 500 / 990]),
    }
    assert result.delistings.is_empty()
    assert result.stressed is None
    assert result.metrics["num_trades"] == 4
    assert result.metrics["total_costs"] == pytest.approx(21)


def test_the_options_say_what_was_assumed() -> None:
    options = run().options
    assert options["lag"] == 1
    assert options["assumptions"] == {
        "costs": "none",
        "impact": "none",
        "cash_rate": "none",
        "prices": "as given",
        "same_bar": False,
        "delisting": "0% from the last price where the return is not known",
    }
    assert optaic.backtest(weights=WEIGHTS, prices=WIDE).options["assumptions"]["costs"] == "10 bps"
    assert run(adjusted=True).options["assumptions"]["prices"] == "adjusted"
    assert run(same_bar=True).options["assumptions"]["same_bar"] is True


def pandas(frame: pl.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame(frame.to_dict(as_series=False))
    table["date"] = pd.to_datetime(table["date"])
    return table


def with_dates(dates: Any) -> pd.DataFrame:
    return pandas(WIDE).assign(date=dates)


@pytest.mark.parametrize(
    "prices",
    [
        WIDE,
        WIDE.lazy(),
        WIDE[::-1].select("B", "date", "A"),
        WIDE.rename({"date": "day"}),
        WIDE.with_columns(pl.col("date").cast(pl.Datetime("us"))),
        WIDE.with_columns(pl.col("date").cast(pl.Datetime("ns")).dt.replace_time_zone("America/New_York")),
        LONG,
        LONG[::-1],
        LONG.drop_nulls(),
        LONG.with_columns(pl.col("symbol").cast(pl.Categorical)),
        LONG.with_columns(pl.lit("other").alias("exchange")),
        pandas(WIDE),
        with_dates(pd.to_datetime(DAYS).tz_localize("America/New_York")),
        with_dates(DAYS),
        pandas(WIDE).convert_dtypes(),
        pandas(WIDE).set_index("date"),
        pandas(WIDE).set_index("date").rename_axis(index=None, columns="symbol"),
        pandas(LONG),
        pandas(LONG).set_index(["date", "symbol"]),
    ],
    ids=lambda table: type(table).__module__.partition(".")[0],
)
@pytest.mark.parametrize("weights", [WEIGHTS, LONG_WEIGHTS, LONG_WEIGHTS[[2, 1, 0]], pandas(LONG_WEIGHTS)])
def test_long_and_wide_frames_of_both_libraries_are_the_same_backtest(prices: Any, weights: Any) -> None:
    result = run(prices=prices, weights=weights)
    assert result.trades.equals(run().trades)
    assert result.equity_curve.equals(run().equity_curve)


def test_symbols_may_be_numbers() -> None:
    prices = LONG.with_columns(pl.col("symbol").replace_strict({"A": 10107, "B": 14593}))
    weights = LONG_WEIGHTS.with_columns(pl.col("symbol").replace_strict({"A": 10107, "B": 14593}))
    assert run(prices=prices, weights=weights).trades["symbol"].to_list() == ["10107", "14593", "10107", "14593"]


def test_columns_of_a_long_table_are_used_unless_the_prices_are_adjusted() -> None:
    prices = LONG.with_columns(
        open=pl.col("close") - 10,
        dividend=pl.when(pl.col("date") == DAYS[2]).then(1.0),
        split=pl.when((pl.col("date") == DAYS[2]) & (pl.col("symbol") == "B")).then(2.0),
    )
    # 10 A and 25 B: 35 dividends of 1; 25 B become 50, so that all are sold for 600 + 1000.
    result = run(prices=prices)
    assert result.equity_curve["value"].to_list() == [1000, 1000, 1635, 1635]
    assert result.options["assumptions"]["prices"] == "raw, with events"
    assert run(prices=prices, adjusted=True).equity_curve["value"].to_list() == [1000, 1000, 1100, 1100]
    # At the open: 500 / 40 = 12.5 A and 500 / 10 = 50 B are worth 625 + 1000 at the close.
    assert run(prices=prices, execution="open").equity_curve["value"].to_list()[:2] == [1000, 1625]


def test_opens_dividends_and_splits_may_be_tables_of_their_own() -> None:
    dividends = pl.DataFrame({"date": [DAYS[2]], "symbol": ["A"], "dividend": [3.0]})
    splits = pl.DataFrame({"date": [DAYS[2]], "B": [2.0]})
    opens = WIDE.with_columns(pl.col("A", "B") - 10)
    result = run(dividends=dividends, splits=splits, opens=opens, execution="open")
    # 12.5 A at 40, 50 B at 10. Day 2: 3 each of 12.5; 100 B at 10 and 12.5 A at 50 are sold at the open.
    assert result.equity_curve["value"].to_list() == pytest.approx([1000, 1625, 37.5 + 1000 + 625, 1662.5])


def test_a_cash_rate_is_a_number_or_the_last_one_known() -> None:
    rates = pl.DataFrame({"date": [dt.date(2023, 12, 1), DAYS[2]], "rate": [0.036, 0.072]})
    nothing = WEIGHTS.head(1).with_columns(A=0.0, B=0.0)
    curve = run(weights=nothing, cash_rates=rates).equity_curve
    # 3.6 % for two days, then 7.2 % for one.
    assert curve["value"].to_list() == pytest.approx([1000, 1000 * 1.0001, 1000 * 1.0001**2, 1000 * 1.0001**2 * 1.0002])
    flat = run(weights=nothing, cash_rates=0.036)
    assert flat.equity_curve["value"][-1] == pytest.approx(1000 * 1.0001**3)
    assert flat.options["assumptions"]["cash_rate"] == "annual simple, Act/360"


def test_a_backtest_with_assumed_delistings_has_one_at_minus_30_percent_beside_it() -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=day) for day in range(9)]
    prices = pl.DataFrame({"date": days, "A": [10.0, 10.0, *[None] * 7]})
    weights = pl.DataFrame({"date": days[:1], "A": [1.0]})
    result = run(prices=prices, weights=weights)
    assert result.delistings.to_dict(as_series=False) == {
        "date": [days[7]],
        "symbol": ["A"],
        "shares": [100.0],
        "price": [10.0],
        "delisting_return": [0.0],
        "is_assumed": [True],
    }
    assert result.equity_curve["value"][-1] == 1000
    stressed = result.stressed
    assert stressed is not None
    assert stressed.equity_curve["value"][-1] == 700
    known = run(prices=prices, weights=weights, delisting_returns={"A": -0.5})
    assert known.equity_curve["value"][-1] == 500
    assert known.stressed is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": [1, 2]}, "weights is of type list"),
        ({"prices": np.ones((2, 2))}, "prices is of type ndarray"),
        ({"prices": pl.DataFrame({"A": [1.0]})}, "prices has no column `date`, and no columns of dates"),
        ({"prices": pl.DataFrame({"d": DAYS, "e": DAYS, "A": [1.0] * 4})}, "and 2 columns of dates"),
        ({"prices": WIDE.with_columns(pl.col("date").cast(pl.String))}, "the dates of prices are of type String"),
        ({"prices": WIDE.with_columns(date=pl.lit(None, pl.Date))}, "prices has 4 rows without a date"),
        (
            {"prices": WIDE.with_columns(date=pl.lit(dt.datetime(2024, 1, 2, 16)))},  # noqa: DTZ001 - no zone is the case
            "time of day, the first is 2024-01-02 16:00:00",
        ),
        ({"prices": WIDE[[0, 1, 1, 2]]}, "prices has two rows on 2024-01-03"),
        ({"prices": LONG[[0, 1, 5, 1]]}, "prices has two rows for A on 2024-01-03"),
        ({"prices": LONG.rename({"close": "px"})}, "prices has the columns date, symbol, px"),
        ({"prices": LONG.with_columns(symbol=pl.lit(None, pl.String))}, "rows without a symbol"),
        ({"prices": WIDE.with_columns(name=pl.lit("x"))}, r"no numbers: name \(String\)"),
        (
            {"prices": WIDE.with_columns(B=pl.Series([1.0, 0.0, -1.0, 2.0]))},
            r"the price of B on 2024-01-03 is 0 \(2 such",
        ),
        ({"prices": WIDE.with_columns(B=float("inf"))}, "the price of B on 2024-01-02 is inf"),
        ({"weights": WEIGHTS.with_columns(B=float("nan"))}, "the weight of B on 2024-01-02 is nan"),
        (
            {"weights": LONG_WEIGHTS.with_columns(weight=pl.Series([0.5, float("inf"), 0.0]))},
            "the weight of B on 2024-01-02 is inf",
        ),
        (
            {"weights": WEIGHTS.with_columns(date=pl.Series([DAYS[0], dt.date(2024, 1, 6)]))},
            "1 of 2 dates .* 2024-01-06",
        ),
        ({"weights": WEIGHTS.rename({"B": "C"})}, "weights: there are no prices of C"),
        ({"weights": LONG_WEIGHTS[[0, 0]]}, "weights has two rows for A on 2024-01-02"),
        ({"weights": LONG_WEIGHTS.rename({"weight": "w"})}, "weights has the columns date, symbol, w"),
        ({"adjusted": True, "splits": WIDE}, "adjusted, and there are splits besides"),
        ({"dividends": WIDE.with_columns(B=-1.0)}, "dividends holds -1"),
        ({"execution": "open"}, "there are no open prices"),
        ({"delisting_returns": {"Z": 0.1}}, "there are no prices of Z"),
        ({"delisting_returns": {"A": -2.0}}, "delisting_returns holds -2"),
        ({"cash_rates": pl.DataFrame({"date": DAYS[1:], "rate": [0.01] * 3})}, "there is no rate up to 2024-01-02"),
        ({"cash_rates": WIDE}, "cash_rates has the columns date, A, B"),
        ({"cash_rates": float("nan")}, "no cash rate on 2024-01-02"),
        ({"costs_bps": -1.0}, "costs_bps"),
        ({"tranches": 3}, "not simulated yet"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_a_next_step(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        run(**changes)
    assert caught.value.next_step


def test_the_callers_frames_are_not_changed() -> None:
    weights, prices = WEIGHTS.clone(), WIDE.clone()
    run(weights=weights, prices=prices)
    assert weights.equals(WEIGHTS)
    assert prices.equals(WIDE)


def test_the_examples_of_docstrings_are_true() -> None:
    found = doctest.testmod(importlib.import_module("optaic.backtesting"))
    assert found.attempted > 0
    assert found.failed == 0


def test_a_misspelt_option_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidInputError, match="no option 'cost_bps'; did you mean 'costs_bps'"):
        run(cost_bps=3)


def test_a_backtest_is_shown_in_one_line() -> None:
    shown = repr(run())
    assert shown.startswith("<Backtest of ")
    assert "\n" not in shown


def test_a_close_of_a_benchmark_stands_for_five_sessions_and_no_longer() -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(10)]
    prices = pl.DataFrame({"date": days, "A": np.linspace(10.0, 12.0, 10)})
    weights = pl.DataFrame({"date": days[:1], "A": [1.0]})
    index = pl.DataFrame({"date": days, "close": np.linspace(5.0, 6.0, 10)})

    def measured(benchmark: pl.DataFrame) -> Any:
        return optaic.backtest(weights=weights, prices=prices, benchmark=benchmark, **FREE).metrics["beta"]

    assert measured(index[:5]) is not None, "a close may stand for five sessions"
    assert measured(pl.concat([index[:2], index[7:]])) is not None
    with pytest.raises(InvalidInputError, match="no close for 6 sessions in a row, after 2024-01-02 and before 2024-0"):
        measured(pl.concat([index[:2], index[8:]]))
    with pytest.raises(InvalidInputError, match=r"its last close is of 2024-01-04, 6 sessions before 2024-01-10"):
        measured(index[:4])


@pytest.mark.parametrize("delisting_return", [0.0, -0.3])
def test_the_equal_weight_of_all_names_does_as_its_benchmark_does_also_where_names_end(delisting_return: float) -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(20)]
    random = np.random.default_rng(3)
    closes = 100.0 * np.cumprod(1.0 + random.normal(0.0, 0.02, (20, 2)), axis=0)
    closes[8:, 1] = np.nan
    prices = pl.DataFrame({"date": days, "A": closes[:, 0], "B": closes[:, 1]})
    # Held until the sixth session without a price, as the benchmark holds it.
    both = pl.DataFrame({"date": days, "A": [0.5] * 13 + [1.0] * 7, "B": [0.5] * 13 + [0.0] * 7})
    options: dict[str, Any] = {"same_bar": True, "borrow_bps": 0.0, "delisting_return": delisting_return}
    done = optaic.backtest(weights=both, prices=prices, **FREE, **options)
    for one in (done, done.with_delisting_return(-0.5)):
        assert one.metrics["tracking_error"] == pytest.approx(0.0, abs=1e-9)
        assert one.metrics["delisted_positions"] == 1


def test_the_next_step_stands_under_the_traceback_too() -> None:
    with pytest.raises(InvalidInputError) as caught:
        run(weights=WEIGHTS.rename({"A": "C"}))
    assert caught.value.__notes__ == [f"next: {caught.value.next_step}"]
