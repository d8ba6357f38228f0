"""One text for each value, and digests that tell apart exactly what must be told apart."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.fingerprint import canonical_json, digest_of, fingerprint
from optaic.domain.standing import standing_of
from optaic.domain.status import Standing
from optaic.errors import InvalidInputError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def typed(value: Any) -> Any:
    """Make 1, 1.0 and True differ, and -0.0 and 0.0 not."""
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return type(value).__name__, value


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return tuple(shuffled(inner) for inner in value) if isinstance(value, list) else value


@given(VALUES)
def test_the_text_of_a_value_reads_back_as_that_value(value: Any) -> None:
    assert typed(json.loads(canonical_json(value))) == typed(value)


@given(VALUES, VALUES)
def test_two_values_have_one_digest_exactly_if_they_are_equal(first: Any, second: Any) -> None:
    assert (digest_of(first) == digest_of(second)) == (typed(first) == typed(second))


@given(VALUES)
def test_the_order_of_keys_and_the_kind_of_sequence_do_not_count(value: Any) -> None:
    assert canonical_json(shuffled(value)) == canonical_json(value)


@given(VALUES)
def test_the_text_is_printable_and_its_own_canonical_form(value: Any) -> None:
    text = canonical_json(value)
    assert text.isascii()
    assert canonical_json(json.loads(text)) == text


def test_whole_and_fractional_numbers_differ() -> None:
    assert canonical_json([1, 1.0, True]) == "[1,1.0,true]"
    assert digest_of(1) != digest_of(1.0)
    assert digest_of(0.0) == digest_of(-0.0)


def test_dates_are_their_iso_text_and_instants_that_of_utc() -> None:
    paris = dt.timezone(dt.timedelta(hours=2))
    noon = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
    assert canonical_json(dt.date(2024, 6, 3)) == canonical_json("2024-06-03")
    assert canonical_json(noon) == '"2024-06-03T12:00:00+00:00"' == canonical_json(noon.astimezone(paris))


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": {"b": [1, math.nan]}}, "a.b[1] is nan"),
        ({"a": math.inf}, "a is inf"),
        ({"a": [dt.datetime(2024, 1, 1)]}, "a[0] is the instant"),  # noqa: DTZ001 - the point
        ({"a": {1, 2}}, "a is a set"),
        ({"a": b"x"}, "a is a bytes"),
        ({"a": Decimal("1.5")}, "a is a Decimal"),
        ({"a": {3: "x"}}, "a has the key 3"),
        (object(), "the value is a object"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_path(value: Any, place: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        canonical_json(value)
    assert caught.value.message.startswith(place)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidInputError, match="100 levels"):
        digest_of(value)


def test_the_digest_is_the_same_in_another_process() -> None:
    value = {"b": [1, 2.5, None], "a": "é\ud800"}
    code = "from optaic.domain.fingerprint import digest_of; print(digest_of(eval(input())))"
    done = subprocess.run([sys.executable, "-c", code], input=ascii(value), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest_of(value)


SAME: dict[str, Any] = {
    "code_digest": "c",
    "config_digest": "f",
    "params": {"n": 21},
    "seed": 0,
    "inputs": {"close": "v1"},
    "as_of": None,
}


@pytest.mark.parametrize(
    "change",
    [
        {"code_digest": "d"},
        {"code_digest": None},
        {"config_digest": "g"},
        {"params": {"n": 22}},
        {"params": {"n": 21.0}},
        {"seed": 1},
        {"inputs": {"close": "v2"}},
        {"inputs": {"open": "v1"}},
        {"inputs": {}},
        {"as_of": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)},
    ],
)
def test_whatever_may_change_a_result_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(**SAME) == fingerprint(**SAME)
    assert fingerprint(**{**SAME, **change}) != fingerprint(**SAME)


OWN: dict[str, Any] = {
    "params": {"n": 21},
    "own_params": {"n": 21},
    "seed": 7,
    "own_seed": 7,
    "as_of": None,
    "trigger": "manual",
}


@pytest.mark.parametrize("trigger", ["manual", "schedule", "upstream", "plan", "retry", "engine"])
def test_a_run_with_all_that_is_its_flows_own_is_official(trigger: str) -> None:
    own: dict[str, Any] = {**OWN, "trigger": trigger}
    assert standing_of(**own) is Standing.OFFICIAL


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"n": 22}},
        {"params": {"n": 21.0}},
        {"params": {"n": 21, "m": None}},
        {"params": {}},
        {"seed": 8},
        {"as_of": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)},
        {"trigger": "track"},
        {"trigger": "sweep"},
        {"trigger": "reproduce"},
    ],
)
def test_a_run_that_differs_in_anything_is_a_trial(change: dict[str, Any]) -> None:
    assert standing_of(**{**OWN, **change}) is Standing.TRIAL
