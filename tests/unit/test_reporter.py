"""How reports leave a flow: in batches, in order, with bounded memory, and refused after the end."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.errors import InvalidInputError, LeaseLostError
from optaic.flows import reporter
from optaic.flows.context import RunContext
from optaic.flows.report import Batch
from optaic.flows.secret import masker
from tests.contexts import RUN_ID, Told, context_of


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def context(tmp_path: Path, told: Told) -> Iterator[RunContext]:
    context = context_of(tmp_path, told)
    yield context
    if not context._reporter._is_closed:
        context.close()


def test_the_log_takes_what_a_logger_takes(context: RunContext, told: Told) -> None:
    context.log.debug("not shown")
    context.log.info("plain %% text")
    context.log.warning("a %s and %d", "text", 3)
    context.log.error("by name %(a)s", {"a": 1})
    context.log.info("wrong %d", "number")
    context.log.info(ValueError("an object"))
    context.log.log(35, "between")
    try:
        raise ValueError("broken")
    except ValueError:
        context.log.exception("it failed")
    context.say("from the product")
    context.close()
    assert told.lines[:6] == [
        ("INFO", "plain %% text", "log"),
        ("WARNING", "a text and 3", "log"),
        ("ERROR", "by name 1", "log"),
        ("INFO", "wrong %d ('number',)", "log"),
        ("INFO", "an object", "log"),
        ("WARNING", "between", "log"),
    ]
    level, text, _ = told.lines[6]
    assert level == "ERROR"
    assert text.startswith("it failed\nTraceback")
    assert text.endswith("ValueError: broken")
    assert told.lines[7] == ("INFO", "from the product", "system")


def test_handlers_that_a_flow_adds_get_the_records_too(context: RunContext, told: Told) -> None:
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    context.log.addHandler(Keep())
    context.log.info("to %s", "both")
    context.close()
    assert [record.getMessage() for record in records] == ["to both"]
    assert records[0].funcName == "test_handlers_that_a_flow_adds_get_the_records_too"
    assert told.lines == [("INFO", "to both", "log")]


def test_reports_leave_by_themselves_within_the_flush_time(tmp_path: Path) -> None:
    arrived = threading.Event()
    context = context_of(tmp_path, lambda _: arrived.set(), flush_seconds=0.05)
    context.log_metric("x", 1.0)
    assert arrived.wait(10.0)
    context.close()


def test_nothing_said_starts_no_thread_and_sends_nothing(context: RunContext, told: Told) -> None:
    before = threading.active_count()
    context.flush()
    assert threading.active_count() == before
    context.close()
    assert told.batches == []


def test_a_slow_supervisor_holds_back_metrics_and_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "MAX_POINTS", 100)
    gate, told = threading.Semaphore(0), Told()

    def slow(batch: Batch) -> None:
        assert len(batch.points) <= 100
        assert gate.acquire(timeout=20.0)
        told(batch)

    context = context_of(tmp_path, slow, flush_seconds=0.001)
    logged: list[int] = []

    def log() -> None:
        for step in range(1000):
            context.log_metric("x", 0.5, step)
            logged.append(step)

    thread = threading.Thread(target=log)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    # One batch is with the sink, one buffer is full: no more than that is held in memory.
    assert len(logged) <= 201
    gate.release(10_000)
    thread.join(20.0)
    context.close()
    assert [step for _, _, step in told.points] == list(range(1000))


def test_log_lines_beyond_the_buffer_are_dropped_and_counted(
    context: RunContext, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "MAX_LINES", 100)
    gate = threading.Event()
    blocked = threading.Event()

    def slow(batch: Batch) -> None:
        blocked.set()
        assert gate.wait(20.0)
        told(batch)

    context._reporter._sink = slow
    context.log.info("first")
    assert context._reporter._alarm is not None
    context._reporter._alarm.ring()
    assert blocked.wait(20.0)
    for number in range(150):
        context.log.info("line %d", number)
    gate.set()
    context.close()
    texts = [text for _, text, _ in told.lines]
    assert texts[:101] == ["first", *(f"line {number}" for number in range(100))]
    assert texts[101].startswith("50 log lines were dropped")
    assert len(texts) == 102


def test_a_very_long_line_is_cut(context: RunContext, told: Told) -> None:
    context.log.info("x" * 1_000_000)
    context.close()
    ((_, text, _),) = told.lines
    assert len(text) < 70_000
    assert text.endswith("[cut]")


def test_a_line_is_cut_after_its_secrets_are_masked(told: Told) -> None:
    one = reporter.Reporter(told, mask=masker(("S3CR3T-value",)))
    one.add_line("INFO", "x" * (reporter.MAX_LINE_CHARS - 5) + "S3CR3T-value")
    one.close()
    ((_, text, _),) = told.lines
    assert text.endswith("xx[secr [cut]")


def test_a_lost_lease_is_told_to_the_flow(tmp_path: Path) -> None:
    def refuse(batch: Batch) -> None:
        raise LeaseLostError(RUN_ID, 2, "it was rescued")

    context = context_of(tmp_path, refuse)
    context.log_metric("x", 1.0)
    with pytest.raises(LeaseLostError):
        context.flush()
    with pytest.raises(LeaseLostError):
        context.log_metric("x", 2.0)
    with pytest.raises(LeaseLostError):
        context.progress(3)
    context.log.info("is dropped without harm")
    with pytest.raises(LeaseLostError):
        context.close()


def test_after_the_end_nothing_is_taken(context: RunContext, told: Told) -> None:
    context.log_metric("x", 1.0)
    context.close()
    with pytest.raises(InvalidInputError, match="has ended"):
        context.log_metric("x", 2.0)
    with pytest.raises(InvalidInputError, match="has ended"):
        context.progress(2.0)
    context.log.info("too late")
    assert len(told.reports) == 1


def test_a_process_that_the_flow_forks_cannot_report_for_it(context: RunContext, told: Told) -> None:
    context.log_metric("x", 1.0)
    pid = os.fork()
    if pid == 0:
        try:
            context.log_metric("x", 2.0)
        except InvalidInputError:
            os._exit(42)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
    context.close()
    assert told.points == [("x", 1.0, None)]


def test_threads_may_report_together(context: RunContext, told: Told) -> None:
    def report(name: str) -> None:
        for step in range(5000):
            context.log_metric(name, 1.0, step)

    threads = [threading.Thread(target=report, args=(f"m{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        context.flush()
    context.close()
    for number in range(4):
        assert [step for key, _, step in told.points if key == f"m{number}"] == list(range(5000))
