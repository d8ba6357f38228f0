"""The small texts of a project file: names, inputs, selectors."""

from __future__ import annotations

import re

from optaic.domain.kind import FlowKind
from optaic.domain.stage import Stage
from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError
from optaic.project.spec import InputSpec

MAX_NAME_LENGTH = 100
NAME = re.compile(r"[a-z][a-z0-9_]*")
PROJECT_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_INPUT = re.compile(r"([a-z][a-z0-9_]*)(?:\.([a-z_]+))?(?:\[([^\[\]]*)\])?")
_SELECTOR = re.compile(r"current|stage:[a-z][a-z0-9_]{0,49}|version:[1-9][0-9]{0,8}")


def check_name(name: str, what: str = "an instance") -> str:
    """Return the name of an instance, if it is allowed.

    Raises
    ------
    InvalidInputError
        If it is not a lower-case letter followed by lower-case letters, digits and `_`, or is longer than 100.
    """
    if len(name) > MAX_NAME_LENGTH or not NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name[:60]!r} is not a name for {what}",
            next_step=f"use lower-case letters, digits and _, a letter first, at most {MAX_NAME_LENGTH}",
        )
    return name


def parse_input(text: str, role: str) -> InputSpec:
    """Read what an input names: `prices`, `prices[close,volume]`, `alpha.infer`, `alpha.infer[score]`.

    Raises
    ------
    InvalidInputError
        If it is not of this form, or names no kind of flow.
    """
    match = _INPUT.fullmatch(text.strip())
    columns = [] if match is None or match[3] is None else [column.strip() for column in match[3].split(",")]
    if match is None or not all(columns) or (match[3] is not None and not columns):
        raise InvalidInputError(
            f"{text[:60]!r} does not name an input",
            next_step="write prices, prices[close,volume], alpha.infer, or {from: prices, select: 'version:3'}",
        )
    if len(set(columns)) < len(columns):
        raise InvalidInputError(f"{text[:60]!r} names a column twice")
    kinds = [kind.value for kind in FlowKind]
    if match[2] is not None and match[2] not in kinds:
        raise InvalidInputError(
            f"{match[2]!r} is not a kind of flow{did_you_mean(match[2], kinds)}",
            next_step=f"the kinds: {', '.join(kinds)}",
        )
    return InputSpec(
        role=role,
        instance=check_name(match[1]),
        flow_kind=None if match[2] is None else FlowKind(match[2]),
        columns=tuple(columns),
    )


def check_selector(text: str) -> str:
    """Return a selector if it is one: `current`, `stage:NAME`, `version:N`.

    Raises
    ------
    InvalidInputError
        If it is not of these forms, or there is no such stage.
    """
    if not _SELECTOR.fullmatch(text):
        raise InvalidInputError(
            f"{text[:60]!r} does not select a version{did_you_mean(text, ['current'])}",
            next_step="use current, stage:NAME (stage:champion) or version:N (version:3)",
        )
    word, _, name = text.partition(":")
    if word == "stage" and name not in tuple(Stage):
        raise InvalidInputError(
            f"{name!r} is not a stage{did_you_mean(name, [one.value for one in Stage])}",
            next_step=f"use one of: {', '.join(f'stage:{one}' for one in Stage)}",
        )
    return text
