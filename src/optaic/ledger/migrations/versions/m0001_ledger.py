"""All tables of the design, with the rules that the database keeps itself."""

import datetime as dt

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from optaic.domain.principal import DEFAULT_TENANT, OWNER_ID, SYSTEM_ID
from optaic.ledger.columns import UtcDateTime
from optaic.ledger.migrations.rules import create_rules, drop_rules

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Instant = UtcDateTime()
Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Make the tables, the rules, and the tenant and principals of an embedded ledger."""
    op.create_table(
        "tenants",
        sa.Column("id", sa.Integer(), nullable=False, comment="1 is the tenant of an embedded ledger."),
        sa.Column("name", sa.String(length=100), nullable=False, comment="What people call it."),
        sa.Column(
            "stream_seq",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="The last sequence number that the relay gave.",
        ),
        sa.Column("created_at", Instant, nullable=False, comment="When it was made."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
        comment="Whose data it is; the row is also the tenant's graph lock.",
    )
    op.create_table(
        "definitions",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The definition."),
        sa.Column("code_ref", sa.String(length=300), nullable=False, comment="`package.module:attribute`."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was first applied."),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_definitions_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_definitions")),
        comment="Reusable code.",
    )
    op.create_index("uq_definitions_code_ref", "definitions", ["tenant_id", "code_ref"], unique=True)
    op.create_table(
        "limits",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The limit."),
        sa.Column("scope", sa.String(length=20), nullable=False, comment="What it counts over."),
        sa.Column(
            "name",
            sa.String(length=200),
            nullable=False,
            comment="Which instance, run type, project or tag; `*` for the tenant.",
        ),
        sa.Column(
            "max_running",
            sa.Integer(),
            nullable=False,
            comment="How many attempts may be open at once; there is no counter beside the attempts.",
        ),
        sa.Column("created_at", Instant, nullable=False, comment="When it was set."),
        sa.CheckConstraint(
            "scope IN ('tenant', 'project', 'instance', 'run_type', 'tag')", name=op.f("ck_limits_scope")
        ),
        sa.CheckConstraint("max_running >= 0", name=op.f("ck_limits_max_running")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_limits_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_limits")),
        comment="Limits of concurrency.",
    )
    op.create_index("uq_limits_scope", "limits", ["tenant_id", "scope", "name"], unique=True)
    op.create_table(
        "principals",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The principal."),
        sa.Column("name", sa.String(length=200), nullable=False, comment="What people call it."),
        sa.Column(
            "kind",
            sa.String(length=20),
            nullable=False,
            comment="Person, program, or the product itself (schedules, triggers, rescue).",
        ),
        sa.Column("created_at", Instant, nullable=False, comment="When it was made."),
        sa.Column("disabled_at", Instant, nullable=True, comment="From when it may do nothing."),
        sa.CheckConstraint("kind IN ('user', 'service', 'system')", name=op.f("ck_principals_kind")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_principals_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_principals")),
        comment="Who acts.",
    )
    op.create_index("uq_principals_name", "principals", ["tenant_id", "name"], unique=True)
    op.create_table(
        "projects",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The project."),
        sa.Column("name", sa.String(length=100), nullable=False, comment="Its name in the project file."),
        sa.Column(
            "applied_digest",
            sa.String(length=64),
            nullable=True,
            comment="Digest of the project file that was applied last.",
        ),
        sa.Column(
            "source_digest", sa.String(length=64), nullable=True, comment="The source snapshot of the last apply."
        ),
        sa.Column("created_at", Instant, nullable=False, comment="When it was first applied."),
        sa.Column("applied_at", Instant, nullable=True, comment="When it was last applied."),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_projects_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_projects")),
        comment="What one project file declares; owns its instances.",
    )
    op.create_index("uq_projects_name", "projects", ["tenant_id", "name"], unique=True)
    op.create_table(
        "source_snapshots",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="SHA-256 of the archive's contents."),
        sa.Column(
            "storage_key", sa.String(length=500), nullable=False, comment="Where the archive is in the object store."
        ),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False, comment="Size of the archive."),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="SHA-256 of the archive's bytes."),
        sa.Column("file_count", sa.Integer(), nullable=False, comment="Files in it."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was first stored."),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_source_snapshots_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name=op.f("pk_source_snapshots")),
        comment="The project's source, once per digest; reproduction runs it.",
    )
    op.create_table(
        "activities",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The event."),
        sa.Column(
            "seq",
            sa.BigInteger(),
            nullable=True,
            comment="Place in the tenant's stream, given by the relay when it publishes.",
        ),
        sa.Column("verb", sa.String(length=100), nullable=False, comment="`<resource>.<verb>`, past tense."),
        sa.Column("resource_type", sa.String(length=50), nullable=False, comment="What it happened to."),
        sa.Column("resource_id", sa.String(length=100), nullable=False, comment="Which one."),
        sa.Column("actor_id", sa.Uuid(), nullable=False, comment="Who did it."),
        sa.Column("payload", Json, nullable=False, comment="The facts of the event."),
        sa.Column("correlation_id", sa.Uuid(), nullable=True, comment="Shared by all that one request set off."),
        sa.Column("durable", sa.Boolean(), nullable=False, comment="Progress is transient; everything else is kept."),
        sa.Column("at", Instant, nullable=False, comment="When, by the database's clock."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "actor_id"],
            ["principals.tenant_id", "principals.id"],
            name=op.f("fk_activities_tenant_id_actor_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_activities_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_activities")),
        comment="The audit trail and the outbox, in one: written in the transaction of the change it tells of.",
    )
    op.create_index(
        "ix_activities_resource", "activities", ["tenant_id", "resource_type", "resource_id", "at"], unique=False
    )
    op.create_index(
        "ix_activities_unpublished",
        "activities",
        ["tenant_id", "at", "id"],
        unique=False,
        sqlite_where=sa.text("seq IS NULL"),
        postgresql_where=sa.text("seq IS NULL"),
    )
    op.create_index("uq_activities_seq", "activities", ["tenant_id", "seq"], unique=True)
    op.create_table(
        "api_keys",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The key's id; not the secret."),
        sa.Column("principal_id", sa.Uuid(), nullable=False, comment="Who acts with it."),
        sa.Column("name", sa.String(length=200), nullable=False, comment="What it is used for."),
        sa.Column("prefix", sa.String(length=16), nullable=False, comment="The first characters, shown in lists."),
        sa.Column(
            "key_digest",
            sa.String(length=64),
            nullable=False,
            comment="SHA-256 of the secret; the secret is never stored.",
        ),
        sa.Column("scopes", Json, nullable=False, comment="What it allows: a list of words."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was made."),
        sa.Column("expires_at", Instant, nullable=True, comment="From when it opens nothing."),
        sa.Column("revoked_at", Instant, nullable=True, comment="When it was revoked."),
        sa.Column("last_used_at", Instant, nullable=True, comment="When it last opened something."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "principal_id"],
            ["principals.tenant_id", "principals.id"],
            name=op.f("fk_api_keys_tenant_id_principal_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_api_keys")),
        comment="Keys of programs.",
    )
    op.create_index("uq_api_keys_key_digest", "api_keys", ["key_digest"], unique=True)
    op.create_table(
        "definition_versions",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The version of the definition."),
        sa.Column("definition_id", sa.Uuid(), nullable=False, comment="Whose version."),
        sa.Column(
            "code_digest",
            sa.String(length=64),
            nullable=False,
            comment="Digest of the definition and of all project-local code that it imports.",
        ),
        sa.Column(
            "distribution", sa.String(length=200), nullable=True, comment="The installed distribution that provides it."
        ),
        sa.Column("distribution_version", sa.String(length=100), nullable=True, comment="That distribution's version."),
        sa.Column("params_schema", Json, nullable=False, comment="The parameters it takes: name, type, default."),
        sa.Column("created_at", Instant, nullable=False, comment="When this code was first applied."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "definition_id"],
            ["definitions.tenant_id", "definitions.id"],
            name=op.f("fk_definition_versions_tenant_id_definition_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_definition_versions")),
        comment="The code of a definition, by digest.",
    )
    op.create_index(
        "uq_definition_versions_code_digest",
        "definition_versions",
        ["tenant_id", "definition_id", "code_digest"],
        unique=True,
    )
    op.create_table(
        "instances",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The instance."),
        sa.Column("project_id", sa.Uuid(), nullable=True, comment="Who owns it; none if a tracked loop made it."),
        sa.Column("name", sa.String(length=100), nullable=False, comment="Unique among the tenant's live instances."),
        sa.Column("kind", sa.String(length=30), nullable=False, comment="What it is."),
        sa.Column("revision_number", sa.Integer(), nullable=False, comment="The current revision."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was made."),
        sa.Column("archived_at", Instant, nullable=True, comment="From when it takes no part; its history stays."),
        sa.CheckConstraint(
            "kind IN ('dataset', 'experiment', 'model', 'portfolio_optimizer', 'backtest')",
            name=op.f("ck_instances_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "project_id"],
            ["projects.tenant_id", "projects.id"],
            name=op.f("fk_instances_tenant_id_project_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_instances_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_instances")),
        comment="A configured use of a definition or of a built-in procedure.",
    )
    op.create_index(
        "uq_instances_live_name",
        "instances",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=sa.text("archived_at IS NULL"),
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.create_table(
        "instance_revisions",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The revision; runs point at it."),
        sa.Column("instance_id", sa.Uuid(), nullable=False, comment="Whose config."),
        sa.Column("number", sa.Integer(), nullable=False, comment="1, 2, ... within the instance."),
        sa.Column(
            "definition_id", sa.Uuid(), nullable=True, comment="The code it configures; none for built-in procedures."
        ),
        sa.Column(
            "config", Json, nullable=False, comment="The whole declaration, as validated; secrets stay references."
        ),
        sa.Column(
            "config_digest",
            sa.String(length=64),
            nullable=False,
            comment="Digest of what may change a result; labels and schedules are left out.",
        ),
        sa.Column("created_at", Instant, nullable=False, comment="When it was applied."),
        sa.Column("created_by", sa.Uuid(), nullable=False, comment="Who applied it."),
        sa.CheckConstraint("number >= 1", name=op.f("ck_instance_revisions_number")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "created_by"],
            ["principals.tenant_id", "principals.id"],
            name=op.f("fk_instance_revisions_tenant_id_created_by"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "definition_id"],
            ["definitions.tenant_id", "definitions.id"],
            name=op.f("fk_instance_revisions_tenant_id_definition_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "instance_id"],
            ["instances.tenant_id", "instances.id"],
            name=op.f("fk_instance_revisions_tenant_id_instance_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_instance_revisions")),
        comment="The immutable configs of an instance; a trigger refuses updates.",
    )
    op.create_index(
        "uq_instance_revisions_number", "instance_revisions", ["tenant_id", "instance_id", "number"], unique=True
    )
    op.create_table(
        "flows",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The flow."),
        sa.Column("instance_id", sa.Uuid(), nullable=False, comment="Made with it."),
        sa.Column("kind", sa.String(length=20), nullable=False, comment="What it does with its instance."),
        sa.Column(
            "policies", Json, nullable=False, comment="Retry, timeout, seed, behaviour when a source is delayed."
        ),
        sa.Column("freshness_spec", Json, nullable=True, comment="What its calendar expects; none is irregular."),
        sa.Column("revision_id", sa.Uuid(), nullable=False, comment="The config that it would run with."),
        sa.Column("definition_version_id", sa.Uuid(), nullable=True, comment="The code that it would run with."),
        sa.Column(
            "source_digest", sa.String(length=64), nullable=True, comment="The source snapshot that it would run from."
        ),
        sa.Column(
            "engine", sa.String(length=20), server_default="local", nullable=False, comment="What executes its runs."
        ),
        sa.Column("engine_deployment_id", sa.String(length=200), nullable=True, comment="What the engine calls it."),
        sa.Column(
            "current_version_id", sa.Uuid(), nullable=True, comment="What its last official completion published."
        ),
        sa.Column("current_run_id", sa.Uuid(), nullable=True, comment="The official run that current state speaks of."),
        sa.Column(
            "last_attempt_run_id", sa.Uuid(), nullable=True, comment="The official run that ended last, however."
        ),
        sa.Column("last_attempt_ok", sa.Integer(), nullable=True, comment="Whether that one completed: 1 or 0."),
        sa.Column(
            "last_data_date",
            sa.Date(),
            nullable=True,
            comment="Last event date published; a completion without one does not erase it.",
        ),
        sa.Column(
            "freshness",
            sa.String(length=30),
            server_default="not_initialized",
            nullable=False,
            comment="Cache of the definition of freshness.",
        ),
        sa.Column(
            "own_stale_from",
            sa.Date(),
            server_default="0001-01-01",
            nullable=False,
            comment="Cache: from which event date it is stale by itself; 9999-12-31 is never.",
        ),
        sa.Column(
            "own_blocks_from",
            sa.Date(),
            server_default="0001-01-01",
            nullable=False,
            comment="Cache: the same, without a delay of its source that readers do not wait for.",
        ),
        sa.Column(
            "inherited_stale_from",
            sa.Date(),
            server_default="9999-12-31",
            nullable=False,
            comment="Cache: from which event date it is stale because an upstream is.",
        ),
        sa.Column(
            "is_delayed",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Cache: the delay of its source is its only own cause: 1 or 0.",
        ),
        sa.Column(
            "is_overdue",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Whether the cache knows that `ready_until` has passed: 1 or 0.",
        ),
        sa.Column(
            "ready_until",
            Instant,
            nullable=True,
            comment="From when its data no longer reach what the calendar expects.",
        ),
        sa.Column("expected_date", sa.Date(), nullable=True, comment="The event date that is missing from then on."),
        sa.Column("source_asked_at", Instant, nullable=True, comment="When its source was last asked."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was made."),
        sa.Column("archived_at", Instant, nullable=True, comment="From when it takes no part."),
        sa.CheckConstraint("engine IN ('local', 'prefect', 'inline')", name=op.f("ck_flows_engine")),
        sa.CheckConstraint(
            "freshness IN ('not_initialized', 'ready', 'stale', 'stale_source_delayed')",
            name=op.f("ck_flows_freshness"),
        ),
        sa.CheckConstraint(
            "kind IN ('refresh', 'preview', 'backtest', 'optimize', 'train', 'infer', 'monitor')",
            name=op.f("ck_flows_kind"),
        ),
        sa.CheckConstraint("is_delayed IN (0, 1)", name=op.f("ck_flows_is_delayed")),
        sa.CheckConstraint("is_overdue IN (0, 1)", name=op.f("ck_flows_is_overdue")),
        sa.CheckConstraint("last_attempt_ok IN (0, 1)", name=op.f("ck_flows_last_attempt_ok")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "definition_version_id"],
            ["definition_versions.tenant_id", "definition_versions.id"],
            name=op.f("fk_flows_tenant_id_definition_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "instance_id"],
            ["instances.tenant_id", "instances.id"],
            name=op.f("fk_flows_tenant_id_instance_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "revision_id"],
            ["instance_revisions.tenant_id", "instance_revisions.id"],
            name=op.f("fk_flows_tenant_id_revision_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_flows")),
        comment="The static execution resource of an instance.",
    )
    op.create_index(
        "uq_flows_engine_deployment_id", "flows", ["tenant_id", "engine", "engine_deployment_id"], unique=True
    )
    op.create_index(
        "ix_flows_ready_until",
        "flows",
        ["tenant_id", "ready_until"],
        unique=False,
        sqlite_where=sa.text("is_overdue = 0 AND ready_until IS NOT NULL"),
        postgresql_where=sa.text("is_overdue = 0 AND ready_until IS NOT NULL"),
    )
    op.create_index("uq_flows_kind", "flows", ["tenant_id", "instance_id", "kind"], unique=True)
    op.create_table(
        "families",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The family."),
        sa.Column("name", sa.String(length=200), nullable=False, comment="What people call it."),
        sa.Column("flow_id", sa.Uuid(), nullable=True, comment="What its trials vary."),
        sa.Column("spec", Json, nullable=True, comment="The grid or sample that was asked for."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was made."),
        sa.Column("created_by", sa.Uuid(), nullable=False, comment="Who made it."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "created_by"],
            ["principals.tenant_id", "principals.id"],
            name=op.f("fk_families_tenant_id_created_by"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_families_tenant_id_flow_id")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_families_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_families")),
        comment="Trials that belong together: what luck is computed over.",
    )
    op.create_index("uq_families_name", "families", ["tenant_id", "name"], unique=True)
    op.create_table(
        "flow_inputs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The edge."),
        sa.Column("flow_id", sa.Uuid(), nullable=False, comment="Downstream: the flow that reads."),
        sa.Column("upstream_flow_id", sa.Uuid(), nullable=False, comment="Upstream: the flow that is read."),
        sa.Column("role", sa.String(length=100), nullable=False, comment="The name under which the flow asks for it."),
        sa.Column("kind", sa.String(length=30), nullable=False, comment="What depends on what."),
        sa.Column("columns", Json, nullable=True, comment="The columns read; none is all."),
        sa.Column(
            "selector",
            sa.String(length=20),
            server_default="current",
            nullable=False,
            comment="Which version is taken.",
        ),
        sa.Column("selector_stage", sa.String(length=50), nullable=True, comment="The stage, for `stage`."),
        sa.Column("selector_version", sa.Integer(), nullable=True, comment="The version number, for `version`."),
        sa.Column("position", sa.Integer(), nullable=False, comment="Order of declaration."),
        sa.Column(
            "is_read",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="Cache: whether the downstream's current run read anything of it: 1 or 0.",
        ),
        sa.Column(
            "read_until",
            sa.Date(),
            server_default="9999-12-31",
            nullable=False,
            comment="Cache: the last event date that run read; 9999-12-31 is without an end.",
        ),
        sa.Column("created_at", Instant, nullable=False, comment="When it was declared."),
        sa.Column(
            "ended_at", Instant, nullable=True, comment="When it was withdrawn or an end of it archived; history stays."
        ),
        sa.CheckConstraint(
            "(selector = 'stage') = (selector_stage IS NOT NULL)", name=op.f("ck_flow_inputs_selector_stage")
        ),
        sa.CheckConstraint(
            "(selector = 'version') = (selector_version IS NOT NULL)", name=op.f("ck_flow_inputs_selector_version")
        ),
        sa.CheckConstraint(
            "kind IN ('data_dependency', 'schema_dependency', 'feature_dependency', 'signal_dependency')",
            name=op.f("ck_flow_inputs_kind"),
        ),
        sa.CheckConstraint("is_read IN (0, 1)", name=op.f("ck_flow_inputs_is_read")),
        sa.CheckConstraint("selector IN ('current', 'stage', 'version')", name=op.f("ck_flow_inputs_selector")),
        sa.CheckConstraint("flow_id <> upstream_flow_id", name=op.f("ck_flow_inputs_not_itself")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_flow_inputs_tenant_id_flow_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_flow_id"],
            ["flows.tenant_id", "flows.id"],
            name=op.f("fk_flow_inputs_tenant_id_upstream_flow_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_flow_inputs")),
        comment="Lineage edges: upstream flow to downstream flow.",
    )
    op.create_index(
        "ix_flow_inputs_live_upstream",
        "flow_inputs",
        ["tenant_id", "upstream_flow_id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "uq_flow_inputs_live_role",
        "flow_inputs",
        ["tenant_id", "flow_id", "role", "upstream_flow_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "plans",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The plan."),
        sa.Column("target_flow_id", sa.Uuid(), nullable=False, comment="What it is for."),
        sa.Column(
            "mode", sa.String(length=20), nullable=False, comment="How upstreams that are not ready are treated."
        ),
        sa.Column("status", sa.String(length=20), nullable=False, comment="Running until every step has ended."),
        sa.Column("reason", Json, nullable=True, comment="Why it failed or was cancelled."),
        sa.Column("created_at", Instant, nullable=False, comment="When the snapshot was taken."),
        sa.Column("created_by", sa.Uuid(), nullable=False, comment="Who asked."),
        sa.Column("cancel_requested_at", Instant, nullable=True, comment="When its end was asked for."),
        sa.Column("ended_at", Instant, nullable=True, comment="When its last step ended."),
        sa.CheckConstraint("(status = 'running') = (ended_at IS NULL)", name=op.f("ck_plans_ended_at")),
        sa.CheckConstraint("mode IN ('strict', 'smart', 'recursive', 'force')", name=op.f("ck_plans_mode")),
        sa.CheckConstraint("status IN ('running', 'completed', 'failed', 'cancelled')", name=op.f("ck_plans_status")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "created_by"],
            ["principals.tenant_id", "principals.id"],
            name=op.f("fk_plans_tenant_id_created_by"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "target_flow_id"],
            ["flows.tenant_id", "flows.id"],
            name=op.f("fk_plans_tenant_id_target_flow_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_plans_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_plans")),
        comment="What must run for a target.",
    )
    op.create_table(
        "schedules",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The schedule."),
        sa.Column("flow_id", sa.Uuid(), nullable=False, comment="What it runs."),
        sa.Column(
            "kind",
            sa.String(length=20),
            nullable=False,
            comment="By a cron line, after sessions of a calendar, or when upstreams publish.",
        ),
        sa.Column("spec", Json, nullable=False, comment="The cron line, calendar, offset, or trigger rule."),
        sa.Column(
            "time_zone", sa.String(length=60), nullable=False, comment="IANA name of the zone that the spec speaks in."
        ),
        sa.Column("next_at", Instant, nullable=True, comment="When it is due next."),
        sa.Column("last_at", Instant, nullable=True, comment="When it was last due."),
        sa.Column("last_run_id", sa.Uuid(), nullable=True, comment="What it last submitted."),
        sa.Column("paused_at", Instant, nullable=True, comment="Since when it is paused."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was declared."),
        sa.Column("ended_at", Instant, nullable=True, comment="When it was withdrawn."),
        sa.CheckConstraint("kind IN ('cron', 'session', 'upstream')", name=op.f("ck_schedules_kind")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_schedules_tenant_id_flow_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_schedules")),
        comment="When flows run by themselves.",
    )
    op.create_index(
        "ix_schedules_due",
        "schedules",
        ["tenant_id", "next_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL AND paused_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL AND paused_at IS NULL"),
    )
    op.create_table(
        "runs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The run: a UUID of version 7."),
        sa.Column("type", sa.String(length=30), nullable=False, comment="Which of the seven."),
        sa.Column("flow_id", sa.Uuid(), nullable=False, comment="What it executes."),
        sa.Column("instance_id", sa.Uuid(), nullable=False, comment="Whose flow that is; kept for listings."),
        sa.Column("revision_id", sa.Uuid(), nullable=False, comment="The config that it was submitted with."),
        sa.Column(
            "definition_version_id",
            sa.Uuid(),
            nullable=True,
            comment="The code that it was submitted with; none in a tracked loop.",
        ),
        sa.Column("source_digest", sa.String(length=64), nullable=True, comment="The source snapshot of that code."),
        sa.Column("standing", sa.String(length=10), nullable=False, comment="Whether it speaks for its flow."),
        sa.Column(
            "status",
            sa.String(length=10),
            nullable=False,
            comment="Where it is in its life; only one place in the code changes it.",
        ),
        sa.Column(
            "reason_code",
            sa.String(length=50),
            nullable=True,
            comment="Why it failed, was cancelled, or waits to be tried again.",
        ),
        sa.Column("reason_message", sa.Text(), nullable=True, comment="The same, as a sentence."),
        sa.Column("reason_next_step", sa.Text(), nullable=True, comment="What to do about it."),
        sa.Column(
            "mode",
            sa.String(length=20),
            nullable=True,
            comment="How a dataset refreshes or was refreshed; none for other kinds.",
        ),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False, comment="Higher is claimed first."),
        sa.Column("due_at", Instant, nullable=True, comment="When its schedule wanted it."),
        sa.Column(
            "timeout_seconds", sa.Float(), nullable=True, comment="After how long an attempt is killed; none is never."
        ),
        sa.Column("retry_policy", Json, nullable=False, comment="How often and how soon it is tried again."),
        sa.Column("trigger", sa.String(length=20), nullable=False, comment="What set it off."),
        sa.Column("triggered_by", Json, nullable=True, comment="The schedule, versions, plan or run that did."),
        sa.Column("family_id", sa.Uuid(), nullable=True, comment="The trials that it belongs to."),
        sa.Column(
            "plan_step_id",
            sa.Uuid(),
            nullable=True,
            comment="The step that it carries out; the step has the foreign key.",
        ),
        sa.Column("retry_of_id", sa.Uuid(), nullable=True, comment="The ended run that it repeats."),
        sa.Column("reproduces_id", sa.Uuid(), nullable=True, comment="The run whose pins, code and seed it uses."),
        sa.Column(
            "params", Json, nullable=False, comment="Its own parameters, defaults filled in; secrets stay references."
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False, comment="For every random generator."),
        sa.Column(
            "as_of", Instant, nullable=True, comment="Inputs are read as they were known then; none is as pinned."
        ),
        sa.Column(
            "fingerprint",
            sa.String(length=64),
            nullable=True,
            comment="Digest of code, config, params, seed, pins: what it computes.",
        ),
        sa.Column(
            "is_forced",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Submitted in spite of upstream freshness: 1 or 0.",
        ),
        sa.Column("engine", sa.String(length=20), nullable=False, comment="What executes it."),
        sa.Column("submitted_at", Instant, nullable=False, comment="When it was recorded, by the database's clock."),
        sa.Column("submitted_by", sa.Uuid(), nullable=False, comment="Who asked."),
        sa.Column("correlation_id", sa.Uuid(), nullable=True, comment="Shared by all that one request set off."),
        sa.Column("available_at", Instant, nullable=False, comment="From when it may be claimed."),
        sa.Column("started_at", Instant, nullable=True, comment="When its first attempt was claimed."),
        sa.Column("ended_at", Instant, nullable=True, comment="When it became terminal."),
        sa.Column(
            "attempt",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Number of the last attempt: the fencing token. 0 before the first; never falls.",
        ),
        sa.Column("cancel_requested_at", Instant, nullable=True, comment="The note that asks running work to stop."),
        sa.Column("cancel_requested_by", sa.Uuid(), nullable=True, comment="Who wrote the note."),
        sa.Column("progress_pct", sa.Float(), nullable=True, comment="How far it says it is, in percent."),
        sa.Column("progress_note", sa.String(length=500), nullable=True, comment="What it says it is doing."),
        sa.Column("progress_at", Instant, nullable=True, comment="When it said so."),
        sa.Column(
            "metrics_json", Json, nullable=True, comment="All metrics at the end; the numeric ones are rows too."
        ),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (ended_at IS NOT NULL)", name=op.f("ck_runs_ended_at")
        ),
        sa.CheckConstraint("engine IN ('local', 'prefect', 'inline')", name=op.f("ck_runs_engine")),
        sa.CheckConstraint("mode IN ('full', 'incremental')", name=op.f("ck_runs_mode")),
        sa.CheckConstraint(
            "standing = 'trial' OR (as_of IS NULL AND reproduces_id IS NULL AND trigger NOT IN ('track', 'sweep', 'reproduce'))",
            name=op.f("ck_runs_standing_is_earned"),
        ),
        sa.CheckConstraint("standing IN ('official', 'trial')", name=op.f("ck_runs_standing")),
        sa.CheckConstraint(
            "status <> 'completed' OR (attempt > 0 AND reason_code IS NULL)", name=op.f("ck_runs_completed")
        ),
        sa.CheckConstraint("status <> 'running' OR attempt > 0", name=op.f("ck_runs_running_has_attempt")),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')", name=op.f("ck_runs_status")
        ),
        sa.CheckConstraint(
            "status NOT IN ('failed', 'cancelled') OR (reason_code IS NOT NULL AND reason_message IS NOT NULL AND reason_next_step IS NOT NULL)",
            name=op.f("ck_runs_every_end_has_a_reason"),
        ),
        sa.CheckConstraint(
            "trigger IN ('manual', 'schedule', 'upstream', 'plan', 'retry', 'reproduce', 'track', 'sweep', 'engine')",
            name=op.f("ck_runs_trigger"),
        ),
        sa.CheckConstraint(
            "type IN ('PipelineRun', 'ExperimentRun', 'BacktestRun', 'PortfolioOptimizationRun', 'TrainingRun', 'InferenceRun', 'MonitoringRun')",
            name=op.f("ck_runs_type"),
        ),
        sa.CheckConstraint("(attempt > 0) = (started_at IS NOT NULL)", name=op.f("ck_runs_started_at")),
        sa.CheckConstraint(
            "(cancel_requested_at IS NULL) = (cancel_requested_by IS NULL)", name=op.f("ck_runs_cancel_requested")
        ),
        sa.CheckConstraint("attempt >= 0", name=op.f("ck_runs_attempt")),
        sa.CheckConstraint("is_forced IN (0, 1)", name=op.f("ck_runs_is_forced")),
        sa.CheckConstraint("progress_pct >= 0 AND progress_pct <= 100", name=op.f("ck_runs_progress_pct")),
        sa.CheckConstraint("timeout_seconds > 0", name=op.f("ck_runs_timeout_seconds")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "cancel_requested_by"],
            ["principals.tenant_id", "principals.id"],
            name=op.f("fk_runs_tenant_id_cancel_requested_by"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "definition_version_id"],
            ["definition_versions.tenant_id", "definition_versions.id"],
            name=op.f("fk_runs_tenant_id_definition_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "family_id"], ["families.tenant_id", "families.id"], name=op.f("fk_runs_tenant_id_family_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_runs_tenant_id_flow_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "instance_id"],
            ["instances.tenant_id", "instances.id"],
            name=op.f("fk_runs_tenant_id_instance_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "reproduces_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_runs_tenant_id_reproduces_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "retry_of_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_runs_tenant_id_retry_of_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "revision_id"],
            ["instance_revisions.tenant_id", "instance_revisions.id"],
            name=op.f("fk_runs_tenant_id_revision_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "submitted_by"],
            ["principals.tenant_id", "principals.id"],
            name=op.f("fk_runs_tenant_id_submitted_by"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_runs")),
        comment="Dynamic executions of flows; a trigger refuses any change of a terminal status.",
    )
    op.create_index(
        "ix_runs_family_id",
        "runs",
        ["tenant_id", "family_id"],
        unique=False,
        sqlite_where=sa.text("family_id IS NOT NULL"),
        postgresql_where=sa.text("family_id IS NOT NULL"),
    )
    op.create_index("ix_runs_flow_id", "runs", ["tenant_id", "flow_id", "submitted_at"], unique=False)
    op.create_index("ix_runs_instance_id", "runs", ["tenant_id", "instance_id", "submitted_at"], unique=False)
    op.create_index(
        "ix_runs_running",
        "runs",
        ["tenant_id", "engine"],
        unique=False,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index("ix_runs_submitted_at", "runs", ["tenant_id", "submitted_at", "id"], unique=False)
    op.create_index(
        "uq_runs_one_official_running",
        "runs",
        ["tenant_id", "flow_id"],
        unique=True,
        sqlite_where=sa.text("status = 'running' AND standing = 'official'"),
        postgresql_where=sa.text("status = 'running' AND standing = 'official'"),
    )
    op.create_table(
        "alerts",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The alert."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run that raised it."),
        sa.Column("flow_id", sa.Uuid(), nullable=False, comment="What it is about."),
        sa.Column("severity", sa.String(length=20), nullable=False, comment="How bad."),
        sa.Column(
            "kind",
            sa.String(length=50),
            nullable=False,
            comment="Which check: `model_drift`, `performance`, `data_quality`, ...",
        ),
        sa.Column("metric", sa.String(length=200), nullable=False, comment="The figure that crossed."),
        sa.Column("threshold", sa.Float(), nullable=True, comment="What it crossed."),
        sa.Column("value", sa.Float(), nullable=True, comment="What it is."),
        sa.Column("message", sa.String(length=1000), nullable=False, comment="A sentence for a person."),
        sa.Column("raised_at", Instant, nullable=False, comment="When."),
        sa.Column("acknowledged_at", Instant, nullable=True, comment="When a person took note."),
        sa.Column("acknowledged_by", sa.Uuid(), nullable=True, comment="Who."),
        sa.CheckConstraint("severity IN ('info', 'warning', 'critical')", name=op.f("ck_alerts_severity")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "acknowledged_by"],
            ["principals.tenant_id", "principals.id"],
            name=op.f("fk_alerts_tenant_id_acknowledged_by"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_alerts_tenant_id_flow_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_alerts_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_alerts")),
        comment="What monitoring found.",
    )
    op.create_index("ix_alerts_flow_id", "alerts", ["tenant_id", "flow_id", "raised_at"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("number", sa.Integer(), nullable=False, comment="1, 2, ... within the run: the fencing token."),
        sa.Column(
            "worker",
            sa.String(length=200),
            nullable=False,
            comment="Who holds the lease: host, process and a random part.",
        ),
        sa.Column("claimed_at", Instant, nullable=False, comment="When, by the database's clock."),
        sa.Column(
            "lease_expires_at",
            Instant,
            nullable=False,
            comment="When the lease ends unless it is renewed, by the database's clock.",
        ),
        sa.Column("heartbeat_at", Instant, nullable=True, comment="When it was last renewed."),
        sa.Column(
            "ended_at",
            Instant,
            nullable=True,
            comment="When the attempt ended; while empty the attempt is open, and is a slot.",
        ),
        sa.Column("outcome", sa.String(length=20), nullable=True, comment="How it ended."),
        sa.Column("reason_code", sa.String(length=50), nullable=True, comment="Why it ended so."),
        sa.Column("reason_message", sa.Text(), nullable=True, comment="The same, as a sentence."),
        sa.Column("engine_run_id", sa.String(length=200), nullable=True, comment="What the engine calls it."),
        sa.Column("engine_state", Json, nullable=True, comment="The engine's raw state, as it was last seen."),
        sa.Column(
            "exit_code", sa.Integer(), nullable=True, comment="Exit code of the run's process; negative for a signal."
        ),
        sa.CheckConstraint(
            "outcome IN ('completed', 'failed', 'cancelled', 'lost', 'released')", name=op.f("ck_attempts_outcome")
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name=op.f("ck_attempts_ended_at")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_attempts_number")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_attempts_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", "number", name=op.f("pk_attempts")),
        comment="One try at executing a run, under a lease.",
    )
    op.create_index(
        "ix_attempts_lease",
        "attempts",
        ["tenant_id", "lease_expires_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "uq_attempts_engine_run_id",
        "attempts",
        ["tenant_id", "engine_run_id"],
        unique=True,
        sqlite_where=sa.text("engine_run_id IS NOT NULL"),
        postgresql_where=sa.text("engine_run_id IS NOT NULL"),
    )
    op.create_index(
        "uq_attempts_one_open",
        "attempts",
        ["tenant_id", "run_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "backtest_runs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("start_date", sa.Date(), nullable=True, comment="First session simulated."),
        sa.Column("end_date", sa.Date(), nullable=True, comment="Last session simulated."),
        sa.Column(
            "sessions_per_year", sa.Float(), nullable=True, comment="What annualises: a constant of the calendar."
        ),
        sa.Column("capital", sa.Float(), nullable=True, comment="Value at the start."),
        sa.Column(
            "costs_bps", sa.Float(), nullable=True, comment="Costs of traded notional, each side, in basis points."
        ),
        sa.Column(
            "is_same_bar",
            sa.Boolean(),
            nullable=True,
            comment="Traded on the bar that decided: labelled, never promotable.",
        ),
        sa.Column(
            "view",
            sa.String(length=20),
            nullable=True,
            comment="Whether decisions saw what was known then, or the latest.",
        ),
        sa.Column("sharpe_ratio", sa.Float(), nullable=True, comment="Annualised."),
        sa.Column("sharpe_ratio_se", sa.Float(), nullable=True, comment="Its standard error, annualised."),
        sa.Column("total_return", sa.Float(), nullable=True, comment="Over the whole period, as a fraction."),
        sa.Column("max_drawdown", sa.Float(), nullable=True, comment="Negative, as a fraction."),
        sa.Column("turnover", sa.Float(), nullable=True, comment="One-way, a year, as a fraction."),
        sa.Column(
            "survivorship",
            sa.Float(),
            nullable=True,
            comment="Share of position-days in names alive at the end, as a fraction.",
        ),
        sa.Column(
            "returns_key",
            sa.String(length=500),
            nullable=True,
            comment="Object key of the return series, for the luck of families.",
        ),
        sa.CheckConstraint("view IN ('replay', 'latest')", name=op.f("ck_backtest_runs_view")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_backtest_runs_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", name=op.f("pk_backtest_runs")),
        comment="Backtests.",
    )
    op.create_table(
        "experiment_runs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("rows_computed", sa.BigInteger(), nullable=True, comment="Rows of the preview."),
        sa.Column("nan_pct", sa.Float(), nullable=True, comment="Share of missing values, as a fraction."),
        sa.Column("coverage", sa.Float(), nullable=True, comment="Share of members with a value, as a fraction."),
        sa.Column("first_date", sa.Date(), nullable=True, comment="First event date computed."),
        sa.Column("last_date", sa.Date(), nullable=True, comment="Last event date computed."),
        sa.Column("ic", sa.Float(), nullable=True, comment="Mean information coefficient at one session."),
        sa.Column("statistics", Json, nullable=True, comment="Mean, std, min, max, skewness, kurtosis, by horizon."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_experiment_runs_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", name=op.f("pk_experiment_runs")),
        comment="Previews, and loops tracked from notebooks.",
    )
    op.create_table(
        "monitoring_runs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "monitor",
            sa.String(length=50),
            nullable=True,
            comment="Drift, performance, data quality, or several of them.",
        ),
        sa.Column("reference_start", sa.Date(), nullable=True, comment="First event date of the reference."),
        sa.Column("reference_end", sa.Date(), nullable=True, comment="Last event date of the reference."),
        sa.Column("window_start", sa.Date(), nullable=True, comment="First event date monitored."),
        sa.Column("window_end", sa.Date(), nullable=True, comment="Last event date monitored."),
        sa.Column("verdict", sa.String(length=20), nullable=True, comment="What it found."),
        sa.Column("alert_count", sa.Integer(), nullable=True, comment="Alerts raised."),
        sa.Column("alerts_json", Json, nullable=True, comment="The alerts: severity, threshold, value, sentence."),
        sa.CheckConstraint(
            "monitor IN ('model_drift', 'performance', 'data_quality', 'several')",
            name=op.f("ck_monitoring_runs_monitor"),
        ),
        sa.CheckConstraint(
            "verdict IN ('ok', 'warning', 'critical', 'no_verdict')", name=op.f("ck_monitoring_runs_verdict")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_monitoring_runs_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", name=op.f("pk_monitoring_runs")),
        comment="Monitoring checks.",
    )
    op.create_table(
        "pipeline_runs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "base_version_id", sa.Uuid(), nullable=True, comment="The version that the fetched rows were compared with."
        ),
        sa.Column("rows_fetched", sa.BigInteger(), nullable=True, comment="Rows that the source returned."),
        sa.Column("rows_inserted", sa.BigInteger(), nullable=True, comment="Rows of new keys."),
        sa.Column("rows_updated", sa.BigInteger(), nullable=True, comment="Rows whose values differ."),
        sa.Column("rows_deleted", sa.BigInteger(), nullable=True, comment="Rows that the source no longer has."),
        sa.Column("rows_unchanged", sa.BigInteger(), nullable=True, comment="Rows that were the same."),
        sa.Column("last_data_date", sa.Date(), nullable=True, comment="Last event date after the refresh."),
        sa.Column("bytes_processed", sa.BigInteger(), nullable=True, comment="Bytes of the fetched table in memory."),
        sa.Column(
            "duration_seconds",
            sa.Float(),
            nullable=True,
            comment="From the start of the first attempt to the completion.",
        ),
        sa.Column(
            "calendar",
            sa.String(length=100),
            nullable=True,
            comment="The library, with its version, that knew the sessions expected of it.",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_pipeline_runs_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", name=op.f("pk_pipeline_runs")),
        comment="Refreshes of datasets.",
    )
    op.create_table(
        "plan_steps",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The step; plans that need the same refresh share it."),
        sa.Column("flow_id", sa.Uuid(), nullable=False, comment="What it runs."),
        sa.Column(
            "status", sa.String(length=20), nullable=False, comment="Waiting for upstream steps, running, or ended."
        ),
        sa.Column("causes", Json, nullable=False, comment="Why the flow is in the plan."),
        sa.Column(
            "is_needed",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Whether it runs whatever its upstream steps publish: 1 or 0.",
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True, comment="The run it became."),
        sa.Column("reason", Json, nullable=True, comment="Why it is blocked or not needed."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was planned."),
        sa.Column("ended_at", Instant, nullable=True, comment="When it ended."),
        sa.CheckConstraint(
            "(status IN ('waiting', 'running')) = (ended_at IS NULL)", name=op.f("ck_plan_steps_ended_at")
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'running', 'done', 'not_needed', 'failed', 'blocked', 'cancelled')",
            name=op.f("ck_plan_steps_status"),
        ),
        sa.CheckConstraint("is_needed IN (0, 1)", name=op.f("ck_plan_steps_is_needed")),
        sa.CheckConstraint(
            "status NOT IN ('running', 'done', 'failed') OR run_id IS NOT NULL", name=op.f("ck_plan_steps_run_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_plan_steps_tenant_id_flow_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_plan_steps_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_plan_steps")),
        comment="One flow's run within plans.",
    )
    op.create_index(
        "ix_plan_steps_open",
        "plan_steps",
        ["tenant_id", "flow_id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("uq_plan_steps_run_id", "plan_steps", ["tenant_id", "run_id"], unique=True)
    op.create_table(
        "portfolio_optimization_runs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("objective", sa.String(length=100), nullable=True, comment="What was optimised."),
        sa.Column("decision_at", Instant, nullable=True, comment="What was known then was used."),
        sa.Column("lookback_sessions", sa.Integer(), nullable=True, comment="Sessions of history used."),
        sa.Column("asset_count", sa.Integer(), nullable=True, comment="Names with full history."),
        sa.Column("solver_status", sa.String(length=50), nullable=True, comment="What the solver said."),
        sa.Column("fallback", sa.String(length=100), nullable=True, comment="The declared fallback that was used."),
        sa.Column("expected_return", sa.Float(), nullable=True, comment="A year, as a fraction."),
        sa.Column("expected_volatility", sa.Float(), nullable=True, comment="A year, as a fraction."),
        sa.Column("effective_n", sa.Float(), nullable=True, comment="(sum |w|)^2 / sum w^2."),
        sa.Column("residuals", Json, nullable=True, comment="Constraint residuals."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"],
            ["runs.tenant_id", "runs.id"],
            name=op.f("fk_portfolio_optimization_runs_tenant_id_run_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", name=op.f("pk_portfolio_optimization_runs")),
        comment="Optimisations of portfolios.",
    )
    op.create_table(
        "run_metrics",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("key", sa.String(length=200), nullable=False, comment="The metric's name."),
        sa.Column(
            "value",
            sa.Float(),
            nullable=True,
            comment="Its last value; figures that are not finite are in `metrics_json` alone.",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_run_metrics_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", "key", name=op.f("pk_run_metrics")),
        comment="Numeric metrics of ended runs, for search.",
    )
    op.create_index("ix_run_metrics_key", "run_metrics", ["tenant_id", "key", "value"], unique=False)
    op.create_table(
        "segments",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The segment."),
        sa.Column("flow_id", sa.Uuid(), nullable=False, comment="Whose rows."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="Who wrote it."),
        sa.Column("storage_key", sa.String(length=500), nullable=False, comment="Where the Parquet file is."),
        sa.Column(
            "role",
            sa.String(length=10),
            nullable=False,
            comment="Rows of new keys, or of keys that earlier segments hold.",
        ),
        sa.Column("row_count", sa.BigInteger(), nullable=False, comment="Rows in the file."),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False, comment="Size of the file."),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="Digest of the file."),
        sa.Column("first_date", sa.Date(), nullable=False, comment="First event date in it."),
        sa.Column("last_date", sa.Date(), nullable=False, comment="Last event date in it."),
        sa.Column("first_known_at", Instant, nullable=False, comment="Earliest instant that its rows were known at."),
        sa.Column("last_known_at", Instant, nullable=False, comment="Latest such instant."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was published."),
        sa.CheckConstraint("role IN ('insert', 'revise')", name=op.f("ck_segments_role")),
        sa.CheckConstraint("first_date <= last_date", name=op.f("ck_segments_dates")),
        sa.CheckConstraint("row_count > 0", name=op.f("ck_segments_row_count")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_segments_tenant_id_flow_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_segments_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_segments")),
        comment="Immutable Parquet files.",
    )
    op.create_index("uq_segments_storage_key", "segments", ["tenant_id", "storage_key"], unique=True)
    op.create_table(
        "submissions",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("key", sa.String(length=200), nullable=False, comment="The idempotency key."),
        sa.Column(
            "request_digest",
            sa.String(length=64),
            nullable=False,
            comment="Digest of the request; the key with another request is a conflict.",
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True, comment="The run it made."),
        sa.Column("plan_id", sa.Uuid(), nullable=True, comment="The plan it made."),
        sa.Column("submitted_at", Instant, nullable=False, comment="When."),
        sa.CheckConstraint("(run_id IS NULL) <> (plan_id IS NULL)", name=op.f("ck_submissions_one_result")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "plan_id"], ["plans.tenant_id", "plans.id"], name=op.f("fk_submissions_tenant_id_plan_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_submissions_tenant_id_run_id")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_submissions_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("pk_submissions")),
        comment="Idempotent submissions.",
    )
    op.create_table(
        "training_runs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("estimator", sa.String(length=300), nullable=True, comment="Import path of the estimator."),
        sa.Column("target", Json, nullable=True, comment="Horizon, lag, transform."),
        sa.Column("fit_count", sa.Integer(), nullable=True, comment="Fits in the version."),
        sa.Column("num_features", sa.Integer(), nullable=True, comment="Columns used."),
        sa.Column("training_samples", sa.BigInteger(), nullable=True, comment="Rows trained on, over all fits."),
        sa.Column("validation_samples", sa.BigInteger(), nullable=True, comment="Rows validated on, over all fits."),
        sa.Column("train_start", sa.Date(), nullable=True, comment="First event date trained on."),
        sa.Column("label_end", sa.Date(), nullable=True, comment="Last event date that a label reaches."),
        sa.Column("val_ic", sa.Float(), nullable=True, comment="Mean out-of-sample information coefficient."),
        sa.Column(
            "probe_digest",
            sa.String(length=64),
            nullable=True,
            comment="Digest of the predictions on the stored probe sample.",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_training_runs_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", name=op.f("pk_training_runs")),
        comment="Trainings of models.",
    )
    op.create_table(
        "versions",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The version."),
        sa.Column("flow_id", sa.Uuid(), nullable=False, comment="Whose output."),
        sa.Column("number", sa.Integer(), nullable=False, comment="1, 2, ... within the flow."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The official run that published it."),
        sa.Column("previous_id", sa.Uuid(), nullable=True, comment="The version it followed."),
        sa.Column("content_digest", sa.String(length=64), nullable=False, comment="Equal digests, equal content."),
        sa.Column("key_columns", Json, nullable=True, comment="What identifies a row: event date first."),
        sa.Column("columns", Json, nullable=True, comment="Names and types of the columns, `known_at` left out."),
        sa.Column("row_count", sa.BigInteger(), nullable=True, comment="Rows of the current view."),
        sa.Column("first_data_date", sa.Date(), nullable=True, comment="First event date."),
        sa.Column("last_data_date", sa.Date(), nullable=True, comment="Last event date."),
        sa.Column(
            "changed_from",
            sa.Date(),
            nullable=True,
            comment="The earliest event date that differs from the previous version.",
        ),
        sa.Column("changed_columns", Json, nullable=True, comment="The columns that differ; none is all."),
        sa.Column("detail", Json, nullable=True, comment="What the kind of flow adds: fits, probe digest, ..."),
        sa.Column("created_at", Instant, nullable=False, comment="When it was published."),
        sa.CheckConstraint("number >= 1", name=op.f("ck_versions_number")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_versions_tenant_id_flow_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "previous_id"],
            ["versions.tenant_id", "versions.id"],
            name=op.f("fk_versions_tenant_id_previous_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_versions_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_versions")),
        comment="The immutable outputs of completed official runs; a trigger refuses updates.",
    )
    op.create_index("uq_versions_number", "versions", ["tenant_id", "flow_id", "number"], unique=True)
    op.create_index("uq_versions_run_id", "versions", ["tenant_id", "run_id"], unique=True)
    op.create_table(
        "artifacts",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="Who wrote it."),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="In which attempt."),
        sa.Column("name", sa.String(length=200), nullable=False, comment="The name that the run gave it."),
        sa.Column(
            "kind",
            sa.String(length=20),
            nullable=False,
            comment="Table, file, report, or a file shared with a dataset version.",
        ),
        sa.Column("media_type", sa.String(length=100), nullable=False, comment="As registered with IANA."),
        sa.Column(
            "storage_key", sa.String(length=500), nullable=False, comment="Where the bytes are; never overwritten."
        ),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False, comment="How many."),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="Their digest."),
        sa.Column("created_at", Instant, nullable=False, comment="When the run's completion made it visible."),
        sa.CheckConstraint("kind IN ('frame', 'file', 'report', 'segment')", name=op.f("ck_artifacts_kind")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id", "attempt"],
            ["attempts.tenant_id", "attempts.run_id", "attempts.number"],
            name=op.f("fk_artifacts_tenant_id_run_id_attempt"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", "name", name=op.f("pk_artifacts")),
        comment="Files of completed runs; written to the store before this row.",
    )
    op.create_index("ix_artifacts_storage_key", "artifacts", ["tenant_id", "storage_key"], unique=False)
    op.create_table(
        "inference_runs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "base_version_id", sa.Uuid(), nullable=True, comment="The version that the predictions were compared with."
        ),
        sa.Column("model_version_id", sa.Uuid(), nullable=True, comment="The version that predicted."),
        sa.Column("first_date", sa.Date(), nullable=True, comment="First event date predicted."),
        sa.Column("last_date", sa.Date(), nullable=True, comment="Last event date predicted."),
        sa.Column("num_predictions", sa.BigInteger(), nullable=True, comment="Rows predicted."),
        sa.Column(
            "is_in_sample", sa.Boolean(), nullable=True, comment="Whether in-sample rows were allowed: labelled."
        ),
        sa.Column("coverage", sa.Float(), nullable=True, comment="Share of members with a prediction, as a fraction."),
        sa.Column("latency_ms", sa.Float(), nullable=True, comment="Milliseconds to predict."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "model_version_id"],
            ["versions.tenant_id", "versions.id"],
            name=op.f("fk_inference_runs_tenant_id_model_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_inference_runs_tenant_id_run_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", name=op.f("pk_inference_runs")),
        comment="Predictions of models.",
    )
    op.create_table(
        "log_chunks",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Which attempt wrote it."),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="Order within the attempt."),
        sa.Column("lines", Json, nullable=False, comment="A batch of lines: at, level, stream, text."),
        sa.Column("written_at", Instant, nullable=False, comment="When the ledger took it, by the database's clock."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id", "attempt"],
            ["attempts.tenant_id", "attempts.run_id", "attempts.number"],
            name=op.f("fk_log_chunks_tenant_id_run_id_attempt"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", "attempt", "position", name=op.f("pk_log_chunks")),
        comment="Log lines in batches.",
    )
    op.create_table(
        "metric_points",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Which attempt reported it."),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="Order of reporting within the attempt."),
        sa.Column("key", sa.String(length=200), nullable=False, comment="The metric's name."),
        sa.Column("step", sa.BigInteger(), nullable=True, comment="The run's own step; none if it gave none."),
        sa.Column("value", sa.Float(), nullable=True, comment="The value; none for not a number."),
        sa.Column("at", Instant, nullable=False, comment="When the run reported it, by the runner's clock."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id", "attempt"],
            ["attempts.tenant_id", "attempts.run_id", "attempts.number"],
            name=op.f("fk_metric_points_tenant_id_run_id_attempt"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", "attempt", "position", name=op.f("pk_metric_points")),
        comment="Metrics as they were reported.",
    )
    op.create_table(
        "plan_members",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("plan_id", sa.Uuid(), nullable=False, comment="The plan."),
        sa.Column("step_id", sa.Uuid(), nullable=False, comment="A step that it needs; other plans may need it too."),
        sa.Column("batch", sa.Integer(), nullable=False, comment="Steps of one batch do not need each other; from 1."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "plan_id"], ["plans.tenant_id", "plans.id"], name=op.f("fk_plan_members_tenant_id_plan_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "step_id"],
            ["plan_steps.tenant_id", "plan_steps.id"],
            name=op.f("fk_plan_members_tenant_id_step_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "plan_id", "step_id", name=op.f("pk_plan_members")),
        comment="Which plans need which steps.",
    )
    op.create_index("ix_plan_members_step_id", "plan_members", ["tenant_id", "step_id"], unique=False)
    op.create_table(
        "plan_pins",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("plan_id", sa.Uuid(), nullable=False, comment="The plan."),
        sa.Column("flow_id", sa.Uuid(), nullable=False, comment="What runs of the plan read."),
        sa.Column(
            "selector",
            sa.String(length=80),
            nullable=False,
            comment="Which version of it: `current` or `stage:champion`; a number pins itself.",
        ),
        sa.Column(
            "version_id",
            sa.Uuid(),
            nullable=False,
            comment="The version that they read: that of the snapshot, or what the plan's own step made of it.",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_plan_pins_tenant_id_flow_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "plan_id"], ["plans.tenant_id", "plans.id"], name=op.f("fk_plan_pins_tenant_id_plan_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "version_id"],
            ["versions.tenant_id", "versions.id"],
            name=op.f("fk_plan_pins_tenant_id_version_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "plan_id", "flow_id", "selector", name=op.f("pk_plan_pins")),
        comment="A plan's snapshot of versions: what is published meanwhile never mixes in.",
    )
    op.create_table(
        "plan_step_edges",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("step_id", sa.Uuid(), nullable=False, comment="The step that waits."),
        sa.Column("upstream_step_id", sa.Uuid(), nullable=False, comment="The step that it waits for."),
        sa.CheckConstraint("step_id <> upstream_step_id", name=op.f("ck_plan_step_edges_not_itself")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "step_id"],
            ["plan_steps.tenant_id", "plan_steps.id"],
            name=op.f("fk_plan_step_edges_tenant_id_step_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_step_id"],
            ["plan_steps.tenant_id", "plan_steps.id"],
            name=op.f("fk_plan_step_edges_tenant_id_upstream_step_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "step_id", "upstream_step_id", name=op.f("pk_plan_step_edges")),
        comment="The order of steps.",
    )
    op.create_index(
        "ix_plan_step_edges_upstream_step_id", "plan_step_edges", ["tenant_id", "upstream_step_id"], unique=False
    )
    op.create_table(
        "run_inputs",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run that reads."),
        sa.Column("role", sa.String(length=100), nullable=False, comment="The name under which it reads."),
        sa.Column("upstream_flow_id", sa.Uuid(), nullable=False, comment="What it reads."),
        sa.Column("version_id", sa.Uuid(), nullable=True, comment="The exact version read."),
        sa.Column(
            "revision_id",
            sa.Uuid(),
            nullable=True,
            comment="The exact config revision used, of upstreams that are configs.",
        ),
        sa.Column(
            "selector",
            sa.String(length=80),
            nullable=False,
            comment="How the version was chosen: `current`, `stage:champion`, `version:3`.",
        ),
        sa.Column("columns", Json, nullable=True, comment="The columns read; none is all, an empty list is nothing."),
        sa.Column(
            "first_date", sa.Date(), nullable=True, comment="First event date asked for; none is from the beginning."
        ),
        sa.Column("last_date", sa.Date(), nullable=True, comment="Last event date asked for; none is without an end."),
        sa.Column("as_of", Instant, nullable=True, comment="As known when."),
        sa.Column("pinned_at", Instant, nullable=False, comment="When, by the database's clock."),
        sa.CheckConstraint("(version_id IS NULL) <> (revision_id IS NULL)", name=op.f("ck_run_inputs_one_pin")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "revision_id"],
            ["instance_revisions.tenant_id", "instance_revisions.id"],
            name=op.f("fk_run_inputs_tenant_id_revision_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["runs.tenant_id", "runs.id"], name=op.f("fk_run_inputs_tenant_id_run_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "upstream_flow_id"],
            ["flows.tenant_id", "flows.id"],
            name=op.f("fk_run_inputs_tenant_id_upstream_flow_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "version_id"],
            ["versions.tenant_id", "versions.id"],
            name=op.f("fk_run_inputs_tenant_id_version_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", "role", "upstream_flow_id", name=op.f("pk_run_inputs")),
        comment="What runs consumed: pinned by the transaction that started their first attempt.",
    )
    op.create_index("ix_run_inputs_version_id", "run_inputs", ["tenant_id", "version_id"], unique=False)
    op.create_table(
        "version_segments",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("version_id", sa.Uuid(), nullable=False, comment="The version."),
        sa.Column("position", sa.Integer(), nullable=False, comment="Order of publication, from 0: later rows win."),
        sa.Column("segment_id", sa.Uuid(), nullable=False, comment="The segment."),
        sa.ForeignKeyConstraint(
            ["tenant_id", "segment_id"],
            ["segments.tenant_id", "segments.id"],
            name=op.f("fk_version_segments_tenant_id_segment_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "version_id"],
            ["versions.tenant_id", "versions.id"],
            name=op.f("fk_version_segments_tenant_id_version_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "version_id", "position", name=op.f("pk_version_segments")),
        comment="A dataset version is a list of segments.",
    )
    op.create_index("ix_version_segments_segment_id", "version_segments", ["tenant_id", "segment_id"], unique=False)
    op.create_table(
        "version_stages",
        sa.Column("tenant_id", sa.Integer(), nullable=False, comment="Whose row it is."),
        sa.Column("id", sa.Uuid(), nullable=False, comment="The entry."),
        sa.Column("flow_id", sa.Uuid(), nullable=False, comment="Whose version."),
        sa.Column("version_id", sa.Uuid(), nullable=False, comment="Which version."),
        sa.Column("stage", sa.String(length=50), nullable=False, comment="`candidate`, `champion`, `archived`."),
        sa.Column("set_at", Instant, nullable=False, comment="From when."),
        sa.Column("set_by", sa.Uuid(), nullable=False, comment="By whom."),
        sa.Column("ended_at", Instant, nullable=True, comment="Until when."),
        sa.CheckConstraint("stage IN ('candidate', 'champion', 'archived')", name=op.f("ck_version_stages_stage")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "flow_id"], ["flows.tenant_id", "flows.id"], name=op.f("fk_version_stages_tenant_id_flow_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "set_by"],
            ["principals.tenant_id", "principals.id"],
            name=op.f("fk_version_stages_tenant_id_set_by"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "version_id"],
            ["versions.tenant_id", "versions.id"],
            name=op.f("fk_version_stages_tenant_id_version_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_version_stages")),
        comment="The stages of model versions; at most one champion of a flow.",
    )
    op.create_index(
        "uq_version_stages_champion",
        "version_stages",
        ["tenant_id", "flow_id"],
        unique=True,
        sqlite_where=sa.text("stage = 'champion' AND ended_at IS NULL"),
        postgresql_where=sa.text("stage = 'champion' AND ended_at IS NULL"),
    )
    op.create_index(
        "uq_version_stages_live",
        "version_stages",
        ["tenant_id", "version_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )

    op.create_index(
        "ix_runs_claim",
        "runs",
        [
            "tenant_id",
            "engine",
            sa.text("priority DESC"),
            "submitted_at",
            "id",
            "available_at",
            "standing",
            "flow_id",
        ],
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )

    create_rules()
    _seed()


def downgrade() -> None:
    """Drop everything."""
    drop_rules()
    op.drop_table("version_stages")
    op.drop_table("version_segments")
    op.drop_table("run_inputs")
    op.drop_table("plan_step_edges")
    op.drop_table("plan_pins")
    op.drop_table("plan_members")
    op.drop_table("metric_points")
    op.drop_table("log_chunks")
    op.drop_table("inference_runs")
    op.drop_table("artifacts")
    op.drop_table("versions")
    op.drop_table("training_runs")
    op.drop_table("submissions")
    op.drop_table("segments")
    op.drop_table("run_metrics")
    op.drop_table("portfolio_optimization_runs")
    op.drop_table("plan_steps")
    op.drop_table("pipeline_runs")
    op.drop_table("monitoring_runs")
    op.drop_table("experiment_runs")
    op.drop_table("backtest_runs")
    op.drop_table("attempts")
    op.drop_table("alerts")
    op.drop_table("runs")
    op.drop_table("schedules")
    op.drop_table("plans")
    op.drop_table("flow_inputs")
    op.drop_table("families")
    op.drop_table("flows")
    op.drop_table("instance_revisions")
    op.drop_table("instances")
    op.drop_table("definition_versions")
    op.drop_table("api_keys")
    op.drop_table("activities")
    op.drop_table("source_snapshots")
    op.drop_table("projects")
    op.drop_table("principals")
    op.drop_table("limits")
    op.drop_table("definitions")
    op.drop_table("tenants")


def _seed() -> None:
    now = dt.datetime.now(dt.UTC)
    tenants = sa.table(
        "tenants", sa.column("id", sa.Integer), sa.column("name", sa.String), sa.column("created_at", Instant)
    )
    principals = sa.table(
        "principals",
        sa.column("tenant_id", sa.Integer),
        sa.column("id", sa.Uuid),
        sa.column("name", sa.String),
        sa.column("kind", sa.String),
        sa.column("created_at", Instant),
    )
    op.bulk_insert(tenants, [{"id": DEFAULT_TENANT, "name": "default", "created_at": now}])
    op.bulk_insert(
        principals,
        [
            {"tenant_id": DEFAULT_TENANT, "id": SYSTEM_ID, "name": "system", "kind": "system", "created_at": now},
            {"tenant_id": DEFAULT_TENANT, "id": OWNER_ID, "name": "owner", "kind": "user", "created_at": now},
        ],
    )
