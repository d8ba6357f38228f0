"""Episodes from fills, and what is said of them; weights, turnover, survivorship."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.errors import InvalidInputError
from optaic.quant import holdings, trades
from optaic.quant.trades import Episodes, find_episodes

Row = tuple[int, int, float, float, float, float]
"""Session, symbol, quantity, price, cost, income."""


def gather(rows: list[Row], *, marks: list[float], n_sessions: int = 10) -> Episodes:
    columns = list(zip(*rows, strict=True)) or [[]] * 6
    names = ("session", "symbol", "quantity", "price", "cost", "income")
    return find_episodes(**dict(zip(names, columns, strict=True)), marks=marks, n_sessions=n_sessions)


def test_from_flat_to_flat_is_one_episode_however_many_fills() -> None:
    episodes = gather(
        [(1, 0, 10, 100, 1, 0), (2, 0, 10, 110, 1, 0), (4, 0, -5, 120, 1, 0), (6, 0, -15, 105, 2, 0)], marks=[99]
    )
    assert len(episodes) == 1
    # Paid 1000 + 1100, received 600 + 1575, costs 5.
    assert episodes.profit.tolist() == [600 + 1575 - 2100 - 5]
    assert episodes.notional.tolist() == [2100]
    assert episodes.returns == pytest.approx([70 / 2100])
    assert (episodes.opened.tolist(), episodes.closed.tolist()) == ([1], [6])
    assert episodes.is_long.tolist() == [True]
    assert episodes.is_open.tolist() == [False]


def test_a_change_of_sign_ends_one_episode_and_opens_the_next_and_shares_the_cost() -> None:
    episodes = gather([(0, 0, 10, 10, 1, 0), (3, 0, -30, 12, 3, 0), (5, 0, 20, 11, 2, 0)], marks=[0])
    assert episodes.is_long.tolist() == [True, False]
    # 10 shares earn 2 each, less 1 and a third of 3; 20 shares sold short at 12, bought back at 11, less 2 and 2.
    assert episodes.profit == pytest.approx([20 - 1 - 1, 20 - 2 - 2])
    assert episodes.notional == pytest.approx([100, 240])
    assert episodes.opened.tolist() == [0, 3]
    assert episodes.closed.tolist() == [3, 5]


def test_open_episodes_stand_apart() -> None:
    episodes = gather(
        [(0, 0, 10, 10, 0, 0), (1, 0, -10, 9, 0, 0), (2, 0, 10, 10, 0, 0), (0, 1, -5, 20, 0, 0)], marks=[13, 18]
    )
    assert episodes.symbol.tolist() == [0, 0, 1]
    assert episodes.is_open.tolist() == [False, True, True]
    assert episodes.profit.tolist() == [-10, 30, 10]
    assert episodes.closed.tolist() == [1, 9, 9]
    assert trades.win_rate(episodes) == 0.0
    assert trades.avg_trade_return(episodes) == pytest.approx(-0.1)
    assert trades.avg_holding_period(episodes) == 1.0
    assert trades.profit_factor(episodes) == 0.0


def test_rates_and_averages_of_closed_episodes() -> None:
    rows: list[Row] = []
    for symbol, (price, held) in enumerate([(13, 2), (8, 4), (11, 6), (10, 0)]):
        rows += [(1, symbol, 10, 10, 0, 0), (1 + held, symbol, -10, price, 0, 0)]
    episodes = gather(rows, marks=[0] * 4)
    assert trades.win_rate(episodes) == 0.5  # earning nothing is not winning
    assert trades.profit_factor(episodes) == pytest.approx((30 + 10) / 20)
    assert trades.avg_trade_return(episodes) == pytest.approx((0.3 - 0.2 + 0.1 + 0.0) / 4)
    assert trades.avg_holding_period(episodes) == 3.0


def test_income_belongs_to_the_position_that_was_held() -> None:
    episodes = gather(
        [(0, 0, 10, 10, 0, 0), (2, 0, 0, 0, 0, 7), (3, 0, -20, 10, 0, 5), (4, 0, 0, 0, 0, -2), (5, 0, 10, 10, 0, 0)],
        marks=[0],
    )
    assert episodes.profit == pytest.approx([12, -2])


def test_payments_and_empty_fills_while_flat_make_no_episode() -> None:
    assert len(gather([(0, 0, 0, 10, 0, 3)], marks=[1])) == 0
    episodes = gather([(0, 0, 5, 10, 0, 0), (1, 0, -5, 11, 0, 0), (2, 0, 0, 0, 0, 3)], marks=[1])
    assert episodes.profit.tolist() == [5]


def test_what_is_left_by_rounding_is_flat() -> None:
    rows: list[Row] = [(k, 0, 0.1, 10, 0, 0) for k in range(3)]
    episodes = gather([*rows, (4, 0, -0.3, 10, 0, 0)], marks=[1])
    assert 0.1 + 0.1 + 0.1 - 0.3 != 0
    assert episodes.is_open.tolist() == [False]


def test_without_fills_there_is_nothing_to_say() -> None:
    episodes = gather([], marks=[])
    assert len(episodes) == 0
    for figure in (trades.win_rate, trades.profit_factor, trades.avg_trade_return, trades.avg_holding_period):
        assert math.isnan(figure(episodes))


def test_without_a_loss_there_is_no_profit_factor() -> None:
    assert math.isnan(trades.profit_factor(gather([(0, 0, 1, 10, 0, 0), (1, 0, -1, 11, 0, 0)], marks=[1])))


def test_fills_that_are_no_fills_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="not finite"):
        gather([(0, 0, math.nan, 10, 0, 0)], marks=[1])
    with pytest.raises(InvalidInputError, match="differ in length"):
        find_episodes(session=[0], symbol=[0, 1], quantity=[1], price=[1], cost=[0], marks=[1], n_sessions=2)


@dataclass
class SlowBook:
    """The definition, share by share: one symbol's fills into episodes."""

    position: int = 0
    profit: float = 0.0
    notional: float = 0.0
    opened: int = 0
    closed: list[tuple[int, int, float, float]] = field(default_factory=list[tuple[int, int, float, float]])

    def fill(self, session: int, quantity: int, price: float, cost: float) -> None:
        for _ in range(abs(quantity)):
            side = 1 if quantity > 0 else -1
            if self.position == 0:
                self.profit, self.notional, self.opened = 0.0, 0.0, session
            if self.position * side >= 0:
                self.notional += price
            self.profit -= side * price + cost / abs(quantity)
            self.position += side
            if self.position == 0:
                self.closed.append((self.opened, session, self.profit, self.notional))


FILLS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(-4, 4).filter(bool), st.integers(1, 50).map(float), st.integers(0, 3).map(float)
    ),
    max_size=30,
)


@given(FILLS)
def test_episodes_are_those_that_single_shares_make(fills: list[tuple[int, int, float, float]]) -> None:
    books = [SlowBook() for _ in range(3)]
    rows: list[Row] = []
    for session, (symbol, quantity, price, cost) in enumerate(fills):
        books[symbol].fill(session, quantity, price, cost)
        rows.append((session, symbol, quantity, price, cost, 0.0))
    episodes = gather(rows, marks=[7.0] * 3, n_sessions=len(fills))
    ours = [
        (o, c, pytest.approx(p), pytest.approx(n))
        for o, c, p, n, is_open in zip(
            episodes.opened.tolist(),
            episodes.closed.tolist(),
            episodes.profit.tolist(),
            episodes.notional.tolist(),
            episodes.is_open.tolist(),
            strict=True,
        )
        if not is_open
    ]
    assert [episode for book in books for episode in book.closed] == ours
    left = [book for book in books if book.position]
    assert int(episodes.is_open.sum()) == len(left)
    open_profit = [book.profit + 7.0 * book.position for book in left]
    assert episodes.profit[episodes.is_open] == pytest.approx(open_profit)


@given(FILLS)
def test_profits_of_all_episodes_are_the_profit_of_the_account(fills: list[tuple[int, int, float, float]]) -> None:
    rows: list[Row] = [(k, symbol, q, price, cost, 0.0) for k, (symbol, q, price, cost) in enumerate(fills)]
    episodes = gather(rows, marks=[7.0] * 3, n_sessions=len(fills))
    cash = -sum(q * price + cost for _, _, q, price, cost, _ in rows)
    stock = 7.0 * sum(row[2] for row in rows)
    assert episodes.profit.sum() == pytest.approx(cash + stock, abs=1e-9)


def test_turnover_is_one_way_and_leaves_out_the_first_purchase() -> None:
    drifted = [[0, 0], [0.6, 0.4], [0.5, 0.5], [0.5, 0.5]]
    targets = [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.0, 0.5]]
    assert holdings.traded_fractions(targets, drifted) == pytest.approx([0, 0.1, 0, 0.25])
    traded = holdings.traded_fractions(targets, drifted)
    assert holdings.turnover(traded, sessions_per_year=252) == pytest.approx(252 * 0.35 / 4)
    assert math.isnan(holdings.turnover([], sessions_per_year=252))


def test_a_book_that_was_held_before_the_first_session_made_no_first_purchase() -> None:
    assert holdings.traded_fractions([[1.0, 0.0]], [[0.0, 1.0]]).tolist() == [1.0]


def test_cash_that_waits_makes_the_first_purchase_later() -> None:
    assert holdings.traded_fractions([[0.0], [1.0], [0.5]], [[0.0], [0.0], [1.0]]).tolist() == [0.0, 0.0, 0.25]


def test_exposures_are_sums_of_weights() -> None:
    weights = [[0.5, -0.3], [0.7, math.nan], [0.0, 0.0]]
    assert holdings.gross_exposures(weights) == pytest.approx([0.8, 0.7, 0.0])
    assert holdings.net_exposures(weights) == pytest.approx([0.2, 0.7, 0.0])


def test_survivorship_counts_position_days() -> None:
    assert holdings.survivorship([2, 2], [True, False]) == 0.5
    assert holdings.survivorship([2, 5], [True, True]) == 1.0
    assert math.isnan(holdings.survivorship([0, 0], [True, True]))
    with pytest.raises(InvalidInputError, match="alive"):
        holdings.survivorship([2, 2], [True])


def test_a_split_ends_no_episode_and_earns_nothing() -> None:
    # Ten shares at 100, split two for one, twenty sold at 55.
    episodes = find_episodes(
        session=[0, 3],
        symbol=[0, 0],
        quantity=[10, -20],
        price=[100, 55],
        cost=[0, 0],
        marks=[55],
        n_sessions=4,
        splits_since=[2, 1],
    )
    assert (episodes.profit.tolist(), episodes.notional.tolist(), episodes.is_open.tolist()) == ([100], [1000], [False])
