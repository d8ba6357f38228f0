"""The environment variables of the processes of a run."""

from __future__ import annotations

import os
from pathlib import Path

from optaic.engines.kernel import MARK_VARIABLE
from optaic.engines.messages import RunSpec


def run_environment(spec: RunSpec) -> dict[str, str]:
    """Join the supervisor's variables as they are now, the run's own, and the mark of the attempt.

    Returns
    -------
    dict of str
        Without variables that are not text (bytes that are not UTF-8).
    """
    merged = {**os.environ, **spec.environment, MARK_VARIABLE: spec.mark}
    return {name: value for name, value in merged.items() if _is_text(name + value)}


def server_environment() -> dict[str, str]:
    """Give the variables of the fork server.

    Returns
    -------
    dict of str
        With the folder in which this process found the product, so that the server finds the same one. Hashes of
        strings are the same in every process, so that a flow that iterates over a set is reproducible. Polars collects
        with its in-memory engine: the last bits of a sum of its streaming engine change from call to call, which a
        refresh would take for revisions. What the product reads itself, and does not sum, is streamed, which is faster.
        Who sets POLARS_ENGINE_AFFINITY has decided otherwise.
    """
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(one for one in (os.environ.get("PYTHONPATH"), root) if one)
    return {"POLARS_ENGINE_AFFINITY": "in-memory", **os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8 stand in it as surrogates
        return False
    return True
