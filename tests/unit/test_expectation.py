"""Until when data are good: due dates worked out by hand, from the exchanges' own notices."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.expectation import find_problems
from optaic.errors import InvalidInputError
from optaic.flows.calendar import sessions
from optaic.flows.expectation import reach

NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
HONG_KONG = {"frequency": "daily", "calendar": "XHKG", "deadline": "18:00"}
NEW_YORK = {"frequency": "daily", "calendar": "XNYS", "deadline": "close + 2h"}
EVENING = {"frequency": "daily", "calendar": "XNYS", "deadline": "18:00"}
LONDON = {"frequency": "daily", "calendar": "weekdays", "deadline": "18:00", "zone": "Europe/London"}


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("spec", "last", "expected", "until"),
    [
        # Typhoon Saola: no trading on Friday 2023-09-01, so Monday is next; 18:00 in Hong Kong is 10:00 UTC.
        (HONG_KONG, "2023-08-31", "2023-09-04", "2023-09-04 10:00"),
        # Black rainstorm: no trading on Friday 2023-09-08.
        (HONG_KONG, "2023-09-07", "2023-09-11", "2023-09-11 10:00"),
        (HONG_KONG, "2023-09-06", "2023-09-07", "2023-09-07 10:00"),
        # Day of mourning for President Bush: NYSE closed on Wednesday 2018-12-05. Close 21:00 UTC in winter, + 2 h.
        (NEW_YORK, "2018-12-04", "2018-12-06", "2018-12-06 23:00"),
        # Early close at 13:00 New York (17:00 UTC) on 2024-07-03; Independence Day; 2024-07-05 closes at 20:00 UTC.
        (NEW_YORK, "2024-07-02", "2024-07-03", "2024-07-03 19:00"),
        (NEW_YORK, "2024-07-03", "2024-07-05", "2024-07-05 22:00"),
        # The clocks of New York go forward on 2024-03-10 and back on 2024-11-03: 18:00 is 22:00 UTC, then 23:00.
        (EVENING, "2024-03-07", "2024-03-08", "2024-03-08 23:00"),
        (EVENING, "2024-03-08", "2024-03-11", "2024-03-11 22:00"),
        (EVENING, "2024-10-31", "2024-11-01", "2024-11-01 22:00"),
        (EVENING, "2024-11-01", "2024-11-04", "2024-11-04 23:00"),
        # Those of London on 2024-03-31 and 2024-10-27.
        (LONDON, "2024-03-28", "2024-03-29", "2024-03-29 18:00"),
        (LONDON, "2024-03-29", "2024-04-01", "2024-04-01 17:00"),
        (LONDON, "2024-10-25", "2024-10-28", "2024-10-28 18:00"),
        # A time that the clocks skip (02:30 on 2024-03-10 in New York), and one that comes twice (01:30 on 2024-11-03).
        (
            {"frequency": "daily", "calendar": "daily", "deadline": "02:30", "zone": "America/New_York"},
            "2024-03-09", "2024-03-10", "2024-03-10 07:30",
        ),
        (
            {"frequency": "daily", "calendar": "daily", "deadline": "01:30", "zone": "America/New_York"},
            "2024-11-02", "2024-11-03", "2024-11-03 05:30",
        ),
        # New Year: NYSE is closed on 2025-01-01; and on 2025-01-09, the day of mourning for President Carter.
        (NEW_YORK, "2024-12-31", "2025-01-02", "2025-01-02 23:00"),
        (NEW_YORK, "2025-01-08", "2025-01-10", "2025-01-10 23:00"),
        # Grace: one more due date may be missed, then two.
        ({**NEW_YORK, "grace": 1}, "2024-12-30", "2024-12-31", "2025-01-02 23:00"),
        ({**NEW_YORK, "grace": 2}, "2024-12-30", "2024-12-31", "2025-01-03 23:00"),
        # The next morning.
        ({**EVENING, "deadline": "06:00 + 1d"}, "2024-07-05", "2024-07-08", "2024-07-09 10:00"),
        # Without a deadline the day must be over, in UTC where no zone is named.
        ({"frequency": "daily", "calendar": "weekdays"}, "2024-07-05", "2024-07-08", "2024-07-09 00:00"),
        # Good Friday 2024-03-29: the week's session is Thursday's.
        ({**EVENING, "frequency": "weekly"}, "2024-03-22", "2024-03-28", "2024-03-28 22:00"),
        ({**EVENING, "frequency": "weekly", "day_of_week": "monday"}, "2024-05-20", "2024-06-03", "2024-06-03 22:00"),
        # 2024-06-15 is a Saturday.
        ({"frequency": "monthly", "calendar": "weekdays", "day_of_month": 15}, "2024-05-15", "2024-06-14",
         "2024-06-15 00:00"),
        # 31 is the last day of February.
        ({"frequency": "monthly", "calendar": "daily", "day_of_month": 31}, "2024-01-31", "2024-02-29",
         "2024-03-01 00:00"),
        # 2024-06-01 is a Saturday, with no weekday before it in its month: the first one after it.
        ({"frequency": "monthly", "calendar": "weekdays", "day_of_month": 1}, "2024-05-01", "2024-06-03",
         "2024-06-04 00:00"),
        ({"frequency": "quarterly", "calendar": "weekdays"}, "2024-02-01", "2024-03-29", "2024-03-30 00:00"),
        ({"frequency": "quarterly", "calendar": "weekdays"}, "2024-12-31", "2025-03-31", "2025-04-01 00:00"),
        # Sessions after 2024-07-01: 2, 3, 5, 8, 9 July.
        ({**EVENING, "frequency": "every_n_sessions", "n": 5}, "2024-07-01", "2024-07-09", "2024-07-09 22:00"),
    ],
)  # fmt: skip
def test_the_date_that_is_expected_next_and_when_it_is_due(
    spec: dict[str, Any], last: str, expected: str, until: str
) -> None:
    found = reach(spec, dt.date.fromisoformat(last), NOON)
    assert (str(found.expected_date), found.ready_until) == (expected, utc(until))


def test_irregular_data_are_good_for_ever() -> None:
    for spec in (None, {"frequency": "irregular"}):
        assert reach(spec, dt.date(2024, 1, 2), NOON).ready_until is None


def test_an_interval_counts_from_the_last_refresh() -> None:
    found = reach({"frequency": "interval", "every": "6h"}, dt.date(2020, 1, 1), NOON)
    assert (found.expected_date, found.ready_until) == (None, utc("2024-01-01 18:00"))
    assert reach({"frequency": "interval", "every": "6h", "grace": 1}, None, NOON).ready_until == utc(
        "2024-01-02 00:00"
    )


def test_no_data_at_all_are_overdue_at_once() -> None:
    assert reach(NEW_YORK, None, NOON).ready_until == NOON


def test_the_library_that_knew_the_sessions_is_told() -> None:
    assert str(reach(NEW_YORK, dt.date(2024, 7, 2), NOON).calendar).startswith("exchange_calendars ")
    assert reach(LONDON, dt.date(2024, 7, 2), NOON).calendar is None


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, ""),
        ({"frequency": "dayly"}, "frequency"),
        ({"frequency": "every_n_sessions"}, "frequency"),
        ({"frequency": "interval"}, "frequency"),
        ({"frequency": "interval", "every": "soon"}, "every"),
        ({"frequency": "daily", "day_of_week": "friday"}, "day_of_week"),
        ({"frequency": "weekly", "day_of_week": "fryday"}, "day_of_week"),
        ({"frequency": "monthly", "day_of_month": 32}, "day_of_month"),
        ({"frequency": "daily", "grace": True}, "grace"),
        ({"frequency": "daily", "deadline": "25:00"}, "deadline"),
        ({"frequency": "daily", "deadline": "18:00", "zone": "New York"}, "zone"),
        ({"frequency": "daily", "on_delayed": "panic"}, "on_delayed"),
        ({"frequency": "irregular", "grace": 1}, "grace"),
    ],
)
def test_a_mistake_is_told_with_its_field(spec: dict[str, Any], field: str) -> None:
    assert field in [name for name, _, _ in find_problems(spec)]
    with pytest.raises(InvalidInputError):
        reach(spec, dt.date(2024, 1, 2), NOON)


SPECS = st.one_of(
    st.fixed_dictionaries({"frequency": st.just("daily")}),
    st.fixed_dictionaries(
        {
            "frequency": st.just("weekly"),
            "day_of_week": st.sampled_from(["monday", "wednesday", "friday", "sunday"]),
        }
    ),
    st.fixed_dictionaries({"frequency": st.sampled_from(["monthly", "quarterly"]), "day_of_month": st.integers(1, 31)}),
    st.fixed_dictionaries({"frequency": st.just("every_n_sessions"), "n": st.integers(1, 7)}),
)


@given(
    spec=SPECS,
    calendar=st.sampled_from(["weekdays", "daily"]),
    grace=st.integers(0, 2),
    last=st.dates(dt.date(2020, 1, 1), dt.date(2026, 12, 31)),
)
def test_more_data_are_never_due_earlier_and_the_date_expected_is_a_session_after_them(
    spec: dict[str, Any], calendar: str, grace: int, last: dt.date
) -> None:
    spec = {**spec, "calendar": calendar, "grace": grace}
    found, next_day = reach(spec, last, NOON), reach(spec, last + dt.timedelta(days=1), NOON)
    assert found.expected_date is not None
    assert found.ready_until is not None
    assert next_day.ready_until is not None
    assert found.expected_date > last
    assert sessions(found.expected_date, found.expected_date, calendar) == [found.expected_date]
    assert next_day.ready_until >= found.ready_until
    # Data that reach the date expected are good for longer than those that do not.
    assert (reach(spec, found.expected_date, NOON).ready_until or NOON) > found.ready_until
