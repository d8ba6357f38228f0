"""Importing the modules of a project from their source as it is now."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from pathlib import Path
from typing import Any


class SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles a module from its source, whatever lies in `__pycache__`.

    Python's own cache compares times and sizes, and takes an edit within one second for none.
    """

    def get_code(self, fullname: str) -> Any:
        """Give the code object of a module."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def import_from(root: Path) -> None:
    """Make a folder the first place where modules are looked for, and have them compiled from source.

    Packages that are installed somewhere inside, as in a virtual environment, keep their cache.
    """
    place = str(root)
    finder = importlib.machinery.FileFinder.path_hook(
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
        (SourceLoader, importlib.machinery.SOURCE_SUFFIXES),
    )

    def hook(path: str) -> Any:
        inside = Path(path)
        if not inside.is_relative_to(root) or _is_environment(inside.relative_to(root)):
            raise ImportError(f"not in {root}", path=path)
        return finder(path)

    sys.path[:] = [place, *(entry for entry in sys.path if entry != place)]
    sys.path_hooks.insert(0, hook)
    for path in [path for path in sys.path_importer_cache if Path(path).is_relative_to(root)]:
        del sys.path_importer_cache[path]
    importlib.invalidate_caches()


def _is_environment(inside: Path) -> bool:
    return any(part.startswith(".") or part == "site-packages" for part in inside.parts)
