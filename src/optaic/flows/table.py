"""Tables that flow code hands over: of Polars or of pandas."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optaic.errors import InvalidInputError, StorageError

if TYPE_CHECKING:
    import polars as pl


def as_polars(table: object) -> pl.DataFrame | None:
    """Make a Polars frame of a table.

    Parameters
    ----------
    table
        A Polars DataFrame or LazyFrame, or a pandas DataFrame or Series. The index of a pandas table becomes columns,
        unless it only counts rows. Instants with a zone come out in UTC, and missing values as null.

    Returns
    -------
    DataFrame or None
        None if it is not a table.
    """
    import polars as pl

    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        return table.collect(engine="in-memory")  # the streaming engine sums in an order that changes
    pandas: Any = sys.modules.get("pandas")  # who has a pandas table has imported pandas
    if pandas is None:
        return None
    frame: Any = table
    if isinstance(frame, pandas.Series):
        frame = frame.to_frame("value" if frame.name is None else frame.name)
    if not isinstance(frame, pandas.DataFrame):
        return None
    if not isinstance(frame.index, pandas.RangeIndex):
        frame = frame.reset_index()
    return pl.DataFrame([_series(str(name), frame[name], pandas) for name in frame.columns])


def _series(name: str, column: Any, pandas: Any) -> pl.Series:
    """Convert one pandas column. Polars itself needs pyarrow for text, which nothing else here needs."""
    import polars as pl

    kind = column.dtype
    if isinstance(kind, pandas.DatetimeTZDtype):
        instants = pl.Series(name, column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), nan_to_null=True)
        return instants.dt.replace_time_zone("UTC")
    if getattr(kind, "kind", "O") in "iufbMm" and not pandas.api.types.is_extension_array_dtype(kind):
        return pl.Series(name, column.to_numpy(), nan_to_null=True)
    missing = column.isna()
    return pl.Series(name, [None if absent else value for value, absent in zip(column, missing, strict=True)])


def write_parquet(name: str, table: object, path: Path) -> None:
    """Write a table as a Parquet file.

    Parameters
    ----------
    name
        Of the artifact, for messages.
    table
        As for `as_polars`.
    path
        Where to.

    Raises
    ------
    InvalidInputError
        If it is not a table, or has columns that Parquet cannot hold.
    StorageError
        If the disk is full.
    """
    import polars as pl

    try:
        frame = as_polars(table)
        if frame is not None:
            frame.write_parquet(path)
    except (pl.exceptions.PolarsError, ImportError, TypeError, ValueError) as error:
        # Polars tells of a full disk in words, as if the table were at fault.
        if re.search(r"no space left|quota exceeded", str(error), re.IGNORECASE):
            raise StorageError(
                f"the disk is full; {name} was not stored", next_step="free some space (optaic gc), then: optaic retry"
            ) from error
        raise InvalidInputError(f"artifact {name!r} cannot be written as Parquet: {error}") from error
    if frame is None:
        raise InvalidInputError(f"artifact {name!r}: a {type(table).__name__} is not a table of Polars or pandas")
