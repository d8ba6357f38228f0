"""Comparing: two runs, or many, side by side, as JSON-ready documents."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Row, and_, select

from optaic import view
from optaic.bootstrap import Runtime
from optaic.domain.contrast import Facts, contrast
from optaic.domain.run import Run
from optaic.errors import InvalidInputError, StorageError
from optaic.flows.source import source_files
from optaic.ledger import runs
from optaic.ledger.session import Transaction
from optaic.ledger.tables import definition_versions, instance_revisions, pipeline_runs
from optaic.ledger.tables import runs as runs_table
from optaic.lifecycle.original import Source, source_of

MAX_RUNS = 20

Reference = str | uuid.UUID


def diff(runtime: Runtime, one: Reference, other: Reference) -> dict[str, Any]:
    """Put two runs side by side: what they are, params, config, code and its files, inputs, metrics, artifacts.

    Returns
    -------
    dict
        `runs`: both run objects; `rows`: what differs first, as `optaic.domain.contrast.Row` describes them, with the
        SHA-256 of source files that differ and of artifacts as values; `different`: how many differ; `notes`: what
        could not be compared.

    Raises
    ------
    NotFoundError, InvalidInputError
        If a reference names no run, or several.
    """
    with runtime.database.read() as tx:
        found = _find(tx, [one, other])
        facts = _facts(tx, found, with_files=True)
        sources = [source_of(tx, detail.run) for detail in found]
    notes: list[str] = []
    if None not in sources and sources[0] != sources[1]:
        try:
            files = [_source_facts(runtime, source) for source in sources if source is not None]
        except StorageError as error:
            notes.append(f"the files of the source were not compared: {error.message}")
        else:
            same = {name for name in files[0] if files[0][name] == files[1].get(name)}
            for mine, theirs in zip(facts, files, strict=True):
                mine.update({("source", name): digest for name, digest in theirs.items() if name not in same})
    return _document(found, facts, notes)


def compare(runtime: Runtime, references: Sequence[Reference]) -> dict[str, Any]:
    """Put 2 to 20 runs side by side: what they are, params, config, code, inputs and metrics.

    Returns
    -------
    dict
        As `diff`, without source files and artifacts; the rows of metrics say which runs are best and worst.

    Raises
    ------
    NotFoundError, InvalidInputError
        If there are fewer than 2 or more than 20, or a reference names no run, or several.
    """
    if not 2 <= len(references) <= MAX_RUNS:
        raise InvalidInputError(
            f"{len(references)} run{'' if len(references) == 1 else 's'} cannot be compared",
            next_step=f"name 2 to {MAX_RUNS} runs; list them with: optaic runs",
        )
    with runtime.database.read() as tx:
        found = _find(tx, references)
        return _document(found, _facts(tx, found, with_files=False), [])


def _find(tx: Transaction, references: Sequence[Reference]) -> list[view.Detail]:
    found = [runs.get(tx, one) if isinstance(one, uuid.UUID) else runs.find(tx, one) for one in references]
    return view.load_details(tx, found)


def _document(found: Sequence[view.Detail], facts: Sequence[Facts], notes: Sequence[str]) -> dict[str, Any]:
    rows = contrast(facts, [detail.run.type for detail in found])
    return {
        "runs": [view.to_json(detail) for detail in found],
        "rows": [row.to_json() for row in rows],
        "different": sum(row.is_different for row in rows),
        "notes": list(notes),
    }


def _facts(tx: Transaction, found: Sequence[view.Detail], *, with_files: bool) -> list[dict[tuple[str, str], Any]]:
    more = _read_more(tx, [detail.run.id for detail in found])
    all_facts: list[dict[tuple[str, str], Any]] = []
    for detail in found:
        run, row = detail.run, more[detail.run.id]
        facts = {("run", name): value for name, value in _of_run(detail).items()}
        facts |= {("params", name): value for name, value in run.params.items()}
        config = {name: value for name, value in row.config.items() if name not in ("params", "inputs")}
        facts |= {("config", name): value for name, value in _flat(config).items()}
        facts |= {
            ("code", "definition"): detail.code_ref,
            ("code", "digest"): detail.code_digest,
            ("code", "source"): run.source_digest,
            ("environment", "engine"): run.engine,
        }
        if row.distribution is not None:
            facts["environment", "distribution"] = f"{row.distribution} {row.distribution_version}"
        if row.calendar is not None:
            facts["environment", "calendar"] = row.calendar
        facts |= _of_inputs(detail)
        facts |= {("metrics", name): value for name, value in run.metrics.items()}
        if with_files:
            facts |= {("artifacts", item.name): item.stored.sha256 for item in detail.artifacts}
        all_facts.append(facts)
    return all_facts


def _of_run(detail: view.Detail) -> dict[str, Any]:
    run: Run = detail.run
    return {
        "target": f"{run.instance}.{run.flow_kind}",
        "type": str(run.type),
        "status": str(run.status),
        "reason": None if run.reason is None else f"{run.reason.message} [{run.reason.code}]",
        "standing": str(run.standing),
        "trigger": run.trigger,
        "mode": run.mode,
        "forced": run.is_forced,
        "seed": run.seed,
        "as_of": None if run.as_of is None else run.as_of.isoformat().replace("+00:00", "Z"),
        "revision": detail.revision,
        "version": detail.version,
    }


def _of_inputs(detail: view.Detail) -> dict[tuple[str, str], Any]:
    """Give, by role, what was read: which version, and which slice of it."""
    facts: dict[tuple[str, str], Any] = {}
    for item in detail.inputs:
        version = "its config" if item.version is None else f"version {item.version}"
        facts["inputs", item.role] = f"{item.instance}.{item.flow_kind} {version}"
        facts["inputs", f"{item.role} selector"] = item.selector
        facts["inputs", f"{item.role} columns"] = ", ".join(item.columns) or "all"
        if item.first_date is not None or item.last_date is not None:
            facts["inputs", f"{item.role} dates"] = f"{item.first_date or 'first'} to {item.last_date or 'last'}"
    return facts


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give a config by dotted paths; lists stay whole, as texts."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _source_facts(runtime: Runtime, source: Source) -> dict[str, str]:
    return source_files(runtime.store.get(source.archive))


def _read_more(tx: Transaction, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Row[Any]]:
    """Read what a run object does not tell: its config, whose distribution its code is, its calendar's library."""
    query = (
        select(
            runs_table.c.id,
            instance_revisions.c.config,
            definition_versions.c.distribution,
            definition_versions.c.distribution_version,
            pipeline_runs.c.calendar,
        )
        .join(
            instance_revisions,
            and_(
                instance_revisions.c.tenant_id == runs_table.c.tenant_id,
                instance_revisions.c.id == runs_table.c.revision_id,
            ),
        )
        .outerjoin(
            definition_versions,
            and_(
                definition_versions.c.tenant_id == runs_table.c.tenant_id,
                definition_versions.c.id == runs_table.c.definition_version_id,
            ),
        )
        .outerjoin(
            pipeline_runs,
            and_(pipeline_runs.c.tenant_id == runs_table.c.tenant_id, pipeline_runs.c.run_id == runs_table.c.id),
        )
        .where(runs_table.c.tenant_id == tx.tenant_id, runs_table.c.id.in_(ids))
    )
    return {row.id: row for row in tx.conn.execute(query)}
