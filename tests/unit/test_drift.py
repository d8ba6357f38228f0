"""How far a sample lies from its reference: by hand, against Evidently's stored figures, and against SciPy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from optaic.errors import InvalidInputError
from optaic.quant.drift import FLOOR, ks_distance, ks_p_value, measure_drift, psi, psi_sturges

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "evidently.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_index_by_sturges_is_that_of_evidently(case: dict[str, Any]) -> None:
    reference, sample = (np.array(case[side], dtype=np.float64) for side in ("reference", "sample"))
    assert psi_sturges(reference, sample) == pytest.approx(case["evidently"]["psi"], rel=0, abs=1e-12)


def test_the_index_on_deciles_is_the_sum_over_bins() -> None:
    # Deciles of 0..99 are 9.9, 19.8, ..., 89.1: ten values in each bin. Of 50..149 no value is in the first five bins,
    # ten are in each of the next four, and 60 in the last.
    empty = (FLOOR - 0.1) * math.log(FLOOR / 0.1)
    expected = 5 * empty + (0.6 - 0.1) * math.log(0.6 / 0.1)
    assert psi(np.arange(100.0), np.arange(50.0, 150.0)) == pytest.approx(expected, rel=1e-12)


def test_a_value_at_a_decile_belongs_below_it_and_equal_deciles_are_one() -> None:
    reference = [0.0] * 5 + [1.0] * 5  # quartiles 0, 0.5, 1: up to 0, up to 0.5, above; 0 is the least value too
    half, quarter = 0.5, 0.25
    expected = (0.75 - half) * math.log(0.75 / half) + (quarter - half) * math.log(quarter / half)
    assert psi(reference, [0.0, 0.0, 0.0, 1.0], bins=4) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("moved", [1.0, 3.0])
def test_a_constant_column_that_moves_has_drifted_whichever_way_it_moves(moved: float) -> None:
    expected = 2 * (1 - FLOOR) * math.log(1 / FLOOR)
    assert psi([2.0] * 50, [2.0] * 40) == 0.0
    assert psi([2.0] * 50, [moved] * 40) == pytest.approx(expected, rel=1e-12)


def test_missing_and_infinite_values_are_left_out_and_counted() -> None:
    reference = np.arange(100.0)
    sample = np.array([np.nan, np.inf, -np.inf, 1.0, 50.0])
    found = measure_drift(reference[:, None], sample[:, None])
    assert (found.reference_count[0], found.count[0]) == (100, 2)
    assert found.psi[0] == psi(reference, [1.0, 50.0])
    assert found.ks[0] == ks_distance(reference, [1.0, 50.0])


def test_a_side_without_values_has_no_figure() -> None:
    found = measure_drift(np.full((5, 1), np.nan), np.ones((5, 1)))
    assert np.isnan([found.psi[0], found.ks[0], found.ks_p_value[0]]).all()
    assert math.isnan(psi_sturges([], [1.0]))


def test_a_window_of_one_row_has_a_figure() -> None:
    bins = 9 * (FLOOR - 0.1) * math.log(FLOOR / 0.1) + (1 - 0.1) * math.log(1 / 0.1)
    assert psi(np.arange(100.0), [42.0]) == pytest.approx(bins, rel=1e-12)


def test_columns_are_measured_one_by_one() -> None:
    random = np.random.default_rng(3)
    reference, sample = random.normal(size=(400, 3)), random.normal([0.0, 0.5, 2.0], size=(250, 3))
    found = measure_drift(reference, sample)
    for column in range(3):
        assert found.psi[column] == psi(reference[:, column], sample[:, column])
    assert found.psi[0] < 0.1
    assert found.psi[2] > found.psi[1] > 0.2


@given(st.integers(0, 2**32 - 1), st.integers(3, 300), st.integers(3, 300), st.booleans())
def test_the_distance_and_its_probability_are_those_of_scipy(seed: int, n: int, m: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    reference, sample = random.normal(size=n), random.normal(0.3, 1.5, size=m)
    if ties:
        reference, sample = reference.round(1), sample.round(1)
    distance = ks_distance(reference, sample)
    expected = float(np.asarray(stats.ks_2samp(reference, sample, method="asymp"))[0])
    assert distance == pytest.approx(expected, rel=0, abs=1e-12)
    limit = float(special.kolmogorov(math.sqrt(n * m / (n + m)) * distance))
    assert ks_p_value(distance, reference_count=n, count=m) == pytest.approx(limit, rel=0, abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_the_index_is_the_same_in_any_order_and_in_any_unit(seed: int) -> None:
    random = np.random.default_rng(seed)
    reference, sample = random.normal(size=300), random.normal(0.2, 1.0, size=200)
    value = psi(reference, sample)
    assert value >= 0
    assert psi(random.permutation(reference), random.permutation(sample)) == value
    assert psi(reference * 8, sample * 8) == pytest.approx(value, rel=1e-12)


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"a sample of shape \(3, 1\)"):
        measure_drift(np.ones((3, 2)), np.ones((3, 1)))
    with pytest.raises(InvalidInputError, match="1 bins compare nothing"):
        psi([1.0], [1.0], bins=1)
