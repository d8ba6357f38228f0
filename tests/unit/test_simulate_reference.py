"""The simulator agrees with a slow one that was written from the definition alone, whatever the market does."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.errors import InvalidInputError
from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Floats, Panel
from optaic.quant.simulate import simulate
from optaic.quant.simulation import Simulation
from tests.reference_simulator import Account, Market, RuinedError, simulate_slowly

# Of what the portfolio is worth: 1e-12 of its value, or of its weights.
TOLERANCE = 1e-12


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    lag = draw(st.sampled_from([0, 1, 1, 2]))
    return {
        "capital": draw(st.sampled_from([1.0, 1e7])),
        "execution": draw(st.sampled_from(["close", "open"])),
        "lag": lag,
        "same_bar": lag == 0,
        "costs_bps": draw(st.sampled_from([0.0, 10.0, 37.5])),
        "slippage_bps": draw(st.sampled_from([0.0, 5.0])),
        "borrow_bps": draw(st.sampled_from([0.0, 50.0, 1500.0])),
        "max_weight": draw(st.sampled_from([None, 0.15, 0.4])),
        "gross": draw(st.sampled_from([None, 0.8, 1.7])),
        "net": draw(st.sampled_from([None, 0.0, 0.3])),
        "no_trade_band": draw(st.sampled_from([0.0, 0.0, 0.013, 0.08])),
        "max_turnover": draw(st.sampled_from([None, 0.07, 0.3])),
        "delisting_return": draw(st.sampled_from([0.0, -0.3, -1.0])),
    }


@st.composite
def markets(draw: st.DrawFn) -> tuple[Panel, Floats, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Draw the shape of a market; a seed fills it, so that a failing example shrinks to few sessions and names."""
    sessions, symbols = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    days = np.cumsum(random.choice([1, 1, 1, 3, 4], sessions))
    dates = np.datetime64("2019-12-27") + days.astype("timedelta64[D]")
    closes = 50 * np.exp(np.cumsum(random.normal(0, 0.03, (sessions, symbols)), axis=0))
    opens = closes * np.exp(random.normal(0, 0.01, closes.shape))
    closes[random.random(closes.shape) < draw(st.sampled_from([0.0, 0.05, 0.4]))] = np.nan
    opens[random.random(opens.shape) < draw(st.sampled_from([0.0, 0.1]))] = np.nan
    for i in range(symbols):
        if draw(st.booleans()):  # a name that is listed late, disappears, or both; or halts and comes back
            first, last = sorted(random.integers(0, sessions + 1, 2))
            if draw(st.booleans()):
                closes[:first, i] = np.nan
                closes[last:, i] = np.nan
            else:
                closes[first:last, i] = np.nan
    has_events = draw(st.booleans())
    dividends = np.where(random.random(closes.shape) < 0.1, random.random(closes.shape) * 3, np.nan)
    splits = np.where(random.random(closes.shape) < 0.05, random.choice([0.1, 2.0, 3.0], closes.shape), np.nan)
    known = random.uniform(-1, 0.2, symbols)
    known[random.random(symbols) < 0.5] = np.nan
    panel = Panel(
        dates=dates,
        close=closes,
        open=opens,
        dividends=dividends if has_events else None,
        splits=splits if has_events else None,
        delisting_returns=known if draw(st.booleans()) else None,
        cash_rates=random.uniform(-0.01, 0.08, sessions) if draw(st.booleans()) else None,
    )
    targets = random.normal(0.1, draw(st.sampled_from([0.0, 0.2, 0.4])), closes.shape)
    targets[random.random(targets.shape) < 0.3] = 0.0
    return panel, targets, random.random(sessions) < draw(st.sampled_from([0.2, 1.0]))


def as_dicts(values: Floats | None) -> list[dict[str, float]]:
    if values is None:
        return []
    return [{f"S{i}": value for i, value in enumerate(row) if value == value} for row in values.tolist()]  # noqa: PLR0124 - NaN


def as_market(panel: Panel) -> Market:
    known = [] if panel.delisting_returns is None else as_dicts(panel.delisting_returns[None, :])
    dates: list[dt.date] = panel.dates.tolist()
    return Market(
        dates=dates,
        closes=as_dicts(panel.close),
        opens=as_dicts(panel.open),
        dividends=as_dicts(panel.dividends),
        splits=as_dicts(panel.splits),
        delisting_returns=known[0] if known else {},
        cash_rates=[] if panel.cash_rates is None else panel.cash_rates.tolist(),
    )


def assert_equal(found: Simulation, expected: Account, symbols: int) -> None:
    scale = max(expected.values) * TOLERANCE
    for name, column in {
        "value": expected.values,
        "cash": expected.cashes,
        "costs": expected.costs,
        "interest": expected.interest,
        "borrow_fees": expected.borrow_fees,
        "dividends": expected.dividends,
    }.items():
        np.testing.assert_allclose(getattr(found, name), column, rtol=TOLERANCE, atol=scale, err_msg=name)
    np.testing.assert_allclose(found.turnover, expected.turnover, rtol=TOLERANCE, atol=TOLERANCE)
    gross = [sum(map(abs, weights.values())) for weights in expected.weights]
    np.testing.assert_allclose(found.gross_exposure, gross, rtol=TOLERANCE, atol=TOLERANCE)
    net = [sum(weights.values()) for weights in expected.weights]
    np.testing.assert_allclose(found.net_exposure, net, rtol=TOLERANCE, atol=TOLERANCE)
    assert found.missed_fills.tolist() == expected.missed
    assert found.stale_marks.tolist() == expected.stale
    held = [sum(f"S{i}" in shares for shares in expected.positions) for i in range(symbols)]
    assert found.held_sessions.tolist() == held
    fills = found.fills
    assert [(t, f"S{i}") for t, i in zip(fills.session.tolist(), fills.symbol.tolist(), strict=True)] == [
        fill[:2] for fill in expected.fills
    ]
    np.testing.assert_allclose(fills.notional, [n * p for _, _, n, p in expected.fills], rtol=TOLERANCE, atol=scale)
    assert fills.price.tolist() == [fill[3] for fill in expected.fills]
    ended = found.delistings
    names = [(t, f"S{i}") for t, i in zip(ended.session.tolist(), ended.symbol.tolist(), strict=True)]
    assert names == [one[:2] for one in expected.delisted]
    for (shares, marks), held_then in zip(found.replay(), expected.positions, strict=True):
        worth = {f"S{i}": count * mark for i, (count, mark) in enumerate(zip(shares, marks, strict=True)) if count}
        assert worth.keys() == held_then.keys()
        slow = [held_then[symbol] * marks[int(symbol[1:])] for symbol in worth]
        np.testing.assert_allclose(list(worth.values()), slow, rtol=TOLERANCE, atol=scale)


@given(markets(), configs())
def test_a_backtest_is_that_of_the_slow_simulator(
    market: tuple[Panel, Floats, np.ndarray[Any, np.dtype[np.bool_]]], config: dict[str, Any]
) -> None:
    panel, targets, decided = market
    wanted = [row if is_taken else None for row, is_taken in zip(as_dicts(targets), decided, strict=True)]
    try:
        expected = simulate_slowly(as_market(panel), wanted, config)
    except RuinedError:
        with pytest.raises(InvalidInputError, match="ruined"):
            simulate(panel, targets, decided=decided, options=SimulatorOptions(**config))
        return
    found = simulate(panel, targets, decided=decided, options=SimulatorOptions(**config))
    assert_equal(found, expected, panel.n_symbols)


@given(markets(), configs())
def test_what_the_portfolio_is_worth_is_what_it_was_and_everything_that_happened_since(
    market: tuple[Panel, Floats, np.ndarray[Any, np.dtype[np.bool_]]], config: dict[str, Any]
) -> None:
    panel, targets, decided = market
    options = SimulatorOptions(**config)
    try:
        found = simulate(panel, targets, decided=decided, options=options)
    except InvalidInputError:
        return
    spent = np.bincount(found.fills.session, found.fills.notional, panel.n_sessions)
    ended = found.delistings
    paid_out = ended.shares * ended.price * (1 + ended.delisting_return)
    received = np.bincount(ended.session, paid_out, panel.n_sessions)
    flows = found.interest - found.borrow_fees + found.dividends + received - spent - found.costs
    np.testing.assert_allclose(found.cash, options.capital + np.cumsum(flows), rtol=0, atol=1e-11 * found.value.max())
    held = np.array([float(shares @ marks) for shares, marks in found.replay()])
    np.testing.assert_allclose(found.value, found.cash + held, rtol=0, atol=1e-12 * found.value.max())
