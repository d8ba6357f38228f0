"""What the kernel is asked about processes: to adopt orphans, to find descendants, to kill them.

Adoption, descendants and marks need Linux; elsewhere the functions do nothing or find nothing, and only process
groups are killed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import sys
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

MARK_VARIABLE = "OPTAIC_RUN_ID"
"""The environment variable that carries `<run id>:<attempt>` into every program that a run starts."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

IS_LINUX = sys.platform == "linux"


def _prctl(option: int, argument: int | bytes) -> bool:
    if not IS_LINUX:
        return False
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    return ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == 0


def adopt_orphans() -> bool:
    """Make this process the parent of every descendant whose own parent dies; tell whether the kernel can."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent dies, or exit at once if it is dead already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def name_process(name: str) -> None:
    """Set the name that `ps` shows (15 bytes at most); processes forked from this one inherit it."""
    _prctl(_PR_SET_NAME, name.encode()[:15])


def short_name(mark: str) -> str:
    """Give the process name of an attempt, in 15 characters: it tells processes that were never exec'ed."""
    return f"run-{hashlib.sha256(mark.encode()).hexdigest()[:11]}"


def _parents() -> dict[int, tuple[int, str, str]]:
    """By process id: parent id, state and name."""
    found: dict[int, tuple[int, str, str]] = {}
    for folder in Path("/proc").glob("[0-9]*") if IS_LINUX else ():
        with suppress(OSError):
            # The name is in parentheses and may hold anything, so the fields after it are found from the right.
            head, _, rest = (folder / "stat").read_bytes().rpartition(b")")
            state, parent = rest.split()[:2]
            name = head.partition(b"(")[2].decode(errors="replace")
            found[int(folder.name)] = (int(parent), state.decode(), name)
    return found


def descendants(pid: int, *, without: Container[int] = ()) -> list[int]:
    """Find the children of a process, theirs, and so on, from the top down.

    Parameters
    ----------
    pid
        The process; not part of the answer.
    without
        Children that are left out together with their own descendants.

    Returns
    -------
    list of int
        Ids of live processes; zombies are left out.
    """
    children: dict[int, list[int]] = {}
    processes = _parents()
    for child, (parent, _, _) in processes.items():
        if child not in without:
            children.setdefault(parent, []).append(child)
    found: list[int] = []
    frontier = children.get(pid, [])
    while frontier:
        found.extend(frontier)
        frontier = [grandchild for child in frontier for grandchild in children.get(child, [])]
    return [one for one in found if processes[one][1] not in "ZX"]


def marked(mark: str) -> list[int]:
    """Find the live processes of an attempt, by the mark in their environment or, if never exec'ed, their name."""
    name = short_name(mark)
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    found: list[int] = []
    for pid, (_, state, its_name) in _parents().items():
        if state in "ZX" or pid == os.getpid():
            continue
        if its_name == name:
            found.append(pid)
            continue
        with suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone, or may belong to someone else."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def send_group(group: int, number: int) -> None:
    """Send a signal to a process group that may be gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def sweep(mark: str, group: int | None, seconds: float) -> bool:
    """Kill the processes of an attempt that nobody guards any more.

    Parameters
    ----------
    mark
        `<run id>:<attempt>`.
    group
        The process group of the flow; None if it was never heard of.
    seconds
        How long to try.

    Returns
    -------
    bool
        Whether none is found any more; False if the time was over before, so that the caller tries again.
    """
    deadline = time.monotonic() + seconds
    if group is not None:
        send_group(group, signal.SIGKILL)
    while left := marked(mark):
        for one in left:
            send(one, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
