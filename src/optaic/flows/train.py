"""Train a model: one version is an ordered list of fits, each of which knew only what came before what it predicts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from optaic.domain.artifact import Artifact
from optaic.domain.fingerprint import digest_of
from optaic.errors import InvalidInputError
from optaic.flows.code import CodeLocation, locate
from optaic.flows.context import RunContext
from optaic.flows.estimator import (
    Estimator,
    Kind,
    check_estimator,
    describe_estimator,
    fit_estimator,
    make_estimator,
    predict,
    trusted_types,
)
from optaic.flows.fits import Fit, Fitted, importance, summarise
from optaic.flows.sample import Floats, Samples, read_samples
from optaic.flows.score import correlate, score_classification, score_regression
from optaic.flows.task import Output, Result, Task
from optaic.quant.signals import ic, ic_ir
from optaic.quant.split import METHOD, Fold, date_weights, purge, uniqueness_weights, walk_forward
from optaic.settings import read_settings
from optaic.storage.models import dump_model, refusal, untrusted_types
from optaic.storage.objects import ObjectStore

PROBE_ROWS = 256
"""Rows of the sample by whose predictions two models are known to be the same."""

DIGITS = 9
"""Significant digits of those predictions that count."""


def train(
    task: Task,
    definition: Callable[..., Any],
    context: RunContext,
    store: ObjectStore,  # noqa: ARG001 - flows of all kinds are called alike
) -> Result:
    """Train a model.

    Parameters
    ----------
    task
        What to train: its config has `target`, `refit`, `embargo`, `sample_weight` and `calendar`.
    definition
        An estimator's class, or a function that makes one; called with the params.
    context
        What is seen of the run: inputs, reports.
    store
        Not used: what is written goes through the context.

    Returns
    -------
    Result
        The artifacts `fits/0001.skops` and so on, `cv_scores.parquet` (a row for each fit), `feature_importance.parquet`
        and `probe.parquet`; the metrics of a TrainingRun; and an output whose identity is that of the definition, its
        params, the features, the target, and the fits' predictions on the probe.

    Raises
    ------
    InvalidInputError
        If the estimator is not allowed or cannot be made, the inputs have not what is needed, or there are too few
        sessions for one fit.
    FlowError
        If a fit fails, or predicts what is no number.
    UntrustedModelError
        If a fit holds types that could not be loaded again.
    """
    location = locate(str(task.code_ref), Path.cwd())
    allowed = read_settings(Path.cwd(), os.environ).estimators
    check_estimator(location, allowed)
    config = task.config
    estimator = make_estimator(definition, task.params, seed=task.seed, instance=task.instance)
    kind = describe_estimator(estimator)
    samples = read_samples(context, config["target"], calendar=str(config["calendar"]), keeps_gaps=kind.takes_missing)
    context.progress(15, f"{len(samples.labels):,} rows of {len(samples.features.names)} features")
    plan = _plan(task, samples)
    trainer = _Trainer(estimator=estimator, kind=kind, samples=samples, config=config)
    fitted: list[Fitted] = []
    artifacts: list[Artifact] = []
    predicted_probe: dict[str, Floats] = {}
    probe = _probe_rows(samples, plan[-1].train_last)
    for number, fold in enumerate(plan, start=1):
        context.raise_if_cancelled()
        done, model = trainer.fit(number, fold)
        data = dump_model(model)
        refused = untrusted_types(data, is_trusted=trusted_types(location, allowed))
        if refused:
            raise refusal(f"the fitted {type(model).__name__}", refused)
        artifacts.append(_keep(context, done.fit.file, data))
        predicted_probe[f"fit_{number}"] = predict(model, kind, samples.values[probe])[0]
        fitted.append(done)
        context.progress(15 + 75 * number / len(plan), f"fit {number} of {len(plan)}, labels to {done.fit.label_end}")
        if done.importance_of is not None:
            trainer.latest = model
    artifacts += _write_tables(context, trainer, fitted, samples, probe, predicted_probe)
    detail = _detail(task, location, samples, kind, fitted)
    probe_digest = digest_of(
        {name: [f"{one:.{DIGITS}g}" for one in values] for name, values in predicted_probe.items()}
    )
    first, last = fitted[0].fit, fitted[-1].fit
    return Result(
        metrics=summarise(fitted, is_classifier=kind.is_classifier, num_features=len(samples.features.names)),
        artifacts=tuple(artifacts),
        output=Output(
            artifacts=tuple(item.name for item in artifacts),
            first_data_date=first.train_start,
            last_data_date=last.label_end,
            identity=digest_of({"model": {**detail, "libraries": None}, "probe": probe_digest}),
            detail={**detail, "probe_digest": probe_digest},
        ),
        fields={
            "estimator": str(task.code_ref),
            "target": dict(config["target"]),
            "fit_count": len(fitted),
            "train_start": first.train_start.isoformat(),
            "label_end": last.label_end.isoformat(),
            "probe_digest": probe_digest,
        },
    )


def _plan(task: Task, samples: Samples) -> tuple[Fold, ...]:
    """Plan the fits from the first session that has features on."""
    target, refit = task.config["target"], task.config["refit"]
    window = refit["window"]
    reach = int(target["lag"]) + int(target["horizon"])
    embargo = int(task.config.get("embargo") or 0)
    first = int(samples.places.min()) if len(samples.places) else len(samples.sessions)
    plan = walk_forward(
        len(samples.sessions),
        every=refit["every"],
        min_train=refit["min_train"],
        reach=reach,
        window=None if window == "expanding" else int(window),
        first=first,
        embargo=embargo,
    )
    if not plan:
        needed = refit["min_train"] + reach + embargo + 1
        raise InvalidInputError(
            f"{task.instance}: there are {len(samples.sessions) - first} sessions with features, and {needed} are needed: "
            f"min_train {refit['min_train']}, {reach} to the end of a label, embargo {embargo}, and one to predict",
            next_step="make min_train smaller, or read more history",
        )
    return plan


@dataclass(slots=True, kw_only=True)
class _Trainer:
    """What all fits of a version share."""

    estimator: Estimator
    kind: Kind
    samples: Samples
    config: Mapping[str, Any]
    latest: Any = None
    """The newest fit that has rows to be validated on."""

    def fit(self, number: int, fold: Fold) -> tuple[Fitted, Any]:
        """Fit one fold, and score it on what it learned from and on what it predicts."""
        samples = self.samples
        target = self.config["target"]
        reach = int(target["lag"]) + int(target["horizon"])
        has_label = np.isfinite(samples.labels)
        before = (samples.places >= fold.train_first) & (samples.places <= fold.train_last)
        before &= purge(samples.places, reach=reach, test_first=fold.test_first, test_last=fold.test_last)
        train_rows = np.flatnonzero(before & has_label)
        inside = (samples.places >= fold.test_first) & (samples.places <= fold.test_last)
        val_rows = np.flatnonzero(inside & has_label)
        dates = samples.sessions
        if not len(train_rows):
            raise InvalidInputError(
                f"fit {number} has no sample from {dates[fold.train_first]} to {dates[fold.train_last]}",
                next_step="look for gaps in the features and the prices, or make the window longer",
            )
        goals = samples.classes(target["transform"]) if self.kind.is_classifier else samples.labels
        learned = goals[train_rows].astype(np.int64) if self.kind.is_classifier else goals[train_rows]
        model = fit_estimator(self.estimator, self.kind, samples.values[train_rows], learned, self._weights(train_rows))
        mean = float(np.mean(goals[train_rows]))
        train_scores, train_ics, _ = self._score(model, train_rows, goals, mean)
        val_scores, val_ics, val_predicted = self._score(model, val_rows, goals, mean)
        days = dates.astype("datetime64[D]").tolist()
        return (
            Fitted(
                fit=Fit(
                    fit_id=number,
                    file=f"fits/{number:04d}.skops",
                    train_start=days[int(samples.places[train_rows].min())],
                    train_end=days[int(samples.places[train_rows].max())],
                    label_end=days[fold.label_last],
                    usable_from=days[fold.test_first],
                    training_samples=len(train_rows),
                ),
                test_end=days[fold.test_last],
                train={**train_scores, "ic": ic(train_ics), "ic_ir": ic_ir(train_ics)},
                val={**val_scores, "ic": ic(val_ics), "ic_ir": ic_ir(val_ics)},
                val_ics=val_ics,
                val_predicted=val_predicted,
                val_labels=goals[val_rows],
                training_mean=mean,
                is_probability=self.kind.is_classifier and hasattr(model, "predict_proba"),
                importance_of=val_rows if len(val_rows) else None,
            ),
            model,
        )

    def goals(self) -> Floats:
        """Give what is learned: labels, or classes."""
        transform = self.config["target"]["transform"]
        return self.samples.classes(transform) if self.kind.is_classifier else self.samples.labels

    def _weights(self, rows: Any) -> Floats | None:
        if self.kind.weights_as is None:
            return None
        samples, asked, target = self.samples, self.config.get("sample_weight") or "date", self.config["target"]
        if isinstance(asked, Mapping):
            return date_weights(samples.places[rows], half_life=float(asked["half_life"]))  # pyright: ignore
        if asked == "uniqueness":
            return uniqueness_weights(
                samples.places[rows], samples.names[rows], lag=target["lag"], horizon=target["horizon"]
            )
        return date_weights(samples.places[rows])

    def _score(self, model: Any, rows: Any, goals: Floats, mean: float) -> tuple[dict[str, float], Floats, Floats]:
        samples = self.samples
        predicted = predict(model, self.kind, samples.values[rows])[0] if len(rows) else np.zeros(0)
        if self.kind.is_classifier:
            sure = hasattr(model, "predict_proba")
            scores = score_classification(predicted, goals[rows], is_probability=sure)
        else:
            scores = score_regression(predicted, goals[rows], training_mean=mean)
        ics = correlate(predicted, samples.labels[rows], sessions=samples.places[rows], names=samples.names[rows])
        return scores, ics, predicted


def _probe_rows(samples: Samples, train_last: int) -> Any:
    """Choose rows evenly over those that the last fit may have seen: later data leave them as they are."""
    seen = int(np.searchsorted(samples.places, train_last, side="right"))
    return np.unique(np.linspace(0, seen - 1, min(PROBE_ROWS, seen)).astype(np.int64))


def _keep(context: RunContext, name: str, data: bytes) -> Artifact:
    with tempfile.TemporaryDirectory(prefix="optaic-") as folder:
        path = Path(folder) / "model.skops"
        path.write_bytes(data)
        return context.log_file(name, path)


def _write_tables(
    context: RunContext,
    trainer: _Trainer,
    fitted: list[Fitted],
    samples: Samples,
    probe: Any,
    predicted: Mapping[str, Floats],
) -> list[Artifact]:
    rows = samples.features.frame[probe].with_columns(pl.Series(name, values) for name, values in predicted.items())
    scored = next((one for one in reversed(fitted) if one.importance_of is not None), None)
    found = importance(
        trainer.latest,
        trainer.kind,
        None if scored is None else samples.values[scored.importance_of],
        None if scored is None else trainer.goals()[scored.importance_of],
        names=samples.features.names,
        fit_id=0 if scored is None else scored.fit.fit_id,
        seed=context.seed,
    )
    return [
        context.log_frame("cv_scores.parquet", pl.DataFrame([one.row() for one in fitted], infer_schema_length=None)),
        context.log_frame("feature_importance.parquet", found),
        context.log_frame("probe.parquet", rows),
    ]


def _detail(task: Task, location: CodeLocation, samples: Samples, kind: Kind, fitted: list[Fitted]) -> dict[str, Any]:
    """Say what a version is, beside its files."""
    config = task.config
    return {
        "estimator": task.code_ref,
        "code_digest": task.code_digest,
        # Of the config, where secrets are references still.
        "params": dict(config.get("params", {})),
        "target": dict(config["target"]),
        "refit": dict(config["refit"]),
        "embargo": config.get("embargo") or 0,
        "sample_weight": "none" if kind.weights_as is None else config.get("sample_weight") or "date",
        "split": {"method": METHOD, "test_size": config["refit"]["every"]},
        "calendar": config["calendar"],
        "features": [list(one) for one in samples.features.schema],
        "is_classifier": kind.is_classifier,
        "takes_missing": kind.takes_missing,
        "fits": [one.fit.to_json() for one in fitted],
        "libraries": _libraries(location),
    }


def _libraries(location: CodeLocation) -> dict[str, str]:
    names = {"scikit-learn", "skops", *([location.distribution] if location.distribution else [])}
    found: dict[str, str] = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
