"""Expected returns that were given, as an estimator of skfolio's; imported only where skfolio is used."""

from __future__ import annotations

from typing import Any

import numpy as np
from skfolio.moments import BaseMu


class GivenReturns(BaseMu):
    """Estimates nothing: what is expected was said from outside.

    Parameters
    ----------
    mu : ndarray of shape (n_symbols,), float64
        Simple returns per session, as fractions.
    """

    def __init__(self, mu: Any = None) -> None:
        self.mu = mu

    def fit(self, X: Any, y: Any = None) -> GivenReturns:  # noqa: N803 - scikit-learn's interface
        """Take the given returns as the estimate.

        Raises
        ------
        ValueError
            If there is not one for each column of X.
        """
        expected = np.asarray(self.mu, dtype=np.float64)
        if expected.shape != (X.shape[1],):
            raise ValueError(f"{expected.size} expected returns were given for {X.shape[1]} names")
        self.n_features_in_ = X.shape[1]
        self.mu_ = expected
        return self
