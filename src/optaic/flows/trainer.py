"""One fit after the other: trained on the past of its test block, scored on both."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.flows.estimator import Estimator, Kind, fit_estimator, predict
from optaic.flows.fits import Fit, Fitted
from optaic.flows.sample import Floats, Ints, Samples
from optaic.flows.score import correlate, score_classification, score_regression
from optaic.quant.signals import ic, ic_ir
from optaic.quant.split import Fold, date_weights, purge, uniqueness_weights


class Trainer:
    """What all fits of a version share.

    Parameters
    ----------
    estimator
        Unfitted; each fit is a fresh copy of it.
    kind
        What it can do.
    samples
        All of them; a fold says which are used.
    config
        Of the model: `target` and `sample_weight`.
    """

    def __init__(self, *, estimator: Estimator, kind: Kind, samples: Samples, config: Mapping[str, Any]) -> None:
        self.kind = kind
        self.samples = samples
        target = config["target"]
        self.goals: Floats = samples.classes(target["transform"]) if kind.is_classifier else samples.labels
        """What is learned: labels, or classes."""
        self.latest: Any = None
        """The newest fit that has rows to be validated on; None if none has."""
        self.latest_id = 0
        """Its number."""
        self.latest_rows: Ints = np.zeros(0, dtype=np.int64)
        """The places of these rows."""
        self._estimator = estimator
        self._lag, self._horizon = int(target["lag"]), int(target["horizon"])
        asked: Any = config.get("sample_weight") or "date"
        self._is_unique = asked == "uniqueness"
        self._half_life = None if isinstance(asked, str) else float(asked["half_life"])

    def fit(self, number: int, fold: Fold) -> tuple[Fitted, Estimator]:
        """Fit one fold, and score it on what it learned from and on what it predicts.

        Parameters
        ----------
        number
            Of the fit, from 1.
        fold
            Which sessions.

        Raises
        ------
        InvalidInputError
            If the fold has no sample with a label.
        FlowError
            If it cannot be fitted, or predicts what is no number.
        """
        places, has_label = self.samples.places, np.isfinite(self.samples.labels)
        before = (places >= fold.train_first) & (places <= fold.train_last)
        # The plan has left these out already; what is trained on is looked at once more, where it is trained on.
        before &= purge(places, reach=self._lag + self._horizon, test_first=fold.test_first, test_last=fold.test_last)
        train_rows = np.flatnonzero(before & has_label)
        inside = (places >= fold.test_first) & (places <= fold.test_last)
        val_rows = np.flatnonzero(inside & has_label)
        days = cast("list[dt.date]", self.samples.sessions.astype("datetime64[D]").tolist())
        if not len(train_rows):
            raise InvalidInputError(
                f"fit {number} has no sample from {days[fold.train_first]} to {days[fold.train_last]}",
                next_step="look for gaps in the features and the prices, or make the window longer",
            )
        learned = self.goals[train_rows]
        model = fit_estimator(
            self._estimator,
            self.kind,
            self.samples.values[train_rows],
            learned.astype(np.int64) if self.kind.is_classifier else learned,
            self._weights(train_rows),
        )
        mean = float(np.mean(learned))
        train, _, _ = self._score(model, train_rows, mean)
        val, ics, predicted = self._score(model, val_rows, mean)
        if len(val_rows):
            self.latest, self.latest_id, self.latest_rows = model, number, val_rows
        fit = Fit(
            fit_id=number,
            file=f"fits/{number:04d}.skops",
            train_start=days[int(places[train_rows].min())],
            train_end=days[int(places[train_rows].max())],
            label_end=days[fold.label_last],
            usable_from=days[fold.test_first],
            training_samples=len(train_rows),
        )
        fitted = Fitted(
            fit=fit,
            test_end=days[fold.test_last],
            train=train,
            val=val,
            val_ics=ics,
            val_predicted=predicted,
            val_labels=self.goals[val_rows],
            training_mean=mean,
            is_probability=self.kind.is_classifier and hasattr(model, "predict_proba"),
        )
        return fitted, model

    def _weights(self, rows: npt.NDArray[np.int64]) -> Floats | None:
        if self.kind.weights_as is None:
            return None
        places, names = self.samples.places[rows], self.samples.names[rows]
        if self._is_unique:
            return uniqueness_weights(places, names, lag=self._lag, horizon=self._horizon)
        return date_weights(places, half_life=self._half_life)

    def _score(self, model: Estimator, rows: Ints, mean: float) -> tuple[dict[str, float], Floats, Floats]:
        samples = self.samples
        predicted = predict(model, self.kind, samples.values[rows])[0] if len(rows) else np.zeros(0)
        if self.kind.is_classifier:
            is_probability = hasattr(model, "predict_proba")
            scores = score_classification(predicted, self.goals[rows], is_probability=is_probability)
        else:
            scores = score_regression(predicted, self.goals[rows], training_mean=mean)
        ics = correlate(predicted, samples.labels[rows], sessions=samples.places[rows], names=samples.names[rows])
        return {**scores, "ic": ic(ics), "ic_ir": ic_ir(ics)}, ics, predicted
