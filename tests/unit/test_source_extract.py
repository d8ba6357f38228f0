"""A stored source is written out as it was, verified, and nowhere else."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from optaic.errors import DigestMismatchError
from optaic.flows.source import extract_source, source_files, source_snapshot


def archive(*entries: tuple[str, str | bytes]) -> bytes:
    """Pack files (bytes) and links (text)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def digest(data: bytes) -> str:
    """Give the digest that an archive would have been recorded with."""
    from optaic.flows import source

    return source._digest(source._members(data))


def test_what_was_archived_is_written_out_again(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "code.py").write_text("x = 1\n")
    (root / "run.sh").write_text("true\n")
    (root / "run.sh").chmod(0o755)
    (root / "link.py").symlink_to("pkg/code.py")
    snapshot = source_snapshot(root)
    out = tmp_path / "out"
    out.mkdir()
    extract_source(snapshot.data, out, digest=snapshot.digest)
    assert (out / "pkg" / "code.py").read_text() == "x = 1\n"
    assert os.access(out / "run.sh", os.X_OK)
    assert (out / "link.py").resolve() == (out / "pkg" / "code.py").resolve()
    assert source_snapshot(out).digest == snapshot.digest
    assert set(source_files(snapshot.data)) == {"pkg/code.py", "run.sh", "link.py"}


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil.py", b"x")],
        [("/tmp/evil.py", b"x")],
        [("a/../../evil.py", b"x")],
        [("link", "../outside")],
        [("a/link", "../../outside")],
        [("link", "/etc/passwd")],
        [("folder", "."), ("folder/evil.py", b"x")],
        [("file", b"x"), ("file/evil.py", b"x")],
        [("pkg/code.py", b"x"), ("folder", "pkg"), ("folder/evil.py", b"x")],
        [("twice.py", b"x"), ("twice.py", b"y")],
    ],
)
def test_an_archive_that_leads_elsewhere_is_refused_before_anything_is_written(
    tmp_path: Path, entries: list[tuple[str, str | bytes]]
) -> None:
    out = tmp_path / "a" / "b"
    out.mkdir(parents=True)
    data = archive(*entries)
    with pytest.raises(DigestMismatchError):
        extract_source(data, out, digest=digest(data))
    assert list(out.iterdir()) == []
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "b"]


def test_other_content_than_was_digested_is_refused(tmp_path: Path) -> None:
    data = archive(("code.py", b"x"))
    with pytest.raises(DigestMismatchError, match="does not hold the files that were archived"):
        extract_source(data, tmp_path, digest=digest(archive(("code.py", b"y"))))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", gzip.compress(b"no tar" * 200), archive(("a", b"x" * 9))[:-20]],
    ids=["nothing", "a text", "no tar", "cut off"],
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DigestMismatchError):
        extract_source(data, tmp_path, digest="0" * 64)


def test_a_link_to_the_projects_own_folder_is_archived_and_brought_back(tmp_path: Path) -> None:
    root, folder = tmp_path / "project", tmp_path / "again"
    (root / "package").mkdir(parents=True)
    folder.mkdir()
    (root / "optaic.yaml").write_text("project: p\n")
    (root / "package" / "root").symlink_to("..")
    taken = source_snapshot(root)
    extract_source(taken.data, folder, digest=taken.digest)
    assert source_snapshot(folder).digest == taken.digest
