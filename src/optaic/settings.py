"""All settings, read once: from the environment, then from `settings:` of the project file, then the defaults."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from optaic.errors import InvalidInputError

PROJECT_FILE = "optaic.yaml"
HOME_FOLDER = ".optaic"
_PREFIX = "OPTAIC_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set; each by `OPTAIC_<NAME>` or `settings: {<name>: ...}` in the project file.

    Attributes
    ----------
    project_root
        The folder of the project file; not a setting, but where the others were read.
    database_url
        `sqlite:///...` or `postgresql://...`; by default a file in `.optaic/` of the project.
    storage_url
        A folder, `file://`, `s3://bucket/prefix`; by default a folder in `.optaic/` of the project.
    lease_seconds
        How long a claim lasts without a heartbeat.
    cancel_grace_seconds
        From asking a flow to stop until its processes get SIGTERM.
    kill_grace_seconds
        From SIGTERM until SIGKILL.
    shutdown_grace_seconds
        How long a worker that was told to stop lets its runs go on.
    poll_seconds
        How often an idle worker looks for work.
    gc_grace_seconds
        How old an unreferenced object must be before it is removed.
    estimators
        Packages and modules, beside `sklearn` and `lightgbm`, whose estimators may be trained and whose types may be
        loaded; in the environment with commas between them.
    """

    project_root: Path
    database_url: str
    storage_url: str
    lease_seconds: float = 30.0
    cancel_grace_seconds: float = 1.5
    kill_grace_seconds: float = 1.5
    shutdown_grace_seconds: float = 10.0
    poll_seconds: float = 0.05
    gc_grace_seconds: float = 86_400.0
    estimators: tuple[str, ...] = ()

    @property
    def lease(self) -> dt.timedelta:
        """The lease as a duration."""
        return dt.timedelta(seconds=self.lease_seconds)


def find_root(start: Path) -> Path | None:
    """Walk up from a folder to the one that has a project file; None if there is none."""
    for folder in (start, *start.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder
    return None


def read_settings(root: Path, environ: Mapping[str, str]) -> Settings:
    """Read the settings of the project in a folder.

    Raises
    ------
    InvalidInputError
        If a setting is unknown, or its value is of the wrong type or out of range.
    """
    home = root / HOME_FOLDER
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{home / 'ledger.db'}",
        "storage_url": str(home / "objects"),
    }
    known = {field.name for field in fields(Settings)} - {"project_root"}
    for name, value in _from_project_file(root).items():
        if name not in known:
            raise InvalidInputError(
                f"{PROJECT_FILE}: {name!r} is not a setting", next_step=f"use one of: {', '.join(sorted(known))}"
            )
        values[name] = value
    for name in known:
        if f"{_PREFIX}{name.upper()}" in environ:
            values[name] = environ[f"{_PREFIX}{name.upper()}"]
    checked = {name: _checked(name, value) for name, value in values.items()}
    if "://" not in checked["storage_url"]:
        checked["storage_url"] = str((root / checked["storage_url"]).absolute())
    return Settings(project_root=root, **checked)


def _checked(name: str, value: Any) -> Any:
    if name == "estimators":
        return _modules(name, value)
    if not name.endswith("_seconds"):
        if not isinstance(value, str) or not value:
            raise InvalidInputError(f"setting {name} is {value!r}; it must be a text")
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    smallest = 0.2 if name == "lease_seconds" else 0.0
    if not smallest <= number < 1e9:
        raise InvalidInputError(f"setting {name} is {value!r}; it must be a number of seconds, at least {smallest}")
    return number


def _modules(name: str, value: Any) -> tuple[str, ...]:
    given: Any = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    parts = cast("list[Any]", given) if isinstance(given, list) else [None]
    if all(isinstance(part, str) and all(word.isidentifier() for word in part.split(".")) for part in parts):
        return tuple(str(part) for part in parts)
    raise InvalidInputError(
        f"setting {name} is {value!r}; it must be a list of packages or modules",
        next_step=f"{name}: [my_package.models]",
    )


def _from_project_file(root: Path) -> Mapping[str, Any]:
    path = root / PROJECT_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    # Most project files have none, and then the YAML library need not be loaded for every command.
    if not any(line.startswith("settings:") for line in text.splitlines()):
        return {}
    import yaml

    try:
        document: object = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}  # `optaic apply` says what is wrong with it, with line and column
    section = cast("dict[str, Any]", document).get("settings") if isinstance(document, dict) else None
    return cast("dict[str, Any]", section) if isinstance(section, dict) else {}
