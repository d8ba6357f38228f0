"""Decisions of an optimiser through time: fitted anew at each, to what was known by then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from optaic.domain.optimizer import Fallback
from optaic.flows.refit import Refit

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
        As `Solution.status`; `no_names` where no name had a whole lookback.
    fallback
        The declared fallback that was used; None for none.
    asset_count
        Names that it could choose from.
    """

    session: int
    status: str
    fallback: Fallback | None
    asset_count: int


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
    decisions
        What it decided so far.
    """

    refit: Refit
    symbols: Sequence[str]
    returns_at: Callable[[int], Floats]
    lookback: int
    members_at: Callable[[int], Booleans] | None = None
    decisions: list[Decision] = field(default_factory=list[Decision])

    @property
    def failed_solves(self) -> int:
        """How often there was no solution, with or without a fallback."""
        return sum(one.status not in {"optimal", "no_names"} for one in self.decisions)

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
            fallback, or no name to choose from: nothing is traded then.

        Raises
        ------
        InvalidInputError
            If the optimiser cannot be fitted at all with its params.
        """
        returns = self.returns_at(session)
        eligible = np.zeros(len(self.symbols), dtype=np.bool_)
        if len(returns) >= self.lookback:
            returns = returns[len(returns) - self.lookback :]
            eligible = np.isfinite(returns).all(axis=0)
            if self.members_at is not None:
                eligible &= self.members_at(session)
        places: list[int] = np.flatnonzero(eligible).tolist()
        if not places:
            self.decisions.append(Decision(session=session, status="no_names", fallback=None, asset_count=0))
            return held
        is_invested = bool(np.any(held != 0.0))
        solution = self.refit.solve(
            returns[:, places],
            symbols=[self.symbols[place] for place in places],
            # Nobody was ever asked to limit what the first purchase buys.
            previous=held[places] if is_invested else None,
            held_outside=float(np.abs(held[~eligible]).sum()),
        )
        self.decisions.append(
            Decision(session=session, status=solution.status, fallback=solution.fallback, asset_count=len(places))
        )
        if solution.weights is None or (solution.fallback == "previous"):
            return held
        targets = np.zeros(len(self.symbols))
        targets[places] = solution.weights
        return targets
