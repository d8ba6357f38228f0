"""How good predictions are, beside the labels that came."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from optaic.quant.predictions import r2_out_of_sample
from optaic.quant.signals import information_coefficients

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REGRESSION = ("rmse", "mae", "r2")
CLASSIFICATION = ("accuracy", "auc", "precision", "recall", "f1", "log_loss")


def score_regression(predicted: Floats, labels: Floats, *, training_mean: float | Floats) -> dict[str, float]:
    """Score predicted numbers.

    Parameters
    ----------
    predicted, labels : ndarray of shape (n_rows,)
        In the unit of the target, finite.
    training_mean : float or ndarray of shape (n_rows,)
        The mean label that each row's fit was trained on.

    Returns
    -------
    dict
        `rmse` and `mae` in the unit of the target, and `r2` against the training mean; NaN without rows.

    Examples
    --------
    >>> score_regression(np.array([1.0, 2.0]), np.array([1.0, 3.0]), training_mean=1.0)
    {'rmse': 0.7071067811865476, 'mae': 0.5, 'r2': 0.75}
    """
    if not len(labels):
        return dict.fromkeys(REGRESSION, math.nan)
    errors = predicted - labels
    return {
        "rmse": math.sqrt(float(np.mean(np.square(errors)))),
        "mae": float(np.mean(np.abs(errors))),
        "r2": r2_out_of_sample(predicted, labels, training_mean=training_mean),
    }


def score_classification(predicted: Floats, labels: Floats, *, is_probability: bool) -> dict[str, float]:
    """Score predictions of two classes.

    Parameters
    ----------
    predicted : ndarray of shape (n_rows,)
        Probabilities of class 1; or a decision function, above 0 for class 1.
    labels : ndarray of shape (n_rows,)
        0 or 1.
    is_probability
        Which of the two it is.

    Returns
    -------
    dict
        `accuracy, auc, precision, recall, f1, log_loss` as scikit-learn defines them: above one half is class 1, and a
        share of nothing is 0. NaN without rows; `auc` NaN where there is one class only; `log_loss` NaN without
        probabilities.
    """
    if not len(labels):
        return dict.fromkeys(CLASSIFICATION, math.nan)
    from sklearn import metrics

    measure: Any = metrics
    chosen = (predicted > (0.5 if is_probability else 0.0)).astype(np.int64)
    truth = labels.astype(np.int64)
    found = {
        "accuracy": measure.accuracy_score(truth, chosen),
        "auc": measure.roc_auc_score(truth, predicted) if truth.min() != truth.max() else math.nan,
        "precision": measure.precision_score(truth, chosen, zero_division=0),
        "recall": measure.recall_score(truth, chosen, zero_division=0),
        "f1": measure.f1_score(truth, chosen, zero_division=0),
        "log_loss": measure.log_loss(truth, predicted, labels=[0, 1]) if is_probability else math.nan,
    }
    return {name: float(value) for name, value in found.items()}


def correlate(predicted: Floats, labels: Floats, *, sessions: Ints, names: Ints) -> Floats:
    """Compute the information coefficient of each session that has rows.

    Parameters
    ----------
    predicted, labels : ndarray of shape (n_rows,)
        Finite.
    sessions, names : ndarray of shape (n_rows,)
        Places of sessions, and of symbols.

    Returns
    -------
    ndarray of shape (n_sessions_with_rows,), float64
        In order of time; NaN for sessions with fewer than ten names.
    """
    if not len(labels):
        return np.zeros(0)
    _, rows = np.unique(sessions, return_inverse=True)
    shape = (int(rows.max()) + 1, int(names.max()) + 1)
    left, right = np.full(shape, np.nan), np.full(shape, np.nan)
    left[rows, names], right[rows, names] = predicted, labels
    return information_coefficients(left, right)
