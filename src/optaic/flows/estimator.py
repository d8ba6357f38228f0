"""Estimators by import path: which are allowed, how one is made, and which of their types may be loaded again."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from optaic.errors import FlowError, InvalidInputError, OptaicError
from optaic.flows.code import CodeLocation
from optaic.flows.installed import refuse_function, refuse_no_model
from optaic.flows.module import read_module
from optaic.flows.real import to_real

DEFAULT_PACKAGES = ("sklearn", "lightgbm")
"""Whose estimators may be trained without a word in the settings."""

Floats = npt.NDArray[np.float64]


class Estimator(Protocol):
    """What scikit-learn's estimators have in common, as far as it is used here."""

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Any:  # noqa: N803 - scikit-learn's name
        """Learn."""
        ...

    def predict(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
        """Predict."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        """Give the parameters."""
        ...

    def set_params(self, **params: Any) -> Any:
        """Set parameters."""
        ...


def check_estimator(location: CodeLocation, allowed: Collection[str] = ()) -> None:
    """Refuse an estimator that neither the project nor an allowed package provides, and what is plainly none.

    Parameters
    ----------
    location
        Where it is; nothing is imported.
    allowed
        Packages and modules beside `sklearn` and `lightgbm`.

    Raises
    ------
    InvalidInputError
        If it is not allowed; or if its source shows that it is a function of a package, or no model.
    """
    name = location.module.name
    if location.module.provider is None or is_within(name, (*DEFAULT_PACKAGES, *allowed)):
        refuse_function(location)
        refuse_no_model(location)
        return
    top = name.partition(".")[0]
    raise InvalidInputError(
        f"{location.code_ref} is not among the estimators that may be trained: "
        f"{', '.join((*DEFAULT_PACKAGES, *allowed))}, and those of the project",
        next_step=f"allow its package in optaic.yaml: settings: {{estimators: [{top}]}}",
    )


def is_within(name: str, packages: Collection[str]) -> bool:
    """Whether a dotted name is one of some packages or modules, or inside of one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def trusted_types(location: CodeLocation, allowed: Collection[str] = ()) -> Callable[[str], bool]:
    """Say which types of a stored model may be loaded, beside those that the product knows.

    Parameters
    ----------
    location
        Where the model's definition is. Of the project's code, the classes that its module defines are trusted, by
        their exact names; functions are not.
    allowed
        Packages of the settings: all of their types.
    """
    own: set[str] = set()
    if location.module.provider is None and location.module.is_source:
        module = read_module(location.module.name, location.path, shown=location.module.name)
        own = {f"{module.name}.{node.name}" for node in module.tree.body if isinstance(node, ast.ClassDef)}
    return lambda name: name in own or is_within(name, tuple(allowed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What an estimator can do.

    Attributes
    ----------
    is_classifier
        Whether it predicts classes.
    takes_missing
        Whether it takes features with NaN.
    weights_as
        The name of the argument of `fit` that takes sample weights; None if there is none.
    """

    is_classifier: bool
    takes_missing: bool
    weights_as: str | None


def make_estimator(definition: Callable[..., Any], params: Mapping[str, Any], *, seed: int, instance: str) -> Estimator:
    """Make an estimator: call its class, or the project's function that makes one, with the params.

    Parameters
    ----------
    definition
        The class or the function.
    params
        Passed by name.
    seed
        Becomes every `random_state` that is None, of parts of a pipeline too.
    instance
        The model, for messages.

    Raises
    ------
    InvalidInputError
        If it cannot be made with these params, or what was made is no estimator.
    """
    try:
        made: object = definition(**params)
    except OptaicError:
        raise
    except Exception as error:
        raise InvalidInputError(
            f"{instance}: the estimator cannot be made: {type(error).__name__}: {str(error)[:300]}",
            next_step="look at the params of the model in optaic.yaml",
        ) from error
    needed = ("fit", "predict", "get_params", "set_params")
    missing = [name for name in needed if not callable(getattr(made, name, None))]
    if missing:
        raise InvalidInputError(
            f"{instance}: a {type(made).__name__} is no estimator: it has no {', no '.join(missing)}",
            next_step="name a class with the interface of scikit-learn, or a function that returns such an object",
        )
    estimator = cast("Estimator", made)
    chances = {
        name: seed
        for name, value in estimator.get_params(deep=True).items()
        if value is None and name.rpartition("__")[2] == "random_state"
    }
    if chances:
        estimator.set_params(**chances)
    return estimator


def describe_estimator(estimator: Estimator) -> Kind:
    """Ask an estimator what it can do."""
    base, utils = _sklearn("base"), _sklearn("utils")
    try:
        takes_missing = bool(utils.get_tags(estimator).input_tags.allow_nan)
        sorts = bool(base.is_classifier(estimator))
    except (AttributeError, TypeError):  # one of its own kind, without the tags of scikit-learn's
        takes_missing, sorts = False, hasattr(estimator, "predict_proba")
    return Kind(is_classifier=sorts, takes_missing=takes_missing, weights_as=_weights_argument(estimator))


def check_model(estimator: Estimator, location: CodeLocation) -> None:
    """Refuse an estimator of an installed package that is neither a regressor nor a classifier.

    Parameters
    ----------
    estimator
        Unfitted.
    location
        Where its definition is; what the project's own code makes is a model.

    Raises
    ------
    InvalidInputError
        If scikit-learn's tags say that it is neither.
    """
    if location.module.provider is None:
        return
    base = _sklearn("base")
    try:
        is_model = bool(base.is_regressor(estimator) or base.is_classifier(estimator))
    except (AttributeError, TypeError):  # one of its own kind, without the tags of scikit-learn's
        return
    if not is_model:
        raise InvalidInputError(
            f"a {type(estimator).__name__} is neither a regressor nor a classifier, so it is no model",
            next_step="name a regressor or a classifier, or write a class in the project that predicts with this one",
        )


def _sklearn(name: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{name}")
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            "models need a package that is not installed: scikit-learn",
            next_step="in the clone: pip install '.[quant]'",
        ) from error


def _weights_argument(estimator: Any) -> str | None:
    steps: Any = getattr(estimator, "steps", None)
    prefix = ""
    if isinstance(steps, list) and steps:
        name, last = cast("list[tuple[str, Any]]", steps)[-1]
        prefix, estimator = f"{name}__", last
    try:
        accepted = inspect.signature(estimator.fit).parameters
    except (TypeError, ValueError, AttributeError):
        return None
    return f"{prefix}sample_weight" if "sample_weight" in accepted else None


def fit_estimator(estimator: Estimator, kind: Kind, features: Floats, labels: Any, weights: Floats | None) -> Estimator:
    """Fit a fresh copy of an estimator; the one given stays as it is.

    Raises
    ------
    FlowError
        If it cannot be fitted; the message has the estimator's own words.
    """
    fresh = cast("Estimator", _sklearn("base").clone(estimator))
    extra = {} if weights is None or kind.weights_as is None else {kind.weights_as: weights}
    try:
        fresh.fit(features, labels, **extra)
    except Exception as error:
        raise FlowError(
            f"the {type(estimator).__name__} cannot be fitted to {len(features)} samples: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            next_step="look at the params of the model and at its features",
        ) from error
    return fresh


def predict(estimator: Any, kind: Kind, features: Floats) -> tuple[Floats, Floats | None]:
    """Predict, and say how sure the estimator is where it says so itself.

    Returns
    -------
    tuple of (ndarray of shape (n_rows,), ndarray of shape (n_rows,) or None)
        A regressor's value, in the unit of the target, without a confidence. A classifier's probability of class 1,
        with that of the more probable class; without probabilities its decision function, without a confidence.

    Raises
    ------
    FlowError
        If there is not one finite, real number for each row.
    """
    confidence: Floats | None = None
    what = f"what the {type(estimator).__name__} predicts"
    if kind.is_classifier and hasattr(estimator, "predict_proba"):
        shares = to_real(estimator.predict_proba(features), what)
        classes = [int(one) for one in estimator.classes_]
        values = shares[:, classes.index(1)] if 1 in classes else np.zeros(len(features))
        confidence = shares.max(axis=1)
    elif kind.is_classifier and hasattr(estimator, "decision_function"):
        values = to_real(estimator.decision_function(features), what)
    else:
        values = to_real(estimator.predict(features), what)
    values = values.reshape(len(features), -1)[:, 0] if values.size == len(features) else values
    if values.shape != (len(features),) or not np.isfinite(values).all():
        raise FlowError(
            f"the {type(estimator).__name__} gave no finite number for each of {len(features)} rows",
            next_step="look at its features and its params",
        )
    return values, confidence
