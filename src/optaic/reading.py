"""Reading: datasets as they are or were."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import select

from optaic.bootstrap import Runtime
from optaic.domain.kind import BY_FLOW_KIND, FlowKind, InstanceKind, OutputKind
from optaic.domain.known import calendar_of
from optaic.domain.text import check_text
from optaic.errors import InvalidInputError
from optaic.ledger import catalog, versions
from optaic.ledger.session import Transaction
from optaic.ledger.tables import run_metrics
from optaic.ledger.targets import find_target

if TYPE_CHECKING:
    import polars as pl

_COLUMNS = re.compile(r"([^\[\]]+)\[([^\[\]]+)\]")

_FIRST_YEAR, _LAST_YEAR = 2, 9998  # beyond these an instant has no date in every time zone


def read_dataset(
    runtime: Runtime,
    name: str,
    *,
    version: int | None,
    as_of: dt.datetime | dt.date | str | None,
    columns: Sequence[str] | None,
    start: dt.date | str | None,
    end: dt.date | str | None,
    symbols: Sequence[str] | None,
) -> pl.DataFrame:
    """Read a dataset as `Ledger.data` describes it.

    Raises
    ------
    NotFoundError
        If there is no such dataset or version.
    InvalidInputError
        If a column, date, instant or symbol is wrong, or `start` is after `end`.
    """
    from optaic.storage.segments import read

    match = _COLUMNS.fullmatch(name)
    if match is not None:
        if columns is not None:
            raise InvalidInputError(f"{name!r} selects columns already", next_step="give columns in one way")
        name, columns = match[1], [part.strip() for part in match[2].split(",")]
    first, last = to_date(start, "start"), to_date(end, "end")
    if first is not None and last is not None and first > last:
        raise InvalidInputError(f"start {first} is after end {last}", next_step="exchange them")
    _check_symbols(symbols)
    with runtime.database.read() as tx:
        flow = _dataset(tx, name)
        dataset = versions.get_dataset(tx, versions.find_version(tx, flow.id, name, version))
    return read(
        runtime.store,
        dataset,
        as_of=None if as_of is None else to_instant(as_of, flow.config),
        columns=columns,
        start=first,
        end=last,
        symbols=symbols,
    )


def _check_symbols(symbols: object) -> None:
    """Refuse what would select nothing, or something else, without a word: notebooks are not type-checked."""
    if isinstance(symbols, str):
        # A text is a sequence too, of its letters.
        raise InvalidInputError(f"symbols is the text {symbols!r}", next_step=f"give a list: symbols=[{symbols!r}]")
    if symbols is None:
        return
    if not isinstance(symbols, Iterable):
        raise InvalidInputError(f"symbols is {symbols!r}", next_step='give a list of texts: symbols=["AAPL"]')
    for symbol in cast("Iterable[object]", symbols):
        if not isinstance(symbol, str):
            raise InvalidInputError(
                f"{symbol!r} in symbols is no text", next_step='give a list of texts: symbols=["AAPL"]'
            )


def _dataset(tx: Transaction, name: str) -> catalog.Flow:
    flow = catalog.find_flow(tx, check_text(name, "the name of the dataset"))
    if BY_FLOW_KIND[FlowKind(flow.kind)].output is not OutputKind.DATASET:
        is_model = flow.instance_kind is InstanceKind.MODEL
        step = f"read its predictions: {flow.instance}.infer" if is_model else "name a dataset"
        raise InvalidInputError(f"{name} is no dataset; it is a {flow.instance_kind}", next_step=step)
    return flow


def version_items(runtime: Runtime, name: str) -> list[dict[str, Any]]:
    """Give the versions of a dataset, newest first, as JSON-ready items.

    Raises
    ------
    NotFoundError
        If there is no such dataset.
    """
    with runtime.database.read() as tx:
        rows = versions.of_flow(tx, _dataset(tx, name).id)
    return [
        {
            "instance": name,
            "version": row.number,
            "run_id": str(row.run_id),
            "row_count": row.row_count,
            "first_data_date": _iso(row.first_data_date),
            "last_data_date": _iso(row.last_data_date),
            "changed_from": _iso(row.changed_from),
            "changed_columns": row.changed_columns,
            "content_digest": row.content_digest,
            "created_at": row.created_at.isoformat().replace("+00:00", "Z"),
        }
        for row in rows
    ]


def unknown_metrics(runtime: Runtime, names: Iterable[str]) -> list[str]:
    """Give those of some names of metrics that no run has, in their order."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return []
    key = run_metrics.c.key
    with runtime.database.read() as tx:
        query = select(key).where(run_metrics.c.tenant_id == tx.tenant_id, key.in_(wanted)).distinct()
        known = set(tx.conn.execute(query).scalars())
    return [name for name in wanted if name not in known]


def code_digest_of(runtime: Runtime, target: str) -> str | None:
    """Digest the code of a target as it is in the project now; None where it has none.

    Raises
    ------
    NotFoundError
        If there is no such target, or its code is gone.
    InvalidInputError
        If its code cannot be read.
    """
    from optaic.flows.code import code_digest, locate

    check_text(target, "the target")
    with runtime.database.read() as tx:
        flow = find_target(tx, target).flow
    return None if flow.code_ref is None else code_digest(locate(flow.code_ref, runtime.settings.project_root))


def to_date(value: dt.date | str | None, what: str) -> dt.date | None:
    """Take a date, or its ISO text.

    Raises
    ------
    InvalidInputError
        If it is neither.
    """
    if value is None:
        return None
    if isinstance(value, dt.datetime):
        raise InvalidInputError(f"{what} is an instant; event dates are dates", next_step="write 2024-01-31")
    if isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        raise InvalidInputError(f"{what} {value!r} is not a date", next_step="write 2024-01-31") from None


def to_instant(value: dt.datetime | dt.date | str, config: Mapping[str, Any] | None = None) -> dt.datetime:
    """Take an aware instant, or a date, which means the close of that session (or of the last one before it).

    Parameters
    ----------
    value
        An aware datetime, a date, or the ISO text of either.
    config
        The config of the dataset whose calendar is meant; XNYS where there is none.

    Returns
    -------
    datetime
        In UTC.

    Raises
    ------
    InvalidInputError
        If it is neither, or has no time zone.
    """
    if isinstance(value, str):
        try:
            value = dt.date.fromisoformat(value) if len(value) <= 10 else dt.datetime.fromisoformat(value)
        except ValueError:
            raise InvalidInputError(
                f"{value!r} is neither a date nor an instant", next_step="write 2024-01-31 or 2024-01-31T21:00:00Z"
            ) from None
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise InvalidInputError(
                f"{value.isoformat()} has no time zone", next_step=f"write {value.isoformat()}Z for UTC"
            )
        if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
            raise InvalidInputError(f"{value.isoformat()} is too far away; use a year from 2 to 9998")
        return value.astimezone(dt.UTC)
    from optaic.flows.calendar import session_close

    return session_close(value, calendar_of(config or {}))


def _iso(value: dt.date | None) -> str | None:
    return None if value is None else value.isoformat()
