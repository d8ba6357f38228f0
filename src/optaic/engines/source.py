"""Source: the folder that a run's code is in: the project's, or, of a reproduction, the snapshot that was stored."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from optaic.errors import DigestMismatchError, ObjectMissingError, StorageError
from optaic.flows.source import extract_source
from optaic.lifecycle.claim import Claim
from optaic.lifecycle.original import Source
from optaic.settings import Settings
from optaic.storage.objects import ObjectStore, open_store


@contextmanager
def project_folder(claim: Claim, settings: Settings) -> Generator[Path]:
    """Give the folder that a claimed run is executed in, for the length of a block.

    A reproduction gets a temporary folder with the source that its original ran, whatever the working tree has become.

    Raises
    ------
    StorageError
        If that source is gone, or is not what was stored.
    """
    if claim.origin is None:
        yield settings.project_root
        return
    with TemporaryDirectory(prefix="optaic-source-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve() / (settings.project_root.name or "project")
        root.mkdir()
        if claim.origin.source is not None:
            unpack(open_store(settings.storage_url), claim.origin.source, root)
        yield root


def unpack(store: ObjectStore, source: Source, folder: Path | None = None) -> None:
    """Read a snapshot, verify it, and write its files into a folder; without one, only read and verify it.

    Raises
    ------
    StorageError
        If it is gone, or is not what was stored; the message says so for a person.
    """
    try:
        data = store.get(source.archive)
        if folder is not None:
            extract_source(data, folder, digest=source.digest)
    except (ObjectMissingError, DigestMismatchError) as error:
        how = "is gone" if isinstance(error, ObjectMissingError) else "is not what was stored"
        raise StorageError(
            f"the source that the run ran from {how} ({source.archive.key}), so it cannot be run again",
            next_step="bring it back from a backup of the object store; what else is missing: optaic doctor --deep",
        ) from error
