"""Secrets: where a config refers to them, and keeping their values out of everything that leaves a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import cast

REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
"""How a config names a secret: `${env:NAME}`."""

MIN_LENGTH = 4
"""Shorter values are not masked: they would be found in every other word, and protect nothing."""

MASK = "[secret]"


def _names(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from REFERENCE.findall(value)
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[object, object]", value).values():
            yield from _names(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("Iterable[object]", value):
            yield from _names(inner)


def secret_values(*values: object, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Find the values of all secrets that configs or params refer to.

    Parameters
    ----------
    *values
        JSON-like values: mappings, lists, strings.
    environ
        Where `${env:NAME}` is looked up; a missing name is left out.

    Returns
    -------
    tuple of str
        Each value, each line of a value of several lines, and each of these as JSON and as Python write it within
        quotes; longest first.
    """
    found: set[str] = set()
    for value in values:
        for name in _names(value):
            secret = environ.get(name, "")
            for one in (secret, *secret.splitlines()):
                found.update((one, json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], repr(one)[1:-1]))
    return tuple(sorted((one for one in found if len(one) >= MIN_LENGTH), key=lambda one: (-len(one), one)))


def masker(secrets: tuple[str, ...]) -> Callable[[str], str] | None:
    """Give a function that replaces each secret in a text by `[secret]`; None if there are none."""
    if not secrets:
        return None
    pattern = re.compile("|".join(re.escape(one) for one in secrets))
    return lambda text: pattern.sub(MASK, text)
