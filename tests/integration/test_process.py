"""A run's own process: what it tells its supervisor, and how it ends."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optaic.engines.messages import Exited, Failed, Finished
from optaic.engines.process import ForkServer
from optaic.flows.report import LogLine, MetricPoint, Progress
from tests.processes import children_of, drain, open_files, ready, spec_of, until, write_project


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as server:
        server.warm()
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


def test_a_flow_that_returns_is_finished_and_then_exits_with_0(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "noop")) as process:
        messages = drain(process)
    assert isinstance(messages[-2], Finished)
    assert messages[-1] == Exited(exit_code=0, signal=None)
    assert process.receive(0.0) == []


def test_what_a_flow_tells_arrives_before_its_end(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "talk")) as process:
        messages = drain(process)
    lines = [message for message in messages if isinstance(message, LogLine)]
    assert {("log", "INFO", "logged None"), ("output", "INFO", "printed None")} <= {
        (line.stream, line.level, line.text) for line in lines
    }
    points = [message for message in messages if isinstance(message, MetricPoint)]
    assert [(point.key, point.value, point.step) for point in points] == [("loss", 0.5, 1), ("loss", 0.25, 2)]
    assert [(one.pct, one.note) for one in messages if isinstance(one, Progress)] == [(50.0, "half")]
    (finished,) = [message for message in messages if isinstance(message, Finished)]
    assert finished.result.metrics["loss"] == 0.25
    frames = [one for one in finished.result.artifacts if one.name.startswith("scores")]
    assert [one.name for one in frames] == ["scores.parquet", "scores-2.parquet"]
    for one in frames:
        assert (root / ".optaic/store" / one.stored.key).stat().st_size == one.stored.size_bytes
    assert isinstance(messages[-1], Exited)


def test_secrets_never_show(server: ForkServer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The server is running already: the variable is the supervisor's of now.
    monkeypatch.setenv("TOKEN", "very-secret-1")
    for name in ("talk", "fail"):
        with server.start(spec_of(root, name, token="${env:TOKEN}")) as process:
            messages = drain(process)
        assert "very-secret-1" not in repr(messages)
        assert "[secret]" in repr(messages)


LEAKS = """
import json

def cut(ctx):
    ctx.log.info("x" * (65536 - 5) + ctx.params["token"])
    return table()

def joined(ctx):
    raise ValueError("refused " + ctx.params["token"] + "\\ud800")

def as_json(ctx):
    print(json.dumps(ctx.params["token"]))
    return table()

def column(ctx):
    return table().with_columns(pl.lit(1.0).alias("of " + ctx.params["token"]))
"""


LEAKED = {
    "cut": ("S3CR3T-value", "S3CR", None),
    "joined": ("my  secret phrase", "secret phrase", "flow_error"),
    "as_json": ('pa"ss-word-123', "ss-word-123", None),
    "column": ("S3CR3T-value", "S3CR", "invalid_output"),
}


@pytest.mark.parametrize("name", LEAKED)
def test_no_part_of_a_secret_shows(server: ForkServer, root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    token, leaked, code = LEAKED[name]
    with (root / "flows.py").open("a") as file:
        file.write(LEAKS)
    monkeypatch.setenv("TOKEN", token)
    with server.start(spec_of(root, name, token="${env:TOKEN}")) as process:
        messages = drain(process)
    assert leaked not in repr(messages)
    (end,) = [message for message in messages if isinstance(message, Finished | Failed)]
    assert (end.code if isinstance(end, Failed) else None) == code


def test_a_secret_that_the_worker_does_not_have_fails_the_run(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "noop", token="${env:NOT_THERE}")) as process:
        (failed,) = [message for message in drain(process) if isinstance(message, Failed)]
    assert failed.code == "secret_missing"
    assert "NOT_THERE" in failed.message


RAISED = {
    "fail": ("flow_error", "ValueError: no price, said None", False),
    "fail_connection": ("flow_error", "ConnectionResetError: the source hung up", True),
    "fail_retryable": ("retryable_error", "RetryableError: come back later", True),
    "leave": ("flow_error", "SystemExit: 0", False),
    "recurse": ("flow_error", "RecursionError: maximum recursion depth exceeded", False),
    "out_of_memory": ("flow_error", "MemoryError", False),
}


@pytest.mark.parametrize("name", RAISED)
def test_whatever_a_flow_raises_becomes_a_reason(server: ForkServer, root: Path, name: str) -> None:
    code, message, retryable = RAISED[name]
    with server.start(spec_of(root, name, retry_on=("ConnectionError",))) as process:
        messages = drain(process)
    (failed,) = [one for one in messages if isinstance(one, Failed)]
    assert (failed.code, failed.retryable) == (code, retryable)
    assert failed.message.startswith(message)
    assert failed.next_step
    assert failed.traceback.splitlines()[1].endswith(f"in {name}")
    assert failed.traceback in [one.text for one in messages if isinstance(one, LogLine)]
    assert messages[-1] == Exited(exit_code=1, signal=None)


def test_other_code_than_the_submitted_one_does_not_run(server: ForkServer, root: Path) -> None:
    spec = spec_of(root, "talk")
    with server.start(replace(spec, task=replace(spec.task, code_digest="0" * 64))) as process:
        messages = drain(process)
    (failed,) = [one for one in messages if isinstance(one, Failed)]
    assert failed.code == "code_mismatch"
    assert not [one for one in messages if isinstance(one, LogLine) and one.stream == "output"]


def test_code_that_is_gone_is_other_code(server: ForkServer, root: Path) -> None:
    (root / "flows.py").unlink()
    with server.start(spec_of(root, "noop")) as process:
        (failed,) = [one for one in drain(process) if isinstance(one, Failed)]
    assert failed.code == "code_mismatch"
    assert "flows" in failed.message


def test_each_run_imports_the_code_as_it_is_now(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "noop")) as process:
        drain(process)
    (root / "flows.py").write_text("def noop(ctx):\n    raise ValueError('new code')\n")
    with server.start(spec_of(root, "noop")) as process:
        (failed,) = [one for one in drain(process) if isinstance(one, Failed)]
    assert failed.message == "ValueError: new code"


def test_the_same_seed_gives_the_same_numbers(server: ForkServer, root: Path) -> None:
    found: list[dict[str, float]] = []
    for _ in range(2):
        with server.start(spec_of(root, "random_numbers")) as process:
            points = [one for one in drain(process) if isinstance(one, MetricPoint)]
        found.append({point.key: point.value for point in points})
    assert found[0] == found[1]
    assert len(found[0]) == 3


def test_a_process_that_leaves_without_a_word_is_told_by_its_exit_code(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "leave_at_once")) as process:
        assert drain(process) == [Exited(exit_code=7, signal=None)]


def test_a_killed_runner_is_told_by_its_signal(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "until_cancelled")) as process:
        pid, *_ = ready(process, root)
        os.kill(pid, signal.SIGKILL)
        assert drain(process)[-1] == Exited(exit_code=None, signal=signal.SIGKILL)


def test_a_flow_hears_that_it_was_asked_to_stop(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "until_cancelled")) as process:
        ready(process, root)
        process.ask_cancel()
        (failed,) = [one for one in drain(process) if isinstance(one, Failed)]
    assert failed.code == "cancelled"


def test_a_flow_may_clean_up_at_sigterm(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "polite")) as process:
        ready(process, root)
        process.stop(20.0)
        drain(process)
    assert (root / "goodbye").exists()


def test_a_flow_may_use_processes_of_its_own(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "own_processes")) as process:
        messages = drain(process)
    points = {one.key: one.value for one in messages if isinstance(one, MetricPoint)}
    assert points == {"before": 1.0, "fork": 285.0, "spawn": 285.0}
    assert messages[-1] == Exited(exit_code=0, signal=None)


FORKS = """
import os, signal, sys

def child_returns(ctx):
    if os.fork() == 0:
        return table()
    os.wait()
    os.kill(os.getpid(), signal.SIGKILL)

def children_end_anyhow(ctx):
    for way in ("return", "raise", "exit"):
        if os.fork() == 0:
            if way == "return":
                return table()
            if way == "exit":
                sys.exit(3)
            raise ValueError("of a child")
        ctx.log_metric(way, os.waitstatus_to_exitcode(os.wait()[1]))
    return table()
"""


def test_only_the_flows_own_process_ends_the_run(server: ForkServer, root: Path) -> None:
    with (root / "flows.py").open("a") as file:
        file.write(FORKS)
    with server.start(spec_of(root, "child_returns")) as process:
        messages = drain(process)
    assert not [message for message in messages if isinstance(message, Finished | Failed)]
    assert messages[-1] == Exited(exit_code=None, signal=signal.SIGKILL)
    with server.start(spec_of(root, "children_end_anyhow")) as process:
        messages = drain(process)
    (finished,) = [message for message in messages if isinstance(message, Finished | Failed)]
    assert isinstance(finished, Finished), finished
    assert [finished.result.metrics[way] for way in ("return", "raise", "exit")] == [1.0, 1.0, 3.0]
    assert "ValueError: of a child" in [line.text for line in messages if isinstance(line, LogLine)]


def test_a_flood_of_reports_arrives_whole(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "flood")) as process:
        messages = drain(process, 60.0)
    steps = [one.step for one in messages if isinstance(one, MetricPoint)]
    assert steps == list(range(300_000))
    printed = [one.text for one in messages if isinstance(one, LogLine) and one.stream == "output"]
    assert printed == [f"line {number}" for number in range(20_000)]
    assert isinstance(messages[-2], Finished)


RAW = """
import gc, socket

def channel():
    return next(one for one in gc.get_objects() if type(one) is socket.socket)

def nonsense(ctx):
    channel().sendall(b'["reports", [500.0, null, 0], [], []]\\n')
    channel().sendall(b'["%s", 1]\\n' % os.environ["TOKEN"].encode())
    ctx.progress(5, 7)
    ctx.progress(6, "n" * 100_000_000)
    ctx.log.info("half \\ud800")
    return table()

def endless(ctx):
    while True:
        channel().sendall(b"x" * (1 << 20))
"""


def test_what_is_no_report_is_told_and_nothing_else_happens(
    server: ForkServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "very-secret-1")
    with (root / "flows.py").open("a") as file:
        file.write(RAW)
    with server.start(spec_of(root, "nonsense", token="${env:TOKEN}")) as process:
        messages = drain(process)
    assert any(isinstance(message, Finished) for message in messages), messages
    lines = [message for message in messages if isinstance(message, LogLine)]
    told = [line.text for line in lines if line.stream == "system"]
    assert "no progress" in told[0]
    assert "something unknown" in told[1]
    assert "very-secret-1" not in repr(messages)
    assert "half \ufffd" in [line.text for line in lines]
    assert [one.note for one in messages if isinstance(one, Progress)][-1] == "n" * 500


def test_a_line_that_never_ends_kills_the_run_and_not_its_supervisor(server: ForkServer, root: Path) -> None:
    with (root / "flows.py").open("a") as file:
        file.write(RAW)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with server.start(spec_of(root, "endless")) as process:
        messages = drain(process)
    (line,) = [message for message in messages if isinstance(message, LogLine)]
    assert (line.stream, "without a line end" in line.text) == ("system", True)
    assert messages[-1] == Exited(exit_code=None, signal=signal.SIGKILL)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # KiB


def test_an_unreadable_store_is_a_reason(server: ForkServer, root: Path) -> None:
    with server.start(replace(spec_of(root, "noop"), store_url="nonsense://there")) as process:
        (failed,) = [one for one in drain(process) if isinstance(one, Failed)]
    assert failed.message


def test_the_fork_server_has_no_thread_that_a_fork_could_break(server: ForkServer, root: Path) -> None:
    with server.start(spec_of(root, "noop")) as process:
        drain(process)
    names = [(one / "comm").read_text().strip() for one in Path(f"/proc/{server.pid}/task").iterdir()]
    # Polars leaves one thread at import; it waits for files to delete, holding nothing.
    assert [name for name in names if not name.startswith("polars-ooc")] == ["optaic-forks"]


@pytest.mark.slow
def test_two_hundred_runs_leave_nothing_behind(server: ForkServer, root: Path) -> None:
    def one() -> None:
        with server.start(spec_of(root, "noop")) as process:
            assert drain(process)[-1] == Exited(exit_code=0, signal=None)

    one()
    assert server.pid is not None
    pid = server.pid
    until(lambda: not children_of(pid))
    before = open_files(), open_files(pid)
    for _ in range(200):
        one()
    until(lambda: not children_of(pid))
    assert (open_files(), open_files(pid)) == before
