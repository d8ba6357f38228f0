"""Why a run failed, was cancelled or was tried again: a code, a sentence, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """The machine-readable codes; programs may rely on them."""

    WORKER_LOST = "worker_lost"
    """The lease expired: the worker, its host or its connection died."""
    PROCESS_DIED = "process_died"
    """The run's own process ended without an answer (killed, out of memory, crashed in native code)."""
    RELEASED = "released"
    """The worker was shut down and gave the run back; not the run's fault, and not counted against it."""
    TIMED_OUT = "timed_out"
    """Ran longer than its timeout and was killed."""
    CANCELLED = "cancelled"
    """A principal asked for it."""
    OVERTAKEN = "overtaken"
    """While it waited, another run has made its flow of newer inputs, config or code."""
    SUPERSEDED = "superseded"
    """What a trigger had recorded it for was done by another run before it started, or with other code or config."""
    FLOW_ERROR = "flow_error"
    """The flow's code raised."""
    INVALID_EXPRESSION = "invalid_expression"
    """An expression does not fit what it reads; the message says at which place."""
    RETRYABLE_ERROR = "retryable_error"
    """The flow's code raised an error that its retry policy names."""
    NO_OUTPUT = "no_output"
    """The flow did nothing, or an output that it declares does not exist."""
    INVALID_OUTPUT = "invalid_output"
    """The flow returned something that cannot be published."""
    SCHEMA_CHANGED = "schema_changed"
    """The columns or their types are not those of the current version."""
    DUPLICATE_KEYS = "duplicate_keys"
    """The key of the dataset does not identify its rows."""
    NOTHING_KNOWN = "nothing_known"
    """Nothing of an input was known when a decision of the past was taken."""
    IN_SAMPLE_INPUT = "in_sample_input"
    """Predictions are for dates that their fit had seen."""
    FEATURES_CHANGED = "features_changed"
    """A feature of a model is missing, renamed or of another type than it was trained on."""
    UNTRUSTED_MODEL = "untrusted_model"
    """A stored model holds types that are not on the allow-list."""
    SOLVER_FAILED = "solver_failed"
    """An optimisation has no solution, or none that could be believed."""
    CODE_MISMATCH = "code_mismatch"
    """The code on the machine is not the code that the run was submitted with."""
    UPSTREAM_NOT_READY = "upstream_not_ready"
    """An upstream had nothing that could be pinned when the run was claimed."""
    UPSTREAM_FAILED = "upstream_failed"
    """A step of the same plan that this one needed has failed."""
    STORAGE_ERROR = "storage_error"
    """The object store failed; a full disk is this."""
    SECRET_MISSING = "secret_missing"  # noqa: S105 - a reason code, not a secret
    """The config names an environment variable that the worker does not have."""
    ENGINE_ERROR = "engine_error"
    """The run could not be started: its process, or what the ledger holds of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why something ended.

    Attributes
    ----------
    code
        For programs: a `ReasonCode`, or the code of a flow's own error.
    message
        A sentence for a person.
    next_step
        What to do about it: a command or a sentence.
    """

    code: str
    message: str
    next_step: str


def sentence_of(error: Exception) -> str:
    """Say in one line what was raised; of a database's error, what it refused, without the statement and the values."""
    said = str(getattr(error, "orig", None) or error)
    return f"{type(error).__name__}: {said.splitlines()[0] if said else ''}"[:500]
