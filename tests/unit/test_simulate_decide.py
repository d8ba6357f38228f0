"""Decisions that depend on what is held: asked at the close, with drifted weights, and traded as others are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from optaic.errors import InvalidInputError
from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Panel
from optaic.quant.simulate import simulate
from optaic.quant.simulation import Simulation

Floats = npt.NDArray[np.float64]
HALVES = np.array([0.5, 0.5])
CLOSES = [[10.0, 10.0], [10.0, 10.0], [20.0, 10.0], [20.0, 20.0], [20.0, 20.0]]


class Asked:
    """Decides what it was made with, and keeps what it was asked."""

    def __init__(self, *answers: Floats | None) -> None:
        self.answers = list(answers)
        self.held: dict[int, list[float]] = {}

    def __call__(self, session: int, held: Floats) -> Floats | None:
        self.held[session] = held.tolist()
        return self.answers[len(self.held) - 1]


def run(asked: Asked, sessions: list[int], **options: Any) -> Simulation:
    close = np.array(CLOSES)
    panel = Panel(dates=np.datetime64("2024-01-01") + np.arange(len(close)), close=close, open=close)
    decided = np.isin(np.arange(len(close)), sessions)
    given: dict[str, Any] = {"capital": 1000.0, "costs_bps": 0.0, **options}
    return simulate(panel, np.zeros_like(close), decided=decided, decide=asked, options=SimulatorOptions(**given))


def positions(result: Simulation) -> list[list[float]]:
    return [shares.tolist() for shares, _ in result.replay()]


def test_a_decision_sees_the_weights_of_its_close_and_is_traded_one_session_later() -> None:
    # Half of 1000 in each at 10 is 50 shares of each. At the second session's close A has doubled: 1000 of 1500. One
    # session later B has doubled too, so both are worth half of 2000, and nothing has to be traded.
    asked = Asked(HALVES, np.array([0.25, 0.5]))
    result = run(asked, [0, 2])
    assert asked.held[0] == [0.0, 0.0]
    assert asked.held[2] == pytest.approx([2 / 3, 1 / 3], rel=1e-14)
    assert positions(result) == [[0, 0], [50, 50], [50, 50], [25, 50], [25, 50]]
    assert result.targets[[0, 2]].tolist() == [[0.5, 0.5], [0.25, 0.5]]
    assert result.decided.tolist() == [True, False, True, False, False]


def test_no_decision_trades_nothing_not_even_the_drift_of_the_lag() -> None:
    result = run(Asked(HALVES, None), [0, 2])
    assert positions(result) == [[0, 0], *[[50, 50]] * 4]
    assert result.decided.tolist() == [True, False, False, False, False]
    assert len(result.fills.session) == 2


def test_a_decision_is_asked_after_the_trades_of_its_session() -> None:
    asked = Asked(HALVES, np.array([0.2, 0.2]), HALVES)
    run(asked, [0, 1, 2])
    assert asked.held[1] == [0.5, 0.5]
    # At the close of session 2 a fifth of 1500 is held of each.
    assert asked.held[2] == pytest.approx([0.2, 0.2], rel=1e-14)


def test_what_could_not_be_traded_any_more_is_not_asked() -> None:
    asked = Asked(HALVES, HALVES)
    result = run(asked, [0, 2, 3], lag=2)
    assert list(asked.held) == [0, 2]
    assert result.decided.tolist() == [True, False, True, False, False]


def test_on_the_same_bar_a_decision_is_asked_before_the_trade() -> None:
    asked = Asked(HALVES, np.array([0.0, 1.0]))
    result = run(asked, [1, 2], same_bar=True)
    assert asked.held[2] == pytest.approx([2 / 3, 1 / 3], rel=1e-14)
    assert positions(result)[1:3] == [[50, 50], [0, 150]]


def test_at_the_open_of_the_same_bar_nothing_can_be_decided_on_its_close() -> None:
    with pytest.raises(InvalidInputError, match="cannot trade at the open of the same bar"):
        run(Asked(HALVES), [1], same_bar=True, execution="open")
    assert positions(run(Asked(HALVES), [1], execution="open"))[2] == [25, 50]


def test_a_decision_for_other_names_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"the decision of 2024-01-01 has shape \(3,\)"):
        run(Asked(np.zeros(3)), [0])


def test_what_was_asked_can_be_simulated_again_as_it_was_taken() -> None:
    first = run(Asked(HALVES, None, np.array([0.1, 0.7])), [0, 1, 2])
    again = simulate(first.panel, first.targets, decided=first.decided, options=first.options)
    assert again.value.tolist() == first.value.tolist()
