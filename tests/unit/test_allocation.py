"""What an allocation is expected to be, and whether it keeps its constraints: by hand, and against skfolio."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skfolio import Portfolio

from optaic.errors import InvalidInputError
from optaic.quant.allocation import describe_allocation, drift_weights, sample_moments, scale_scores
from optaic.quant.constraint import Constraint, measure_residuals
from tests.market import stock_prices

WEIGHTS = np.array([0.75, 0.5, -0.25])
MEAN = np.array([0.001, 0.002, 0.003])
COVARIANCE = np.array([[4.0, 1.0, 0.0], [1.0, 9.0, -2.0], [0.0, -2.0, 16.0]]) * 1e-4


def test_figures_of_an_allocation_are_those_computed_by_hand() -> None:
    found = describe_allocation(
        WEIGHTS,
        expected_returns=MEAN,
        covariance=COVARIANCE,
        sessions_per_year=250,
        risk_free_rate=0.0001,
        previous=np.array([0.5, 0.5, 0.0]),
    )
    # w'mu = 0.00075 + 0.001 - 0.00075; w'S w = (4 x 0.5625 + 9 x 0.25 + 16 x 0.0625 + 2 x 0.375 + 4 x 0.125) x 1e-4
    assert found["expected_return"] == pytest.approx(250 * 0.001, rel=1e-14)
    variance = 6.75e-4
    assert found["expected_volatility"] == pytest.approx(math.sqrt(250 * variance), rel=1e-14)
    assert found["expected_sharpe"] == pytest.approx(250 * 0.0009 / math.sqrt(250 * variance), rel=1e-14)
    assert found["diversification_ratio"] == pytest.approx((1.5 + 1.5 + 1.0) * 1e-2 / math.sqrt(variance), rel=1e-14)
    assert found["effective_n"] == pytest.approx(1.5**2 / 0.875, rel=1e-14)
    assert found["concentration"] == pytest.approx(0.875 / 2.25, rel=1e-14)
    assert (found["gross_exposure"], found["net_exposure"]) == (1.5, 1.0)
    assert (found["long_weight"], found["short_weight"], found["num_positions"]) == (1.25, 0.25, 3)
    assert found["turnover"] == pytest.approx(0.25, rel=1e-14)


def test_figures_are_those_of_skfolio() -> None:
    prices = stock_prices()[-253:]
    returns = prices[1:] / prices[:-1] - 1.0
    weights = np.random.default_rng(3).dirichlet(np.ones(20))
    mean, covariance = sample_moments(returns)
    found = describe_allocation(weights, expected_returns=mean, covariance=covariance, sessions_per_year=252)
    theirs = Portfolio(X=returns, weights=weights, annualization_factor=252)
    assert found["expected_return"] == pytest.approx(theirs.annualized_mean, rel=1e-10)
    assert found["expected_volatility"] == pytest.approx(theirs.annualized_standard_deviation, rel=1e-10)
    assert found["expected_sharpe"] == pytest.approx(theirs.annualized_sharpe_ratio, rel=1e-10)
    assert found["effective_n"] == pytest.approx(theirs.effective_number_assets, rel=1e-10)
    assert found["diversification_ratio"] == pytest.approx(theirs.diversification, rel=1e-10)


def test_what_is_not_defined_is_none() -> None:
    found = describe_allocation(
        np.zeros(2), expected_returns=np.zeros(2), covariance=np.zeros((2, 2)), sessions_per_year=252
    )
    undefined = {name for name, value in found.items() if value is None}
    assert undefined == {"expected_sharpe", "diversification_ratio", "effective_n", "concentration", "turnover"}


@pytest.mark.parametrize("weights", [np.array([1.0]), np.array([np.nan, 1.0])])
def test_weights_that_do_not_fit_the_moments_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(InvalidInputError):
        describe_allocation(weights, expected_returns=np.zeros(2), covariance=np.eye(2), sessions_per_year=252)


def test_weights_drift_with_prices_and_cash_does_not() -> None:
    # 40 of 100 in a name that doubles, 20 in one that halves, 40 in cash: 80 and 10 of 130.
    drifted = drift_weights(np.array([0.4, 0.2]), np.array([2.0, 0.5]))
    assert drifted.tolist() == pytest.approx([80 / 130, 10 / 130], rel=1e-14)
    assert drift_weights(np.array([0.5]), np.array([np.nan])).tolist() == [0.5]
    with pytest.raises(InvalidInputError, match="lost their whole value"):
        drift_weights(np.array([-1.0, 1.0]), np.array([3.0, 0.9]))


def test_scores_become_returns_as_grinold_says() -> None:
    # Over 21 sessions: IC 0.05, volatility 0.02 sqrt(21), score 2.
    per_session = scale_scores(np.array([2.0, np.nan]), np.array([0.02, 0.01]), ic=0.05, horizon=21)
    assert per_session[0] * 21 == pytest.approx(0.05 * 0.02 * math.sqrt(21) * 2, rel=1e-14)
    assert per_session[1] == 0.0


def test_residuals_say_by_how_much_a_constraint_is_broken() -> None:
    gross = Constraint(name="gross", text="", limits=np.array([1.25]), absolute=np.ones((1, 3)))
    turnover = Constraint(
        name="turnover",
        text="",
        limits=np.array([0.5]),
        absolute=np.ones((1, 3)) / 2,
        center=np.array([0.5, 0.5, 0.0]),
    )
    long = Constraint(
        name="long", text="", limits=np.array([1.0]), linear=np.ones((1, 3)) / 2, absolute=np.ones((1, 3)) / 2
    )
    budget = Constraint(name="budget", text="", limits=np.array([1.25]), linear=np.ones((1, 3)), sense="equal")
    bounds = Constraint(name="bounds", text="", limits=np.full(3, 0.5), linear=np.eye(3))
    found = measure_residuals([gross, turnover, long, budget, bounds], WEIGHTS)
    assert found == pytest.approx({"gross": 0.25, "turnover": -0.25, "long": 0.25, "budget": 0.25, "bounds": 0.25})


def test_of_constraints_with_one_name_the_worst_counts_and_what_is_no_number_breaks_all() -> None:
    parts = [
        Constraint(name="groups", text="", limits=np.array([limit]), linear=np.ones((1, 3))) for limit in (0.5, 2.0)
    ]
    assert measure_residuals(parts, WEIGHTS) == {"groups": 0.5}
    assert math.isnan(measure_residuals(parts, np.full(3, np.nan))["groups"])
