"""Features of a model: those that are there have to be those that it was trained on."""

from __future__ import annotations

import pytest

from optaic.errors import FeaturesChangedError
from optaic.flows.features import Schema, check_schema

TRAINED = [["size", "Float64"], ["value", "Float64"]]


def test_the_features_of_the_training_are_taken() -> None:
    check_schema((("size", "Float64"), ("value", "Float64")), TRAINED, model="alpha version 2")


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ((("size", "Float64"),), "value is missing"),
        ((("size", "Float64"), ("worth", "Float64")), "value is missing; worth is new"),
        ((("size", "Float64"), ("value", "Int64")), "value was Float64 and is Int64"),
        ((("value", "Float64"), ("size", "Float64")), "their order was size, value and is value, size"),
    ],
)
def test_a_feature_that_is_missing_renamed_retyped_or_moved_is_named(now: Schema, words: str) -> None:
    with pytest.raises(FeaturesChangedError, match=f"that alpha version 2 was trained on: {words}") as caught:
        check_schema(now, TRAINED, model="alpha version 2")
    assert "train it again: optaic run alpha" in (caught.value.next_step or "")
