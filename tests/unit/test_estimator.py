"""Estimators: which may be trained, and how they are made, seeded, fitted and asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from optaic.errors import FlowError, InvalidInputError
from optaic.flows.code import load_definition, locate, params_schema
from optaic.flows.estimator import (
    check_estimator,
    check_model,
    describe_estimator,
    fit_estimator,
    make_estimator,
    predict,
    trusted_types,
)
from optaic.flows.installed import check_class
from optaic.flows.optimizer import load_optimizer
from optaic.flows.signature import check_optimizer

PROJECT = """
from sklearn.linear_model import Ridge

class Mine(Ridge):
    def __init__(self, alpha=2.0, *, note: str = "x"):
        super().__init__(alpha=alpha)
        self.note = note

def build(alpha: float = 1.0):
    return Ridge(alpha=alpha)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PROJECT)
    return tmp_path


def test_packages_are_allowed_by_name_and_the_project_always(root: Path) -> None:
    for allowed in ("sklearn.linear_model:Ridge", "lightgbm:LGBMRegressor", "mine:Mine", "mine:build"):
        check_estimator(locate(allowed, root))
    location = locate("skfolio.optimization:MeanRisk", root)
    with pytest.raises(InvalidInputError, match=r"skfolio.* not among the estimators") as caught:
        check_estimator(location)
    assert "settings: {estimators: [skfolio]}" in (caught.value.next_step or "")
    check_estimator(location, ["skfolio.optimization"])
    with pytest.raises(InvalidInputError):
        check_estimator(location, ["skfolio.optim"])


def test_params_of_estimators_are_read_from_their_source(root: Path) -> None:
    known = params_schema(locate("sklearn.ensemble:HistGradientBoostingRegressor", root), takes_context=False)
    assert (known["open"], known["params"]["max_depth"]["default"]) == (False, None)
    own = params_schema(locate("mine:Mine", root), takes_context=False)
    assert own["params"] == {
        "alpha": {"type": "Any", "required": False, "default": 2.0},
        "note": {"type": "str", "required": False, "default": "x"},
    }
    assert list(params_schema(locate("mine:build", root), takes_context=False)["params"]) == ["alpha"]


def test_of_a_project_its_classes_are_trusted_and_nothing_else(root: Path) -> None:
    is_trusted = trusted_types(locate("mine:build", root), ["other"])
    names = ("mine.Mine", "mine.build", "mine.Ridge", "mines.Mine", "other.Thing", "others.Thing")
    assert [name for name in names if is_trusted(name)] == ["mine.Mine", "other.Thing"]


def test_the_seed_becomes_every_random_state_that_is_not_set() -> None:
    made: Any = make_estimator(RandomForestRegressor, {"n_estimators": 3}, seed=11, instance="alpha")
    assert made.random_state == 11
    kept: Any = make_estimator(RandomForestRegressor, {"random_state": 5}, seed=11, instance="alpha")
    assert kept.random_state == 5
    inner: Any = make_estimator(
        lambda: make_pipeline(StandardScaler(), RandomForestRegressor()), {}, seed=11, instance="alpha"
    )
    assert inner.get_params()["randomforestregressor__random_state"] == 11


def test_what_is_no_estimator_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="alpha: the estimator cannot be made: TypeError"):
        make_estimator(Ridge, {"depth": 3}, seed=0, instance="alpha")
    with pytest.raises(InvalidInputError, match="a dict is no estimator: it has no fit, no predict"):
        make_estimator(dict, {}, seed=0, instance="alpha")


def test_what_an_estimator_can_do_is_asked() -> None:
    boosted = describe_estimator(make_estimator(HistGradientBoostingClassifier, {}, seed=0, instance="alpha"))
    assert (boosted.is_classifier, boosted.takes_missing, boosted.weights_as) == (True, True, "sample_weight")
    near = describe_estimator(make_estimator(KNeighborsRegressor, {}, seed=0, instance="alpha"))
    assert (near.is_classifier, near.takes_missing, near.weights_as) == (False, False, None)
    piped = describe_estimator(
        make_estimator(lambda: make_pipeline(StandardScaler(), Ridge()), {}, seed=0, instance="alpha")
    )
    assert piped.weights_as == "ridge__sample_weight"


def test_weights_reach_the_fit_and_the_first_estimator_stays_unfitted() -> None:
    estimator = make_estimator(LinearRegression, {"fit_intercept": False}, seed=0, instance="alpha")
    kind = describe_estimator(estimator)
    features, labels = np.array([[1.0], [1.0]]), np.array([0.0, 4.0])
    model: Any = fit_estimator(estimator, kind, features, labels, np.array([3.0, 1.0]))
    assert model.coef_[0] == pytest.approx(1.0)
    assert not hasattr(estimator, "coef_")


def test_a_classifier_gives_the_probability_of_class_one_and_how_sure_it_is() -> None:
    features, labels = np.array([[-1.0], [-0.5], [0.5], [1.0]]), np.array([0, 0, 1, 1])
    estimator = make_estimator(LogisticRegression, {}, seed=0, instance="alpha")
    kind = describe_estimator(estimator)
    model: Any = fit_estimator(estimator, kind, features, labels, None)
    values, confidence = predict(model, kind, features)
    assert values.tolist() == model.predict_proba(features)[:, 1].tolist()
    assert confidence is not None
    assert confidence.tolist() == np.maximum(values, 1 - values).tolist()
    # One class alone: its probability is 1 or 0.
    only: Any = fit_estimator(
        make_estimator(HistGradientBoostingClassifier, {}, seed=0, instance="a"), kind, features, np.zeros(4, int), None
    )
    assert predict(only, kind, features)[0].tolist() == [0.0] * 4
    ridge: Any = RidgeClassifier().fit(features, labels)
    decided, sure = predict(ridge, describe_estimator(ridge), features)
    assert (np.sign(decided).tolist(), sure) == ([-1.0, -1.0, 1.0, 1.0], None)


def test_a_fit_or_a_prediction_that_fails_is_told_in_the_estimators_words() -> None:
    estimator = make_estimator(Ridge, {"alpha": -1.0}, seed=0, instance="alpha")
    kind = describe_estimator(estimator)
    with pytest.raises(FlowError, match="the Ridge cannot be fitted to 2 samples: InvalidParameterError"):
        fit_estimator(estimator, kind, np.ones((2, 1)), np.ones(2), None)

    class Blind(Ridge):
        def predict(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
            return np.full(len(X), np.nan)

    with pytest.raises(FlowError, match="the Blind gave no finite number for each of 3 rows"):
        predict(Blind(), kind, np.ones((3, 1)))


def test_complex_predictions_are_refused_and_not_cut_to_their_real_part() -> None:
    class Waves(Ridge):
        def predict(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
            return np.full(len(X), 1.0 + 2.0j)

    kind = describe_estimator(make_estimator(Ridge, {}, seed=0, instance="alpha"))
    with pytest.raises(FlowError, match="what the Waves predicts: these are complex numbers"):
        predict(Waves(), kind, np.ones((3, 1)))


@pytest.mark.parametrize(
    "code_ref",
    ["sklearn.utils._testing:assert_run_python_script_without_output", "sklearn.pipeline:make_pipeline"],
)
def test_a_function_of_a_package_is_refused_by_its_source_and_one_of_the_project_is_not(
    root: Path, code_ref: str
) -> None:
    with pytest.raises(InvalidInputError, match="is no class, and of installed packages only classes are called"):
        check_estimator(locate(code_ref, root))
    with pytest.raises(InvalidInputError, match="only classes are called"):
        check_optimizer(locate("skfolio.datasets:load_sp500_dataset", root))
    check_optimizer(locate("mine:build", root))


@pytest.mark.parametrize(
    "code_ref",
    [
        "sklearn.utils._testing:check_output",  # a function of Python's subprocess
        "sklearn.utils._testing:CalledProcessError",  # and a class of it
        "sklearn.base:clone",
    ],
)
def test_what_a_package_imports_from_elsewhere_is_refused_before_it_is_called(root: Path, code_ref: str) -> None:
    with pytest.raises(InvalidInputError):
        check_class(locate(code_ref, root), load_definition(code_ref, root))
    check_class(locate("mine:build", root), load_definition("mine:build", root))


def test_a_part_of_an_optimiser_is_a_class_too(root: Path) -> None:
    with pytest.raises(InvalidInputError, match="only classes are called"):
        load_optimizer("skfolio.datasets:load_sp500_dataset", root)


def test_only_regressors_and_classifiers_and_what_the_project_makes_are_models(root: Path) -> None:
    for code_ref in ("sklearn.preprocessing:StandardScaler", "sklearn.cluster:KMeans", "sklearn.svm:OneClassSVM"):
        with pytest.raises(InvalidInputError, match="is neither a regressor nor a classifier, so it is no model"):
            check_estimator(locate(code_ref, root))
    made = make_estimator(KMeans, {"n_clusters": 2}, seed=0, instance="alpha")
    with pytest.raises(InvalidInputError, match="a KMeans is neither a regressor nor a classifier"):
        check_model(made, locate("sklearn.cluster:KMeans", root))
    check_model(made, locate("mine:build", root))
    for code_ref in ("sklearn.pipeline:Pipeline", "sklearn.model_selection:GridSearchCV", "lightgbm:LGBMClassifier"):
        check_estimator(locate(code_ref, root))
    check_model(make_estimator(RandomForestRegressor, {}, seed=0, instance="a"), locate("sklearn.svm:SVR", root))
