"""The parts of a declared dataset that are not its code: key, knowledge, freshness, timeout, retry, seed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import yaml

from optaic.domain.duration import parse_duration
from optaic.domain.expectation import FIELDS, Frequency, find_problems
from optaic.domain.known import parse_known
from optaic.domain.retry import RetryPolicy
from optaic.domain.version import DELETED, KNOWN_AT
from optaic.errors import InvalidInputError
from optaic.flows.calendar import zone_of
from optaic.project.document import Document, Entry

DEFAULT_TIMEOUT = dt.timedelta(hours=1)
DEFAULT_KEY = ("date", "symbol")
MAX_SEED = 2**32 - 1


def read_key(document: Document, entry: Entry | None) -> tuple[str, ...]:
    """Read the key; `date, symbol` by default."""
    columns = document.texts(entry, "key")
    if entry is None or columns is None:
        return DEFAULT_KEY
    if not columns:
        document.report(entry.value, "key names no column", "name the columns of a row, the event date first")
    for reserved in {KNOWN_AT, DELETED} & set(columns):
        document.report(entry.value, f"{reserved} cannot be part of the key: the ledger writes it itself")
    return columns


def read_known_at(document: Document, entry: Entry | None, config: Mapping[str, Any]) -> Any:
    """Read the rule by which rows are known; `observed` by default."""
    if entry is None:
        return "observed"
    before = len(document.problems)
    rule = document.plain(entry.value)
    try:
        if len(document.problems) == before:
            parse_known({**config, "known_at": rule})
    except InvalidInputError as error:
        document.report(entry.value, error.message, error.next_step)
    return "observed" if rule is None else rule


def read_freshness(document: Document, entry: Entry | None, calendar: str) -> dict[str, Any] | None:
    """Read what a calendar expects, by default the one that is given; None if nothing is declared."""
    if entry is None or is_null(entry.value):
        return None
    before = len(document.problems)
    fields = document.fields(entry.value, "freshness", FIELDS)
    found = {name: document.plain(part.value) for name, part in fields.items()}
    if len(document.problems) > before:
        return None
    for field, problem, step in find_problems(found):
        document.report(fields[field].value if field in fields else entry.value, problem, step)
    if len(document.problems) > before:
        return None
    if found["frequency"] not in (Frequency.IRREGULAR, Frequency.INTERVAL):
        found.setdefault("calendar", calendar)
    if "calendar" in found:
        try:
            zone_of(str(found["calendar"]))  # made here, so that no run meets a calendar that cannot be
        except InvalidInputError as error:
            place = fields["calendar"].value if "calendar" in fields else entry.value
            document.report(place, error.message, error.next_step)
    return found


def read_schedule(document: Document, entry: Entry | None) -> dict[str, Any] | None:
    """Read when an instance runs by itself: `when: upstream` is as soon as all it reads is ready and some is new."""
    if entry is None or is_null(entry.value):
        return None
    fields = document.fields(entry.value, "schedule", ("when",))
    if "when" not in fields:
        document.report(entry.value, "schedule does not say when", "write schedule: {when: upstream}")
        return None
    when = document.text(fields["when"], "when")
    if when is not None and when != "upstream":
        document.report(fields["when"].value, f"when: {when[:60]!r} is not known", "write schedule: {when: upstream}")
    return {"when": "upstream"}


def read_policies(document: Document, fields: Mapping[str, Entry]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read timeout, retry and seed; give them with their defaults, and those of timeout and retry that are declared."""
    timeout = _duration(document, fields.get("timeout"), "timeout") or DEFAULT_TIMEOUT
    seed = document.integer(fields.get("seed"), "seed", 0, MAX_SEED) or 0
    retry = RetryPolicy()
    if "retry" in fields:
        parts = document.fields(fields["retry"].value, "retry", ("max_attempts", "backoff", "max_backoff", "on"))
        on = document.texts(parts.get("on"), "on")
        retry = RetryPolicy(
            max_attempts=document.integer(parts.get("max_attempts"), "max_attempts", 1, 100) or retry.max_attempts,
            backoff=_duration(document, parts.get("backoff"), "backoff") or retry.backoff,
            max_backoff=_duration(document, parts.get("max_backoff"), "max_backoff") or retry.max_backoff,
            on=retry.on if on is None else on,
        )
    policies = {"timeout_seconds": timeout.total_seconds(), "retry": retry.to_json(), "seed": seed}
    declared: dict[str, Any] = {}
    if "timeout" in fields:
        declared["timeout"] = policies["timeout_seconds"]
    if "retry" in fields:
        declared["retry"] = policies["retry"]
    return policies, declared


def _duration(document: Document, entry: Entry | None, what: str) -> dt.timedelta | None:
    if entry is None:
        return None
    value = document.plain(entry.value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        document.report(entry.value, f"{what} has no unit", f"write it with s, m, h or d: {value}s")
        return None
    text = document.text(entry, what)
    if text is None:
        return None
    try:
        return parse_duration(text)
    except InvalidInputError as error:
        document.report(entry.value, f"{what}: {error.message}", error.next_step)
        return None


def is_null(node: yaml.Node) -> bool:
    """Whether nothing stands there, or a plain `null`."""
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
