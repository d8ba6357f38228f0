"""Real returns for the tests of numerics: 20 stocks and the S&P 500 price index, 1990-01-02 to 2022-12-28."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from skfolio.datasets import load_sp500_dataset, load_sp500_index


@cache
def stock_prices() -> npt.NDArray[np.float64]:
    """Give closes of shape (8313, 20)."""
    return load_sp500_dataset().to_numpy(dtype=np.float64)


@cache
def index_prices() -> npt.NDArray[np.float64]:
    """Give closes of shape (8313,)."""
    return load_sp500_index().to_numpy(dtype=np.float64)[:, 0]


@cache
def sessions() -> npt.NDArray[np.datetime64]:
    """Give the 8313 sessions."""
    return load_sp500_index().index.to_numpy().astype("datetime64[D]")


def portfolio_returns() -> npt.NDArray[np.float64]:
    """Give the 8312 returns of all stocks in equal weights, rebalanced at each close."""
    prices = stock_prices()
    return (prices[1:] / prices[:-1] - 1.0).mean(axis=1)


def index_returns() -> npt.NDArray[np.float64]:
    """Give the 8312 returns of the index."""
    prices = index_prices()
    return prices[1:] / prices[:-1] - 1.0
