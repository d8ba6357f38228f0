"""Figures of predictions beside what came."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.series import BoolArray, FloatArray


def direction_accuracy(predicted: npt.ArrayLike, realised: npt.ArrayLike) -> float:
    """Compute the share of predictions whose sign is that of what came.

    Parameters
    ----------
    predicted, realised : array_like of equal shape
        In any unit with a meaning of zero; pairs with NaN or an infinite value are left out. Of ranks, give the
        distance from the middle; of a classifier, whose probabilities have no sign, 1 for class 1 and -1 for class 0:
        the share is then that of right classes.

    Returns
    -------
    float
        A fraction, pooled over all pairs. 0 has a sign of its own: it is right where 0 came, and wrong elsewhere. NaN
        without a pair.

    Examples
    --------
    >>> direction_accuracy([0.1, -0.2, 0.3, 0.0], [0.5, 0.1, 0.2, 0.1])
    0.5
    """
    ours, theirs = _pairs(predicted, realised)
    right: BoolArray = np.sign(ours) == np.sign(theirs)
    return float(np.mean(right)) if len(ours) else math.nan


def r2_out_of_sample(predicted: npt.ArrayLike, realised: npt.ArrayLike, *, training_mean: npt.ArrayLike) -> float:
    """Compute 1 - sum (y - p)^2 / sum (y - mean of the training)^2 (Campbell and Thompson 2008).

    Parameters
    ----------
    predicted, realised : array_like of equal shape
        p and y, in one unit; pairs with NaN or an infinite value are left out.
    training_mean : float, or array_like that broadcasts to their shape
        The mean label of the slice that each prediction's model was trained on: what was known, not the mean of y.

    Returns
    -------
    float
        1 for exact predictions, 0 for those as good as the training mean, negative for worse. NaN without a pair, and
        where y never differs from the training mean.

    Raises
    ------
    InvalidInputError
        If the training mean does not broadcast to the predictions, or is not finite where there is a pair.

    Examples
    --------
    >>> r2_out_of_sample([1.0, 2.0], [1.0, 3.0], training_mean=1.0)
    0.75
    """
    ours, theirs = _pairs(predicted, realised)
    shape = np.asarray(predicted).shape
    try:
        means = np.broadcast_to(np.asarray(training_mean, dtype=np.float64), shape)
    except ValueError as error:
        raise InvalidInputError(
            f"training means of shape {np.shape(training_mean)} are not those of predictions of shape {shape}",
            next_step="give one mean, or one a prediction",
        ) from error
    known = means[_both(predicted, realised)]
    if not np.isfinite(known).all():
        raise InvalidInputError("a training mean is not finite", next_step="give the mean label of each model's slice")
    total = float(np.sum(np.square(theirs - known)))
    return 1.0 - float(np.sum(np.square(theirs - ours))) / total if total > 0 else math.nan


def _both(predicted: npt.ArrayLike, realised: npt.ArrayLike) -> BoolArray:
    return np.isfinite(np.asarray(predicted, np.float64)) & np.isfinite(np.asarray(realised, np.float64))


def _pairs(predicted: npt.ArrayLike, realised: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    ours, theirs = np.asarray(predicted, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise InvalidInputError(
            f"predictions of shape {ours.shape} have outcomes of shape {theirs.shape}", next_step="align the two"
        )
    both = np.isfinite(ours) & np.isfinite(theirs)
    return ours[both], theirs[both]
