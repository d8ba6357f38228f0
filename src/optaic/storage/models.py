"""Fitted models as bytes: never pickle, and nothing is loaded whose type was not allowed by its exact name."""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

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


_SCHEMA = "schema.json"
"""The member of a skops file that describes the object."""


def dump_model(model: Any) -> bytes:
    """Write a fitted model as a skops file.

    skops itself writes other bytes each time: addresses of objects, random names of arrays, and times. They are
    replaced by numbers in the order of their appearance, so that equal models have equal files, as far as their arrays
    are equal to the byte: those of `sklearn.tree` have gaps between their fields, of any content.

    Raises
    ------
    InvalidInputError
        If skops is not installed, or the model cannot be written without pickle.
    """
    try:
        return _canonical(_skops().dumps(model))
    except Exception as error:  # what it cannot write raises whatever its parts raise
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"a {type(model).__name__} cannot be stored without pickle: {str(error)[:300]}",
            next_step="use an estimator whose fitted attributes are arrays and plain values",
        ) from error


def _canonical(data: bytes) -> bytes:
    """Replace ids and names by numbers, in the order in which the schema has them, and leave times out."""
    names: dict[str, str] = {}
    numbers: dict[int, int] = {}

    def renamed(node: Any) -> Any:
        if isinstance(node, list):
            return [renamed(item) for item in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        found: dict[str, Any] = {}
        for key, value in cast("dict[str, Any]", node).items():
            if key == "__id__" and isinstance(value, int):
                found[key] = numbers.setdefault(value, len(numbers) + 1)
            elif key == "file" and value in files:
                found[key] = names.setdefault(value, f"{len(names) + 1:06d}{Path(value).suffix}")
            else:
                found[key] = renamed(value)
        return found

    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(written, "w") as target:
        files = frozenset(source.namelist()) - {_SCHEMA}
        schema = renamed(json.loads(source.read(_SCHEMA)))
        for name in (*(one for one in names), *sorted(files - names.keys())):
            target.writestr(zipfile.ZipInfo(names.get(name, name)), source.read(name))
        target.writestr(zipfile.ZipInfo(_SCHEMA), json.dumps(schema, indent=2))
    return written.getvalue()


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
