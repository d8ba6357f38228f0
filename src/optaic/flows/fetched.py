"""What a source returned: taken as a frame, checked, and put in the order in which it is stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from optaic.domain.known import Derived, FromColumn, KnownRule
from optaic.domain.version import DELETED, KNOWN_AT, DatasetVersion
from optaic.errors import DuplicateKeysError, InvalidOutputError, NoOutputError, SchemaChangedError
from optaic.flows.table import as_polars
from optaic.storage.dtype import PLAIN_DTYPES, schema_of
from optaic.storage.view import INSTANT, PLACE

_EXAMPLES = 3
_RESERVED = (DELETED, PLACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a source returned, ready to be compared.

    Attributes
    ----------
    frame
        Sorted by key (and `known_at`): key columns, value columns, and `known_at` if the source says it. Each key, or
        each key and `known_at`, once.
    keys
        The key columns; the first is the event date.
    values
        The other columns, `known_at` left out.
    has_known
        Whether the frame has `known_at`.
    """

    frame: pl.DataFrame
    keys: tuple[str, ...]
    values: tuple[str, ...]
    has_known: bool

    @property
    def columns(self) -> list[str]:
        """The key columns and the value columns."""
        return [*self.keys, *self.values]


def take(
    table: object, *, instance: str, keys: Sequence[str], rule: KnownRule, current: DatasetVersion | None, is_full: bool
) -> Fetched:
    """Check what a source returned.

    Parameters
    ----------
    table
        A DataFrame or LazyFrame of Polars, or a DataFrame of pandas.
    instance
        The dataset, for messages.
    keys
        The columns that identify a row; the first is the event date.
    rule
        How rows get their `known_at`.
    current
        The version whose schema has to be kept; None before the first.
    is_full
        Whether all rows were asked for: then none at all is an error, and new columns are taken.

    Returns
    -------
    Fetched
        The rows, possibly none if `is_full` is false.

    Raises
    ------
    NoOutputError
        If nothing was returned.
    InvalidOutputError
        If it is no table, or has columns, types, dates or nulls that a dataset cannot have.
    SchemaChangedError
        If its columns or their types are not those of the current version.
    DuplicateKeysError
        If a key stands in two rows.
    """
    frame = as_polars(table)
    if frame is None:
        if table is None:
            raise NoOutputError(f"the source of {instance} returned None", next_step="return a frame from it")
        raise InvalidOutputError(
            f"the source of {instance} returned a {type(table).__name__}, which is not a table",
            next_step="return a DataFrame or LazyFrame of Polars, or a DataFrame of pandas",
        )
    if frame.is_empty() and is_full:
        raise NoOutputError(
            f"the source of {instance} returned no rows", next_step="check its parameters, and what it reads from"
        )
    frame = _with_known(frame, instance, rule)
    missing = [name for name in keys if name not in frame.columns]
    if missing:
        raise (SchemaChangedError if current is not None else InvalidOutputError)(
            f"{instance}: the source returned no column {_listed(missing)}, which is of the key; "
            f"it returned {_listed(frame.columns)}",
            next_step="return the key columns, or name others under `key:` in optaic.yaml",
        )
    values = [name for name in frame.columns if name not in keys and name != KNOWN_AT]
    frame = _storable(frame.select(*keys, *values, *([KNOWN_AT] if KNOWN_AT in frame.columns else [])), instance)
    frame = _with_dates(frame, instance, keys[0])
    if current is not None:
        frame, values = _conform(frame, instance, schema_of(current), values, is_full=is_full)
    untyped = [name for name, dtype in frame.schema.items() if dtype == pl.Null()]
    if untyped and not frame.is_empty():
        raise InvalidOutputError(
            f"{instance}: column {_listed(untyped)} has only nulls, so its type is unknown",
            next_step="give it a type, for example with .cast(pl.Float64)",
        )
    _check_keys(frame, instance, keys)
    identity = [*keys, KNOWN_AT] if isinstance(rule, FromColumn) else list(keys)
    return Fetched(
        frame=_sorted_unique(frame, instance, identity),
        keys=tuple(keys),
        values=tuple(values),
        has_known=isinstance(rule, FromColumn | Derived),
    )


_REMEDY = (
    'leave it out, as frame.drop("known_at"): the run says itself when rows were known; if a source of your own says '
    "it: `known_at: {column: known_at}` in optaic.yaml"
)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "no columns"


def _with_known(frame: pl.DataFrame, instance: str, rule: KnownRule) -> pl.DataFrame:
    """Bring the source's own known_at under its name and type; refuse columns that are named like the product's."""
    source = rule.name if isinstance(rule, FromColumn) else KNOWN_AT if isinstance(rule, Derived) else None
    taken = [name for name in frame.columns if name in _RESERVED or (name == KNOWN_AT and name != source)]
    if taken:
        raise InvalidOutputError(
            f"{instance}: the source returned {_listed(taken)}, a name that the product uses itself",
            next_step=_REMEDY if taken == [KNOWN_AT] else "rename it",
        )
    if source is None:
        return frame
    if source not in frame.columns:
        raise InvalidOutputError(
            f"{instance}: the source returned no column {source!r}, which `known_at` names; "
            f"it returned {_listed(frame.columns)}",
            next_step="return the column, or name another one under `known_at:` in optaic.yaml",
        )
    known = frame[source]
    if not isinstance(known.dtype, pl.Datetime):
        if known.dtype == pl.Null() and known.is_empty():
            return frame.with_columns(known.cast(INSTANT).alias(KNOWN_AT))
        raise InvalidOutputError(
            f"{instance}: column {source!r} is {known.dtype}; the instant at which a row was known is a Datetime",
            next_step="return instants, in UTC or with their time zone",
        )
    if known.null_count():
        raise InvalidOutputError(
            f"{instance}: column {source!r} has {known.null_count()} nulls; each row was known at some instant"
        )
    zoned = known.dt.replace_time_zone("UTC") if known.dtype.time_zone is None else known.dt.convert_time_zone("UTC")
    instants = zoned.cast(INSTANT).alias(KNOWN_AT)
    return frame.with_columns(instants) if source == KNOWN_AT else frame.drop(source).with_columns(instants)


def _storable(frame: pl.DataFrame, instance: str) -> pl.DataFrame:
    casts: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Categorical | pl.Enum):
            casts.append(pl.col(name).cast(pl.String))
        elif str(dtype) not in PLAIN_DTYPES and not isinstance(dtype, pl.Datetime | pl.Duration | pl.Decimal | pl.Null):
            raise InvalidOutputError(
                f"{instance}: column {name!r} is {dtype}, which a dataset cannot hold",
                next_step="return numbers, texts, truth values, dates or instants",
            )
    return frame.with_columns(casts) if casts else frame


def _with_dates(frame: pl.DataFrame, instance: str, name: str) -> pl.DataFrame:
    date = frame[name]
    if date.dtype == pl.Date():
        return frame
    if isinstance(date.dtype, pl.Datetime):
        if date.drop_nulls().dt.time().eq(dt.time()).all():
            return frame.with_columns(date.dt.date())
        problem = "has instants that are not midnight"
    elif date.dtype == pl.Null() and frame.is_empty():
        return frame.with_columns(date.cast(pl.Date))
    else:
        problem = f"is {date.dtype}"
    raise InvalidOutputError(
        f"{instance}: column {name!r} {problem}; the first column of the key is the event date, a Date",
        next_step="return dates; an instant of the day belongs in a further column of the key",
    )


def _conform(
    frame: pl.DataFrame, instance: str, schema: Mapping[str, pl.DataType], values: list[str], *, is_full: bool
) -> tuple[pl.DataFrame, list[str]]:
    """Give the frame the columns and types of the current version, where that loses nothing."""
    missing = [name for name in schema if name not in frame.columns]
    added = [name for name in values if name not in schema]
    if missing or (added and not is_full):
        found = [
            f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {verb}"
            for names, verb in ((missing, "missing"), (added, "new"))
            if names
        ]
        steps: list[str] = []
        if missing:
            steps.append(
                f"return {_listed(missing)} too, with nulls where there is no value; "
                "what is to have other columns is declared as a new dataset"
            )
        if added and not is_full:
            steps.append(f"what is new is taken by: optaic run {instance} --mode full")
        raise SchemaChangedError(
            f"{instance}: the columns are not those of the current version: {'; '.join(found)}",
            next_step="; ".join(steps),
        )
    casts: list[pl.Series] = []
    for name, dtype in schema.items():
        column = frame[name]
        if column.dtype == dtype:
            continue
        if not (_is_wider(column, dtype) or column.is_empty()):
            raise SchemaChangedError(
                f"{instance}: column {name!r} is {column.dtype}; in the current version it is {dtype}",
                next_step=f"cast it in the source: .cast(pl.{dtype})",
            )
        casts.append(column.cast(dtype) if not column.is_empty() else pl.Series(name, [], dtype=dtype))
    names = [*schema, *added]
    frame = frame.with_columns(casts) if casts else frame
    return frame.select(*names, *([KNOWN_AT] if KNOWN_AT in frame.columns else [])), names[len(names) - len(values) :]


def _is_wider(column: pl.Series, dtype: pl.DataType) -> bool:
    """Whether the type is of the same sort and holds every value of the column as it is."""
    given = column.dtype
    if given == pl.Null():
        return True
    is_number = given.is_integer() and dtype.is_numeric()
    is_float = given == pl.Float32() and dtype == pl.Float64()
    # pandas counts instants in nanoseconds, whatever the source had.
    is_instant = (
        isinstance(given, pl.Datetime) and isinstance(dtype, pl.Datetime) and given.time_zone == dtype.time_zone
    )
    if not (is_number or is_float or is_instant):
        return False
    return bool(column.cast(dtype, strict=False).cast(given, strict=False).eq_missing(column).all())


def _check_keys(frame: pl.DataFrame, instance: str, keys: Sequence[str]) -> None:
    for name in keys:
        column = frame[name]
        absent = column.null_count()
        if not absent and column.dtype.is_float():
            absent = int(column.is_nan().sum())
        if absent:
            raise InvalidOutputError(
                f"{instance}: the key column {name!r} has {absent} missing values",
                next_step="leave rows without a key out of what the source returns",
            )


def _sorted_unique(frame: pl.DataFrame, instance: str, identity: list[str]) -> pl.DataFrame:
    """Sort by key unless it is sorted already, and refuse a key that stands in two rows."""
    if frame.height < 2:
        return frame
    if not _ascends(frame, identity, is_strict=True):
        if not _ascends(frame, identity, is_strict=False):
            frame = frame.sort(identity)
        same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in identity)
        twice = frame.lazy().select(identity).filter(same).collect(engine="streaming")
        if not twice.is_empty():
            examples = twice.unique(maintain_order=True).head(_EXAMPLES)
            shown = "; ".join(", ".join(f"{k}={v}" for k, v in row.items()) for row in examples.to_dicts())
            raise DuplicateKeysError(
                f"{instance}: {twice.height} rows have the key of another row, for example {shown}",
                next_step="drop them in the source, or name further columns under `key:` in optaic.yaml",
            )
    return frame


def _ascends(frame: pl.DataFrame, identity: list[str], *, is_strict: bool) -> bool:
    """Whether each row's key is greater than the one before it; without `is_strict`, or equal."""
    later: pl.Expr = pl.lit(value=not is_strict)
    for name in reversed(identity):
        column = pl.col(name)
        before = column.shift(1)
        later = (column > before) | ((column == before) & later)
    # The first row has none before it: its comparison is null, which `all` leaves out.
    return bool(frame.lazy().select(later.all()).collect(engine="streaming").item())
