"""Whatever dies, and however a run resists: all its processes die too, and their death is proved."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from optaic.engines.ends import open_ends
from optaic.engines.environment import run_environment, server_environment
from optaic.engines.messages import Exited, Finished, encode_spec
from optaic.engines.process import ForkServer, RunProcess
from optaic.errors import EngineError
from tests.processes import children_of, drain, is_alive, parent_of, ready, spec_of, until, write_project

RESISTING = ["burn", "stubborn", "children", "daemon"]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        server.warm()
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


@pytest.mark.parametrize("name", RESISTING)
def test_a_stopped_run_is_really_dead_within_five_seconds(server: ForkServer, root: Path, name: str) -> None:
    with server.start(spec_of(root, name)) as process:
        pids = ready(process, root)
        assert all(is_alive(pid) for pid in pids)
        started = time.monotonic()
        process.stop(1.5)
        messages = drain(process)
        assert time.monotonic() - started < 5.0
        assert isinstance(messages[-1], Exited)
        assert process.is_dead
        assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("name", RESISTING)
def test_a_killed_run_dies_without_grace(server: ForkServer, root: Path, name: str) -> None:
    with server.start(spec_of(root, name)) as process:
        pids = ready(process, root)
        started = time.monotonic()
        process.stop(60.0)
        process.kill()
        drain(process)
        assert time.monotonic() - started < 5.0
        assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("name", ["abandon", "abandoned_daemon"])
def test_what_a_finished_flow_leaves_running_dies_before_its_end_is_told(
    server: ForkServer, root: Path, name: str
) -> None:
    with server.start(spec_of(root, name)) as process:
        messages = drain(process)
        assert messages[-1] == Exited(exit_code=0, signal=None)
        assert [one for one in messages if isinstance(one, Finished)]
        pids = [int(word) for word in (root / "ready").read_text().split()]
        assert pids
        assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("name", RESISTING)
def test_a_run_that_is_let_go_is_killed(server: ForkServer, root: Path, name: str) -> None:
    process = server.start(spec_of(root, name))
    pids = ready(process, root)
    process.close()
    until(lambda: not any(is_alive(pid) for pid in pids), 5.0)


SUPERVISOR = """
import multiprocessing, os, pathlib, sys, time
from optaic.engines.process import ForkServer
from tests.processes import ready, spec_of

root = pathlib.Path(sys.argv[1])
process = ForkServer().start(spec_of(root, sys.argv[2]))
pids = ready(process, root)
if sys.argv[3] == "forked":  # a child of the supervisor that holds copies of all its sockets
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    (root / "child").write_text(str(child))
print(*pids, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("name", RESISTING)
@pytest.mark.parametrize("copies", ["alone", "forked"])
def test_a_killed_supervisor_takes_its_runs_with_it(root: Path, name: str, copies: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(root), name, copies], stdout=subprocess.PIPE, env=environment
    )
    assert supervisor.stdout is not None
    with supervisor.stdout:
        pids = [int(word) for word in supervisor.stdout.readline().split()]
    assert pids
    assert all(is_alive(pid) for pid in pids)
    pids += children_of(supervisor.pid) if copies == "alone" else []
    supervisor.kill()
    supervisor.wait()
    until(lambda: not any(is_alive(pid) for pid in pids), 5.0)
    if copies == "forked":
        os.kill(int((root / "child").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("name", RESISTING)
def test_a_killed_guardian_is_noticed_and_its_run_dies(server: ForkServer, root: Path, name: str) -> None:
    with server.start(spec_of(root, name)) as process:
        pids = ready(process, root)
        guardian = parent_of(pids[0])
        os.kill(guardian, signal.SIGKILL)
        messages = drain(process, 5.0)
        exited = messages[-1]
        assert isinstance(exited, Exited)
        assert (exited.exit_code, exited.signal, exited.started) == (None, signal.SIGKILL, True)
        assert "guarded" in exited.detail
        assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("name", RESISTING)
def test_with_server_and_guardian_killed_the_supervisor_finds_the_processes_itself(root: Path, name: str) -> None:
    with ForkServer() as server, server.start(spec_of(root, name)) as process:
        pids = ready(process, root)
        guardian = parent_of(pids[0])
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not is_alive(server.pid or 0))
        os.kill(guardian, signal.SIGKILL)
        assert isinstance(drain(process, 10.0)[-1], Exited)
        assert not any(is_alive(pid) for pid in pids)


def test_a_killed_fork_server_harms_no_run_and_is_replaced(root: Path) -> None:
    with ForkServer() as server, server.start(spec_of(root, "until_cancelled")) as process:
        ready(process, root)
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: not is_alive(first))
        with server.start(spec_of(root, "noop")) as other:
            assert drain(other)[-1] == Exited(exit_code=0, signal=None)
        assert server.pid != first
        assert not process.is_dead
        process.ask_cancel()
        assert drain(process)[-1] == Exited(exit_code=1, signal=None)


def test_a_request_that_died_with_its_server_is_made_again(root: Path) -> None:
    with ForkServer() as server:
        server.warm()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        with server.start(spec_of(root, "until_cancelled")) as process:
            process.ask_cancel()
            os.kill(server.pid, signal.SIGKILL)
            assert drain(process)[-1] == Exited(exit_code=1, signal=None)


def test_a_run_that_was_killed_before_its_start_is_told_so(root: Path) -> None:
    with ForkServer() as server:
        server.warm()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        with server.start(spec_of(root, "noop")) as process:
            process.kill()
            os.kill(server.pid, signal.SIGKILL)
            (exited,) = drain(process)
    assert isinstance(exited, Exited)
    assert (exited.exit_code, exited.signal, exited.started) == (None, None, False)
    assert "could not be started" in exited.detail


@contextmanager
def lone_server() -> Generator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """Start a fork server, to be spoken to without a `ForkServer`."""
    here, there = socket.socketpair()
    command = [sys.executable, "-P", "-m", "optaic.engines.forkserver", str(there.fileno())]
    with here:
        with there:
            process = subprocess.Popen(command, pass_fds=[there.fileno()], env=server_environment())
        with process:
            try:
                yield here, process
            finally:
                process.kill()


def test_requests_that_arrive_together_keep_nothing_of_each_other_open(root: Path) -> None:
    folders = root / "first", root / "second"
    specs = [spec_of(write_project(folder), "until_cancelled") for folder in folders]
    specs = [replace(spec, environment=run_environment(spec)) for spec in specs]
    with lone_server() as (connection, server), ExitStack() as runs:
        with ExitStack() as opened:
            ends = {spec.mark: opened.enter_context(open_ends(encode_spec(spec))) for spec in specs}
            lines = b"".join(json.dumps(mark).encode() + b"\n" for mark in ends)
            socket.send_fds(connection, [lines], [descriptor for _, others in ends.values() for descriptor in others])
        first, second = (runs.enter_context(RunProcess(spec, lambda spec: ends[spec.mark][0])) for spec in specs)
        ready(first, folders[0])
        pid, *_ = ready(second, folders[1])
        server.kill()  # which would tell what the guardian cannot
        server.wait()
        os.kill(parent_of(pid), signal.SIGKILL)
        assert isinstance(drain(second, 10.0)[-1], Exited)
        first.ask_cancel()
        assert drain(first)[-1] == Exited(exit_code=1, signal=None)


def test_a_fork_server_that_is_closed_reaps_what_it_started_and_ends(root: Path) -> None:
    server = ForkServer()
    with server.start(spec_of(root, "noop")) as process:
        drain(process)
    pid = server.pid
    assert pid is not None
    guardians = children_of(pid)
    started = time.monotonic()
    server.close()
    assert time.monotonic() - started < 1.0
    assert server.pid is None
    assert not Path(f"/proc/{pid}").exists()
    assert not any(Path(f"/proc/{one}").exists() for one in guardians)


def test_a_server_that_cannot_start_is_an_engine_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with ForkServer() as server, pytest.raises(EngineError, match="could not be started"):
        server.start(spec_of(root, "noop"))


def test_many_threads_share_one_server(server: ForkServer, tmp_path: Path) -> None:
    ends: list[object] = []

    def one(number: int) -> None:
        with server.start(spec_of(write_project(tmp_path / str(number)), "noop")) as process:
            ends.append(drain(process)[-1])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [Exited(exit_code=0, signal=None)] * 8
