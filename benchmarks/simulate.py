"""The simulator against vectorbt and bt: `make bench BENCH=benchmarks/simulate.py`. Time when warm, and peak memory.

All names are traded every day, for 10 bps, to random weights with a gross exposure of 0.99. Each program is a process
of its own, which loads the same arrays, makes a small backtest (vectorbt compiles then), and is then timed. Memory is
what the first run needs at its peak beyond what the process had before, and all in all.

The values of vectorbt are compared with ours. With its default order of calls vectorbt buys before it has sold, and
lacks the cash: `auto` is the order that gives the same portfolio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
PEER = ROOT / ".venv-peers" / "bin" / "python"

COMMON = """
import json, sys, time
import numpy as np

def kilobytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

def measure(make, values, count):
    make(close[:60, :40], targets[:60, :40], dates[:60])()
    run = make(close, targets, dates)
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before, times, result = kilobytes("VmRSS"), [], {}
    for _ in range(count):
        started = time.perf_counter()
        done = run()
        times.append(time.perf_counter() - started)
        if not result:
            result = {"extra": (kilobytes("VmHWM") - before) / 1024, "peak": kilobytes("VmHWM") / 1024,
                      "value": np.asarray(values(done)).tolist()}
        del done
    print(json.dumps({"times": times, **result}))

folder, count = sys.argv[1], int(sys.argv[2])
close, targets = np.load(folder + "/close.npy"), np.load(folder + "/targets.npy")
dates = np.load(folder + "/dates.npy")
"""

OPTAIC = (
    COMMON
    + """
sys.path.insert(0, sys.argv[3])
from optaic.quant.options import SimulatorOptions
from optaic.quant.panel import Panel
from optaic.quant.simulate import simulate

def make(close, targets, dates):
    return lambda: simulate(Panel(dates=dates, close=close), targets, options=SimulatorOptions(capital=1e6))

measure(make, lambda done: done.value, count)
"""
)

FRAMES = (
    COMMON
    + """
sys.path.insert(0, sys.argv[3])
import polars as pl
import optaic

def make(close, targets, dates):
    names = [f"S{i:05d}" for i in range(close.shape[1])]
    prices = pl.DataFrame({"date": dates, **dict(zip(names, close.T))})
    weights = pl.DataFrame({"date": dates, **dict(zip(names, targets.T))})
    if sys.argv[4] == "long":
        prices = prices.unpivot(index="date", variable_name="symbol", value_name="close")
        weights = weights.unpivot(index="date", variable_name="symbol", value_name="weight")
    return lambda: optaic.backtest(weights=weights, prices=prices, capital=1e6)

measure(make, lambda done: done.simulation.value, count)
"""
)

VECTORBT = (
    COMMON
    + """
import pandas as pd, vectorbt as vbt

def make(close, targets, dates):
    prices = pd.DataFrame(close, index=pd.DatetimeIndex(dates))
    size = pd.DataFrame(np.vstack([np.full((1, close.shape[1]), np.nan), targets[:-1]]), index=prices.index)
    return lambda: vbt.Portfolio.from_orders(prices, size=size, size_type="targetpercent", fees=0.001, init_cash=1e6,
        cash_sharing=True, group_by=True, call_seq=sys.argv[4], freq="D")

measure(make, lambda done: done.value(), count)
"""
)

# bt trades at the close of the day of the decision: its weights are those of the day before.
BT = (
    COMMON
    + """
import warnings
warnings.simplefilter("ignore")
import pandas as pd, bt

def make(close, targets, dates):
    names = [f"S{i:05d}" for i in range(close.shape[1])]
    prices = pd.DataFrame(close, index=pd.DatetimeIndex(dates), columns=names)
    weights = pd.DataFrame(targets[:-1], index=prices.index[1:], columns=names)
    def run():
        strategy = bt.Strategy("targets", [bt.algos.RunDaily(), bt.algos.WeighTarget(weights), bt.algos.Rebalance()])
        test = bt.Backtest(strategy, prices, initial_capital=1e6, integer_positions=False, progress_bar=False,
                           commissions=lambda quantity, price: abs(quantity) * price * 0.001)
        bt.run(test)
        return test
    return run

measure(make, lambda done: done.strategy.values.to_numpy()[1:], count)
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to be measured."""

    name: str
    python: Path
    code: str
    runs: int
    argument: str = ""


PROGRAMS = {
    3000: [
        Program(name="optaic, arrays", python=Path(sys.executable), code=OPTAIC, runs=5),
        Program(name="optaic.backtest, wide frames", python=Path(sys.executable), code=FRAMES, runs=3, argument="wide"),
        Program(name="optaic.backtest, long frames", python=Path(sys.executable), code=FRAMES, runs=3, argument="long"),
        Program(name="vectorbt, call_seq=auto", python=PEER, code=VECTORBT, runs=3, argument="auto"),
        Program(name="vectorbt, default call_seq", python=PEER, code=VECTORBT, runs=3, argument="default"),
    ],
    500: [
        Program(name="optaic, arrays", python=Path(sys.executable), code=OPTAIC, runs=5),
        Program(name="bt", python=PEER, code=BT, runs=1),
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=2520)
    parser.add_argument("--symbols", type=int, choices=PROGRAMS, help="measure this size alone")
    parser.add_argument("--only", default="", help="measure programs whose name starts so, after optaic's")
    given = parser.parse_args()
    for symbols in [given.symbols] if given.symbols else PROGRAMS:
        print(f"{given.sessions} sessions x {symbols} symbols, load {os.getloadavg()[0]:.1f}")
        with tempfile.TemporaryDirectory() as folder:
            write_arrays(Path(folder), given.sessions, symbols)
            compare([one for one in PROGRAMS[symbols] if one.name.startswith(given.only) or one.code is OPTAIC], folder)


def write_arrays(folder: Path, sessions: int, symbols: int) -> None:
    random = np.random.default_rng(7)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, (sessions, symbols)), axis=0))
    targets = random.random((sessions, symbols))
    targets *= 0.99 / targets.sum(axis=1, keepdims=True)
    np.save(folder / "close.npy", close)
    np.save(folder / "targets.npy", targets)
    days = np.busday_offset(np.datetime64("2010-01-04"), np.arange(sessions), roll="forward")
    np.save(folder / "dates.npy", days)


def compare(programs: list[Program], folder: str) -> None:
    ours, extra, value = float("nan"), float("nan"), np.zeros(0)
    for program in programs:
        if not program.python.exists():
            print(f"  {program.name:30} not measured: {PEER.parent.parent.name} is not there")
            continue
        command = [
            str(program.python),
            "-c",
            program.code,
            folder,
            str(program.runs),
            str(ROOT / "src"),
            program.argument,
        ]
        result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        median = statistics.median(result["times"])
        if program.code is OPTAIC:
            ours, extra, value = median, result["extra"], np.array(result["value"])
        line = f"  {program.name:30} {median:7.2f} s   {result['extra']:6.0f} MB more, {result['peak']:6.0f} MB in all"
        if program.code is not OPTAIC:
            line += f"   ours: {ours / median:.3f} of the time, {extra / max(result['extra'], 1e-9):.2f} of the memory"
        if program.code is not OPTAIC:
            line += f"; values differ by {np.abs(np.array(result['value']) / value - 1).max():.1e}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
