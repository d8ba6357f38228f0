"""What a flow gets and what it returns."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optaic.domain.alert import Alert
from optaic.domain.artifact import Artifact, StoredObject
from optaic.domain.kind import FlowKind, RunType
from optaic.domain.reason import Reason
from optaic.domain.status import Standing
from optaic.domain.version import Column, DatasetVersion, FileVersion, Segment

Slice = tuple[dt.date | None, dt.date | None]
"""The first and the last event date that were asked for, inclusive; None on a side that was not bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedInput:
    """One upstream as this run consumes it: exactly this version, whatever is refreshed meanwhile.

    Attributes
    ----------
    role
        The name under which the flow asks for it: `ctx.input(role)`.
    instance
        The upstream instance.
    version
        The pinned version: rows of a dataset, or the files of what is none.
    columns
        The columns that the flow declared (`prices[close]`); empty for all.
    """

    role: str
    instance: str
    version: DatasetVersion | FileVersion
    columns: tuple[str, ...] = ()

    @property
    def date_range(self) -> Slice:
        """The first and the last event date of the version; None if it has none."""
        return self.version.first_data_date, self.version.last_data_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One execution: everything that may influence its result.

    Attributes
    ----------
    run_id, attempt
        Who is asking; together they name the folder that outputs go to.
    tenant_id
        Whose data it is.
    instance, flow_kind
        What is executed.
    code_ref
        `package.module:attribute` of the definition.
    code_digest
        The identity of that code at submission; the runner recomputes it.
    config
        The instance's config revision, as validated by `apply`.
    params
        The run's own parameters, defaults filled in.
    seed
        For every random generator.
    as_of
        Read inputs as they were known at this instant (UTC); None for the pinned versions' current views.
    mode
        `full` or `incremental`; None when the kind of flow has no modes.
    standing
        Only official runs publish. A reproduction works under its original's standing, and publishes nothing.
    started_at
        When the first attempt started, by the database's clock (UTC): the run's one idea of now. Of a reproduction, the
        original's.
    current
        The flow's own current version when the run was claimed; None before the first. Of a reproduction, the version
        that the original was compared with.
    inputs
        The pinned upstreams.
    is_remade
        Whether code or config differ from those that made the current version. What somebody asked for, and how an
        earlier run was refreshed, say nothing of it.
    may_rebuild
        Whether somebody asked for a full refresh in so many words: only then is a dataset whose files are gone or
        damaged made anew.
    """

    run_id: uuid.UUID
    attempt: int
    tenant_id: int
    instance: str
    flow_kind: FlowKind
    code_ref: str | None
    code_digest: str | None
    config: Mapping[str, Any]
    params: Mapping[str, Any]
    seed: int
    as_of: dt.datetime | None
    mode: str | None
    standing: Standing
    started_at: dt.datetime
    current: DatasetVersion | None
    inputs: tuple[PinnedInput, ...] = ()
    is_remade: bool = False
    may_rebuild: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetChange:
    """What a refresh found different from the current version, already written as segments.

    Attributes
    ----------
    segments
        The new segments, to be appended to the current version's; empty if nothing changed.
    columns
        The schema after the change, `known_at` left out.
    row_count
        Rows of the current view after the change.
    first_data_date, last_data_date
        Event dates of the current view after the change; None if it has no rows.
    changed_from
        The earliest event date that differs; None if nothing changed.
    changed_columns
        The columns that differ; empty means all of them (rows were inserted or withdrawn) when `segments` is not empty.
    rows_fetched, rows_inserted, rows_updated, rows_deleted, rows_unchanged
        Counts of rows.
    bytes_written
        Size of the new segments.
    mode
        How it was refreshed in the end: `full` or `incremental`.
    replaces
        Whether the new segments are all of the dataset, not what comes after the current version's.
    """

    segments: tuple[Segment, ...]
    columns: tuple[Column, ...]
    row_count: int
    first_data_date: dt.date | None
    last_data_date: dt.date | None
    changed_from: dt.date | None
    changed_columns: tuple[str, ...]
    rows_fetched: int
    rows_inserted: int
    rows_updated: int
    rows_deleted: int
    rows_unchanged: int
    bytes_written: int
    mode: str | None = None
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a flow made that is no dataset: files, which together are the content of a version.

    Attributes
    ----------
    artifacts
        The names of the files that are the output; equal files, equal content. Reports and logs are none of them.
    first_data_date, last_data_date
        The event dates that it spans, inclusive; None if it has none.
    changed_from
        The earliest event date of what may differ from the version before; None for all of it. A reader whose slice
        ends before it stays ready.
    identity
        What beside the files makes two outputs the same; for files whose bytes are not the same twice, instead of them.
    detail
        What the kind of flow adds to the version, as JSON. Its `basis`, if there is one, says how the content was made:
        where it is not that of the version before, all of the content may differ, whatever `changed_from` says.
    """

    artifacts: tuple[str, ...]
    first_data_date: dt.date | None = None
    last_data_date: dt.date | None = None
    changed_from: dt.date | None = None
    identity: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a flow returns: its outputs, by reference, and its metrics.

    Attributes
    ----------
    metrics
        The standard metrics of the run type, and the flow's own.
    artifacts
        The files it wrote.
    dataset
        What a refresh of a dataset changed; None for other kinds.
    output
        What another kind of flow made; None for datasets, and for flows that make no version.
    fields
        Columns of the run's extension table that are no metrics, by name; dates as ISO text.
    slices
        By role, what was read of each input; None where nothing was read.
    read_whole
        The roles of which the version as such was read: with every column, whatever the flow declared.
    alerts
        What a monitor found, the worst first.
    """

    metrics: Mapping[str, float | int | str | None] = field(default_factory=dict[str, float | int | str | None])
    artifacts: tuple[Artifact, ...] = ()
    dataset: DatasetChange | None = None
    output: Output | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    slices: Mapping[str, Slice | None] = field(default_factory=dict[str, Slice | None])
    read_whole: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What a reproduction is compared with.

    Attributes
    ----------
    run_id, run_type
        Which run.
    status, reason
        How it ended, and why.
    metrics
        Its metrics, as the ledger holds them.
    artifacts
        Its files.
    changes
        The segments that its refresh of a dataset wrote, in order; empty if nothing changed, and for other kinds.
    """

    run_id: uuid.UUID
    run_type: RunType
    status: str
    reason: Reason | None
    metrics: Mapping[str, float | int | str | None]
    artifacts: tuple[Artifact, ...] = ()
    changes: tuple[StoredObject, ...] = ()
