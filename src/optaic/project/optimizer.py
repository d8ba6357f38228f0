"""What a portfolio optimiser declares beside the params of its estimator."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, cast

from optaic.domain.optimizer import EXPECTED, FALLBACKS, OWN_CONSTRAINTS, PRICES, ROLES
from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError
from optaic.project.document import Document, Entry
from optaic.project.spec import InputSpec

FIELDS = ("lookback", "date", "fallback", "calendar", "constraints", "target")

_UNITS = ("return", "score")
_MAX_LOOKBACK = 100_000

_NEAR = dt.timedelta(days=21)
"""Within so many days of a date there are sessions on both sides, if the calendar reaches as far."""


def read_optimizer(
    document: Document, fields: Mapping[str, Entry], instance: Entry, what: str, inputs: Sequence[InputSpec]
) -> dict[str, Any]:
    """Read what is declared of a portfolio optimiser, and check what it reads.

    Parameters
    ----------
    document
        Takes the mistakes.
    fields
        What is declared.
    instance, what
        Where it stands, and what messages call it.
    inputs
        What it declares to read.

    Returns
    -------
    dict
        `optimizer`: for the instance's config; with `lookback` (sessions), `date` (ISO text or None), `fallback` (or
        None), `calendar`, `constraints` (`gross`, `turnover`) and `target` (`unit`, and of scores `ic` and `horizon`).
    """
    roles = [item.role for item in inputs]
    place = fields["inputs"].key if "inputs" in fields else instance.key
    if PRICES not in roles:
        document.report(place, f"{what} reads no prices", "add to its inputs: prices: INSTANCE")
    for role in roles:
        if role not in ROLES:
            document.report(
                place,
                f"{what} has no use for an input {role!r}{did_you_mean(role, ROLES)}",
                f"it reads: {', '.join(ROLES)}",
            )
    lookback = document.integer(fields.get("lookback"), "lookback", 2, _MAX_LOOKBACK)
    before = len(document.problems)
    calendar = _calendar(document, fields.get("calendar"))
    date = _date(document, fields.get("date"))
    if date is not None and len(document.problems) == before:
        _check_session(document, fields["date"], dt.date.fromisoformat(date), calendar)
    return {
        "optimizer": {
            "lookback": 252 if lookback is None else lookback,
            "date": date,
            "fallback": _choice(document, fields.get("fallback"), "fallback", FALLBACKS),
            "calendar": calendar,
            "constraints": _constraints(document, fields.get("constraints")),
            "target": _target(document, fields.get("target"), place, what, has_expected=EXPECTED in roles),
        }
    }


def _date(document: Document, entry: Entry | None) -> str | None:
    text = document.text(entry, "date")
    if entry is None or text is None:
        return None
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError:
        document.report(entry.value, f"date is {text[:40]!r}, which is no date", "write it as 2024-12-31")
        return None


def _check_session(document: Document, entry: Entry, date: dt.date, calendar: str) -> None:
    """Report a date that is no session, if the calendar knows sessions before and after it."""
    from optaic.flows.calendar import sessions

    try:
        near = sessions(date - _NEAR, date + _NEAR, calendar)
    except InvalidInputError as error:
        document.report(entry.value, error.message, error.next_step)
        return
    before = [one for one in near if one < date]
    after = [one for one in near if one > date]
    if before and after and date not in near:
        document.report(
            entry.value,
            f"date {date} is a {date:%A}, and no session of {calendar}",
            f"decide on {before[-1]} or on {after[0]}",
        )


def _choice(document: Document, entry: Entry | None, what: str, choices: Sequence[str]) -> str | None:
    text = document.text(entry, what)
    if entry is None or text is None or text in choices:
        return text
    document.report(
        entry.value, f"{what} is {text[:40]!r}{did_you_mean(text, choices)}", f"it is one of: {', '.join(choices)}"
    )
    return None


def _calendar(document: Document, entry: Entry | None) -> str:
    text = document.text(entry, "calendar")
    if entry is None or text is None:
        return "XNYS"
    from optaic.flows.calendar import check_calendar

    try:
        return check_calendar(text)
    except InvalidInputError as error:
        document.report(entry.value, error.message, error.next_step)
        return text


def _constraints(document: Document, entry: Entry | None) -> dict[str, float]:
    if entry is None:
        return {}
    found: dict[str, float] = {}
    for name, part in document.fields(entry.value, "constraints", OWN_CONSTRAINTS).items():
        value = _number(document, part, f"constraints: {name}", low=0.0)
        if value is not None:
            found[name] = value
    return found


def _target(document: Document, entry: Entry | None, place: Any, what: str, *, has_expected: bool) -> dict[str, Any]:
    if entry is None:
        if has_expected:
            document.report(
                place,
                f"{what} reads expected returns, and does not say their unit: scores are no returns",
                "add `target: {unit: return}` if they are simple returns a year, "
                "else `target: {unit: score, ic: 0.03, horizon: 21}`",
            )
        return {"unit": "return"}
    parts = document.fields(entry.value, "target", ("unit", "ic", "horizon"))
    if not has_expected:
        document.report(entry.key, f"{what} has a target, and reads no expected_returns", "take the target out")
    unit = _choice(document, parts.get("unit"), "unit", _UNITS)
    if unit is None:
        if "unit" not in parts:
            document.report(entry.value, "target does not say its unit", "unit: return, or unit: score")
        return {"unit": "return"}
    if unit == "return":
        for name in ("ic", "horizon"):
            if name in parts:
                document.report(parts[name].key, f"returns need no {name}", f"take {name} out, or write unit: score")
        return {"unit": "return"}
    missing = [name for name in ("ic", "horizon") if name not in parts]
    if missing:
        document.report(
            entry.value,
            f"scores need {' and '.join(missing)} to become returns: IC times volatility times score",
            "write target: {unit: score, ic: 0.03, horizon: 21}",
        )
        return {"unit": "score"}
    ic = _number(document, parts["ic"], "ic", low=-1.0, high=1.0)
    return {"unit": "score", "ic": ic, "horizon": document.integer(parts["horizon"], "horizon", 1, _MAX_LOOKBACK)}


def _number(document: Document, entry: Entry, what: str, *, low: float, high: float | None = None) -> float | None:
    value: object = document.plain(entry.value)
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and value >= low
        and (high is None or value <= high)
    ):
        return float(value)
    shown = cast("object", value)
    limits = f"{low:g} or more" if high is None else f"from {low:g} to {high:g}"
    document.report(entry.value, f"{what} is {str(shown)[:40]}; it must be a number, {limits}")
    return None
