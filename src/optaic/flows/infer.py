"""Predict with a pinned model version: out of sample, each row by the newest fit that could have predicted it."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.domain.known import Derived
from optaic.domain.status import Standing
from optaic.domain.version import KNOWN_AT, Column
from optaic.errors import InSampleInputError, NoOutputError
from optaic.flows.calendar import closes
from optaic.flows.code import locate
from optaic.flows.context import RunContext
from optaic.flows.estimator import Floats, Kind, check_estimator, predict, trusted_types
from optaic.flows.features import MODEL, Features, check_schema, event_dates, read_features, schema_of_features
from optaic.flows.fetched import take
from optaic.flows.fits import Fit, read_fits
from optaic.flows.grid import DATE, SYMBOL
from optaic.flows.in_sample import say_in_sample
from optaic.flows.input import Input
from optaic.flows.refresh import DEFAULT_KEY, find_difference, write_changes
from optaic.flows.task import DatasetChange, Result, Task
from optaic.settings import read_settings
from optaic.storage.models import load_model
from optaic.storage.objects import ObjectStore

TOLERANCE = 1e-12
"""A prediction within this of the stored one, relative, keeps the stored one."""

SCHEMA = {
    DATE: pl.Date,
    SYMBOL: pl.String,
    "prediction": pl.Float64,
    "confidence": pl.Float64,
    "fit_id": pl.Int64,
    "label_end": pl.Date,
}
"""The columns of predictions, `known_at` left out."""


def infer(task: Task, definition: Callable[..., Any], context: RunContext, store: ObjectStore) -> Result:  # noqa: ARG001 - likewise
    """Predict.

    Parameters
    ----------
    task
        What to predict: its config has `infer`, with `start`, `end` and `allow_in_sample`, and `calendar`.
    definition
        The estimator's class or function; its module is imported, so that fits of the project's own classes can be
        loaded.
    context
        What is seen of the run: the pinned model version, the features, reports.
    store
        Where segments are read and written.

    Returns
    -------
    Result
        The change of the predictions, a dataset with `date, symbol, prediction, confidence, fit_id, label_end` and
        `known_at`; the artifact `predictions.parquet`; and the metrics of an InferenceRun.

    Raises
    ------
    FeaturesChangedError
        If a feature is missing, renamed or of another type than in the training.
    InSampleInputError
        If a date is asked for that no fit of the version predicts out of sample, unless that is allowed.
    UntrustedModelError
        If a fit holds types that may not be loaded.
    NoOutputError
        If there is nothing to predict.
    NothingKnownError, StorageError
        If no feature was known in time; if the store cannot be read or written.
    """
    source = context.input(MODEL)
    detail = source.detail
    named = f"{source.instance} version {source.pinned.version.number}"
    fits = read_fits(detail, model=named)
    check_schema(schema_of_features(context), detail["features"], model=named)
    asked: Mapping[str, Any] = task.config.get("infer") or {}
    is_allowed = bool(asked.get("allow_in_sample"))
    start, end = _date(asked.get("start")), _date(asked.get("end"))
    first = fits[0].usable_from
    dates = event_dates(context, start=start or first, end=end)
    early = dates.filter(dates < first)
    if len(early) and not is_allowed:
        raise InSampleInputError(
            f"{len(early)} dates from {early[0]} on are in-sample: {named} predicts out of sample from {first} on",
            next_step=f"set infer: {{start: {first}}}, or allow_in_sample: true, which is recorded",
        )
    if not len(dates):
        raise NoOutputError(
            f"the features of {task.instance} have no date from {start or first} to {end or 'now'}",
            next_step="look at their dates with: optaic status",
        )
    calendar = str(task.config["calendar"])
    features = read_features(context, dates, calendar=calendar, keeps_gaps=bool(detail["takes_missing"]))
    context.progress(20, f"{features.frame.height:,} rows of {len(features.names)} features")
    predicted = _predict(task, context, source, fits, features)
    frame = _publishable(features.frame, predicted, fits, calendar)
    if frame.is_empty():
        raise NoOutputError(
            f"no row of the features of {task.instance} can be predicted: all of them miss a feature",
            next_step="look at the values of its features",
        )
    change = _change(task, store, frame)
    artifact = context.log_frame("predictions.parquet", frame)
    in_sample = frame.filter(pl.col(DATE) < first).height
    say_in_sample(context, f"{task.instance}.infer", in_sample)
    values = predicted.values
    confidence = predicted.confidence[np.isfinite(predicted.confidence)]
    return Result(
        metrics={
            "num_predictions": len(values),
            "in_sample_rows": in_sample,
            "mean_prediction": float(values.mean()),
            "std_prediction": float(values.std(ddof=1)) if len(values) > 1 else None,
            "confidence_mean": float(confidence.mean()) if len(confidence) else None,
            "latency_ms": predicted.seconds * 1000.0,
            "coverage": len(values) / features.members if features.members else None,
        },
        artifacts=(artifact,),
        dataset=change,
        fields={
            "first_date": frame[DATE][0].isoformat(),
            "last_date": frame[DATE][-1].isoformat(),
            "is_in_sample": bool(in_sample),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Predicted:
    """What the fits said of each row: values, confidence (NaN for none), place of the fit; and how long it took."""

    values: Floats
    confidence: Floats
    fits: npt.NDArray[np.int64]
    seconds: float


def _predict(task: Task, context: RunContext, source: Input, fits: list[Fit], features: Features) -> _Predicted:
    location = locate(str(task.code_ref), Path.cwd())
    allowed = read_settings(Path.cwd(), os.environ).estimators
    check_estimator(location, allowed)
    is_trusted = trusted_types(location, allowed)
    detail = source.detail
    kind = Kind(is_classifier=detail["is_classifier"], takes_missing=detail["takes_missing"], weights_as=None)
    chosen = newest_fits([fit.usable_from for fit in fits], features.frame[DATE].to_numpy())
    rows = features.values()
    values, confidence = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    seconds = 0.0
    used: list[int] = np.unique(chosen).tolist()
    for number, place in enumerate(used, start=1):
        context.raise_if_cancelled()
        name = fits[place].file
        named = f"{name} of {source.instance} version {source.pinned.version.number}"
        model = load_model(source.read_file(name), name=named, is_trusted=is_trusted)
        mine = np.flatnonzero(chosen == place)
        begun = time.perf_counter()
        found, sure = predict(model, kind, rows[mine])
        seconds += time.perf_counter() - begun
        values[mine] = found
        if sure is not None:
            confidence[mine] = sure
        context.progress(20 + 60 * number / len(used), f"fit {fits[place].fit_id}: {len(mine):,} rows")
    return _Predicted(values=values, confidence=confidence, fits=chosen, seconds=seconds)


def newest_fits(usable_from: list[dt.date], dates: Any) -> npt.NDArray[np.int64]:
    """Give for each date the place of the newest fit that may predict it; the first for dates before all of them.

    Parameters
    ----------
    usable_from
        Of the fits, ascending.
    dates : array_like of shape (n_rows,), datetime64
        In any order.

    Examples
    --------
    >>> newest_fits(
    ...     [dt.date(2024, 1, 2), dt.date(2024, 4, 1)], np.array(["2024-03-28", "2024-04-01"], "M8[D]")
    ... ).tolist()
    [0, 1]
    """
    begins = np.array(usable_from, dtype="datetime64[D]")
    places = np.searchsorted(begins, np.asarray(dates).astype("datetime64[D]"), side="right") - 1
    return np.maximum(places, 0).astype(np.int64)


def _publishable(rows: pl.DataFrame, predicted: _Predicted, fits: list[Fit], calendar: str) -> pl.DataFrame:
    """Join predictions with what they rest on; a fit is known from the close of the last session of its labels on."""
    ends = [fit.label_end for fit in fits]
    stated = pl.DataFrame(
        {
            "place": np.arange(len(fits)),
            "fit_id": [fit.fit_id for fit in fits],
            "label_end": ends,
            "fitted_at": pl.Series(closes(ends, calendar), dtype=pl.Datetime("us", "UTC")),
        }
    )
    confidence = pl.Series(predicted.confidence).fill_nan(None)
    return (
        rows.select(DATE, SYMBOL, KNOWN_AT)
        .with_columns(prediction=pl.Series(predicted.values), confidence=confidence, place=pl.Series(predicted.fits))
        .join(stated, on="place", how="left", maintain_order="left")
        .select(
            *(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()),
            pl.max_horizontal(KNOWN_AT, "fitted_at").alias(KNOWN_AT),
        )
        .sort(DATE, SYMBOL)
    )


def _change(task: Task, store: ObjectStore, frame: pl.DataFrame) -> DatasetChange:
    """Compare the predictions with the current version's, and write what differs."""
    current = task.current
    rule = Derived()
    fetched = take(frame, instance=f"{task.instance}.infer", keys=DEFAULT_KEY, rule=rule, current=current, is_full=True)
    difference, replaces = find_difference(fetched, task, rule, store, is_full=True)
    is_official = task.standing is Standing.OFFICIAL
    segments = write_changes(difference, task, store, DEFAULT_KEY) if is_official else ()
    dates = fetched.frame[DATE]
    return DatasetChange(
        segments=segments,
        columns=tuple(Column(name=name, dtype=str(fetched.frame.schema[name])) for name in fetched.columns),
        row_count=fetched.frame.height,
        first_data_date=dates[0],
        last_data_date=dates[-1],
        changed_from=difference.changed_from,
        changed_columns=difference.changed_columns,
        rows_fetched=fetched.frame.height,
        rows_inserted=difference.inserted,
        rows_updated=difference.updated,
        rows_deleted=difference.deleted,
        rows_unchanged=difference.unchanged,
        bytes_written=sum(one.size_bytes for one in segments),
        mode="full",
        replaces=replaces,
    )


def _date(value: object) -> dt.date | None:
    return None if value is None else dt.date.fromisoformat(str(value))
