"""Reading a project file into what it declares; all mistakes are found before the first is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from optaic.domain.fingerprint import digest_of
from optaic.domain.kind import RUN_KINDS, FlowKind, InstanceKind, main_flow_kind
from optaic.domain.known import calendar_of
from optaic.domain.lineage import find_cycle
from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError
from optaic.flows.secret import REFERENCE
from optaic.project import model
from optaic.project.document import Document, Entry, place
from optaic.project.monitor import monitor_inputs, read_monitor
from optaic.project.optimizer import FIELDS as OPTIMIZER_FIELDS
from optaic.project.optimizer import read_optimizer
from optaic.project.policy import is_null, read_freshness, read_key, read_known_at, read_policies, read_schedule
from optaic.project.procedure import read_procedure
from optaic.project.reference import PROJECT_NAME, check_name, check_selector, parse_input
from optaic.project.spec import InputSpec, InstanceSpec, Place, Project

_TOP = ("project", "instances", "settings")
_COMMON = ("kind", "definition", "params", "inputs", "timeout", "retry", "seed", "description", "schedule")
_FIELDS = {
    InstanceKind.DATASET: (*_COMMON, "expression", "key", "known_at", "freshness", "monitor"),
    InstanceKind.EXPERIMENT: (*_COMMON, "expression"),
    InstanceKind.BACKTEST: (*_COMMON, "config", "monitor"),
    InstanceKind.MODEL: (*_COMMON, *model.FIELDS, "monitor"),
    InstanceKind.PORTFOLIO_OPTIMIZER: (*_COMMON, *OPTIMIZER_FIELDS),
}
_LATER = {InstanceKind.DATASET: ("files", "sql")}
_NOT_YET = "is not there yet in this version"
_SECRET_LIKE = re.compile(r"\$\{\s*env\b", re.IGNORECASE)


def read(path: Path) -> Project:
    """Read and validate a project file; see `optaic.project.read_project`.

    Raises
    ------
    NotFoundError, ProjectFileError
        As there.
    """
    document = Document(path)
    if document.root is None:
        root = yaml.MappingNode("tag:yaml.org,2002:map", [], yaml.Mark(str(path), 0, 0, 0, None, 0))
    else:
        root = document.root
    top = document.fields(root, "the project file", _TOP)
    name = _project_name(document, top.get("project"), root)
    instances: list[InstanceSpec] = []
    if "instances" in top and not is_null(top["instances"].value):
        for key, entry in document.entries(top["instances"].value, "instances").items():
            spec = _instance(document, key, entry)
            if spec is not None:
                instances.append(spec)
    _check_graph(document, instances)
    document.raise_problems()
    declared = {spec.name: spec.config for spec in instances}
    return Project(
        name=name,
        path=path,
        root=path.absolute().parent,
        instances=tuple(instances),
        digest=digest_of({"project": name, "instances": declared}),
    )


def _project_name(document: Document, entry: Entry | None, root: yaml.Node) -> str:
    if entry is None:
        document.report(root, "the project has no name", "begin the file with: project: my_project")
        return ""
    name = document.text(entry, "project")
    if name is not None and (len(name) > 100 or not PROJECT_NAME.fullmatch(name)):
        document.report(
            entry.value,
            f"{name[:60]!r} is not a name for a project",
            "use lower-case letters, digits, - and _, a letter first, at most 100",
        )
    return name or ""


def _instance(document: Document, name: str, entry: Entry) -> InstanceSpec | None:
    before = len(document.problems)
    try:
        check_name(name)
    except InvalidInputError as error:
        document.report(entry.key, error.message, error.next_step)
    what = f"instance {name!r}"
    given = document.entries(entry.value, what)
    if not isinstance(entry.value, yaml.MappingNode):
        return None
    kind = _kind(document, given.get("kind"), entry, what)
    if kind is None or _has_later_fields(document, given, kind):
        return None
    fields = document.only(given, what, _FIELDS[kind])
    places: dict[tuple[str, ...], Place] = {(field,): place(part.value) for field, part in fields.items()}
    policies, declared = read_policies(document, fields)
    inputs = _inputs(document, fields.get("inputs"), name, places)
    settings = fields.get("config") or fields.get("params")
    config: dict[str, Any] = {
        "kind": kind.value,
        "params": _params(document, settings, "config" if "config" in fields else "params", places),
        "seed": policies["seed"],
        **declared,
        "inputs": {item.role: _input_config(item) for item in inputs},
    }
    config |= read_procedure(document, kind, fields, entry, what, inputs=inputs, params=config["params"])
    config |= _of_kind(document, kind, fields, entry, what, inputs=inputs, config=config)
    flow_inputs = {main_flow_kind(kind): inputs}
    if kind is InstanceKind.MODEL:
        flow_inputs = model.model_flows(name, inputs, config)
    freshness = read_freshness(document, fields.get("freshness"), calendar_of(config))
    if freshness is not None:
        config["freshness"] = freshness
    schedule = read_schedule(document, fields.get("schedule"))
    if schedule is not None:
        config["schedule"] = schedule
        _check_schedule(document, fields["schedule"], inputs)
    description = document.text(fields.get("description"), "description")
    if description is not None:
        config["description"] = description
    checks = read_monitor(document, kind, fields.get("monitor"))
    if checks:
        config["monitor"] = checks
        flow_inputs = {**flow_inputs, FlowKind.MONITOR: monitor_inputs(kind, name, inputs)}
    if len(document.problems) > before:
        return None
    line, column = place(entry.key)
    return InstanceSpec(
        name=name,
        kind=kind,
        definition=config["definition"],
        params=config["params"],
        inputs=inputs,
        flow_inputs=flow_inputs,
        policies=policies,
        freshness=freshness,
        schedule=schedule,
        config=config,
        line=line,
        column=column,
        places=places,
    )


def _of_kind(
    document: Document,
    kind: InstanceKind,
    fields: Mapping[str, Entry],
    entry: Entry,
    what: str,
    *,
    inputs: tuple[InputSpec, ...],
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """Read what only instances of a kind declare."""
    if kind is InstanceKind.MODEL:
        return model.read_model(document, fields, entry, what, inputs=inputs)
    if kind is InstanceKind.PORTFOLIO_OPTIMIZER:
        return read_optimizer(document, fields, entry, what, inputs)
    found: dict[str, Any] = {}
    if kind is InstanceKind.DATASET:
        found["key"] = list(read_key(document, fields.get("key")))
        if "expression" not in config:
            found["known_at"] = read_known_at(document, fields.get("known_at"), {**config, **found})
    return found


def _check_schedule(document: Document, entry: Entry, inputs: Sequence[InputSpec]) -> None:
    if not any(item.selector == "current" for item in inputs):
        document.report(
            entry.value, "schedule: it reads nothing that could set it off", "declare inputs, or take the schedule out"
        )


def _kind(document: Document, entry: Entry | None, instance: Entry, what: str) -> InstanceKind | None:
    kinds = [kind.value for kind in InstanceKind]
    if entry is None:
        document.report(instance.key, f"{what} has no kind", f"add `kind:`, one of: {', '.join(kinds)}")
        return None
    kind = document.text(entry, "kind")
    if kind is None:
        return None
    if kind not in kinds:
        document.report(
            entry.value, f"{kind[:60]!r} is not a kind{did_you_mean(kind, kinds)}", f"the kinds: {', '.join(kinds)}"
        )
        return None
    return InstanceKind(kind)


def _has_later_fields(document: Document, given: Mapping[str, Entry], kind: InstanceKind) -> bool:
    later = [field for field in _LATER.get(kind, ()) if field in given]
    for field in later:
        document.report(given[field].key, f"`{field}:` {_NOT_YET}", "name a function: definition: module:function")
    return bool(later)


def _params(
    document: Document, entry: Entry | None, field: str, places: dict[tuple[str, ...], Place]
) -> dict[str, Any]:
    if entry is None or is_null(entry.value):
        return {}
    params: dict[str, Any] = {}
    for name, part in document.entries(entry.value, field).items():
        places["params", name] = place(part.value)
        if not name.isidentifier():
            document.report(part.key, f"{name[:60]!r} is not a name for a param", "use letters, digits and _")
        params[name] = document.plain(part.value)
        # A reference that is almost right would reach the code as plain text.
        if _has_secret_like(params[name]):
            document.report(part.value, f"param {name} refers to no variable", "write secrets as ${env:NAME}")
    return params


def _has_secret_like(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_SECRET_LIKE.search(REFERENCE.sub("", value)))
    if isinstance(value, dict):
        return any(_has_secret_like(item) for item in cast("dict[str, Any]", value).values())
    return isinstance(value, list) and any(_has_secret_like(item) for item in cast("list[Any]", value))


def _inputs(
    document: Document, entry: Entry | None, name: str, places: dict[tuple[str, ...], Place]
) -> tuple[InputSpec, ...]:
    if entry is None or is_null(entry.value):
        return ()
    found: list[InputSpec] = []
    for role, part in document.entries(entry.value, "inputs").items():
        places["inputs", role] = place(part.value)
        try:
            check_name(role, "an input")
        except InvalidInputError as error:
            document.report(part.key, error.message, error.next_step)
        spec = _input(document, role, part)
        if spec is not None and spec.instance == name:
            document.report(part.value, f"{name} reads itself", "an instance reads other instances only")
        elif spec is not None:
            found.append(spec)
    return tuple(found)


def _input(document: Document, role: str, part: Entry) -> InputSpec | None:
    if not isinstance(part.value, yaml.MappingNode):
        text = document.text(part, f"input {role}")
        return None if text is None else _parsed_input(document, part, text, role)
    what = f"input {role!r}"
    fields = document.fields(part.value, what, ("from", "columns", "select"))
    if "from" not in fields:
        document.report(part.key, f"{what} does not say what it reads", "add `from: INSTANCE`")
        return None
    source = document.text(fields["from"], "from")
    columns = document.texts(fields.get("columns"), "columns")
    selector = document.text(fields.get("select"), "select")
    if selector is not None:
        try:
            check_selector(selector)
        except InvalidInputError as error:
            document.report(fields["select"].value, error.message, error.next_step)
    spec = None if source is None else _parsed_input(document, fields["from"], source, role)
    if spec is None:
        return None
    if columns and spec.columns:
        document.report(fields["columns"].value, f"{what} names its columns twice", "take them out of `from`")
    return InputSpec(
        role=role,
        instance=spec.instance,
        flow_kind=spec.flow_kind,
        columns=columns or spec.columns,
        selector=selector or "current",
    )


def _parsed_input(document: Document, part: Entry, text: str, role: str) -> InputSpec | None:
    try:
        return parse_input(text, role)
    except InvalidInputError as error:
        document.report(part.value, error.message, error.next_step)
        return None


def _input_config(spec: InputSpec) -> dict[str, Any]:
    return {
        "from": spec.instance if spec.flow_kind is None else f"{spec.instance}.{spec.flow_kind}",
        "columns": list(spec.columns),
        "select": spec.selector,
    }


def _check_graph(document: Document, instances: list[InstanceSpec]) -> None:
    """Report inputs that no flow of an upstream in this file can give, and the first cycle."""
    by_name = {spec.name: spec for spec in instances}
    for spec in instances:
        for item in spec.inputs:
            upstream = by_name.get(item.instance)
            kinds = [row.flow_kind for row in RUN_KINDS if upstream is not None and upstream.kind in row.instance_kinds]
            if item.flow_kind is FlowKind.MONITOR:
                problem = f"{spec.name} reads {item.instance}.monitor, which publishes nothing that could be read"
                _report_at(document, spec, item, problem, f"read {item.instance}")
            elif upstream is not None and item.flow_kind is not None and item.flow_kind not in kinds:
                shown = ", ".join(f"{upstream.name}.{kind}" for kind in kinds)
                problem = f"{upstream.name} is a {upstream.kind}: it has no flow {item.flow_kind.value!r}"
                _report_at(document, spec, item, problem, f"it has: {shown}")
    cycle = find_cycle((item.instance, spec.name) for spec in instances for item in spec.inputs)
    if cycle is not None:
        spec = by_name[cycle[1]]
        item = next(item for item in spec.inputs if item.instance == cycle[0])
        _report_at(
            document, spec, item, f"the inputs form a cycle: {' -> '.join(cycle)}", "take one of these inputs out"
        )


def _report_at(document: Document, spec: InstanceSpec, item: InputSpec, problem: str, next_step: str) -> None:
    line, column = spec.places["inputs", item.role]
    document.report_at(line, column, problem, next_step)
