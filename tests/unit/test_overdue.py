"""When data are overdue: against a reference that looks at each day alone, and at the edges of what calendars know."""

from __future__ import annotations

import calendar as months
import datetime as dt
import warnings
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.expectation import find_problems
from optaic.domain.known import parse_lag
from optaic.errors import InvalidInputError, ProjectFileError
from optaic.flows.calendar import library_version, sessions
from optaic.flows.expectation import reach
from optaic.project import read_project

NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ZONES = ("America/New_York", "Europe/London", "Asia/Hong_Kong", "Australia/Lord_Howe", "UTC")


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def until(spec: dict[str, Any], last: str) -> dt.datetime | None:
    return reach(spec, dt.date.fromisoformat(last), NOON).ready_until


# ----------------------------------------------------------------------------------------------- the reference


@cache
def closes_of_new_york() -> dict[dt.date, dt.datetime]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calendar = exchange_calendars.get_calendar("XNYS", start="2017-01-01", end="2026-12-31")
    days: list[dt.date] = [day.date() for day in calendar.sessions.to_pydatetime()]
    return dict(zip(days, (dt.datetime.fromtimestamp(n // 10**9, dt.UTC) for n in calendar.closes_nanos), strict=True))


def is_session(day: dt.date, calendar: str) -> bool:
    if calendar == "XNYS":
        return day in closes_of_new_york()
    return calendar == "daily" or day.weekday() < 5


def is_due(day: dt.date, spec: dict[str, Any]) -> bool:
    """Whether data of a day are due, by nothing but the days of its own week or month."""
    if not is_session(day, spec["calendar"]):
        return False
    if spec["frequency"] == "daily":
        return True
    if spec["frequency"] == "weekly":
        left = DAYS.index(spec["day_of_week"]) - day.weekday()
        return left >= 0 and not any(is_session(day + n * DAY, spec["calendar"]) for n in range(1, left + 1))
    if spec["frequency"] == "quarterly" and day.month % 3:
        return False
    length = months.monthrange(day.year, day.month)[1]
    wanted = min(spec["day_of_month"], length)
    in_month = [n for n in range(1, length + 1) if is_session(day.replace(day=n), spec["calendar"])]
    before = [n for n in in_month if n <= wanted]
    return day.day == (max(before) if before else min(in_month))


def has_passed(day: dt.date, spec: dict[str, Any], now: dt.datetime) -> bool:
    """Whether the deadline of a day has passed, as the clock on the wall shows it."""
    if spec["deadline"] == "close + 2h":
        return now >= closes_of_new_york()[day] + dt.timedelta(hours=2)
    hour, days = int(spec["deadline"][:2]), 1 if "+" in spec["deadline"] else 0
    wall = dt.datetime.combine(day + days * DAY, dt.time(hour))
    return now.astimezone(ZoneInfo(spec["zone"])).replace(tzinfo=None) >= wall


def is_overdue(spec: dict[str, Any], last: dt.date, now: dt.datetime) -> bool:
    days = (last + n * DAY for n in range(1, (now.date() - last).days + 3))
    if spec["frequency"] == "every_n_sessions":
        passed = [day for day in days if is_session(day, spec["calendar"]) and has_passed(day, spec, now)]
        return len(passed) >= spec["n"] * (spec["grace"] + 1)
    missed = [day for day in days if is_due(day, spec) and has_passed(day, spec, now)]
    return len(missed) > spec["grace"]


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = draw(
        st.one_of(
            st.fixed_dictionaries({"frequency": st.just("daily")}),
            st.fixed_dictionaries({"frequency": st.just("weekly"), "day_of_week": st.sampled_from(DAYS)}),
            st.fixed_dictionaries(
                {"frequency": st.sampled_from(["monthly", "quarterly"]), "day_of_month": st.integers(1, 31)}
            ),
            st.fixed_dictionaries({"frequency": st.just("every_n_sessions"), "n": st.integers(1, 7)}),
        )
    )
    spec["calendar"] = draw(st.sampled_from(["XNYS", "weekdays", "daily"]))
    spec["grace"] = draw(st.integers(0, 2))
    spec["deadline"] = draw(st.sampled_from(["18:00", "06:00 + 1d", "00:00 + 1d"]))
    if spec["calendar"] == "XNYS" and draw(st.booleans()):
        spec["deadline"] = "close + 2h"
    else:
        spec["zone"] = draw(st.sampled_from(ZONES))
    return spec


# The clocks of New York and London change in these months; Christmas, year end and a short February are there too.
LAST_DATES = st.one_of(
    st.dates(dt.date(2024, 2, 20), dt.date(2024, 4, 5)),
    st.dates(dt.date(2018, 10, 15), dt.date(2019, 3, 1)),
    st.dates(dt.date(2017, 1, 2), dt.date(2025, 6, 30)),
)


@given(spec=specs(), last=LAST_DATES, later=st.integers(-3 * 96, 130 * 96), near=st.integers(-5, 5))
def test_data_are_overdue_if_and_only_if_more_due_dates_have_passed_than_grace_forgives(
    spec: dict[str, Any], last: dt.date, later: int, near: int
) -> None:
    ready_until = reach(spec, last, NOON).ready_until
    assert ready_until is not None
    quarter = dt.timedelta(minutes=15)
    midnight = dt.datetime.combine(last, dt.time(), tzinfo=dt.UTC)
    for now in (midnight + later * quarter, ready_until + near * quarter, ready_until - dt.timedelta(seconds=1)):
        assert is_overdue(spec, last, now) == (now >= ready_until), (now, ready_until)


# ------------------------------------------------------------------------------ the edges of what calendars know


def test_the_year_in_which_a_calendar_ends_is_known_to_its_last_day() -> None:
    # The holidays of Singapore are announced year by year; this library has those of at least 2026.
    spec = {"frequency": "daily", "calendar": "XSES", "deadline": "18:00"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound = exchange_calendars.get_calendar("XSES").bound_max()
    assert bound is not None
    end = bound.date()
    *_, before, final = sessions(end - 20 * DAY, end, "XSES")
    assert reach(spec, before, NOON).expected_date == final


def test_after_the_last_day_that_a_calendar_knows_each_weekday_is_expected() -> None:
    # XSHG is bounded too; 2150-01-02 is a Friday. A day without hours ends, like those of `weekdays`, at midnight UTC.
    spec = {"frequency": "daily", "calendar": "XSHG", "deadline": "18:00"}
    assert until(spec, "2150-01-02") == utc("2150-01-05 10:00")
    assert until({**spec, "deadline": "close + 2h"}, "2150-01-02") == utc("2150-01-06 02:00")
    assert until({**spec, "frequency": "weekly"}, "2150-01-02") == utc("2150-01-09 10:00")
    assert until({**spec, "frequency": "monthly"}, "2150-01-02") == utc("2150-01-30 10:00")


@pytest.mark.parametrize("last", [dt.date.min, dt.date(1890, 5, 1), dt.date(1969, 12, 31)])
@pytest.mark.parametrize("calendar", ["XNYS", "weekdays", "AIXK"])
def test_data_that_end_before_anything_is_known_are_overdue(calendar: str, last: dt.date) -> None:
    ready_until = reach({"frequency": "daily", "calendar": calendar}, last, NOON).ready_until
    assert ready_until is not None
    assert ready_until < NOON


@pytest.mark.parametrize("last", [dt.date.max, dt.date(2500, 1, 1)])
@pytest.mark.parametrize("frequency", ["daily", "weekly", "monthly", "quarterly"])
def test_data_that_say_they_have_no_end_are_good_for_ever(frequency: str, last: dt.date) -> None:
    for calendar in ("XNYS", "daily"):
        assert reach({"frequency": frequency, "calendar": calendar}, last, NOON).ready_until is None


def test_another_name_of_an_exchange_has_the_same_closures() -> None:
    # HKEX is an alias of XHKG; typhoon Saola on Friday 2023-09-01.
    assert until({"frequency": "daily", "calendar": "HKEX", "deadline": "18:00"}, "2023-08-31") == utc(
        "2023-09-04 10:00"
    )


def test_without_a_deadline_the_day_must_be_over_where_the_exchange_is() -> None:
    # Midnight in New York is 04:00 UTC in summer, in Hong Kong 16:00 UTC.
    assert until({"frequency": "daily", "calendar": "XNYS"}, "2024-07-05") == utc("2024-07-09 04:00")
    assert until({"frequency": "daily", "calendar": "XHKG"}, "2024-07-05") == utc("2024-07-08 16:00")
    assert until({"frequency": "daily", "calendar": "XHKG", "zone": "UTC"}, "2024-07-05") == utc("2024-07-09 00:00")


@pytest.fixture
def broken_calendar() -> Generator[str]:
    def make(*_: object, **__: object) -> None:
        raise NotImplementedError("implemented by subclasses")

    exchange_calendars.register_calendar_type("XBAD", make)
    yield "XBAD"
    exchange_calendars.deregister_calendar("XBAD")


def test_a_calendar_that_the_library_cannot_make_is_an_error_that_names_it(broken_calendar: str) -> None:
    # Athens and Bucharest, with exchange_calendars 4.13 on pandas 3: a completion must not die of it.
    with pytest.raises(InvalidInputError, match="XBAD"):
        reach({"frequency": "daily", "calendar": broken_calendar}, dt.date(2024, 1, 2), NOON)


def test_the_version_is_that_of_the_calendar_asked() -> None:
    assert str(library_version("XNYS")).startswith("exchange_calendars 4.")
    assert library_version("daily") is None


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"frequency": "daily", "deadline": "close + 99999999999999d"}, "deadline"),
        ({"frequency": "daily", "deadline": "close + 400d"}, "deadline"),
        ({"frequency": "daily", "zone": ["UTC"]}, "zone"),
        ({"frequency": "daily", "zone": None}, "zone"),
        ({"frequency": ["daily"]}, "frequency"),
        ({"frequency": "interval", "every": "999999w"}, "every"),
        ({"frequency": "interval", "every": "0h"}, "every"),
        ({"frequency": "interval", "every": 6}, "every"),
        ({"frequency": "every_n_sessions", "n": 367}, "n"),
        ({"frequency": "daily", "grace": 101}, "grace"),
    ],
)
def test_what_is_too_large_or_of_another_type_is_a_mistake_too(spec: dict[str, Any], field: str) -> None:
    assert [name for name, _, _ in find_problems(spec)] == [field]


def test_a_day_that_is_almost_right_is_suggested() -> None:
    [(_, problem, _)] = find_problems({"frequency": "weekly", "day_of_week": "fryday"})
    assert "did you mean 'friday'?" in problem


def test_a_lag_that_no_calendar_reaches_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="too long"):
        parse_lag("close + 99999999999999d")


# ------------------------------------------------------------------------------------------ in a project file


@pytest.fixture
def freshness(tmp_path: Path) -> Callable[[str], Any]:
    def read(rest: str) -> Any:
        path = tmp_path / "optaic.yaml"
        path.write_text(f"project: p\ninstances:\n  a: {{kind: dataset, definition: 'm:f', {rest}}}\n")
        return read_project(path).instances[0].freshness

    return read


@pytest.mark.parametrize(
    ("rest", "stored"),
    [
        ("freshness: {frequency: irregular}", {"frequency": "irregular"}),
        ("freshness: {frequency: interval, every: 6h}", {"frequency": "interval", "every": "6h"}),
        ("freshness: {frequency: daily}", {"frequency": "daily", "calendar": "XNYS"}),
        (
            "known_at: {lag: close, calendar: XLON}, freshness: {frequency: daily}",
            {"frequency": "daily", "calendar": "XLON"},
        ),
        (
            "known_at: {lag: close, calendar: XLON}, freshness: {frequency: daily, calendar: weekdays}",
            {"frequency": "daily", "calendar": "weekdays"},
        ),
    ],
)
def test_the_sessions_are_those_of_the_dataset_unless_others_are_named(
    freshness: Callable[[str], Any], rest: str, stored: dict[str, Any]
) -> None:
    assert freshness(rest) == stored


def test_a_calendar_that_cannot_be_made_is_refused_where_it_stands(
    freshness: Callable[[str], Any], broken_calendar: str
) -> None:
    with pytest.raises(ProjectFileError, match="cannot make XBAD") as caught:
        freshness(f"freshness: {{frequency: daily, calendar: {broken_calendar}}}")
    assert caught.value.line == 3
