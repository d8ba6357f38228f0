"""Train a model: one version is an ordered list of fits, each of which knew only what came before what it predicts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
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
    Kind,
    check_estimator,
    check_model,
    describe_estimator,
    make_estimator,
    predict,
    trusted_types,
)
from optaic.flows.fits import Fitted, importance, summarise
from optaic.flows.sample import Floats, Ints, Samples, read_samples
from optaic.flows.task import Output, Result, Task
from optaic.flows.trainer import Trainer
from optaic.quant.split import METHOD, Fold, walk_forward
from optaic.settings import read_settings
from optaic.storage.models import dump_model, refusal, untrusted_types
from optaic.storage.objects import ObjectStore

PROBE_ROWS = 256
"""Rows of the sample by whose predictions two models are known to be the same."""

DIGITS = 9
"""Significant digits of those predictions that count."""

NOT_IDENTITY = frozenset({"code_digest", "libraries"})
"""What is stated of a version, and makes no other model of it: the predictions tell whether it did."""


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
        The artifacts `fits/0001.skops` and so on, `cv_scores.parquet` (a row for each fit),
        `feature_importance.parquet` and `probe.parquet`; the metrics of a TrainingRun; and an output whose identity is
        that of the definition, its params, the features, the target, and the fits' predictions on the probe.

    Raises
    ------
    InvalidInputError
        If the estimator is not allowed, cannot be made or is no model, the inputs have not what is needed, or there are
        too few sessions for one fit.
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
    check_model(estimator, location)
    kind = describe_estimator(estimator)
    samples = read_samples(context, config["target"], calendar=str(config["calendar"]), keeps_gaps=kind.takes_missing)
    context.progress(15, f"{len(samples.labels):,} rows of {len(samples.features.names)} features")
    plan = _plan(task, samples)
    trainer = Trainer(estimator=estimator, kind=kind, samples=samples, config=config)
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
    artifacts += _write_tables(context, trainer, fitted)
    rows = samples.features.frame[probe]
    artifacts.append(
        context.log_frame(
            "probe.parquet", rows.with_columns(pl.Series(name, values) for name, values in predicted_probe.items())
        )
    )
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
            identity=digest_of(
                {"model": {name: detail[name] for name in detail if name not in NOT_IDENTITY}, "probe": probe_digest}
            ),
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
            f"{task.instance}: there are {len(samples.sessions) - first} sessions from the first with features on, and "
            f"{needed} are needed: min_train {refit['min_train']}, {reach} to the end of a label, embargo {embargo}, "
            "and one to predict",
            next_step="make min_train smaller, or read more history",
        )
    return plan


def _probe_rows(samples: Samples, train_last: int) -> Ints:
    """Choose rows evenly over those that the last fit may have seen: later data leave them as they are."""
    seen = int(np.searchsorted(samples.places, train_last, side="right"))
    return np.unique(np.linspace(0, seen - 1, min(PROBE_ROWS, seen)).astype(np.int64))


def _keep(context: RunContext, name: str, data: bytes) -> Artifact:
    with tempfile.TemporaryDirectory(prefix="optaic-") as folder:
        path = Path(folder) / "model.skops"
        path.write_bytes(data)
        return context.log_file(name, path)


def _write_tables(context: RunContext, trainer: Trainer, fitted: list[Fitted]) -> list[Artifact]:
    found = importance(
        trainer.latest,
        trainer.kind,
        None if trainer.latest is None else trainer.samples.values[trainer.latest_rows],
        None if trainer.latest is None else trainer.goals[trainer.latest_rows],
        names=trainer.samples.features.names,
        fit_id=trainer.latest_id,
        seed=context.seed,
    )
    return [
        context.log_frame("cv_scores.parquet", pl.DataFrame([one.row() for one in fitted], infer_schema_length=None)),
        context.log_frame("feature_importance.parquet", found),
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
