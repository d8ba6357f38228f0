"""Versions: of datasets, lists of immutable segments; of all else, files."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from optaic.domain.artifact import Artifact

KNOWN_AT = "known_at"
"""The column of every dataset row: the instant (UTC, microseconds) at which the row was known."""

DELETED = "_deleted"
"""The column of revision segments that marks a row as withdrawn from its `known_at` on."""


class SegmentRole(StrEnum):
    """How the rows of a segment meet the rows before them."""

    INSERT = "insert"
    """Every key is new to the dataset: these rows hide nothing."""
    REVISE = "revise"
    """Rows of keys that earlier segments hold too: revised, withdrawn or returned. Has the `_deleted` column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """An immutable Parquet file, part of one or more versions of a dataset.

    Attributes
    ----------
    key
        Its key in the object store.
    role
        How its rows meet earlier ones.
    row_count, size_bytes, sha256
        What the ledger can check it by.
    first_date, last_date
        The event dates that it spans, both inclusive; readers skip segments by them.
    first_known_at, last_known_at
        The instants (UTC) that its rows were known at, both inclusive; as-of readers skip segments by them.
    """

    key: str
    role: SegmentRole
    row_count: int
    size_bytes: int
    sha256: str
    first_date: dt.date
    last_date: dt.date
    first_known_at: dt.datetime
    last_known_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a dataset: its name and its Polars dtype as a string (`Float64`, `Date`, `String`)."""

    name: str
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """One version of a dataset, as readers need it.

    Attributes
    ----------
    id
        The version's id in the ledger.
    number
        1, 2, ... within its flow.
    key_columns
        The columns that identify a row; the first is the event date.
    columns
        The schema, `known_at` left out.
    segments
        In order of publication: on equal `known_at`, a later segment's row wins.
    row_count
        Rows of the current view.
    first_data_date, last_data_date
        The event dates of the current view, inclusive; None if it has no rows.
    content_digest
        SHA-256 over the segments' digests, in order.
    """

    id: uuid.UUID
    number: int
    key_columns: tuple[str, ...]
    columns: tuple[Column, ...]
    segments: tuple[Segment, ...]
    row_count: int
    first_data_date: dt.date | None
    last_data_date: dt.date | None
    content_digest: str

    @property
    def date_column(self) -> str:
        """The event date: the first key column."""
        return self.key_columns[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVersion:
    """One version of what is no dataset: the files of the run that made it.

    Attributes
    ----------
    id
        The version's id in the ledger.
    number
        1, 2, ... within its flow.
    run_id
        The run that published it.
    artifacts
        Its files.
    detail
        What the kind of flow says of it, as JSON: the fits of a model, the definition of an optimiser.
    first_data_date, last_data_date
        The event dates that it spans, inclusive; None if it has none.
    content_digest
        SHA-256; equal digests, equal content.
    """

    id: uuid.UUID
    number: int
    run_id: uuid.UUID
    artifacts: tuple[Artifact, ...]
    detail: Mapping[str, Any]
    first_data_date: dt.date | None
    last_data_date: dt.date | None
    content_digest: str


Version = DatasetVersion | FileVersion


def content_digest(segments: Iterable[Segment]) -> str:
    """Digest a version: SHA-256 over its segments' digests, in order."""
    digest = hashlib.sha256()
    for segment in segments:
        digest.update(bytes.fromhex(segment.sha256))
    return digest.hexdigest()
