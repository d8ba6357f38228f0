"""What a project file declares, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optaic.domain.kind import FlowKind, InstanceKind
from optaic.errors import ProjectFileError

Place = tuple[int, int]
"""Line and column in the file, both from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One declared input.

    Attributes
    ----------
    role
        The name under which the flow asks for it.
    instance
        The upstream; perhaps another project's.
    flow_kind
        Which of its flows; None for its main one.
    columns
        The columns read; empty for all.
    selector
        Which version: `current`, `stage:NAME` or `version:N`.
    """

    role: str
    instance: str
    flow_kind: FlowKind | None = None
    columns: tuple[str, ...] = ()
    selector: str = "current"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """One declared instance.

    Attributes
    ----------
    name, kind
        What it is called, and what it is.
    definition
        Its code, as `package.module:attribute`.
    params
        Its own parameters as JSON values, before their schema is known; secrets are `${env:NAME}`.
    inputs
        What it reads, in the file's order.
    flow_inputs
        What each of its flows reads; the flows that this version executes, the main one first.
    policies
        `timeout_seconds`, `retry` (as `RetryPolicy.to_json`) and `seed`, defaults filled in.
    freshness
        What its calendar expects; None for irregular.
    schedule
        When it runs by itself: `{"when": "upstream"}`; None for never.
    config
        The whole declaration as JSON values, with the defaults that can change a result; `timeout` and `retry` only if
        they stand in the file.
    line, column
        Where its name stands.
    places
        Where its parts stand, by their path: `("inputs", "close")`.
    """

    name: str
    kind: InstanceKind
    definition: str | None
    params: Mapping[str, Any]
    inputs: tuple[InputSpec, ...]
    flow_inputs: Mapping[FlowKind, tuple[InputSpec, ...]]
    policies: Mapping[str, Any]
    freshness: Mapping[str, Any] | None
    schedule: Mapping[str, Any] | None
    config: Mapping[str, Any]
    line: int
    column: int
    places: Mapping[tuple[str, ...], Place] = field(default_factory=dict[tuple[str, ...], Place])


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What one project file declares.

    Attributes
    ----------
    name
        The project's name.
    path
        The file.
    root
        The folder of the file; the project's modules are found from it.
    instances
        In the file's order.
    digest
        SHA-256 of all that is declared; comments and layout do not count.
    """

    name: str
    path: Path
    root: Path
    instances: tuple[InstanceSpec, ...]
    digest: str

    def error(
        self, spec: InstanceSpec, problem: str, *, next_step: str | None = None, place: tuple[str, ...] = ()
    ) -> ProjectFileError:
        """Make an error that points at a part of an instance, else at what is around that part.

        Parameters
        ----------
        spec
            The instance.
        problem, next_step
            What is wrong, and what to do.
        place
            Path to the part: `("inputs", "close")`, `("definition",)`; empty for the instance's name.
        """
        where = (spec.line, spec.column)
        for length in range(1, len(place) + 1):
            where = spec.places.get(place[:length], where)
        return ProjectFileError(str(self.path), problem, line=where[0], column=where[1], next_step=next_step)
