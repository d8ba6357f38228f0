"""The supervisor's side of a run's processes: start them, hear them, stop them, know that they are dead."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import IO, Self

from optaic.engines import kernel
from optaic.engines.ends import Ends, open_ends
from optaic.engines.environment import run_environment, server_environment
from optaic.engines.messages import CANCEL_LINE, Exited, Message, RunSpec, decode_line, encode_spec, warm_codec
from optaic.engines.output import MAX_MESSAGE_BYTES, LineReader, OutputReader, system_line
from optaic.errors import EngineError
from optaic.flows.secret import masker, secret_values

PRELOAD: tuple[str, ...] = (
    "optaic.engines.runner",
    "optaic.flows.code",
    "optaic.flows.refresh",
    "optaic.storage.objects",
    "optaic.storage.segments",
    "numpy.random",
    "obstore.store",
    "polars",
)
"""What a fork server imports once, so that no run has to: the product and its libraries, never the user's code."""

CLOSE_SECONDS = 5.0
"""How long a fork server may take to end after its socket was closed."""

SWEEP_SECONDS = 0.5
"""How long one call of `receive` looks for processes of a run whose guardian was killed."""

_READ_BYTES = 1 << 18
_READS_PER_CALL = 8


class ForkServer:
    """Starts a fresh process for each run by forking one that has the libraries loaded already.

    One server serves many threads. It is started by the first run, and again if it died. The runs that it started
    outlive it.

    Parameters
    ----------
    preload
        Modules that the server imports before it forks. A module that cannot be imported is left out.
    """

    def __init__(self, preload: tuple[str, ...] = PRELOAD) -> None:
        self._preload = preload
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._errors: IO[bytes] | None = None
        self._owner = os.getpid()

    @property
    def pid(self) -> int | None:
        """The server's process id; None before the first start."""
        return self._process.pid if self._process is not None else None

    def warm(self) -> None:
        """Start the server now, so that the first run need not wait for its imports.

        Raises
        ------
        EngineError
            If no process could be started.
        """
        with self._lock:
            self._connect()
        # A claim's lease runs from its first moment, and building the validators takes long on a busy machine.
        warm_codec()

    def start(self, spec: RunSpec) -> RunProcess:
        """Start the processes of a run, and return at once.

        Parameters
        ----------
        spec
            What to execute. The supervisor's environment is added to its own.

        Returns
        -------
        RunProcess
            To be received from until it is dead, and closed.

        Raises
        ------
        EngineError
            If no server can be started, or it does not accept the request. Nothing was started then.
        """
        spec = replace(spec, environment=run_environment(spec))
        return RunProcess(spec, self._launch)

    def close(self) -> None:
        """End the server. Runs that it started go on; their supervisors hold them."""
        with self._lock:
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _launch(self, spec: RunSpec) -> Ends:
        with open_ends(encode_spec(spec)) as (ends, others):
            self._request(json.dumps(spec.mark).encode() + b"\n", others)
        return ends

    def _request(self, line: bytes, descriptors: list[int]) -> None:
        with self._lock:
            for is_last in (False, True):
                connection = self._connect()
                try:
                    socket.send_fds(connection, [line], descriptors)
                except OSError as error:  # the server has died, or does not read any more
                    reason = self._last_words() or str(error)
                    self._disconnect()
                    if is_last:
                        raise EngineError(
                            f"the process that starts runs does not answer: {reason}",
                            next_step="look at the machine's memory and process limits, then try again",
                        ) from error
                else:
                    return

    def _connect(self) -> socket.socket:
        if self._owner != os.getpid():  # this process was forked from the one that owns the server: have an own one
            self._process, self._socket, self._owner = None, None, os.getpid()
        if self._socket is not None and self._process is not None and self._process.poll() is None:
            return self._socket
        self._disconnect()
        here, there = socket.socketpair()
        here.settimeout(CLOSE_SECONDS)
        command = [sys.executable, "-P", "-m", "optaic.engines.forkserver", str(there.fileno()), *self._preload]
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(there.fileno(),),
                env=server_environment(),
                start_new_session=True,
            )
        except OSError as error:
            here.close()
            errors.close()
            raise EngineError(
                f"the process that starts runs could not be started: {error}",
                next_step="look at the machine's memory and process limits, then try again",
            ) from error
        finally:
            there.close()
        self._socket, self._errors = here, errors
        return here

    def _disconnect(self) -> None:
        connection, process, errors = self._socket, self._process, self._errors
        self._socket = self._process = self._errors = None
        if connection is not None:
            connection.close()
        if process is not None:
            try:
                process.wait(CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if errors is not None:
            errors.close()

    def _last_words(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


class RunProcess:
    """The processes of one attempt, as their supervisor sees them; for one thread at a time.

    Made by `ForkServer.start`. Nothing here blocks for longer than the timeout that it is given.
    """

    def __init__(self, spec: RunSpec, launch: Callable[[RunSpec], Ends]) -> None:
        self.spec = spec
        """What is executed."""
        self.pid: int | None = None
        """The flow's process id, from the moment when its start was heard of."""
        self._launch = launch
        self._launches = 0
        self._secrets = secret_values(spec.task.config, spec.task.params, environ=spec.environment)
        self._mask = masker(self._secrets)
        self._exit: Exited | None = None
        self._is_cancel_asked = False
        self._is_stopped = False
        self._is_closed = False
        self._is_unguarded = False
        self._is_dead = False
        self._start()

    def _start(self) -> None:
        self._launches += 1
        self._is_unguarded = False
        self._ends = self._launch(self.spec)
        self._control, self._channel, self._output = self._ends.filenos()
        self._open = {self._control, self._channel, self._output}
        self._control_reader = LineReader()
        self._channel_reader: LineReader | None = LineReader(MAX_MESSAGE_BYTES)
        self._output_reader = OutputReader(self._secrets)

    @property
    def is_dead(self) -> bool:
        """Whether it is proved that no process of the run is alive; true as soon as `receive` has given `Exited`."""
        return self._is_dead

    def filenos(self) -> tuple[int, ...]:
        """Give the descriptors to wait on, together with others: one is readable when `receive` has something."""
        return tuple(self._open)

    def receive(self, timeout: float) -> list[Message]:
        """Give everything that has arrived, waiting for it if there is nothing.

        Parameters
        ----------
        timeout
            Seconds to wait at most; 0 does not wait.

        Returns
        -------
        list of Message
            In order of arrival; empty if the time is over, or if the run is dead and all was received.
        """
        found: list[Message] = []
        deadline = time.monotonic() + timeout
        while not found and not self._is_dead and not self._is_closed:
            remaining = max(deadline - time.monotonic(), 0.0)
            ready = self._wait(remaining)
            for descriptor in ready:
                found.extend(self._read(descriptor))
            if self._is_unguarded and self._exit is None:
                self._settle()
            if self._exit is not None:
                found.extend(self._last_messages())
            if not ready and remaining == 0.0:
                break
        return found

    def ask_cancel(self) -> None:
        """Tell the flow that it was asked to stop: `ctx.cancelled` becomes true. Does nothing to a dead run."""
        self._is_cancel_asked = True
        with suppress(OSError):
            self._ends.channel.send(CANCEL_LINE)

    def stop(self, grace_seconds: float) -> None:
        """Send SIGTERM to every process of the run now, and SIGKILL to those that are left after the grace.

        Returns at once; `Exited` is received when all are dead. A later call with an earlier end shortens the grace.
        """
        self._command(["stop", max(grace_seconds, 0.0)])

    def kill(self) -> None:
        """Send SIGKILL to every process of the run, now. Returns at once, like `stop`."""
        self._command(["kill"])

    def close(self) -> None:
        """Let go of the run: if it is not dead, all its processes are killed, but their death is not waited for."""
        if self._is_closed:
            return
        self._is_closed = True
        self._ends.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _command(self, command: list[object]) -> None:
        # The commands are few and short, so the socket's buffer always has room; a guardian that is gone needs none.
        self._is_stopped = True
        with suppress(OSError):
            self._ends.control.send(json.dumps(command).encode() + b"\n")

    def _wait(self, seconds: float) -> list[int]:
        poll = select.poll()
        for descriptor in self._open:
            poll.register(descriptor, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll(seconds * 1000)]

    def _read(self, descriptor: int) -> list[Message]:
        """Read what there is, up to 2 MiB at once, so that a run that floods its supervisor does not hold it."""
        found: list[Message] = []
        for _ in range(_READS_PER_CALL):
            try:
                data = os.read(descriptor, _READ_BYTES)
            except BlockingIOError:
                break
            except ConnectionError:
                data = b""
            found.extend(self._understand(descriptor, data))
            if not data:
                self._open.discard(descriptor)
                break
        return found

    def _understand(self, descriptor: int, data: bytes) -> list[Message]:
        if descriptor == self._output:
            return list[Message](self._output_reader.feed(data) if data else self._output_reader.finish())
        if descriptor == self._channel:
            return self._hear_runner(data)
        for line in self._control_reader.feed(data):
            self._hear_guardian(line)
        if not data and self._exit is None:
            self._is_unguarded = True
        return []

    def _hear_runner(self, data: bytes) -> list[Message]:
        if self._channel_reader is None:
            return []
        found: list[Message] = []
        try:
            lines = self._channel_reader.feed(data)
        except EngineError as error:
            self._channel_reader = None
            self.kill()
            return [system_line(f"{error.message}, and was killed", self._mask)]
        for line in lines:
            try:
                found.extend(decode_line(line))
            except EngineError as error:
                found.append(system_line(error.message, self._mask))
        return found

    def _hear_guardian(self, line: bytes) -> None:
        match json.loads(line):
            case ["started", int(pid)]:
                self.pid = pid
            case ["exited", exit_code, number, str(detail)]:
                self._exit = Exited(exit_code=exit_code, signal=number, detail=detail, started=self.pid is not None)
            case _:
                pass

    def _settle(self) -> None:
        """Bring a run to its end that nobody guards: its guardian was killed together with the server, or never was."""
        if not kernel.sweep(self.spec.mark, self.pid, SWEEP_SECONDS):
            return
        if self.pid is not None:
            detail = "the process that guarded the run was killed"
            self._exit = Exited(exit_code=None, signal=signal.SIGKILL, detail=detail)
            return
        detail = "the run's process could not be started"
        if self._launches == 1 and not self._is_stopped:  # the request died with the server that had it: ask the next
            self._open.clear()
            self._ends.close()
            try:
                self._start()
                if self._is_cancel_asked:
                    self.ask_cancel()
            except EngineError as error:
                detail, self._is_closed = error.message, True
            else:
                return
        self._exit = Exited(exit_code=None, signal=None, detail=detail, started=False)

    def _last_messages(self) -> list[Message]:
        """Read to the end what the dead have left in the channel and the pipe; then say that they are dead."""
        found: list[Message] = []
        for descriptor in (self._channel, self._output):
            while descriptor in self._open:
                before = len(found)
                found.extend(self._read(descriptor))
                if len(found) == before and descriptor not in self._wait(0.0):
                    break  # someone outside the run holds the other end: what has come is all there is
        found.extend(self._output_reader.finish())
        if self._exit is not None:
            found.append(self._exit)
        self._is_dead = True
        return found
