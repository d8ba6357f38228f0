"""A model that has nothing to learn earns nothing out of sample; in sample it would seem to earn a fortune."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.tree import DecisionTreeRegressor

from optaic.flows.estimator import describe_estimator, make_estimator, predict
from optaic.flows.features import Features
from optaic.flows.sample import Samples
from optaic.flows.trainer import Trainer
from optaic.quant.labels import forward_returns, transform_labels
from optaic.quant.split import walk_forward

N_SESSIONS, N_NAMES, HORIZON, LAG, SEEDS = 400, 12, 5, 1, 20
CONFIG = {"target": {"horizon": HORIZON, "lag": LAG, "transform": "cs_demean"}}

Floats = npt.NDArray[np.float64]


def noise(seed: int) -> tuple[Samples, Floats]:
    """Make prices that wander, and features that do too, slowly: neighbours in time share features and labels."""
    chance = np.random.default_rng(seed)
    prices = 100 * np.exp(np.cumsum(chance.normal(0, 0.01, (N_SESSIONS, N_NAMES)), axis=0))
    features = np.zeros((N_SESSIONS, N_NAMES, 3))
    steps = chance.normal(size=features.shape)
    for t in range(1, N_SESSIONS):
        features[t] = 0.98 * features[t - 1] + steps[t]
    labels = transform_labels(forward_returns(prices, horizon=HORIZON, lag=LAG), "cs_demean")
    samples = Samples(
        sessions=np.arange(N_SESSIONS).astype("datetime64[D]"),
        features=Features(frame=pl.DataFrame(), schema=(("a", "Float64"),), members=0),
        values=features.reshape(-1, 3),
        places=np.repeat(np.arange(N_SESSIONS), N_NAMES),
        names=np.tile(np.arange(N_NAMES), N_SESSIONS),
        labels=labels.ravel(),
    )
    return samples, forward_returns(prices, horizon=1, lag=LAG)


def sharpe_ratio(predicted: Floats, samples: Samples, returns: Floats) -> float:
    """Hold the better half against the worse, from session to session, and annualise."""
    grid = predicted.reshape(N_SESSIONS, N_NAMES)
    earned: list[float] = []
    for t in range(N_SESSIONS):
        if np.isnan(grid[t]).any() or np.isnan(returns[t]).any():
            continue
        order = np.argsort(grid[t], kind="stable")
        earned.append(float(returns[t, order[N_NAMES // 2 :]].mean() - returns[t, order[: N_NAMES // 2]].mean()))
    return float(np.sqrt(252) * np.mean(earned) / np.std(earned, ddof=1))


def walk(samples: Samples, seed: int) -> Floats:
    """Predict each test block by its own fit."""
    estimator = make_estimator(DecisionTreeRegressor, {"min_samples_leaf": 2}, seed=seed, instance="noise")
    kind = describe_estimator(estimator)
    trainer = Trainer(estimator=estimator, kind=kind, samples=samples, config=CONFIG)
    predicted = np.full(len(samples.labels), np.nan)
    folds = walk_forward(N_SESSIONS, every=60, min_train=150, reach=LAG + HORIZON)
    for number, fold in enumerate(folds, start=1):
        _, model = trainer.fit(number, fold)
        rows = (samples.places >= fold.test_first) & (samples.places <= fold.test_last)
        predicted[rows] = predict(model, kind, samples.values[rows])[0]
    return predicted


def cheat(samples: Samples, seed: int) -> Floats:
    """Predict every second session by a fit of the others: no sample is its own, but its neighbours' labels overlap."""
    estimator = make_estimator(DecisionTreeRegressor, {"min_samples_leaf": 2}, seed=seed, instance="noise")
    predicted = np.full(len(samples.labels), np.nan)
    known = np.isfinite(samples.labels)
    odd = samples.places % 2 == 1
    estimator.fit(samples.values[~odd & known], samples.labels[~odd & known])
    predicted[odd] = estimator.predict(samples.values[odd])
    return predicted


def t_statistic(strategy: Callable[[Samples, int], Floats]) -> float:
    ratios: list[float] = []
    for seed in range(SEEDS):
        samples, returns = noise(seed)
        ratios.append(sharpe_ratio(strategy(samples, seed), samples, returns))
    return float(np.mean(ratios) / (np.std(ratios, ddof=1) / np.sqrt(SEEDS)))


def test_on_noise_the_walk_forward_sharpe_ratio_over_20_seeds_cannot_be_told_from_0() -> None:
    assert abs(t_statistic(walk)) < 2.86  # 1 % of Student's t with 19 degrees of freedom, two-sided


def test_the_same_noise_without_a_purge_seems_to_be_worth_a_fortune() -> None:
    assert t_statistic(cheat) > 5
