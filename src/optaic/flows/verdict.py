"""Compare what a reproduction has made with what its original made: tables, documents and other files, and metrics."""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from optaic.domain.artifact import Artifact, StoredObject, next_name
from optaic.domain.comparison import (
    MEDIA_TYPE,
    Comparison,
    Part,
    Place,
    compare_documents,
    compare_ends,
    compare_metrics,
    conclude,
)
from optaic.domain.version import DELETED, KNOWN_AT
from optaic.errors import StorageError
from optaic.flows.context import RunContext
from optaic.flows.difference import compare_frames
from optaic.flows.task import Original, Result, Task
from optaic.storage.objects import ObjectStore

FILE = "comparison.json"
"""The artifact of a reproduction that says how it compares with its original."""

CHANGES = "changes"
"""The folder of the artifacts that hold what a reproduced refresh found changed; none of it is published."""

PARQUET = "application/vnd.apache.parquet"

DEFAULT_KEY = ("date", "symbol")

PAGE = "a page for people; what it shows is compared where it comes from"
"""Why a page is not compared."""

MODEL = "a stored model with other bytes, which an equal one may have too; what it predicts is compared"
"""Why a stored model is not compared where its digest is another."""


def add_comparison(original: Original, task: Task, result: Result, context: RunContext, store: ObjectStore) -> Result:
    """Compare a reproduction's result with its original, and add the comparison to it.

    Parameters
    ----------
    original
        What it is compared with.
    task
        What was executed.
    result
        What came out, complete.
    context
        Takes the file.
    store
        Has the files of both.

    Returns
    -------
    Result
        The result with `comparison.json`, and, of a dataset, what it found changed as artifacts: `changes/1.parquet`.

    Raises
    ------
    StorageError
        If a file of the original is gone, or is not what was written.
    """
    comparison = judge(original, task, result, store)
    document = {"original": str(original.run_id), **comparison.to_json()}
    with tempfile.TemporaryDirectory(prefix="optaic-") as folder:
        path = Path(folder) / FILE
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        kept = replace(context.log_file(FILE, path), media_type=MEDIA_TYPE)
    segments = () if result.dataset is None else result.dataset.segments
    taken = {item.name for item in result.artifacts}
    changes = tuple(
        Artifact(
            name=next_name(f"{CHANGES}/{number}.parquet", taken),
            kind="segment",
            media_type=PARQUET,
            stored=StoredObject(key=one.key, size_bytes=one.size_bytes, sha256=one.sha256),
        )
        for number, one in enumerate(segments, start=1)
    )
    context.say(f"compared with run {original.run_id}: {comparison.verdict.replace('_', ' ')}")
    return replace(result, artifacts=(*result.artifacts, *changes, kept))


def judge(original: Original, task: Task, result: Result, store: ObjectStore) -> Comparison:
    """Compare a reproduction's result with its original.

    Compared are what a refresh of a dataset found changed, artifacts by name (Parquet tables and JSON documents value
    by value, all others by digest), and metrics by name. Times, durations and pages are not, nor models that both have.

    Parameters
    ----------
    original
        What it is compared with.
    task
        What was executed.
    result
        What came out, complete.
    store
        Has the files of both.

    Returns
    -------
    Comparison
        The verdict, and where they differ.

    Raises
    ------
    StorageError
        If a file of one of them is gone, or is not what was written.
    """
    if original.status != "completed":
        return compare_ends((original.status, original.reason), ("completed", None))
    found: list[Place] = []
    compared: list[str] = []
    left_out: dict[str, str] = {}
    if result.dataset is not None:
        segments = [StoredObject(key=s.key, size_bytes=s.size_bytes, sha256=s.sha256) for s in result.dataset.segments]
        found += compare_changes(store, original.changes, segments, _keys_of(task))
        compared.append(CHANGES)
    theirs, ours = _files(original.artifacts), _files(result.artifacts)
    for name in sorted({*theirs, *ours}):
        why = _why_left_out([files[name] for files in (theirs, ours) if name in files])
        if why is not None:
            left_out[name] = why
            continue
        compared.append(name)
        found += _compare_files(store, name, theirs.get(name), ours.get(name))
    metrics = {name: _as_stored(value) for name, value in result.metrics.items()}
    found += compare_metrics(original.run_type, original.metrics, metrics)
    return conclude(found, compared=[*compared, "metrics"], left_out=left_out)


def _why_left_out(files: Sequence[Artifact]) -> str | None:
    """Say why a file is not compared, of the original and the reproduction, or of the one that has it."""
    suffix = Path(files[0].name).suffix.lower()
    if suffix == ".html" or any(one.kind == "report" for one in files):
        return PAGE
    has_other_bytes = len({one.stored.sha256 for one in files}) > 1
    return MODEL if suffix == ".skops" and has_other_bytes else None


def _keys_of(task: Task) -> tuple[str, ...]:
    key = task.config.get("key", DEFAULT_KEY)
    return (key,) if isinstance(key, str) else tuple(key)


def _files(artifacts: Sequence[Artifact]) -> dict[str, Artifact]:
    """Give the files that are compared as such, by name."""
    return {one.name: one for one in artifacts if one.kind != "segment" and one.media_type != MEDIA_TYPE}


def _as_stored(value: float | str | None) -> float | str | None:
    """Give a metric as the ledger holds it, which has neither NaN nor infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _compare_files(
    store: ObjectStore, name: str, original: Artifact | None, reproduction: Artifact | None
) -> Iterator[Place]:
    if original is None or reproduction is None:
        where = "reproduction" if original is None else "original"
        yield Place(part=Part.ARTIFACT, name=name, note=f"only in the {where}")
        return
    if original.stored.sha256 == reproduction.stored.sha256:
        return
    suffix = Path(name).suffix.lower()
    if suffix == ".parquet":
        yield from compare_frames(Part.ARTIFACT, name, _read(store, original.stored), _read(store, reproduction.stored))
        return
    if suffix == ".json":
        try:
            one, other = (json.loads(store.get(item.stored)) for item in (original, reproduction))
        except ValueError:
            pass  # no JSON after all: told by its digest
        else:
            yield from compare_documents(name, one, other)
            return
    yield Place(
        part=Part.ARTIFACT,
        name=name,
        original=original.stored.sha256,
        reproduction=reproduction.stored.sha256,
        note="SHA-256 of its bytes",
    )


def _read(store: ObjectStore, stored: StoredObject) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(store.get(stored)))
    except pl.exceptions.PolarsError as error:
        raise StorageError(f"{stored.key} cannot be read as a table: {error}") from error


def compare_changes(
    store: ObjectStore, original: Sequence[StoredObject], reproduction: Sequence[StoredObject], keys: Sequence[str]
) -> Iterator[Place]:
    """Compare what two refreshes of a dataset have written: new rows, revised rows, withdrawn rows.

    Parameters
    ----------
    store
        Has the segments.
    original, reproduction
        The segments of each, in order.
    keys
        The key columns.

    Yields
    ------
    Place
        Where they differ, however little.

    Raises
    ------
    StorageError
        If a segment is gone, or is not what was written.
    """
    if [one.sha256 for one in original] == [one.sha256 for one in reproduction]:
        return
    if not original or not reproduction:
        rows = sum(_read(store, one).height for one in (*original, *reproduction))
        where = "original" if original else "reproduction"
        yield Place(part=Part.DATASET, name=CHANGES, count=rows, note=f"only the {where} changed rows")
        return
    yield from compare_frames(
        Part.DATASET,
        CHANGES,
        _all_rows(store, original, keys),
        _all_rows(store, reproduction, keys),
        keys=[tuple(keys), (*keys, KNOWN_AT)],
    )


def _all_rows(store: ObjectStore, segments: Sequence[StoredObject], keys: Sequence[str]) -> pl.DataFrame:
    frames = [_read(store, one) for one in segments]
    rows = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
    if DELETED in rows.columns:
        rows = rows.with_columns(pl.col(DELETED).fill_null(value=False))
    else:
        rows = rows.with_columns(pl.lit(value=False).alias(DELETED))
    return rows.sort([name for name in (*keys, KNOWN_AT) if name in rows.columns], maintain_order=True)
