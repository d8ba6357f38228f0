from __future__ import annotations

import uuid
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.artifact import MAX_NAME_LENGTH, attempt_prefix, check_name, next_name
from optaic.errors import InvalidInputError

TRICKS = [
    *("", ".", "..", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\\b", "C:\\x", "~/x", "a\nb"),
    *("a\x00", "a/./b", "é.txt", "a:b", "-rf", "a" * (MAX_NAME_LENGTH + 1), "a\u202eb", "%2e%2e/x", "a\n"),
]


@pytest.mark.parametrize("name", ["a", "scores.parquet", "plots/equity curve.png", "_x", "a+b=c@d-e.txt", "9/8/7.6"])
def test_a_relative_path_is_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    TRICKS,
)
def test_a_trick_is_no_name(name: str) -> None:
    with pytest.raises(InvalidInputError, match="not allowed"):
        check_name(name)


@given(st.text(max_size=300))
def test_a_name_never_leaves_its_folder(name: str) -> None:
    try:
        check_name(name)
    except InvalidInputError:
        return
    path = PurePosixPath("/base") / name
    assert str(path) == f"/base/{name}"
    assert ".." not in path.parts


def test_a_name_used_twice_gets_a_sequence() -> None:
    taken = set[str]()
    for name in ("a.parquet", "a.parquet", "a.parquet", "b/c.d/e", "b/c.d/e", "x", "x"):
        taken.add(next_name(name, taken))
    assert taken == {"a.parquet", "a-2.parquet", "a-3.parquet", "b/c.d/e", "b/c.d/e-2", "x", "x-2"}


def test_two_attempts_and_two_tenants_never_write_to_one_folder() -> None:
    run = uuid.UUID(int=7)
    found = {attempt_prefix(tenant, run, attempt) for tenant in (1, 11) for attempt in (1, 11)}
    assert len(found) == 4
    assert not [(a, b) for a in found for b in found if a != b and f"{b}/".startswith(f"{a}/")]
