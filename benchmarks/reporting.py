"""What reporting costs a flow, and what starting a process costs a run: `python benchmarks/reporting.py`.

A loop whose step takes 100 microseconds reports at every step, which is 10,000 times a second. Blocks of steps with and
without reports alternate, in a real run's process, with a supervisor that receives everything; the ratio is that of
their sums, so that what disturbs the machine disturbs both.
"""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from optaic.domain.kind import FlowKind
from optaic.domain.status import Standing
from optaic.engines.messages import Exited, Failed, Message, RunSpec
from optaic.engines.process import ForkServer, RunProcess
from optaic.flows.report import LogLine
from optaic.flows.task import Task

FLOWS = """
import datetime, time
import polars as pl

STEPS, PAIRS = 500, 100

def table():
    return pl.DataFrame({"date": [datetime.date(2024, 1, 2)], "symbol": ["A"], "close": [1.0]})

def noop(ctx):
    return table()

def work(rounds):
    total = 0
    for number in range(rounds):
        total += number * number

def calibrated():
    best = 1.0
    for _ in range(300):
        started = time.perf_counter()
        work(1000)
        best = min(best, time.perf_counter() - started)
    return int(100e-6 / best * 1000)

def loop(ctx):
    rounds = calibrated()
    for what in ("metric", "log", "progress, metric and log"):
        plain = told = 0.0
        for _ in range(PAIRS):
            started = time.perf_counter()
            for step in range(STEPS):
                work(rounds)
            plain += time.perf_counter() - started
            started = time.perf_counter()
            for step in range(STEPS):
                work(rounds)
                if what != "log":
                    ctx.log_metric("loss", 1.0 / (step + 1), step)
                if what != "metric":
                    ctx.log.info("step %d of %d", step, STEPS)
                if what.startswith("progress"):
                    ctx.progress(100.0 * step / STEPS)
            ctx.flush()
            told += time.perf_counter() - started
        rate = PAIRS * STEPS / told
        print(f"{what}: {rate:,.0f} steps a second, slowed by {told / plain - 1:.1%}")
    return table()
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ForkServer() as server:
        root = Path(folder)
        (root / "measured.py").write_text(FLOWS)
        server.warm()
        with server.start(_spec(root, "loop")) as process:
            for message in _drain(process):
                if isinstance(message, LogLine) and message.stream == "output":
                    print(message.text)
                if isinstance(message, Failed):
                    raise SystemExit(message.traceback)
        times = sorted(_no_op(server, root) for _ in range(200))
        median, late = statistics.median(times) * 1e3, times[189] * 1e3
        print(f"no-op run, start to proved death: p50 {median:.1f} ms, p95 {late:.1f} ms")


def _no_op(server: ForkServer, root: Path) -> float:
    started = time.perf_counter()
    with server.start(_spec(root, "noop")) as process:
        assert _drain(process)[-1] == Exited(exit_code=0, signal=None)
    return time.perf_counter() - started


def _drain(process: RunProcess) -> list[Message]:
    found: list[Message] = []
    while not process.is_dead:
        found.extend(one for one in process.receive(1.0) if not (isinstance(one, LogLine) and one.stream == "log"))
    return found


def _spec(root: Path, name: str) -> RunSpec:
    task = Task(
        run_id=uuid.uuid4(),
        attempt=1,
        tenant_id=1,
        instance="prices",
        flow_kind=FlowKind.REFRESH,
        code_ref=f"measured:{name}",
        code_digest=None,
        config={},
        params={},
        seed=0,
        as_of=None,
        mode="full",
        standing=Standing.OFFICIAL,
        started_at=dt.datetime.now(dt.UTC),
        current=None,
    )
    return RunSpec(task=task, store_url=str(root / "store"), project_root=str(root))


if __name__ == "__main__":
    main()
