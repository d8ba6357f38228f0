"""What reporting costs a flow, and what starting a process costs a run: `python benchmarks/reporting.py`.

The goal is a sentence: a loop that reports 10,000 times a second is slowed by less than 5 %. It is measured as a loop
whose step takes 300 microseconds and reports progress, a metric and a log line each time, 10,000 reports a second in
all; and as one whose step takes 100 microseconds and reports one thing. Beside it stands a loop of 100 microseconds
that reports all three, up to 30,000 times a second. Blocks of steps with and without reports alternate, in a real run's
process, with a supervisor that receives everything; the ratio is that of their sums, so that what disturbs the machine
disturbs both. It is given for the clock on the wall, and for the CPU time of the loop's thread, which other work
disturbs less.
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
EVERYTHING = ("progress", "metric", "log line")
CASES = ((300, EVERYTHING), (100, ("metric",)), (100, ("log line",)), (100, EVERYTHING))

def table():
    return pl.DataFrame({"date": [datetime.date(2024, 1, 2)], "symbol": ["A"], "close": [1.0]})

def noop(ctx):
    return table()

def work(rounds):
    total = 0
    for number in range(rounds):
        total += number * number

def calibrated(microseconds):
    best = 1.0
    for _ in range(300):
        started = time.perf_counter()
        work(1000)
        best = min(best, time.perf_counter() - started)
    return int(microseconds * 1e-6 / best * 1000)

def now():
    return time.perf_counter(), time.thread_time()

def loop(ctx):
    for microseconds, what in CASES:
        rounds = calibrated(microseconds)
        has_progress, has_metric, has_line = (one in what for one in EVERYTHING)
        plain, told = [0.0, 0.0], [0.0, 0.0]
        for _ in range(PAIRS):
            started = now()
            for step in range(STEPS):
                work(rounds)
            add(plain, started)
            started = now()
            for step in range(STEPS):
                work(rounds)
                if has_metric:
                    ctx.log_metric("loss", 1.0 / (step + 1), step)
                if has_line:
                    ctx.log.info("step %d of %d", step, STEPS)
                if has_progress:
                    ctx.progress(100.0 * step / STEPS)
            ctx.flush()
            add(told, started)
        rate = PAIRS * STEPS * len(what) / told[0]
        slower, cpu = (with_reports / without - 1 for with_reports, without in zip(told, plain))
        print(
            f"steps of {microseconds} us with {', '.join(what)}: {rate:,.0f} reports a second, "
            f"slowed by {slower:.1%}, CPU of its thread by {cpu:.1%}"
        )
    return table()

def add(total, started):
    for place, (before, after) in enumerate(zip(started, now())):
        total[place] += after - before
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
