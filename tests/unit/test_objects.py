"""The object store: keys are written once, whole, and read back verified."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from optaic.domain.artifact import StoredObject
from optaic.errors import DigestMismatchError, InvalidInputError, ObjectExistsError, ObjectMissingError, StorageError
from optaic.storage.objects import ObjectStore, open_store


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "objects"))


def test_what_is_put_is_read_back_with_size_and_digest(store: ObjectStore) -> None:
    stored = store.put("a/b.txt", b"hello")
    assert stored == StoredObject(
        key="a/b.txt", size_bytes=5, sha256="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    )
    assert store.get(stored) == b"hello"
    assert [item.key for item in store.list()] == ["a/b.txt"]


def test_a_key_is_never_overwritten(store: ObjectStore, tmp_path: Path) -> None:
    stored = store.put("a", b"first")
    file = tmp_path / "f"
    file.write_bytes(b"second")
    for data in (b"second", file):
        with pytest.raises(ObjectExistsError):
            store.put("a", data)
    assert store.get(stored) == b"first"
    assert file.read_bytes() == b"second"


def test_one_of_sixteen_writers_of_a_key_wins(store: ObjectStore) -> None:
    barrier, won = threading.Barrier(16), list[int]()

    def write(number: int) -> None:
        barrier.wait()
        try:
            store.put("same", str(number).encode())
        except ObjectExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_file_that_is_given_away_is_moved_and_one_that_is_not_stays(store: ObjectStore, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_bytes(b"mine")
    stored = store.put("own", own)
    own.write_bytes(b"changed afterwards")
    assert store.get(stored) == b"mine"
    given = store.scratch_path(".bin")
    given.write_bytes(b"given")
    assert store.get(store.put("given", given, take=True)) == b"given"
    assert not given.exists()


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a\\b", "a\nb", "a#1"])
def test_tricks_in_keys_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidInputError):
        store.put(key, b"x")
    with pytest.raises(InvalidInputError):
        store.scan_source(key)


def test_bytes_that_changed_are_noticed(store: ObjectStore) -> None:
    stored = store.put("a", b"hello")
    assert store.root is not None
    (store.root / "a").write_bytes(b"hellO")
    with pytest.raises(DigestMismatchError):
        store.get(stored)


def test_what_is_missing_is_said(store: ObjectStore) -> None:
    with pytest.raises(ObjectMissingError):
        store.get(StoredObject(key="none", size_bytes=1, sha256="0" * 64))
    assert not store.has("none")
    store.delete("none")


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        store.put("a", b"hello")
    monkeypatch.undo()
    assert list(store.list()) == []
    assert store.root is not None
    assert list((store.root / ".scratch").iterdir()) == []


_OVER_LIMIT = """
import resource, signal, sys
from pathlib import Path
from optaic.errors import StorageError
from optaic.storage.objects import open_store
store = open_store(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    store.put("large", b"x" * (3 << 20))
except StorageError as error:
    print("refused:", error.message)
"""


def test_a_write_that_fails_half_way_leaves_no_part_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _OVER_LIMIT, str(tmp_path / "objects")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("refused: large")
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


def test_a_store_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="ftp"):
        open_store("ftp://host/x")
