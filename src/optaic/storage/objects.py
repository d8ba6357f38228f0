"""The object store: a local folder or S3. A key is written once, whole, and never changed.

That a key can only be created is the one primitive that every store has; all comparing and swapping is the ledger's.
On a local folder, bytes are written to a scratch file, flushed to the disk, and linked to their key in one step, so
that neither a kill nor a power failure leaves a part of an object under a key that the ledger may refer to.
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from optaic.domain.artifact import StoredObject
from optaic.errors import DigestMismatchError, InvalidInputError, ObjectExistsError, ObjectMissingError, StorageError

if TYPE_CHECKING:
    from obstore import ObjectMeta

SCRATCH = ".scratch"
"""The folder of a local store that files are written to before they are linked to their key; no listing shows it."""

_CHUNK_BYTES = 1 << 20
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ +=@-]*(/[A-Za-z0-9_][A-Za-z0-9._ +=@-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An object as a listing shows it; `modified_at` is UTC, by the store's clock."""

    key: str
    size_bytes: int
    modified_at: dt.datetime


class ObjectStore:
    """Objects under keys, in a local folder or a bucket. Made by `open_store`.

    Parameters
    ----------
    backend
        A store of obstore.
    url
        What it was opened with; keys are appended to it for readers that scan.
    root
        The folder of a local store; None for others.
    """

    def __init__(self, backend: Any, *, url: str, root: Path | None) -> None:
        self._backend = backend
        self.url = url
        self.root = root

    def put(self, key: str, data: bytes | Path, *, take: bool = False) -> StoredObject:
        """Store bytes, or a file's, under a new key.

        Parameters
        ----------
        key
            A relative path; nothing may be stored under it yet.
        data
            The bytes, or the file that has them.
        take
            Give the file away: a local store then moves it, which spares a copy. It is gone afterwards in any case.

        Returns
        -------
        StoredObject
            The key, with size and SHA-256 of what was stored.

        Raises
        ------
        ObjectExistsError
            If something is stored under the key.
        StorageError
            If the store cannot be written, for example because the disk is full; nothing is visible under the key then.
        InvalidInputError
            If the key is not a safe relative path.
        """
        check_key(key)
        try:
            with _as_storage_error(key):
                if self.root is not None:
                    return self._put_local(self.root, key, data, take=take)
                stored = _describe(key, data)
                import obstore

                obstore.put(self._backend, key, data, mode="create")
                return stored
        finally:
            if take and isinstance(data, Path):
                data.unlink(missing_ok=True)

    def _put_local(self, root: Path, key: str, data: bytes | Path, *, take: bool) -> StoredObject:
        target = root / key
        is_given = take and isinstance(data, Path) and data.parent == root / SCRATCH
        source = data if is_given and isinstance(data, Path) else self.scratch_path()
        try:
            # New folders first: where the file's own flush writes them to the disk too, as it does in a journal, theirs
            # find little left to write.
            made = _make_folders(target.parent)
            if not is_given:
                _copy(data, source)
            stored = _describe(key, source)
            with source.open("rb") as file:
                os.fsync(file.fileno())
            os.link(source, target)
            for folder in made:
                _sync_folder(folder)
            return stored
        finally:
            source.unlink(missing_ok=True)

    def scratch_path(self, suffix: str = "") -> Path:
        """Name a new local file to write to before it is given to `put(..., take=True)`."""
        folder = Path(tempfile.gettempdir()) if self.root is None else self.root / SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{os.getpid()}-{secrets.token_hex(8)}{suffix}"

    def get(self, stored: StoredObject) -> bytes:
        """Read an object, whole, and verify it.

        Raises
        ------
        ObjectMissingError
            If nothing is stored under the key.
        DigestMismatchError
            If size or SHA-256 are not those recorded.
        StorageError
            If the store cannot be read.
        """
        import obstore

        with _as_storage_error(stored.key):
            data = bytes(obstore.get(self._backend, stored.key).bytes())
        if len(data) != stored.size_bytes or hashlib.sha256(data).hexdigest() != stored.sha256:
            raise _mismatch(stored.key, len(data), stored.size_bytes)
        return data

    def verify(self, stored: StoredObject) -> None:
        """Read an object in pieces, and compare size and SHA-256 with those recorded.

        Raises
        ------
        ObjectMissingError, DigestMismatchError, StorageError
            As `get`.
        """
        import obstore

        digest = hashlib.sha256()
        size_bytes = 0
        with _as_storage_error(stored.key):
            for piece in obstore.get(self._backend, stored.key).stream(min_chunk_size=_CHUNK_BYTES):
                digest.update(piece)
                size_bytes += len(piece)
        if size_bytes != stored.size_bytes or digest.hexdigest() != stored.sha256:
            raise _mismatch(stored.key, size_bytes, stored.size_bytes)

    def check_size(self, key: str, size_bytes: int) -> None:
        """Compare the size of an object with the one recorded, where that costs next to nothing: in a local store.

        Raises
        ------
        ObjectMissingError
            If nothing is stored under the key.
        DigestMismatchError
            If it has another size.
        """
        if self.root is None:
            return
        with _as_storage_error(key):
            found = (self.root / key).stat().st_size
        if found != size_bytes:
            raise _mismatch(key, found, size_bytes)

    def has(self, key: str) -> bool:
        """Whether something is stored under a key.

        Raises
        ------
        StorageError
            If the store cannot be read.
        """
        import obstore

        try:
            with _as_storage_error(key):
                obstore.head(self._backend, key)
        except ObjectMissingError:
            return False
        return True

    def size_of(self, key: str) -> int | None:
        """Give the size of an object in bytes; None if nothing is stored under the key.

        Raises
        ------
        StorageError
            If the store cannot be read.
        """
        import obstore

        try:
            with _as_storage_error(key):
                return int(obstore.head(self._backend, key)["size"])
        except ObjectMissingError:
            return None

    def scan_source(self, key: str) -> str:
        """Give the path or URL under which a lazy reader finds an object.

        Raises
        ------
        InvalidInputError
            If the key is not a safe relative path: it could lead out of the store.
        """
        check_key(key)
        return str(self.root / key) if self.root is not None else f"{self.url.rstrip('/')}/{key}"

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """List the objects whose key starts with a folder, in no order.

        Raises
        ------
        StorageError
            If the store cannot be read.
        """
        with _as_storage_error(prefix or "/"):
            batches: Iterator[Sequence[ObjectMeta]] = self._backend.list(prefix=prefix or None)
            for batch in batches:
                for item in batch:
                    if not item["path"].startswith(f"{SCRATCH}/"):
                        yield Listed(key=item["path"], size_bytes=item["size"], modified_at=item["last_modified"])

    def delete(self, key: str) -> None:
        """Remove an object; it is no error if there is none.

        Raises
        ------
        StorageError
            If the store cannot be written.
        """
        import obstore

        with suppress(ObjectMissingError), _as_storage_error(key):
            obstore.delete(self._backend, key)


def open_store(url: str) -> ObjectStore:
    """Open an object store.

    Parameters
    ----------
    url
        A folder (a path or `file://`), which is made if it is missing, or `s3://bucket/prefix`; keys and region of S3
        are taken from the environment, as AWS names them.

    Raises
    ------
    InvalidInputError
        If the URL is of another kind.
    StorageError
        If the folder cannot be made.
    """
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        root = Path(unquote(parts.path) if parts.scheme else url).absolute()
        from obstore.store import LocalStore

        with _as_storage_error(str(root)):
            root.mkdir(parents=True, exist_ok=True)
            return ObjectStore(LocalStore(root), url=str(root), root=root)
    if parts.scheme == "s3":
        from obstore.store import from_url

        with _as_storage_error(url):
            return ObjectStore(from_url(url), url=url, root=None)
    raise InvalidInputError(
        f"{url!r} is not an object store that optaic knows", next_step="use a folder, file://... or s3://bucket/prefix"
    )


def check_key(key: str) -> str:
    """Return a key if it is a safe relative path.

    Raises
    ------
    InvalidInputError
        If it is empty, absolute, too long, has `..` or an empty part, or other characters than `A-Za-z0-9._ +=@-/`.
    """
    if len(key) > 500 or not _KEY.fullmatch(key):
        raise InvalidInputError(f"{key[:100]!r} cannot be the key of an object")
    return key


def _mismatch(key: str, found_bytes: int, recorded_bytes: int) -> DigestMismatchError:
    return DigestMismatchError(
        f"{key} is not what was written: it has {found_bytes} bytes, {recorded_bytes} were recorded",
        next_step="restore it from a backup; what it was part of cannot be trusted",
    )


def _describe(key: str, data: bytes | Path) -> StoredObject:
    if isinstance(data, bytes):
        return StoredObject(key=key, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    with data.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return StoredObject(key=key, size_bytes=os.fstat(file.fileno()).st_size, sha256=digest)


def _copy(data: bytes | Path, target: Path) -> None:
    with target.open("xb") as file:
        if isinstance(data, bytes):
            file.write(data)
        else:
            with data.open("rb") as original:
                shutil.copyfileobj(original, file, _CHUNK_BYTES)


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and its parents; give those whose entries have changed, and so must reach the disk."""
    changed = [folder]
    missing = folder
    while not missing.is_dir():
        missing = missing.parent
        changed.append(missing)
    folder.mkdir(parents=True, exist_ok=True)
    return changed


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _as_storage_error(key: str) -> Generator[None]:
    from obstore.exceptions import AlreadyExistsError, BaseError

    try:
        yield
    except (FileExistsError, AlreadyExistsError) as error:
        raise ObjectExistsError(f"something is stored under {key} already, and a key is never overwritten") from error
    except FileNotFoundError as error:
        raise ObjectMissingError(
            f"nothing is stored under {key}", next_step="check the storage of this project: optaic doctor"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"the disk is full; {key} was not stored", next_step="free some space (optaic gc), then: optaic retry"
            ) from error
        raise StorageError(f"{key} could not be read or written: {error.strerror or error}") from error
    except BaseError as error:
        raise StorageError(f"{key} could not be read or written: {' '.join(str(error).split())[:500]}") from error
