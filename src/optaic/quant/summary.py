"""The standard metrics of a backtest, by name, in one order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from optaic.quant import benchmark as relative
from optaic.quant import drawdown, holdings, performance, significance, trades
from optaic.quant.series import FloatArray, as_series, check_sessions_per_year
from optaic.quant.trades import Episodes

Figure = float | int | bool | str | None

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "sessions": "sessions",
        "sessions_per_year": "sessions",
        "total_return": "fraction",
        "annualized_return": "fraction_per_year",
        "cagr": "fraction_per_year",
        "volatility": "fraction_per_year",
        "sharpe_ratio": "ratio",
        "sharpe_ratio_standard_error": "ratio",
        "probabilistic_sharpe_ratio": "probability",
        "risk_free": "text",
        "sortino_ratio": "ratio",
        "calmar_ratio": "ratio",
        "max_drawdown": "fraction",
        "avg_drawdown": "fraction",
        "drawdown_duration": "sessions",
        "drawdown_open": "boolean",
        "var_95": "fraction",
        "cvar_95": "fraction",
        "skewness": "ratio",
        "kurtosis": "ratio",
        "ruined": "boolean",
        "beta": "ratio",
        "alpha": "fraction_per_year",
        "tracking_error": "fraction_per_year",
        "information_ratio": "ratio",
        "turnover": "fraction_per_year",
        "gross_exposure": "fraction",
        "net_exposure": "fraction",
        "num_trades": "count",
        "win_rate": "fraction",
        "profit_factor": "ratio",
        "avg_trade_return": "fraction",
        "avg_holding_period": "sessions",
        "open_episodes": "count",
        "survivorship": "fraction",
    }
)
"""The unit of each metric, in the order in which `summarize` gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What a backtest held and traded.

    Attributes
    ----------
    traded : array_like of shape (n_sessions,)
        What was traded in each session of the returns: 1/2 sum |w_target - w_drifted|, a fraction of the value; 0
        without a trade and for the first purchase. See `holdings.traded_fractions`.
    gross_exposures, net_exposures : array_like of shape (n_sessions,)
        Sums of absolute and of signed weights at each close of the returns, after drift.
    held_sessions : array_like of shape (n_symbols,)
        In how many sessions each symbol was held at the close.
    alive : array_like of shape (n_symbols,), bool
        Whether the symbol has a price at the end of the panel.
    num_trades
        Fills.
    episodes
        What `trades.find_episodes` made of the fills.
    """

    traded: npt.ArrayLike
    gross_exposures: npt.ArrayLike
    net_exposures: npt.ArrayLike
    held_sessions: npt.ArrayLike
    alive: npt.ArrayLike
    num_trades: int
    episodes: Episodes


def summarize(
    returns: npt.ArrayLike,
    *,
    sessions_per_year: float,
    calendar_days: int | None = None,
    risk_free: npt.ArrayLike | None = None,
    benchmark: npt.ArrayLike | None = None,
    book: Book | None = None,
) -> dict[str, Figure]:
    """Compute the standard metrics of a backtest.

    Parameters
    ----------
    returns : array_like of shape (n_sessions,)
        Simple returns per session, net of costs, as fractions; finite.
    sessions_per_year
        A, the constant of the calendar: XNYS 252, weekdays 260, every day 365.
    calendar_days
        From the date of V_0 (the session before the first return) to the date of V_T; without it there is no `cagr`.
    risk_free : array_like of shape (n_sessions,), optional
        What cash earned in each session, as a fraction per session; 0 without it, and `risk_free` is `none`.
    benchmark : array_like of shape (n_sessions,), optional
        Simple returns of the benchmark, as fractions per session.
    book
        What was held and traded.

    Returns
    -------
    dict of str to float, int, bool, str or None
        Every key of `UNITS`, in that order. A figure that is not defined is None, never NaN and never infinite.

    Raises
    ------
    InvalidInputError
        If a series (of the book too) has another length than the returns or a value that is not finite, or A is not
        positive.

    Notes
    -----
    ==========================  ======================================================================================
    case                        what is given
    ==========================  ======================================================================================
    no session                  `sessions` 0; every figure None, but the counts
    one session                 returns, drawdowns, quantiles; no volatility, no ratio, no moment
    constant returns            volatility 0 (up to rounding); no Sharpe ratio, its error, skewness or kurtosis
    all zero                    returns, volatility and drawdowns 0; no ratio
    no loss                     no Sortino ratio; without a drawdown no Calmar ratio, `drawdown_duration` 0
    a return of -1 or less      ruin: total return, `cagr` and `max_drawdown` are -1 and `ruined` is true, whatever
                                follows; figures of single sessions (mean, volatility, quantiles) take returns as given
    no benchmark, or one that   `beta`, `alpha`, `tracking_error`, `information_ratio` None, as far as they divide by it
    does not deviate
    no book                     all from `turnover` to `survivorship` None
    no closed episode, no loss  `win_rate` and the averages None; `profit_factor` None
    beyond float64              None
    ==========================  ======================================================================================

    Examples
    --------
    >>> figures = summarize([0.01, -0.005, 0.002], sessions_per_year=252)
    >>> round(figures["sharpe_ratio"], 6), figures["risk_free"], figures["beta"]
    (4.935082, 'none', None)
    """
    series = as_series(returns, "returns")
    check_sessions_per_year(sessions_per_year)
    cash = None if risk_free is None else as_series(risk_free, "risk_free", length=len(series))
    theirs = None if benchmark is None else as_series(benchmark, "benchmark", length=len(series))
    # Returns of any size are answered; what overflows on the way is no figure.
    with np.errstate(all="ignore"):
        figures: dict[str, Figure] = {
            "sessions": len(series),
            "sessions_per_year": sessions_per_year,
            **_own_figures(series, sessions_per_year, calendar_days, cash),
            **_relative_figures(series, sessions_per_year, theirs, cash),
            **_book_figures(len(series), sessions_per_year, book),
        }
    return {name: _clean(figures[name]) for name in UNITS}


def _clean(figure: Figure) -> Figure:
    return None if isinstance(figure, float) and not math.isfinite(figure) else figure


def _own_figures(
    series: FloatArray, sessions_per_year: float, calendar_days: int | None, cash: FloatArray | None
) -> dict[str, Figure]:
    excess = performance.excess(series, cash)
    error, probability = _significance(excess)
    duration = drawdown.drawdown_duration(series)
    days = 0 if calendar_days is None else calendar_days
    return {
        "total_return": performance.total_return(series),
        "annualized_return": performance.annualized_return(series, sessions_per_year=sessions_per_year),
        "cagr": performance.cagr(series, calendar_days=days),
        "volatility": performance.volatility(series, sessions_per_year=sessions_per_year),
        "sharpe_ratio": performance.sharpe_ratio(series, sessions_per_year=sessions_per_year, risk_free=cash),
        "sharpe_ratio_standard_error": math.sqrt(sessions_per_year) * error,
        "probabilistic_sharpe_ratio": probability,
        "risk_free": "none" if cash is None else "series",
        "sortino_ratio": performance.sortino_ratio(series, sessions_per_year=sessions_per_year),
        "calmar_ratio": drawdown.calmar_ratio(series, calendar_days=days),
        "max_drawdown": drawdown.max_drawdown(series),
        "avg_drawdown": drawdown.avg_drawdown(series),
        "drawdown_duration": duration.sessions if len(series) else None,
        "drawdown_open": duration.is_open if len(series) else None,
        "var_95": performance.var_95(series),
        "cvar_95": performance.cvar_95(series),
        "skewness": performance.skewness(series),
        "kurtosis": performance.kurtosis(series),
        "ruined": bool((series <= -1.0).any()) if len(series) else None,
    }


def _significance(excess: FloatArray) -> tuple[float, float]:
    ratio = performance.session_sharpe_ratio(excess)
    if not math.isfinite(ratio):
        return math.nan, math.nan
    skewness, kurtosis = performance.skewness(excess), performance.kurtosis(excess)
    if not (math.isfinite(skewness) and math.isfinite(kurtosis)):
        return math.nan, math.nan
    error = significance.sharpe_ratio_standard_error(
        ratio, n_sessions=len(excess), skewness=skewness, kurtosis=kurtosis
    )
    probability = significance.probabilistic_sharpe_ratio(
        ratio, n_sessions=len(excess), skewness=skewness, kurtosis=kurtosis
    )
    return error, probability


def _relative_figures(
    series: FloatArray, sessions_per_year: float, theirs: FloatArray | None, cash: FloatArray | None
) -> dict[str, Figure]:
    if theirs is None:
        return dict.fromkeys(("beta", "alpha", "tracking_error", "information_ratio"))
    return {
        "beta": relative.beta(series, theirs, risk_free=cash),
        "alpha": relative.alpha(series, theirs, sessions_per_year=sessions_per_year, risk_free=cash),
        "tracking_error": relative.tracking_error(series, theirs, sessions_per_year=sessions_per_year),
        "information_ratio": relative.information_ratio(series, theirs, sessions_per_year=sessions_per_year),
    }


_OF_EPISODES: Mapping[str, Callable[[Episodes], float]] = MappingProxyType(
    {
        "win_rate": trades.win_rate,
        "profit_factor": trades.profit_factor,
        "avg_trade_return": trades.avg_trade_return,
        "avg_holding_period": trades.avg_holding_period,
    }
)


def _book_figures(n_sessions: int, sessions_per_year: float, book: Book | None) -> dict[str, Figure]:
    if book is None:
        names = list(UNITS)
        return dict.fromkeys(names[names.index("turnover") :])
    traded = as_series(book.traded, "traded fractions", length=n_sessions)
    gross = as_series(book.gross_exposures, "gross exposures", length=n_sessions)
    net = as_series(book.net_exposures, "net exposures", length=n_sessions)
    return {
        "turnover": holdings.turnover(traded, sessions_per_year=sessions_per_year),
        "gross_exposure": float(np.mean(gross)) if n_sessions else None,
        "net_exposure": float(np.mean(net)) if n_sessions else None,
        "num_trades": book.num_trades,
        **{name: compute(book.episodes) for name, compute in _OF_EPISODES.items()},
        "open_episodes": int(book.episodes.is_open.sum()),
        "survivorship": holdings.survivorship(book.held_sessions, book.alive),
    }
