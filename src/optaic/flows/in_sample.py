"""Predictions for dates whose labels their fit had seen: refused by whoever would use them, or counted."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import polars as pl

from optaic.domain.version import DELETED
from optaic.errors import InSampleInputError
from optaic.flows.grid import DATE

if TYPE_CHECKING:
    from optaic.flows.context import RunContext
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
        Those that are used; left out, all that are there between the dates.
    start, end
        The first and the last event date that is used, inclusive; None for all.
    can_be_allowed
        Whether the reader has an option to use them all the same.

    Raises
    ------
    InSampleInputError
        If a row is in-sample.
    """
    late = _in_sample(source, rows, start, end)
    if not late.is_empty():
        raise InSampleInputError(
            f"{late.height} rows of {source.instance} are in-sample, the first of {late[DATE].min()}: their fit had "
            f"seen labels up to {late[LABEL_END].max()}",
            next_step="predict out of sample"
            + (", or set allow_in_sample: true, which is recorded" if can_be_allowed else ""),
        )


def count_in_sample(source: Input, rows: pl.DataFrame, *, start: dt.date, end: dt.date) -> int:
    """Count predictions that are used though they are in-sample; for readers to whom that is allowed.

    Parameters
    ----------
    source, rows, start, end
        As `refuse_in_sample` takes them.
    """
    return _in_sample(source, rows, start, end).height


def say_in_sample(ctx: RunContext, what: str, count: int) -> None:
    """Say in the log that in-sample rows were used because that is allowed; nothing where there is none."""
    if count:
        ctx.say(f"{count} rows of {what} are in-sample, and are used: allow_in_sample is set", level="WARNING")


def _in_sample(source: Input, rows: pl.DataFrame | None, start: dt.date | None, end: dt.date | None) -> pl.DataFrame:
    """Give the rows whose fit had seen labels up to their date or beyond: date, label_end."""
    schema = {DATE: pl.Date, LABEL_END: pl.Date}
    if LABEL_END not in source.all_columns:
        return pl.DataFrame(schema=schema)
    if rows is None or LABEL_END not in rows.columns:
        told = source.history([LABEL_END], start=start, end=end)
        told = told.unique(source.keys, keep="last", maintain_order=True).filter(
            ~pl.col(DELETED).fill_null(value=False)
        )
        rows = told if rows is None else told.join(rows, on=source.keys, how="semi")
    return rows.filter(pl.col(LABEL_END) >= pl.col(DATE)).select(*schema)
