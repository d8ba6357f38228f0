"""What tests of real processes share: a small project of flows, specifications, and waiting with a deadline."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from optaic.domain.kind import FlowKind
from optaic.domain.status import Standing
from optaic.engines.messages import Message, RunSpec
from optaic.engines.process import RunProcess
from optaic.flows.task import Task

DEFINITIONS = """
import datetime, hashlib, os, signal, subprocess, sys, time
import polars as pl
import optaic.errors

def table():
    return pl.DataFrame({"date": [datetime.date(2024, 1, 2)], "symbol": ["A"], "close": [1.0]})

def say(name, text=""):
    # Written whole, then renamed: who sees the file sees all of it.
    with open(f"{name}.new", "w") as file:
        file.write(str(text))
    os.rename(f"{name}.new", name)

def noop(ctx):
    return table()

def talk(ctx):
    print("printed", ctx.params.get("token"))
    subprocess.run(["sh", "-c", "echo shouted $TOKEN"], check=True)
    ctx.log.info("logged %s", ctx.params.get("token"))
    ctx.log_metric("loss", 0.5, step=1)
    ctx.log_metric("loss", 0.25, step=2)
    ctx.progress(50, "half")
    ctx.log_frame("scores", table())
    ctx.log_frame("scores", table())
    return table()

def random_numbers(ctx):
    import random
    import numpy
    ctx.log_metric("random", random.random())
    ctx.log_metric("numpy", float(numpy.random.random()))
    ctx.log_metric("hash", hash("a text"))
    return table()

def fail(ctx):
    raise ValueError(f"no price, said {ctx.params.get('token')}")

def fail_connection(ctx):
    raise ConnectionResetError("the source hung up")

def fail_retryable(ctx):
    raise optaic.errors.RetryableError("come back later")

def leave(ctx):
    sys.exit(0)

def leave_at_once(ctx):
    os._exit(7)

def recurse(ctx):
    return recurse(ctx)

def out_of_memory(ctx):
    raise MemoryError

def flood(ctx):
    for number in range(300_000):
        ctx.log_metric("x", float(number), number)
    for number in range(20_000):
        print("line", number)
    return table()

def square(number):
    return number * number

def own_processes(ctx):
    import concurrent.futures, multiprocessing
    ctx.log_metric("before", 1.0)
    for kind in ("fork", "spawn"):
        context = multiprocessing.get_context(kind)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            ctx.log_metric(kind, sum(pool.map(square, range(10))))
    return table()

def until_cancelled(ctx):
    say("ready")
    while not ctx.cancelled:
        time.sleep(0.01)
    ctx.raise_if_cancelled()

def burn(ctx):
    say("ready")
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2_000_000_000)

def stubborn(ctx):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("ready")
    while True:
        time.sleep(60)

def polite(ctx):
    def end(number, frame):
        say("goodbye")
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    say("ready")
    while True:
        time.sleep(60)

def sleeper():
    code = "import signal, time; signal.signal(15, 1); print(1, flush=True); time.sleep(600)"
    return subprocess.Popen([sys.executable, "-c", code],
                            stdout=subprocess.PIPE)

def children(ctx):
    started = [sleeper(), sleeper()]
    for one in started:
        one.stdout.readline()
    say("ready", " ".join(str(one.pid) for one in started))
    time.sleep(600)

def abandon(ctx):
    started = [sleeper(), sleeper()]
    for one in started:
        one.stdout.readline()
    say("ready", " ".join(str(one.pid) for one in started))
    return table()

def daemon(ctx):
    _daemon()
    time.sleep(600)

def abandoned_daemon(ctx):
    _daemon()
    return table()

def _daemon():
    # The classical way: fork, new session, fork again; it closes everything, ignores SIGTERM and never execs.
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(write, str(os.getpid()).encode())
            os.closerange(0, 1000)
            while True:
                time.sleep(60)
        os._exit(0)
    say("ready", os.read(read, 100).decode())
"""


def write_project(root: Path) -> Path:
    """Write a project folder with the definitions."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "flows.py").write_text(DEFINITIONS)
    return root


def spec_of(root: Path, name: str, *, retry_on: tuple[str, ...] = (), **params: object) -> RunSpec:
    """Specify one run of a definition."""
    task = Task(
        run_id=uuid.uuid4(),
        attempt=1,
        tenant_id=1,
        instance="prices",
        flow_kind=FlowKind.REFRESH,
        code_ref=f"flows:{name}",
        code_digest=None,
        config={},
        params=params,
        seed=7,
        as_of=None,
        mode="full",
        standing=Standing.OFFICIAL,
        started_at=dt.datetime(2024, 1, 3, tzinfo=dt.UTC),
        current=None,
    )
    return RunSpec(task=task, store_url=f"file://{root}/.optaic/store", project_root=str(root), retry_on=retry_on)


def drain(process: RunProcess, seconds: float = 30.0) -> list[Message]:
    """Receive until the run is dead."""
    found: list[Message] = []
    deadline = time.monotonic() + seconds
    while not process.is_dead:
        found.extend(process.receive(0.1))
        assert time.monotonic() < deadline, f"still alive after {seconds} s: {found[-5:]}"
    return found


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.005)


def ready(process: RunProcess, root: Path) -> tuple[int, ...]:
    """Wait until the flow says that it is ready; give its process id and those that it tells of."""
    said = root / "ready"
    while process.pid is None or not said.exists():
        process.receive(0.02)
        assert not process.is_dead, "the flow has ended before it was ready"
    return process.pid, *(int(word) for word in said.read_text().split())


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def parent_of(pid: int) -> int:
    """Give the process that started a process, or has adopted it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    """List the child processes, zombies included."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid:
            found.append(int(folder.name))
    return found


def open_files(pid: int | None = None) -> int:
    """Count the open descriptors of a process, this one if none is named."""
    return sum(1 for _ in Path(f"/proc/{pid or 'self'}/fd").iterdir())
