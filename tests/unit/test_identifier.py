from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.identifier import new_id, prefix_range
from optaic.errors import InvalidInputError


def test_ids_are_of_version_seven_and_sort_by_the_order_in_which_they_were_made() -> None:
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {item.version for item in made} == {7}
    assert {type(item) for item in made} == {uuid.UUID}


@given(st.uuids(), st.integers(1, 32), st.booleans())
def test_an_id_lies_in_the_range_of_each_of_its_beginnings(item: uuid.UUID, length: int, is_upper: bool) -> None:
    prefix = item.hex[:length]
    first, last = prefix_range(prefix.upper() if is_upper else prefix)
    assert first <= item <= last
    assert (first == last) is (length == 32)


@given(st.uuids(), st.uuids())
def test_hyphens_are_optional_and_other_ids_lie_outside(item: uuid.UUID, other: uuid.UUID) -> None:
    assert prefix_range(str(item)) == (item, item)
    first, last = prefix_range(str(item)[:18])
    assert (first <= other <= last) is (other.hex[:16] == item.hex[:16])


@pytest.mark.parametrize("prefix", ["", "-", "g", "12 ", "0x12", "1" * 33, "٣", "%"])
def test_what_is_no_beginning_of_an_id_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a run id"):
        prefix_range(prefix)
