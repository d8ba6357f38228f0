"""Stored models: plain data, and nothing is loaded or executed whose type was not allowed by its exact name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from optaic.errors import InvalidInputError, StorageError, UntrustedModelError
from optaic.storage.models import dump_model, load_model, untrusted_types

HOSTILE = """
from pathlib import Path
from typing import Any

MARKER = Path(__file__).with_name("executed")
MARKER.touch()

class Bomb:
    def __setstate__(self, state):
        MARKER.touch()
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Write a file of a class whose module does something when it is imported, and whose objects when they are made."""
    (tmp_path / "hostile_module.py").write_text(HOSTILE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("hostile_module")
    bomb = module.Bomb()
    bomb.__dict__["fuse"] = 1
    data = dump_model(bomb)
    del sys.modules["hostile_module"]
    (tmp_path / "executed").unlink()
    return data


def refitted(estimator: Any, features: Any, labels: Any) -> Any:
    fresh: Any = clone(estimator)
    return fresh.fit(features, labels)


def fitted() -> Any:
    features = np.random.default_rng(1).normal(size=(40, 3))
    return Ridge().fit(features, features @ [1.0, -2.0, 0.5])


def test_a_model_predicts_the_same_once_it_was_stored() -> None:
    model = fitted()
    data = dump_model(model)
    again = load_model(data, name="fit 1")
    assert data[:2] == b"PK"  # an archive of JSON and arrays
    rows = np.random.default_rng(2).normal(size=(10, 3))
    assert again.predict(rows).tolist() == model.predict(rows).tolist()


@pytest.mark.parametrize(
    "estimator",
    [
        Ridge(),
        make_pipeline(StandardScaler(), Ridge()),
        HistGradientBoostingRegressor(max_iter=3, random_state=0),
        LGBMRegressor(n_estimators=3, verbose=-1, random_state=0, n_jobs=1),
    ],
    ids=lambda one: type(one).__name__,
)
def test_equal_models_have_equal_files(estimator: Any) -> None:
    chance = np.random.default_rng(1)
    features, labels = chance.normal(size=(80, 3)), chance.normal(size=80)
    first, second = (refitted(estimator, features, labels) for _ in range(2))
    assert dump_model(first) == dump_model(first) == dump_model(second)
    loaded = load_model(dump_model(first), name="fit 1")
    assert loaded.predict(features).tolist() == first.predict(features).tolist()
    assert dump_model(refitted(estimator, features, -labels)) != dump_model(first)


def test_a_hostile_file_is_refused_by_the_names_of_its_types_and_executes_nothing(
    hostile: bytes, tmp_path: Path
) -> None:
    words = r"fit 1 holds types that are not trusted: hostile_module\.Bomb"
    with pytest.raises(UntrustedModelError, match=words) as caught:
        load_model(hostile, name="fit 1")
    assert "settings: {estimators:" in (caught.value.next_step or "")
    assert caught.value.code == "untrusted_model"
    assert not (tmp_path / "executed").exists()
    assert "hostile_module" not in sys.modules
    # And it would have been executed, had it been trusted.
    load_model(hostile, name="fit 1", is_trusted=lambda _: True)
    assert (tmp_path / "executed").exists()


class Own(Ridge):
    """An estimator that neither scikit-learn nor a project provides."""


def test_a_type_is_allowed_by_its_whole_name_only() -> None:
    name = f"{Own.__module__}.Own"
    data = dump_model(Own().fit([[1.0], [2.0]], [1.0, 2.0]))
    assert untrusted_types(data) == (name,)
    assert untrusted_types(data, is_trusted=lambda one: one == name[:-1]) == (name,)
    assert untrusted_types(data, is_trusted=lambda one: one == name) == ()


def test_what_cannot_be_stored_without_pickle_is_told_when_it_is_stored() -> None:
    model = fitted()
    model.callback_ = (item for item in ())
    with pytest.raises(InvalidInputError, match="a Ridge cannot be stored without pickle"):
        dump_model(model)


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x80\x04N."], ids=["empty", "text", "pickle"])
def test_what_is_no_model_file_is_refused(data: bytes) -> None:
    with pytest.raises(StorageError, match="no skops file"):
        load_model(data, name="fit 1")
