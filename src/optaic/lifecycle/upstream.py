"""Upstream: which flow an input of a project file means, and what is said if it means none."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import and_, select

from optaic.domain.kind import FlowKind
from optaic.domain.suggestion import did_you_mean
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Transaction
from optaic.ledger.tables import instances, projects
from optaic.project import InputSpec, InstanceSpec, Project
from optaic.project.rows import check_read


def find_upstream(
    tx: Transaction, project: Project, spec: InstanceSpec, item: InputSpec, live: Mapping[str, Flow]
) -> Flow:
    """Find the live flow that an input means.

    Parameters
    ----------
    tx
        The transaction of the apply.
    project, spec, item
        The file, the instance that reads, and what it reads.
    live
        The live flows, by target.

    Raises
    ------
    ProjectFileError
        If there is none, if it cannot be read, or if its versions have no stages and one is selected; the error points
        at the input.
    """
    target = item.instance if item.flow_kind is None else f"{item.instance}.{item.flow_kind}"
    found = live.get(target) or live.get(item.instance)  # the main flow has the instance's own name
    if found is None or (item.flow_kind is not None and found.kind != item.flow_kind):
        problem, next_step = _absence(tx, spec, item, live)
        raise project.error(
            spec, f"{spec.name} reads {target!r}, and {problem}", next_step=next_step, place=("inputs", item.role)
        )
    check_read(project, spec, item, FlowKind(found.kind), found.config)
    _check_stage(project, spec, item, found)
    return found


def _absence(tx: Transaction, spec: InstanceSpec, item: InputSpec, live: Mapping[str, Flow]) -> tuple[str, str | None]:
    """Say what is the matter with an upstream that is not there, and what helps."""
    kinds = sorted(flow.kind for flow in live.values() if flow.instance == item.instance)
    if kinds:
        return f"{item.instance} has no such flow", f"it has: {', '.join(kinds)}"
    query = (
        select(instances.c.archived_at, projects.c.name)
        .outerjoin(
            projects, and_(projects.c.tenant_id == instances.c.tenant_id, projects.c.id == instances.c.project_id)
        )
        .where(
            instances.c.tenant_id == tx.tenant_id,
            instances.c.name == item.instance,
            instances.c.archived_at.is_not(None),
        )
        .order_by(instances.c.archived_at.desc())
        .limit(1)
    )
    archived = tx.conn.execute(query).one_or_none()
    if archived is None:
        others = {flow.instance for flow in live.values()} - {spec.name}
        return f"there is no such instance{did_you_mean(item.instance, others)}", None
    by = "" if archived.name is None else f" by an apply of project {archived.name!r}"
    return (
        f"it was archived at {archived.archived_at:%Y-%m-%d %H:%M} UTC{by}",
        f"declare {item.instance} again, or take this input out",
    )


def _check_stage(project: Project, spec: InstanceSpec, item: InputSpec, upstream: Flow) -> None:
    """Refuse a stage that no version of the upstream can ever have."""
    if not item.selector.startswith("stage:"):
        return
    if upstream.kind is not FlowKind.TRAIN:
        what = "model" if upstream.is_main else "training of a model"
        raise project.error(
            spec,
            f"{spec.name} reads {item.selector} of {upstream.target}, which is no {what}: its versions have no stages",
            next_step="select current or version:N",
            place=("inputs", item.role),
        )
