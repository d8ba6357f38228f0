"""Reading what an instance declares of its monitor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import yaml

from optaic.domain.check import CLASSIC, DEFAULT_WINDOW, Check, checks_of
from optaic.domain.kind import FlowKind, InstanceKind
from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError
from optaic.flows.calendar import zone_of
from optaic.project.document import Document, Entry
from optaic.project.policy import is_null
from optaic.project.spec import InputSpec

SUBJECT = "subject"
"""The role under which a monitor reads what its own instance has published."""

_OPTIONS = {
    Check.DATA_QUALITY: ("mads", "columns", "calendar"),
    Check.MODEL_DRIFT: (),
    Check.PERFORMANCE: (),
}
_MAX_WINDOW = 100_000


def read_monitor(document: Document, kind: InstanceKind, entry: Entry | None) -> list[dict[str, Any]]:
    """Read the checks of an instance: one mapping, or a list of them.

    Parameters
    ----------
    document
        Takes the mistakes.
    kind
        What the instance is.
    entry
        What stands at `monitor`; None for nothing.

    Returns
    -------
    list of dict
        `check`, `window`, `thresholds` (by figure `warning` and `critical`, as far as declared), and options. Empty if
        none is declared.
    """
    if entry is None or is_null(entry.value):
        return []
    nodes = cast("list[yaml.Node]", entry.value.value) if isinstance(entry.value, yaml.SequenceNode) else [entry.value]
    found: list[dict[str, Any]] = []
    for node in nodes:
        check = _check(document, kind, node)
        if check is None:
            continue
        if check["check"] in [other["check"] for other in found]:
            document.report(node, f"monitor has the check {check['check']} twice", "put it into one")
        found.append(check)
    return found


def monitor_inputs(kind: InstanceKind, name: str, inputs: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """Give what the monitor of an instance reads: what the instance itself published, and of a model what it read."""
    subject = InputSpec(role=SUBJECT, instance=name)
    if kind is not InstanceKind.MODEL:
        return (subject,)
    return (subject, InputSpec(role="predictions", instance=name, flow_kind=FlowKind.INFER), *inputs)


def _check(document: Document, kind: InstanceKind, node: yaml.Node) -> dict[str, Any] | None:
    names = [check.value for check in checks_of(kind)]
    before = len(document.problems)
    given = document.entries(node, "monitor")
    if len(document.problems) > before:
        return None
    if "check" not in given:
        document.report(node, "monitor does not say what to check", f"add check: {names[0]}")
        return None
    name = document.text(given["check"], "check")
    if name not in names:
        if name is not None:
            document.report(
                given["check"].value,
                f"a {kind} has no check {name[:60]!r}{did_you_mean(name, names)}",
                f"its checks: {', '.join(names)}",
            )
        return None
    check = Check(name)
    fields = document.only(given, "monitor", ("check", "window", "thresholds", *_OPTIONS[check]))
    window = document.integer(fields.get("window"), "window", 1, _MAX_WINDOW)
    found: dict[str, Any] = {"check": check.value, "window": window or DEFAULT_WINDOW}
    limits = _thresholds(document, kind, check, fields.get("thresholds"))
    if limits:
        found["thresholds"] = limits
    return found | _options(document, fields)


def _thresholds(
    document: Document, kind: InstanceKind, check: Check, entry: Entry | None
) -> dict[str, dict[str, float]]:
    if entry is None or is_null(entry.value):
        return {}
    known = CLASSIC[kind, check]
    found: dict[str, dict[str, float]] = {}
    for name, part in document.fields(entry.value, "thresholds", tuple(known)).items():
        if not isinstance(part.value, yaml.MappingNode):
            limit = _number(document, part, f"the threshold of {name}")
            found[name] = {} if limit is None else {"warning": limit}
            continue
        limits = {
            severity: _number(document, limit, f"{severity} of {name}")
            for severity, limit in document.fields(
                part.value, f"the threshold of {name}", ("warning", "critical")
            ).items()
        }
        found[name] = {severity: limit for severity, limit in limits.items() if limit is not None}
        warning, critical = found[name].get("warning"), found[name].get("critical")
        if warning is None or critical is None:
            continue
        if critical > warning if known[name].is_floor else critical < warning:
            side = "above" if known[name].is_floor else "below"
            document.report(part.value, f"critical of {name} is {side} warning, so it could never warn", "swap the two")
    return found


def _options(document: Document, fields: dict[str, Entry]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "mads" in fields:
        mads = _number(document, fields["mads"], "mads")
        if mads is not None and mads <= 0:
            document.report(fields["mads"].value, f"mads must be above 0, not {mads:g}")
        found["mads"] = mads
    columns = document.texts(fields.get("columns"), "columns")
    if columns is not None:
        found["columns"] = list(columns)
    calendar = document.text(fields.get("calendar"), "calendar")
    if calendar is not None:
        try:
            zone_of(calendar)
        except InvalidInputError as error:
            document.report(fields["calendar"].value, error.message, error.next_step)
        found["calendar"] = calendar
    return found


def _number(document: Document, entry: Entry, what: str) -> float | None:
    value = document.plain(entry.value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    document.report(entry.value, f"{what} must be a number", "write a number, a fraction where it is a share: 0.05")
    return None
