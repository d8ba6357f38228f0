"""Parameters: read from a signature without executing it, and checked before anything is recorded."""

from __future__ import annotations

import ast
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.parameters import OPEN_SCHEMA, check_params, parse_param, schema_of, type_text
from optaic.domain.scalar import read_scalar
from optaic.errors import InvalidInputError


def schema(signature: str) -> dict[str, Any]:
    function = ast.parse(f"def prices({signature}): ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    return schema_of(function)


def check(signature: str, **params: Any) -> dict[str, Any]:
    return check_params(schema(signature), params, instance="prices")


def refusal(signature: str, **params: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        check(signature, **params)
    return caught.value.message


# ------------------------------------------------------------------------------------------- reading a signature


def test_context_and_start_are_no_parameters() -> None:
    found = schema("ctx, start: date | None = None, *, end: date | None = None, n: int")
    assert found == {
        "params": {
            "end": {"type": "date | None", "required": False, "default": None},
            "n": {"type": "int", "required": True},
        },
        "open": False,
    }


def test_parameters_before_the_star_count_too() -> None:
    assert list(schema("ctx, start, n, m=2, *, k=3")["params"]) == ["n", "m", "k"]


def test_a_function_that_takes_anything_has_an_open_schema() -> None:
    found = schema("ctx, *, n: int = 1, **more")
    assert found["open"] is True
    assert check("ctx, *, n: int = 1, **more", x=[1]) == {"n": 1, "x": [1]}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("int", "int"),
        ("dt.date", "date"),
        ("datetime.datetime", "datetime"),
        ("'list[str] | None'", "list[str] | None"),
        ("None | int", "int | None"),
        ("Optional[float]", "float | None"),
        ("t.Union[int, str, None]", "int | str | None"),
        ("Sequence[dt.date]", "list[date]"),
        ("tuple[str, ...]", "list[str]"),
        ("tuple[str, int]", "list"),
        ("dict[str, float]", "dict[str, float]"),
        ("Mapping[str, list[int]]", "dict[str, list[int]]"),
        ("Literal['a', 'b']", "Literal['a', 'b']"),
        ("Annotated[int, Gt(0)]", "int"),
        ("np.ndarray", "Any"),
        ("int | Frame", "Any"),
        ("'not python ('", "Any"),
        ("Literal[Color.RED]", "Any"),
        ("int if X else str", "Any"),
    ],
)
def test_annotations_are_understood_as_they_are_usually_written(annotation: str, expected: str) -> None:
    assert type_text(ast.parse(annotation, mode="eval").body) == expected


@pytest.mark.parametrize(
    ("parameter", "entry"),
    [
        ("n: float = 1", {"type": "float", "required": False, "default": 1.0}),
        ("n: int = None", {"type": "int | None", "required": False, "default": None}),
        ("n=-3", {"type": "Any", "required": False, "default": -3}),
        ("n: list[str] = ('a', 'b')", {"type": "list[str]", "required": False, "default": ["a", "b"]}),
        ("n: date = dt.date(2024, 1, 2)", {"type": "date", "required": False, "default": "2024-01-02"}),
        ("n: int = DAYS", {"type": "int", "required": False, "default_text": "DAYS"}),
        ("n: float = float('nan')", {"type": "float", "required": False, "default_text": "float('nan')"}),
    ],
)
def test_defaults_are_read_where_they_are_plain(parameter: str, entry: dict[str, Any]) -> None:
    found = schema(f"ctx, *, {parameter}")
    assert found["params"]["n"] == entry
    assert json.loads(json.dumps(found)) == found


def test_a_default_that_only_the_code_knows_is_left_to_the_code() -> None:
    assert check("ctx, *, n: int = DAYS") == {}


@pytest.mark.parametrize(("signature", "words"), [("", "takes no context"), ("ctx, n, /", "cannot be passed by name")])
def test_a_function_that_could_not_be_called_is_refused(signature: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        schema(signature)


# ------------------------------------------------------------------------------------------- checking values


def test_defaults_are_filled_in() -> None:
    assert check("ctx, *, n: int = 21, symbols: list[str] | None = None", n=5) == {"n": 5, "symbols": None}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("float", 1, 1.0),
        ("float", 1.5, 1.5),
        ("int", 1, 1),
        ("bool", True, True),
        ("date", "2024-01-02", "2024-01-02"),
        ("date", dt.date(2024, 1, 2), "2024-01-02"),
        ("datetime", "2024-01-02T03:04:05+00:00", "2024-01-02T03:04:05+00:00"),
        ("list[float]", [1, 2.5], [1.0, 2.5]),
        ("list[str]", ("a",), ["a"]),
        ("dict[str, float]", {"a": 1}, {"a": 1.0}),
        ("int | None", None, None),
        ("int | str", "x", "x"),
        ("Literal['a', 1]", 1, 1),
        ("Any", {"a": [None]}, {"a": [None]}),
        ("str", "${env:TOKEN}", "${env:TOKEN}"),
    ],
)
def test_a_value_of_the_right_type_is_taken(kind: str, value: Any, expected: Any) -> None:
    found = check(f"ctx, *, n: {kind}", n=value)["n"]
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", 1.0),
        ("int", True),
        ("int", "1"),
        ("float", True),
        ("float", "1.5"),
        ("float", 10**400),
        ("bool", 1),
        ("str", 1),
        ("str", None),
        ("date", "yesterday"),
        ("date", "2024-02-30"),
        ("date", 20240102),
        ("list[str]", "abc"),
        ("list[str]", ["a", 1]),
        ("dict[str, int]", {"a": "b"}),
        ("int | None", "x"),
        ("Literal['a', 1]", True),
        ("Literal['a', 1]", "b"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_all_that_is_needed(kind: str, value: Any) -> None:
    message = refusal(f"ctx, *, n: {kind}", n=value)
    assert message.startswith("prices: param n is ")
    assert message.endswith(f"it must be {kind}")
    assert len(message) < 250


def test_an_unknown_name_is_refused_with_what_was_meant() -> None:
    assert refusal("ctx, *, symbols: list[str]", symbols=[], symbol="A") == (
        "prices has no param 'symbol'; did you mean 'symbols'?"
    )
    assert refusal("ctx", n=1) == "prices has no param 'n'"


def test_a_missing_value_is_refused() -> None:
    assert refusal("ctx, *, n: int") == "prices: param n has no value, and no default"


def test_what_json_cannot_hold_is_refused_also_where_anything_goes() -> None:
    with pytest.raises(InvalidInputError, match="prices: param n"):
        check_params(OPEN_SCHEMA, {"n": float("nan")}, instance="prices")
    with pytest.raises(InvalidInputError, match="prices: param n"):
        check_params({}, {"n": object()}, instance="prices")


def test_an_override_by_the_default_is_no_change() -> None:
    assert check("ctx, *, n: float = 1", n=1) == check("ctx, *, n: float = 1")


@given(
    st.sampled_from(["int", "float", "str", "bool", "date", "list[int]", "dict[str, str]", "int | None", "Any"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
)
def test_a_checked_value_checks_to_itself(kind: str, value: Any) -> None:
    try:
        once = check(f"ctx, *, n: {kind}", n=value)
    except InvalidInputError:
        return
    assert check(f"ctx, *, n: {kind}", **once) == once


# ------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n=21", 21),
        ("n=1e-3", 0.001),
        ("n=-2.5", -2.5),
        ("n=true", True),
        ("n=~", None),
        ("n=", None),
        ("n=ON", "ON"),
        ("n=2024-01-02", "2024-01-02"),
        ("n='21'", "21"),
        ('n="a=b"', "a=b"),
        ("n=a=b", "a=b"),
        ("n = 3", 3),
        ("n=[A, ON, 7]", ["A", "ON", 7]),
        ("n=[]", []),
        ('n=["a,b"]', ["a,b"]),
        ('n={"a": [1, 2]}', {"a": [1, 2]}),
        ("n=${env:TOKEN}", "${env:TOKEN}"),
    ],
)
def test_a_parameter_is_read_as_in_the_project_file(text: str, expected: Any) -> None:
    assert parse_param(text) == ("n", expected)


@pytest.mark.parametrize(
    "text", ["n", "=3", "a b=3", "n=[[A], [B]]", "n={a: b}", "n=.nan", "n=[NaN]", "n=1" + "0" * 2000]
)
def test_what_is_no_parameter_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_param(text)
    assert caught.value.next_step


@given(st.text(max_size=20))
def test_any_text_is_a_scalar_or_refused(text: str) -> None:
    try:
        value = read_scalar(text)
    except InvalidInputError:
        return
    assert value is None or isinstance(value, bool | int | float | str)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_python_writes_is_that_number(number: float) -> None:
    found = read_scalar(repr(number))
    assert (type(found), found) == (type(number), number)
