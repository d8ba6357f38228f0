"""Fitted models as bytes: never pickle, and nothing is loaded whose type was not allowed by its exact name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from optaic.errors import InvalidInputError, StorageError, UntrustedModelError

TRUSTED_TYPES = frozenset(
    {
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "numpy.dtype",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)
"""What a model may hold beyond what skops trusts by itself: scikit-learn's estimators, NumPy's arrays, plain ones."""


def dump_model(model: Any) -> bytes:
    """Write a fitted model as a skops file.

    The bytes of two dumps of one model differ: they are no identity of it.

    Raises
    ------
    InvalidInputError
        If skops is not installed, or the model cannot be written without pickle.
    """
    try:
        return _skops().dumps(model)
    except Exception as error:  # what it cannot write raises whatever its parts raise
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"a {type(model).__name__} cannot be stored without pickle: {str(error)[:300]}",
            next_step="use an estimator whose fitted attributes are arrays and plain values",
        ) from error


def untrusted_types(data: bytes, *, is_trusted: Callable[[str], bool] | None = None) -> tuple[str, ...]:
    """Name the types in a skops file that may not be loaded; nothing of it is loaded.

    Parameters
    ----------
    data
        The file.
    is_trusted
        Whether a type that is not in `TRUSTED_TYPES` may be loaded, by its full name; None for none.

    Raises
    ------
    StorageError
        If it is no skops file.
    InvalidInputError
        If skops is not installed.
    """
    return tuple(name for name in _listed(data) if not _may_load(name, is_trusted))


def load_model(data: bytes, *, name: str, is_trusted: Callable[[str], bool] | None = None) -> Any:
    """Read a skops file, if all types in it are allowed.

    Parameters
    ----------
    data
        The file.
    name
        What errors call it.
    is_trusted
        As `untrusted_types` takes it.

    Raises
    ------
    UntrustedModelError
        If it holds types that are not allowed; the message names them, and nothing was loaded.
    StorageError
        If it is no skops file.
    InvalidInputError
        If skops is not installed.
    """
    listed = _listed(data)
    refused = [one for one in listed if not _may_load(one, is_trusted)]
    if refused:
        raise refusal(name, refused)
    try:
        return _skops().loads(data, trusted=listed)
    except Exception as error:
        raise StorageError(
            f"{name} is no model that can be loaded: {type(error).__name__}: {str(error)[:300]}"
        ) from error


def refusal(name: str, types: list[str] | tuple[str, ...]) -> UntrustedModelError:
    """Make the error that names types which may not be loaded."""
    return UntrustedModelError(
        f"{name} holds types that are not trusted: {', '.join(sorted(types))}",
        next_step="if they are yours, allow their package: settings: {estimators: [package]} in optaic.yaml",
    )


def _may_load(name: str, is_trusted: Callable[[str], bool] | None) -> bool:
    return name in TRUSTED_TYPES or (is_trusted is not None and is_trusted(name))


def _listed(data: bytes) -> list[str]:
    """Name what skops does not trust by itself."""
    try:
        return _skops().get_untrusted_types(data=data)
    except InvalidInputError:
        raise
    except Exception as error:
        raise StorageError(f"this is no skops file: {type(error).__name__}: {str(error)[:200]}") from error


def _skops() -> Any:
    try:
        return importlib.import_module("skops.io")
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            "models need packages that are not installed: scikit-learn and skops",
            next_step="in the clone: pip install '.[quant]'",
        ) from error
