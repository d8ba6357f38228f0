"""An optimiser through time: refitted at each decision on what was known by then, and honest where it fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from skfolio.optimization import MeanRisk

from optaic.flows.rebalance import Rebalancer
from optaic.flows.refit import Refit
from tests.market import stock_prices

LOOKBACK = 60
SYMBOLS = [f"S{number:02d}" for number in range(20)]

Floats = npt.NDArray[np.float64]


def history() -> Floats:
    prices = stock_prices()[-200:]
    return prices[1:] / prices[:-1] - 1.0


def rebalancer(returns: Floats, params: dict[str, Any] | None = None, **options: Any) -> Rebalancer:
    members = options.pop("members_at", None)
    return Rebalancer(
        refit=Refit(definition=MeanRisk, params={"max_weights": 0.2} | (params or {}), instance="mine", **options),
        symbols=SYMBOLS,
        returns_at=lambda session: returns[: session + 1],
        lookback=LOOKBACK,
        members_at=members,
    )


def test_each_decision_is_a_fit_to_the_last_sessions_and_sees_nothing_later() -> None:
    returns = history()
    asked = rebalancer(returns)
    future = returns.copy()
    future[121:] = 9.9
    blind = rebalancer(future)
    for session in (100, 120):
        direct = MeanRisk(max_weights=0.2).fit(returns[session - LOOKBACK + 1 : session + 1])
        assert np.abs(asked.decide(session, np.zeros(20)) - np.asarray(direct.weights_)).max() < 1e-10
        assert blind.decide(session, np.zeros(20)).tolist() == asked.decide(session, np.zeros(20)).tolist()
    assert (asked.failed_solves, asked.fallbacks) == (0, 0)


def test_names_without_a_whole_lookback_and_those_that_are_no_members_are_not_bought_and_are_sold() -> None:
    returns = history()
    returns[80, 3] = np.nan

    def members(session: int) -> npt.NDArray[np.bool_]:
        assert session == 120
        return np.arange(20) != 5

    asked = rebalancer(returns, members_at=members)
    weights = asked.decide(120, np.full(20, 0.05))
    assert (weights[3], weights[5]) == (0.0, 0.0)
    assert weights.sum() == pytest.approx(1.0, abs=1e-6)
    assert asked.decisions[0].asset_count == 18


def test_before_there_is_a_whole_lookback_nothing_is_traded() -> None:
    asked = rebalancer(history())
    assert asked.decide(LOOKBACK - 2, np.zeros(20)).tolist() == [0.0] * 20
    assert (asked.decisions[0].status, asked.failed_solves) == ("no_names", 0)
    assert asked.decide(LOOKBACK - 1, np.zeros(20)).sum() == pytest.approx(1.0, abs=1e-6)


def test_a_failed_solve_keeps_what_is_held_and_is_counted() -> None:
    asked = rebalancer(history(), {"max_weights": 0.04})
    held = np.linspace(0.0, 0.1, 20)
    assert asked.decide(100, held).tolist() == held.tolist()
    assert (asked.failed_solves, asked.fallbacks) == (1, 0)


def test_a_fallback_is_used_and_counted() -> None:
    asked = rebalancer(history(), {"max_weights": 0.04}, fallback="equal_weight")
    assert asked.decide(100, np.zeros(20)).tolist() == pytest.approx([0.05] * 20, rel=1e-12)
    assert (asked.failed_solves, asked.fallbacks, asked.decisions[0].fallback) == (1, 1, "equal_weight")


def test_turnover_counts_from_the_drifted_weights_but_not_for_the_first_purchase() -> None:
    asked = rebalancer(history(), constraints={"turnover": 0.1})
    first = asked.decide(100, np.zeros(20))
    assert first.sum() == pytest.approx(1.0, abs=1e-6)
    held = np.full(20, 0.05)
    after = asked.decide(120, held)
    assert np.abs(after - held).sum() / 2 == pytest.approx(0.1, abs=1e-6)
    assert asked.failed_solves == 0
