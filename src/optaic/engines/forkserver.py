"""The fork server: a process that has the libraries loaded, and forks one guardian for each run.

Started by `optaic.engines.process.ForkServer` as `python -m optaic.engines.forkserver DESCRIPTOR MODULE...`. It never
imports the user's code, runs no query and starts no thread, so that what it forks is whole. (Importing Polars leaves
one thread that waits for files to delete and holds nothing; a fork does without it.)

A request is one line of JSON, the mark of the attempt, with four descriptors: control socket, channel, output pipe,
and a file with the specification. It is never answered: the guardian speaks on the control socket. The server keeps
its own copy of that socket until the guardian has ended, and adopts what a killed guardian leaves: then it kills
that, and reports in its place.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from typing import NoReturn

from optaic.engines import kernel
from optaic.engines.guardian import guard

_DESCRIPTORS = 4
_AGAIN_SECONDS = 0.01
_LINGER_SECONDS = 1.0


def main(arguments: list[str]) -> None:
    """Preload, then serve until the supervisor's end of the socket is closed.

    Parameters
    ----------
    arguments
        The descriptor of the server's end of the socket, then the names of the modules to import.
    """
    supervisor = os.getppid()
    connection = socket.socket(fileno=int(arguments[0]))
    connection.set_inheritable(False)
    kernel.adopt_orphans()
    kernel.name_process("optaic-forks")
    preload(arguments[1:])
    _Server(connection, _life_of(supervisor)).serve()


def preload(modules: list[str]) -> None:
    """Import modules, without the threads of their allocator; what cannot be imported is reported and left out."""
    os.environ["_RJEM_MALLOC_CONF"] = "background_thread:false"
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a run that needs it will say so; others need not suffer
            traceback.print_exc()
    del os.environ["_RJEM_MALLOC_CONF"]
    gc.collect()
    gc.freeze()  # pages of objects that live forever are then not copied by a collection in each child


def _life_of(pid: int) -> list[int]:
    """Open a descriptor that becomes readable when the process dies, in case a fork of it keeps its sockets open."""
    if not hasattr(os, "pidfd_open"):
        return []
    with suppress(OSError):
        return [os.pidfd_open(pid)]
    return []


class _Server:
    def __init__(self, connection: socket.socket, watched: list[int]) -> None:
        self._connection = connection
        self._watched = watched
        self._guardians: dict[int, int] = {}
        """By process id, the server's copy of the control socket."""
        self._lost: list[int] = []
        """Control sockets of guardians that were killed, as long as something of their runs may be alive."""
        self._woken, self._wake = os.pipe()
        self._data = b""
        self._descriptors: list[int] = []

    def serve(self) -> None:
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        waited = [self._connection.fileno(), *self._watched]
        is_open = True
        while is_open:
            ready = self._wait(waited, None)
            is_open = not any(one in ready for one in self._watched)
            if self._connection.fileno() in ready:
                is_open = self._accept() and is_open
        # The runs of a supervisor that is gone die now; whoever adopts this process's children may never reap them.
        until = time.monotonic() + _LINGER_SECONDS
        self._reap()
        while (self._guardians or self._lost) and time.monotonic() < until:
            self._wait([], _LINGER_SECONDS)

    def _wait(self, descriptors: list[int], seconds: float | None) -> list[int]:
        """Wait for descriptors or for a death, then reap; give the descriptors that are readable."""
        ready, _, _ = select.select([self._woken, *descriptors], [], [], _AGAIN_SECONDS if self._lost else seconds)
        if self._woken in ready:
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
        self._reap()
        return ready

    def _accept(self) -> bool:
        """Start what was asked for; tell whether there may be more."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connection, 1 << 16, 64)
        except ConnectionError:
            return False
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - as os has it
        self._descriptors += descriptors
        *lines, self._data = (self._data + data).split(b"\n")
        for line in lines:
            given, self._descriptors = self._descriptors[:_DESCRIPTORS], self._descriptors[_DESCRIPTORS:]
            self._start(json.loads(line), *given)
        return bool(data)

    def _start(self, mark: str, control: int, channel: int, output: int, document: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            detail = f"the run's process could not be started: {error.strerror}"
            _report(control, ["exited", None, None, detail])
            os.close(control)
        else:
            if pid == 0:
                self._become_guardian(mark, control, channel, output, document)
            self._guardians[pid] = control
        for descriptor in (channel, output, document):
            os.close(descriptor)

    def _become_guardian(self, mark: str, control: int, channel: int, output: int, document: int) -> NoReturn:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Among them those of requests that arrived together with this one: kept here, they would keep open what must
        # be seen to close when another run's guardian dies.
        for descriptor in (self._woken, self._wake, *self._guardians.values(), *self._lost, *self._descriptors):
            os.close(descriptor)
        self._connection.close()

        def flow() -> None:
            from optaic.engines.runner import run

            run(channel, output, document)

        guard(control, mark, watched=self._watched, flow_only=(channel, output, document), flow=flow)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            control = self._guardians.pop(pid, None)
            if control is None:
                continue  # an orphan of a killed guardian
            if status == 0:
                os.close(control)
            else:
                self._lost.append(control)
        if not self._lost:
            return
        orphans = kernel.descendants(os.getpid(), without=self._guardians)
        for orphan in orphans:
            kernel.send(orphan, signal.SIGKILL)
        if not orphans:
            while self._lost:
                control = self._lost.pop()
                _report(control, ["exited", None, signal.SIGKILL, "the process that guarded the run was killed"])
                os.close(control)


def _report(control: int, document: list[object]) -> None:
    with suppress(OSError):
        os.write(control, json.dumps(document).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
