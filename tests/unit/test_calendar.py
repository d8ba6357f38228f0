"""Closes and opens of sessions, checked against the exchanges' published hours."""

from __future__ import annotations

import datetime as dt

import pytest

from optaic.errors import InvalidInputError
from optaic.flows.calendar import check_calendar, closes, opens, session_close


def utc(*parts: int) -> dt.datetime:
    year, month, day, hour, minute = (*parts, 0, 0)[:5]
    return dt.datetime(year, month, day, hour, minute, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("date", "close"),
    [
        (dt.date(2024, 7, 2), utc(2024, 7, 2, 20)),  # daylight saving: 16:00 in New York
        (dt.date(2024, 7, 3), utc(2024, 7, 3, 17)),  # an early close at 13:00
        (dt.date(2024, 1, 2), utc(2024, 1, 2, 21)),
        (dt.date(2018, 12, 5), utc(2018, 12, 4, 21)),  # closed for a day of mourning: the session before
        (dt.date(2024, 7, 6), utc(2024, 7, 5, 20)),  # a Saturday
    ],
)
def test_a_date_means_the_close_of_its_session_or_of_the_last_one_before(date: dt.date, close: dt.datetime) -> None:
    assert session_close(date, "XNYS") == close


def test_the_rows_of_a_day_that_is_no_session_are_known_at_the_next_close() -> None:
    assert closes([dt.date(2018, 12, 4), dt.date(2018, 12, 5)], "XNYS") == [
        utc(2018, 12, 4, 21),
        utc(2018, 12, 6, 21),
    ]
    assert opens([dt.date(2024, 7, 6)], "XNYS") == [utc(2024, 7, 8, 13, 30)]


def test_calendars_without_a_library() -> None:
    assert closes([dt.date(2024, 7, 6)], "daily") == [utc(2024, 7, 7)]
    assert closes([dt.date(2024, 7, 6)], "weekdays") == [utc(2024, 7, 9)]
    assert session_close(dt.date(2024, 7, 7), "weekdays") == utc(2024, 7, 6)


def test_decades_back_and_across_their_border() -> None:
    assert closes([dt.date(1990, 1, 2), dt.date(1999, 12, 30), dt.date(2000, 1, 3)], "XNYS") == [
        utc(1990, 1, 2, 21),
        utc(1999, 12, 30, 21),
        utc(2000, 1, 3, 21),
    ]


def test_an_unknown_calendar_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'NYSE'"):
        check_calendar("NYSEE")


@pytest.mark.parametrize("date", [dt.date(1962, 1, 2), dt.date(1990, 1, 2)])
def test_a_date_before_a_calendar_begins_is_refused_not_moved_by_years(date: dt.date) -> None:
    with pytest.raises(InvalidInputError, match="XTKS"):
        closes([date], "XTKS")
