"""Which names a signal selects, how much of each, and in which sessions."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.errors import InvalidInputError
from optaic.quant.panel import Dates
from optaic.quant.rebalance import Rebalance, decide_sessions
from optaic.quant.selection import cap_weights, select_targets

NONE = float("nan")


def select(signal: list[float], **options: Any) -> list[float]:
    targets, _ = select_targets(np.array([signal]), **options)
    return targets[0].tolist()


@pytest.mark.parametrize(
    ("names", "top", "taken"),
    [
        (10, 0.2, 2),
        (15, 0.2, 3),  # 0.2 x 15 is 3.0000000000000004
        (10, 0.7, 7),  # 0.7 x 10 is 7.000000000000001, and 0.29 x 100 is 28.999999999999996
        (100, 0.29, 29),
        (9, 0.2, 1),
        (4, 0.2, 1),  # at least one
        (1, 0.2, 1),
        (3, 1.0, 3),
    ],
)
def test_top_takes_that_share_of_the_names_and_at_least_one(names: int, top: float, taken: int) -> None:
    weights = select([float(-i) for i in range(names)], top=top)
    assert weights == [1 / taken] * taken + [0.0] * (names - taken)


def test_equal_signals_go_by_symbol() -> None:
    assert select([1.0, 2.0, 1.0, 1.0], top=0.5) == [0.5, 0.5, 0.0, 0.0]


def test_null_is_never_selected_and_does_not_count() -> None:
    # Two of four names have a signal; half of two is one.
    assert select([NONE, 1.0, NONE, 2.0], top=0.5) == [0.0, 0.0, 0.0, 1.0]
    assert select([NONE, 1.0, NONE, 2.0], top=1.0) == [0.0, 0.5, 0.0, 0.5]


def test_who_is_not_eligible_is_not_selected_and_does_not_count() -> None:
    eligible = np.array([[False, True, True, True]])
    assert select([9.0, 3.0, 2.0, 1.0], top=0.34, eligible=eligible) == [0.0, 1.0, 0.0, 0.0]


def test_where_nobody_can_be_selected_no_decision_is_taken() -> None:
    targets, decided = select_targets(np.array([[NONE, NONE], [1.0, 2.0], [1.0, 2.0]]), top=0.5)
    assert decided.tolist() == [False, True, True]
    assert targets[0].tolist() == [0.0, 0.0]
    _, asked = select_targets(np.ones((3, 2)), top=0.5, decided=np.array([False, True, False]))
    assert asked.tolist() == [False, True, False]


def test_long_short_sells_the_end_of_the_same_ranking() -> None:
    # All equal: by symbol the first is bought and the last is sold.
    assert select([1.0, 1.0, 1.0], top=0.34, is_long_short=True) == [0.5, 0.0, -0.5]
    assert select([1.0, 4.0, 2.0, 3.0], top=0.5, is_long_short=True) == [-0.25, 0.25, -0.25, 0.25]
    # gross 1.6 and net 0.4: 1.0 long, 0.6 short.
    assert select([1.0, 2.0], top=0.5, is_long_short=True, gross=1.6, net=0.4) == pytest.approx([-0.6, 1.0])
    assert select_targets(np.array([[1.0, NONE]]), top=0.5, is_long_short=True)[1].tolist() == [False]


def test_gross_is_what_the_weights_add_up_to() -> None:
    assert select([1.0, 2.0], top=1.0, gross=0.5) == [0.25, 0.25]


@given(st.lists(st.sampled_from([NONE, -1.0, 0.0, 1.0, 2.0]), max_size=30), st.floats(0.01, 1.0), st.booleans())
def test_selected_names_rank_before_all_others(signal: list[float], top: float, is_long_short: bool) -> None:
    share = top / 2 if is_long_short else top
    targets, decided = select_targets(np.array([signal]).reshape(1, -1), top=share, is_long_short=is_long_short)
    names = [i for i, value in enumerate(signal) if not np.isnan(value)]
    assert decided[0] == (len(names) >= (2 if is_long_short else 1))
    if not decided[0]:
        return
    ranking = sorted(names, key=lambda i: (-signal[i], i))
    count = max(1, int(share * len(names) + 1e-9))
    assert np.flatnonzero(targets[0] > 0).tolist() == sorted(ranking[:count])
    assert np.flatnonzero(targets[0] < 0).tolist() == (sorted(ranking[-count:]) if is_long_short else [])
    assert targets.sum() == pytest.approx(0.0 if is_long_short else 1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0.0}, r"top is 0\.0"),
        ({"top": 1.1}, r"top is 1\.1"),
        ({"top": 0.6, "is_long_short": True}, r"top is 0\.6"),
        ({"top": 0.5, "gross": 0.0}, r"gross is 0\.0"),
        ({"top": 0.5, "net": 0.0}, "only purchases"),
        ({"top": 0.5, "net": 2.0, "is_long_short": True}, r"net is 2\.0"),
        ({"top": 0.5, "eligible": np.ones((1, 3), dtype=np.bool_)}, "eligible has shape"),
        ({"top": 0.5, "decided": np.ones(2, dtype=np.bool_)}, "decided has shape"),
    ],
)
def test_what_cannot_be_selected_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        select([1.0, 2.0], **options)


WEIGHTS = st.lists(st.floats(-3, 3), min_size=1, max_size=8)
LIMITS = st.one_of(st.none(), st.floats(0.01, 2))


@given(WEIGHTS, LIMITS, LIMITS, LIMITS)
def test_capped_weights_keep_all_limits_and_no_weight_grows_or_turns(
    weights: list[float], max_weight: float | None, gross: float | None, net: float | None
) -> None:
    before = np.array(weights)
    after = cap_weights(before, max_weight=max_weight, gross=gross, net=net)
    assert np.abs(after).max() <= (max_weight or 3) + 1e-12
    assert np.abs(after).sum() <= (gross or 24) + 1e-12
    assert abs(after.sum()) <= (24 if net is None else net) + 1e-12
    assert (np.abs(after) <= np.abs(before) + 1e-12).all()
    assert (after * before >= 0).all()


def test_weights_within_their_limits_stay_as_they_are() -> None:
    weights = np.array([0.5, -0.5])
    assert cap_weights(weights, max_weight=0.5, gross=1.0, net=0.0).tolist() == [0.5, -0.5]


def weekdays(first: str, last: str, *holidays: str) -> Dates:
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    return days[np.is_busday(days, holidays=list(holidays))]


def decisions(dates: Dates, rebalance: Rebalance, offset: int = 0) -> list[str]:
    return [str(day) for day in dates[decide_sessions(dates, rebalance, offset=offset)]]


@pytest.mark.parametrize(
    ("last", "following", "monthly", "weekly"),
    [
        # Good Friday is the last weekday of the month and of the week, and no session.
        ("2024-03-28", dt.date(2024, 4, 1), True, True),
        ("2024-03-27", dt.date(2024, 3, 28), False, False),
        # Where Sunday is a session, Thursday is the last one of its week only by the calendar.
        ("2024-02-29", dt.date(2024, 3, 3), True, False),
    ],
)
def test_whether_the_last_session_ends_its_period_is_said_by_the_session_that_follows_it(
    last: str, following: dt.date, *, monthly: bool, weekly: bool
) -> None:
    dates = np.array([last], dtype="datetime64[D]")
    assert decide_sessions(dates, "monthly", following=following).tolist() == [monthly]
    assert decide_sessions(dates, "weekly", following=following).tolist() == [weekly]
    with pytest.raises(InvalidInputError, match="said to be"):
        decide_sessions(dates, "monthly", following=dates[0].item())


def test_monthly_decides_in_the_last_session_of_each_month() -> None:
    # 29 March 2024 was Good Friday; the panel ends in the middle of May.
    dates = weekdays("2024-01-15", "2024-05-14", "2024-03-29")
    assert decisions(dates, "monthly") == ["2024-01-31", "2024-02-29", "2024-03-28", "2024-04-30"]


def test_weekly_decides_in_the_last_session_of_each_week() -> None:
    dates = weekdays("2024-03-20", "2024-04-03", "2024-03-29", "2024-04-01")
    assert decisions(dates, "weekly") == ["2024-03-22", "2024-03-28"]


def test_the_last_session_given_ends_its_period_if_the_next_weekday_is_in_another() -> None:
    assert decisions(weekdays("2024-05-29", "2024-05-31"), "monthly") == ["2024-05-31"]
    assert decisions(weekdays("2024-05-29", "2024-05-30"), "monthly") == []
    assert decisions(weekdays("2024-05-29", "2024-05-31"), "weekly") == ["2024-05-31"]
    # 31 August 2024 was a Saturday: Friday the 30th is the last weekday.
    assert decisions(weekdays("2024-08-28", "2024-08-30"), "monthly") == ["2024-08-30"]


def test_daily_decides_in_every_session() -> None:
    dates = weekdays("2024-05-29", "2024-05-31")
    assert decisions(dates, "daily") == ["2024-05-29", "2024-05-30", "2024-05-31"]


def test_every_n_sessions_counts_from_the_first() -> None:
    dates = weekdays("2024-05-27", "2024-06-05")
    assert decisions(dates, 3) == ["2024-05-27", "2024-05-30", "2024-06-04"]
    assert decisions(dates, 3, 1) == ["2024-05-28", "2024-05-31", "2024-06-05"]


def test_an_offset_decides_so_many_sessions_later() -> None:
    dates = weekdays("2024-01-15", "2024-04-01", "2024-03-29")
    assert decisions(dates, "monthly", 2) == ["2024-02-02", "2024-03-04"]
    assert decisions(dates, "daily", 50) == [str(day) for day in dates[50:]]
    assert decisions(dates, "daily", 500) == []


@pytest.mark.parametrize("rebalance", ["daily", "weekly", "monthly", 5])
def test_no_sessions_have_no_decisions(rebalance: Rebalance) -> None:
    assert decisions(np.zeros(0, dtype="datetime64[D]"), rebalance) == []


@given(st.dates(dt.date(1960, 1, 1), dt.date(2060, 1, 1)), st.integers(1, 60), st.sampled_from(["weekly", "monthly"]))
def test_each_full_period_has_one_decision(first: dt.date, sessions: int, rebalance: Any) -> None:
    dates = np.busday_offset(np.datetime64(first), np.arange(sessions), roll="forward")
    decided = decide_sessions(dates, rebalance)
    days: list[dt.date] = dates.tolist()
    periods = [(day.year, day.month) if rebalance == "monthly" else day.isocalendar()[:2] for day in days]
    for t in range(sessions - 1):
        assert decided[t] == (periods[t] != periods[t + 1])


@pytest.mark.parametrize(
    ("rebalance", "offset", "message"),
    [
        ("yearly", 0, "rebalance is 'yearly'"),
        (0, 0, "rebalance is 0"),
        (True, 0, "rebalance is True"),
        (5, 5, "every 5 sessions"),
        ("daily", -1, "rebalance_offset is -1"),
    ],
)
def test_a_calendar_that_is_none_is_refused(rebalance: Any, offset: int, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        decide_sessions(weekdays("2024-05-27", "2024-06-05"), rebalance, offset=offset)
