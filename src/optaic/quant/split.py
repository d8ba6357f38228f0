"""Which sessions a model is trained on, and which it then predicts: walk-forward, purged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.series import BoolArray, FloatArray

METHOD = "walk_forward"
"""The name of the split, as versions of models state it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One fit of a walk-forward: places of sessions, from 0, all inclusive.

    Attributes
    ----------
    train_first, train_last
        The sessions of the samples that may be trained on.
    label_last
        The last session that a label of them reaches.
    test_first, test_last
        The sessions of the test block: what the fit predicts until the next one takes over.
    """

    train_first: int
    train_last: int
    label_last: int
    test_first: int
    test_last: int


def walk_forward(
    n_sessions: int,
    *,
    every: int,
    min_train: int,
    reach: int,
    window: int | None = None,
    first: int = 0,
    embargo: int = 0,
) -> tuple[Fold, ...]:
    """Plan the fits of a walk-forward: each is trained on the past, and predicts the next `every` sessions.

    Parameters
    ----------
    n_sessions
        How many sessions there are, those without a label included.
    every
        Sessions from one fit to the next: the size of a test block, the last of which may be shorter.
    min_train
        Sessions that the first fit is trained on.
    reach
        lag + horizon: sessions from a sample to the end of its label. At least 1.
    window
        Sessions that a fit is trained on at most; None for all from the first on (expanding).
    first
        The first session that has features.
    embargo
        Sessions between the last label and the test block.

    Returns
    -------
    tuple of Fold
        In order of time; empty if there are too few sessions. The blocks follow each other without a gap up to the last
        session, and more sessions change no fold but the last one's end.

    Raises
    ------
    InvalidInputError
        If a number is out of its range, or the window is shorter than `min_train`.

    Notes
    -----
    Purge: a sample s is dropped if [s, s + reach] meets [test_first, test_last + reach] (Lopez de Prado 2018, chapter
    7). As all samples are before the test block, what is left are those with s + reach < test_first. Nothing is trained
    after a test block before a later one begins, so an embargo acts here as a further distance before the block.

    Examples
    --------
    >>> [
    ...     (f.train_first, f.train_last, f.test_first, f.test_last)
    ...     for f in walk_forward(10, every=3, min_train=4, reach=2)
    ... ]
    [(0, 3, 6, 8), (0, 6, 9, 9)]
    """
    _check(every=every, min_train=min_train, reach=reach, embargo=embargo, window=window)
    folds: list[Fold] = []
    test_first = first + min_train + reach + embargo
    while test_first < n_sessions:
        train_last = test_first - embargo - reach - 1
        folds.append(
            Fold(
                train_first=first if window is None else max(first, train_last - window + 1),
                train_last=train_last,
                label_last=train_last + reach,
                test_first=test_first,
                test_last=min(test_first + every, n_sessions) - 1,
            )
        )
        test_first += every
    return tuple(folds)


def _check(*, every: int, min_train: int, reach: int, embargo: int, window: int | None) -> None:
    for name, value, least in (
        ("every", every, 1),
        ("min_train", min_train, 1),
        ("lag + horizon", reach, 1),
        ("embargo", embargo, 0),
    ):
        if value < least:
            raise InvalidInputError(f"{name} is {value}", next_step=f"give {least} or more sessions")
    if window is not None and window < min_train:
        raise InvalidInputError(
            f"a window of {window} sessions never holds the {min_train} of min_train",
            next_step="make the window longer, or min_train smaller",
        )


def purge(samples: npt.ArrayLike, *, reach: int, test_first: int, test_last: int, embargo: int = 0) -> BoolArray:
    """Say which samples may be trained on beside a test block: those whose label meets none of the block's.

    Parameters
    ----------
    samples : array_like of shape (n_samples,), int
        Places of sessions, in any order.
    reach
        lag + horizon: sessions from a sample to the end of its label.
    test_first, test_last
        The test block, inclusive.
    embargo
        Sessions after the block's last label whose samples are dropped too.

    Returns
    -------
    ndarray of shape (n_samples,), bool
        True for those that may be used. Empty for no samples.

    Notes
    -----
    s is dropped if [s, s + reach] meets [test_first, test_last + reach + embargo] (Lopez de Prado 2018, snippets 7.1
    and 7.2).

    Examples
    --------
    >>> purge([0, 1, 2, 3, 8, 9, 10], reach=2, test_first=4, test_last=6).tolist()
    [True, True, False, False, False, True, True]
    """
    places = np.asarray(samples, dtype=np.int64)
    return (places + reach < test_first) | (places > test_last + reach + embargo)


def date_weights(sessions: npt.ArrayLike, *, half_life: float | None = None) -> FloatArray:
    """Weigh samples so that each session counts the same, or less the older it is.

    Parameters
    ----------
    sessions : array_like of shape (n_samples,), int
        The session of each sample.
    half_life
        Sessions after which a session counts half; None for never.

    Returns
    -------
    ndarray of shape (n_samples,), float64
        With mean 1. Empty for no samples.

    Raises
    ------
    InvalidInputError
        If the half-life is not positive.

    Examples
    --------
    >>> date_weights([0, 0, 1]).tolist()
    [0.75, 0.75, 1.5]
    """
    places = np.asarray(sessions, dtype=np.int64)
    if half_life is not None and not half_life > 0:
        raise InvalidInputError(f"a half-life of {half_life} sessions", next_step="give more than 0")
    if not len(places):
        return np.zeros(0)
    _, inverse, counts = np.unique(places, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[inverse]
    if half_life is not None:
        weights = weights * 0.5 ** ((places.max() - places) / half_life)
    return weights / weights.mean()


def uniqueness_weights(sessions: npt.ArrayLike, names: npt.ArrayLike, *, lag: int, horizon: int) -> FloatArray:
    """Weigh samples by how much of their label no other label of the same name shares.

    Parameters
    ----------
    sessions, names : array_like of shape (n_samples,), int
        The session and the name of each sample, each pair once.
    lag, horizon
        The label of s spans the returns of the sessions s + lag + 1 to s + lag + horizon.

    Returns
    -------
    ndarray of shape (n_samples,), float64
        Average uniqueness, the mean over the label's sessions of one over the number of labels that span them (Lopez
        de Prado 2018, snippet 4.2); then scaled to mean 1. Empty for no samples.

    Examples
    --------
    >>> uniqueness_weights([0, 1, 5], [0, 0, 0], lag=1, horizon=2).round(4).tolist()
    [0.9, 0.9, 1.2]
    """
    places, who = np.asarray(sessions, dtype=np.int64), np.asarray(names, dtype=np.int64)
    if not len(places):
        return np.zeros(0)
    start = places.min()
    length = int(places.max() - start) + lag + horizon + 2
    weights = np.empty(len(places))
    for name in np.unique(who):
        mine = np.flatnonzero(who == name)
        begin = places[mine] - start + lag + 1
        edges = np.zeros(length + 1)
        np.add.at(edges, begin, 1.0)
        np.add.at(edges, begin + horizon, -1.0)
        shares = np.concatenate([[0.0], np.cumsum(1.0 / np.maximum(np.cumsum(edges), 1.0))])
        weights[mine] = (shares[begin + horizon] - shares[begin]) / horizon
    return weights / weights.mean()
