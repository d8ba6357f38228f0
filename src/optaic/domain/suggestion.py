"""What somebody may have meant by a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Give `; did you mean 'prices'?` for the name that is most like it; empty if none is.

    Examples
    --------
    >>> did_you_mean("price", ["prices", "volumes"])
    "; did you mean 'prices'?"
    >>> did_you_mean("momentum", ["prices", "volumes"])
    ''
    """
    found = closest(name, candidates)
    return f"; did you mean {found!r}?" if found is not None else ""


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """Give the name that is most like one that does not exist; None if none is.

    Examples
    --------
    >>> closest("Rigde", ["Lasso", "Ridge"])
    'Ridge'
    """
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.lower()[:200], by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None
