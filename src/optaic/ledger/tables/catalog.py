"""What is configured: projects, definitions, instances, flows, and the edges between flows."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Date, Index, Integer, String, text

from optaic.domain.kind import FlowKind, InstanceKind
from optaic.domain.status import Freshness
from optaic.ledger.columns import Id, Instant, Json, column, one_of, reference, tenant_table

projects = tenant_table(
    "projects",
    column("id", Id, "The project."),
    column("name", String(100), "Its name in the project file."),
    column("applied_digest", String(64), "Digest of the project file that was applied last.", null=True),
    column("source_digest", String(64), "The source snapshot of the last apply.", null=True),
    column("created_at", Instant, "When it was first applied."),
    column("applied_at", Instant, "When it was last applied.", null=True),
    Index("uq_projects_name", "tenant_id", "name", unique=True),
    root=True,
    comment="What one project file declares; owns its instances.",
)

source_snapshots = tenant_table(
    "source_snapshots",
    column("digest", String(64), "SHA-256 of the archive's contents."),
    column("storage_key", String(500), "Where the archive is in the object store."),
    column("size_bytes", BigInteger, "Size of the archive."),
    column("sha256", String(64), "SHA-256 of the archive's bytes."),
    column("file_count", Integer, "Files in it."),
    column("created_at", Instant, "When it was first stored."),
    key=("digest",),
    root=True,
    comment="The project's source, once per digest; reproduction runs it.",
)

definitions = tenant_table(
    "definitions",
    column("id", Id, "The definition."),
    column("code_ref", String(300), "`package.module:attribute`."),
    column("created_at", Instant, "When it was first applied."),
    Index("uq_definitions_code_ref", "tenant_id", "code_ref", unique=True),
    root=True,
    comment="Reusable code.",
)

definition_versions = tenant_table(
    "definition_versions",
    column("id", Id, "The version of the definition."),
    column("definition_id", Id, "Whose version."),
    column("code_digest", String(64), "Digest of the definition and of all project-local code that it imports."),
    column("distribution", String(200), "The installed distribution that provides it.", null=True),
    column("distribution_version", String(100), "That distribution's version.", null=True),
    column("params_schema", Json, "The parameters it takes: name, type, default."),
    column("created_at", Instant, "When this code was first applied."),
    reference("definition_id", "definitions"),
    Index("uq_definition_versions_code_digest", "tenant_id", "definition_id", "code_digest", unique=True),
    comment="The code of a definition, by digest.",
)

instances = tenant_table(
    "instances",
    column("id", Id, "The instance."),
    column("project_id", Id, "Who owns it; none if a tracked loop made it.", null=True),
    column("name", String(100), "Unique among the tenant's live instances."),
    column("kind", String(30), "What it is."),
    column("revision_number", Integer, "The current revision."),
    column("created_at", Instant, "When it was made."),
    column("archived_at", Instant, "From when it takes no part; its history stays.", null=True),
    one_of("kind", list(InstanceKind)),
    reference("project_id", "projects"),
    Index("uq_instances_live_name", "tenant_id", "name", unique=True, sqlite_where=text("archived_at IS NULL"),
          postgresql_where=text("archived_at IS NULL")),
    root=True,
    comment="A configured use of a definition or of a built-in procedure.",
)  # fmt: skip

instance_revisions = tenant_table(
    "instance_revisions",
    column("id", Id, "The revision; runs point at it."),
    column("instance_id", Id, "Whose config."),
    column("number", Integer, "1, 2, ... within the instance."),
    column("definition_id", Id, "The code it configures; none for built-in procedures.", null=True),
    column("config", Json, "The whole declaration, as validated; secrets stay references."),
    column("config_digest", String(64), "Digest of what may change a result; labels and schedules are left out."),
    column("created_at", Instant, "When it was applied."),
    column("created_by", Id, "Who applied it."),
    reference("instance_id", "instances"),
    reference("definition_id", "definitions"),
    reference("created_by", "principals"),
    CheckConstraint("number >= 1", name="number"),
    Index("uq_instance_revisions_number", "tenant_id", "instance_id", "number", unique=True),
    comment="The immutable configs of an instance; a trigger refuses updates.",
)

flows = tenant_table(
    "flows",
    column("id", Id, "The flow."),
    column("instance_id", Id, "Made with it."),
    column("kind", String(20), "What it does with its instance."),
    column("policies", Json, "Retry, timeout, seed, behaviour when a source is delayed."),
    column("freshness_spec", Json, "What its calendar expects; none is irregular.", null=True),
    column("revision_id", Id, "The config that it would run with."),
    column("definition_version_id", Id, "The code that it would run with.", null=True),
    column("source_digest", String(64), "The source snapshot that it would run from.", null=True),
    column("engine", String(20), "What executes its runs.", server_default="local"),
    column("engine_deployment_id", String(200), "What the engine calls it.", null=True),
    column("current_version_id", Id, "What its last official completion published.", null=True),
    column("current_run_id", Id, "The official run that current state speaks of.", null=True),
    column("last_attempt_run_id", Id, "The official run that ended last, however.", null=True),
    column("last_attempt_ok", Integer, "Whether that one completed: 1 or 0.", null=True),
    column("last_data_date", Date, "Last event date published; a completion without one does not erase it.", null=True),
    column("freshness", String(30), "Cache of the definition of freshness.", server_default="not_initialized"),
    column("causes", Json, "Cache: why it is not ready.", null=True),
    column("stale_from", Date, "Cache: from which event date it is stale; none is all.", null=True),
    column("ready_until", Instant, "Until when its data reach what the calendar expects.", null=True),
    column("expected_date", Date, "Cache: the event date that the calendar expects.", null=True),
    column("source_asked_at", Instant, "When its source was last asked.", null=True),
    column("created_at", Instant, "When it was made."),
    column("archived_at", Instant, "From when it takes no part.", null=True),
    one_of("kind", list(FlowKind)),
    one_of("freshness", list(Freshness)),
    one_of("engine", ["local", "prefect", "inline"]),
    CheckConstraint("last_attempt_ok IN (0, 1)", name="last_attempt_ok"),
    reference("instance_id", "instances"),
    reference("revision_id", "instance_revisions"),
    reference("definition_version_id", "definition_versions"),
    Index("uq_flows_kind", "tenant_id", "instance_id", "kind", unique=True),
    Index("uq_flows_engine_deployment_id", "tenant_id", "engine", "engine_deployment_id", unique=True),
    comment="The static execution resource of an instance.",
)

flow_inputs = tenant_table(
    "flow_inputs",
    column("id", Id, "The edge."),
    column("flow_id", Id, "Downstream: the flow that reads."),
    column("upstream_flow_id", Id, "Upstream: the flow that is read."),
    column("role", String(100), "The name under which the flow asks for it."),
    column("kind", String(30), "What depends on what."),
    column("columns", Json, "The columns read; none is all.", null=True),
    column("selector", String(20), "Which version is taken.", server_default="current"),
    column("selector_stage", String(50), "The stage, for `stage`.", null=True),
    column("selector_version", Integer, "The version number, for `version`.", null=True),
    column("position", Integer, "Order of declaration."),
    column("created_at", Instant, "When it was declared."),
    column("ended_at", Instant, "When it was withdrawn or an end of it archived; history stays.", null=True),
    one_of("kind", ["data_dependency", "schema_dependency", "feature_dependency", "signal_dependency"]),
    one_of("selector", ["current", "stage", "version"]),
    CheckConstraint("flow_id <> upstream_flow_id", name="not_itself"),
    CheckConstraint("(selector = 'stage') = (selector_stage IS NOT NULL)", name="selector_stage"),
    CheckConstraint("(selector = 'version') = (selector_version IS NOT NULL)", name="selector_version"),
    reference("flow_id", "flows"),
    reference("upstream_flow_id", "flows"),
    Index("uq_flow_inputs_live_role", "tenant_id", "flow_id", "role", "upstream_flow_id", unique=True,
          sqlite_where=text("ended_at IS NULL"), postgresql_where=text("ended_at IS NULL")),
    Index("ix_flow_inputs_live_upstream", "tenant_id", "upstream_flow_id",
          sqlite_where=text("ended_at IS NULL"), postgresql_where=text("ended_at IS NULL")),
    comment="Lineage edges: upstream flow to downstream flow.",
)  # fmt: skip

schedules = tenant_table(
    "schedules",
    column("id", Id, "The schedule."),
    column("flow_id", Id, "What it runs."),
    column("kind", String(20), "By a cron line, after sessions of a calendar, or when upstreams publish."),
    column("spec", Json, "The cron line, calendar, offset, or trigger rule."),
    column("time_zone", String(60), "IANA name of the zone that the spec speaks in."),
    column("next_at", Instant, "When it is due next.", null=True),
    column("last_at", Instant, "When it was last due.", null=True),
    column("last_run_id", Id, "What it last submitted.", null=True),
    column("paused_at", Instant, "Since when it is paused.", null=True),
    column("created_at", Instant, "When it was declared."),
    column("ended_at", Instant, "When it was withdrawn.", null=True),
    one_of("kind", ["cron", "session", "upstream"]),
    reference("flow_id", "flows"),
    Index("ix_schedules_due", "tenant_id", "next_at",
          sqlite_where=text("ended_at IS NULL AND paused_at IS NULL"),
          postgresql_where=text("ended_at IS NULL AND paused_at IS NULL")),
    comment="When flows run by themselves.",
)  # fmt: skip
