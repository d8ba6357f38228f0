"""Tenants, principals and keys: whose data it is, and who acts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from optaic.ledger.columns import Id, Instant, Json, column, metadata, one_of, reference, tenant_table

tenants = Table(
    "tenants",
    metadata,
    Column("id", Integer, primary_key=True, comment="1 is the tenant of an embedded ledger."),
    column("name", String(100), "What people call it.", unique=True),
    column("stream_seq", BigInteger, "The last sequence number that the relay gave.", server_default="0"),
    column("created_at", Instant, "When it was made."),
    comment="Whose data it is; the row is also the tenant's graph lock.",
)

principals = tenant_table(
    "principals",
    column("id", Id, "The principal."),
    column("name", String(200), "What people call it."),
    column("kind", String(20), "Person, program, or the product itself (schedules, triggers, rescue)."),
    column("created_at", Instant, "When it was made."),
    column("disabled_at", Instant, "From when it may do nothing.", null=True),
    one_of("kind", ["user", "service", "system"]),
    Index("uq_principals_name", "tenant_id", "name", unique=True),
    root=True,
    comment="Who acts.",
)

api_keys = tenant_table(
    "api_keys",
    column("id", Id, "The key's id; not the secret."),
    column("principal_id", Id, "Who acts with it."),
    column("name", String(200), "What it is used for."),
    column("prefix", String(16), "The first characters, shown in lists."),
    column("key_digest", String(64), "SHA-256 of the secret; the secret is never stored."),
    column("scopes", Json, "What it allows: a list of words."),
    column("created_at", Instant, "When it was made."),
    column("expires_at", Instant, "From when it opens nothing.", null=True),
    column("revoked_at", Instant, "When it was revoked.", null=True),
    column("last_used_at", Instant, "When it last opened something.", null=True),
    reference("principal_id", "principals"),
    Index("uq_api_keys_key_digest", "key_digest", unique=True),
    comment="Keys of programs.",
)
