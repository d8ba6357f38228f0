"""Real returns for the tests of numerics: 20 stocks and the S&P 500 price index, 1990-01-02 to 2022-12-28."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.sources import sp500


@cache
def _table(name: str) -> pl.DataFrame:
    return sp500._read(name)


def stock_prices() -> npt.NDArray[np.float64]:
    """Give closes of shape (8313, 20)."""
    return _table("sp500_dataset").drop("date").to_numpy().astype(np.float64)


def index_prices() -> npt.NDArray[np.float64]:
    """Give closes of shape (8313,)."""
    return _table("sp500_index").drop("date").to_numpy().astype(np.float64)[:, 0]


def sessions() -> npt.NDArray[np.datetime64]:
    """Give the 8313 sessions."""
    return _table("sp500_index")["date"].to_numpy().astype("datetime64[D]")


def portfolio_returns() -> npt.NDArray[np.float64]:
    """Give the 8312 returns of all stocks in equal weights, rebalanced at each close."""
    prices = stock_prices()
    return (prices[1:] / prices[:-1] - 1.0).mean(axis=1)


def index_returns() -> npt.NDArray[np.float64]:
    """Give the 8312 returns of the index."""
    prices = index_prices()
    return prices[1:] / prices[:-1] - 1.0
