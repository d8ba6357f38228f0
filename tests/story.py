"""One stored example of everything that the tables can hold: a small shop's ledger, written row by row."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import Table

from optaic.domain.identifier import new_id
from optaic.domain.kind import BY_FLOW_KIND, RUN_KINDS, FlowKind, InstanceKind, RunType
from optaic.domain.principal import OWNER_ID
from optaic.domain.retry import RetryPolicy
from optaic.ledger import tables
from optaic.ledger.session import Transaction
from tests.rows import READ, STALE, put, sample, utc

D = dt.date
DIGEST = "ab" * 32
STORED: dict[str, Any] = {"size_bytes": 2**40, "sha256": DIGEST}


class Story:
    """A small shop's ledger: one of everything. Each row that is written is kept, to be read back."""

    def __init__(self, tx: Transaction) -> None:
        self.tx, self.plans = tx, set[uuid.UUID]()
        self.written: list[tuple[Table, dict[str, Any]]] = []
        self.flows: dict[tuple[str, FlowKind], uuid.UUID] = {}
        self.instances: dict[str, uuid.UUID] = {}
        self.revisions: dict[str, uuid.UUID] = {}
        self.runs: dict[RunType, uuid.UUID] = {}

    def add(self, table: Table, **values: Any) -> uuid.UUID:
        if "id" in table.c:
            values.setdefault("id", new_id())
        put(self.tx, table, **values)
        self.written.append((table, values))
        return values.get("id", uuid.UUID(int=0))

    def configure(self) -> None:
        add = self.add
        self.project = add(
            tables.projects, name="sp500", applied_digest=DIGEST, source_digest=DIGEST, applied_at=utc(2024, 1, 1)
        )
        add(
            tables.source_snapshots,
            digest=DIGEST,
            storage_key="t1/source/x.tar",
            **STORED,
            file_count=3,
        )
        self.definition = add(tables.definitions, code_ref="shop.data:prices")
        self.code = add(
            tables.definition_versions,
            definition_id=self.definition,
            code_digest=DIGEST,
            distribution="shop",
            distribution_version="1.2",
            params_schema={"n": {"type": "integer", "default": 3}},
        )
        kinds = {
            "prices": InstanceKind.DATASET,
            "preview": InstanceKind.EXPERIMENT,
            "alpha": InstanceKind.MODEL,
            "min_variance": InstanceKind.PORTFOLIO_OPTIMIZER,
            "momentum_bt": InstanceKind.BACKTEST,
        }
        for name, kind in kinds.items():
            made = add(tables.instances, name=name, kind=kind, revision_number=1, project_id=self.project)
            self.instances[name] = made
            self.revisions[name] = add(
                tables.instance_revisions,
                instance_id=made,
                number=1,
                definition_id=self.definition,
                config={"params": {"n": 3}, "secret": "${env:TOKEN}"},
                config_digest=DIGEST,
                created_by=OWNER_ID,
            )
            for row in RUN_KINDS:
                if kind in row.instance_kinds:
                    self.flows[name, row.flow_kind] = self.add_flow(name, row.flow_kind)
        add(tables.instances, name="gone", kind=InstanceKind.DATASET, revision_number=1, archived_at=utc(2024, 2, 1))

    def add_flow(self, name: str, kind: FlowKind) -> uuid.UUID:
        return self.add(
            tables.flows,
            instance_id=self.instances[name],
            kind=kind,
            policies={"retry": {"max_attempts": 2}, "timeout_seconds": 60, "seed": 4},
            freshness_spec={"frequency": "daily", "calendar": "XNYS", "deadline": "18:00", "grace": 1},
            revision_id=self.revisions[name],
            definition_version_id=self.code,
            source_digest=DIGEST,
            engine="prefect",
            engine_deployment_id=f"deployment of {name}.{kind}",
            last_attempt_ok=1,
            last_data_date=D(2024, 1, 2),
            freshness="stale",
            **STALE,
            source_asked_at=utc(2024, 1, 2),
            current_version_id=new_id(),
            current_run_id=new_id(),
            last_attempt_run_id=new_id(),
            archived_at=utc(2024, 9, 1) if (name, kind) == ("momentum_bt", FlowKind.MONITOR) else None,
        )

    def connect(self) -> None:
        train, infer = self.flows["alpha", FlowKind.TRAIN], self.flows["alpha", FlowKind.INFER]
        prices = self.flows["prices", FlowKind.REFRESH]
        edge = {"position": 0, "created_at": utc(2024, 1, 1)}
        self.add(
            tables.flow_inputs,
            flow_id=train,
            upstream_flow_id=prices,
            role="features",
            kind="feature_dependency",
            columns=["close"],
            selector="version",
            selector_version=1,
            **READ,
            **edge,
        )
        self.add(
            tables.flow_inputs,
            flow_id=infer,
            upstream_flow_id=train,
            role="model",
            kind="signal_dependency",
            selector="stage",
            selector_stage="champion",
            **edge,
        )
        ended = {"selector": "current", "ended_at": utc(2024, 2, 1)}
        self.add(
            tables.flow_inputs,
            flow_id=infer,
            upstream_flow_id=prices,
            role="old",
            kind="data_dependency",
            **ended,
            **edge,
        )

    def execute(self) -> None:
        self.family = self.add(
            tables.families,
            name="lookbacks",
            flow_id=self.flows["momentum_bt", FlowKind.BACKTEST],
            spec={"n": [20, 60]},
            created_by=OWNER_ID,
        )
        owners = {row.flow_kind: next(name for name, kind in self.flows if kind is row.flow_kind) for row in RUN_KINDS}
        for kind, name in owners.items():
            self.add_run(name, kind)
        version = self.publish()
        for run_type, run_id in self.runs.items():
            table = tables.EXTENSIONS[run_type]
            values = {column.name: sample(column) for column in table.c if column.name not in {"tenant_id", "run_id"}}
            for column in ("base_version_id", "model_version_id"):
                if column in values:
                    values[column] = version
            self.add(table, run_id=run_id, **values)

    def add_run(self, name: str, kind: FlowKind) -> None:
        run_type = BY_FLOW_KIND[kind].run_type
        earlier = next(iter(self.runs.values()), None)
        is_trial = kind is not FlowKind.REFRESH and kind is not FlowKind.TRAIN
        run_id = self.runs[run_type] = self.add(
            tables.runs,
            type=run_type,
            flow_id=self.flows[name, kind],
            instance_id=self.instances[name],
            revision_id=self.revisions[name],
            definition_version_id=self.code,
            source_digest=DIGEST,
            standing="trial" if is_trial else "official",
            status="cancelled" if is_trial else "completed",
            **({"reason_code": "cancelled", "reason_message": "no", "reason_next_step": "retry"} if is_trial else {}),
            mode="full",
            priority=-3,
            due_at=utc(2024, 1, 2, 1),
            timeout_seconds=0.5,
            retry_policy=RetryPolicy().to_json(),
            trigger="sweep" if is_trial else "plan",
            triggered_by={"schedule": "nightly"},
            family_id=self.family,
            plan_step_id=new_id(),
            retry_of_id=earlier,
            reproduces_id=earlier if is_trial else None,
            params={"n": 3, "名": [1.5, None, True]},
            seed=2**40,
            as_of=utc(2023, 1, 1) if is_trial else None,
            fingerprint=DIGEST,
            is_forced=1,
            engine="prefect",
            submitted_by=OWNER_ID,
            correlation_id=new_id(),
            started_at=utc(2024, 1, 2, 2),
            ended_at=utc(2024, 1, 2, 3),
            attempt=1,
            cancel_requested_at=utc(2024, 1, 2, 2),
            cancel_requested_by=OWNER_ID,
            progress_pct=99.5,
            progress_note="nearly",
            progress_at=utc(2024, 1, 2, 2),
            metrics_json={"sharpe_ratio": 1.25, "verdict": "ok"},
        )
        self.add(
            tables.attempts,
            run_id=run_id,
            number=1,
            worker="host:1:abc",
            lease_expires_at=utc(2024, 1, 2, 4),
            heartbeat_at=utc(2024, 1, 2, 3),
            ended_at=utc(2024, 1, 2, 3),
            outcome="cancelled" if is_trial else "completed",
            reason_code="cancelled",
            reason_message="no",
            engine_run_id=f"engine run of {name}.{kind}",
            engine_state={"type": "COMPLETED"},
            exit_code=-9,
        )

    def publish(self) -> uuid.UUID:
        pipeline, training = self.runs[RunType.PIPELINE], self.runs[RunType.TRAINING]
        prices, train = self.flows["prices", FlowKind.REFRESH], self.flows["alpha", FlowKind.TRAIN]
        first = self.add_version(prices, pipeline, None)
        segment = self.add(
            tables.segments,
            flow_id=prices,
            run_id=pipeline,
            storage_key="t1/datasets/prices/x.parquet",
            role="revise",
            row_count=2**40,
            size_bytes=2**41,
            sha256=DIGEST,
            first_date=D(2024, 1, 1),
            last_date=D(2024, 1, 2),
            first_known_at=utc(2024, 1, 1),
            last_known_at=utc(2024, 1, 2),
        )
        self.add(tables.version_segments, version_id=first, position=0, segment_id=segment)
        self.champion = self.add_version(train, training, first)
        stage = {"flow_id": train, "version_id": self.champion, "set_by": OWNER_ID}
        self.add(tables.version_stages, stage="candidate", ended_at=utc(2024, 1, 2), **stage)
        self.add(tables.version_stages, stage="champion", **stage)
        predicts = {"run_id": self.runs[RunType.INFERENCE], "upstream_flow_id": train}
        pin = {"first_date": D(2024, 1, 1), "last_date": D(2024, 1, 2), "as_of": utc(2023, 1, 1)}
        self.add(
            tables.run_inputs,
            run_id=training,
            role="features",
            upstream_flow_id=prices,
            version_id=first,
            selector="version:1",
            columns=["close"],
            **pin,
        )
        self.add(
            tables.run_inputs,
            **predicts,
            role="model",
            version_id=self.champion,
            selector="stage:champion",
        )
        self.add(
            tables.run_inputs,
            **predicts,
            role="config",
            revision_id=self.revisions["alpha"],
            selector="current",
        )
        return first

    def add_version(self, flow_id: uuid.UUID, run_id: uuid.UUID, previous: uuid.UUID | None) -> uuid.UUID:
        return self.add(
            tables.versions,
            flow_id=flow_id,
            number=1,
            run_id=run_id,
            previous_id=previous,
            content_digest=DIGEST,
            key_columns=["date", "symbol"],
            columns=[{"name": "date", "dtype": "Date"}],
            row_count=2**40,
            first_data_date=D(1990, 1, 2),
            last_data_date=D(2022, 12, 28),
            changed_from=D(2022, 12, 27),
            changed_columns=["close"],
            detail={"fits": [{"train_end": "2020-01-02"}]},
        )

    def report(self) -> None:
        run_id = self.runs[RunType.BACKTEST]
        self.add(tables.run_metrics, run_id=run_id, key="sharpe_ratio", value=1.25)
        held = {"run_id": run_id, "attempt": 1}
        at = utc(2024, 1, 2)
        self.add(tables.metric_points, **held, position=2**40, key="ic", step=2**41, value=-0.5, at=at)
        self.add(tables.log_chunks, **held, position=0, lines=[{"at": "x", "level": "INFO", "text": "ü\n"}])
        self.add(
            tables.artifacts,
            **held,
            name="returns.parquet",
            kind="frame",
            media_type="application/vnd.apache.parquet",
            storage_key="t1/runs/x/1/returns.parquet",
            **STORED,
        )
        self.add(
            tables.alerts,
            run_id=run_id,
            flow_id=self.flows["alpha", FlowKind.MONITOR],
            severity="critical",
            kind="model_drift",
            metric="psi",
            threshold=0.2,
            value=0.31,
            message="psi of close is 0.31, above 0.2",
            acknowledged_at=at,
            acknowledged_by=OWNER_ID,
        )

    def plan(self) -> None:
        backtest, prices = self.flows["momentum_bt", FlowKind.BACKTEST], self.flows["prices", FlowKind.REFRESH]
        made = {"target_flow_id": backtest, "created_by": OWNER_ID}
        first = self.add(tables.plans, mode="recursive", status="running", **made)
        over = {"reason": {"code": "cancelled"}, "cancel_requested_at": utc(2024, 1, 2), "ended_at": utc(2024, 1, 3)}
        second = self.add(tables.plans, mode="smart", status="cancelled", **made, **over)
        why = {"causes": [{"kind": "never_run"}], "reason": {"code": "upstream_failed"}}
        self.shared = self.add(
            tables.plan_steps,
            flow_id=prices,
            status="done",
            is_needed=1,
            run_id=self.runs[RunType.PIPELINE],
            ended_at=utc(2024, 1, 2),
            **why,
        )
        last = self.add(tables.plan_steps, flow_id=backtest, status="waiting", **why)
        for plan in (first, second):
            self.add(tables.plan_members, plan_id=plan, step_id=self.shared, batch=1)
            self.add(tables.plan_members, plan_id=plan, step_id=last, batch=2)
        self.add(tables.plan_step_edges, step_id=last, upstream_step_id=self.shared)
        trained = self.flows["alpha", FlowKind.TRAIN]
        self.add(tables.plan_pins, plan_id=first, flow_id=trained, selector="stage:champion", version_id=self.champion)
        self.plans = {first, second}
        self.add(
            tables.submissions, key="nightly 2024-01-02", request_digest=DIGEST, run_id=self.runs[RunType.PIPELINE]
        )
        self.add(tables.submissions, key="plan", request_digest=DIGEST, plan_id=first)

    def operate(self) -> None:
        prices, at = self.flows["prices", FlowKind.REFRESH], utc(2024, 1, 2)
        due = {"next_at": at, "last_at": at, "last_run_id": self.runs[RunType.PIPELINE], "paused_at": at}
        spec = {"cron": "30 18 * * 1-5"}
        self.add(tables.schedules, flow_id=prices, kind="cron", spec=spec, time_zone="America/New_York", **due)
        self.add(
            tables.schedules, flow_id=prices, kind="session", spec={"calendar": "XNYS"}, time_zone="UTC", ended_at=at
        )
        for scope, name in (("tenant", "*"), ("project", "sp500"), ("tag", "gpu"), ("run_type", "BacktestRun")):
            self.add(tables.limits, scope=scope, name=name, max_running=4)
        robot = self.add(tables.principals, name="nightly", kind="service", disabled_at=at)
        self.add(
            tables.api_keys,
            principal_id=robot,
            name="nightly",
            prefix="opt_12",
            key_digest=DIGEST,
            scopes=["runs:write"],
            expires_at=at,
            revoked_at=at,
            last_used_at=at,
        )
        self.add(
            tables.activities,
            seq=2**40,
            verb="key.created",
            resource_type="key",
            resource_id="x",
            actor_id=robot,
            payload={"name": "nightly"},
            correlation_id=new_id(),
            durable=True,
        )


def write_story(tx: Transaction) -> Story:
    """Write one of everything."""
    story = Story(tx)
    story.configure()
    story.connect()
    story.execute()
    story.report()
    story.plan()
    story.operate()
    return story
