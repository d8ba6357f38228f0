"""Every option of the simulator, in an example small enough to be computed by hand. Dollars; one row is one session."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optaic.errors import InvalidInputError
from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Panel, cash_returns
from optaic.quant.simulate import simulate
from optaic.quant.simulation import Simulation

NONE = float("nan")
FREE: dict[str, Any] = {"capital": 1000.0, "costs_bps": 0.0, "borrow_bps": 0.0}


def run(
    closes: list[list[float]],
    targets: dict[int, list[float]],
    *,
    start: str = "2024-01-01",
    dates: list[str] | None = None,
    market: dict[str, Any] | None = None,
    **options: Any,
) -> Simulation:
    """Simulate consecutive days; `targets` has the weights by the session in which they are decided."""
    close = np.array(closes, dtype=np.float64)
    days = np.datetime64(start) + np.arange(len(close))
    weights = np.zeros_like(close)
    decided = np.zeros(len(close), dtype=np.bool_)
    for session, row in targets.items():
        weights[session], decided[session] = row, True
    panel = Panel(
        dates=days if dates is None else np.array(dates, dtype="datetime64[D]"),
        close=close,
        **{name: np.array(values, dtype=np.float64) for name, values in (market or {}).items()},
    )
    return simulate(panel, weights, decided=decided, options=SimulatorOptions(**{**FREE, **options}))


def positions(result: Simulation) -> list[list[float]]:
    return [shares.tolist() for shares, _ in result.replay()]


def near(*values: float) -> Any:
    return pytest.approx(list(values), rel=1e-14)


def test_a_decision_is_traded_one_session_later_and_drifts() -> None:
    # Decided on day 0, bought on day 1: half of 1000 in A at 50 is 10 shares, half in B at 20 is 25 shares.
    # Day 2: 10 x 60 + 25 x 20 = 1100, of which A is 600 / 1100.
    result = run([[40, 20], [50, 20], [60, 20]], {0: [0.5, 0.5]})
    assert result.value.tolist() == [1000, 1000, 1100]
    assert positions(result) == [[0, 0], [10, 25], [10, 25]]
    assert result.returns.tolist() == near(0.0, 0.1)
    assert result.net_exposure.tolist() == near(0, 1, 1)
    assert result.held_sessions.tolist() == [2, 2]


def test_a_target_is_a_fraction_of_the_value_just_before_the_trade() -> None:
    # 10 shares at 50 leave 500 in cash. On day 2 they are worth 600, all together 1100; 0.5 of that is 550, that is
    # 550 / 60 shares: 10 - 550/60 = 0.8333 are sold. Turnover: half of 50 / 1100.
    result = run([[50], [50], [60]], {0: [0.5], 1: [0.5]})
    assert positions(result)[2] == near(550 / 60)
    assert result.cash.tolist() == near(1000, 500, 550)
    assert result.turnover.tolist() == near(0, 0, 25 / 1100)


def test_the_first_purchase_is_no_turnover() -> None:
    result = run([[50], [50], [50]], {0: [0.5], 1: [1.0]})
    # The first 500 do not count; the second 500 are 1/2 x 500 / 1000.
    assert result.turnover.tolist() == [0, 0, 0.25]
    assert result.first_purchase == 1


def test_capital_is_what_the_portfolio_starts_with() -> None:
    assert run([[50], [55]], {0: [1.0]}, capital=250.0).value.tolist() == [250, 250]


def test_lag_2_trades_two_sessions_later() -> None:
    assert positions(run([[10], [20], [25], [50]], {0: [1.0]}, lag=2)) == [[0], [0], [40], [40]]


def test_what_is_decided_in_the_last_session_is_not_traded() -> None:
    assert len(run([[10], [20]], {1: [1.0]}).fills.session) == 0


def test_same_bar_trades_in_the_session_of_the_decision() -> None:
    # 1000 / 10 = 100 shares on day 0, worth 2000 on day 1.
    result = run([[10], [20]], {0: [1.0]}, lag=0, same_bar=True)
    assert result.value.tolist() == [1000, 2000]
    assert result.options.is_same_bar


def test_at_the_open_orders_are_filled_and_valued_at_the_open_and_marked_at_the_close() -> None:
    # Day 1 opens at 40: 1000 / 40 = 25 shares, 1250 at its close of 50. Day 2 opens at 60: worth 1500, of which half,
    # 750, is 12.5 shares; 12.5 are sold for 750. At the close of 50: 750 + 12.5 x 50 = 1375.
    result = run(
        [[45], [50], [50]], {0: [1.0], 1: [0.5]}, execution="open", market={"open": [[44], [40], [60]]}, costs_bps=0.0
    )
    assert result.value.tolist() == [1000, 1250, 1375]
    assert result.fills.price.tolist() == [40, 60]
    assert result.fills.notional.tolist() == [1000, -750]


def test_without_an_open_there_is_no_fill_at_the_open() -> None:
    result = run([[50], [50], [50]], {0: [1.0]}, execution="open", market={"open": [[50], [NONE], [50]]})
    assert result.missed_fills.tolist() == [0, 1, 0]
    assert positions(result) == [[0], [0], [0]]


def test_costs_are_of_traded_notional_on_both_sides_and_leave_cash() -> None:
    # Day 1 buys 1000 for 10 bps: cash -1, worth 999. Day 2 sells all 20 shares at 50: 1000, less 1: 998.
    result = run([[50], [50], [50]], {0: [1.0], 1: [0.0]}, costs_bps=10.0)
    assert result.costs.tolist() == near(0, 1, 1)
    assert result.cash.tolist() == near(1000, -1, 998)
    assert result.value.tolist() == near(1000, 999, 998)
    assert result.fills.cost.tolist() == near(1, 1)


def test_slippage_is_of_traded_notional_too_and_prices_of_fills_are_the_markets() -> None:
    # 10 + 5 bps of 1000.
    result = run([[50], [50]], {0: [1.0]}, costs_bps=10.0, slippage_bps=5.0)
    assert result.costs.tolist() == near(0, 1.5)
    assert result.fills.price.tolist() == [50]


def test_cash_earns_simple_interest_for_calendar_days_over_360() -> None:
    # Friday to Monday: 3 days at Friday's 3.6 %: 1000 x 0.036 x 3 / 360 = 0.30; then 1 day at Monday's 7.2 %:
    # 1000.30 x 0.072 / 360 = 0.20006.
    result = run(
        [[50], [50], [50]],
        {},
        dates=["2024-01-05", "2024-01-08", "2024-01-09"],
        market={"cash_rates": [0.036, 0.072, 0.5]},
    )
    assert result.interest.tolist() == near(0, 0.3, 1000.3 * 0.0002)
    assert result.value.tolist() == near(1000, 1000.3, 1000.3 * 1.0002)
    assert cash_returns(result.panel.dates, np.array([0.036, 0.072, 0.5])).tolist() == near(0, 0.0003, 0.0002)


def test_negative_cash_pays_the_cash_rate() -> None:
    # Weight 2: cash is 1000 - 2000 = -1000; a day at 3.6 % costs 0.10.
    result = run([[50], [50], [50]], {0: [2.0]}, market={"cash_rates": [0.036] * 3})
    assert result.interest.tolist() == near(0, 0.1, (1000.1 - 2000.2) * 0.0001)


def test_short_positions_pay_the_borrow_rate_and_their_proceeds_earn_the_cash_rate() -> None:
    # Day 1 shorts 1000 at 50: -20 shares, cash 2000 (plus 0.10 interest from day 0: 1000.10 short, -20.002 shares).
    # Without a cash rate: a day at 360 bps on 1000 costs 0.10. At 40 the shares are bought back for 800, worth 1200 -
    # 0.1.
    result = run([[50], [50], [40]], {0: [-1.0], 1: [0.0]}, borrow_bps=360.0)
    assert result.borrow_fees.tolist() == near(0, 0, 0.1)
    assert result.value.tolist() == near(1000, 1000, 1199.9)
    # With 3.6 %: 2000.20 in cash earn 0.20002 on day 2.
    earning = run([[50], [50], [50]], {0: [-1.0]}, borrow_bps=0.0, market={"cash_rates": [0.036] * 3})
    assert earning.interest.tolist() == near(0, 0.1, 2000.2 * 0.0001)


def test_max_weight_cuts_targets_and_leaves_the_rest_in_cash() -> None:
    # 0.7 becomes 0.4; 0.3 stays: 400 / 50 = 8 and 300 / 20 = 15 shares, 300 in cash.
    result = run([[50, 20], [50, 20]], {0: [0.7, 0.3]}, max_weight=0.4)
    assert positions(result)[1] == near(8, 15)
    assert result.cash.tolist() == near(1000, 300)


def test_gross_scales_all_targets() -> None:
    # |1.0| + |-1.0| = 2 is scaled to 1: +500 and -500.
    result = run([[50, 20], [50, 20]], {0: [1.0, -1.0]}, gross=1.0)
    assert positions(result)[1] == near(10, -25)
    assert result.gross_exposure.tolist() == near(0, 1)


def test_net_scales_the_longer_side() -> None:
    # 0.9 - 0.3 = 0.6 is above 0.1; the long side becomes 0.4: 400 / 50 = 8 shares, and -300 / 20 = -15.
    result = run([[50, 20], [50, 20]], {0: [0.9, -0.3]}, net=0.1)
    assert positions(result)[1] == near(8, -15)
    # And -0.6 the other way round: the short side becomes 0.4.
    assert positions(run([[50, 20], [50, 20]], {0: [-0.9, 0.3]}, net=0.1))[1] == near(-8, 15)


def test_a_difference_inside_the_no_trade_band_is_no_order_and_one_outside_goes_the_whole_way() -> None:
    # Day 1: 10 of A at 50, 25 of B at 20. Day 2: A is 55, all together 1050, A weighs 550 / 1050 = 0.5238, B 0.4762.
    # Targets 0.50 and 0.44 are 0.0238 and 0.0362 away: with a band of 0.03 B alone trades, to 0.44 x 1050 / 20 = 23.1.
    result = run([[50, 20], [50, 20], [55, 20]], {0: [0.5, 0.5], 1: [0.5, 0.44]}, no_trade_band=0.03)
    assert positions(result)[2] == near(10, 23.1)
    assert result.missed_fills.tolist() == [0, 0, 0]


def test_max_turnover_scales_all_orders_of_a_rebalance_but_not_the_first_purchase() -> None:
    # From all in A to all in B would be 1/2 x (1000 + 1000) / 1000 = 1; a quarter of each order is carried out.
    result = run([[50, 20], [50, 20], [50, 20]], {0: [1.0, 0.0], 1: [0.0, 1.0]}, max_turnover=0.25)
    assert positions(result)[1:] == [near(20, 0), near(15, 12.5)]
    assert result.turnover.tolist() == near(0, 0, 0.25)


def test_a_dividend_is_cash_for_shares_held_at_the_close_before() -> None:
    # 20 shares; 1.5 each on day 2 is 30. The dividend of day 1 is paid to whoever held them at the close of day 0.
    result = run([[50], [50], [48]], {0: [1.0]}, market={"dividends": [[NONE], [9.0], [1.5]]})
    assert result.dividends.tolist() == near(0, 0, 30)
    assert result.value.tolist() == near(1000, 1000, 990)


def test_a_short_position_pays_the_dividend() -> None:
    result = run([[50], [50], [50]], {0: [-1.0]}, market={"dividends": [[0.0], [0.0], [1.5]]})
    assert result.dividends.tolist() == near(0, 0, -30)


def test_a_split_multiplies_shares_and_divides_the_last_price() -> None:
    # 20 shares at 50 become 40 at 25; that there is no price on the day of the split changes nothing.
    result = run([[50], [50], [NONE], [26]], {0: [1.0]}, market={"splits": [[1.0], [NONE], [2.0], [1.0]]})
    assert positions(result) == [[0], [20], [40], [40]]
    assert result.value.tolist() == near(1000, 1000, 1000, 1040)


def test_a_dividend_is_for_each_share_before_the_split_of_the_same_session() -> None:
    result = run([[50], [50], [25]], {0: [1.0]}, market={"splits": [[1], [1], [2]], "dividends": [[0], [0], [3]]})
    assert result.dividends.tolist() == near(0, 0, 60)


def test_without_a_price_there_is_no_fill_and_the_position_stands_at_its_last_price() -> None:
    # Day 1 buys 10 A and 25 B; on day 2 A has no price, so that only B is sold: 25 x 22 = 550. On day 3 A is 60.
    result = run([[50, 20], [50, 20], [NONE, 22], [60, 22]], {0: [0.5, 0.5], 1: [0.0, 0.0]})
    assert positions(result) == [[0, 0], [10, 25], [10, 0], [10, 0]]
    assert result.value.tolist() == near(1000, 1000, 1050, 1150)
    assert result.missed_fills.tolist() == [0, 0, 1, 0]
    assert result.stale_marks.tolist() == [0, 0, 1, 0]


def test_a_name_that_is_not_listed_yet_is_not_bought() -> None:
    result = run([[NONE], [NONE], [10], [11]], {0: [1.0], 1: [1.0]})
    assert positions(result) == [[0], [0], [100], [100]]
    assert result.missed_fills.tolist() == [0, 1, 0, 0]


GONE = [[50.0], [50.0], [40.0], *[[NONE]] * 6]


def test_a_gap_of_five_sessions_is_held_through() -> None:
    result = run([*GONE[:-1], [30]], {0: [1.0]})
    assert result.value.tolist()[3:] == near(800, 800, 800, 800, 800, 600)
    assert result.stale_marks.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0]
    assert len(result.delistings.session) == 0
    assert result.is_alive.tolist() == [True]


def test_the_sixth_session_without_a_price_ends_the_position_at_the_last_one() -> None:
    # 20 shares at the last price of 40: 800 in cash, no costs.
    result = run(GONE, {0: [1.0]}, costs_bps=10.0)
    ended = result.delistings
    assert (ended.session.tolist(), ended.symbol.tolist()) == ([8], [0])
    assert (ended.shares.tolist(), ended.price.tolist()) == ([20], [40])
    assert (ended.delisting_return.tolist(), ended.is_assumed.tolist()) == ([0], [True])
    assert result.value.tolist()[2:] == near(*[799] * 7)
    assert result.cash[-1] == pytest.approx(799, rel=1e-14)
    assert positions(result)[-2:] == [[20], [0]]
    assert result.is_alive.tolist() == [False]


def test_a_known_delisting_return_is_taken_and_the_assumed_one_is_for_the_others() -> None:
    # A is known to have lost 25 %: 10 x 40 x 0.75 = 300. B is not known: 10 x 40 x 0.7 = 280.
    both = [[*row, *row] for row in GONE]
    known = {"delisting_returns": [-0.25, NONE]}
    result = run(both, {0: [0.5, 0.5]}, market=known, delisting_return=-0.3)
    assert result.value[-1] == pytest.approx(580, rel=1e-14)
    assert result.delistings.is_assumed.tolist() == [False, True]
    again = result.options.with_delisting_return(0.0)
    assert simulate(result.panel, np.full((9, 2), 0.5), options=again).options.delisting_return == 0.0
    assert SimulatorOptions().with_delisting_return().delisting_return == -0.3


def test_a_short_position_gains_when_its_name_is_delisted_at_a_loss() -> None:
    # -20 shares: 2000 in cash, at the end 20 x 40 x 0.7 = 560 are paid: 1440.
    assert run(GONE, {0: [-1.0]}, delisting_return=-0.3).value[-1] == pytest.approx(1440, rel=1e-14)


def test_a_portfolio_that_is_worth_nothing_is_an_error_that_names_the_date() -> None:
    # -20 shares at 50 leave 2000 in cash; at 100 they cost all of it.
    with pytest.raises(InvalidInputError, match=r"worth 0\.00 on 2024-01-03: it is ruined"):
        run([[50], [50], [100]], {0: [-1.0]})


def test_an_unchanged_target_of_an_undrifted_portfolio_is_no_order() -> None:
    result = run([[0.1], [0.1], [0.3], [0.7]], {t: [1.0] for t in range(4)})
    assert result.fills.session.tolist() == [1]


def test_a_position_that_is_left_is_left_without_a_rest() -> None:
    # 1/3 at 7 and 1/7 at 0.3 are no round numbers of shares; what was bought is sold.
    result = run([[7, 0.3], [7, 0.3], [11, 0.7]], {0: [1 / 3, 1 / 7], 1: [0.0, 0.0]}, costs_bps=10.0)
    assert positions(result)[2] == [0, 0]


def test_only_the_same_bar_profits_from_knowing_tomorrow() -> None:
    random = np.random.default_rng(7)
    returns = random.normal(0, 0.02, (500, 20))
    close = 100 * np.exp(np.cumsum(returns, axis=0))
    dates = np.datetime64("2020-01-01") + np.arange(500)
    panel = Panel(dates=dates, close=close)
    tomorrow = np.vstack([returns[1:], np.zeros((1, 20))])
    targets = np.where(tomorrow == tomorrow.max(axis=1, keepdims=True), 1.0, 0.0)
    seen = simulate(panel, targets, options=SimulatorOptions(lag=0, same_bar=True))
    # The best of 20 names every day: E[max of 20 normals] is 1.87 deviations, 3.7 % a day less 20 bps, 500 times.
    assert seen.returns.mean() == pytest.approx(1.87 * 0.02 - 0.002, abs=0.002)
    honest = simulate(panel, targets, options=SimulatorOptions())
    # One session later the knowledge is worth nothing: a random name a day, less 20 bps.
    assert abs(honest.returns.mean() + 0.002) < 3 * honest.returns.std() / np.sqrt(499)


@pytest.mark.parametrize("sessions", [0, 1])
def test_a_panel_without_sessions_or_with_one_gives_what_there_is(sessions: int) -> None:
    panel = Panel(dates=np.datetime64("2024-01-01") + np.arange(sessions), close=np.ones((sessions, 2)))
    result = simulate(panel, np.ones((sessions, 2)))
    assert result.value.tolist() == [1e7] * sessions
    assert len(result.returns) == 0
    assert len(result.fills.session) == 0


def test_a_panel_without_symbols_is_cash() -> None:
    panel = Panel(dates=np.datetime64("2024-01-01") + np.arange(3), close=np.ones((3, 0)))
    assert simulate(panel, np.ones((3, 0))).value.tolist() == [1e7] * 3
