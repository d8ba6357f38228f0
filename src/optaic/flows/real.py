"""Numbers that estimators and optimisers give."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from optaic.errors import FlowError


def to_real(values: Any, what: str) -> npt.NDArray[np.float64]:
    """Take numbers as float64; refuse complex ones, whose imaginary parts would be lost.

    Parameters
    ----------
    values : array_like
        Numbers, of any shape.
    what
        What they are, for the message.

    Returns
    -------
    ndarray of the same shape, float64

    Raises
    ------
    FlowError
        If they are complex.

    Examples
    --------
    >>> to_real([1, 2], "the weights").tolist()
    [1.0, 2.0]
    """
    given = np.asarray(values)
    if np.iscomplexobj(given):
        raise FlowError(
            f"{what}: these are complex numbers, and real ones are needed", next_step="look at its code and its params"
        )
    return np.asarray(given, dtype=np.float64)
