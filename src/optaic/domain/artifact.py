"""Files that runs write, and the names they may have."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from optaic.errors import InvalidInputError

MAX_NAME_LENGTH = 200
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ +=@-]*(/[A-Za-z0-9_][A-Za-z0-9._ +=@-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What the object store recorded of the bytes under one key.

    Attributes
    ----------
    key
        Where the bytes are; never overwritten.
    size_bytes
        How many there are.
    sha256
        Their digest, as 64 hexadecimal digits.
    """

    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that a run wrote, under the name that the run gave it.

    Attributes
    ----------
    name
        Relative path with its suffix, unique within the attempt: `scores.parquet`.
    kind
        `frame` (a Parquet file of a table), `file`, `report` or `segment` (shared with a dataset version).
    media_type
        As registered with IANA, for example `application/vnd.apache.parquet`.
    stored
        The bytes.
    """

    name: str
    kind: str
    media_type: str
    stored: StoredObject


def check_name(name: str) -> str:
    """Return the name of an artifact if it is a safe relative path.

    Raises
    ------
    InvalidInputError
        If it is empty, too long, absolute, has `..` or an empty part, or characters outside `A-Za-z0-9._ +=@-/`.
    """
    if len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"artifact name {name[:80]!r} is not allowed",
            next_step="use a relative path of letters, digits and . _ - + = @, no part starting with a dot or a sign",
        )
    return name


def next_name(name: str, taken: set[str]) -> str:
    """Give a name used twice a sequence: `scores.parquet`, `scores-2.parquet`, ..."""
    if name not in taken:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not dot or "/" in suffix:
        stem, dot, suffix = name, "", ""
    number = 2
    while (candidate := f"{stem}-{number}{dot}{suffix}") in taken:
        number += 1
    return candidate


def attempt_prefix(tenant_id: int, run_id: uuid.UUID, attempt: int) -> str:
    """Give the folder that only this attempt of this run writes to; the number makes a late attempt harmless."""
    return f"t{tenant_id}/runs/{run_id}/{attempt}"
