"""The project's source as one archive, so that a run can be reproduced from what it ran from."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optaic.errors import CodeChangedError, DigestMismatchError, InvalidInputError

MAX_FILE_BYTES = 2**20
"""Larger files are data: they are left out, unless they are Python, and then refused."""

MAX_TOTAL_BYTES = 20 * 2**20
"""A project whose files are larger together is refused."""

MAX_FILES = 20_000

NOT_IN_SNAPSHOT = (
    "a reproduction has the project's source as it was applied, without files that are larger than 1 MiB, ignored, or "
    "written by runs: give the file by an absolute path in params, or read it through an input"
)
"""What to do where a reproduction misses a file."""

_PROJECT_FILE = "optaic.yaml"
_LEFT_OUT = frozenset({".optaic", ".venv", "venv", "__pycache__", "node_modules"})
_HOW_TO_LEAVE_OUT = "move data out of the project's folder, or make it a git repository and list them in .gitignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSnapshot:
    """The files of a project at one moment.

    Attributes
    ----------
    digest
        SHA-256 of names and contents: the same for the same files on any machine.
    data
        The archive, `.tar.gz`.
    sha256
        Of the archive's bytes.
    file_count
        Files in it.
    left_out
        Names of files that are too large to be source.
    """

    digest: str
    data: bytes
    sha256: str
    file_count: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A file of the archive; with a target it is a link to another file of the project."""

    name: str
    content: bytes = b""
    target: str = ""
    is_executable: bool = False


def source_snapshot(root: Path) -> SourceSnapshot:
    """Archive the source of a project.

    In a git work tree these are the files that git tracks or does not ignore, else all files; the ledger's own folder,
    virtual environments, caches, untracked hidden folders and untracked `.env` files are never among them. Links that
    lead out of the project are left out.

    Parameters
    ----------
    root
        The project's folder.

    Raises
    ------
    InvalidInputError
        If a Python file is larger than 1 MiB, or all files together than 20 MiB; the largest is named.
    """
    members: list[_Member] = []
    left_out: list[str] = []
    sizes: dict[str, int] = {}
    total = 0
    for name in _names(root):
        size = _size(root, name)
        if size is None:
            continue
        if size > MAX_FILE_BYTES:
            if name.endswith(".py"):
                raise InvalidInputError(
                    f"{name} has {size:,} bytes; a source file has at most {MAX_FILE_BYTES:,}",
                    next_step="put data into a file of its own",
                )
            left_out.append(name)
            continue
        sizes[name] = size
        total += size
        if len(sizes) > MAX_FILES or total > MAX_TOTAL_BYTES:
            break
        if (member := _member(root, name)) is not None:
            members.append(member)
    _check_sizes(sizes)
    data = _archive(members)
    return SourceSnapshot(
        digest=_digest(members),
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        file_count=len(members),
        left_out=tuple(left_out),
    )


def _check_sizes(sizes: dict[str, int]) -> None:
    if len(sizes) > MAX_FILES:
        raise InvalidInputError(f"the project has more than {MAX_FILES:,} files", next_step=_HOW_TO_LEAVE_OUT)
    if sum(sizes.values()) > MAX_TOTAL_BYTES:
        largest = max(sizes, key=lambda name: (sizes[name], name))
        raise InvalidInputError(
            f"the files of the project have more than {MAX_TOTAL_BYTES:,} bytes together; the largest so far is "
            f"{largest} with {sizes[largest]:,}",
            next_step=_HOW_TO_LEAVE_OUT,
        )


def _names(root: Path) -> list[str]:
    """List the files, relative and sorted."""
    tracked = _git(root, "--cached")
    others = _git(root, "--others", "--exclude-standard")
    # A folder that git ignores as a whole, inside of some other repository, is a project all the same.
    if tracked is None or others is None or ((root / _PROJECT_FILE).exists() and _PROJECT_FILE not in tracked + others):
        return sorted(_walk(root, ""))
    names = {name for name in tracked if not name.startswith(".optaic/")}
    names.update(name for name in others if not _is_left_out(root, name))
    # Another repository inside of this one is listed as a folder.
    folders = [name.rstrip("/") for name in names if (root / name).is_dir() and not (root / name).is_symlink()]
    for folder in folders:
        names.update(_walk(root, f"{folder}/"))
    return sorted(name for name in names if name.rstrip("/") not in folders)


def _git(root: Path, *which: str) -> list[str] | None:
    """Ask git for files below a folder; None where there is no git or no work tree."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z", *which], cwd=root, env=environment, capture_output=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name] if done.returncode == 0 else None


def _is_left_out(root: Path, name: str) -> bool:
    *folders, file = name.split("/")
    if file == ".env" or file.startswith(".env."):
        return True  # where secrets are kept, by custom; they are never stored
    return any(
        part in _LEFT_OUT or part.startswith(".") or (root.joinpath(*folders[: depth + 1]) / "pyvenv.cfg").exists()
        for depth, part in enumerate(folders)
    )


def _walk(root: Path, prefix: str) -> Iterator[str]:
    """List the files below a folder; links to folders are listed, not followed."""
    try:
        entries = sorted(os.scandir(root / prefix), key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidInputError(f"cannot list {root / prefix}: {error.strerror}") from error
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if not entry.is_dir(follow_symlinks=False):
            if not _is_left_out(root, name):
                yield name
        elif not _is_left_out(root, f"{name}/"):
            yield from _walk(root, f"{name}/")


def _size(root: Path, name: str) -> int | None:
    """Give the size of a file; None of what is gone, is neither file nor link, or leads out of the project."""
    path = root / name
    try:
        status = path.lstat()
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return 0 if path.exists() and path.resolve().is_relative_to(root.resolve()) else None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _member(root: Path, name: str) -> _Member | None:
    path = root / name
    if path.is_symlink():
        folder = (root.resolve() / name).parent
        return _Member(name=name, target=Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
    try:
        return _Member(name=name, content=path.read_bytes(), is_executable=os.access(path, os.X_OK))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInputError(
            f"{name} cannot be read: {error.strerror}", next_step="make it readable, or take it out of the project"
        ) from error


def _digest(members: list[_Member]) -> str:
    digest = hashlib.sha256()
    for member in members:
        kind = b"link" if member.target else b"program" if member.is_executable else b"file"
        for part in (os.fsencode(member.name), kind, os.fsencode(member.target), member.content):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def _archive(members: list[_Member]) -> bytes:
    """Pack the files without anything of the machine: no times, no owners."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.mode = 0o755 if member.is_executable else 0o644
            if member.target:
                info.type, info.linkname = tarfile.SYMTYPE, member.target
            else:
                info.size = len(member.content)
            archive.addfile(info, io.BytesIO(member.content))
    return packed.getvalue()


def environment_differs(code_ref: str, run_id: object) -> CodeChangedError:
    """Make the error of a reproduction that has its original's source, and finds other code all the same."""
    return CodeChangedError(
        f"the code of {code_ref} is not the code that run {run_id} ran, although the project's source is: the "
        "environment differs, in the version of the distribution that provides it",
        next_step="install the version that it ran with, then reproduce it again",
    )


def extract_source(data: bytes, folder: Path, *, digest: str) -> None:
    """Write the files of a snapshot into a new folder, and verify that they are what was archived.

    Parameters
    ----------
    data
        The archive.
    folder
        An empty folder.
    digest
        Of names and contents, as it was recorded.

    Raises
    ------
    DigestMismatchError
        If it is no such archive, holds other files, or one that would lie outside of the folder; nothing is written.
    """
    members = _members(data)
    names = {member.name for member in members}
    if _digest(members) != digest or len(names) != len(members):
        raise DigestMismatchError(f"the source snapshot {digest[:12]} does not hold the files that were archived")
    for member in members:
        target = member.target and os.path.normpath(Path(member.name).parent / member.target)
        folders = Path(member.name).parents
        leads_out = not _is_inside(member.name) or (target not in ("", ".") and not _is_inside(target))
        if leads_out or any(str(folder) in names for folder in folders):
            raise DigestMismatchError(f"the source snapshot {digest[:12]} leads out of its folder: {member.name!r}")
    # Links last: until all files are there, nothing can be written through one.
    for member in sorted(members, key=lambda one: bool(one.target)):
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.target:
            path.symlink_to(member.target)
        else:
            path.write_bytes(member.content)
            path.chmod(0o755 if member.is_executable else 0o644)


def source_files(data: bytes) -> dict[str, str]:
    """Give the SHA-256 of each file of a snapshot by its name; of a link, the name that it leads to.

    Raises
    ------
    DigestMismatchError
        If it is no such archive.
    """
    return {
        one.name: f"-> {one.target}" if one.target else hashlib.sha256(one.content).hexdigest()
        for one in _members(data)
    }


def _is_inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts and bool(Path(name).parts) and "\0" not in name


def _members(data: bytes) -> list[_Member]:
    """Read an archive, without writing anything."""
    members: list[_Member] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for info in archive:
                if info.issym():
                    members.append(_Member(name=info.name, target=info.linkname))
                    continue
                file = archive.extractfile(info) if info.isreg() else None
                if file is None:
                    raise DigestMismatchError(f"a source snapshot holds {info.name!r}, which is no file")
                members.append(_Member(name=info.name, content=file.read(), is_executable=bool(info.mode & 0o100)))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DigestMismatchError(f"a source snapshot cannot be read: {error}") from error
    return members
