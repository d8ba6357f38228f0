"""Alerts: what monitoring runs found."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update

from optaic.domain.alert import Alert
from optaic.domain.identifier import new_id
from optaic.domain.run import Run
from optaic.domain.status import Standing
from optaic.domain.text import clean_text
from optaic.ledger import activities
from optaic.ledger.rows import insert_rows
from optaic.ledger.session import Transaction
from optaic.ledger.tables import alerts as alerts_table
from optaic.ledger.tables import monitoring_runs

_MAX_METRIC, _MAX_MESSAGE = 200, 1000


def keep(tx: Transaction, run: Run, found: Sequence[Alert]) -> None:
    """Write the alerts of a monitoring run, in the transaction that completes it.

    All of them stand in the run itself. Those of an official run are also rows of their own, and activities: a trial
    tells whoever asked for it, and alarms nobody else.
    """
    documents = [_clean(alert) for alert in found]
    tx.conn.execute(
        update(monitoring_runs)
        .where(monitoring_runs.c.tenant_id == tx.tenant_id, monitoring_runs.c.run_id == run.id)
        .values(alerts_json=documents, alert_count=len(documents))
    )
    if run.standing is not Standing.OFFICIAL:
        return
    ids = [new_id() for _ in documents]
    names = ("severity", "kind", "metric", "threshold", "value", "message")
    insert_rows(
        tx,
        alerts_table,
        {"run_id": run.id, "flow_id": run.flow_id},
        {"id": ids} | {name: [document[name] for document in documents] for name in names},
        clock="raised_at",
    )
    about = {"run_id": str(run.id), "instance": run.instance, "flow_kind": run.flow_kind}
    activities.record_all(
        tx, "alert.raised", [(one, {**about, **document}) for one, document in zip(ids, documents, strict=True)]
    )


def of_run(tx: Transaction, run_id: uuid.UUID) -> list[dict[str, Any]]:
    """Read the alerts of a run, the worst first, as JSON; empty for a run that is no completed monitor."""
    query = select(monitoring_runs.c.alerts_json).where(
        monitoring_runs.c.tenant_id == tx.tenant_id, monitoring_runs.c.run_id == run_id
    )
    return tx.conn.execute(query).scalar_one_or_none() or []


def _clean(alert: Alert) -> dict[str, Any]:
    document = alert.to_json()
    return {
        **document,
        "metric": clean_text(alert.metric)[:_MAX_METRIC],
        "message": clean_text(alert.message)[:_MAX_MESSAGE],
    }
