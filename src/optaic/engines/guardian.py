"""The guardian: a tiny process beside each run, whose end proves that every process of the run is dead.

It is the parent of the flow's process, and the kernel makes it the parent of every process that the flow starts and
abandons, daemons included. It kills them all when it is told to, when the flow's process ends, and when its
supervisor dies (its control socket is at its end then); it reports only when the kernel says that it has no child left.

Control socket, one JSON document a line. To the guardian: `["stop", grace_seconds]`, `["kill"]`. From it:
`["started", pid]`, then `["exited", exit_code or null, signal or null, detail]`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from optaic.engines import kernel

_AGAIN_SECONDS = 0.01
"""How long after a kill the guardian looks for descendants again, unless a death wakes it earlier."""

_IGNORED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
)


def guard(
    control: int, mark: str, *, watched: Sequence[int], flow_only: Sequence[int], flow: Callable[[], None]
) -> NoReturn:
    """Start the flow's process, and stay until every process of the run is dead.

    Called in a process of its own, which ends with it: with code 0 after the report, otherwise with another.

    Parameters
    ----------
    control
        The descriptor of the guardian's end of the control socket.
    mark
        `<run id>:<attempt>`.
    watched
        Descriptors that become readable when the supervisor dies, besides the control socket.
    flow_only
        Descriptors that only the flow's process keeps.
    flow
        What the flow's process does; it ends when this returns or raises.
    """
    try:
        os.setsid()
        os.chdir("/")
        kernel.adopt_orphans()
        kernel.name_process("optaic-guardian")
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        guardian = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_flow(guardian, mark, (control, woken, wake, *watched), flow)
        for descriptor in flow_only:
            os.close(descriptor)
        _watch(control, pid, woken=woken, watched=watched)
    except BaseException:  # noqa: BLE001 - whatever happens to the guardian, the run must not outlive it
        for one in kernel.descendants(os.getpid()):
            kernel.send(one, signal.SIGKILL)
        os._exit(1)
    os._exit(0)


def _become_flow(guardian: int, mark: str, closed: Sequence[int], flow: Callable[[], None]) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        kernel.die_with(guardian)
        os.setsid()
        kernel.name_process(kernel.short_name(mark))
        for number in (*_IGNORED, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as in every Python process: writing raises BrokenPipeError
        for descriptor in closed:
            os.close(descriptor)
        flow()
    finally:
        os._exit(1)


def _watch(control: int, flow: int, *, woken: int, watched: Sequence[int]) -> None:
    """Serve the control socket and reap, until there is no child left; then report."""
    _report(control, ["started", flow])
    open_ends = {control, *watched}
    commands = b""
    status: int | None = None
    kill_at: float | None = None
    while True:
        is_alone, ended = _reap(flow)
        if ended is not None:
            status, kill_at = ended, 0.0
        if is_alone:  # the proof: no descendant is left, alive or dead
            _report(control, _exited(status))
            return
        timeout = None
        if kill_at is not None:
            timeout = kill_at - time.monotonic()
            if timeout <= 0:
                _signal_all(flow, signal.SIGKILL)
                timeout = _AGAIN_SECONDS
        ready, _, _ = select.select([woken, *open_ends], [], [], timeout)
        if woken in ready:
            with suppress(BlockingIOError):
                os.read(woken, 4096)
        for descriptor in open_ends.intersection(ready):
            data = _heard(descriptor) if descriptor == control else b""
            if not data:  # the supervisor is dead or has let go: so dies the run
                open_ends.discard(descriptor)
                kill_at = 0.0
            *lines, commands = (commands + data).split(b"\n")
            for line in lines:
                kill_at = _obey(json.loads(line), flow, kill_at)


def _reap(flow: int) -> tuple[bool, int | None]:
    """Reap the dead; tell whether no child is left, and the flow's wait status if it is among them."""
    status: int | None = None
    while True:
        try:
            pid, state = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True, status
        if pid == 0:
            return False, status
        if pid == flow:
            status = state


def _heard(control: int) -> bytes:
    try:
        return os.read(control, 4096)
    except ConnectionError:
        return b""


def _obey(command: object, flow: int, kill_at: float | None) -> float | None:
    """Do as the supervisor says; give the time from which everything is killed."""
    match command:
        case ["kill"]:
            return 0.0
        case ["stop", float(grace) | int(grace)]:
            if kill_at is None:
                _signal_all(flow, signal.SIGTERM)
            until = time.monotonic() + grace
            return until if kill_at is None else min(until, kill_at)
        case _:
            return kill_at


def _signal_all(flow: int, number: int) -> None:
    if not kernel.IS_LINUX:
        kernel.send_group(flow, number)
        return
    for pid in kernel.descendants(os.getpid()):
        kernel.send(pid, number)


def _exited(status: int | None) -> list[object]:
    code = os.waitstatus_to_exitcode(status) if status is not None else -signal.SIGKILL
    return ["exited", code, None, ""] if code >= 0 else ["exited", None, -code, ""]


def _report(control: int, document: list[object]) -> None:
    # Short, and at most two in a life: the socket's buffer always takes them. Nobody may be there to read them.
    with suppress(OSError):
        os.write(control, json.dumps(document).encode() + b"\n")
