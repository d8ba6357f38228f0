"""How likely it is that choosing the best of many backtests chose noise."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.series import ROUNDING, FloatArray, as_panel

_CELLS = 2_000_000
"""Sharpe ratios in memory at a time, about 16 MB an array."""


def probability_of_backtest_overfitting(returns: npt.ArrayLike, *, n_blocks: int = 16) -> float:
    """Compute the probability of backtest overfitting by combinatorially symmetric cross-validation.

    The sessions are cut into S blocks. In each of the C(S, S/2) ways to take half of them as in-sample, the trial with
    the best in-sample Sharpe ratio is looked up out of sample: w is the rank of its ratio there (1 the worst, ties
    averaged) over N + 1. PBO is the share of ways with logit(w) <= 0, which is w <= 1/2 (Bailey, Borwein, Lopez de
    Prado and Zhu 2015).

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_trials)
        Simple returns per session of every trial, as fractions, over the same sessions; at least two trials.
    n_blocks
        S, even, from 2 to 20. Blocks are of equal length, up to one session where the sessions do not divide.

    Returns
    -------
    float
        A probability: near 0.5 for noise, near 0 where one trial is truly best. NaN with fewer than two trials.

    Raises
    ------
    InvalidInputError
        If a return is missing, the number of blocks is not even or not from 2 to 20, or there are fewer than two
        sessions a block.

    Notes
    -----
    Of trials with equal in-sample ratios the first is chosen. A trial that does not deviate in a half has the ratio 0
    there. With an odd number of trials the middle rank counts as overfit, so noise then gives a little more than 0.5.

    Examples
    --------
    >>> noise = np.random.default_rng(7).normal(0, 0.01, (320, 10))
    >>> noise[:, 3] += 0.01
    >>> probability_of_backtest_overfitting(noise)
    0.0
    """
    panel = as_panel(returns, "returns of the trials")
    n_sessions, n_trials = panel.shape
    if n_blocks % 2 or not 2 <= n_blocks <= 20:
        raise InvalidInputError(
            f"{n_blocks} blocks cannot be halved in every way", next_step="give an even number from 2 to 20, such as 16"
        )
    if np.isnan(panel).any():
        raise InvalidInputError(
            "the trials' returns have missing values",
            next_step="give the trials over the sessions that all of them have",
        )
    if n_trials < 2:
        return math.nan
    if n_sessions < 2 * n_blocks:
        raise InvalidInputError(
            f"{n_sessions} sessions are too few for {n_blocks} blocks", next_step="give longer returns, or fewer blocks"
        )
    # Sums of a half are sums of its blocks. Centred on the whole, so that squares lose no digits.
    centres = panel.mean(axis=0)
    centred = panel - centres
    edges = np.arange(n_blocks + 1) * n_sessions // n_blocks
    sums = np.add.reduceat(centred, edges[:-1], axis=0)
    squares = np.add.reduceat(np.square(centred), edges[:-1], axis=0)
    lengths = np.diff(edges).astype(np.float64)
    blocks = np.hstack([sums, squares])
    whole = blocks.sum(axis=0)
    rounding = ROUNDING * np.maximum(1.0, np.abs(panel).max(axis=0))

    def ratios(totals: FloatArray, counts: FloatArray) -> FloatArray:
        means = totals[:, :n_trials] / counts[:, None]
        variances = np.maximum(totals[:, n_trials:] / counts[:, None] - np.square(means), 0.0)
        spreads = np.sqrt(variances * (counts / (counts - 1.0))[:, None])
        return np.divide(means + centres, spreads, out=np.zeros_like(means), where=spreads > rounding)

    halves = _halves(n_blocks)
    overfit = 0
    for start in range(0, len(halves), step := max(_CELLS // n_trials, 1)):
        # What is not in one half is in the other: a second product would cost as much as all the rest.
        totals, counts = halves[start : start + step] @ blocks, halves[start : start + step] @ lengths
        first, second = ratios(totals, counts), ratios(whole - totals, n_sessions - counts)
        overfit += _count_overfit(first, second) + _count_overfit(second, first)
    return overfit / (2 * len(halves))


def _count_overfit(inside: FloatArray, outside: FloatArray) -> int:
    chosen = np.take_along_axis(outside, np.argmax(inside, axis=1)[:, None], axis=1)
    ranks = (outside < chosen).sum(axis=1) + ((outside == chosen).sum(axis=1) + 1) / 2
    return int((ranks / (inside.shape[1] + 1) <= 0.5).sum())


@cache
def _halves(n_blocks: int) -> FloatArray:
    """Give the ways with the first block in sample, of shape (C(S, S/2) / 2, S): the others are their complements."""
    rest = combinations(range(1, n_blocks), n_blocks // 2 - 1)
    chosen = np.array([(0, *blocks) for blocks in rest], dtype=np.int64)
    halves = np.zeros((len(chosen), n_blocks))
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    halves.flags.writeable = False
    return halves
