"""Store what Evidently makes of small samples in tests/data/evidently.json: `python benchmarks/_evidently.py`.

Evidently runs in an environment of its own (.venv-evidently, made by `make bench BENCH=benchmarks/drift.py` from
benchmarks/evidently.lock). The tests compare the stability index with the stored values; samples are stored beside
them, because a generator of random numbers may change. JSON has the shortest text that gives the same number back.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PEER = ROOT / ".venv-evidently" / "bin" / "python"
STORED = ROOT / "tests" / "data" / "evidently.json"

EVIDENTLY = """
import json, sys
import evidently, pandas as pd
from evidently import Report
from evidently.metrics import ValueDrift

for case in json.load(sys.stdin):
    reference = pd.DataFrame({"x": pd.Series(case["reference"], dtype="float64")})
    sample = pd.DataFrame({"x": pd.Series(case["sample"], dtype="float64")})
    done = Report([ValueDrift(column="x", method="psi")]).run(sample, reference).dict()
    print(json.dumps({"version": evidently.__version__, "psi": float(done["metrics"][0]["value"])}))
"""


def make_cases() -> list[dict[str, Any]]:
    """Make samples: unchanged, shifted, wider, with missing values, with few distinct values, and with empty bins."""
    random = np.random.default_rng(17)
    normal = random.normal(size=200)
    pairs = {
        "unchanged": (normal, random.normal(size=150)),
        "shifted by half a deviation": (normal, random.normal(0.5, 1.0, size=150)),
        "wider": (normal, random.normal(0.0, 2.0, size=150)),
        "fat tails, so that bins are empty": (random.standard_t(2, size=300), random.standard_t(2, size=300)),
        "missing values": (np.where(normal > 1, np.nan, normal), np.where(normal < -1, np.nan, normal)),
        "few distinct values": (random.integers(0, 5, 200).astype(float), random.integers(1, 7, 150).astype(float)),
        "constant": (np.full(50, 2.0), np.full(40, 3.0)),
        "twenty-one distinct values": (np.arange(63.0) % 21, np.arange(40.0) % 15),
    }
    return [
        {"name": name, "reference": _texted(reference), "sample": _texted(sample)}
        for name, (reference, sample) in pairs.items()
    ]


def _texted(values: Any) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def main() -> None:
    """Ask Evidently, and store what it says."""
    cases = make_cases()
    text = json.dumps(cases)
    command = [PEER, "-W", "ignore", "-c", EVIDENTLY]
    quiet = {**os.environ, "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, env=quiet)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    stored = [{**case, "evidently": answer} for case, answer in zip(cases, answers, strict=True)]
    STORED.write_text(json.dumps(stored, indent=1) + "\n")
    print(f"{len(stored)} cases of Evidently {answers[0]['version']} in {STORED.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
