from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.retry import RetryPolicy

SECOND = dt.timedelta(seconds=1)
MOMENT = dt.timedelta(microseconds=1)


def policies() -> st.SearchStrategy[RetryPolicy]:
    spans = st.timedeltas(min_value=dt.timedelta(0), max_value=dt.timedelta(days=30))
    return st.builds(RetryPolicy, max_attempts=st.integers(1, 50), backoff=spans, max_backoff=spans)


def test_the_first_attempt_counts() -> None:
    policy = RetryPolicy(max_attempts=3)
    assert [policy.allows(count) for count in range(5)] == [True, True, True, False, False]


def test_a_wait_doubles_until_its_longest() -> None:
    policy = RetryPolicy(backoff=2 * SECOND, max_backoff=10 * SECOND)
    waits = [policy.wait(count, "token") for count in range(1, 6)]
    whole = [2, 4, 8, 10, 10]
    assert all(seconds / 2 * SECOND <= wait <= seconds * SECOND for wait, seconds in zip(waits, whole, strict=True))
    assert abs(waits[1] - 2 * waits[0]) <= MOMENT
    assert waits[3] == waits[4]


@given(policies(), st.integers(1, 10**6), st.text())
def test_a_wait_is_half_to_the_whole_and_the_same_for_the_same_token(
    policy: RetryPolicy, count: int, token: str
) -> None:
    wait = policy.wait(count, token)
    assert policy.wait(count, token) == wait
    whole = min(policy.backoff.total_seconds() * 2 ** min(count - 1, 30), policy.max_backoff.total_seconds()) * SECOND
    assert whole / 2 - MOMENT <= wait <= whole + MOMENT


def test_runs_that_failed_together_do_not_come_back_together() -> None:
    waits = {RetryPolicy().wait(1, f"run {number}") for number in range(100)}
    assert len(waits) == 100
    assert max(waits) - min(waits) > 0.9 * SECOND


@given(policies())
def test_a_policy_survives_its_json(policy: RetryPolicy) -> None:
    assert RetryPolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


def test_what_is_missing_takes_its_default() -> None:
    assert RetryPolicy.from_json({}) == RetryPolicy()
    assert RetryPolicy.from_json({"max_attempts": 7}) == RetryPolicy(max_attempts=7)


@pytest.mark.parametrize("value", [None, "often", [], {"max_attempts": "many"}, {"backoff_seconds": 1e300}, {"on": 3}])
def test_what_is_no_policy_allows_no_second_attempt(value: object) -> None:
    assert not RetryPolicy.from_json(value).allows(1)
