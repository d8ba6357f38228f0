"""The page of a report: safe to open, asks for nothing, and says what is doubtful before anything else."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.errors import InvalidInputError
from optaic.report.markup import Html, element, text
from optaic.report.number import format_value
from optaic.report.page import Figure, Heading, Section, figure_groups, table, terms, tiles, write_page
from tests.documents import read_document

CREATED_AT = dt.datetime(2024, 3, 1, 17, 30, tzinfo=dt.UTC)


def heading(title: str = "momentum_bt", *, created_at: dt.datetime = CREATED_AT) -> Heading:
    return Heading(
        kind="Backtest",
        title=title,
        run_id="019-abc",
        period=(dt.date(2005, 1, 3), dt.date(2022, 12, 28)),
        created_at=created_at,
        chips=("official",),
    )


def test_header_says_which_run_of_what_over_which_time() -> None:
    said = read_document(write_page(heading(), [], [])).text
    for fact in ("momentum_bt", "019-abc", "2005-01-03 to 2022-12-28", "made 2024-03-01 17:30 UTC", "official"):
        assert fact in said


def test_instants_are_shown_in_utc() -> None:
    tokyo = dt.timezone(dt.timedelta(hours=9))
    said = read_document(write_page(heading(created_at=dt.datetime(2024, 3, 1, 2, 30, tzinfo=tokyo)), [], [])).text
    assert "made 2024-02-29 17:30 UTC" in said


def test_an_instant_without_a_zone_is_refused() -> None:
    naive = CREATED_AT.replace(tzinfo=None)
    with pytest.raises(InvalidInputError, match="no time zone"):
        write_page(heading(created_at=naive), [], [])


def test_the_first_line_is_the_most_severe_warning_and_the_others_precede_every_section() -> None:
    body = Section(title="Result", body=element("p", "figures"))
    said = read_document(write_page(heading(), ["worst", "second", "third"], [body])).text
    assert said.split("\n")[0] == "worst"
    assert said.index("worst") < said.index("momentum_bt") < said.index("second") < said.index("third")
    assert [said.count(warning) for warning in ("worst", "second", "third")] == [1, 1, 1]
    assert said.index("third") < said.index("Result") < said.index("figures")


def test_a_section_without_a_body_is_left_out() -> None:
    assert "Compared" not in write_page(heading(), [], [Section(title="Compared", body=Html(""))])


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b 'c'"])
def test_what_users_named_is_text_wherever_it_stands(hostile: str) -> None:
    figure = Figure(name=hostile, unit=hostile, value=1.0, label=hostile, note=hostile, group=hostile)
    sections = [
        Section(title=hostile, lead=hostile, body=terms({hostile: hostile})),
        Section(title="table", body=table([hostile, hostile], [[hostile, hostile]])),
        Section(title="figures", body=figure_groups([figure])),
    ]
    page = read_document(write_page(heading(hostile), [hostile, hostile], sections, top=tiles([figure])))
    assert page.text.count(hostile) >= 15
    assert page.count("script") == 1
    assert page.count("img") == 0
    assert not [name for name, _ in page.attributes if name.startswith("on")]


@given(st.text())
def test_any_text_comes_back_as_it_was_except_for_characters_that_a_page_cannot_hold(given_text: str) -> None:
    written = element("i", given_text, title=given_text)
    page = read_document(written)
    kept = re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]", "\ufffd", given_text
    )
    assert page.raw == kept
    assert dict(page.attributes)["title"] == kept
    written.encode()


def test_markup_joined_to_text_is_text_again() -> None:
    assert text(element("b", "x") + "") == "&lt;b&gt;x&lt;/b&gt;"


def test_page_asks_for_nothing() -> None:
    whole = write_page(heading(), ["w"], [])
    page = read_document(whole)
    assert not {name for name, _ in page.attributes} & {"src", "href", "srcset", "action", "data", "poster", "style"}
    assert not {"link", "img", "iframe", "object", "base", "form"} & set(page.elements)
    assert not re.search(r"(?i)\b(?:https?|wss?|ftp|file):|//\w|url\(|@import|fetch\(|import\(|XMLHttp", whole)


def test_policy_allows_the_page_s_own_style_and_script_and_nothing_else() -> None:
    page = read_document(write_page(heading(), [], []))
    policy = dict(part.split(" ", 1) for part in dict(page.attributes)["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for directive, name in (("style-src", "style"), ("script-src", "script")):
        digest = base64.b64encode(hashlib.sha256(page.hidden[name][0].encode()).digest()).decode()
        assert policy[directive] == f"'sha256-{digest}'"
    assert "style" not in {name for name, _ in page.attributes}, "the policy would refuse it"


def test_a_sharpe_ratio_is_never_shown_without_its_standard_error() -> None:
    known = Figure(name="sharpe_ratio", unit="ratio", value=0.912, standard_error=0.1834)
    unknown = Figure(name="oos_sharpe_ratio", unit="ratio", value=0.5)
    for show in (tiles, figure_groups):
        said = read_document(show([known, unknown])).text
        assert re.search(r"0\.91\s*± 0\.18 standard error", said)
        assert re.search(r"0\.50\s*standard error not known", said)


def test_probabilities_and_missing_sharpe_ratios_need_no_standard_error() -> None:
    figures = [
        Figure(name="deflated_sharpe_ratio", unit="fraction", value=0.9),
        Figure(name="sharpe_ratio", unit="ratio", value=None),
        Figure(name="sharpe_ratio", unit="ratio", value=float("nan")),
    ]
    assert "standard error" not in read_document(figure_groups(figures)).text


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.12345, "fraction", "12.35%"),
        (0.18, "fraction_per_year", "18.00%"),
        (0.9004, "probability", "90.04%"),
        (True, "boolean", "yes"),
        (False, "boolean", "no"),
        (-0.4873, "fraction", "\u221248.73%"),
        (-0.00001, "fraction", "0.00%"),
        (1.005, "ratio", "1.00"),
        (0.0312, "score", "0.031"),
        (1, "days", "1 day"),
        (1234, "sessions", "1,234 sessions"),
        (7920, "count", "7,920"),
        (12_345_678.9, "money", "12,345,679"),
        (-12.5, "money", "\u221212.50"),
        (3.14159, "widgets", "3.142 widgets"),
        (None, "ratio", "\u2013"),
        (float("nan"), "ratio", "\u2013"),
        (float("inf"), "ratio", "∞"),
        (float("-inf"), "fraction", "\u2212∞"),
        ("none", "ratio", "none"),
    ],
)
def test_values_are_written_in_their_unit(value: float | str | None, unit: str, written: str) -> None:
    assert format_value(value, unit) == written
