"""What a flow selects of an upstream, by number, and is not there: no run can read it, whatever runs before."""

from __future__ import annotations

import uuid

from optaic.domain.freshness import EVERYTHING, Cause, CauseKind


def lacks_version(*, upstream_id: uuid.UUID, upstream: str, number: int, last: int | None) -> Cause:
    """Give the cause that an upstream has no version of a number.

    Parameters
    ----------
    upstream_id, upstream
        The flow that is read, and how people name it.
    number
        The version that is selected.
    last
        The last version that there is; None if there is none.

    Examples
    --------
    >>> lacks_version(upstream_id=uuid.UUID(int=1), upstream="prices", number=9, last=2).detail
    'prices has no version 9; it has versions 1 to 2'
    """
    has = "it has none yet" if last is None else "it has version 1" if last == 1 else f"it has versions 1 to {last}"
    next_step = f"optaic run {upstream}"
    if last is not None or number > 1:
        instance = upstream.partition(".")[0]
        next_step = f"select another version in optaic.yaml, then: optaic apply; see: optaic runs --instance {instance}"
    return Cause(
        kind=CauseKind.UPSTREAM_NOT_READY,
        detail=f"{upstream} has no version {number}; {has}",
        stale_from=EVERYTHING,
        upstream=upstream,
        upstream_id=upstream_id,
        version=number,
        next_step=next_step,
    )
