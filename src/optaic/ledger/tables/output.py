"""What runs leave behind: versions, segments and artifacts."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Date, Index, Integer, String, text

from optaic.domain.version import SegmentRole
from optaic.ledger.columns import Id, Instant, Json, column, one_of, reference, tenant_table

versions = tenant_table(
    "versions",
    column("id", Id, "The version."),
    column("flow_id", Id, "Whose output."),
    column("number", Integer, "1, 2, ... within the flow."),
    column("run_id", Id, "The official run that published it."),
    column("previous_id", Id, "The version it followed.", null=True),
    column("content_digest", String(64), "Equal digests, equal content."),
    column("key_columns", Json, "What identifies a row: event date first.", null=True),
    column("columns", Json, "Names and types of the columns, `known_at` left out.", null=True),
    column("row_count", BigInteger, "Rows of the current view.", null=True),
    column("first_data_date", Date, "First event date.", null=True),
    column("last_data_date", Date, "Last event date.", null=True),
    column("changed_from", Date, "The earliest event date that differs from the previous version.", null=True),
    column("changed_columns", Json, "The columns that differ; none is all.", null=True),
    column("detail", Json, "What the kind of flow adds: fits, probe digest, ...", null=True),
    column("created_at", Instant, "When it was published."),
    CheckConstraint("number >= 1", name="number"),
    reference("flow_id", "flows"),
    reference("run_id", "runs"),
    reference("previous_id", "versions"),
    Index("uq_versions_number", "tenant_id", "flow_id", "number", unique=True),
    Index("uq_versions_run_id", "tenant_id", "run_id", unique=True),
    comment="The immutable outputs of completed official runs; a trigger refuses updates.",
)

segments = tenant_table(
    "segments",
    column("id", Id, "The segment."),
    column("flow_id", Id, "Whose rows."),
    column("run_id", Id, "Who wrote it."),
    column("storage_key", String(500), "Where the Parquet file is."),
    column("role", String(10), "Rows of new keys, or of keys that earlier segments hold."),
    column("row_count", BigInteger, "Rows in the file."),
    column("size_bytes", BigInteger, "Size of the file."),
    column("sha256", String(64), "Digest of the file."),
    column("first_date", Date, "First event date in it."),
    column("last_date", Date, "Last event date in it."),
    column("first_known_at", Instant, "Earliest instant that its rows were known at."),
    column("last_known_at", Instant, "Latest such instant."),
    column("created_at", Instant, "When it was published."),
    one_of("role", list(SegmentRole)),
    CheckConstraint("row_count > 0", name="row_count"),
    CheckConstraint("first_date <= last_date", name="dates"),
    reference("flow_id", "flows"),
    reference("run_id", "runs"),
    Index("uq_segments_storage_key", "tenant_id", "storage_key", unique=True),
    comment="Immutable Parquet files.",
)

version_segments = tenant_table(
    "version_segments",
    column("version_id", Id, "The version."),
    column("position", Integer, "Order of publication, from 0: later rows win."),
    column("segment_id", Id, "The segment."),
    reference("version_id", "versions"),
    reference("segment_id", "segments"),
    Index("ix_version_segments_segment_id", "tenant_id", "segment_id"),
    key=("version_id", "position"),
    comment="A dataset version is a list of segments.",
)

version_stages = tenant_table(
    "version_stages",
    column("id", Id, "The entry."),
    column("flow_id", Id, "Whose version."),
    column("version_id", Id, "Which version."),
    column("stage", String(50), "`candidate`, `champion`, `archived`."),
    column("set_at", Instant, "From when."),
    column("set_by", Id, "By whom."),
    column("ended_at", Instant, "Until when.", null=True),
    one_of("stage", ["candidate", "champion", "archived"]),
    reference("flow_id", "flows"),
    reference("version_id", "versions"),
    reference("set_by", "principals"),
    Index("uq_version_stages_champion", "tenant_id", "flow_id", unique=True,
          sqlite_where=text("stage = 'champion' AND ended_at IS NULL"),
          postgresql_where=text("stage = 'champion' AND ended_at IS NULL")),
    Index("uq_version_stages_live", "tenant_id", "version_id", unique=True,
          sqlite_where=text("ended_at IS NULL"), postgresql_where=text("ended_at IS NULL")),
    comment="The stages of model versions; at most one champion of a flow.",
)  # fmt: skip

artifacts = tenant_table(
    "artifacts",
    column("run_id", Id, "Who wrote it."),
    column("attempt", Integer, "In which attempt."),
    column("name", String(200), "The name that the run gave it."),
    column("kind", String(20), "Table, file, report, or a file shared with a dataset version."),
    column("media_type", String(100), "As registered with IANA."),
    column("storage_key", String(500), "Where the bytes are; never overwritten."),
    column("size_bytes", BigInteger, "How many."),
    column("sha256", String(64), "Their digest."),
    column("created_at", Instant, "When the run's completion made it visible."),
    one_of("kind", ["frame", "file", "report", "segment"]),
    reference(["run_id", "attempt"], "attempts", ["run_id", "number"]),
    Index("ix_artifacts_storage_key", "tenant_id", "storage_key"),
    key=("run_id", "name"),
    comment="Files of completed runs; written to the store before this row.",
)
