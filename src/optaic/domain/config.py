"""Which part of an instance's config can change what its flows make: digests of it decide freshness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from optaic.domain.fingerprint import digest_of
from optaic.domain.kind import FlowKind
from optaic.domain.known import calendar_of

NOT_RESULT = frozenset({"retry", "timeout", "description", "schedule", "freshness", "monitor"})
"""What of a config cannot change a result, and so makes nothing stale."""

PRICES, CASH = "prices", "cash"
"""Roles that a model reads to train, and never to predict."""

_ONLY_TRAIN = frozenset({"params", "target", "refit", "embargo", "sample_weight"})
_ONLY_INFER = frozenset({"infer"})


def config_digest(config: Mapping[str, Any]) -> str:
    """Digest what of a config may change a result of any of the instance's flows.

    Raises
    ------
    InvalidInputError
        If a part of it has no canonical JSON.
    """
    digested = {key: value for key, value in config.items() if key not in NOT_RESULT}
    # When data are expected changes no result, but whose sessions they are may decide when rows were known.
    return digest_of({**digested, "calendar": calendar_of(config)})


def part_of(config: Mapping[str, Any], flow_kind: FlowKind) -> dict[str, Any]:
    """Give the part of a config that may change what one flow of the instance makes.

    Only the flows of a model have parts of their own: what is asked of predictions changes no fit, and what fits are
    made of changes predictions through the model version alone. Of every other flow it is all that may change a result.

    Examples
    --------
    >>> config = {"calendar": "XNYS", "embargo": 3, "infer": {"end": None}, "description": "mine"}
    >>> part_of(config, FlowKind.TRAIN)
    {'calendar': 'XNYS', 'embargo': 3}
    >>> part_of(config, FlowKind.INFER)
    {'calendar': 'XNYS', 'infer': {'end': None}}
    """
    left_out = NOT_RESULT
    if flow_kind is FlowKind.TRAIN:
        left_out |= _ONLY_INFER
    elif flow_kind is FlowKind.INFER:
        left_out |= _ONLY_TRAIN
    part = {key: value for key, value in config.items() if key not in left_out}
    if flow_kind is FlowKind.INFER and isinstance(part.get("inputs"), Mapping):
        inputs = cast("Mapping[str, Any]", part["inputs"])
        part["inputs"] = {role: value for role, value in inputs.items() if role not in (PRICES, CASH)}
    return part
