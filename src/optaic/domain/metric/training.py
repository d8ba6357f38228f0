"""The standard metrics of a TrainingRun."""

from __future__ import annotations

from optaic.domain.metric.definition import Better, Metric, Unit, metric

_HIGHER, _LOWER, _NEITHER = Better.HIGHER, Better.LOWER, Better.NEITHER

_SCORES = (
    ("rmse", Unit.VALUE, _LOWER, "Root mean squared error, in the unit of the target"),
    ("mae", Unit.VALUE, _LOWER, "Mean absolute error, in the unit of the target"),
    ("r2", Unit.RATIO, _HIGHER, "One less the squared errors over those of the training mean"),
    ("ic", Unit.RATIO, _HIGHER, "Mean over dates of the rank correlation of predictions and labels"),
    ("ic_ir", Unit.RATIO, _HIGHER, "That mean over its standard deviation, not annualised"),
    ("accuracy", Unit.FRACTION, _HIGHER, "Of a classifier, the share of right classes"),
    ("auc", Unit.FRACTION, _HIGHER, "Of a classifier, the area under the ROC curve"),
    (
        "precision",
        Unit.FRACTION,
        _HIGHER,
        "Of a classifier, the share of right ones among those predicted to be of class 1",
    ),
    ("recall", Unit.FRACTION, _HIGHER, "Of a classifier, the share of class 1 that was found"),
    ("f1", Unit.FRACTION, _HIGHER, "Of a classifier, the harmonic mean of precision and recall"),
    ("log_loss", Unit.RATIO, _LOWER, "Of a classifier, the mean negative log-likelihood"),
)

_OF = {
    "val": "over all rows predicted out of sample",
    "train": "on what was trained on, mean over the fits",
}


def _score(part: str, name: str, unit: Unit, better: Better, meaning: str) -> Metric:
    # Fitting the past well is no merit of its own.
    return metric(f"{part}_{name}", unit, better if part == "val" else _NEITHER, f"{meaning}; {_OF[part]}.")


TRAINING = (
    *(_score(part, *score) for part in _OF for score in _SCORES),
    metric("num_fits", Unit.COUNT, _NEITHER, "Fits of the version."),
    metric("num_features", Unit.COUNT, _NEITHER, "Features that were used."),
    metric("training_samples", Unit.ROWS, _NEITHER, "Rows trained on, over all fits."),
    metric("validation_samples", Unit.ROWS, _NEITHER, "Rows predicted out of sample whose labels are there."),
)
