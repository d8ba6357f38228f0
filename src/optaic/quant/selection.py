"""From scores to target weights: which names, how much of each, and within which limits."""

from __future__ import annotations

import math

import numpy as np

from optaic.errors import InvalidInputError
from optaic.quant.panel import Booleans, Floats

_ROUNDING = 1e-9
"""What 0.2 x 15 may lack of 3 in floating point."""


def select_targets(
    signal: Floats,
    *,
    top: float,
    eligible: Booleans | None = None,
    decided: Booleans | None = None,
    gross: float = 1.0,
    net: float | None = None,
    is_long_short: bool = False,
) -> tuple[Floats, Booleans]:
    """Give equal weights to the names with the highest signals, and, if asked, negative ones to the lowest.

    Of the n names that are eligible in a session and have a signal, k = max(1, floor(top x n + 1e-9)) are taken: the
    first k of the ranking by signal, highest first, and among equal signals by column. Columns in the order of
    symbols break ties by symbol. Long-short sells the last k of the same ranking.

    Parameters
    ----------
    signal : ndarray of shape (n_sessions, n_symbols), float64
        Any scores; NaN is null, and never selected.
    top : float
        Share of the names that is taken, in (0, 1]; with `is_long_short` on each side, in (0, 0.5].
    eligible : ndarray of shape (n_sessions, n_symbols), bool, optional
        Members of the universe that have prices. All names if left out.
    decided : ndarray of shape (n_sessions,), bool, optional
        The sessions in which to decide, from `decide_sessions`. All if left out.
    gross : float
        Sum of absolute weights.
    net : float, optional
        Sum of weights. Long-only it is `gross`, long-short 0 if left out; the long side has (gross + net) / 2.
    is_long_short : bool
        Whether to sell as well.

    Returns
    -------
    targets : ndarray of shape (n_sessions, n_symbols), float64
        Weights as fractions of the portfolio's value; zeros in sessions without a decision.
    decided : ndarray of shape (n_sessions,), bool
        The sessions asked for in which there was somebody to select (long-short: at least two names). In the others no
        decision is taken: what is held is kept.

    Raises
    ------
    InvalidInputError
        If shapes differ, if `top` or `gross` is out of range, or if `net` does not fit `gross` and the sides.

    Notes
    -----
    Infinite signals rank as what they are. Empty input gives empty output.

    Examples
    --------
    >>> targets, decided = select_targets(np.array([[3.0, np.nan, 1.0, 2.0]]), top=0.7)
    >>> targets.tolist(), decided.tolist()
    ([[0.5, 0.0, 0.0, 0.5]], [True])
    """
    long_side, short_side = check_selection(top=top, gross=gross, net=net, is_long_short=is_long_short)
    for name, mask, shape in (("eligible", eligible, signal.shape), ("decided", decided, signal.shape[:1])):
        if mask is not None and mask.shape != shape:
            raise InvalidInputError(f"{name} has shape {mask.shape}", next_step=f"give bool of shape {shape}")
    targets = np.zeros(signal.shape)
    taken = np.zeros(len(signal), dtype=np.bool_)
    for t in range(len(signal)) if decided is None else np.flatnonzero(decided).tolist():
        possible = ~np.isnan(signal[t])
        if eligible is not None:
            possible &= eligible[t]
        names = np.flatnonzero(possible)
        if len(names) < (2 if is_long_short else 1):
            continue
        count = max(1, math.floor(top * len(names) + _ROUNDING))
        ranking = names[np.argsort(-signal[t, names], kind="stable")]
        targets[t, ranking[:count]] = long_side / count
        if is_long_short:
            targets[t, ranking[-count:]] = -short_side / count
        taken[t] = True
    return targets, taken


def check_selection(*, top: float, gross: float, net: float | None, is_long_short: bool) -> tuple[float, float]:
    """Refuse a selection that cannot be made; give the sums of the weights of its two sides, both positive.

    Parameters
    ----------
    top, gross, net, is_long_short
        As for `select_targets`.

    Returns
    -------
    tuple of float
        What the long side adds up to, and the short side.

    Raises
    ------
    InvalidInputError
        If `top` or `gross` is out of range, or if `net` does not fit `gross` and the sides.
    """
    for name, value in (("top", top), ("gross", gross), ("net", net)):
        if not isinstance(value, int | float) or isinstance(value, bool):
            if name == "net" and value is None:
                continue
            raise InvalidInputError(f"{name} is {value!r}", next_step="give a number")
    if not 0 < top <= (0.5 if is_long_short else 1.0):
        raise InvalidInputError(
            f"top is {top!r}", next_step="give a share above 0, at most 1, or 0.5 where both sides are taken"
        )
    return _split_sides(gross, net, is_long_short=is_long_short)


def cap_weights(
    weights: Floats, *, max_weight: float | None = None, gross: float | None = None, net: float | None = None
) -> Floats:
    """Keep the weights of one decision within limits, in this order; what is cut stays in cash.

    1. `max_weight`: each weight is clipped to [-max_weight, max_weight].
    2. `net`: if the sum is above `net`, the long weights are scaled until it is `net`; if it is below -`net`, the
       short ones.
    3. `gross`: if the absolute weights add up to more, all are scaled by gross / sum.

    Each step keeps what the steps before it have reached.

    Parameters
    ----------
    weights : ndarray of shape (n_symbols,), float64
        Fractions of the portfolio's value; finite.
    max_weight, gross, net : float, optional
        The limits, as fractions; None is no limit.

    Returns
    -------
    ndarray of shape (n_symbols,), float64
        The weights; the same array where no limit is given.

    Examples
    --------
    >>> cap_weights(np.array([0.8, 0.4, -0.2]), max_weight=0.5).tolist()
    [0.5, 0.4, -0.2]
    >>> cap_weights(np.array([0.8, 0.4, -0.2]), net=0.4).round(10).tolist()
    [0.4, 0.2, -0.2]
    >>> cap_weights(np.array([0.75, -0.75]), gross=1.0).tolist()
    [0.5, -0.5]
    """
    if max_weight is not None:
        weights = np.clip(weights, -max_weight, max_weight)
    if net is not None:
        long_sum = float(weights[weights > 0].sum())
        short_sum = -float(weights[weights < 0].sum())
        if long_sum - short_sum > net:
            weights = np.where(weights > 0, weights * ((net + short_sum) / long_sum), weights)
        elif short_sum - long_sum > net:
            weights = np.where(weights < 0, weights * ((net + long_sum) / short_sum), weights)
    if gross is not None:
        total = float(np.abs(weights).sum())
        if total > gross:
            weights = weights * (gross / total)
    return weights


def _split_sides(gross: float, net: float | None, *, is_long_short: bool) -> tuple[float, float]:
    if not 0 < gross < math.inf:
        raise InvalidInputError(f"gross is {gross!r}", next_step="give a finite number above 0")
    if not is_long_short:
        if net is not None and net != gross:
            raise InvalidInputError(
                f"net is {net!r} and gross is {gross!r}, but there are only purchases",
                next_step="leave net out, or select long-short",
            )
        return gross, 0.0
    wanted = 0.0 if net is None else net
    if not abs(wanted) <= gross:
        raise InvalidInputError(
            f"net is {net!r} and gross is {gross!r}", next_step="give a net between -gross and gross"
        )
    return (gross + wanted) / 2, (gross - wanted) / 2
