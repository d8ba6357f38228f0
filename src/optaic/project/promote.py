"""Promote: declare what an experiment computes as a dataset, in the project file, beside what stands there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from optaic.domain.kind import InstanceKind
from optaic.errors import ConflictError, InvalidInputError, NotFoundError
from optaic.project.document import Document
from optaic.project.read import read
from optaic.project.reference import check_name
from optaic.project.spec import InputSpec, InstanceSpec

_WIDTH = 110


def promoted_text(path: Path, experiment: str, name: str) -> str:
    """Give the text of a project file with an experiment promoted to a dataset: all else stays as it is written.

    Parameters
    ----------
    path
        The project file.
    experiment
        The experiment in it; it stays.
    name
        The new dataset. It has the experiment's expression or definition, its params, and those of its inputs that
        are computed with.

    Raises
    ------
    NotFoundError
        If the file declares no such instance.
    InvalidInputError
        If it is no experiment, the name cannot be one, or the file is written so that nothing can be added to it.
    ConflictError
        If the file declares the name already.
    ProjectFileError
        If the file is wrong as it is.
    """
    project = read(path)
    declared = {spec.name: spec for spec in project.instances}
    if experiment not in declared:
        raise NotFoundError(
            f"{path.name} declares no {experiment!r}", next_step=f"it declares: {', '.join(declared) or 'nothing'}"
        )
    spec = declared[experiment]
    if spec.kind is not InstanceKind.EXPERIMENT:
        raise InvalidInputError(f"{experiment} is a {spec.kind}; only an experiment can be promoted")
    check_name(name, "a dataset")
    if name in declared:
        raise ConflictError(f"{path.name} declares {name!r} already", next_step="choose another name")
    addition = {name: _dataset(spec)}
    document = Document(path)
    root = cast("list[tuple[yaml.ScalarNode, yaml.MappingNode]]", cast("yaml.MappingNode", document.root).value)
    instances = next(value for key, value in root if key.value == "instances")
    if cast("Any", instances).flow_style:
        raise InvalidInputError(
            f"{path.name} has its instances in braces, so none can be added",
            next_step=f"write it yourself: {yaml.safe_dump(addition, default_flow_style=True, width=10_000).strip()}",
        )
    first = cast("list[tuple[yaml.Node, yaml.Node]]", instances.value)[0][0]
    indent = " " * first.start_mark.column
    text = path.read_bytes().decode("utf-8")
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split("\n")  # and at no other character: what YAML takes for the end of a line may stand in a text
    end = min(instances.end_mark.line + (1 if instances.end_mark.column > first.start_mark.column else 0), len(lines))
    # A comment that is less indented belongs to what follows.
    while end > 0 and _is_blank(lines[end - 1], first.start_mark.column):
        end -= 1
    dumped = yaml.safe_dump(addition, sort_keys=False, default_flow_style=None, width=_WIDTH, allow_unicode=True)
    added = [indent + line for line in dumped.splitlines()]
    before, after = newline.join([*(line.rstrip("\r") for line in lines[:end]), *added]), lines[end:]
    return before + newline + "\n".join(after)


def _is_blank(line: str, column: int) -> bool:
    kept = line.strip()
    return not kept or (kept.startswith("#") and len(line) - len(line.lstrip()) < column)


def _dataset(spec: InstanceSpec) -> dict[str, Any]:
    used: Collection[str] = {item.role for item in spec.inputs}
    found: dict[str, Any] = {"kind": InstanceKind.DATASET.value}
    if "expression" in spec.config:
        from optaic.quant.expression import parse

        used = parse(spec.config["expression"], params=spec.params).names
        found["expression"] = spec.config["expression"]
    else:
        found["definition"] = spec.definition
    if spec.params:
        found["params"] = dict(spec.params)
    inputs = {item.role: _input(item) for item in spec.inputs if item.role in used}
    if inputs:
        found["inputs"] = inputs
    return found


def _input(item: InputSpec) -> str | Mapping[str, Any]:
    source = item.instance if item.flow_kind is None else f"{item.instance}.{item.flow_kind}"
    if item.selector == "current":
        return f"{source}[{', '.join(item.columns)}]" if item.columns else source
    return {"from": source, **({"columns": list(item.columns)} if item.columns else {}), "select": item.selector}
