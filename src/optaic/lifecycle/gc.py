"""Gc: find and remove the objects that nothing refers to."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optaic.ledger import versions
from optaic.ledger.session import Database

if TYPE_CHECKING:
    from optaic.storage.objects import Listed, ObjectStore

PROBES = "probes"
"""The folder of a tenant in which `doctor` tries the object store."""

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OF_RUN = re.compile(rf"t\d+/runs/({_UUID})/\d+/.+")
_OF_DATASET = re.compile(rf"t\d+/datasets/.+/({_UUID})-\d+-\d+\.parquet")
_OF_NO_RUN = re.compile(rf"t\d+/{PROBES}/.+|\.scratch/.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """What a look at the store found.

    Attributes
    ----------
    objects
        How many objects there are in all.
    orphans
        Those that nothing refers to, older than the grace, and of no run that is pending or running.
    young_count
        Unreferenced ones that are left for now: too young, or of a run that has not ended.
    unknown_count
        Unreferenced ones whose key is none that runs write; they are never touched.
    """

    objects: int
    orphans: tuple[Listed, ...]
    young_count: int
    unknown_count: int

    @property
    def size_bytes(self) -> int:
        """How much removing the orphans sets free."""
        return sum(item.size_bytes for item in self.orphans)


def find_garbage(database: Database, store: ObjectStore, *, grace: dt.timedelta, now: dt.datetime) -> Garbage:
    """Find the objects that nothing refers to; removes nothing.

    Parameters
    ----------
    database
        The ledger.
    store
        The object store.
    grace
        Objects younger than this are left alone.
    now
        The instant (UTC) that ages are counted from: by the clock that the store dates its objects with.

    Returns
    -------
    Garbage
        What there is.

    Raises
    ------
    StorageError
        If the store cannot be listed.
    LedgerError
        If the database cannot be reached.

    Notes
    -----
    The order is what makes this safe while others work. The objects are listed first: what is written later is not
    in the list. Then the runs that have not ended are read, and then the references: a run that completes between
    the two is in the first reading, one that completed before has its references in the second. So whatever is
    referenced in the end is in one of the three, without a lock.
    """
    listed = [*store.list(f"t{database.tenant_id}/"), *_scratch(store)]
    with database.read() as tx:
        open_runs = versions.open_run_ids(tx)
    with database.read() as tx:
        referenced = versions.referenced_keys(tx)
    orphans: list[Listed] = []
    young = unknown = 0
    for item in listed:
        if item.key in referenced:
            continue
        is_known, run_id = _owner(item.key)
        if not is_known:
            unknown += 1
        elif run_id in open_runs or now - item.modified_at < grace:
            young += 1
        else:
            orphans.append(item)
    return Garbage(objects=len(listed), orphans=tuple(orphans), young_count=young, unknown_count=unknown)


def remove(store: ObjectStore, objects: Iterable[Listed]) -> int:
    """Remove objects that `find_garbage` found; those that are gone already do not matter.

    Returns
    -------
    int
        How many were removed.

    Raises
    ------
    StorageError
        If the store refuses; the rest can be removed another time.
    """
    removed = 0
    for item in objects:
        store.delete(item.key)
        removed += 1
    return removed


def _owner(key: str) -> tuple[bool, uuid.UUID | None]:
    """Tell whether a key is one that may be removed, and the run that wrote it.

    Source snapshots are not: they are named by their content, so the next `apply` may refer to one that nothing
    refers to now, at any moment.
    """
    for pattern in (_OF_RUN, _OF_DATASET):
        match = pattern.fullmatch(key)
        if match is not None:
            return True, uuid.UUID(match[1])
    return _OF_NO_RUN.fullmatch(key) is not None, None


def _scratch(store: ObjectStore) -> Iterator[Listed]:
    """List the unfinished files of a local store: a writer that was killed leaves its own behind."""
    from optaic.storage.objects import SCRATCH, Listed

    folder = None if store.root is None else store.root / SCRATCH
    if folder is None or not folder.is_dir():
        return
    for path in folder.iterdir():
        try:
            found = path.stat()
        except FileNotFoundError:
            continue  # its writer has finished meanwhile
        modified_at = dt.datetime.fromtimestamp(found.st_mtime, dt.UTC)
        yield Listed(key=f"{SCRATCH}/{path.name}", size_bytes=found.st_size, modified_at=modified_at)
