"""Plain scalars as YAML 1.2 reads them: what project files and `--param` share.

Version 1.1, which PyYAML follows by itself, takes the ticker ON for true and the time 18:00 for 1,080.
"""

from __future__ import annotations

import math
import re

from optaic.errors import InvalidInputError

NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

MAX_DIGITS = 1000

Scalar = str | int | float | bool | None


def read_scalar(text: str) -> Scalar:
    """Read a plain scalar: null, a truth value, an integer, a float, else text; dates stay text.

    Raises
    ------
    InvalidInputError
        If it is a number that JSON cannot hold: infinite, NaN, or of more than 1,000 digits.
    """
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text.lower() == "true"
    if INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise InvalidInputError(f"a number of {len(text)} digits is too long", next_step="quote it to make it text")
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if FLOAT.fullmatch(text):
        value = math.inf if text.lower().endswith(("inf", "nan")) else float(text)
        if not math.isfinite(value):
            raise InvalidInputError(f"{text} is not a finite number", next_step="quote it to make it text")
        return value
    return text
