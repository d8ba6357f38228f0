"""The rules of known_at, as people write them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from optaic.domain.known import Anchor, FromColumn, Lag, Observed, calendar_of, parse_known, parse_lag
from optaic.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "anchor", "offset"),
    [
        ("close", Anchor.CLOSE, dt.timedelta()),
        ("close + 2h", Anchor.CLOSE, dt.timedelta(hours=2)),
        ("open - 30m", Anchor.OPEN, dt.timedelta(minutes=-30)),
        ("date+1d", Anchor.DATE, dt.timedelta(days=1)),
        (" Close + 1.5 hours - 90s ", Anchor.CLOSE, dt.timedelta(hours=1, minutes=28, seconds=30)),
        ("date + 2 weeks", Anchor.DATE, dt.timedelta(weeks=2)),
    ],
)
def test_lags_are_read(text: str, anchor: Anchor, offset: dt.timedelta) -> None:
    assert parse_lag(text) == (anchor, offset)


@pytest.mark.parametrize("text", ["", "2h", "noon + 1h", "close + h", "close 2h", "close + 2 fortnights", None, 7])
def test_other_lags_are_refused_with_an_example(text: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_lag(text)
    assert caught.value.next_step


def test_rules_are_read() -> None:
    assert parse_known({}) == Observed()
    assert parse_known({"known_at": "observed"}) == Observed()
    assert parse_known({"known_at": {"column": "published"}}) == FromColumn(name="published")
    lag = parse_known({"known_at": {"lag": "close"}, "freshness": {"calendar": "XLON"}})
    assert lag == Lag(anchor=Anchor.CLOSE, offset=dt.timedelta(), calendar="XLON")


@pytest.mark.parametrize("rule", ["later", {}, {"lag": "close", "column": "c"}, {"column": 3}, ["observed"], {"x": 1}])
def test_other_rules_are_refused(rule: object) -> None:
    with pytest.raises(InvalidInputError):
        parse_known({"known_at": rule})


@pytest.mark.parametrize(
    ("config", "calendar"),
    [
        ({}, "XNYS"),
        ({"known_at": "observed"}, "XNYS"),
        ({"known_at": {"lag": "close", "calendar": "daily"}, "freshness": {"calendar": "XLON"}}, "daily"),
        ({"known_at": {"lag": "close"}, "freshness": {"calendar": "XLON"}}, "XLON"),
    ],
)
def test_calendar_is_that_of_the_rule_then_of_freshness(config: dict[str, Any], calendar: str) -> None:
    assert calendar_of(config) == calendar
