"""A backtest simulator that is slow and plain: one name at a time, Python numbers alone, no array.

It is written from the definition, not from the product's simulator, which must agree with it.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from typing import Any


class RuinedError(Exception):
    """The portfolio is worth nothing any more."""


@dataclass(kw_only=True)
class Market:
    """Prices and events: one dict per session, of the symbols that have the thing in that session."""

    dates: list[dt.date]
    closes: list[dict[str, float]]
    opens: list[dict[str, float]] = field(default_factory=list)
    dividends: list[dict[str, float]] = field(default_factory=list)
    splits: list[dict[str, float]] = field(default_factory=list)
    delisting_returns: dict[str, float] = field(default_factory=dict)
    cash_rates: list[float] = field(default_factory=list)


@dataclass(kw_only=True)
class Account:
    """What is held, and everything that happened, session by session."""

    cash: float
    shares: dict[str, float] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    cashes: list[float] = field(default_factory=list)
    positions: list[dict[str, float]] = field(default_factory=list)
    weights: list[dict[str, float]] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    interest: list[float] = field(default_factory=list)
    borrow_fees: list[float] = field(default_factory=list)
    dividends: list[float] = field(default_factory=list)
    turnover: list[float] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    fills: list[tuple[int, str, float, float]] = field(default_factory=list)
    delisted: list[tuple[int, str, float, float]] = field(default_factory=list)

    def value(self, prices: dict[str, float]) -> float:
        total = self.cash
        for symbol, count in self.shares.items():
            total += count * prices[symbol]
        if total <= 0:
            raise RuinedError
        return total


def limit(weights: dict[str, float], config: dict[str, Any]) -> dict[str, float]:
    limited = dict(weights)
    if config["max_weight"] is not None:
        for symbol, weight in limited.items():
            limited[symbol] = math.copysign(min(abs(weight), config["max_weight"]), weight)
    if config["net"] is not None:
        longs = sum(weight for weight in limited.values() if weight > 0)
        shorts = sum(-weight for weight in limited.values() if weight < 0)
        for symbol, weight in limited.items():
            if longs - shorts > config["net"] and weight > 0:
                limited[symbol] = weight / longs * (shorts + config["net"])
            if shorts - longs > config["net"] and weight < 0:
                limited[symbol] = weight / shorts * (longs + config["net"])
    if config["gross"] is not None:
        total = sum(abs(weight) for weight in limited.values())
        if total > config["gross"]:
            limited = {symbol: weight / total * config["gross"] for symbol, weight in limited.items()}
    return limited


def simulate_slowly(market: Market, targets: list[dict[str, float] | None], config: dict[str, Any]) -> Account:
    """Simulate; a target of None is a session without a decision, a symbol that a target lacks is to weigh 0."""
    account = Account(cash=config["capital"])
    lag = 0 if config["same_bar"] else config["lag"]
    for t, closes in enumerate(market.closes):
        for column in (account.interest, account.borrow_fees, account.dividends, account.costs, account.turnover):
            column.append(0.0)
        account.missed.append(0)
        if t > 0:
            _accrue(account, market, t, config)
            _distribute(account, market, t)
            _delist(account, market, t, config)
        target = targets[t - lag] if t >= lag else None
        if target is not None and config["execution"] == "open":
            with_close = {symbol: price for symbol, price in market.opens[t].items() if symbol in closes}
            _rebalance(account, t, limit(target, config), with_close, config)
        account.marks.update(closes)
        if target is not None and config["execution"] == "close":
            _rebalance(account, t, limit(target, config), closes, config)
        value = account.value(account.marks)
        account.values.append(value)
        account.cashes.append(account.cash)
        account.positions.append(dict(account.shares))
        account.weights.append({s: count * account.marks[s] / value for s, count in account.shares.items()})
        account.stale.append(sum(symbol not in closes for symbol in account.shares))
    return account


def _accrue(account: Account, market: Market, t: int, config: dict[str, Any]) -> None:
    """Earn on cash and pay for shorts, for the days since the session before, on its closing balances."""
    days = (market.dates[t] - market.dates[t - 1]).days
    if market.cash_rates:
        account.interest[t] = account.cash * market.cash_rates[t - 1] * days / 360
    for symbol, count in account.shares.items():
        if count < 0:
            account.borrow_fees[t] += -count * account.marks[symbol] * config["borrow_bps"] / 10_000 * days / 360
    account.cash += account.interest[t] - account.borrow_fees[t]


def _distribute(account: Account, market: Market, t: int) -> None:
    """Pay dividends on the shares of the close before, then split these."""
    if market.dividends:
        for symbol, count in account.shares.items():
            account.dividends[t] += count * market.dividends[t].get(symbol, 0.0)
    account.cash += account.dividends[t]
    if market.splits:
        for symbol, ratio in market.splits[t].items():
            if symbol in account.marks:
                account.marks[symbol] /= ratio
            if symbol in account.shares:
                account.shares[symbol] *= ratio


def _delist(account: Account, market: Market, t: int, config: dict[str, Any]) -> None:
    for symbol in sorted(account.shares):
        gap = 0
        while symbol not in market.closes[t - gap]:
            gap += 1
        if gap > 5:
            count = account.shares.pop(symbol)
            known = market.delisting_returns
            final = known[symbol] if symbol in known else config["delisting_return"]
            account.cash += count * account.marks[symbol] * (1 + final)
            account.delisted.append((t, symbol, count, account.marks[symbol]))


def _rebalance(
    account: Account, t: int, target: dict[str, float], prices: dict[str, float], config: dict[str, Any]
) -> None:
    value = account.value({**account.marks, **prices})
    orders: dict[str, float] = {}
    for symbol in sorted({*target, *account.shares}):
        wanted = target.get(symbol, 0.0)
        held = account.shares.get(symbol, 0.0)
        price = prices.get(symbol, account.marks.get(symbol, 0.0))
        if abs(wanted - held * price / value) <= config["no_trade_band"] + 1e-12:
            continue
        if symbol not in prices:
            account.missed[-1] += 1
            continue
        orders[symbol] = wanted * value / price - held
    turnover = sum(abs(count) * prices[symbol] for symbol, count in orders.items()) / value / 2
    scale = 1.0
    if account.fills:
        if config["max_turnover"] is not None and turnover > config["max_turnover"]:
            scale = config["max_turnover"] / turnover
        account.turnover[-1] = turnover * scale
    for symbol, count in orders.items():
        bought = count * scale
        cost = abs(bought) * prices[symbol] * (config["costs_bps"] + config["slippage_bps"]) / 10_000
        account.cash -= bought * prices[symbol] + cost
        account.costs[-1] += cost
        account.fills.append((t, symbol, bought, prices[symbol]))
        # An order that is carried out whole ends exactly where it was to end.
        account.shares[symbol] = account.shares.get(symbol, 0.0) + bought
        if account.shares[symbol] == 0.0:
            del account.shares[symbol]
