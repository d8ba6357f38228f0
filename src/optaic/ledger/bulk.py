"""Many runs recorded at once: a number of statements that does not grow with them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert

from optaic.domain.identifier import new_id
from optaic.domain.kind import BY_FLOW_KIND, BY_RUN_TYPE, RunType
from optaic.domain.status import RunStatus
from optaic.ledger import activities
from optaic.ledger.catalog import Flow
from optaic.ledger.columns import db_now
from optaic.ledger.session import Transaction
from optaic.ledger.tables import EXTENSIONS, runs


def insert_runs(tx: Transaction, wanted: Sequence[tuple[Flow, Mapping[str, Any]]]) -> list[uuid.UUID]:
    """Record runs, `pending`, each as `optaic.ledger.runs.insert_run` would; give their ids, in order.

    Parameters
    ----------
    tx
        An open transaction.
    wanted
        What each will execute, and its columns of `runs`; all name the same columns.
    """
    rows: list[dict[str, Any]] = []
    by_type: dict[RunType, list[tuple[uuid.UUID | str, Mapping[str, Any]]]] = {}
    for flow, values in wanted:
        run_type, run_id = BY_FLOW_KIND[flow.kind].run_type, new_id()
        rows.append(
            {
                "tenant_id": tx.tenant_id,
                "id": run_id,
                "type": run_type,
                "flow_id": flow.id,
                "instance_id": flow.instance_id,
                "revision_id": flow.revision_id,
                "definition_version_id": flow.definition_version_id,
                "source_digest": flow.source_digest,
                "engine": flow.engine,
                "status": RunStatus.PENDING,
                "submitted_by": tx.actor_id,
                "correlation_id": tx.correlation_id,
                **values,
            }
        )
        facts = {
            "instance_id": str(flow.instance_id),
            "flow_id": str(flow.id),
            "standing": values["standing"],
            "trigger": values["trigger"],
        }
        by_type.setdefault(run_type, []).append((run_id, facts))
    if rows:
        tx.conn.execute(insert(runs).values(submitted_at=db_now(), available_at=db_now()), rows)
    for run_type, told in by_type.items():
        tx.conn.execute(
            insert(EXTENSIONS[run_type]), [{"tenant_id": tx.tenant_id, "run_id": run_id} for run_id, _ in told]
        )
        activities.record_all(tx, f"{BY_RUN_TYPE[run_type].slug}.submitted", told)
    return [row["id"] for row in rows]
