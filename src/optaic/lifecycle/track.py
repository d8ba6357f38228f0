"""Track: a run whose code is a block of somebody's program. Recorded, claimed and pinned in one transaction."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from optaic.domain.fingerprint import digest_of, fingerprint, json_value
from optaic.domain.identifier import new_id
from optaic.domain.kind import FlowKind, InstanceKind
from optaic.domain.retry import RetryPolicy
from optaic.domain.status import Standing
from optaic.domain.text import check_text, check_texts
from optaic.errors import ConflictError, InvalidInputError, NotFoundError, UpstreamNotReadyError
from optaic.flows.task import PinnedInput, Task
from optaic.ledger import activities, attempts, catalog, declaration, runs, versions
from optaic.ledger.catalog import Flow, FlowInput
from optaic.ledger.session import Database, Transaction, lock_graph
from optaic.lifecycle.claim import Claim
from optaic.lifecycle.pins import insert_pins


def track(
    database: Database,
    name: str,
    *,
    worker: str,
    lease: dt.timedelta,
    params: Mapping[str, Any] | None = None,
    inputs: Mapping[str, FlowReference] | None = None,
    seed: int = 0,
    as_of: dt.datetime | None = None,
) -> Claim:
    """Record and claim a trial of an experiment, which is made if there is none of this name.

    Parameters
    ----------
    database
        The ledger.
    name
        The experiment.
    worker
        Who holds the run: host, process and a random part.
    lease
        How long it lasts without a heartbeat.
    params
        What the block works with, as JSON; dates and instants are recorded as their ISO text.
    inputs
        Datasets by role; their versions are pinned now.
    seed
        What the block seeds its generators with, 0 to 4294967295; recorded.
    as_of
        Read the inputs as they were known at this instant (UTC).

    Returns
    -------
    Claim
        The held run.

    Raises
    ------
    ConflictError
        If another kind of instance has this name.
    NotFoundError
        If an input does not exist.
    UpstreamNotReadyError
        If an input has no version.
    InvalidInputError
        If a name or a param has a character that cannot be stored, a param has no JSON form, or the seed is none.
    """
    check_text(name, "the name of the experiment")
    params = _json_params({} if params is None else params)
    check_texts(params, "a param")
    _check_seed(seed)
    check_texts([[role, target] for role, (target, _, _) in (inputs or {}).items()], "an input")
    with database.write(correlation_id=new_id()) as tx:
        flow = _experiment(tx, name)
        pins = _pins(tx, flow, inputs or {})
        run = runs.insert_run(
            tx,
            flow,
            {
                "definition_version_id": None,
                "source_digest": None,
                "engine": "inline",
                "standing": Standing.TRIAL,
                "retry_policy": RetryPolicy(max_attempts=1).to_json(),
                "trigger": "track",
                "params": params,
                "seed": seed,
                "as_of": as_of,
                "fingerprint": fingerprint(
                    code_digest=None,
                    config_digest=None,
                    params=params,
                    seed=seed,
                    inputs={item.role: version_id for item, version_id in pins},
                    as_of=as_of,
                ),
            },
            worker=worker,
        )
        insert_pins(tx, run.id, pins, as_of)
        attempts.open_attempt(tx, run.id, 1, worker, lease)
        loaded = versions.get_datasets(tx, {version_id for _, version_id in pins})
        task = Task(
            run_id=run.id,
            attempt=1,
            tenant_id=tx.tenant_id,
            instance=name,
            flow_kind=FlowKind.PREVIEW,
            code_ref=None,
            code_digest=None,
            config={},
            params=params,
            seed=seed,
            as_of=as_of,
            mode=None,
            standing=Standing.TRIAL,
            started_at=run.ledger_now,
            current=None,
            inputs=tuple(
                PinnedInput(
                    role=item.role, instance=item.upstream_instance, version=loaded[version_id], columns=item.columns
                )
                for item, version_id in pins
            ),
        )
        return Claim(run=run, attempt=1, task=task)


def read_inputs(inputs: Mapping[str, str] | Sequence[str]) -> dict[str, FlowReference]:
    """Read what somebody wrote for the inputs of a block: `prices`, `prices[close]` or `prices[close]@3`, by role.

    Without a role, it is the dataset's name.

    Raises
    ------
    InvalidInputError
        If one of them is no such text, or names a version that cannot be.
    """
    texts = cast("object", [inputs] if isinstance(inputs, str) else inputs)
    pairs: list[tuple[object, object]]
    if isinstance(texts, Mapping):
        pairs = list(cast("Mapping[object, object]", texts).items())
    elif isinstance(texts, Sequence):
        pairs = [(_role(text), text) for text in cast("Sequence[object]", texts)]
    else:
        raise InvalidInputError(f"{texts!r} are not inputs", next_step=_REFERENCE_STEP)
    found: dict[str, FlowReference] = {}
    for role, text in pairs:
        match = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidInputError(f"{text!r} is not a dataset", next_step=_REFERENCE_STEP)
        if not isinstance(role, str) or not role:
            raise InvalidInputError(
                f"{role!r} cannot be the role of an input", next_step='give it a name: {"close": "prices[close]"}'
            )
        if match[3] and len(match[3].lstrip("0")) > _MAX_VERSION_DIGITS:
            raise InvalidInputError(f"{text} names a version that cannot be", next_step=_REFERENCE_STEP)
        columns = tuple(part.strip() for part in (match[2] or "").split(",") if part.strip())
        found[role] = (match[1], columns, int(match[3]) if match[3] else None)
    return found


_REFERENCE = re.compile(r"([A-Za-z0-9_.-]+)(?:\[([^\[\]]*)\])?(?:@([0-9]+))?")
_REFERENCE_STEP = "write prices, prices[close] or prices[close]@3"
_MAX_VERSION_DIGITS = 9  # what both databases can count to is larger


def _role(text: object) -> object:
    return re.split(r"[\[@]", text, maxsplit=1)[0] if isinstance(text, str) else text


def _json_params(params: object) -> dict[str, Any]:
    if not isinstance(params, Mapping):
        raise InvalidInputError(f"{params!r} are not params", next_step='give them by name: params={"window": 20}')
    return json_value({"params": cast("object", params)})["params"]


def _check_seed(seed: object) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise InvalidInputError(f"{seed!r} is not a seed", next_step="use a whole number from 0 to 4294967295")


FlowReference = tuple[str, tuple[str, ...], int | None]
"""A dataset to read: target, columns (empty for all), version number (None for the current one)."""


def _experiment(tx: Transaction, name: str) -> Flow:
    target = f"{name}.{FlowKind.PREVIEW}"
    with suppress(NotFoundError):
        return catalog.find_flow(tx, target)
    # Others may be making it at this moment: whoever comes second finds it.
    lock_graph(tx)
    try:
        return catalog.find_flow(tx, target)
    except NotFoundError:
        if name in catalog.instance_names(tx):
            raise ConflictError(
                f"{name!r} is the name of another kind of instance, so nothing can be tracked under it",
                next_step="track under another name",
            ) from None
    if not name.replace("_", "").replace("-", "").isalnum() or len(name) > 100:
        raise InvalidInputError(
            f"{name!r} cannot be the name of an experiment", next_step="use up to 100 letters, digits, - and _"
        )
    made = declaration.add_instance(
        tx,
        name=name,
        kind=InstanceKind.EXPERIMENT,
        project_id=None,
        flow_kinds=(FlowKind.PREVIEW,),
        config={},
        config_digest=digest_of({}),
        policies={},
        engine="inline",
    )
    flow = catalog.get_flow(tx, made[FlowKind.PREVIEW])
    activities.record(tx, "instance.created", flow.instance_id, {"name": name, "kind": InstanceKind.EXPERIMENT})
    return flow


def _pins(tx: Transaction, flow: Flow, inputs: Mapping[str, FlowReference]) -> list[tuple[FlowInput, Any]]:
    pins: list[tuple[FlowInput, Any]] = []
    for role, (target, columns, number) in inputs.items():
        upstream = catalog.find_flow(tx, target)
        try:
            version_id = versions.find_version(tx, upstream.id, upstream.target, number)
        except NotFoundError as error:
            raise UpstreamNotReadyError(error.message, next_step=error.next_step) from None
        selector = "current" if number is None else "version"
        edge = FlowInput(
            id=new_id(),
            flow_id=flow.id,
            role=role,
            kind="data_dependency",
            columns=columns,
            selector=selector,
            selector_stage=None,
            selector_version=number,
            upstream_flow_id=upstream.id,
            upstream_instance=upstream.instance,
            upstream_instance_kind=upstream.instance_kind,
            upstream_kind=upstream.kind,
            upstream_version_id=version_id,
        )
        pins.append((edge, version_id))
    return pins
