"""Stage: say which version of a model is in use; whoever follows the stage becomes stale in the same transaction."""

from __future__ import annotations

from optaic.domain.identifier import new_id
from optaic.domain.kind import FlowKind
from optaic.domain.stage import NO_STAGE, Stage
from optaic.domain.suggestion import did_you_mean
from optaic.domain.text import check_text
from optaic.errors import InvalidInputError
from optaic.ledger import activities, catalog, stages, versions
from optaic.ledger.catalog import Flow
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.lifecycle import trigger
from optaic.lifecycle.propagate import propagate


def stage(database: Database, model: str, version: int, name: str) -> bool:
    """Give a version of a model a stage, or take its stage back.

    Parameters
    ----------
    database
        The ledger.
    model
        The model's name.
    version
        The number of one of its versions.
    name
        A value of `Stage`, or `none`: the version has no stage then. A model has at most one champion: the one before
        becomes `archived`, and can be made the champion again.

    Returns
    -------
    bool
        False if the version has the stage already, or has none to take back; nothing is written then.

    Raises
    ------
    NotFoundError
        If there is no such model or version.
    InvalidInputError
        If it is no model, or there is no such stage.
    """
    names = [*(one.value for one in Stage), NO_STAGE]
    if name not in names:
        raise InvalidInputError(
            f"{name[:60]!r} is not a stage{did_you_mean(name, names)}", next_step=f"use one of: {', '.join(names)}"
        )
    wanted = None if name == NO_STAGE else Stage(name)
    with database.write(correlation_id=new_id()) as tx:
        lock_graph(tx)
        flow = find_model(tx, model)
        version_id = versions.find_version(tx, flow.id, flow.instance, version)
        staged = stages.staged_versions(tx, flow.id)
        before = next((one.stage for one in staged if one.version_id == version_id), None)
        if before is wanted:
            return False
        former = [one for one in staged if one.stage is wanted is Stage.CHAMPION]
        stages.end_stages(tx, [version_id, *(one.version_id for one in former)])
        for one in former:
            stages.add_stage(tx, flow_id=flow.id, version_id=one.version_id, stage=Stage.ARCHIVED)
            _record(tx, flow, number=one.number, before=one.stage, after=Stage.ARCHIVED)
        if wanted is not None:
            stages.add_stage(tx, flow_id=flow.id, version_id=version_id, stage=wanted)
        _record(tx, flow, number=version, before=before, after=wanted)
        readers = stages.readers_by_stage(tx, flow.id)
        cause = {"kind": "stage", "model": flow.instance, "version": version, "stage": wanted}
        settled = propagate(tx, [], cause=cause, readers=readers)
        trigger.fire(tx, {*readers, *settled.own, *settled.downstream})
        return True


def find_model(tx: Transaction, name: str) -> Flow:
    """Find the flow whose versions are those of a model: the one that trains it.

    Raises
    ------
    NotFoundError
        If there is no such instance.
    InvalidInputError
        If it is no model.
    """
    flow = catalog.find_flow(tx, check_text(name, "the name of the model"))
    if flow.kind is not FlowKind.TRAIN:
        raise InvalidInputError(
            f"{name} is no model; it is a {flow.instance_kind}" if flow.is_main else f"{name} has no stages of its own",
            next_step="name a model, such as alpha",
        )
    return flow


def _record(tx: Transaction, flow: Flow, *, number: int, before: Stage | None, after: Stage | None) -> None:
    facts = {"model": flow.instance, "version": number, "old_stage": before, "stage": after}
    activities.record(tx, "model.staged", flow.instance_id, facts)
