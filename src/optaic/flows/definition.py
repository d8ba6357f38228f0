"""Marking a function as a definition."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from optaic.errors import InvalidInputError

MARK = "__optaic_definition__"
"""The attribute that a marked function has; its value is the kind of definition."""

F = TypeVar("F", bound=Callable[..., Any])


def pipeline(function: F) -> F:
    """Mark a function as the source of a dataset; it stays the function that it is, and tests can call it.

    Parameters
    ----------
    function
        Takes the context, then perhaps `start` (the date from which data are needed; None for all), then parameters
        by name. Returns a frame with the key columns of the dataset.

    Raises
    ------
    InvalidInputError
        If it is not a function, or a coroutine function.

    Examples
    --------
    >>> @pipeline
    ... def prices(ctx, *, symbols: list[str]): ...
    """
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise InvalidInputError(
            f"@pipeline marks plain functions, not {function!r}", next_step="use it above `def name(ctx, ...):`"
        )
    setattr(function, MARK, "pipeline")
    return function
