"""Models in the project file: what they may say, what is filled in, and where a mistake is."""

from __future__ import annotations

from pathlib import Path

import pytest

from optaic.domain.kind import FlowKind
from optaic.errors import ProjectFileError
from optaic.project import InputSpec, InstanceSpec, read_project

HEAD = "project: p\ninstances:\n  alpha:\n    kind: model\n    definition: sklearn.linear_model:Ridge\n"
INPUTS = "    inputs: {features: momentum, prices: prices}\n"
TARGET = "    target: {horizon: 5, transform: cs_rank}\n"


def declared(tmp_path: Path, text: str) -> InstanceSpec:
    path = tmp_path / "optaic.yaml"
    path.write_text(text)
    return read_project(path).instances[0]


def test_what_is_not_said_is_filled_in(tmp_path: Path) -> None:
    spec = declared(tmp_path, HEAD + INPUTS + "    target: {horizon: 5}\n")
    assert spec.config["target"] == {"horizon": 5, "lag": 1, "transform": "raw"}
    assert spec.config["refit"] == {"every": 63, "window": "expanding", "min_train": 252}
    assert (spec.config["embargo"], spec.config["sample_weight"], spec.config["calendar"]) == (0, "date", "XNYS")
    assert spec.config["infer"] == {"start": None, "end": None, "model": "current", "allow_in_sample": False}


def test_a_model_has_a_flow_that_trains_and_one_that_predicts_with_it(tmp_path: Path) -> None:
    inputs = "    inputs: {a: x, b: 'y[c]', prices: prices, universe: members, cash: rate}\n"
    spec = declared(tmp_path, HEAD + inputs + TARGET + "    infer: {model: 'stage:champion', start: 2020-01-01}\n")
    assert list(spec.flow_inputs) == [FlowKind.TRAIN, FlowKind.INFER]
    assert [item.role for item in spec.flow_inputs[FlowKind.TRAIN]] == ["a", "b", "prices", "universe", "cash"]
    own, *features = spec.flow_inputs[FlowKind.INFER]
    assert own == InputSpec(role="model", instance="alpha", flow_kind=FlowKind.TRAIN, selector="stage:champion")
    assert [item.role for item in features] == ["a", "b", "universe"]
    assert spec.config["infer"]["start"] == "2020-01-01"


def test_windows_and_weights_are_taken_as_numbers_of_sessions(tmp_path: Path) -> None:
    more = "    refit: {every: 21, window: 100}\n    sample_weight: {half_life: 60}\n"
    more += "    embargo: 3\n    calendar: weekdays\n"
    spec = declared(tmp_path, HEAD + INPUTS + TARGET + more)
    assert spec.config["refit"] == {"every": 21, "window": 100, "min_train": 100}
    assert (spec.config["sample_weight"], spec.config["embargo"]) == ({"half_life": 60}, 3)
    assert spec.config["calendar"] == "weekdays"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD.replace("  alpha", "  §alpha") + INPUTS, "has no target"),
        (HEAD + INPUTS + "    target: §{transform: raw}\n", "does not say how far it reaches"),
        (HEAD + INPUTS + TARGET + "    infer: {model: §'stage:gold'}\n", "'gold' is not a stage"),
        (HEAD + INPUTS + TARGET + "    infer: {model: §'stage:champoin'}\n", "did you mean 'champion'"),
        (HEAD + INPUTS + "    target: {horizon: §0}\n", "horizon must be an integer from 1"),
        (HEAD + INPUTS + "    target: {horizon: 5, transform: §cs_rnk}\n", "did you mean 'cs_rank'"),
        (HEAD + INPUTS + "    target: {horizon: 5, delisting_return: §-30}\n", "must be a fraction"),
        (HEAD + "    §inputs: {features: momentum}\n" + TARGET, "reads no prices"),
        (HEAD + "    §inputs: {prices: prices}\n" + TARGET, "has no features"),
        (HEAD + "    §inputs: {model: m, prices: prices}\n" + TARGET, "the role `model` is its own version"),
        (HEAD + INPUTS + TARGET + "    refit: {every: §often}\n", "every must be an integer"),
        (HEAD + INPUTS + TARGET + "    refit: {window: §100, min_train: 200}\n", "never holds the 200 of min_train"),
        (
            HEAD + INPUTS + TARGET + "    refit: {window: §rolling}\n",
            "window: expanding, or sessions: must be an integer",
        ),
        (HEAD + INPUTS + TARGET + "    sample_weight: §even\n", "'even' is not a sample weight"),
        (HEAD + INPUTS + TARGET + "    infer: {model: §latest}\n", "does not select a version"),
        (HEAD + INPUTS + TARGET + "    infer: {start: §soon}\n", "start: 'soon' is not a date"),
        (HEAD + INPUTS + TARGET + "    infer: {start: §2021-01-01, end: 2020-01-01}\n", "is after end"),
        (HEAD + INPUTS + TARGET + "    infer: {allow_in_sample: §maybe}\n", "must be true or false"),
        (HEAD + INPUTS + TARGET + "    calendar: §XNYZ\n", "is not a calendar"),
        (HEAD + INPUTS + TARGET + "    §expression: x\n", "has no field 'expression'"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_column(tmp_path: Path, text: str, words: str) -> None:
    before, mark, after = text.partition("§")
    assert mark
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    with pytest.raises(ProjectFileError) as caught:
        declared(tmp_path, before + after)
    assert words in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column), caught.value.message
