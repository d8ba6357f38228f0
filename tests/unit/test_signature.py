"""The params of optimisers, read from source: what is refused before anything of it is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from optaic.domain.parameters import check_params
from optaic.errors import InvalidInputError, NotFoundError
from optaic.flows.code import locate
from optaic.flows.signature import check_parts, optimizer_schema

OWN = """
from enum import Enum


class Side(Enum):
    LONG = 1
    SHORT = 2


class Mine:
    def __init__(self, share: float, side: Side = Side.LONG, other: "Side | None" = None):
        self.share = share


def made(share: float = 0.5, *, side: Side = Side.LONG):
    return Mine(share, side)
"""

NAMED = ["MeanRisk", "RiskBudgeting", "HierarchicalRiskParity", "EqualWeighted", "InverseVolatility"]


@pytest.mark.parametrize("name", NAMED)
def test_optimisers_of_skfolio_take_their_own_params_and_none_that_are_the_products(name: str, tmp_path: Path) -> None:
    schema = optimizer_schema(locate(f"skfolio.optimization:{name}", tmp_path), tmp_path)
    assert not schema["open"]
    assert not {"fallback", "raise_on_failure", "save_problem", "previous_weights"} & set(schema["params"])
    with pytest.raises(InvalidInputError, match="has no param 'nonsense'"):
        check_params(schema, {"nonsense": 1}, instance="mine")
    # What is not declared stays the library's own default.
    assert check_params(schema, {}, instance="mine") == {}


def test_members_of_enumerations_are_taken_by_name(tmp_path: Path) -> None:
    schema = optimizer_schema(locate("skfolio.optimization:MeanRisk", tmp_path), tmp_path)
    params = {"objective_function": "MAXIMIZE_RATIO", "risk_measure": "CVAR"}
    assert check_params(schema, params, instance="mine") == params
    with pytest.raises(InvalidInputError, match="CVARR"):
        check_params(schema, {"risk_measure": "CVARR"}, instance="mine")


def test_classes_and_functions_of_the_project_say_their_params_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    schema = optimizer_schema(locate("mine:Mine", tmp_path), tmp_path)
    assert schema["params"]["side"]["type"] == "Literal['LONG', 'SHORT']"
    assert schema["params"]["other"]["type"] == "Literal['LONG', 'SHORT'] | None"
    with pytest.raises(InvalidInputError, match="param share has no value"):
        check_params(schema, {}, instance="mine")
    made = optimizer_schema(locate("mine:made", tmp_path), tmp_path)
    assert check_params(made, {"side": "SHORT"}, instance="mine") == {"share": 0.5, "side": "SHORT"}


@pytest.mark.parametrize(
    ("code_ref", "said"),
    [
        ("sklearn.svm:SVC", "is not an optimiser that may be used"),
        ("skfolio.optimization:MeanRisks", "did you mean 'MeanRisk'?"),
        ("skfolio.optimisation:MeanRisk", "there is no module"),
    ],
)
def test_what_is_no_optimiser_is_refused(code_ref: str, said: str, tmp_path: Path) -> None:
    with pytest.raises((InvalidInputError, NotFoundError)) as caught:
        optimizer_schema(locate(code_ref, tmp_path), tmp_path)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"definition": "skfolio.prior:EmpiricalPriors"}, "EmpiricalPrior"),
        ({"definition": "sklearn.svm:SVC"}, "is not an optimiser that may be used"),
        ({"definition": "skfolio.prior:EmpiricalPrior", "parms": {}}, "has no field 'parms'"),
        ({"definition": "skfolio.prior:EmpiricalPrior", "params": {"is_log": True}}, "has no param 'is_log'"),
        (
            {
                "definition": "skfolio.prior:EmpiricalPrior",
                "params": {"covariance_estimator": {"definition": "skfolio.moments:LedoitWolf", "params": {"n": 1}}},
            },
            "mine: prior_estimator: covariance_estimator has no param 'n'",
        ),
    ],
)
def test_estimators_within_are_checked_too(part: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises((InvalidInputError, NotFoundError)) as caught:
        check_parts({"prior_estimator": part}, tmp_path, instance="mine")
    assert said in caught.value.message


def test_nothing_is_imported_to_read_them(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from optaic.flows.code import locate;"
        "from optaic.flows.signature import optimizer_schema;"
        "optimizer_schema(locate('skfolio.optimization:MeanRisk', Path('.')), Path('.'));"
        "print({name.partition('.')[0] for name in sys.modules} & {'skfolio', 'sklearn', 'cvxpy', 'pandas'})"
    )
    listing = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert listing.strip() == "set()"
