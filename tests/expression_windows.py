"""Functions along time, computed anew from their definitions, one window at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from optaic.quant.expression.tree import Call

Cells = Any
"""A matrix of numbers of sessions x symbols, or the cells of one window."""

NEEDS_TODAY = {"TS_RANK", "TS_ZSCORE", "TS_RESID"}


def along(call: Call, operands: list[Cells]) -> Cells:
    """Compute a statistic of each window from the cells that exist, and from how many sessions ago (0, -1, ...)."""
    sessions, symbols = operands[0].shape
    n = call.count("n")
    minimum = int(call.setting("min_periods") or n)
    found = np.full((sessions, symbols), np.nan)
    for symbol in range(symbols):
        for today in range(sessions):
            window = range(max(0, today - n + 1), today + 1)
            places = [t for t in window if not any(np.isnan(x[t, symbol]) for x in operands)]
            if len(places) < minimum or (call.function in NEEDS_TODAY and today not in places):
                continue
            cells = [x[places, symbol] for x in operands]
            if call.function in NULL_IF_FLAT and any(map(is_flat, cells)):
                continue
            if call.function in TIME:
                found[today, symbol] = TIME[call.function](*cells)
            else:
                found[today, symbol] = PLACED[call.function](cells[0], np.array(places) - today, call)
    return clean(found)


def is_flat(x: Cells) -> bool:
    return bool(np.ptp(x) <= 1e-14 * np.abs(x).max())


def _deviation(x: Cells) -> float:
    return float(np.std(x - x[0], ddof=1)) if len(x) > 1 else np.nan


def _covariance(x: Cells, y: Cells) -> float:
    return float(np.cov(x, y)[0, 1]) if len(x) > 1 else np.nan


def _fit(x: Cells, ago: Cells) -> tuple[float, Cells]:
    if len(x) < 2:
        return np.nan, np.full(len(x), np.nan)
    away = x - x[0]
    slope, intercept = np.polyfit(ago, away, 1)
    return float(slope), away - (intercept + slope * ago)


def _variance(x: Cells) -> float:
    return _deviation(x) ** 2


def _skewness(x: Cells) -> float:
    return float(stats.skew(x, bias=False)) if len(x) > 2 else np.nan


def _kurtosis(x: Cells) -> float:
    return float(stats.kurtosis(x, bias=False)) if len(x) > 3 else np.nan


def _share(x: Cells) -> float:
    return float(stats.rankdata(x)[-1] / len(x))


def _zscore(x: Cells) -> float:
    return float((x[-1] - np.mean(x)) / _deviation(x))


def _correlation(x: Cells, y: Cells) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _beta(x: Cells, y: Cells) -> float:
    return np.nan if is_flat(y) else float(np.polyfit((y - y.mean()) / np.std(y), x - x[0], 1)[0] / np.std(y))


def _quantile(x: Cells, ago: Cells, call: Call) -> float:
    return float(np.quantile(x, dict(call.settings)["q"]))


def _decay(x: Cells, ago: Cells, call: Call) -> float:
    return float(np.average(x, weights=call.count("n") + ago))


def _slope(x: Cells, ago: Cells, call: Call) -> float:
    return _fit(x, ago)[0]


def _rsquare(x: Cells, ago: Cells, call: Call) -> float:
    return float(1 - np.var(_fit(x, ago)[1]) / np.var(x - x[0]))


def _residual(x: Cells, ago: Cells, call: Call) -> float:
    return float(_fit(x, ago)[1][-1])


def _argmax(x: Cells, ago: Cells, call: Call) -> float:
    return float(-ago[np.flatnonzero(x == x.max())[-1]])


def _argmin(x: Cells, ago: Cells, call: Call) -> float:
    return float(-ago[np.flatnonzero(x == x.min())[-1]])


NULL_IF_FLAT = {"TS_SKEW", "TS_KURT", "TS_ZSCORE", "TS_CORR", "TS_RSQUARE"}
TIME: dict[str, Callable[..., float]] = {
    "TS_SUM": np.sum,
    "TS_COUNT": np.sum,
    "TS_PRODUCT": np.prod,
    "TS_MEAN": np.mean,
    "TS_STD": _deviation,
    "TS_VAR": _variance,
    "TS_MIN": np.min,
    "TS_MAX": np.max,
    "TS_MEDIAN": np.median,
    "TS_MAD": stats.median_abs_deviation,
    "TS_SKEW": _skewness,
    "TS_KURT": _kurtosis,
    "TS_RANK": _share,
    "TS_ZSCORE": _zscore,
    "TS_CORR": _correlation,
    "TS_COV": _covariance,
    "TS_BETA": _beta,
}
"""Of the cells that exist, in each series."""

PLACED: dict[str, Callable[[Cells, Cells, Call], float]] = {
    "TS_QUANTILE": _quantile,
    "TS_DECAY": _decay,
    "TS_SLOPE": _slope,
    "TS_RSQUARE": _rsquare,
    "TS_RESID": _residual,
    "TS_ARGMAX": _argmax,
    "TS_ARGMIN": _argmin,
}
"""Of the cells that exist, of how many sessions ago they are, and of the constants of the call."""


def _shift(x: Cells, n: int) -> Cells:
    return pd.DataFrame(x).shift(n).to_numpy()


def _ema(x: Cells, call: Call) -> Cells:
    """Weigh as the manual of pandas says for adjust=False: (1 - alpha) ** sessions, normalised."""
    n = call.count("n")
    alpha, found = 2 / (n + 1), np.full(x.shape, np.nan)
    for symbol, cells in enumerate(x.T):
        mean, last, seen = np.nan, 0, 0
        for today, cell in enumerate(cells):
            if np.isnan(cell):
                continue
            old = (1 - alpha) ** (today - last)
            mean = cell if seen == 0 else (old * mean + alpha * cell) / (old + alpha)
            last, seen = today, seen + 1
            found[today, symbol] = mean if seen >= n else np.nan
    return found


WHOLE: dict[str, Callable[[Cells, Call], Cells]] = {
    "TS_REF": lambda x, call: _shift(x, call.count("n")),
    "LEAD": lambda x, call: _shift(x, -call.count("n")),
    "TS_DELTA": lambda x, call: x - _shift(x, call.count("n")),
    "TS_RETURN": lambda x, call: x / _shift(x, call.count("n")) - 1,
    "TS_EMA": _ema,
    "TS_FFILL": lambda x, call: pd.DataFrame(x).ffill(limit=call.count("limit")).to_numpy(),
}


def clean(cells: Cells) -> Cells:
    """Make infinity NaN."""
    return np.where(np.isfinite(cells), cells, np.nan)
