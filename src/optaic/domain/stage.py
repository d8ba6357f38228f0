"""The stages of model versions: which is in use, which may be, and which is no more."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """What a person has said of a version; a version has at most one."""

    CANDIDATE = "candidate"
    """It may become the champion."""
    CHAMPION = "champion"
    """The one in use: of a model at most one. Whoever reads `stage:champion` reads it."""
    ARCHIVED = "archived"
    """It is in use no more. What a champion becomes when another takes its place."""


NO_STAGE = "none"
"""What a person says to take a stage back; the version that has none is none of these."""
