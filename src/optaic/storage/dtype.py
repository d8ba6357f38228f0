"""The types of a dataset's columns: Polars types that Parquet keeps, and the texts that the ledger has of them."""

from __future__ import annotations

import re

import polars as pl

from optaic.domain.version import DatasetVersion
from optaic.errors import InvalidInputError

_DTYPE = re.compile(r"(\w+)(?:\((.*)\))?")

PLAIN_DTYPES: dict[str, pl.DataType] = {
    str(one): one
    for one in (
        *(pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.Int128()),
        *(pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()),
        *(pl.Float32(), pl.Float64(), pl.Boolean(), pl.String(), pl.Binary(), pl.Date(), pl.Time()),
    )
}
"""The types of columns without parameters, by the text that `str` makes of them."""


def schema_of(version: DatasetVersion) -> dict[str, pl.DataType]:
    """Give the Polars type of each column of a version, `known_at` left out."""
    return {column.name: parse_dtype(column.dtype) for column in version.columns}


def parse_dtype(text: str) -> pl.DataType:
    """Read a Polars type from the text that `str` makes of it.

    Raises
    ------
    InvalidInputError
        If no type that can be stored has this text.
    """
    match = _DTYPE.fullmatch(text)
    if match is not None:
        name, inner = match[1], match[2] or ""
        given = {key: value.strip("'") for key, value in re.findall(r"(\w+)=('[^']*'|[^,\s]+)", inner)}
        unit, zone = given.get("time_unit", "us"), given.get("time_zone", "None")
        if name == "Datetime" and unit in ("ns", "us", "ms"):
            return pl.Datetime(unit, None if zone == "None" else zone)
        if name == "Duration" and unit in ("ns", "us", "ms"):
            return pl.Duration(unit)
        if name == "Decimal":
            return pl.Decimal(int(given.get("precision", "38")), int(given.get("scale", "0")))
        plain = PLAIN_DTYPES.get(name)
        if plain is not None and not inner:
            return plain
    raise InvalidInputError(f"{text!r} is not a type that a dataset can have")
