"""What passes between a supervisor and the process of a run: JSON, one document a line.

Never pickle: what a flow sends is data, and reading it must not execute anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, cast

from optaic.domain.text import clean_text
from optaic.errors import EngineError
from optaic.flows.report import (
    LEVELS,
    STREAMS,
    Batch,
    LineRow,
    LogLine,
    MetricPoint,
    PointRow,
    Progress,
    ProgressRow,
)
from optaic.flows.task import Original, Result, Task

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Everything that the process of a run is told.

    Attributes
    ----------
    task
        What to execute.
    store_url
        The object store that it reads inputs from and writes outputs to.
    project_root
        The folder of the project; becomes the working directory. None for a task whose code is installed.
    environment
        Variables to set over those of the supervisor.
    retry_on
        Names of exception classes that mean "try again"; a subclass counts too.
    original
        What a reproduction is compared with; None for all other runs.
    """

    task: Task
    store_url: str
    project_root: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    retry_on: tuple[str, ...] = ()
    original: Original | None = None

    @property
    def mark(self) -> str:
        """The text `<run id>:<attempt>`, by which processes of this attempt are recognised."""
        return f"{self.task.run_id}:{self.task.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The flow returned. Its process is still alive: only `Exited` says that it is not.

    Attributes
    ----------
    result
        What it returned, with the artifacts and the last values of the metrics that it logged.
    """

    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The flow raised. Its process is still alive: only `Exited` says that it is not.

    Attributes
    ----------
    code
        The reason code.
    message
        One sentence: `ValueError: no price for 2024-01-02`.
    next_step
        What to do about it.
    traceback
        The whole traceback, several lines. It was sent as a log line too, so a supervisor need not log it again.
    retryable
        Whether the flow's retry policy, or the flow itself, says that another attempt may help.
    exception_type
        The class, as `module.Name`; None if nothing was raised.
    """

    code: str
    message: str
    next_step: str
    traceback: str = ""
    retryable: bool = False
    exception_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """Every process of the run is dead: the last message, always sent, exactly once.

    Attributes
    ----------
    exit_code
        Of the flow's process; None if it was killed or never started.
    signal
        The number of the signal that ended it; None if it exited by itself or never started.
    detail
        A sentence when the end was not an ordinary one (could not be started, its guardian was killed); else empty.
    started
        Whether the flow's process was ever started.
    """

    exit_code: int | None
    signal: int | None
    detail: str = ""
    started: bool = True


Message = Progress | MetricPoint | LogLine | Finished | Failed | Exited
"""What `RunProcess.receive` returns. At most one of `Finished` and `Failed`, and `Exited` last."""

CANCEL_LINE = b'["cancel"]\n'
"""What a supervisor sends down the channel to ask the flow to stop."""


MAX_KEY_CHARS = 200
"""The longest name of a metric."""

_MAX_STEP = 2**63 - 1
_LAST_SECOND = 253_402_300_799
"""The last second of the year 9999, after which there is no datetime."""


@cache
def _spec_adapter() -> TypeAdapter[RunSpec]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunSpec)


@cache
def _result_adapter() -> TypeAdapter[Result]:
    from pydantic import TypeAdapter

    return TypeAdapter(Result)


@cache
def _failed_adapter() -> TypeAdapter[Failed]:
    from pydantic import TypeAdapter

    return TypeAdapter(Failed)


def _line(document: object) -> bytes:
    from pydantic_core import to_json

    # Seven times faster than the standard library's encoder; NaN is a legal metric value, so it is kept as a constant.
    return to_json(document, inf_nan_mode="constants") + b"\n"


def warm_codec() -> None:
    """Build the validators now, so that processes forked from this one need not."""
    _spec_adapter()
    _result_adapter()
    _failed_adapter()


def encode_spec(spec: RunSpec) -> bytes:
    """Write a specification as one line of JSON."""
    return _line(_spec_adapter().dump_python(spec))


def decode_spec(data: bytes) -> RunSpec:
    """Read what `encode_spec` wrote.

    Raises
    ------
    EngineError
        If the bytes are not a specification.
    """
    from pydantic import ValidationError

    try:
        return _spec_adapter().validate_json(data)
    except ValidationError as error:
        raise EngineError(f"the specification of a run cannot be read: {error}") from error


def encode_batch(batch: Batch) -> bytes:
    """Write a batch of reports as one line of JSON; characters that cannot be encoded are replaced."""
    from pydantic_core import PydanticSerializationError

    try:
        return _line(("reports", batch.progress, batch.points, batch.lines))
    except PydanticSerializationError:  # half of a surrogate pair, which a log line may have
        progress = batch.progress
        if progress is not None and progress[1] is not None:
            progress = (progress[0], clean_text(progress[1]), progress[2])
        lines = [(at, level, clean_text(text), stream) for at, level, text, stream in batch.lines]
        return _line(("reports", progress, batch.points, lines))


def encode_end(end: Finished | Failed) -> bytes:
    """Write how a flow ended as one line of JSON."""
    if isinstance(end, Finished):
        return _line(("finished", _result_adapter().dump_python(end.result)))
    return _line(("failed", _failed_adapter().dump_python(end)))


def decode_line(line: bytes) -> list[Message]:
    """Read one line that `encode_batch` or `encode_end` wrote.

    Parameters
    ----------
    line
        With or without its line end.

    Returns
    -------
    list of Message
        The reports of a batch, or the one message of an end.

    Raises
    ------
    EngineError
        If the line is not one of those, or a row of it is not what `optaic.flows.report` says it is: the process runs
        foreign code, which may write to the channel itself.
    """
    from pydantic import ValidationError
    from pydantic_core import from_json

    try:
        document = from_json(line)
        match document:
            case ["reports", progress, points, lines]:
                batch = Batch(
                    progress=None if progress is None else _progress_row(progress),
                    points=[_point_row(row) for row in cast("list[object]", points)],
                    lines=[_line_row(row) for row in cast("list[object]", lines)],
                )
                return list[Message](batch.reports())
            case ["finished", result]:
                return [Finished(result=_result_adapter().validate_python(result))]
            case ["failed", failed]:
                return [_failed_adapter().validate_python(failed)]
            case _:
                raise EngineError(f"a run's process sent something unknown: {line[:80]!r}")
    except (ValidationError, ValueError, TypeError, OverflowError) as error:
        raise EngineError(f"a run's process sent a line that cannot be read: {error}") from error


def _progress_row(row: object) -> ProgressRow:
    match row:
        case [int() | float() as pct, str() | None as note, int() | float() as at]:
            if _is_number(pct) and 0 <= pct <= 100 and _is_instant(at):
                return float(pct), note, at
        case _:
            pass
    raise ValueError(f"{_shown(row)} is no progress")


def _point_row(row: object) -> PointRow:
    match row:
        case [str() as key, int() | float() as value, int() | None as step, int() | float() as at]:
            value = float(value) if _is_number(value) else math.inf
            if (
                1 <= len(key) <= MAX_KEY_CHARS
                and not math.isinf(value)
                and (step is None or (_is_number(step) and -_MAX_STEP - 1 <= step <= _MAX_STEP))
                and _is_instant(at)
            ):
                return key, value, step, at
        case _:
            pass
    raise ValueError(f"{_shown(row)} is no metric point")


def _line_row(row: object) -> LineRow:
    match row:
        case [int() | float() as at, str() as level, str() as text, str() as stream]:
            if level in LEVELS and stream in STREAMS and _is_instant(at):
                return at, level, text, stream
        case _:
            pass
    raise ValueError(f"{_shown(row)} is no log line")


def _is_number(value: float) -> bool:
    return value is not True and value is not False


def _is_instant(at: float) -> bool:
    return _is_number(at) and 0 <= at <= _LAST_SECOND  # NaN is not


def _shown(row: object) -> str:
    return repr(row)[:80]
