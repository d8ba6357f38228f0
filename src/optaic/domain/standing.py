"""Whether a run speaks for its flow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from optaic.domain.fingerprint import canonical_json
from optaic.domain.status import Standing

TRIAL_TRIGGERS = frozenset({"track", "sweep", "reproduce"})
"""What sets off a run that is a trial whatever its params are."""


def standing_of(
    *,
    params: Mapping[str, Any],
    own_params: Mapping[str, Any],
    seed: int,
    own_seed: int,
    as_of: dt.datetime | None,
    trigger: str,
) -> Standing:
    """Decide the standing of a run.

    Parameters
    ----------
    params, own_params
        The run's and the flow's own params, both with defaults filled in: an override by the same value changes
        nothing.
    seed, own_seed
        The run's and the flow's own seed.
    as_of
        The instant that inputs are read as of, if one was asked for.
    trigger
        What set the run off.

    Returns
    -------
    Standing
        Official if and only if all of these are the flow's own.
    """
    is_own = seed == own_seed and canonical_json(params) == canonical_json(own_params)
    return Standing.OFFICIAL if is_own and as_of is None and trigger not in TRIAL_TRIGGERS else Standing.TRIAL
