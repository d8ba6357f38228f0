"""Every error that OptAIC Runs raises on purpose.

::

    OptaicError                       what happened, and `next_step`: what to do about it
    ├── InvalidInputError             the request, a parameter or a config is wrong; nothing was written
    │   ├── ProjectFileError          ... in the project file, with line and column
    │   └── ExpressionError           ... in an expression, with a caret under the place
    ├── NotFoundError                 no such run, instance, flow, version or artifact
    ├── ConflictError                 the request does not fit what the ledger holds now
    │   ├── IllegalTransitionError    the run's status does not allow this change
    │   ├── LeaseLostError            the attempt no longer holds its run
    │   ├── IdempotencyMismatchError  the same key was used for another request
    │   └── CodeChangedError          the code is not the code that was applied
    ├── UpstreamNotReadyError         an upstream is not ready, or has nothing that could be read
    ├── LedgerError                   the database cannot be used, or its schema is another version's
    │   └── LedgerAwayError           ... because it does not answer now
    ├── StorageError                  the object store failed
    │   ├── ObjectExistsError         a key is never overwritten
    │   ├── ObjectMissingError        nothing is stored under the key
    │   └── DigestMismatchError       the bytes read are not the bytes that were written
    ├── FlowError                     raised while a run executes; carries the reason code of its failure
    │   ├── NoOutputError             the flow did nothing, or its declared outputs do not exist
    │   ├── InvalidOutputError        the flow returned something that cannot be published
    │   │   ├── SchemaChangedError    ... because its columns are not those of the current version
    │   │   └── DuplicateKeysError    ... because two of its rows have the same key
    │   ├── NothingKnownError         nothing of an input was known when it was decided on
    │   ├── InSampleInputError        predictions are for dates that their fit had seen
    │   ├── FeaturesChangedError      the features are not those that the model was trained on
    │   ├── UntrustedModelError       a stored model holds types that may not be loaded
    │   ├── SolverFailedError         an optimisation has no solution that could be believed
    │   ├── SecretMissingError        the worker lacks an environment variable that a param names
    │   ├── RetryableError            raised by a flow: try this run again
    │   └── RunCancelledError         raised inside a flow whose run was asked to stop
    └── EngineError                   processes could not be started or supervised
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class OptaicError(Exception):
    """The base of every deliberate error.

    Parameters
    ----------
    message : str
        What happened, naming the run, instance or file that it happened to.
    next_step : str, optional
        What the reader can do about it: a command or a sentence.
    """

    code: ClassVar[str] = "error"
    """The stable, machine-readable name of this kind of error."""

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        if next_step is not None:
            self.add_note(f"next: {next_step}")

    @property
    def sentence(self) -> str:
        """The message, for places that have one line only."""
        return self.message


class InvalidInputError(OptaicError):
    """The request, a parameter or a config is wrong. Nothing was written."""

    code = "invalid_input"


class ProjectFileError(InvalidInputError):
    """The project file is wrong; the message starts with file, line and column (both from 1)."""

    code = "invalid_project_file"

    def __init__(
        self,
        path: str,
        problem: str,
        *,
        line: int | None = None,
        column: int | None = None,
        next_step: str | None = None,
    ) -> None:
        place = ":".join(str(part) for part in (path, line, column) if part is not None)
        super().__init__(f"{place}: {problem}", next_step=next_step)
        self.path = path
        self.line = line
        self.column = column


class ExpressionError(InvalidInputError):
    """An expression is wrong; below the message stands its line, with carets under the place.

    `problem` is the sentence alone; `start` and `end` are offsets into `expression`, as of a slice.
    """

    code = "invalid_expression"

    def __init__(
        self, expression: str, problem: str, *, start: int, end: int | None = None, next_step: str | None = None
    ) -> None:
        end = max(start + 1 if end is None else end, start + 1)
        first = expression.rfind("\n", 0, start) + 1
        last = expression.find("\n", start)
        last = len(expression) if last < 0 else last
        # Of a long line, what is near the place.
        left, right = max(first, start - 60), min(last, max(end, start + 60))
        right = min(right, left + 160)
        shown = "".join(mark if mark.isprintable() else " " for mark in expression[left:right])
        before, after = "..." if left > first else "", "..." if right < last else ""
        carets = "^" * max(1, min(end, right) - start)
        place = " " * (len(before) + start - left) + carets
        super().__init__(f"{problem}\n    {before}{shown}{after}\n    {place}", next_step=next_step)
        self.expression = expression
        self.problem = problem
        self.start = start
        self.end = end

    @property
    def sentence(self) -> str:
        """The problem with its place, in one line: where there is no room for carets."""
        line = self.expression.count("\n", 0, self.start) + 1
        column = self.start - self.expression.rfind("\n", 0, self.start)
        place = f"column {column}" if "\n" not in self.expression.strip() else f"line {line}, column {column}"
        there = " ".join(self.expression[self.start : self.end].split())
        shown = there if len(there) <= 60 else there[:56] + " ..."
        return f"at {place}, {shown!r}: {self.problem}" if shown else f"at {place}: {self.problem}"


class NotFoundError(OptaicError):
    """There is no such run, instance, flow, version, column or artifact in this tenant."""

    code = "not_found"


class ConflictError(OptaicError):
    """The request does not fit what the ledger holds now. Nothing was changed."""

    code = "conflict"


class IllegalTransitionError(ConflictError):
    """The run's status does not allow this change; the ledger is unchanged."""

    code = "illegal_transition"

    def __init__(self, run_id: object, current: str, wanted: str, *, next_step: str | None = None) -> None:
        super().__init__(f"run {run_id} is {current}; it cannot become {wanted}", next_step=next_step)
        self.run_id = run_id
        self.current = current
        self.wanted = wanted


class LeaseLostError(ConflictError):
    """The attempt no longer holds its run, so what it wrote was refused and changed nothing."""

    code = "lease_lost"

    def __init__(self, run_id: object, attempt: int, detail: str) -> None:
        super().__init__(
            f"attempt {attempt} no longer holds run {run_id}: {detail}; nothing was changed",
            next_step=f"look at the run with: optaic show {run_id}",
        )
        self.run_id = run_id
        self.attempt = attempt


class IdempotencyMismatchError(ConflictError):
    """The same idempotency key was used before for a different request."""

    code = "idempotency_mismatch"

    def __init__(self, key: str, run_id: object, *, plan_id: object = None) -> None:
        made = f"run {run_id}" if plan_id is None else f"plan {plan_id}"
        super().__init__(
            f"idempotency key {key!r} belongs to another request ({made})",
            next_step="use a new key for a new request, or repeat the first request unchanged",
        )
        self.key = key


class CodeChangedError(ConflictError):
    """The code of a definition is not the code that was applied."""

    code = "code_mismatch"


class UpstreamNotReadyError(OptaicError):
    """An upstream of the target has nothing that could be read, or is not ready.

    `target` is what cannot run; `blockers` has one item for each such upstream: its `target`, `freshness` and `causes`,
    as JSON.
    """

    code = "upstream_not_ready"

    def __init__(
        self,
        message: str,
        *,
        next_step: str | None = None,
        target: str | None = None,
        blockers: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.target = target
        self.blockers = list(blockers)


class LedgerError(OptaicError):
    """The database cannot be reached, or its schema belongs to another version of the product."""

    code = "ledger_unavailable"


class LedgerAwayError(LedgerError):
    """The database does not answer: it is down, restarts, or the way to it is closed. Trying again may help."""


class StorageError(OptaicError):
    """The object store refused or failed."""

    code = "storage_error"


class ObjectExistsError(StorageError):
    """Something is stored under the key already, and a key is never overwritten."""

    code = "object_exists"


class ObjectMissingError(StorageError):
    """Nothing is stored under the key."""

    code = "object_missing"


class DigestMismatchError(StorageError):
    """The bytes read are not the bytes that were written."""

    code = "digest_mismatch"


class FlowError(OptaicError):
    """Raised while a run executes; `code` becomes the reason code of the failed run."""

    code = "flow_error"


class NoOutputError(FlowError):
    """The flow did nothing, or an output that it declares does not exist."""

    code = "no_output"


class InvalidOutputError(FlowError):
    """The flow returned something that cannot be published: wrong type, schema, keys or dates."""

    code = "invalid_output"


class SchemaChangedError(InvalidOutputError):
    """The columns that the flow returned, or their types, are not those of the dataset's current version."""

    code = "schema_changed"


class DuplicateKeysError(InvalidOutputError):
    """Two rows that the flow returned have the same key, so the key does not identify rows."""

    code = "duplicate_keys"


class NothingKnownError(FlowError):
    """A decision of the past saw nothing of an input, because none of its rows was known by then."""

    code = "nothing_known"


class InSampleInputError(FlowError):
    """Predictions are for dates whose labels their own fit had seen."""

    code = "in_sample_input"


class FeaturesChangedError(FlowError):
    """A feature of a model is missing, renamed or of another type than the one it was trained on."""

    code = "features_changed"


class UntrustedModelError(FlowError):
    """A stored model holds types that are not on the allow-list, so nothing of it was loaded."""

    code = "untrusted_model"


class SolverFailedError(FlowError):
    """An optimisation has no solution that holds: infeasible, inaccurate, or it breaks a constraint."""

    code = "solver_failed"


class SecretMissingError(FlowError):
    """A param names an environment variable that the worker does not have."""

    code = "secret_missing"


class RetryableError(FlowError):
    """Raised by a flow to say that trying again may help; the run's retry policy decides."""

    code = "retryable_error"


class RunCancelledError(FlowError):
    """Raised inside a flow, by `ctx.raise_if_cancelled()`, when its run was asked to stop."""

    code = "cancelled"


class EngineError(OptaicError):
    """A process of a run could not be started or supervised."""

    code = "engine_error"
