"""The fits of a model version: what each was trained on, from when it may be used, and how good it was."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.errors import InvalidInputError
from optaic.flows.estimator import Kind, predict
from optaic.flows.score import CLASSIFICATION, REGRESSION, score_classification, score_regression
from optaic.quant.signals import ic, ic_ir

Floats = npt.NDArray[np.float64]

REPEATS = 5
"""How often a feature is shuffled."""

MAX_ROWS = 20_000
"""Rows that are shuffled at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One fit of a version.

    Attributes
    ----------
    fit_id
        From 1, in order of time.
    file
        Its file among those of the version.
    train_start, train_end
        The first and the last event date of its samples.
    label_end
        The last date that their labels reach.
    usable_from
        The first date that it may predict.
    training_samples
        How many there were.
    """

    fit_id: int
    file: str
    train_start: dt.date
    train_end: dt.date
    label_end: dt.date
    usable_from: dt.date
    training_samples: int

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON; dates are ISO text."""
        return {
            name: value.isoformat() if isinstance(value, dt.date) else value for name, value in asdict(self).items()
        }


def read_fits(detail: Mapping[str, Any], *, model: str) -> list[Fit]:
    """Read the fits that a version states, in order.

    Raises
    ------
    InvalidInputError
        If it states none.
    """
    stated: Sequence[Mapping[str, Any]] = detail.get("fits") or ()
    if not stated:
        raise InvalidInputError(f"{model} has no fits", next_step="it is no model that was trained here")
    return [_read(one) for one in stated]


def _read(stated: Mapping[str, Any]) -> Fit:
    return Fit(
        fit_id=stated["fit_id"],
        file=stated["file"],
        train_start=dt.date.fromisoformat(stated["train_start"]),
        train_end=dt.date.fromisoformat(stated["train_end"]),
        label_end=dt.date.fromisoformat(stated["label_end"]),
        usable_from=dt.date.fromisoformat(stated["usable_from"]),
        training_samples=stated["training_samples"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fit with its scores.

    Attributes
    ----------
    fit
        The fit.
    test_end
        The last session of its test block.
    train, val
        Its scores on the samples that it learned from, and on the rows that it predicts.
    val_ics, val_predicted, val_labels : ndarray
        Of the rows that it predicts and whose labels are there.
    training_mean
        The mean of what it learned.
    is_probability
        Whether it predicts probabilities.
    """

    fit: Fit
    test_end: dt.date
    train: Mapping[str, float]
    val: Mapping[str, float]
    val_ics: Floats
    val_predicted: Floats
    val_labels: Floats
    training_mean: float
    is_probability: bool

    def row(self) -> dict[str, Any]:
        """Give it as a row of `cv_scores`."""
        fit = self.fit
        return {
            "fit_id": fit.fit_id,
            "train_start": fit.train_start,
            "train_end": fit.train_end,
            "label_end": fit.label_end,
            "test_start": fit.usable_from,
            "test_end": self.test_end,
            "training_samples": fit.training_samples,
            "validation_samples": len(self.val_labels),
            **{f"train_{name}": _finite(value) for name, value in self.train.items()},
            **{f"val_{name}": _finite(value) for name, value in self.val.items()},
        }


def summarise(
    fitted: Sequence[Fitted], *, is_classifier: bool, num_features: int
) -> dict[str, float | int | str | None]:
    """Give the metrics of a training.

    Parameters
    ----------
    fitted
        All fits of the version.
    is_classifier
        Which scores there are.
    num_features
        How many features were used.

    Returns
    -------
    dict
        `train_*` is the mean over the fits; `val_*` is pooled over all rows that were predicted out of sample, but `ic`
        and `ic_ir` are over their dates. None where there is nothing to tell.
    """
    predicted = np.concatenate([one.val_predicted for one in fitted])
    labels = np.concatenate([one.val_labels for one in fitted])
    means = np.concatenate([np.full(len(one.val_labels), one.training_mean) for one in fitted])
    ics = np.concatenate([one.val_ics for one in fitted])
    if is_classifier:
        val = score_classification(predicted, labels, is_probability=fitted[0].is_probability)
    else:
        val = score_regression(predicted, labels, training_mean=means)
    val |= {"ic": ic(ics), "ic_ir": ic_ir(ics)}
    names = (*(CLASSIFICATION if is_classifier else REGRESSION), "ic", "ic_ir")
    return {
        **{f"train_{name}": _mean([one.train[name] for one in fitted]) for name in names},
        **{f"val_{name}": _finite(val[name]) for name in names},
        "num_fits": len(fitted),
        "num_features": num_features,
        "training_samples": sum(one.fit.training_samples for one in fitted),
        "validation_samples": len(labels),
    }


def importance(
    model: Any,
    kind: Kind,
    features: Floats | None,
    goals: Floats | None,
    *,
    names: Sequence[str],
    fit_id: int,
    seed: int,
) -> pl.DataFrame:
    """Measure how much worse a fit predicts when a feature is shuffled (Breiman 2001).

    Parameters
    ----------
    model, kind
        The fit, and what it can do.
    features : ndarray of shape (n_rows, n_features), optional
        What it did not learn from; None if there is nothing. At most `MAX_ROWS` rows, evenly chosen, are used.
    goals : ndarray of shape (n_rows,), optional
        What came.
    names
        Of the features.
    fit_id
        The fit.
    seed
        Decides the shuffling.

    Returns
    -------
    DataFrame
        `feature` (String), `importance` and `std` (Float64): mean and deviation (ddof=1), over five shuffles, of the
        increase of the root mean squared error of what is predicted, of a classifier's probability too; null where
        there are no rows; `fit_id` (Int64). The most important first.
    """
    found: list[dict[str, Any]] = []
    chance = np.random.default_rng(seed)
    if features is not None and goals is not None and len(features) > MAX_ROWS:
        chosen = np.linspace(0, len(features) - 1, MAX_ROWS).astype(np.int64)
        features, goals = features[chosen], goals[chosen]
    for place, name in enumerate(names):
        mean, spread = None, None
        if features is not None and goals is not None:
            before = _error(model, kind, features, goals)
            increases: list[float] = []
            for _ in range(REPEATS):
                shuffled = features.copy()
                shuffled[:, place] = chance.permutation(shuffled[:, place])
                increases.append(_error(model, kind, shuffled, goals) - before)
            mean, spread = float(np.mean(increases)), float(np.std(increases, ddof=1))
        found.append({"feature": name, "importance": mean, "std": spread, "fit_id": fit_id})
    schema = {"feature": pl.String, "importance": pl.Float64, "std": pl.Float64, "fit_id": pl.Int64}
    return pl.DataFrame(found, schema=schema).sort("importance", descending=True, nulls_last=True, maintain_order=True)


def _error(model: Any, kind: Kind, features: Floats, goals: Floats) -> float:
    return math.sqrt(float(np.mean(np.square(predict(model, kind, features)[0] - goals))))


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
