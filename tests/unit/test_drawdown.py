"""Drawdowns: depth, and time from peak to recovery."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from optaic.quant import drawdown, performance
from tests.market import index_returns, portfolio_returns

Array = npt.NDArray[np.float64]
RETURNS = npst.arrays(np.float64, st.integers(0, 60), elements=st.floats(-1.5, 2.0))


def of(*values: float) -> Array:
    """Give the returns that make these values of 100 at the start."""
    path = np.array([100.0, *values])
    return path[1:] / path[:-1] - 1


def test_a_path_small_enough_for_paper() -> None:
    #            1    2   3   4    5    6    7   8
    returns = of(120, 90, 60, 120, 150, 135, 150, 75)
    assert drawdown.drawdowns(returns) == pytest.approx([0, -0.25, -0.5, 0, 0, -0.1, 0, -0.5])
    episodes = drawdown.drawdown_episodes(returns)
    assert episodes.peak.tolist() == [1, 5, 7]
    assert episodes.trough.tolist() == [3, 6, 8]
    assert episodes.recovery.tolist() == [4, 7, -1]
    assert drawdown.max_drawdown(returns) == pytest.approx(-0.5)
    assert drawdown.avg_drawdown(returns) == pytest.approx(-(0.5 + 0.1 + 0.5) / 3)
    assert drawdown.drawdown_duration(returns) == drawdown.DrawdownDuration(sessions=3, is_open=False)
    assert drawdown.calmar_ratio(returns, calendar_days=731) == pytest.approx((0.75 ** (365.25 / 731) - 1) / 0.5)


def test_the_value_before_the_first_return_is_a_peak() -> None:
    assert drawdown.max_drawdown(of(80, 90)) == pytest.approx(-0.2)
    assert drawdown.drawdown_duration(of(80, 90)) == drawdown.DrawdownDuration(sessions=2, is_open=True)


def test_an_open_drawdown_counts_and_is_flagged_only_if_it_is_the_longest() -> None:
    assert drawdown.drawdown_duration(of(90, 100, 90, 80, 70)) == drawdown.DrawdownDuration(sessions=3, is_open=True)
    assert drawdown.drawdown_duration(of(90, 80, 70, 100, 90)) == drawdown.DrawdownDuration(sessions=4, is_open=False)
    assert drawdown.drawdown_duration(of(90, 100, 90, 80)) == drawdown.DrawdownDuration(sessions=2, is_open=True)


def test_a_value_that_never_falls_has_a_drawdown_of_zero_and_no_calmar_ratio() -> None:
    rising = of(101, 102, 102)
    assert (drawdown.max_drawdown(rising), drawdown.avg_drawdown(rising)) == (0.0, 0.0)
    assert drawdown.drawdown_duration(rising) == drawdown.DrawdownDuration(sessions=0, is_open=False)
    assert math.isnan(drawdown.calmar_ratio(rising, calendar_days=100))


def test_without_a_session_there_is_no_drawdown() -> None:
    assert math.isnan(drawdown.max_drawdown([]))
    assert math.isnan(drawdown.avg_drawdown([]))
    assert drawdown.drawdown_duration([]).sessions == 0


def test_ruin_is_a_drawdown_of_the_whole_for_ever() -> None:
    returns = [0.1, -1.3, 5.0]
    assert drawdown.drawdowns(returns).tolist() == [0.0, -1.0, -1.0]
    assert drawdown.drawdown_duration(returns) == drawdown.DrawdownDuration(sessions=2, is_open=True)


def test_reaching_the_peak_again_up_to_rounding_is_a_recovery() -> None:
    returns = of(*(100.0 + 10 * np.sin(np.arange(1, 4001) * math.pi / 2)))
    recovered = drawdown.drawdown_episodes(returns)
    assert drawdown.drawdown_duration(returns).sessions == 4
    assert (recovered.recovery[:-1] > 0).all()


def test_drawdowns_of_33_years_are_those_of_empyrical_and_pandas() -> None:
    # max_drawdown of empyrical-reloaded 0.7.1 on the same returns.
    assert drawdown.max_drawdown(portfolio_returns()) == pytest.approx(-0.4840751122596194, rel=1e-10)
    assert drawdown.max_drawdown(index_returns()) == pytest.approx(-0.5677538894035712, rel=1e-10)
    values = pd.Series(np.concatenate([[1.0], index_returns() + 1])).cumprod()
    assert drawdown.drawdowns(index_returns()) == pytest.approx(np.asarray(values / values.cummax() - 1)[1:], abs=1e-10)


def test_the_longest_drawdown_of_the_index_began_in_march_2000_and_took_seven_years() -> None:
    from tests.market import sessions

    episodes = drawdown.drawdown_episodes(index_returns())
    longest = int(np.argmax(episodes.recovery - episodes.peak))
    days = sessions()
    assert str(days[episodes.peak[longest]]) == "2000-03-24"
    assert str(days[episodes.trough[longest]]) == "2002-10-09"
    assert str(days[episodes.recovery[longest]]) == "2007-05-30"
    assert drawdown.drawdown_duration(index_returns()).sessions == int(
        episodes.recovery[longest] - episodes.peak[longest]
    )


@given(RETURNS)
def test_drawdowns_lie_between_minus_one_and_zero(returns: Array) -> None:
    below = drawdown.drawdowns(returns)
    assert len(below) == len(returns)
    assert ((below >= -1) & (below <= 0)).all()


@given(RETURNS)
def test_episodes_are_the_sessions_below_the_peak_and_no_others(returns: Array) -> None:
    below = np.concatenate([[0.0], drawdown.drawdowns(returns)])
    episodes = drawdown.drawdown_episodes(returns)
    covered = np.zeros(len(below), dtype=bool)
    for peak, trough, recovery, depth in zip(
        episodes.peak, episodes.trough, episodes.recovery, episodes.depth, strict=True
    ):
        end = len(below) if recovery < 0 else recovery
        assert below[peak] == 0
        assert depth == below[trough] == below[peak:end].min()
        covered[peak + 1 : end] = True
    assert (covered == (below < 0)).all()


@given(RETURNS, st.integers(1, 10), st.floats(0, 0.5))
def test_a_gain_before_or_a_flat_end_changes_no_depth(returns: Array, flat: int, gain: float) -> None:
    longer = np.concatenate([[gain], returns, np.zeros(flat)])
    worst = 0.0 if not len(returns) else drawdown.max_drawdown(returns)
    assert drawdown.max_drawdown(longer) == pytest.approx(worst, abs=1e-9)


@given(RETURNS)
def test_the_total_return_is_never_below_the_deepest_drawdown(returns: Array) -> None:
    if len(returns):
        assert performance.total_return(returns) >= drawdown.max_drawdown(returns) - 1e-9
