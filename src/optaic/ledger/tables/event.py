"""What happened, what is limited, and what is alarming."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Float, Index, Integer, String, text

from optaic.ledger.columns import Id, Instant, Json, column, one_of, reference, tenant_table

activities = tenant_table(
    "activities",
    column("id", Id, "The event."),
    column("seq", BigInteger, "Place in the tenant's stream, given by the relay when it publishes.", null=True),
    column("verb", String(100), "`<resource>.<verb>`, past tense."),
    column("resource_type", String(50), "What it happened to."),
    column("resource_id", String(100), "Which one."),
    column("actor_id", Id, "Who did it."),
    column("payload", Json, "The facts of the event."),
    column("correlation_id", Id, "Shared by all that one request set off.", null=True),
    column("durable", Boolean, "Progress is transient; everything else is kept."),
    column("at", Instant, "When, by the database's clock."),
    reference("actor_id", "principals"),
    Index("uq_activities_seq", "tenant_id", "seq", unique=True),
    Index("ix_activities_unpublished", "tenant_id", "at", "id",
          sqlite_where=text("seq IS NULL"), postgresql_where=text("seq IS NULL")),
    Index("ix_activities_resource", "tenant_id", "resource_type", "resource_id", "at"),
    root=True,
    comment="The audit trail and the outbox, in one: written in the transaction of the change it tells of.",
)  # fmt: skip

limits = tenant_table(
    "limits",
    column("id", Id, "The limit."),
    column("scope", String(20), "What it counts over."),
    column("name", String(200), "Which instance, run type, project or tag; `*` for the tenant."),
    column("max_running", Integer, "How many attempts may be open at once; there is no counter beside the attempts."),
    column("created_at", Instant, "When it was set."),
    one_of("scope", ["tenant", "project", "instance", "run_type", "tag"]),
    CheckConstraint("max_running >= 0", name="max_running"),
    Index("uq_limits_scope", "tenant_id", "scope", "name", unique=True),
    root=True,
    comment="Limits of concurrency.",
)

alerts = tenant_table(
    "alerts",
    column("id", Id, "The alert."),
    column("run_id", Id, "The run that raised it."),
    column("flow_id", Id, "What it is about."),
    column("severity", String(20), "How bad."),
    column("kind", String(50), "Which check: `model_drift`, `performance`, `data_quality`, ..."),
    column("metric", String(200), "The figure that crossed."),
    column("threshold", Float, "What it crossed.", null=True),
    column("value", Float, "What it is.", null=True),
    column("message", String(1000), "A sentence for a person."),
    column("raised_at", Instant, "When."),
    column("acknowledged_at", Instant, "When a person took note.", null=True),
    column("acknowledged_by", Id, "Who.", null=True),
    one_of("severity", ["info", "warning", "critical"]),
    reference("run_id", "runs"),
    reference("flow_id", "flows"),
    reference("acknowledged_by", "principals"),
    Index("ix_alerts_flow_id", "tenant_id", "flow_id", "raised_at"),
    comment="What monitoring found.",
)
