"""The archive of a project's source: what is in it, and that the same files always give the same digest."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from optaic.errors import InvalidInputError
from optaic.flows import source
from optaic.flows.source import MAX_FILE_BYTES, source_snapshot


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    write(root, "optaic.yaml", "project: p\n")
    write(root, "sources.py", "x = 1\n")
    write(root, "lib/deep/mod.py", "")
    return root


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def git(root: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True)


def names(root: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(source_snapshot(root).data)) as archive:
        return archive.getnames()


OWN = ["lib/deep/mod.py", "optaic.yaml", "sources.py"]


def test_a_folder_without_git_gives_all_its_files_but_the_ledger_environments_and_caches(root: Path) -> None:
    for name in (".optaic/ledger.db", ".venv/x.py", "my_env/pyvenv.cfg", "my_env/lib/x.py", "__pycache__/x.pyc",
                 "lib/__pycache__/x.pyc", ".idea/x", "node_modules/x.js"):  # fmt: skip
        write(root, name, "")
    write(root, ".gitignore", "sources.py\n")
    assert names(root) == [".gitignore", *OWN]


def test_a_git_work_tree_gives_what_git_tracks_or_does_not_ignore(root: Path) -> None:
    git(root, "init")
    write(root, ".gitignore", "*.csv\n")
    write(root, ".github/tracked.yml", "")
    write(root, "forced.csv", "")
    git(root, "add", "sources.py", ".github/tracked.yml")
    git(root, "add", "-f", "forced.csv")
    for name in ("data.csv", ".optaic/ledger.db", ".venv/x.py", "env/pyvenv.cfg", "env/lib/x.py", "__pycache__/x.pyc"):
        write(root, name, "")
    assert names(root) == [".github/tracked.yml", ".gitignore", "forced.csv", *OWN]


def test_a_project_in_a_folder_of_a_repository_gives_its_own_files_only(root: Path) -> None:
    git(root.parent, "init")
    write(root.parent, "other/x.py", "")
    assert names(root) == OWN


def test_a_project_in_a_folder_that_git_ignores_is_archived_all_the_same(root: Path) -> None:
    git(root.parent, "init")
    write(root.parent, ".gitignore", "project/\n")
    assert names(root) == OWN


def test_a_repository_inside_of_the_projects_is_archived_too(root: Path) -> None:
    git(root, "init")
    write(root, "vendor/mod.py", "")
    git(root / "vendor", "init")
    assert names(root) == [*OWN, "vendor/mod.py"]


def test_a_file_that_git_tracks_but_is_deleted_is_not_missed(root: Path) -> None:
    git(root, "init")
    git(root, "add", ".")
    (root / "sources.py").unlink()
    assert names(root) == ["lib/deep/mod.py", "optaic.yaml"]


def test_what_a_hook_of_git_says_about_another_repository_does_not_matter(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(root, "init")
    write(root, ".gitignore", "*.csv\n")
    write(root, "data.csv", "")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert names(root) == [".gitignore", *OWN]


def test_the_same_files_give_the_same_digest_and_bytes_anywhere(root: Path, tmp_path: Path) -> None:
    first = source_snapshot(root)
    copy = tmp_path / "copy"
    for name in reversed(OWN):
        write(copy, name, (root / name).read_text())
        os.utime(copy / name, (1, 1))
    git(copy, "init")
    second = source_snapshot(copy)
    assert (second.digest, second.data) == (first.digest, first.data)
    assert first.sha256 == hashlib.sha256(first.data).hexdigest()
    assert first.file_count == 3


@pytest.mark.parametrize("change", ["content", "name", "mode", "more", "moved bytes"])
def test_any_difference_gives_another_digest(root: Path, change: str) -> None:
    first = source_snapshot(root).digest
    match change:
        case "content":
            write(root, "sources.py", "x = 2\n")
        case "name":
            (root / "sources.py").rename(root / "sources2.py")
        case "mode":
            (root / "sources.py").chmod(0o755)
        case "more":
            write(root, "empty.py", "")
        case _:  # from the end of a content to the beginning of the next name
            write(root, "optaic.yaml", "project: p\ns")
            (root / "sources.py").rename(root / "ources.py")
    assert source_snapshot(root).digest != first


def test_the_archive_says_nothing_of_the_machine(root: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(source_snapshot(root).data)) as archive:
        for member in archive:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")


def test_links_are_kept_within_the_project_and_left_out_beyond_it(root: Path, tmp_path: Path) -> None:
    write(tmp_path, "outside/secret.py", "key = 1\n")
    (root / "inside.py").symlink_to(root / "lib/deep/mod.py")
    (root / "lib/up.py").symlink_to("../sources.py")
    (root / "shared").symlink_to(root / "lib")
    (root / "out.py").symlink_to(tmp_path / "outside/secret.py")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "dangling").symlink_to("nothing")
    os.mkfifo(root / "pipe")
    snapshot = source_snapshot(root)
    folder = tmp_path / "unpacked"
    with tarfile.open(fileobj=io.BytesIO(snapshot.data)) as archive:
        archive.extractall(folder, filter="data")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()) == [
        "inside.py",
        "lib/deep/mod.py",
        "lib/up.py",
        "optaic.yaml",
        "sources.py",
    ]
    assert (folder / "lib/up.py").read_text() == "x = 1\n"
    assert (folder / "shared/deep/mod.py").exists()


def test_names_that_are_not_text_are_archived(root: Path) -> None:
    (root / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    assert len(names(root)) == 4


def test_large_data_is_left_out_and_named(root: Path) -> None:
    before = source_snapshot(root)
    (root / "prices.csv").write_bytes(b"0" * (MAX_FILE_BYTES + 1))
    after = source_snapshot(root)
    assert after.left_out == ("prices.csv",)
    assert after.digest == before.digest
    (root / "prices.csv").write_bytes(b"0" * MAX_FILE_BYTES)
    assert source_snapshot(root).left_out == ()


def test_python_that_is_too_large_is_refused(root: Path) -> None:
    (root / "huge.py").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(InvalidInputError, match=r"huge\.py has 1,048,577 bytes"):
        source_snapshot(root)


def test_a_project_that_is_too_large_is_refused_with_the_largest_file(root: Path) -> None:
    for number in range(22):
        (root / f"data{number:02}.bin").write_bytes(b"0" * (MAX_FILE_BYTES - (number != 7)))
    with pytest.raises(InvalidInputError, match=r"more than 20,971,520 bytes .* data07\.bin with 1,048,576") as caught:
        source_snapshot(root)
    assert ".gitignore" in (caught.value.next_step or "")


def test_a_project_of_too_many_files_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_FILES", 2)
    with pytest.raises(InvalidInputError, match="more than 2 files"):
        source_snapshot(root)
