"""A backtest that follows an optimiser: fitted anew at each decision, to what was known then and on what is held."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.backtesting import Backtest
from optaic.domain.optimizer import EXPECTED, GROUPS, OPTIMIZER, check_roles
from optaic.errors import NoOutputError, SolverFailedError
from optaic.flows.grid import DATE, SYMBOL
from optaic.flows.in_sample import say_in_sample
from optaic.flows.judgement import SOLVED
from optaic.flows.optimize import SETUP, complete_setup, open_refit
from optaic.flows.rebalance import NO_NAMES, Rebalancer
from optaic.flows.sight import Sight, refuse_blindness

if TYPE_CHECKING:
    from optaic.flows.context import RunContext

Floats = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]

_SHOWN = 10
"""So many dates of failed solves are named in a message."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pursuit:
    """An optimiser that is followed by a backtest.

    Attributes
    ----------
    ctx
        Of the backtest.
    dates
        Its sessions.
    rebalancer, sight
        Who decides, and what that sees.
    weights
        A row on each date of decision; what it weighs is not known yet.
    """

    ctx: RunContext
    dates: list[dt.date]
    rebalancer: Rebalancer
    sight: Sight
    weights: pl.DataFrame

    def decide(self, session: int, held: Floats) -> Floats | None:
        """Take the decision of a session on the weights held at its close; None where they are kept.

        Raises
        ------
        InvalidInputError, InSampleInputError
            As `Rebalancer.decide` says.
        RunCancelledError
            If the run was asked to stop.
        """
        self.ctx.raise_if_cancelled()
        targets = self.rebalancer.decide(session, held)
        count, place = len(self.rebalancer.decisions), self.weights.height
        self.ctx.progress(40 + 30 * count / place, f"decision {count} of {place}, {self.dates[session]}")
        return targets if self.rebalancer.decisions[-1].is_taken else None

    def finish(self, done: Backtest) -> Backtest:
        """Add to a backtest how its decisions went, and say it in the log.

        Raises
        ------
        NothingKnownError
            If nothing was known at any decision.
        NoOutputError
            If there was no name to choose from at any.
        SolverFailedError
            If there was a solution at none, and no fallback.
        """
        source, setup = self.ctx.input(OPTIMIZER), self.rebalancer.setup
        taken = self.rebalancer.decisions
        if all(one.status == NO_NAMES for one in taken):
            for role in self.sight.blind:
                refuse_blindness(self.ctx.input(role), self.weights[DATE])
            raise NoOutputError(
                f"{self.ctx.instance}: no decision could be taken from {self.weights[DATE][0]} to "
                f"{self.weights[DATE][-1]}: no name that can be held had a known price on each of the "
                f"{setup['lookback'] + 1} sessions up to any of them",
                next_step="take a shorter lookback, or prices that begin earlier; or look at the inputs",
            )
        failed = [f"{self.dates[one.session]} ({one.status})" for one in taken if one.status not in {*SOLVED, NO_NAMES}]
        if failed and not any(one.is_taken for one in taken):
            raise SolverFailedError(
                f"{source.instance} has no solution at any of its {len(failed)} decisions: {_listed(failed)}",
                next_step="loosen its constraints, or declare `fallback: equal_weight | inverse_volatility`",
            )
        fallbacks = self.rebalancer.fallbacks
        if failed:
            self.ctx.say(
                f"{source.instance} has no solution at {len(failed)} of {len(taken)} decisions: {_listed(failed)}; "
                f"its fallback is used at {fallbacks}, what is held is kept at {len(failed) - fallbacks}",
                level="WARNING",
            )
        if EXPECTED in self.ctx.inputs:
            say_in_sample(self.ctx, self.ctx.input(EXPECTED).instance, self.sight.in_sample_rows)
        detail = source.detail
        return replace(
            done,
            skipped_decisions=self.rebalancer.skipped_decisions,
            in_sample_rows=self.sight.in_sample_rows,
            optimizer=f"{source.instance} version {source.pinned.version.number}, {detail['definition']}, "
            f"lookback {setup['lookback']} sessions",
            failed_solves=self.rebalancer.failed_solves,
            fallbacks=fallbacks,
        )


def _listed(texts: list[str]) -> str:
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def pursue(
    ctx: RunContext,
    sessions: Dates,
    symbols: list[str],
    decisions: list[int],
    *,
    view: str,
    calendar: str,
    is_adjusted: bool,
    allow_in_sample: bool,
    members: npt.NDArray[np.bool_] | None = None,
) -> Pursuit:
    """Make the optimiser of a backtest ready to decide.

    Parameters
    ----------
    ctx
        The backtest's context; `optimizer` is read, and what `Sight` reads.
    sessions : ndarray of shape (n_sessions,), datetime64[D]
        Its sessions.
    symbols
        Its names, ascending.
    decisions
        The places of the sessions in which it decides.
    view, calendar, is_adjusted, allow_in_sample
        As `Sight` takes them.
    members : ndarray of shape (n_sessions, n_symbols), bool, optional
        Who may be held, as it was known at each session; all names if left out.

    Raises
    ------
    NoOutputError
        If there is no decision to take.
    InvalidInputError
        If the optimiser cannot be used, or reads what the backtest does not.
    CodeChangedError
        If its code is not that of its version.
    """
    source = ctx.input(OPTIMIZER)
    if not decisions:
        raise NoOutputError(
            f"{ctx.instance}: there is no decision from {sessions[0]} to {sessions[-1]} that could be traded",
            next_step="take more sessions, or rebalance more often",
        )
    dates: list[dt.date] = sessions.astype(object).tolist()
    # Of its version a backtest uses how it decides, not what it decided: up to the last date on which it is asked.
    detail = source.read_detail(end=dates[decisions[-1]])
    check_roles(ctx.instance, ctx.inputs, optimizer=source.instance, read=cast("list[str]", detail["reads"]))
    setup = complete_setup(cast("dict[str, Any]", detail[SETUP]))
    sight = Sight(
        ctx,
        dates=sessions,
        symbols=symbols,
        decisions=decisions,
        lookback=int(setup["lookback"]),
        view=view,
        calendar=calendar,
        is_adjusted=is_adjusted,
        allow_in_sample=allow_in_sample,
    )
    rebalancer = Rebalancer(
        refit=open_refit(detail, Path.cwd(), instance=source.instance),
        symbols=symbols,
        returns_at=sight.returns_at,
        lookback=int(setup["lookback"]),
        members_at=None if members is None else members.__getitem__,
        expected_at=sight.expected_at if EXPECTED in ctx.inputs else None,
        groups_at=sight.groups_at if GROUPS in ctx.inputs else None,
        group_names=sight.group_names if GROUPS in ctx.inputs else None,
        setup=setup,
    )
    asked = pl.DataFrame({DATE: sessions[decisions], SYMBOL: [symbols[0]] * len(decisions), "weight": 0.0})
    return Pursuit(ctx=ctx, dates=dates, rebalancer=rebalancer, sight=sight, weights=asked)
