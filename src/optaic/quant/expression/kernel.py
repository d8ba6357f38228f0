"""Statistics of moving windows over a matrix of symbols x sessions, in numpy: exact, and blind to what is outside.

Sums run over blocks as long as the window. A window that ends in a block is the end of the block before and the
beginning of its own, so its sum is a suffix plus a prefix (van Herk 1992; Gil and Werman 1993): nothing is ever
subtracted, what has left the window leaves no trace, and the cost does not grow with the window. Values are taken
relative to the first cell of the block, which is in each of its windows: so a large offset takes no digits from a
small variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""Cells of symbols x sessions; NaN where there is none."""

ZERO = 1e-14
"""A deviation that is smaller than this share of the value is rounding, and thus zero."""

_CHUNK_CELLS = 100_000
_CHUNK_WINDOWS = 4_000_000


class Cells:
    """The windows of some symbols, and sums over them.

    Parameters
    ----------
    series
        One or two matrices of shape (n_symbols, n_sessions).
    n
        Sessions of a window, at most n_sessions.
    minimum
        How many cells must exist in both series. Below `n`, missing cells are left out.

    Attributes
    ----------
    series
        For each matrix, its cells relative to the centre of their block: first as part of the block that they are in,
        then as part of the one after; of shape (2, n_symbols, n_blocks, n).
    age
        The session number in the same form, relative to the first session of the block.
    """

    def __init__(self, series: list[Matrix], n: int, minimum: int) -> None:
        self.n = n
        self._shape = series[0].shape
        rows, sessions = self._shape
        blocks = -(-sessions // n)
        # One block before the first, and cells up to the end of the last, that do not exist.
        padded = [np.full((rows, (blocks + 1) * n), np.nan) for _ in series]
        for target, source in zip(padded, series, strict=True):
            target[:, n : n + sessions] = source
        valid: NDArray[np.bool_] | None = None
        if minimum < n:
            valid = np.isfinite(padded[0])
            for other in padded[1:]:
                valid &= np.isfinite(other)
        self.centres: list[Matrix] = []
        self.series: list[NDArray[np.float64]] = []
        for matrix in padded:
            centre = matrix[:, n::n]
            if valid is not None:
                centre = _last_before(np.where(valid, matrix, np.nan))[:, n::n]
            self.centres.append(centre)
            cells = np.empty((2, rows, blocks, n))
            cut = matrix.reshape(rows, blocks + 1, n)
            np.subtract(cut[:, 1:], centre[:, :, None], out=cells[0])
            np.subtract(cut[:, :-1], centre[:, :, None], out=cells[1])
            self.series.append(cells)
        self.age = np.stack([np.arange(n, dtype=np.float64), np.arange(-n, 0, dtype=np.float64)])[:, None, None, :]
        self._valid: NDArray[np.float64] | None = None
        if valid is not None:
            cut_valid = valid.reshape(rows, blocks + 1, n)
            both = np.stack([cut_valid[:, 1:], cut_valid[:, :-1]])
            self._valid = both.astype(np.float64)
            for cells in self.series:
                cells[~both] = 0.0
        self.count: Matrix | float = float(n)
        if self._valid is not None:
            count = self.total(self._valid)
            self.count = np.where(count >= minimum, count, np.nan)

    def total(self, cells: NDArray[np.float64]) -> Matrix:
        """Sum cells over each window; of shape (n_symbols, n_blocks, n)."""
        found = np.cumsum(cells[0], axis=-1)
        if self.n > 1:
            found[..., :-1] += np.cumsum(cells[1][..., :0:-1], axis=-1)[..., ::-1]
        return found

    def ages(self, power: int = 1) -> Matrix | NDArray[np.float64]:
        """Sum the session numbers of the cells that exist, or their squares; broadcasts to (n_symbols, n_blocks, n)."""
        return self.total(self.age**power if self._valid is None else self.age**power * self._valid)

    def today(self, number: int = 0) -> Matrix:
        """Give the last cell of each window; NaN where it is missing."""
        own = self.series[number][0]
        return own if self._valid is None else np.where(self._valid[0] > 0, own, np.nan)

    def centred(self, first: int = 0, second: int = 0) -> Matrix:
        """Sum the products of the deviations from the means of two series."""
        x, y = self.series[first], self.series[second]
        found = self.total(x * y) - self.total(x) * self.total(y) / self.count
        return np.maximum(found, 0.0) if first == second else found

    def is_flat(self, variance_sum: Matrix, number: int = 0) -> NDArray[np.bool_]:
        """Say where the deviation of a series is zero, but for rounding."""
        size = np.abs(self.centres[number])[:, :, None]
        return variance_sum <= (ZERO * size) ** 2 * self.count

    def whole(self, found: Matrix) -> Matrix:
        """Bring a result of shape (n_symbols, n_blocks, n) back to (n_symbols, n_sessions)."""
        rows, sessions = self._shape
        return found.reshape(rows, -1)[:, :sessions]


Formula = Callable[[Cells], Matrix]


def _last_before(matrix: Matrix) -> Matrix:
    """Fill each missing cell with the last one that exists before it, else the first that exists at all."""
    exists: NDArray[np.bool_] = np.isfinite(matrix)
    number = np.arange(matrix.shape[1], dtype=np.int64)
    places: NDArray[np.int64] = np.maximum.accumulate(np.where(exists, number, np.int64(-1)), axis=1)
    first: NDArray[np.intp] = np.argmax(exists, axis=1)
    filled: Matrix = np.take_along_axis(matrix, np.where(places < 0, first[:, None], places), axis=1)
    return np.nan_to_num(filled, nan=0.0)


def roll(series: list[Matrix], n: int, minimum: int, formula: Formula) -> Matrix:
    """Apply a formula of window sums to all symbols.

    Parameters
    ----------
    series
        Matrices of shape (n_symbols, n_sessions), NaN where a cell is missing.
    n, minimum
        Sessions of a window, and how many cells must exist.
    formula
        Gives the statistic from the sums.

    Returns
    -------
    ndarray of shape (n_symbols, n_sessions)
        The statistic; NaN where too few cells exist.

    Examples
    --------
    >>> roll([np.array([[1.0, 3.0, 5.0]])], 2, 2, mean).tolist()
    [[nan, 2.0, 4.0]]
    """
    rows, sessions = series[0].shape
    found = np.full((rows, sessions), np.nan)
    if minimum > sessions:
        return found
    with np.errstate(all="ignore"):
        for part in _chunks(rows, max(sessions, n), _CHUNK_CELLS):
            cells = Cells([matrix[part] for matrix in series], min(n, sessions), minimum)
            found[part] = cells.whole(formula(cells))
    return found


def roll_windows(
    matrix: Matrix, n: int, minimum: int, statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Matrix:
    """Apply a statistic to each window itself, for what no sums give; the cost grows with the window.

    Parameters
    ----------
    matrix
        Of shape (n_symbols, n_sessions), NaN where a cell is missing.
    n, minimum
        Sessions of a window, and how many cells must exist.
    statistic
        Takes windows of shape (n_windows, n), the latest cell first, gives shape (n_windows,). Each window has at least
        `minimum` cells; missing ones are NaN.

    Returns
    -------
    ndarray of shape (n_symbols, n_sessions)
        The statistic; NaN where too few cells exist.
    """
    rows, sessions = matrix.shape
    found = np.full((rows, sessions), np.nan)
    if minimum > sessions:
        return found
    n = min(n, sessions)
    padded = np.concatenate([np.full((rows, n - 1), np.nan), matrix], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, n, axis=1)[..., ::-1]
    counts = roll([np.where(np.isfinite(matrix), 1.0, 0.0)], n, 1, total)
    with np.errstate(all="ignore"):
        for part in _chunks(rows, sessions * n, _CHUNK_WINDOWS):
            enough = counts[part] >= minimum
            if enough.any():
                target = found[part]
                target[enough] = statistic(windows[part][enough])
    return found


def shift(matrix: Matrix, n: int) -> Matrix:
    """Give for each session the cells of `n` sessions before, or later if `n` is negative; NaN where there are none.

    Examples
    --------
    >>> shift(np.array([[1.0, 2.0, 3.0]]), 1).tolist()
    [[nan, 1.0, 2.0]]
    """
    found = np.full_like(matrix, np.nan)
    if abs(n) < matrix.shape[1]:
        if n > 0:
            found[:, n:] = matrix[:, :-n]
        else:
            found[:, :n] = matrix[:, -n:]
    return found


def _chunks(rows: int, cells: int, most: int) -> Iterator[slice]:
    step = max(1, most // max(cells, 1))
    return (slice(start, start + step) for start in range(0, rows, step))


# ------------------------------------------------------------------------------------------------------ formulas


def total(cells: Cells) -> Matrix:
    """Sum."""
    return cells.total(cells.series[0]) + cells.centres[0][:, :, None] * cells.count


def mean(cells: Cells) -> Matrix:
    """Divide the sum by the count."""
    return cells.total(cells.series[0]) / cells.count + cells.centres[0][:, :, None]


def variance(cells: Cells) -> Matrix:
    """Give the variance, ddof=1; NaN of fewer than two cells."""
    return cells.centred() / np.where(np.asarray(cells.count) > 1, np.asarray(cells.count) - 1, np.nan)


def deviation(cells: Cells) -> Matrix:
    """Give the standard deviation, ddof=1."""
    return np.sqrt(variance(cells))


def zscore(cells: Cells) -> Matrix:
    """Give today's deviation from the mean in standard deviations; NaN where they are zero."""
    squares = cells.centred()
    spread = np.where(cells.is_flat(squares), np.nan, squares)
    away = cells.today() - cells.total(cells.series[0]) / cells.count
    return away / np.sqrt(spread / (np.asarray(cells.count) - 1))


def covariance(cells: Cells) -> Matrix:
    """Give the covariance, ddof=1; NaN of fewer than two cells."""
    return cells.centred(0, 1) / np.where(np.asarray(cells.count) > 1, np.asarray(cells.count) - 1, np.nan)


def correlation(cells: Cells) -> Matrix:
    """Give the correlation (Pearson); NaN where a deviation is zero."""
    first, second = cells.centred(0, 0), cells.centred(1, 1)
    flat = cells.is_flat(first, 0) | cells.is_flat(second, 1)
    found = cells.centred(0, 1) / (np.sqrt(first) * np.sqrt(second))
    return np.where(flat, np.nan, np.clip(found, -1.0, 1.0))


def beta(cells: Cells) -> Matrix:
    """Give the slope of the first series on the second; NaN where the second's deviation is zero."""
    squares = cells.centred(1, 1)
    return cells.centred(0, 1) / np.where(cells.is_flat(squares, 1), np.nan, squares)


def moments(cells: Cells) -> tuple[Matrix, Matrix, Matrix]:
    """Give the second, third and fourth central moments, biased; the second NaN where it is zero."""
    x, m = cells.series[0], cells.count
    square = x * x
    first, second = cells.total(x) / m, cells.total(square) / m
    third, fourth = cells.total(square * x) / m, cells.total(square * square) / m
    flat = cells.is_flat(cells.centred())
    m2 = np.where(flat, np.nan, second - first**2)
    m3 = third - 3 * first * second + 2 * first**3
    m4 = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
    return m2, m3, m4


def skewness(cells: Cells) -> Matrix:
    """Give the bias-corrected skewness G1 (Joanes and Gill 1998)."""
    m2, m3, _ = moments(cells)
    m = np.where(np.asarray(cells.count) > 2, cells.count, np.nan)
    return np.sqrt(m * (m - 1)) / (m - 2) * m3 / m2**1.5


def kurtosis(cells: Cells) -> Matrix:
    """Give the bias-corrected excess kurtosis G2 (Joanes and Gill 1998)."""
    m2, _, m4 = moments(cells)
    m = np.where(np.asarray(cells.count) > 3, cells.count, np.nan)
    return (m - 1) / ((m - 2) * (m - 3)) * ((m + 1) * m4 / m2**2 - 3 * (m - 1))


def _regress(cells: Cells) -> tuple[Matrix, Matrix]:
    """Give the slope of the series on the session number, and the sum of squares of that number."""
    ages = cells.ages()
    squares = cells.ages(2) - ages**2 / cells.count
    products = cells.total(cells.series[0] * cells.age) - cells.total(cells.series[0]) * ages / cells.count
    squares = np.where(squares > 0, squares, np.nan)
    return products / squares, squares


def slope(cells: Cells) -> Matrix:
    """Give the slope on the session number."""
    return _regress(cells)[0]


def rsquare(cells: Cells) -> Matrix:
    """Give the share of the variance that the regression on the session number explains."""
    found, ages = _regress(cells)
    squares = cells.centred()
    return np.clip(found**2 * ages / np.where(cells.is_flat(squares), np.nan, squares), 0.0, 1.0)


def residual(cells: Cells) -> Matrix:
    """Give today's residual of the regression on the session number."""
    found, _ = _regress(cells)
    away = cells.today() - cells.total(cells.series[0]) / cells.count
    return away - found * (cells.age[0] - cells.ages() / cells.count)


def decay(n: int) -> Formula:
    """Give the formula of the linearly weighted mean, today's weight `n`."""

    def formula(cells: Cells) -> Matrix:
        today = n - cells.age[0]
        weights = cells.ages() + today * cells.count
        weighted = cells.total(cells.series[0] * cells.age) + today * cells.total(cells.series[0])
        return weighted / weights + cells.centres[0][:, :, None]

    return formula
