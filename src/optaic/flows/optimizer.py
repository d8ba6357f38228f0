"""Optimisers by import path: made from the params of a project file, once for each time that they are fitted."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from optaic.domain.suggestion import did_you_mean
from optaic.errors import CodeChangedError, InvalidInputError, OptaicError
from optaic.flows.code import code_digest, load_definition, locate
from optaic.flows.installed import check_class
from optaic.flows.signature import PACKAGE, check_optimizer

Floats = npt.NDArray[np.float64]

NO_LIBRARY = f"portfolio optimisers need {PACKAGE}, which is not installed"


class Optimizer(Protocol):
    """What optimisers have in common, as far as it is used here: the interface of scikit-learn."""

    def fit(self, X: Any, y: Any = None) -> Any:  # noqa: N803 - scikit-learn's name
        """Take returns of shape (n_sessions, n_symbols), and set `weights_` of shape (n_symbols,)."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        """Give the parameters."""
        ...

    def set_params(self, **params: Any) -> Any:
        """Set parameters."""
        ...


def load_optimizer(code_ref: str, root: Path, *, digest: str | None = None) -> Callable[..., Any]:
    """Import an optimiser; in a run's own process only.

    Parameters
    ----------
    code_ref
        `skfolio.optimization:MeanRisk`, or a class or function of the project.
    root
        The project's folder.
    digest
        What its code must be.

    Raises
    ------
    InvalidInputError
        If it may not be used, is neither class nor function, or is a function of an installed package.
    NotFoundError
        If there is none.
    CodeChangedError
        If its code is not what the digest says.
    """
    location = locate(code_ref, root)
    check_optimizer(location)
    if digest is not None and code_digest(location) != digest:
        raise CodeChangedError(
            f"the code of {code_ref} is not the code of the optimiser's version",
            next_step="run: optaic apply, then the optimiser, then this again",
        )
    found = load_definition(code_ref, root)
    check_class(location, found)
    return found


def make_optimizer(
    definition: Callable[..., Any],
    params: Mapping[str, Any],
    *,
    instance: str,
    seed: int = 0,
    root: Path | None = None,
) -> Optimizer:
    """Make an optimiser: call its class, or the project's function that makes one, with the params.

    Parameters
    ----------
    definition
        The class or the function.
    params
        As a project file has them: members of enumerations by name; estimators within as
        `{definition: skfolio.prior:EmpiricalPrior, params: {...}}`.
    instance
        Whose params they are, for messages.
    seed
        Becomes every `random_state` that is None.
    root
        The project's folder, from which estimators within are looked for; None for the working directory.

    Raises
    ------
    InvalidInputError
        If a param is unknown or is no such member, if it cannot be made with these params, or if what was made has not
        the interface of scikit-learn's estimators.
    """
    root = root or Path.cwd()
    given = {name: _value(definition, name, value, instance=instance, root=root) for name, value in params.items()}
    _check_names(definition, given, instance)
    try:
        made: object = definition(**given)
    except OptaicError:
        raise
    except Exception as error:
        raise InvalidInputError(
            f"{instance}: the optimiser cannot be made: {type(error).__name__}: {_line(error)}",
            next_step="look at its params in optaic.yaml",
        ) from error
    missing = [name for name in ("fit", "get_params", "set_params") if not callable(getattr(made, name, None))]
    if missing:
        raise InvalidInputError(
            f"{instance}: a {type(made).__name__} is no optimiser: it has no {', no '.join(missing)}",
            next_step="name a class with the interface of scikit-learn whose fit sets weights_",
        )
    optimizer = cast("Optimizer", made)
    chances = {
        name: seed % 2**32
        for name, value in optimizer.get_params(deep=True).items()
        if value is None and name.rpartition("__")[2] == "random_state"
    }
    if chances:
        optimizer.set_params(**chances)
    return optimizer


def require_library() -> None:
    """Import skfolio, or say that it is not there.

    Raises
    ------
    InvalidInputError
        If it is not installed.
    """
    try:
        importlib.import_module(PACKAGE)
    except ModuleNotFoundError as error:
        raise InvalidInputError(NO_LIBRARY, next_step="in the clone: pip install '.[quant]'") from error


def use_expected_returns(optimizer: Optimizer, expected: Floats, *, instance: str) -> None:
    """Have an optimiser use given expected returns instead of those that it would estimate; risk stays its own.

    Parameters
    ----------
    optimizer
        Has a `prior_estimator`, which has a `mu_estimator`.
    expected : ndarray of shape (n_symbols,), float64
        Simple returns per session.
    instance
        For the message.

    Raises
    ------
    InvalidInputError
        If the optimiser uses no expected returns, or its prior estimates them in a way of its own.
    """
    from skfolio.prior import EmpiricalPrior

    from optaic.flows.forecast import GivenReturns

    params = optimizer.get_params(deep=False)
    if "prior_estimator" not in params:
        raise InvalidInputError(
            f"{instance}: a {type(optimizer).__name__} uses no expected returns",
            next_step="take expected_returns out of its inputs, or use skfolio.optimization:MeanRisk",
        )
    prior: Any = params["prior_estimator"]
    if prior is None:
        prior = EmpiricalPrior()
    elif "mu_estimator" not in prior.get_params(deep=False):
        raise InvalidInputError(
            f"{instance}: a {type(prior).__name__} estimates expected returns by itself",
            next_step="take expected_returns out of its inputs, or use skfolio.prior:EmpiricalPrior",
        )
    prior.set_params(mu_estimator=GivenReturns(mu=expected))
    optimizer.set_params(prior_estimator=prior)


def _check_names(definition: Callable[..., Any], given: Mapping[str, Any], instance: str) -> None:
    try:
        accepted = inspect.signature(definition).parameters
    except (TypeError, ValueError):
        return
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted.values()):
        return
    for name in given:
        if name not in accepted:
            raise InvalidInputError(
                f"{instance} has no param {name!r}{did_you_mean(name, accepted)}",
                next_step=f"its params: {', '.join(accepted) or 'it takes none'}",
            )


def _value(definition: Callable[..., Any], name: str, value: Any, *, instance: str, root: Path) -> Any:
    """Make of a JSON value what the parameter takes: a member of an enumeration, or another estimator."""
    if isinstance(value, str):
        for enumeration in _enumerations(definition, name):
            if value in enumeration.__members__:
                return enumeration[value]
        members = [member for one in _enumerations(definition, name) for member in one.__members__]
        if members:
            raise InvalidInputError(
                f"{instance}: param {name} is {value!r}{did_you_mean(value, members)}",
                next_step=f"it is one of: {', '.join(members)}",
            )
    if isinstance(value, Mapping):
        within = cast("Mapping[str, Any]", value)
        if "definition" in within and set(within) <= {"definition", "params"}:
            inner = load_optimizer(str(within["definition"]), root)
            return _estimator(inner, within.get("params") or {}, name, instance=instance, root=root)
    return cast("object", value)


def _estimator(
    definition: Callable[..., Any], params: Mapping[str, Any], name: str, *, instance: str, root: Path
) -> Any:
    what = f"{instance}: {name}"
    given = {key: _value(definition, key, value, instance=what, root=root) for key, value in params.items()}
    _check_names(definition, given, what)
    try:
        return definition(**given)
    except Exception as error:
        raise InvalidInputError(f"{what} cannot be made: {type(error).__name__}: {_line(error)}") from error


def _enumerations(definition: Callable[..., Any], name: str) -> list[type[Enum]]:
    """Give the enumerations that the annotation of a parameter names."""
    real = inspect.unwrap(definition)
    try:
        parameter = inspect.signature(real).parameters.get(name)
    except (TypeError, ValueError):
        return []
    if parameter is None:
        return []
    note: object = parameter.annotation
    text = note if isinstance(note, str) else getattr(note, "__name__", "")
    known = vars(sys.modules.get(getattr(real, "__module__", ""), sys))
    found: list[type[Enum]] = []
    for word in re.findall(r"\w+", str(text)):
        one: object = known.get(word)
        if isinstance(one, type) and issubclass(one, Enum):
            found.append(one)
    return found


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
