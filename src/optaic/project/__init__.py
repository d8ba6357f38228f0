"""The project file: optaic.yaml, read and validated. Nothing that it names is imported or executed."""

from __future__ import annotations

from pathlib import Path

from optaic.project.spec import InputSpec, InstanceSpec, Project
from optaic.project.template import new_project_text, new_sources_text

__all__ = ["InputSpec", "InstanceSpec", "Project", "new_project_text", "new_sources_text", "read_project"]


def read_project(path: Path) -> Project:
    """Read and validate a project file.

    Parameters
    ----------
    path
        The file, usually `optaic.yaml`.

    Returns
    -------
    Project
        What it declares.

    Raises
    ------
    NotFoundError
        If there is no such file.
    ProjectFileError
        With file, line and column of the first of all mistakes.
    """
    from optaic.project.read import read  # the YAML library is loaded only where a file is read

    return read(path)
