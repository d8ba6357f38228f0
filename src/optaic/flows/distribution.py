"""Which installed distribution provides a module, found without asking all of them if that can be helped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An installed distribution.

    Attributes
    ----------
    name, version
        As its metadata say.
    is_editable
        Whether its source stands elsewhere and can be edited, so that its version does not speak for its code.
    """

    name: str
    version: str
    is_editable: bool


def provider_of(path: Path, folder: Path) -> Provider | None:
    """Find the installed distribution that a file belongs to.

    Parameters
    ----------
    path
        The file of a module.
    folder
        The folder that it is imported from.

    Returns
    -------
    Provider or None
        None if no distribution has the file in its list, or is installed in place from a folder around it.
    """
    entry = path.relative_to(folder).as_posix()
    # Most distributions are called like their package (1 ms); `sklearn` of scikit-learn is found by reading the lists
    # of files (up to 0.1 s). importlib.metadata.packages_distributions takes 0.2 s for the same.
    try:
        first = [distribution(entry.partition("/")[0].removesuffix(".py"))]
    except (PackageNotFoundError, ValueError):
        first = []
    for found in (*first, *distributions(path=[str(folder)])):
        record = found.read_text("RECORD") or ""
        if f"\n{entry}," in f"\n{record}" and Path(str(found.locate_file(""))).resolve() == folder.resolve():
            return Provider(name=found.name, version=found.version, is_editable=False)
    return _editable(path.resolve())


def _editable(path: Path) -> Provider | None:
    around = [(source, found) for found in distributions() if (source := _edited_in(found)) is not None]
    fitting = [(source, found) for source, found in around if path.is_relative_to(source)]
    if not fitting:
        return None
    _, found = max(fitting, key=lambda pair: len(pair[0].parts))
    return Provider(name=found.name, version=found.version, is_editable=True)


def _edited_in(found: Distribution) -> Path | None:
    """Give the source folder of a distribution that is installed in place; None of any other."""
    text = found.read_text("direct_url.json")
    if text is None:
        return None
    try:
        origin = cast("dict[str, Any]", json.loads(text))
        if not origin.get("dir_info", {}).get("editable"):
            return None
        return Path(unquote(urlsplit(str(origin["url"])).path)).resolve()
    except (ValueError, KeyError, AttributeError):
        return None
