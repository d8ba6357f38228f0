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
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.lower()[:200], by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""
