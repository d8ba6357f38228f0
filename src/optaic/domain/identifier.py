"""Ids: UUIDs of version 7, which sort by the time that they were made at.

Order by the database's clock, never by these: the clocks of machines differ.
"""

from __future__ import annotations

import uuid

from uuid_utils.compat import uuid7

from optaic.errors import InvalidInputError


def new_id() -> uuid.UUID:
    """Make an id."""
    return uuid7()


def prefix_range(prefix: str) -> tuple[uuid.UUID, uuid.UUID]:
    """Give the first and the last UUID that start with some hexadecimal digits; hyphens are optional.

    Raises
    ------
    InvalidInputError
        If the prefix is empty, too long, or has other characters.
    """
    digits = prefix.replace("-", "").lower()
    if not 0 < len(digits) <= 32 or set(digits) - set("0123456789abcdef"):
        raise InvalidInputError(
            f"{prefix!r} is not a run id",
            next_step="use an id or its beginning as `optaic runs` shows it, or TARGET@latest",
        )
    return uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
