"""Where a module is: in the project or in an installed distribution, found without importing anything."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from optaic.domain.suggestion import did_you_mean
from optaic.errors import InvalidInputError, NotFoundError
from optaic.flows.distribution import Provider, provider_of
from optaic.flows.module import find_module, names_beside

OWN_PACKAGE = "optaic"
"""The product itself: its definitions are there also where it runs from its source tree, not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFile:
    """A module's file, and who provides it.

    Attributes
    ----------
    name
        Its full dotted name.
    path
        Its source file, or the library that it is compiled to.
    folder
        The folder that it is imported from.
    provider
        The installed distribution that has it; None for a module of the project.
    """

    name: str
    path: Path
    folder: Path
    provider: Provider | None

    @property
    def is_source(self) -> bool:
        """Whether it can be read as text."""
        return self.path.suffix == ".py"


def look_up(name: str, root: Path) -> ModuleFile:
    """Find a module in the project, else in an installed distribution.

    Parameters
    ----------
    name
        Its full dotted name.
    root
        The project's folder.

    Raises
    ------
    InvalidInputError
        If it is a module of Python itself, a link that leads out of the project, or belongs neither to the project nor
        to a distribution.
    NotFoundError
        If there is none.
    """
    top = name.partition(".")[0]
    path = find_module(root, name)
    if top in sys.stdlib_module_names:
        raise InvalidInputError(
            f"module {name!r} is not a place for definitions: {top!r} is a module of Python itself",
            next_step="rename the file" if path else "write the function in a module of the project",
        )
    if path is not None:
        if not path.resolve().is_relative_to(root.resolve()):
            # The archive of the project's source would not have it.
            raise InvalidInputError(
                f"module {name!r} is a link to a file outside of the project",
                next_step="move the file into the project",
            )
        return ModuleFile(name=name, path=path, folder=root, provider=None)
    folders = [] if find_module(root, top) else _folders(top)
    for folder in folders:
        path = find_module(folder, name) or _compiled(folder, name)
        if path is not None:
            return ModuleFile(name=name, path=path, folder=folder, provider=_provider(name, path, folder))
    near = [one for folder in (root, *folders) for one in names_beside(folder, name)]
    raise NotFoundError(
        f"there is no module {name!r} in the project or among the installed packages{did_you_mean(name, near)}",
        next_step=f"make {name.replace('.', '/')}.py in the project's folder, or install the package that has it",
    )


def _folders(top: str) -> list[Path]:
    """Give the folders that an installed top-level module is imported from; nothing of it is executed."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [Path(place).parent for place in spec.submodule_search_locations]
    return [Path(spec.origin).parent] if spec.has_location and spec.origin else []


def _compiled(folder: Path, name: str) -> Path | None:
    stem = folder.joinpath(*name.split("."))
    paths = (stem.with_name(f"{stem.name}{suffix}") for suffix in importlib.machinery.EXTENSION_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _provider(name: str, path: Path, folder: Path) -> Provider:
    if name.partition(".")[0] == OWN_PACKAGE:
        try:
            own = version(OWN_PACKAGE)
        except PackageNotFoundError:
            own = "0+unknown"
        # Its version speaks for its code even where it is installed in place: who develops it wants no stale data.
        return Provider(name=OWN_PACKAGE, version=own, is_editable=False)
    provider = provider_of(path, folder)
    if provider is None:
        raise InvalidInputError(
            f"module {name!r} belongs neither to the project nor to an installed distribution",
            next_step="move it into the project, or install it with pip",
        )
    return provider
