"""Refresh a dataset: fetch, compare with the current version by key, write what differs."""

from __future__ import annotations

import datetime as dt
import inspect
import json
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from optaic.domain.artifact import Artifact, StoredObject
from optaic.domain.known import Derived, FromColumn, KnownRule, parse_known
from optaic.domain.status import Standing
from optaic.domain.version import DELETED, KNOWN_AT, Column, DatasetVersion, Segment, SegmentRole
from optaic.errors import (
    DigestMismatchError,
    InvalidInputError,
    InvalidOutputError,
    ObjectMissingError,
    SchemaChangedError,
)
from optaic.flows.call import call_definition
from optaic.flows.compare import Difference, compare, compare_first
from optaic.flows.context import RunContext
from optaic.flows.fetched import Fetched, take
from optaic.flows.task import DatasetChange, Result, Task
from optaic.flows.vintages import compare_vintages
from optaic.storage.objects import ObjectStore
from optaic.storage.segments import scan_history, scan_state, split_rows, write_segment
from optaic.storage.view import PLACE, reading

DEFAULT_KEY = ("date", "symbol")

DERIVED_TOLERANCE = 1e-12
"""A derived value within this of the stored one, relative to the larger of the two, keeps the stored one."""


REBUILT = (
    "The dataset was made anew of what was fetched: its earlier vintages can no longer be read, and known_at follows "
    "the dataset's rule anew"
)
"""What is said of a refresh that replaced a version of which a file was missing or damaged."""

REBUILT_BECAUSE = "rebuilt_because"
"""The metric of such a run that says so, and which file it was."""


def refresh(task: Task, definition: Callable[..., Any], context: RunContext, store: ObjectStore) -> Result:
    """Refresh a dataset.

    Parameters
    ----------
    task
        What to refresh. Its config may have `key` (default `[date, symbol]`), `known_at` (see `parse_known`), and
        `mode`, which holds when the task has none. Without any, it is incremental if there is a current version and
        the source takes `start`.
    definition
        The source, called as `definition(ctx, start, **params)`: `start` (a date, or None for everything) and params
        are passed as far as its signature has them.
    context
        What the source sees of its run.
    store
        Where segments are read and written.

    Returns
    -------
    Result
        The change, with new segments unless it is a trial or nothing changed; the metrics of a PipelineRun; and the
        artifacts `fetched.parquet` (of an incremental refresh or a trial), `difference.parquet` (at most 1,000 changed
        rows; if any) and `quality.json`.

    Raises
    ------
    NoOutputError
        If the source returned nothing although everything was asked for.
    InvalidOutputError
        If it returned what a dataset cannot hold.
    SchemaChangedError
        If the columns, their types or the key are not those of the current version.
    DuplicateKeysError
        If it returned a key twice.
    InvalidInputError
        If the config is wrong, or a param cannot be what the source's signature says.
    StorageError
        If the store cannot be read or written. What `task.may_rebuild` allows: a current version of which a file is
        missing or damaged is replaced by what was fetched.
    """
    keys = _keys_of(task.config)
    rule = parse_known(task.config)
    current = task.current
    if current is not None and current.key_columns != keys:
        raise SchemaChangedError(
            f"{task.instance}: the key is [{', '.join(keys)}]; "
            f"in the current version it is [{', '.join(current.key_columns)}]",
            next_step="set the key back, or declare a new dataset with the new key",
        )
    is_full = _is_full(task, definition)
    start = None if is_full or current is None else current.last_data_date
    table = call_definition(definition, context, params=task.params, given={"start": start})
    is_all = is_full or current is None
    fetched = take(table, instance=task.instance, keys=keys, rule=rule, current=current, is_full=is_all)
    del table
    if any(context.has_secret(name) for name in fetched.columns):
        raise InvalidOutputError(
            f"{task.instance}: the name of a column holds a secret",
            next_step="name it after something that everybody may see",
        )
    is_trial = task.standing is not Standing.OFFICIAL
    may_rebuild = task.may_rebuild and not is_trial
    damage = find_damage(current, store) if may_rebuild and current is not None else None
    if damage is not None:
        context.log.warning("%s: %s. %s", task.instance, damage, REBUILT)
        task = replace(task, current=None)
    difference, replaces = find_difference(fetched, task, rule, store, is_full=is_full)
    segments = () if is_trial else write_changes(difference, task, store, keys)
    change = _change(fetched, difference, task.current, segments, is_full=is_all)
    if damage is not None and current is not None:
        dates = [one for one in (change.changed_from, current.first_data_date) if one is not None]
        change = replace(change, replaces=True, changed_from=min(dates, default=None))
    elif replaces:
        change = replace(change, row_count=fetched.frame.height, replaces=True)
    artifacts = _keep_artifacts(
        fetched, difference, context, keeps_fetched=is_trial or (current is not None and not is_full)
    )
    last = change.last_data_date
    metrics: dict[str, float | int | str | None] = {
        "rows_fetched": change.rows_fetched,
        "rows_inserted": change.rows_inserted,
        "rows_updated": change.rows_updated,
        "rows_deleted": change.rows_deleted,
        "rows_unchanged": change.rows_unchanged,
        "last_data_date": None if last is None else last.isoformat(),
        "bytes_processed": fetched.frame.estimated_size(),
    }
    if damage is not None:
        metrics[REBUILT_BECAUSE] = f"{damage}. {REBUILT}"
    return Result(metrics=metrics, artifacts=artifacts, dataset=change)


def find_damage(current: DatasetVersion, store: ObjectStore) -> str | None:
    """Read every file of a version, whole, and say which is missing or not what was written; None if all are well.

    Raises
    ------
    StorageError
        If the store cannot be read: that says nothing of the files.
    """
    for one in current.segments:
        try:
            store.verify(StoredObject(key=one.key, size_bytes=one.size_bytes, sha256=one.sha256))
        except (ObjectMissingError, DigestMismatchError) as error:
            return error.message
    return None


def write_changes(difference: Difference, task: Task, store: ObjectStore, keys: tuple[str, ...]) -> tuple[Segment, ...]:
    """Write what differs as segments; the next part is written while the last one reaches the disk.

    Raises
    ------
    StorageError
        If they cannot be stored, for example because the disk is full.
    """
    parts = [(SegmentRole.INSERT, part) for part in split_rows(difference.inserts, keys[0])]
    parts += [(SegmentRole.REVISE, part) for part in split_rows(difference.revises, keys[0])]
    prefix = f"t{task.tenant_id}/datasets/{task.instance}/{task.run_id}-{task.attempt}"

    def write(number: int, role: SegmentRole, rows: pl.DataFrame) -> Segment:
        return write_segment(store, f"{prefix}-{number}.parquet", rows, role=role, key_columns=keys)

    parts = [(role, rows) for role, rows in parts if not rows.is_empty()]
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="optaic-segments") as pool:
        waiting = [pool.submit(write, number, role, rows) for number, (role, rows) in enumerate(parts, start=1)]
        return tuple(one.result() for one in waiting)


def find_difference(
    fetched: Fetched, task: Task, rule: KnownRule, store: ObjectStore, *, is_full: bool
) -> tuple[Difference, bool]:
    """Compare what was fetched with what is stored.

    Parameters
    ----------
    fetched
        What was fetched.
    task
        Of the run: its current version, when it started, and whether other code or config makes it now.
    rule
        How rows get their `known_at`.
    store
        Where the current version is.
    is_full
        Whether keys that were not fetched are withdrawn.

    Returns
    -------
    tuple of (Difference, bool)
        What has to be written, and whether that is all of the dataset from now on: a derived one that is made by other
        code or config than before is what a new dataset would be.

    Raises
    ------
    StorageError
        If the current version cannot be read.
    InvalidInputError
        If the calendar of a lag is unknown, or has no session after a date.
    """
    current = task.current
    if current is None and not isinstance(rule, FromColumn):
        return compare_first(fetched, rule=rule, started_at=task.started_at), False
    dates = None if is_full or current is None else fetched.frame[fetched.keys[0]].unique(maintain_order=True)
    if isinstance(rule, FromColumn):
        stored = _nothing(fetched) if current is None else scan_history(store, current, dates=dates)
        with reading("the current version"):
            history = stored.collect(engine="streaming")
        return compare_vintages(fetched, history, started_at=task.started_at, is_full=is_full), False
    assert current is not None  # noqa: S101 - the first refresh has returned above
    with reading("the current version"):
        state = scan_state(store, current, dates=dates).collect(engine="streaming")
    is_derived = isinstance(rule, Derived)
    found = compare(
        fetched,
        state,
        rule=rule,
        started_at=task.started_at,
        is_full=is_full,
        tolerance=DERIVED_TOLERANCE if is_derived else 0.0,
    )
    if is_derived and task.is_remade and not _is_whole(fetched, state, found):
        # Made by another expression, it is what a new dataset of that expression would be, its past included.
        anew = compare_first(fetched, rule=rule, started_at=task.started_at)
        return replace(anew, inserted=found.inserted, updated=found.updated, deleted=found.deleted), True
    return found, False


def _is_whole(fetched: Fetched, state: pl.DataFrame, found: Difference) -> bool:
    """Whether what is stored is what was fetched, in its values and in when they were known."""
    if not (found.inserts.is_empty() and found.revises.is_empty()):
        return False
    return fetched.frame[KNOWN_AT].equals(state.filter(~pl.col(DELETED))[KNOWN_AT])


def _nothing(fetched: Fetched) -> pl.LazyFrame:
    """Give the history of a dataset that has none."""
    schema = {**fetched.frame.schema, DELETED: pl.Boolean(), PLACE: pl.UInt32()}
    return pl.LazyFrame(schema=schema)


def _change(
    fetched: Fetched,
    difference: Difference,
    current: DatasetVersion | None,
    segments: tuple[Segment, ...],
    *,
    is_full: bool,
) -> DatasetChange:
    frame, columns = fetched.frame, fetched.columns
    dates = frame[fetched.keys[0]]
    first: dt.date | None = None if dates.is_empty() else dates[0]
    last: dt.date | None = None if dates.is_empty() else dates[-1]
    if current is not None and not is_full:
        # Nothing is withdrawn by an incremental refresh, so the view can only have grown.
        first = min((one for one in (first, current.first_data_date) if one is not None), default=None)
        last = max((one for one in (last, current.last_data_date) if one is not None), default=None)
    before = 0 if current is None else current.row_count
    return DatasetChange(
        segments=segments,
        columns=tuple(Column(name=name, dtype=str(frame.schema[name])) for name in columns),
        row_count=before + difference.keys_added - difference.deleted,
        first_data_date=first,
        last_data_date=last,
        changed_from=difference.changed_from,
        changed_columns=difference.changed_columns,
        rows_fetched=frame.height,
        rows_inserted=difference.inserted,
        rows_updated=difference.updated,
        rows_deleted=difference.deleted,
        rows_unchanged=difference.unchanged,
        bytes_written=sum(one.size_bytes for one in segments),
        mode="full" if is_full else "incremental",
    )


def _keep_artifacts(
    fetched: Fetched, difference: Difference, context: RunContext, *, keeps_fetched: bool
) -> tuple[Artifact, ...]:
    kept: list[Artifact] = []
    if keeps_fetched:
        kept.append(context.log_frame("fetched.parquet", fetched.frame))
    if not difference.sample.is_empty():
        kept.append(context.log_frame("difference.parquet", difference.sample))
    frame = fetched.frame
    dates = frame[fetched.keys[0]]
    report = {
        "rows": frame.height,
        "nulls": {name: frame[name].null_count() for name in frame.columns},
        "duplicates": 0,  # they have been refused
        "first_date": None if dates.is_empty() else dates[0].isoformat(),
        "last_date": None if dates.is_empty() else dates[-1].isoformat(),
    }
    with tempfile.TemporaryDirectory(prefix="optaic-") as folder:
        path = Path(folder) / "quality.json"
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        kept.append(context.log_file("quality.json", path))
    return tuple(kept)


def _keys_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    key = config.get("key", DEFAULT_KEY)
    names = (key,) if isinstance(key, str) else tuple(key)
    if not names or len(set(names)) < len(names) or {KNOWN_AT, DELETED, PLACE} & set(names):
        raise InvalidInputError(
            f"key: {key!r} is not a key", next_step="name one or more columns, the event date first: [date, symbol]"
        )
    return names


def _is_full(task: Task, definition: Callable[..., Any]) -> bool:
    mode = task.mode or task.config.get("mode")
    if mode is None:
        return task.current is None or "start" not in inspect.signature(definition).parameters
    if mode not in ("full", "incremental"):
        raise InvalidInputError(f"mode {mode!r} is unknown", next_step="use full or incremental")
    return mode == "full"
