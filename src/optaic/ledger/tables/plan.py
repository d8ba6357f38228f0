"""Plans: what must run for a target, on one snapshot of versions; and families of trials."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, Integer, String, text

from optaic.ledger.columns import Id, Instant, Json, column, one_of, reference, tenant_table

families = tenant_table(
    "families",
    column("id", Id, "The family."),
    column("name", String(200), "What people call it."),
    column("flow_id", Id, "What its trials vary.", null=True),
    column("spec", Json, "The grid or sample that was asked for.", null=True),
    column("created_at", Instant, "When it was made."),
    column("created_by", Id, "Who made it."),
    reference("flow_id", "flows"),
    reference("created_by", "principals"),
    Index("uq_families_name", "tenant_id", "name", unique=True),
    root=True,
    comment="Trials that belong together: what luck is computed over.",
)

plans = tenant_table(
    "plans",
    column("id", Id, "The plan."),
    column("target_flow_id", Id, "What it is for."),
    column("mode", String(20), "How upstreams that are not ready are treated."),
    column("status", String(20), "Running until every step has ended."),
    column("reason", Json, "Why it failed or was cancelled.", null=True),
    column("created_at", Instant, "When the snapshot was taken."),
    column("created_by", Id, "Who asked."),
    column("cancel_requested_at", Instant, "When its end was asked for.", null=True),
    column("ended_at", Instant, "When its last step ended.", null=True),
    one_of("mode", ["strict", "smart", "recursive", "force"]),
    one_of("status", ["running", "completed", "failed", "cancelled"]),
    CheckConstraint("(status = 'running') = (ended_at IS NULL)", name="ended_at"),
    reference("target_flow_id", "flows"),
    reference("created_by", "principals"),
    root=True,
    comment="What must run for a target.",
)

plan_steps = tenant_table(
    "plan_steps",
    column("id", Id, "The step; plans that need the same refresh share it."),
    column("flow_id", Id, "What it runs."),
    column("status", String(20), "Waiting for upstream steps, running, or ended."),
    column("causes", Json, "Why the flow is in the plan."),
    column("is_needed", Integer, "Whether it runs whatever its upstream steps publish: 1 or 0.", server_default="0"),
    column("run_id", Id, "The run it became.", null=True),
    column("reason", Json, "Why it is blocked or not needed.", null=True),
    column("created_at", Instant, "When it was planned."),
    column("ended_at", Instant, "When it ended.", null=True),
    one_of("status", ["waiting", "running", "done", "not_needed", "failed", "blocked", "cancelled"]),
    CheckConstraint("is_needed IN (0, 1)", name="is_needed"),
    CheckConstraint("status NOT IN ('running', 'done', 'failed') OR run_id IS NOT NULL", name="run_id"),
    CheckConstraint("(status IN ('waiting', 'running')) = (ended_at IS NULL)", name="ended_at"),
    reference("flow_id", "flows"),
    reference("run_id", "runs"),
    Index("ix_plan_steps_open", "tenant_id", "flow_id",
          sqlite_where=text("ended_at IS NULL"), postgresql_where=text("ended_at IS NULL")),
    Index("uq_plan_steps_run_id", "tenant_id", "run_id", unique=True),
    comment="One flow's run within plans.",
)  # fmt: skip

plan_members = tenant_table(
    "plan_members",
    column("plan_id", Id, "The plan."),
    column("step_id", Id, "A step that it needs; other plans may need it too."),
    column("batch", Integer, "Steps of one batch do not need each other; from 1."),
    reference("plan_id", "plans"),
    reference("step_id", "plan_steps"),
    Index("ix_plan_members_step_id", "tenant_id", "step_id"),
    key=("plan_id", "step_id"),
    comment="Which plans need which steps.",
)

plan_step_edges = tenant_table(
    "plan_step_edges",
    column("step_id", Id, "The step that waits."),
    column("upstream_step_id", Id, "The step that it waits for."),
    CheckConstraint("step_id <> upstream_step_id", name="not_itself"),
    reference("step_id", "plan_steps"),
    reference("upstream_step_id", "plan_steps"),
    Index("ix_plan_step_edges_upstream_step_id", "tenant_id", "upstream_step_id"),
    key=("step_id", "upstream_step_id"),
    comment="The order of steps.",
)

plan_pins = tenant_table(
    "plan_pins",
    column("plan_id", Id, "The plan."),
    column("flow_id", Id, "What runs of the plan read."),
    column("selector", String(80), "Which version of it: `current` or `stage:champion`; a number pins itself."),
    column("version_id", Id,
           "The version that they read: that of the snapshot, or what the plan's own step made of it."),
    reference("plan_id", "plans"),
    reference("flow_id", "flows"),
    reference("version_id", "versions"),
    key=("plan_id", "flow_id", "selector"),
    comment="A plan's snapshot of versions: what is published meanwhile never mixes in.",
)  # fmt: skip
