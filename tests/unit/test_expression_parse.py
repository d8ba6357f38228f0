"""What the parser accepts, and what it says, and where, of what it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.engines.runner import describe
from optaic.errors import ExpressionError, InvalidInputError
from optaic.quant.expression import CATALOGUE, Kind, lookahead, lookback, parse
from optaic.quant.expression.tree import Call

NAMES = {"close": Kind.NUMBER, "volume": Kind.NUMBER, "sector": Kind.TEXT, "member": Kind.CONDITION}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a / b / c", "(a / b) / c"),
        ("-a ** b", "-(a ** b)"),
        ("a ** -b", "a ** (-b)"),
        ("a ** b ** c", "a ** (b ** c)"),
        ("a ** b * c", "(a ** b) * c"),
        ("a ** -b * c", "(a ** (-b)) * c"),
        ("-a * b", "(-a) * b"),
        ("+a", "a"),
        ("a + b > c * 2", "(a + b) > (c * 2)"),
        ("a > 1 AND b > 2 OR c > 3", "((a > 1) AND (b > 2)) OR (c > 3)"),
        ("NOT a > 1 AND b > 2", "(NOT (a > 1)) AND (b > 2)"),
        ("1e3 + .5 + 2.", "(1000 + 0.5) + 2"),
        ("TS_MEAN(a, n=20)", "TS_MEAN(a, 20)"),
        ("TS_MEAN(n=20, x=a)", "TS_MEAN(a, 20)"),
        ("TS_MEAN(a, 2 * 10)", "TS_MEAN(a, 20)"),
        ("TS_RETURN(a)", "TS_RETURN(a, 1)"),
        ("GROUP_RANK(a, b)", "GROUP_RANK(a, group=b)"),
        ('a == "x"', "a == 'x'"),
        ("a\n  +\tb", "a + b"),
    ],
)
def test_grammar(text: str, same: str) -> None:
    assert parse(text).root == parse(same).root


def test_parts_differ_where_the_meaning_does() -> None:
    assert parse("a - b").root != parse("b - a").root
    assert parse("TS_MEAN(a, 5)").root != parse("TS_MEAN(a, 5, min_periods=3)").root
    assert parse("a / b / c").root != parse("a / (b / c)").root


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", "", "empty"),
        ("   ", "", "empty"),
        ("close +", "", "ends where a number"),
        ("close volume", "volume", "operator is needed"),
        ("close + (volume", "", "to close the `\\(` at character 9"),
        ("close)", ")", "operator is needed"),
        ("close $ 2", "$", "no meaning"),
        ("close & volume", "&", "no meaning"),
        ("close and volume", "and", "operator is needed"),
        ("close = 2", "=", "operator is needed"),
        ("1 < close < 2", "<", "do not chain"),
        ("1e999", "1e999", "too large"),
        ("clos", "clos", "unknown name clos; did you mean 'close'"),
        ("Close", "Close", "unknown name Close; did you mean 'close'"),
        ("TS_MEEN(close, 5)", "TS_MEEN", "did you mean 'TS_MEAN'"),
        ("ts_mean(close, 5)", "ts_mean", "did you mean 'TS_MEAN'"),
        ("1 + RANK(close)", "RANK", "CS_RANK or TS_RANK"),
        ("MAX(close, 5)", "MAX", "TS_MAX"),
        ("DELAY(close, 5)", "DELAY", "TS_REF"),
        ("TS_MEAN", "TS_MEAN", "is a function: write TS_MEAN\\(x, n, min_periods=\\)"),
        ("close(5)", "close", "unknown function close"),
        ("TS_MEAN(close)", "TS_MEAN", "n is missing"),
        ("TS_FFILL(close)", "TS_FFILL", "limit is missing"),
        ("TS_MEAN()", "TS_MEAN", "x is missing"),
        ("COALESCE()", "COALESCE", "values is missing"),
        ("TS_MEAN(close, 5, 3)", "3", "one argument too many"),
        ("ABS(close, volume)", "volume", "one argument too many"),
        ("TS_MEAN(close, 5, min_period=3)", "min_period", "did you mean 'min_periods'"),
        ("TS_MEAN(x=close, volume)", "volume", "come first"),
        ("TS_MEAN(close, 5, n=6)", "n", "given twice"),
        ("TS_MEAN(close, 0)", "0", "window n of TS_MEAN is 0.* must be 1 or more"),
        ("TS_REF(close, -5)", "-5", "window n of TS_REF is -5"),
        ("TS_REF(close, 5 - 8)", "5 - 8", "is -3"),
        ("TS_REF(close, 2.5)", "2.5", "whole number"),
        ("TS_REF(close, volume)", "volume", "same everywhere"),
        ("TS_REF(close, 10001)", "10001", "the most is 10000"),
        ("TS_REF(close, 5 / 0)", "5 / 0", "same everywhere"),
        ("TS_STD(close, 1)", "1", "needs 2 cells"),
        ("TS_KURT(close, 3)", "3", "needs 4 cells"),
        ("TS_MEAN(close, 5, min_periods=6)", "6", "more than the window"),
        ("TS_MEAN(close, 5, min_periods=0)", "0", "must be 1 or more"),
        ("TS_QUANTILE(close, 5, 1.5)", "1.5", "from 0 to 1"),
        ("CS_WINSORIZE(close, 3)", "3", "below 0.5"),
        ("CS_WINSORIZE(close, mads=0)", "0", "above 0"),
        ("CS_WINSORIZE(close)", "CS_WINSORIZE", "either quantile or mads"),
        ("CS_WINSORIZE(close, 0.1, mads=3)", "CS_WINSORIZE", "either quantile or mads"),
        ("CS_NEUTRALIZE(close)", "CS_NEUTRALIZE", "an exposure or a group"),
        ("CS_BUCKET(close, 1)", "1", "must be 2 or more"),
        ("CS_RANK(sector)", "sector", "is text"),
        ("close + sector", "sector", "is text"),
        ("-sector", "sector", "is text"),
        ("sector", "s", "gives text"),
        ("sector > 'a'", ">", "not less or more"),
        ("sector == close", "==", "text is compared with text, and close is a number"),
        ("close > sector", ">", "text is compared with text, and close is a number"),
        ("IF(close, 1, 2)", "close", "a condition is needed"),
        ("NOT close", "close", "a condition is needed"),
        ("close AND member", "close", "a condition is needed"),
        ("COALESCE(close, sector)", "sector", "this is a text"),
        ("TS_COUNT(close, 5)", "close", "a condition is needed"),
        ("LEAD(close, 5)", "LEAD", "only in a model's target"),
        ("close + {n}", "{n}", "there is no param n"),
        ("close + {bad", "{", "no meaning"),
        ("'abc", "'", "no meaning"),
    ],
)
def test_error_points_at_the_place(text: str, place: str, problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem) as caught:
        parse(text, names=NAMES)
    error = caught.value
    assert isinstance(error, InvalidInputError)
    assert text[error.start : error.end].strip() == place
    _, line, carets = error.message.split("\n")
    if place:
        assert line[carets.index("^") : carets.rindex("^") + 1] == place
    else:
        assert carets.index("^") == len(line.rstrip()) or not text.strip()


def test_text_beside_a_number_says_what_either_can_be_compared_with() -> None:
    for text, step in (
        ("close > sector", "for example: sector == 'Energy', or close > 10"),
        ("close == 'Energy'", "for example: close == 10"),
    ):
        with pytest.raises(ExpressionError) as caught:
            parse(text, names=NAMES)
        assert caught.value.next_step == step


def test_unknown_name_says_which_there_are() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("clos", names=["close", "volume"])
    assert caught.value.next_step == "the inputs are: close, volume"


def test_error_shows_the_line_of_a_long_text() -> None:
    text = "close +\n  volume +\n  " + "close + " * 60 + "TS_REF(close, 0)" + " + close" * 60
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    _, line, carets = caught.value.message.split("\n")
    assert len(line) < 200
    assert line[carets.index("^")] == "0"


@pytest.mark.parametrize(
    ("params", "text", "same"),
    [
        ({"n": 20}, "TS_MEAN(close, {n})", "TS_MEAN(close, 20)"),
        ({"n": 20.0}, "TS_MEAN(close, { n })", "TS_MEAN(close, 20)"),
        ({"field": "volume"}, "TS_MEAN({field}, 5)", "TS_MEAN(volume, 5)"),
        ({"n": 3, "more": 1}, "TS_REF(close, {n} * 7)", "TS_REF(close, 21)"),
    ],
)
def test_placeholders_stand_for_params(params: dict[str, object], text: str, same: str) -> None:
    assert parse(text, params=params, names=NAMES).root == parse(same).root


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (True, "must be a number or a name"),
        (None, "must be a number or a name"),
        (float("nan"), "must be a number or a name"),
        (10**400, "must be a number or a name"),
        ([5], "must be a number or a name"),
        ("5) + LEAD(close, 5", "must be a number or a name"),
        ("", "must be a number or a name"),
        ("clos", "did you mean 'close'"),
        (-1, "is -1"),
        ("close", "same everywhere"),
    ],
)
def test_param_is_never_read_as_text_of_an_expression(value: object, problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem) as caught:
        parse("TS_MEAN(close, {n})", params={"n": value}, names=NAMES)
    assert (caught.value.start, caught.value.end) == (15, 18)


def test_almost_the_param_is_suggested() -> None:
    with pytest.raises(ExpressionError, match="there is no param windov; did you mean 'window'"):
        parse("TS_MEAN(close, {windov})", params={"window": 5})


@pytest.mark.parametrize(
    ("text", "sessions"),
    [
        ("close", 1),
        ("1", 1),
        ("TS_REF(close, 5)", 6),
        ("TS_MEAN(close, 5)", 5),
        ("TS_MEAN(TS_RETURN(close, 3), 5)", 8),
        ("TS_CORR(close, TS_REF(volume, 10), 5)", 15),
        ("CS_RANK(TS_DELTA(close, 5)) + TS_MEAN(volume, 3)", 6),
        ("GROUP_MEAN(close, CS_BUCKET(TS_SUM(volume, 20), 5))", 20),
        ("TS_FFILL(close, 5)", 6),
        ("CS_RANK(TS_EMA(close, 5))", None),
    ],
)
def test_lookback_counts_sessions(text: str, sessions: int | None) -> None:
    assert lookback(parse(text)) == sessions


def test_lead_looks_ahead_in_a_target_alone() -> None:
    expression = parse("LEAD(LEAD(close, 5), 2) / LEAD(close, 1) - 1", allow_lead=True)
    assert lookahead(expression) == 7
    assert lookahead(parse("TS_REF(close, 5)")) == 0


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000 + "close" + ")" * 4_000,
        "-" * 5_000 + "close",
        "NOT " * 2_000 + "member",
        "ABS(" * 300 + "close" + ")" * 300,
        "close" + " + close" * 1_200,
        "2 ** " * 1_900 + "2",
        "COALESCE(" + "close, " * 1_400 + "close)" + " " * 100,
        "COALESCE(" + "1, " * 2_500 + "close)",
        "x" * 20_000,
    ],
)
def test_abuse_is_refused(text: str) -> None:
    if len(text) < 10_000 and text.startswith("COALESCE(close"):
        assert isinstance(parse(text).root, Call)
        return
    with pytest.raises(ExpressionError):
        parse(text)


@pytest.mark.parametrize("text", ["9 ** 9 ** 9 ** 9", "1 / 0", "1e300 * 1e300", "TS_REF(close, 1e308 * 10)"])
def test_huge_constants_cost_nothing(text: str) -> None:
    if text.startswith("TS_REF"):
        with pytest.raises(ExpressionError):
            parse(text)
    else:
        assert parse(text).names == ()


_WORDS = [*CATALOGUE, *NAMES, "AND", "OR", "NOT", *"+-*/(),=<>!&{}'\"", "**", "==", "{n}", "5", "2.5", "1e5", " ", "\n"]


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(_WORDS), max_size=40).map("".join)))
def test_any_text_is_read_or_refused_at_a_place(text: str) -> None:
    refused: ExpressionError | None = None
    try:
        parse(text, names=NAMES, params={"n": 5})
    except ExpressionError as error:
        refused = error
    if refused is not None:
        assert 0 <= refused.start <= len(text)
        assert refused.problem
        assert "^" in refused.message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("close > TS_MEAN(sector, 5)", "at column 17, 'sector': "),
        ("1 +\n NOT close", "at line 2, column 6, 'close': "),
    ],
)
def test_an_error_says_its_place_in_one_line_where_there_is_no_room_for_carets(text: str, sentence: str) -> None:
    kinds = {"close": Kind.NUMBER, "sector": Kind.TEXT}
    with pytest.raises(ExpressionError) as caught:
        parse(text, names=kinds)
    failed = describe(caught.value, run_id="1")
    assert failed.message.startswith(sentence)
    assert (failed.code, "^" in failed.message) == ("invalid_expression", False)
