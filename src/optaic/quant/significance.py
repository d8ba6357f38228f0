"""How much of a Sharpe ratio could be luck: its standard error, and what the best of many trials shows anyway.

Here every Sharpe ratio is per session, not annualised: SR = mean(r - rf) / std(r - rf, ddof=1). g3 is the biased
skewness of the returns, g4 their biased raw kurtosis (3 for a normal distribution).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from optaic.errors import InvalidInputError
from optaic.quant.series import FloatArray, as_panel

EULER_GAMMA = 0.5772156649015329
_NORMAL = NormalDist()


def sharpe_ratio_standard_error(
    sharpe_ratio: float, *, n_sessions: int, skewness: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Compute sqrt((1 - g3 SR + (g4 - 1)/4 SR^2) / (T - 1)) (Mertens 2002; Bailey and Lopez de Prado 2012).

    Parameters
    ----------
    sharpe_ratio
        SR, per session.
    n_sessions
        T, the returns that it was estimated from.
    skewness, kurtosis
        g3 and g4 of those returns.

    Returns
    -------
    float
        Per session; times sqrt(A) it is the standard error of the annualised ratio. NaN for fewer than two sessions.

    Raises
    ------
    InvalidInputError
        If no distribution has such moments: g4 < g3^2 + 1.

    Examples
    --------
    >>> round(sharpe_ratio_standard_error(0.1, n_sessions=253), 6)
    0.063151
    """
    if n_sessions < 2:
        return math.nan
    return math.sqrt(_variance_factor(sharpe_ratio, skewness, kurtosis) / (n_sessions - 1))


def _variance_factor(sharpe_ratio: float, skewness: float, kurtosis: float) -> float:
    # Pearson's inequality, g4 >= g3^2 + 1, keeps the factor from being negative; a sample's moments obey it.
    bound = skewness * skewness + 1.0
    if kurtosis < bound * (1.0 - 1e-9):
        raise InvalidInputError(
            f"no distribution has skewness {skewness:g} and kurtosis {kurtosis:g}",
            next_step="give the raw kurtosis, 3 for a normal distribution, not the excess",
        )
    return max(1.0 - skewness * sharpe_ratio + (kurtosis - 1.0) / 4.0 * sharpe_ratio * sharpe_ratio, 0.0)


def probabilistic_sharpe_ratio(
    sharpe_ratio: float, *, n_sessions: int, threshold: float = 0.0, skewness: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Compute the probability that the true Sharpe ratio exceeds a threshold (Bailey and Lopez de Prado 2012).

    PSR(SR*) = Phi[(SR - SR*) / standard error].

    Parameters
    ----------
    sharpe_ratio
        SR, per session.
    n_sessions
        T, the returns that it was estimated from.
    threshold
        SR*, per session.
    skewness, kurtosis
        g3 and g4 of those returns.

    Returns
    -------
    float
        A probability; NaN for fewer than two sessions, and where the standard error is 0.

    Raises
    ------
    InvalidInputError
        If no distribution has such moments: g4 < g3^2 + 1.

    Examples
    --------
    Two years of monthly returns with an annual ratio of 1.585, from the paper:

    >>> round(probabilistic_sharpe_ratio(1.585 / 12**0.5, n_sessions=24, skewness=-2.448, kurtosis=10.164), 6)
    0.913234
    """
    error = sharpe_ratio_standard_error(sharpe_ratio, n_sessions=n_sessions, skewness=skewness, kurtosis=kurtosis)
    return _normal_cdf((sharpe_ratio - threshold) / error) if error > 0 else math.nan


def _normal_cdf(value: float) -> float:
    # Not NormalDist.cdf: that one loses the digits of small probabilities.
    return 0.5 * math.erfc(-value / math.sqrt(2.0))


def expected_max_sharpe(n_trials: float) -> float:
    """Compute the expected largest of N independent standard normal figures (Bailey and Lopez de Prado 2014).

    E[max of N] = (1 - g) Z^-1[1 - 1/N] + g Z^-1[1 - 1/(N e)], g = 0.5772156649.

    Parameters
    ----------
    n_trials
        N, at least 1; the effective number of trials need not be whole.

    Returns
    -------
    float
        In standard deviations of the trials' Sharpe ratios. 0 for one trial, and never less: the approximation falls
        below 0 for an effective number between 1 and 1.3.

    Raises
    ------
    InvalidInputError
        If the number of trials is below 1, or not finite.

    Examples
    --------
    >>> round(expected_max_sharpe(100), 6)
    2.530603
    """
    if not (math.isfinite(n_trials) and n_trials >= 1):
        raise InvalidInputError(f"there cannot be {n_trials} trials", next_step="count the trial itself: 1 or more")
    if n_trials == 1:
        return 0.0
    # Z^-1[1 - p] = -Z^-1[p], which keeps its digits when there are very many trials.
    first, second = _NORMAL.inv_cdf(1.0 / n_trials), _NORMAL.inv_cdf(1.0 / (n_trials * math.e))
    return max(-(1.0 - EULER_GAMMA) * first - EULER_GAMMA * second, 0.0)


def deflated_sharpe_ratio(
    sharpe_ratio: float,
    *,
    n_sessions: int,
    n_trials: float,
    trial_variance: float,
    skewness: float = 0.0,
    kurtosis: float = 3.0,
) -> float:
    """Compute the deflated Sharpe ratio, in its 2014 form (Bailey and Lopez de Prado 2014).

    The probabilistic Sharpe ratio against SR* = sqrt(V[SR_n]) E[max of N]: against what the best of so many trials
    without skill is expected to show.

    Parameters
    ----------
    sharpe_ratio
        SR of the selected trial, per session.
    n_sessions
        T, the returns that it was estimated from.
    n_trials
        N, the independent trials; see `effective_trials`.
    trial_variance
        V[SR_n], the variance of the trials' Sharpe ratios, per session (an annualised variance divided by A).
    skewness, kurtosis
        g3 and g4 of the selected trial's returns.

    Returns
    -------
    float
        A probability; NaN for fewer than two sessions, and where the standard error is 0.

    Raises
    ------
    InvalidInputError
        If the variance is negative or not finite, the number of trials below 1, or no distribution has such moments.

    Examples
    --------
    An annual ratio of 2.5, the best of 100 trials whose annual variance is 0.5, over five years of 250 days, from the
    paper:

    >>> best = {"n_sessions": 1250, "n_trials": 100, "trial_variance": 0.5 / 250}
    >>> round(deflated_sharpe_ratio(2.5 / 250**0.5, skewness=-3, kurtosis=10, **best), 6)
    0.900397
    """
    if not (math.isfinite(trial_variance) and trial_variance >= 0):
        raise InvalidInputError(
            f"the variance of the trials' Sharpe ratios cannot be {trial_variance}",
            next_step="give the variance over at least two trials, per session",
        )
    return probabilistic_sharpe_ratio(
        sharpe_ratio,
        n_sessions=n_sessions,
        threshold=math.sqrt(trial_variance) * expected_max_sharpe(n_trials),
        skewness=skewness,
        kurtosis=kurtosis,
    )


def minimum_track_record_length(
    sharpe_ratio: float,
    *,
    threshold: float = 0.0,
    confidence: float = 0.95,
    skewness: float = 0.0,
    kurtosis: float = 3.0,
) -> float:
    """Compute the sessions after which a Sharpe ratio would exceed a threshold with confidence.

    1 + (1 - g3 SR + (g4 - 1)/4 SR^2) (Z_a / (SR - SR*))^2 (Bailey and Lopez de Prado 2012).

    Parameters
    ----------
    sharpe_ratio
        SR, per session.
    threshold
        SR*, per session.
    confidence
        a, between 0.5 and 1.
    skewness, kurtosis
        g3 and g4 of the returns.

    Returns
    -------
    float
        Sessions, not rounded; divided by A it is years. NaN where SR does not exceed SR*: no record is long enough.

    Raises
    ------
    InvalidInputError
        If the confidence is not between 0.5 and 1, or no distribution has such moments.

    Examples
    --------
    A daily strategy with an annual ratio of 2, against 1, in years of 250 days, from the paper:

    >>> round(minimum_track_record_length(2 / 250**0.5, threshold=1 / 250**0.5) / 250, 4)
    2.7312
    """
    if not 0.5 <= confidence < 1:
        raise InvalidInputError(f"a confidence of {confidence} is not between 0.5 and 1", next_step="for example 0.95")
    factor = _variance_factor(sharpe_ratio, skewness, kurtosis)
    margin = sharpe_ratio - threshold
    if not margin > 0:
        return math.nan
    quantile = _NORMAL.inv_cdf(confidence) / margin
    return 1.0 + factor * quantile * quantile


def effective_trials(returns: npt.ArrayLike) -> float:
    """Compute how many independent trials so many correlated ones are worth: rho + (1 - rho) N.

    Parameters
    ----------
    returns : array_like of shape (n_sessions, n_trials)
        Simple returns per session of each trial, as fractions, over the same sessions; NaN is refused.

    Returns
    -------
    float
        Between 1 and N; 0 for no trial. rho is the mean pairwise correlation, floored at 0 (Bailey and Lopez
        de Prado 2014).

    Raises
    ------
    InvalidInputError
        If the array has not two dimensions, or a value is missing.

    Notes
    -----
    A trial whose returns do not deviate has no correlation: it counts as one, uncorrelated with all others.

    Examples
    --------
    >>> returns = np.array([[0.01, 0.02], [-0.01, -0.02], [0.03, 0.06]])
    >>> round(effective_trials(returns), 6)
    1.0
    """
    panel = as_panel(returns, "returns of the trials")
    if np.isnan(panel).any():
        raise InvalidInputError(
            "the trials' returns have missing values",
            next_step="give the trials over the sessions that all of them have",
        )
    n_trials = panel.shape[1]
    if n_trials < 2:
        return float(n_trials)
    # The sum over all pairs is the square of the sum: no matrix of N x N is made.
    together = _standardize(panel).sum(axis=1)
    standing = float(np.count_nonzero(_spreads(panel)))
    rho = max((float(together @ together) - standing) / (n_trials * (n_trials - 1)), 0.0)
    return rho + (1.0 - rho) * n_trials


def _spreads(panel: FloatArray) -> FloatArray:
    centred = panel - panel.mean(axis=0) if len(panel) else panel
    spreads = np.sqrt(np.square(centred).sum(axis=0))
    return np.where(spreads > 1e-13 * max(1.0, float(np.abs(panel).max(initial=0.0))), spreads, 0.0)


def _standardize(panel: FloatArray) -> FloatArray:
    spreads = _spreads(panel)
    centred = panel - panel.mean(axis=0) if len(panel) else panel
    return np.divide(centred, spreads, out=np.zeros_like(centred), where=spreads > 0)
