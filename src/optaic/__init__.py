"""OptAIC Runs: the run ledger for quantitative research.

The public names, and nothing else; each is loaded when it is first used, so that `import optaic` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optaic.backtesting import Backtest, backtest
    from optaic.client import Ledger, connect
    from optaic.errors import (
        CodeChangedError,
        ConflictError,
        DigestMismatchError,
        DuplicateKeysError,
        EngineError,
        ExpressionError,
        FeaturesChangedError,
        FlowError,
        IdempotencyMismatchError,
        IllegalTransitionError,
        InSampleInputError,
        InvalidInputError,
        InvalidOutputError,
        LeaseLostError,
        LedgerAwayError,
        LedgerError,
        NoOutputError,
        NotFoundError,
        NothingKnownError,
        ObjectExistsError,
        ObjectMissingError,
        OptaicError,
        ProjectFileError,
        RetryableError,
        RunCancelledError,
        SchemaChangedError,
        SecretMissingError,
        SolverFailedError,
        StorageError,
        UntrustedModelError,
        UpstreamNotReadyError,
    )
    from optaic.flows.context import RunContext
    from optaic.flows.definition import pipeline
    from optaic.handle import RunHandle

    __version__: str

__all__ = [
    # what people write
    "backtest",
    "connect",
    "pipeline",
    "RunContext",
    # what they get
    "Backtest",
    "Ledger",
    "RunHandle",
    # what they catch, or raise in a flow of their own
    "OptaicError",
    "InvalidInputError",
    "ProjectFileError",
    "ExpressionError",
    "NotFoundError",
    "ConflictError",
    "IllegalTransitionError",
    "LeaseLostError",
    "IdempotencyMismatchError",
    "CodeChangedError",
    "UpstreamNotReadyError",
    "LedgerError",
    "LedgerAwayError",
    "StorageError",
    "ObjectExistsError",
    "ObjectMissingError",
    "DigestMismatchError",
    "FlowError",
    "NoOutputError",
    "InvalidOutputError",
    "SchemaChangedError",
    "DuplicateKeysError",
    "NothingKnownError",
    "FeaturesChangedError",
    "InSampleInputError",
    "UntrustedModelError",
    "SecretMissingError",
    "RetryableError",
    "RunCancelledError",
    "EngineError",
    "SolverFailedError",
    "__version__",
]

_HOMES = {
    "backtest": "optaic.backtesting",
    "Backtest": "optaic.backtesting",
    "connect": "optaic.client",
    "Ledger": "optaic.client",
    "RunHandle": "optaic.handle",
    "pipeline": "optaic.flows.definition",
    "RunContext": "optaic.flows.context",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            found: object = version("optaic")
        except PackageNotFoundError:  # run from the source tree, not installed
            found = "0+unknown"
    elif name in __all__:
        from importlib import import_module

        found = getattr(import_module(_HOMES.get(name, "optaic.errors")), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
