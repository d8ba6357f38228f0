"""One text for each JSON value, and the digests that are made of it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from optaic.errors import InvalidInputError

MAX_DEPTH = 100


def canonical_json(value: object) -> str:
    """Write a value as the one JSON text that stands for it.

    Parameters
    ----------
    value
        None, truth values, integers, finite floats, text, dates, aware instants; lists, tuples and mappings of them.

    Returns
    -------
    str
        ASCII, without spaces, keys sorted by code point. `1` and `1.0` differ, `-0.0` and `0.0` do not. A date is its
        ISO text; an instant is its ISO text in UTC.

    Raises
    ------
    InvalidInputError
        If a part of it is something else; the message names the path to it.

    Examples
    --------
    >>> canonical_json({"n": 21, "at": 1.0, "from": dt.date(2024, 1, 2)})
    '{"at":1.0,"from":"2024-01-02","n":21}'
    """
    return json.dumps(json_value(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def json_value(value: object) -> Any:
    """Make a value of what JSON has: dates and instants become text, tuples lists.

    Raises
    ------
    InvalidInputError
        If a part of it has no JSON form; the message names the path to it.
    """
    return _plain(value, ())


def digest_of(value: object) -> str:
    """Digest a value: SHA-256 of its canonical JSON, as 64 hexadecimal digits.

    Raises
    ------
    InvalidInputError
        If a part of it has no canonical JSON.
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def fingerprint(
    *,
    code_digest: str | None,
    config_digest: str | None,
    params: Mapping[str, Any],
    seed: int,
    inputs: Mapping[str, object],
    as_of: dt.datetime | None,
) -> str:
    """Digest what a run would compute: two runs of one fingerprint compute the same.

    Parameters
    ----------
    code_digest
        Identity of the definition's code; None for built-in procedures and tracked loops.
    config_digest
        Identity of the instance's config; None for tracked loops.
    params
        The effective params, defaults filled in, secrets as references.
    seed
        For every random generator.
    inputs
        By role, the id or digest of the pinned version.
    as_of
        The instant that inputs are read as of.

    Raises
    ------
    InvalidInputError
        If a param has no canonical JSON.
    """
    return digest_of(
        {
            "code": code_digest,
            "config": config_digest,
            "params": params,
            "seed": seed,
            "as_of": as_of,
            "inputs": {role: str(version) for role, version in inputs.items()},
        }
    )


def _plain(value: object, path: tuple[str, ...]) -> object:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refusal(path, f"is {value}, which JSON cannot hold")
        return float(value) + 0.0  # -0.0 becomes 0.0
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise _refusal(path, f"is the instant {value} without a time zone")
        return value.astimezone(dt.UTC).isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if len(path) >= MAX_DEPTH:
        raise _refusal(path[:5], f"is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {
            _key(key, path): _plain(inner, (*path, str(key)))
            for key, inner in cast("Mapping[object, object]", value).items()
        }
    if isinstance(value, list | tuple):
        return [_plain(inner, (*path, f"[{i}]")) for i, inner in enumerate(cast("Iterable[object]", value))]
    raise _refusal(path, f"is a {type(value).__name__}, which has no JSON form")


def _key(key: object, path: tuple[str, ...]) -> str:
    if not isinstance(key, str):
        raise _refusal(path, f"has the key {key!r}, which is not text")
    return key


def _refusal(path: tuple[str, ...], problem: str) -> InvalidInputError:
    place = ".".join(path).replace(".[", "[") or "the value"
    return InvalidInputError(
        f"{place} {problem}", next_step="use text, numbers, truth values, dates, lists or mappings"
    )
