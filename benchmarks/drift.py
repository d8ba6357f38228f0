"""Drift against Evidently: `make bench BENCH=benchmarks/drift.py`. The stability index of 20 columns of 100,000 rows.

Each program is a process of its own, which makes the same two tables, does the work once to warm up, and is then
timed. Evidently runs its drift report (`DataDriftPreset` by `psi`), and one with nothing but a `ValueDrift` for each
column. Ours is timed with the same index (by the rule of Sturges, equal to 1e-12), and as a monitor measures: the index
on reference deciles, and Kolmogorov and Smirnov's distance with its probability. Times are CPU seconds of the process,
and of the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PEER = ROOT / ".venv-evidently" / "bin" / "python"

COMMON = """
import json, sys, time
import numpy as np

rows, columns, count = (int(one) for one in sys.argv[1:4])
random = np.random.default_rng(23)
reference = random.normal(size=(rows, columns))
sample = random.normal(size=(rows, columns)) + np.linspace(0.0, 0.5, columns)

def measure(name, work):
    work()
    times = []
    for _ in range(count):
        wall, cpu = time.perf_counter(), time.process_time()
        values = work()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    print(json.dumps({"name": name, "times": times, "values": [float(value) for value in values]}))
"""

OPTAIC = (
    COMMON
    + """
from optaic.quant.drift import measure_drift, psi, psi_sturges

measure("sturges", lambda: [psi_sturges(reference[:, one], sample[:, one]) for one in range(columns)])
measure("deciles", lambda: [psi(reference[:, one], sample[:, one]) for one in range(columns)])
measure("deciles and KS", lambda: measure_drift(reference, sample).psi)
"""
)

EVIDENTLY = (
    COMMON
    + """
import pandas as pd
from evidently import Report
from evidently.metrics import ValueDrift
from evidently.presets import DataDriftPreset

names = [f"x{one}" for one in range(columns)]
before, after = (pd.DataFrame(values, columns=names) for values in (reference, sample))

def work(parts):
    done = Report(parts).run(after, before).dict()
    return [metric["value"] for metric in done["metrics"] if not isinstance(metric["value"], dict)]

measure("evidently report", lambda: work([DataDriftPreset(method="psi")]))
measure("evidently values", lambda: work([ValueDrift(column=name, method="psi") for name in names]))
"""
)


def ask(python: Path | str, code: str, *numbers: int) -> list[dict[str, Any]]:
    """Run a program, and give what it says of its times and values."""
    command = [python, "-W", "ignore", "-c", code, *(str(number) for number in numbers)]
    quiet = {**os.environ, "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main() -> None:
    """Time both, and print the ratios of the best times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    found = ask(sys.executable, OPTAIC, given.rows, given.columns, given.repeats)
    found += ask(PEER, EVIDENTLY, given.rows, given.columns, given.repeats)
    best = {one["name"]: tuple(min(column) for column in zip(*one["times"], strict=True)) for one in found}
    values = {one["name"]: one["values"] for one in found}
    theirs = best["evidently report"]
    print(f"{given.rows:,} rows, {given.columns} columns, best of {given.repeats}: CPU seconds, wall seconds")
    for name, (cpu, wall) in best.items():
        print(
            f"  {name:<16} {cpu:8.3f} {wall:8.3f}   {theirs[0] / cpu:5.1f} times as fast as Evidently's report, by CPU"
        )
    differences = [abs(ours - other) for ours, other in zip(values["sturges"], values["evidently values"], strict=True)]
    print(f"  greatest difference of the index by Sturges: {max(differences):.2e}")


if __name__ == "__main__":
    main()
