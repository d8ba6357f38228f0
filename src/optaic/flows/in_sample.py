"""Predictions for dates whose labels their fit had seen: refused by whoever would learn or earn from them."""

from __future__ import annotations

import datetime as dt

import polars as pl

from optaic.domain.version import DELETED
from optaic.errors import InSampleInputError
from optaic.flows.grid import DATE
from optaic.flows.input import Input

LABEL_END = "label_end"
"""The column of predictions that says how far the labels reach that their fit has seen."""


def refuse_in_sample(
    source: Input,
    rows: pl.DataFrame | None = None,
    *,
    start: dt.date | None = None,
    end: dt.date | None = None,
    can_be_allowed: bool = False,
) -> None:
    """Refuse predictions that are in-sample: of dates up to which their fit had seen labels.

    Parameters
    ----------
    source
        An input; one without the column `label_end` is no predictions.
    rows
        Those that are used, `date` and `label_end` among their columns; without that column, or left out, all that are
        there between the dates.
    start, end
        The first and the last event date that is used, inclusive; None for all.
    can_be_allowed
        Whether the reader has an option to use them all the same.

    Raises
    ------
    InSampleInputError
        If a row is in-sample.
    """
    if LABEL_END not in source.all_columns:
        return
    if rows is None or LABEL_END not in rows.columns:
        told = source.history([LABEL_END], start=start, end=end)
        rows = told.unique(source.keys, keep="last", maintain_order=True).filter(
            ~pl.col(DELETED).fill_null(value=False)
        )
    late = rows.filter(pl.col(LABEL_END) >= pl.col(DATE))
    if not late.is_empty():
        raise InSampleInputError(
            f"{late.height} rows of {source.instance} are in-sample, the first of {late[DATE].min()}: their fit had "
            f"seen labels up to {late[LABEL_END].max()}",
            next_step="predict out of sample"
            + (", or set allow_in_sample: true, which is recorded" if can_be_allowed else ""),
        )
