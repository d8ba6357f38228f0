"""The part of a ledger's calls that declares: the project file, and what is added to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from optaic.bootstrap import Runtime
from optaic.errors import ConflictError, InvalidInputError
from optaic.settings import PROJECT_FILE

if TYPE_CHECKING:
    from optaic.lifecycle.apply import Changes


class Declarations:
    """What `optaic.connect()` returns can declare."""

    runtime: Runtime

    def apply(self, *, prune: bool = False, dry_run: bool = False, path: Path | None = None) -> Changes:
        """Declare what the project file says.

        Parameters
        ----------
        prune, dry_run
            Archive instances of this project that the file no longer has; change nothing, only say what would change.
        path
            The project file.

        Returns
        -------
        Changes
            What was, or would be, created, updated and archived.

        Raises
        ------
        InvalidInputError
            If the file or a definition is wrong; nothing was written.
        ConflictError
            If another project owns an instance of the same name.
        """
        from optaic.lifecycle.apply import apply
        from optaic.project import read_project

        path = path or self.runtime.settings.project_root / PROJECT_FILE
        if path.absolute().parent != self.runtime.settings.project_root:
            raise InvalidInputError(
                f"{path} is not in {self.runtime.settings.project_root}, whose ledger this is",
                next_step="open the ledger of the file's own folder",
            )
        store = None if dry_run else self.runtime.store
        return apply(self.runtime.database, store, read_project(path), prune=prune, dry_run=dry_run)

    def promote(self, experiment: str, name: str) -> Changes:
        """Make a dataset of what an experiment computes: add it to the project file, and apply that.

        Parameters
        ----------
        experiment
            An experiment of the project file.
        name
            The new dataset.

        Raises
        ------
        NotFoundError, InvalidInputError, ConflictError
            If there is no such experiment, or the name cannot be used; the file is as it was.
        """
        with _alone(self.runtime.settings.project_root):
            return self._promote(experiment, name)

    def _promote(self, experiment: str, name: str) -> Changes:
        from optaic.project.promote import promoted_text

        path = (self.runtime.settings.project_root / PROJECT_FILE).resolve()
        text = promoted_text(path, experiment, name)
        mode = path.stat().st_mode
        if not mode & 0o200:
            raise ConflictError(f"{path.name} may not be written", next_step=f"make it writable: chmod u+w {path.name}")
        draft = self.runtime.settings.project_root / f".{PROJECT_FILE}.draft"
        try:
            draft.write_bytes(text.encode())
            self.apply(dry_run=True, path=draft)
            draft.chmod(mode & 0o777)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return self.apply()


@contextmanager
def _alone(root: Path) -> Generator[None]:
    """Wait until nobody else edits the project file of a folder, and let nobody begin for the length of the block."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
