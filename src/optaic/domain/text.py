"""Text that a ledger can hold: what a flow wrote may have characters that no database and no encoder takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

from optaic.errors import InvalidInputError

ELLIPSIS = "…"

_UNFIT = re.compile("[\x00\ud800-\udfff]")
"""PostgreSQL has no NUL in text, and lone surrogates cannot be encoded as UTF-8."""


def clean_text(text: str, limit: int | None = None) -> str:
    """Make a text fit to be stored.

    Parameters
    ----------
    text
        Any.
    limit
        How many characters it may have, at least 1; None for as many as it has.

    Returns
    -------
    str
        With U+FFFD for each NUL and each lone surrogate; cut to `limit` characters, the last of which is then an
        ellipsis.

    Examples
    --------
    >>> clean_text("abcdef", 4)
    'abc…'
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + ELLIPSIS
    return _UNFIT.sub("\ufffd", text)


def check_text(text: str, what: str) -> str:
    """Return a text that somebody gave, if it can be stored and looked for as it is.

    Parameters
    ----------
    text
        Any.
    what
        What it is, for the message.

    Raises
    ------
    InvalidInputError
        If it has a NUL or a lone surrogate.
    """
    found = _UNFIT.search(text)
    if found is not None:
        raise InvalidInputError(
            f"{what} has a character that cannot be stored: {found[0]!a} at position {found.start()}",
            next_step="leave the character out; text is Unicode without NUL",
        )
    return text


def check_texts(value: object, what: str) -> None:
    """Check every text in a JSON value, names of mappings included, as `check_text` does.

    Raises
    ------
    InvalidInputError
        If one has a NUL or a lone surrogate.
    """
    if isinstance(value, str):
        check_text(value, what)
    elif isinstance(value, Mapping):
        for key, inner in cast("Mapping[object, object]", value).items():
            check_texts(key, what)
            check_texts(inner, what)
    elif isinstance(value, list | tuple):
        for inner in cast("Iterable[object]", value):
            check_texts(inner, what)
