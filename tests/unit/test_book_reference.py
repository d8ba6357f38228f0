"""Figures of books and episodes, recomputed from fills and closes by pandas and plain Python."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from optaic.quant.figures import measure
from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Panel
from optaic.quant.simulate import simulate
from optaic.quant.simulation import Simulation

frames: Any = pd
"""Untyped: its stubs do not know what groups and rows are."""

DATES = np.busday_offset(np.datetime64("2024-01-01"), np.arange(120)).astype("datetime64[D]")
TOLERANCE = 1e-10


def simulated(seed: int) -> Simulation:
    """Longs and shorts in six names, one of which ends; with gaps and costs, traded at chance."""
    chance = np.random.default_rng(seed)
    shape = (len(DATES), 6)
    close = 50 * np.exp(np.cumsum(chance.normal(0, 0.02, shape), axis=0))
    close[chance.random(shape) < 0.03] = np.nan
    close[70:, 5] = np.nan
    # Now and then a name is sold out, so that episodes end.
    targets = np.where(chance.random(shape) < 0.3, 0.0, chance.uniform(-0.3, 0.3, shape))
    options = SimulatorOptions(capital=1e6, costs_bps=15, borrow_bps=0.0)
    panel = Panel(dates=DATES, close=close, delisting_returns=np.array([np.nan] * 5 + [-0.4]))
    return simulate(panel, targets, decided=chance.random(len(DATES)) < 0.3, options=options)


@dataclass
class Position:
    """What is held of a name, and what it has cost and brought since it was flat."""

    opened: int
    shares: float
    paid: float
    profit: float


def trades(done: Simulation) -> Any:
    """Give fills and the ends of delisted positions as one table, in order."""
    fills, ended = done.fills, done.delistings
    table = frames.DataFrame({"t": fills.session, "name": fills.symbol, "shares": fills.shares, "price": fills.price})
    table["cost"] = fills.cost
    ends = frames.DataFrame({"t": ended.session, "name": ended.symbol, "shares": -ended.shares})
    ends["price"], ends["cost"] = ended.price * (1 + ended.delisting_return), 0.0
    return frames.concat([ends, table]).sort_values("t", kind="stable")


def closed_episodes(table: Any) -> Any:
    """Follow each position by hand: profit, what was paid for it, and how long it lasted."""
    found: list[dict[str, float]] = []
    for _, rows in table.groupby("name"):
        held: Position | None = None
        largest = 0.0
        for t, shares, price, cost in rows[["t", "shares", "price", "cost"]].itertuples(index=False):
            left, charge = float(shares), float(cost)
            while left:
                part = left
                if held is not None and held.shares * left < 0 and abs(left) > abs(held.shares) * (1 + 1e-9):
                    part = -held.shares
                fee = charge * part / float(shares)
                if held is None:
                    held = Position(opened=int(t), shares=part, paid=abs(part * price), profit=-part * price - fee)
                else:
                    held.paid += abs(part * price) if held.shares * part > 0 else 0.0
                    held.shares, held.profit = held.shares + part, held.profit - part * price - fee
                left -= part
                largest = max(largest, abs(held.shares))
                if abs(held.shares) <= 1e-9 * largest:
                    found.append({"profit": held.profit, "paid": held.paid, "days": int(t) - held.opened})
                    held = None
    return frames.DataFrame(found)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_said_of_episodes_is_what_following_each_position_gives(seed: int) -> None:
    done = simulated(seed)
    figures = measure(done)
    closed = closed_episodes(trades(done))
    won, lost = closed["profit"][closed["profit"] > 0], closed["profit"][closed["profit"] < 0]
    expected = {
        "num_trades": len(done.fills.session),
        "win_rate": len(won) / len(closed),
        "profit_factor": won.sum() / -lost.sum(),
        "avg_trade_return": (closed["profit"] / closed["paid"]).mean(),
        "avg_holding_period": closed["days"].mean(),
    }
    assert len(closed) > 20
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE), name


@pytest.mark.parametrize("seed", range(8))
def test_what_is_said_of_the_book_is_what_its_shares_and_closes_give(seed: int) -> None:
    done = simulated(seed)
    figures = measure(done)
    table = trades(done)
    grid: Any = table.pivot_table(index="t", columns="name", values="shares", aggfunc="sum")
    shares = grid.reindex(range(len(DATES))).fillna(0.0).cumsum().round(9)
    weights = (shares * frames.DataFrame(done.panel.close).ffill()).div(frames.Series(done.value), axis=0)[1:]
    fills = done.fills
    sums = frames.DataFrame({"notional": np.abs(fills.notional), "cost": fills.cost}).groupby(fills.session).sum()
    sums = sums.reindex(range(len(DATES))).fillna(0.0)
    traded = sums["notional"] / 2 / (done.value + sums["cost"])
    traded[traded.gt(0).idxmax()] = 0.0
    days = shares.ne(0).sum()
    alive = frames.DataFrame(done.panel.close).iloc[-6:].notna().any()
    value = frames.Series(done.value)
    longest, peak = 0, 0
    for before, at in pairwise(range(len(value))):
        peak = at if value[at] >= value[: before + 1].max() * (1 - 1e-12) else peak
        if peak == at:
            continue
        longest = max(longest, at - peak + (1 if at + 1 < len(value) and value[at + 1] >= value[peak] else 0))
    expected = {
        "turnover": 252 * traded[1:].mean(),
        "gross_exposure": weights.abs().sum(axis=1).mean(),
        "net_exposure": weights.sum(axis=1).mean(),
        "survivorship": days[alive].sum() / days.sum(),
        "drawdown_duration": longest,
    }
    for name, found in expected.items():
        assert not math.isnan(found)
        assert figures[name] == pytest.approx(found, rel=TOLERANCE, abs=TOLERANCE), name
