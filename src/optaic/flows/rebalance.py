"""Decisions of an optimiser through time: fitted anew at each, to what was known by then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from optaic.domain.optimizer import Fallback
from optaic.flows.equation import Names
from optaic.flows.evidence import per_session
from optaic.flows.judgement import SOLVED
from optaic.flows.refit import Refit

NO_NAMES = "no_names"
"""The status of a decision for which no name had a whole lookback."""

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision of an optimiser.

    Attributes
    ----------
    session
        The position of its session.
    status
        As `Solution.status`; `no_names` where no name had a whole lookback, or none could be chosen.
    fallback
        The declared fallback that was used; None for none.
    asset_count
        Names that it could choose from.
    is_taken
        Whether there are weights to trade to; False where what is held is kept.
    """

    session: int
    status: str
    fallback: Fallback | None
    asset_count: int
    is_taken: bool


@dataclass(slots=True, kw_only=True)
class Rebalancer:
    """Decides with an optimiser whenever it is asked, and counts what went wrong.

    Attributes
    ----------
    refit
        The optimiser.
    symbols
        All names, in the order of weights and returns.
    returns_at
        Gives, for a session, the simple returns of the last `lookback` sessions as they were known when it was decided:
        ndarray of shape (lookback, n_symbols), float64, NaN where there is none; fewer rows where the history is
        shorter, and more are no harm.
    lookback
        Sessions; a name needs a return in each of them.
    members_at
        Gives, for a session, which names may be held: ndarray of shape (n_symbols,), bool; None for all.
    expected_at
        Gives, for a session, what is expected of each name in the unit of the `target` of `setup`: ndarray of shape
        (n_symbols,), float64, NaN where there is nothing, which is not bought then. None for the optimiser's own.
    groups_at
        Gives, for a session, the groups of names; None for none.
    group_names
        Every group that there ever is, which constraints may name at any session; None where no groups are read.
    setup
        With `target` and `sessions_per_year`; needed with `expected_at`.
    decisions
        What it decided so far.
    """

    refit: Refit
    symbols: Sequence[str]
    returns_at: Callable[[int], Floats]
    lookback: int
    members_at: Callable[[int], Booleans] | None = None
    expected_at: Callable[[int], Floats] | None = None
    groups_at: Callable[[int], Mapping[str, Sequence[str]]] | None = None
    group_names: frozenset[str] | None = None
    setup: Mapping[str, Any] = field(default_factory=dict[str, Any])
    decisions: list[Decision] = field(default_factory=list[Decision])

    @property
    def failed_solves(self) -> int:
        """How often there was no solution, with or without a fallback."""
        return sum(one.status not in {*SOLVED, NO_NAMES} for one in self.decisions)

    @property
    def skipped_decisions(self) -> int:
        """How often there was no name to choose from."""
        return sum(one.status == NO_NAMES for one in self.decisions)

    @property
    def fallbacks(self) -> int:
        """How often a declared fallback was used."""
        return sum(one.fallback is not None for one in self.decisions)

    def decide(self, session: int, held: Floats) -> Floats:
        """Decide what to hold.

        Parameters
        ----------
        session
            The position of the session that has just closed.
        held : ndarray of shape (n_symbols,), float64
            Weights at its close, after drift; zeros before the first purchase.

        Returns
        -------
        ndarray of shape (n_symbols,), float64
            Target weights, 0 for names without a whole lookback. What is held, where there is neither a solution nor a
            fallback, or no name to choose from: nothing is traded then, and the decision says that it is not taken.

        Raises
        ------
        InvalidInputError
            If the optimiser cannot be fitted at all with its params, or they name a group that there never is.
        InSampleInputError
            If expected returns are of dates that their fit had seen.
        """
        returns = self.returns_at(session)
        eligible = np.zeros(len(self.symbols), dtype=np.bool_)
        if len(returns) >= self.lookback:
            returns = returns[len(returns) - self.lookback :]
            eligible = np.isfinite(returns).all(axis=0)
            if self.members_at is not None:
                eligible &= self.members_at(session)
        expected = None if self.expected_at is None else self.expected_at(session)
        if expected is not None:
            eligible &= np.isfinite(expected)
        places: list[int] = np.flatnonzero(eligible).tolist()
        if not places:
            self._note(session, NO_NAMES, None, 0, is_taken=False)
            return held
        is_invested = bool(np.any(held != 0.0))
        solution = self.refit.solve(
            returns[:, places],
            symbols=[self.symbols[place] for place in places],
            # Nobody was ever asked to limit what the first purchase buys.
            previous=held[places] if is_invested else None,
            held_outside=float(np.abs(held[~eligible]).sum()),
            expected_returns=None
            if expected is None
            else per_session(expected[places], returns[:, places], self.setup),
            groups=None if self.groups_at is None else self.groups_at(session),
            names=Names(symbols=frozenset(self.symbols), groups=self.group_names),
        )
        is_taken = solution.weights is not None and solution.fallback != "previous"
        self._note(session, solution.status, solution.fallback, len(places), is_taken=is_taken)
        if solution.weights is None or not is_taken:
            return held
        targets = np.zeros(len(self.symbols))
        targets[places] = solution.weights
        return targets

    def _note(self, session: int, status: str, fallback: Fallback | None, asset_count: int, *, is_taken: bool) -> None:
        self.decisions.append(
            Decision(session=session, status=status, fallback=fallback, asset_count=asset_count, is_taken=is_taken)
        )
