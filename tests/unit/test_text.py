"""Any text can be made fit to be stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.text import check_text, check_texts, clean_text
from optaic.errors import InvalidInputError


def test_what_no_database_takes_is_replaced() -> None:
    assert clean_text("a\0b") == "a\ufffdb"
    assert clean_text("a\ud800b\udfff") == "a\ufffdb\ufffd"
    assert clean_text("plain \N{GRINNING FACE}\n") == "plain \N{GRINNING FACE}\n"


def test_a_long_text_ends_with_an_ellipsis() -> None:
    assert clean_text("abcdef", 6) == "abcdef"
    assert clean_text("abcdef", 4) == "abc…"
    assert clean_text("abcdef", 1) == "…"


@given(st.text(st.characters()), st.none() | st.integers(1, 20))
def test_every_text_can_be_stored(text: str, limit: int | None) -> None:
    cleaned = clean_text(text, limit)
    cleaned.encode()
    assert "\0" not in cleaned
    assert limit is None or len(cleaned) <= limit
    assert clean_text(cleaned, limit) == cleaned


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
def test_what_cannot_be_stored_is_refused_in_any_depth(bad: str) -> None:
    for value in (bad, [bad], {"x": [{"y": bad}]}, {"x": {bad: 1}}):
        with pytest.raises(InvalidInputError, match="the note has a character") as caught:
            check_texts(value, "the note")
        assert str(caught.value).isprintable()
    assert check_text("plain \N{GRINNING FACE}", "the note") == "plain \N{GRINNING FACE}"
    check_texts({"x": [1, None, 2.5, "plain"]}, "the note")
