"""How far a sample lies from its reference: the population stability index, and the distance of Kolmogorov and Smirnov.

Both compare distributions and know nothing of time: rows of a panel depend on each other, so that their usual critical
values say "drift" too often. What is computed here is the figure; verdicts are made elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.series import FloatArray, IntArray

DECILES = 10
"""Bins of a reference's deciles."""

FLOOR = 1e-4
"""An empty bin counts as this share, on either side: the logarithm of 0 is none. As Evidently has it."""

_FEW_DISTINCT = 20
"""Evidently compares a reference of so many distinct values value by value, and has no bins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How the columns of a sample differ from those of a reference: arrays of shape (n_columns,).

    Attributes
    ----------
    psi
        Population stability index on the reference's deciles; NaN where a side has no values.
    ks
        Greatest distance of the two empirical distribution functions, in [0, 1]; NaN likewise.
    ks_p_value
        Of independent rows, by the asymptotic distribution; rows of a panel are not independent.
    reference_count, count
        Values on each side: finite ones.
    """

    psi: FloatArray
    ks: FloatArray
    ks_p_value: FloatArray
    reference_count: IntArray
    count: IntArray


def measure_drift(reference: npt.ArrayLike, sample: npt.ArrayLike) -> Drift:
    """Compare each column of a sample with the same column of a reference.

    Parameters
    ----------
    reference, sample : array_like of shape (n_rows, n_columns)
        Numbers; NaN and infinite values are left out. The rows of the two are not aligned.

    Returns
    -------
    Drift

    Raises
    ------
    InvalidInputError
        If they are not both tables, of as many columns.

    Examples
    --------
    >>> reference = np.arange(100.0)[:, None]
    >>> found = measure_drift(reference, reference + 50)
    >>> round(float(found.psi[0]), 6), float(found.ks[0])
    (4.346303, 0.5)
    """
    before, after = np.asarray(reference, dtype=np.float64), np.asarray(sample, dtype=np.float64)
    if before.ndim != 2 or after.ndim != 2 or before.shape[1] != after.shape[1]:
        raise InvalidInputError(
            f"a sample of shape {after.shape} cannot be compared with a reference of shape {before.shape}",
            next_step="give two tables with the same columns",
        )
    columns = before.shape[1]
    indices, distances, probabilities = (np.full(columns, np.nan) for _ in range(3))
    counts = np.zeros((2, columns), dtype=np.int64)
    for place in range(columns):
        ours, theirs = _sorted(before[:, place]), _sorted(after[:, place])
        counts[:, place] = len(ours), len(theirs)
        indices[place] = _psi(ours, theirs, DECILES)
        distances[place] = _distance(ours, theirs)
        probabilities[place] = _probability(distances[place], len(ours), len(theirs))
    return Drift(psi=indices, ks=distances, ks_p_value=probabilities, reference_count=counts[0], count=counts[1])


def psi(reference: npt.ArrayLike, sample: npt.ArrayLike, *, bins: int = DECILES) -> float:
    """Compute the population stability index: sum (a - e) ln(a / e), on quantiles of the reference.

    e and a are the shares of reference and sample in a bin (Siddiqi 2006; as a divergence, Jeffreys 1946). Bins end at
    the reference's quantiles (linear interpolation) and hold their upper end; the first and the last have no other end.
    Equal quantiles are one. Where the reference's least value is a quantile too (it is a tenth of the rows, or all of
    them), what lies below it has a bin of its own: a constant column that moves down would not be seen otherwise. A
    share of 0 counts as 0.0001.

    Parameters
    ----------
    reference, sample : array_like of shape (n,)
        NaN and infinite values are left out.
    bins
        How many; at least 2.

    Returns
    -------
    float
        0 for equal shares, positive else; NaN where a side has no values. With n and m independent rows of one
        population its mean is about (bins - 1)(1/n + 1/m).

    Raises
    ------
    InvalidInputError
        If there are fewer than 2 bins.

    Examples
    --------
    >>> round(psi([1, 2, 3, 4], [1, 1, 3, 4], bins=2), 6), psi([5, 5, 5], [5, 5]), round(psi([5, 5], [4, 4]), 4)
    (0.0, 0.0, 18.4188)
    >>> round(psi([1, 2, 3, 4], [1, 2, 2, 4], bins=2), 6)  # shares 1/2, 1/2 against 3/4, 1/4: (1/4) ln 3
    0.274653
    """
    if bins < 2:
        raise InvalidInputError(f"{bins} bins compare nothing", next_step="use 2 or more")
    return _psi(_sorted(reference), _sorted(sample), bins)


def psi_sturges(reference: npt.ArrayLike, sample: npt.ArrayLike) -> float:
    """Compute the population stability index as Evidently does, to compare figures with it.

    The range of both samples together is cut into ceil(log2(n + m) + 1) equal bins (Sturges 1926), or one a value where
    the reference has at most 20 distinct ones. An empty bin counts as 0.0001, or as a millionth of the least share of
    that side where this is at most 0.0001. One outlier on either side makes all bins wide, so prefer `psi`.

    Parameters
    ----------
    reference, sample : array_like of shape (n,)
        NaN and infinite values are left out.

    Returns
    -------
    float
        NaN where a side has no values. Equal to Evidently 0.7 within 1e-12 for columns of floating-point numbers.

    Examples
    --------
    >>> round(psi_sturges([1.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 2.0]), 6)  # (1/2) ln 3, twice
    1.098612
    """
    ours, theirs = _sorted(reference), _sorted(sample)
    if not (len(ours) and len(theirs)):
        return math.nan
    values = _distinct(ours)
    if len(values) > _FEW_DISTINCT:
        low, high = min(ours[0], theirs[0]), max(ours[-1], theirs[-1])
        width = (high - low) / (np.log2(len(ours) + len(theirs)) + 1.0)
        edges: FloatArray = np.linspace(low, high, math.ceil((high - low) / width) + 1, dtype=np.float64)
        before, after = (_counts_between(one, edges) for one in (ours, theirs))
    else:
        values = _distinct(np.sort(np.concatenate([values, _distinct(theirs)])))
        before, after = (
            np.searchsorted(one, values, side="right") - np.searchsorted(one, values, side="left")
            for one in (ours, theirs)
        )
    return _index(_filled(before / len(ours)), _filled(after / len(theirs)))


def ks_distance(reference: npt.ArrayLike, sample: npt.ArrayLike) -> float:
    """Compute the greatest distance of two empirical distribution functions (Kolmogorov 1933, Smirnov 1939).

    Parameters
    ----------
    reference, sample : array_like of shape (n,)
        NaN and infinite values are left out.

    Returns
    -------
    float
        In [0, 1]; NaN where a side has no values. As SciPy's `ks_2samp` has it.

    Examples
    --------
    >>> ks_distance([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    return _distance(_sorted(reference), _sorted(sample))


def ks_p_value(distance: float, *, reference_count: int, count: int) -> float:
    """Compute how probable so great a distance is between samples of one population, if all rows are independent.

    By the limiting distribution of sqrt(n m / (n + m)) D, 2 sum_{k>=1} (-1)^{k-1} exp(-2 k^2 x^2), or the equivalent
    theta series where that converges slowly (Kolmogorov 1933; Marsaglia, Tsang and Wang 2003, eq. 1 and 2).

    Parameters
    ----------
    distance
        What `ks_distance` gave.
    reference_count, count
        Values on each side.

    Returns
    -------
    float
        In [0, 1]; NaN for a distance that is NaN. Of small samples it is too large.

    Examples
    --------
    >>> round(ks_p_value(0.1, reference_count=1000, count=1000), 6)
    9.1e-05
    """
    return _probability(distance, reference_count, count)


def _sorted(values: npt.ArrayLike) -> FloatArray:
    found = np.array(values, dtype=np.float64).ravel()
    found.sort()  # NaN comes last
    first, last = np.searchsorted(found, [-np.inf, np.inf], side="right")[0], np.searchsorted(found, np.inf)
    return found[first:last]


def _distinct(ordered: FloatArray) -> FloatArray:
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]


def _psi(reference: FloatArray, sample: FloatArray, bins: int) -> float:
    if not (len(reference) and len(sample)):
        return math.nan
    place = (len(reference) - 1) * np.arange(1, bins) / bins
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, len(reference) - 1)
    edges = reference[below] + (reference[above] - reference[below]) * (place - below)
    edges = _distinct(np.maximum.accumulate(edges))
    if edges[0] == reference[0]:
        edges = np.concatenate([[np.nextafter(edges[0], -np.inf)], edges])
    shares = [
        np.diff(np.searchsorted(one, edges, side="right"), prepend=0, append=len(one)) / len(one)
        for one in (reference, sample)
    ]
    return _index(*(np.where(share == 0.0, FLOOR, share) for share in shares))


def _index(expected: FloatArray, actual: FloatArray) -> float:
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def _counts_between(ordered: FloatArray, edges: FloatArray) -> IntArray:
    """Count values in [a, b), and in the last bin in [a, b]."""
    places = np.searchsorted(ordered, edges, side="left")
    places[-1] = np.searchsorted(ordered, edges[-1], side="right")
    return np.diff(places)


def _filled(shares: FloatArray) -> FloatArray:
    least = float(shares[shares != 0].min())
    return np.where(shares == 0, least / 10**6 if least <= FLOOR else FLOOR, shares)


def _distance(reference: FloatArray, sample: FloatArray) -> float:
    if not (len(reference) and len(sample)):
        return math.nan
    few, many = (reference, sample) if len(reference) < len(sample) else (sample, reference)
    # The distance is greatest at a value of the smaller sample, or just before one.
    upto = np.searchsorted(many, few, side="right")
    before = upto
    if (many[upto - 1] == few).any():
        before = np.searchsorted(many, few, side="left")
    ranks = np.arange(len(few)) / len(few)
    above = (ranks + 1.0 / len(few) - upto / len(many)).max()
    return float(max(above, (before / len(many) - ranks).max()))


def _probability(distance: float, reference_count: int, count: int) -> float:
    if math.isnan(distance):
        return math.nan
    x = math.sqrt(reference_count * count / (reference_count + count)) * distance
    if x < 1e-2:
        return 1.0
    if x < 1.0:
        terms = (math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * x * x)) for k in range(1, 6))
        return 1.0 - math.sqrt(2 * math.pi) / x * math.fsum(terms)
    return 2.0 * math.fsum((-1.0) ** (k - 1) * math.exp(-2.0 * (k * x) ** 2) for k in range(1, 8))
