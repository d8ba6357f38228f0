"""The run's own process: it executes the flow's code, and has no ledger.

What it knows of the world is its specification, the object store, and a channel to its supervisor.
"""

from __future__ import annotations

import errno
import functools
import importlib
import logging
import os
import random
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TextIO, cast

from optaic.domain.kind import FlowKind
from optaic.domain.reason import ReasonCode
from optaic.domain.text import clean_text
from optaic.engines.messages import (
    CANCEL_LINE,
    MAX_KEY_CHARS,
    Failed,
    Finished,
    RunSpec,
    decode_spec,
    encode_batch,
    encode_end,
    warm_codec,
)
from optaic.engines.output import LineReader
from optaic.errors import CodeChangedError, FlowError, NotFoundError, OptaicError, RetryableError, StorageError
from optaic.flows.context import RunContext
from optaic.flows.report import Batch
from optaic.flows.reporter import Sink
from optaic.flows.secret import masker, secret_values
from optaic.flows.task import Result, Task

MAX_MESSAGE_CHARS = 500
MAX_TRACEBACK_CHARS = 1 << 20
"""A longer traceback loses its beginning: the exception is told at its end."""

Flow = Callable[[Task, Callable[..., Any], RunContext, Any], Result]
Mask = Callable[[str], str]

warm_codec()


def run(channel: int, output: int, document: int) -> NoReturn:
    """Execute what a specification says, and end the process.

    Parameters
    ----------
    channel
        The descriptor of this process's end of the channel to its supervisor.
    output
        The descriptor that standard output and error become.
    document
        The descriptor of a file with the specification.
    """
    code = 1
    try:
        _redirect(output)
        with os.fdopen(document, "rb") as file:
            spec = decode_spec(file.read())
        _adopt_environment(spec.environment)
        connection = socket.socket(fileno=channel)
        end = execute(spec, send=connection.sendall, listen=lambda context: _listen(connection, context))
        code = 0 if isinstance(end, Finished) else 1
    except BaseException:  # noqa: BLE001 - nothing is above this; the traceback goes to the run's log
        traceback.print_exc()
    finally:
        _flush_streams()
        os._exit(code)


def execute(
    spec: RunSpec, *, send: Callable[[bytes], None], listen: Callable[[RunContext], None] | None = None
) -> Finished | Failed:
    """Execute a task and send what it reports and how it ends.

    Parameters
    ----------
    spec
        What to execute. The working directory becomes the project's root.
    send
        Takes encoded lines; may block.
    listen
        Called once with the context, to start hearing the supervisor.

    Returns
    -------
    Finished or Failed
        How it ended; already sent.

    Notes
    -----
    A process that the flow has forked does not come back from here: it exits where it leaves the flow's code.
    """
    owner = os.getpid()
    secrets = secret_values(spec.task.config, spec.task.params, environ=os.environ)
    mask: Mask = masker(secrets) or _unchanged
    sink = _sink(send, mask if secrets else None)
    end: Finished | Failed
    try:
        end = Finished(result=_masked_result(_execute(spec, sink, listen, secrets), mask))
        line = encode_end(end)
    except BaseException as error:  # noqa: BLE001 - whatever the flow raises has to become a reason
        _end_fork(owner, error)
        end = describe(error, run_id=str(spec.task.run_id), retry_on=spec.retry_on, mask=mask)
        if spec.original is not None and isinstance(error, FileNotFoundError):
            from optaic.flows.source import NOT_IN_SNAPSHOT

            end = replace(end, next_step=NOT_IN_SNAPSHOT)
        if end.traceback:
            sink(Batch(lines=[(time.time(), "ERROR", end.traceback, "log")]))
        line = encode_end(end)
    send(line)
    return end


def describe(error: BaseException, *, run_id: str, retry_on: tuple[str, ...] = (), mask: Mask | None = None) -> Failed:
    """Say why a flow failed.

    Parameters
    ----------
    error
        What was raised.
    run_id
        The run, for the next step.
    retry_on
        Names of exception classes, with or without their module, after which another attempt may help.
    mask
        Replaces secrets in a text.

    Returns
    -------
    Failed
        With the code of a `FlowError` or of a wrong expression, `storage_error` when the store or the disk failed, else
        `flow_error`. A flow that asks the interpreter to exit has failed too, whatever the exit code.
    """
    mask = mask or _unchanged
    kind = type(error)
    try:
        text = error.sentence if isinstance(error, OptaicError) else str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ of user code
        text = "(its text cannot be shown)"
    text = mask(" ".join(mask(text).split()))  # a secret may have blanks that joining changes, or joining may make one
    text = clean_text(text)
    named = isinstance(error, OptaicError) and not isinstance(error, RetryableError)
    message = text if named and text else f"{kind.__name__}: {text}" if text else kind.__name__
    code = _code_of(error)
    names = {name for one in kind.__mro__ for name in (one.__name__, f"{one.__module__}.{one.__name__}")}
    next_step = error.next_step if isinstance(error, OptaicError) else None
    return Failed(
        code=code,
        message=message if len(message) <= MAX_MESSAGE_CHARS else message[: MAX_MESSAGE_CHARS - 4] + " ...",
        next_step=mask(next_step or f"read the log with: optaic logs {run_id}"),
        traceback=clean_text(mask(_traceback(error))[-MAX_TRACEBACK_CHARS:]),
        retryable=isinstance(error, RetryableError) or not names.isdisjoint(retry_on),
        exception_type=f"{kind.__module__}.{kind.__qualname__}",
    )


def _execute(
    spec: RunSpec, sink: Sink, listen: Callable[[RunContext], None] | None, secrets: tuple[str, ...]
) -> Result:
    from optaic.flows.code import resolve_secrets
    from optaic.storage.objects import open_store

    owner = os.getpid()
    task = spec.task
    task = replace(task, params=resolve_secrets(task.params, os.environ))
    store = open_store(spec.store_url)
    context = RunContext(task, store=store, sink=sink, secrets=secrets)
    if listen is not None:
        listen(context)
    try:
        definition = _guarded(_load(spec), owner)
        _seed(task.seed)
        result = _flow_of(task.flow_kind)(task, definition, context, store)
        if spec.original is not None:
            from optaic.flows.verdict import add_comparison

            made = _masked_result(_complete(result, context), masker(secrets) or _unchanged)
            result = add_comparison(spec.original, task, made, context, store)
    except BaseException as error:
        _end_fork(owner, error)
        with suppress(Exception):  # the flow's own error is the one to tell
            context.close()
        raise
    context.close()
    return _complete(result, context)


def _guarded(definition: Callable[..., Any], owner: int) -> Callable[..., Any]:
    """Make a definition after which a process that it has forked ends, before it could write what the flow's own does.

    The signature stays: it says what the definition is called with.
    """
    _end_fork(owner)  # importing it may have forked too

    @functools.wraps(definition)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            value = definition(*args, **kwargs)
        except BaseException as error:
            _end_fork(owner, error)
            raise
        _end_fork(owner)
        return value

    return call


def _end_fork(owner: int, error: BaseException | None = None) -> None:
    """End this process if it is not the run's own but one that the flow has forked: how a run ends is not its to say.

    Parameters
    ----------
    owner
        The run's own process id.
    error
        What the flow's code has raised; its traceback goes to the log as output, and its exit code is kept.
    """
    if os.getpid() == owner:
        return
    code = 1
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code & 0xFF if isinstance(error.code, int) else 1
    elif error is not None:
        with suppress(Exception):  # a broken __str__ of user code, or a closed stream
            traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def _load(spec: RunSpec) -> Callable[..., Any]:
    """Find the definition, refuse it if it is not the code that was submitted, and import it."""
    from optaic.flows.code import code_digest, load_definition, locate
    from optaic.flows.installed import check_class

    task = spec.task
    if task.flow_kind is FlowKind.MONITOR:  # it looks at what was published, and executes nothing of the project
        return _flow_of(task.flow_kind)
    root = Path(spec.project_root) if spec.project_root is not None else Path.cwd()
    os.chdir(root)
    if task.code_ref is None:
        raise FlowError(f"{task.instance} has no definition to execute")
    try:
        location = locate(task.code_ref, root)
        digest = code_digest(location)
    except NotFoundError as error:
        raise CodeChangedError(
            f"the code of the run is not here: {error.message}", next_step=error.next_step
        ) from error
    if task.code_digest is not None and digest != task.code_digest:
        if spec.original is not None:
            from optaic.flows.source import environment_differs

            raise environment_differs(task.code_ref, spec.original.run_id)
        raise CodeChangedError(
            f"the code of {task.code_ref} is not the code that the run was submitted with",
            next_step="run: optaic apply, then submit the run again",
        )
    found = load_definition(task.code_ref, root)
    if task.flow_kind in (FlowKind.TRAIN, FlowKind.INFER, FlowKind.OPTIMIZE):  # called with params of the config alone
        check_class(location, found)
    return found


def _flow_of(kind: FlowKind) -> Flow:
    """Find the function `(task, definition, context, store) -> Result` of a kind of flow: they have one name."""
    return cast("Flow", getattr(importlib.import_module(f"optaic.flows.{kind.value}"), kind.value))


def _seed(seed: int) -> None:
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)  # its global generator takes 32 bits


def _complete(result: Result, context: RunContext) -> Result:
    """Add what the flow logged to what it returned; what it returned wins."""
    returned = {artifact.name for artifact in result.artifacts}
    logged = tuple(artifact for artifact in context.artifacts if artifact.name not in returned)
    return replace(
        result,
        metrics={**context.metrics, **result.metrics},
        artifacts=(*result.artifacts, *logged),
        slices={**context.slices, **result.slices},
        read_whole=context.read_whole,
    )


def _sink(send: Callable[[bytes], None], mask: Mask | None) -> Sink:
    def sink(batch: Batch) -> None:
        send(encode_batch(batch if mask is None else _masked(batch, mask)))

    return sink


def _masked(batch: Batch, mask: Mask) -> Batch:
    progress = batch.progress
    if progress is not None and progress[1] is not None:
        progress = (progress[0], mask(progress[1]), progress[2])
    points = [(mask(key)[:MAX_KEY_CHARS], value, step, at) for key, value, step, at in batch.points]
    lines = [(at, level, mask(text), stream) for at, level, text, stream in batch.lines]
    return Batch(progress=progress, points=points, lines=lines)


def _masked_result(result: Result, mask: Mask) -> Result:
    metrics = {mask(key): mask(value) if isinstance(value, str) else value for key, value in result.metrics.items()}
    return replace(result, metrics=metrics)


def _code_of(error: BaseException) -> str:
    if isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}):
        return ReasonCode.STORAGE_ERROR
    if isinstance(error, FlowError | CodeChangedError):
        return error.code
    if isinstance(error, OptaicError) and error.code == ReasonCode.INVALID_EXPRESSION:
        return ReasonCode.INVALID_EXPRESSION
    return ReasonCode.FLOW_ERROR


def _traceback(error: BaseException) -> str:
    """Format a traceback from the first frame that is not the product's own, if there is one."""
    own = str(Path(__file__).parents[1]) + os.sep
    start: TracebackType | None = error.__traceback__
    while start is not None and start.tb_frame.f_code.co_filename.startswith(own):
        start = start.tb_next
    if start is None and isinstance(error, OptaicError):
        return ""  # raised by the product itself: its sentence says it all
    try:
        lines = traceback.format_exception(type(error), error, start or error.__traceback__)
    except Exception:  # noqa: BLE001 - a broken __str__ of user code
        lines = [*traceback.format_tb(start or error.__traceback__), type(error).__name__]
    return "".join(lines).rstrip()


def _listen(connection: socket.socket, context: RunContext) -> None:
    def hear() -> None:
        reader = LineReader()
        while data := connection.recv(4096):
            if CANCEL_LINE.rstrip() in reader.feed(data):
                context.ask_cancel()

    threading.Thread(target=hear, name="optaic-listen", daemon=True).start()


def _redirect(output: int) -> None:
    """Point the standard streams at the supervisor's pipe; lines are written as they end."""
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(empty)
    os.close(output)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout, sys.stderr = _line_writer(1), _line_writer(2)


def _line_writer(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _adopt_environment(environment: Mapping[str, str]) -> None:
    """Take the supervisor's environment of now, not the one in which the fork server was started."""
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # user code may have closed or replaced it
            stream.flush()
    logging.shutdown()


def _unchanged(text: str) -> str:
    return text
