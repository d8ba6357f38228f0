"""What the project file says of a model: its target, its refits, and what it predicts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from optaic.domain.config import CASH, PRICES
from optaic.domain.kind import FlowKind
from optaic.domain.known import DEFAULT_CALENDAR
from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError
from optaic.project.document import Document, Entry
from optaic.project.reference import check_selector
from optaic.project.spec import InputSpec

FIELDS = ("target", "refit", "embargo", "sample_weight", "infer", "calendar")
"""The fields of a model beyond those that all instances have."""

MODEL = "model"
NOT_FEATURES = (PRICES, "universe", CASH)
"""Roles that are no features."""

TRANSFORMS = ("raw", "cs_demean", "cs_rank", "vol_scaled")
DEFAULT_EVERY, DEFAULT_MIN_TRAIN = 63, 252
MAX_SESSIONS = 100_000


def read_model(
    document: Document, fields: Mapping[str, Entry], instance: Entry, what: str, *, inputs: Sequence[InputSpec]
) -> dict[str, Any]:
    """Read the fields of a model, with their defaults, for the instance's config.

    Parameters
    ----------
    document
        Takes the mistakes.
    fields
        What is declared of it.
    instance, what
        Where it stands, and what messages call it.
    inputs
        What it declares to read.

    Returns
    -------
    dict
        `target`, `refit`, `embargo`, `sample_weight`, `infer` and `calendar`.
    """
    _check_inputs(document, fields, instance, what, inputs)
    return {
        "target": _target(document, fields.get("target"), instance, what),
        "refit": _refit(document, fields.get("refit")),
        "embargo": document.integer(fields.get("embargo"), "embargo", 0, MAX_SESSIONS) or 0,
        "sample_weight": _sample_weight(document, fields.get("sample_weight")),
        "infer": _infer(document, fields.get("infer")),
        "calendar": _calendar(document, fields.get("calendar")),
    }


def model_flows(
    name: str, inputs: Sequence[InputSpec], config: Mapping[str, Any]
) -> dict[FlowKind, tuple[InputSpec, ...]]:
    """Say what each flow of a model reads: to predict, a version of the model itself, and its features.

    Parameters
    ----------
    name
        The model.
    inputs
        What it declares.
    config
        Its config; `infer` says which version.
    """
    selector = str(config["infer"]["model"])
    own = InputSpec(role=MODEL, instance=name, flow_kind=FlowKind.TRAIN, selector=selector)
    read = tuple(item for item in inputs if item.role not in (PRICES, CASH))
    return {FlowKind.TRAIN: tuple(inputs), FlowKind.INFER: (own, *read)}


def _check_inputs(
    document: Document, fields: Mapping[str, Entry], instance: Entry, what: str, inputs: Sequence[InputSpec]
) -> None:
    place = fields["inputs"].key if "inputs" in fields else instance.key
    roles = [item.role for item in inputs]
    if MODEL in roles:
        document.report(place, f"{what}: the role `model` is its own version", "give the input another role")
    if PRICES not in roles:
        document.report(place, f"{what} reads no prices", "add to its inputs: prices: INSTANCE")
    if not set(roles) - {MODEL, *NOT_FEATURES}:
        document.report(place, f"{what} has no features", "add to its inputs: features: INSTANCE")


def _target(document: Document, entry: Entry | None, instance: Entry, what: str) -> dict[str, Any]:
    if entry is None:
        document.report(instance.key, f"{what} has no target", "add target: {horizon: 5, transform: cs_rank}")
        return {}
    parts = document.fields(entry.value, "target", ("horizon", "lag", "transform", "delisting_return"))
    horizon = document.integer(parts.get("horizon"), "horizon", 1, MAX_SESSIONS)
    if "horizon" not in parts:
        document.report(entry.value, "target does not say how far it reaches", "add horizon: 5, in sessions")
    lag = document.integer(parts.get("lag"), "lag", 0, MAX_SESSIONS)
    transform = document.text(parts.get("transform"), "transform")
    if transform is not None and transform not in TRANSFORMS:
        document.report(
            parts["transform"].value,
            f"{transform[:60]!r} is not a transform{did_you_mean(transform, TRANSFORMS)}",
            f"use one of: {', '.join(TRANSFORMS)}",
        )
    found: dict[str, Any] = {"horizon": horizon, "lag": 1 if lag is None else lag, "transform": transform or "raw"}
    if "delisting_return" in parts:
        value = document.plain(parts["delisting_return"].value)
        if not isinstance(value, int | float) or isinstance(value, bool) or not -1.0 <= value <= 10.0:
            document.report(parts["delisting_return"].value, "delisting_return must be a fraction, -1.0 or more")
        found["delisting_return"] = value
    return found


def _refit(document: Document, entry: Entry | None) -> dict[str, Any]:
    found: dict[str, Any] = {"every": DEFAULT_EVERY, "window": "expanding", "min_train": DEFAULT_MIN_TRAIN}
    if entry is None:
        return found
    parts = document.fields(entry.value, "refit", ("every", "window", "min_train"))
    for name in ("every", "min_train"):
        found[name] = document.integer(parts.get(name), name, 1, MAX_SESSIONS) or found[name]
    if "window" in parts and document.plain(parts["window"].value) != "expanding":
        found["window"] = document.integer(parts["window"], "window: expanding, or sessions:", 1, MAX_SESSIONS)
        if "min_train" not in parts and found["window"] is not None:
            found["min_train"] = min(DEFAULT_MIN_TRAIN, found["window"])
        if found["window"] is not None and found["window"] < found["min_train"]:
            document.report(
                parts["window"].value,
                f"a window of {found['window']} sessions never holds the {found['min_train']} of min_train",
                "make the window longer, or min_train smaller",
            )
    return found


def _sample_weight(document: Document, entry: Entry | None) -> Any:
    if entry is None:
        return "date"
    if isinstance(entry.value, yaml.MappingNode):
        parts = document.fields(entry.value, "sample_weight", ("half_life",))
        return {"half_life": document.integer(parts.get("half_life"), "half_life", 1, MAX_SESSIONS)}
    text = document.text(entry, "sample_weight")
    if text is not None and text not in ("date", "uniqueness"):
        document.report(
            entry.value,
            f"{text[:60]!r} is not a sample weight",
            "use date, uniqueness or {half_life: 252}, in sessions",
        )
    return text


def _infer(document: Document, entry: Entry | None) -> dict[str, Any]:
    found: dict[str, Any] = {"start": None, "end": None, "model": "current", "allow_in_sample": False}
    if entry is None:
        return found
    parts = document.fields(entry.value, "infer", tuple(found))
    for name in ("start", "end"):
        found[name] = _date(document, parts.get(name), name)
    if found["start"] and found["end"] and found["start"] > found["end"]:
        document.report(parts["start"].value, f"start {found['start']} is after end {found['end']}", "exchange them")
    if "model" in parts:
        text = document.text(parts["model"], "model")
        if text is not None:
            try:
                found["model"] = check_selector(text)
            except InvalidInputError as error:
                document.report(parts["model"].value, error.message, error.next_step)
    if "allow_in_sample" in parts:
        found["allow_in_sample"] = document.plain(parts["allow_in_sample"].value)
        if not isinstance(found["allow_in_sample"], bool):
            document.report(parts["allow_in_sample"].value, "allow_in_sample must be true or false")
    return found


def _date(document: Document, entry: Entry | None, what: str) -> str | None:
    if entry is None:
        return None
    value = document.plain(entry.value)
    if value is None:
        return None
    try:
        return dt.date.fromisoformat(str(value)).isoformat()
    except ValueError:
        document.report(entry.value, f"{what}: {str(value)[:60]!r} is not a date", "write 2024-01-31")
        return None


def _calendar(document: Document, entry: Entry | None) -> str:
    name = document.text(entry, "calendar")
    if entry is None or name is None:
        return DEFAULT_CALENDAR
    from optaic.flows.calendar import check_calendar

    try:
        return check_calendar(name)
    except InvalidInputError as error:
        document.report(entry.value, error.message, error.next_step)
        return DEFAULT_CALENDAR
