"""How a backtest is simulated: what it starts with, when it trades, what that costs, and what limits it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, get_args

from optaic.errors import InvalidInputError

Execution = Literal["close", "open"]

MISSING_SESSIONS = 5
"""A position stands at its last price for so many sessions in a row without a close; the next one ends it."""

STRESSED_DELISTING_RETURN = -0.30
"""What a backtest with delisted names is repeated with (Shumway 1997, for delistings from NYSE and AMEX)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """The simulator's options; whatever is left out has the value that a careful person would take.

    Parameters
    ----------
    capital : float
        What the portfolio is worth before its first session, in the currency of the prices. Positive.
    execution : {"close", "open"}
        The price at which orders are filled.
    lag : int
        Sessions from the decision to the trade. At least 1, unless `same_bar`.
    same_bar : bool
        Trade in the session of the decision itself, at prices that the decision may have seen. Labelled: see
        `is_same_bar`.
    costs_bps, slippage_bps : float
        Basis points of traded notional, on purchases and on sales. Both leave cash; fills are shown at the market's
        price.
    borrow_bps : float
        Annual simple rate on the market value of short positions, in basis points; Act/360.
    max_weight : float, optional
        No target is larger than this in absolute value; what is cut stays in cash.
    gross : float, optional
        The absolute targets add up to no more than this; if they do, all are scaled by the same factor.
    net : float, optional
        The targets add up to no more than this in absolute value; the longer side is scaled. 0 is market neutral.
    no_trade_band : float
        An order is sent only if target and drifted weight differ by more than this (fraction of the value before the
        trade). It then goes the whole way. Exits are orders like others.
    max_turnover : float, optional
        If the orders of a rebalance are worth more than this, one-way (half of the traded notional as a fraction of the
        value before the trade), all are scaled by the same factor. The first purchase is not limited.
    delisting_return : float
        The return, from its last price, of a name that stopped having prices and whose own delisting return is not
        known.
    tranches : int
        Only 1: overlapping portfolios are not simulated yet.
    impact : bool
        Only False: market impact, and orders carried over because they are large, are not simulated yet.

    Raises
    ------
    InvalidInputError
        If an option is not a finite number in its range, if `lag` and `same_bar` contradict each other, or if
        something is asked for that is not simulated yet.
    """

    capital: float = 1.0e7
    execution: Execution = "close"
    lag: int = 1
    same_bar: bool = False
    costs_bps: float = 10.0
    slippage_bps: float = 0.0
    borrow_bps: float = 50.0
    max_weight: float | None = None
    gross: float | None = None
    net: float | None = None
    no_trade_band: float = 0.0
    max_turnover: float | None = None
    delisting_return: float = 0.0
    tranches: int = 1
    impact: bool = False

    def __post_init__(self) -> None:
        if self.execution not in get_args(Execution):
            raise InvalidInputError(
                f"execution is {self.execution!r}", next_step='take execution="close" or execution="open"'
            )
        _check_lag(self.lag, is_same_bar=self.same_bar)
        if self.tranches != 1:
            raise InvalidInputError(
                f"tranches is {self.tranches}, and overlapping portfolios are not simulated yet",
                next_step="leave tranches out, or simulate each offset by itself and average their values",
            )
        if self.impact:
            raise InvalidInputError(
                "market impact is not simulated yet, nor are orders carried over because they are large",
                next_step="leave impact out; the results say `impact: none`",
            )
        for name in ("capital", "max_weight", "gross", "max_turnover"):
            _check_number(name, getattr(self, name), above=0.0)
        for name in ("costs_bps", "slippage_bps", "borrow_bps", "net", "no_trade_band"):
            _check_number(name, getattr(self, name), least=0.0)
        _check_number("delisting_return", self.delisting_return, least=-1.0)

    @property
    def delay(self) -> int:
        """Sessions from the decision to the trade: `lag`, or 0 with `same_bar`."""
        return 0 if self.same_bar else self.lag

    @property
    def is_same_bar(self) -> bool:
        """Whether it trades at prices that the decision may have seen; such a result can't be promoted."""
        return self.same_bar

    @property
    def cost_rate(self) -> float:
        """What a trade costs, as a fraction of its notional."""
        return (self.costs_bps + self.slippage_bps) / 1e4

    def with_delisting_return(self, delisting_return: float = STRESSED_DELISTING_RETURN) -> SimulatorOptions:
        """Return the same options with another return for delisted names whose own is not known.

        Parameters
        ----------
        delisting_return : float
            Return from the last price, as a fraction; at least -1.
        """
        return replace(self, delisting_return=delisting_return)


class BacktestOptions(TypedDict, total=False):
    """The options of `optaic.backtest`; what they mean, and what they are if left out, stands at `SimulatorOptions`."""

    capital: float
    execution: Execution
    lag: int
    same_bar: bool
    costs_bps: float
    slippage_bps: float
    borrow_bps: float
    max_weight: float | None
    gross: float | None
    net: float | None
    no_trade_band: float
    max_turnover: float | None
    delisting_return: float
    tranches: int
    impact: bool


def _check_lag(lag: object, *, is_same_bar: bool) -> None:
    if not isinstance(lag, int) or isinstance(lag, bool) or lag < 0:
        raise InvalidInputError(f"lag is {lag!r}", next_step="give a whole number of sessions, 1 or more")
    if lag == 0 and not is_same_bar:
        raise InvalidInputError(
            "lag is 0: the trade would be made at prices that the decision may have seen",
            next_step="take lag=1, or say same_bar=True; such a backtest is labelled and can't be promoted",
        )
    if lag > 1 and is_same_bar:
        raise InvalidInputError(
            f"lag is {lag} and same_bar is True: they contradict each other", next_step="leave one of them out"
        )


def _check_number(name: str, value: object, *, least: float | None = None, above: float | None = None) -> None:
    if value is None and name in {"max_weight", "gross", "net", "max_turnover"}:
        return
    allowed = f"a finite number above {above:g}" if above is not None else f"a finite number, {least:g} or more"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidInputError(f"{name} is {value!r}", next_step=f"give {allowed}")
    if (least is not None and value < least) or (above is not None and value <= above):
        raise InvalidInputError(f"{name} is {value!r}", next_step=f"give {allowed}")
