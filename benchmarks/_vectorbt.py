"""Store what vectorbt makes of small panels in tests/data/vectorbt.json: `python benchmarks/_vectorbt.py`.

vectorbt runs in an environment of its own (.venv-peers, made by `make bench BENCH=benchmarks/simulate.py` from
benchmarks/peers.lock). The tests compare the simulator with the stored values; inputs are stored beside them, because a
generator of random numbers may change. JSON has the shortest text that gives the same number back.
"""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PEER = ROOT / ".venv-peers" / "bin" / "python"
STORED = ROOT / "tests" / "data" / "vectorbt.json"

# Weights are decided in one session and traded in the next, as the simulator does by itself; NaN is no order.
VECTORBT = """
import json, sys
import numpy as np, pandas as pd, vectorbt as vbt

for case in json.load(sys.stdin):
    close = np.array(case["close"], dtype=float)
    size = np.full(close.shape, np.nan)
    decided = np.array(case["decided"][:-1])
    size[1:][decided] = np.array(case["targets"])[:-1][decided]
    index = pd.date_range("2024-01-01", periods=len(close))
    done = vbt.Portfolio.from_orders(
        pd.DataFrame(close, index=index), size=pd.DataFrame(size, index=index), size_type="targetpercent",
        direction="both", fees=case["fees"], init_cash=case["capital"], cash_sharing=True, group_by=True,
        call_seq="auto", freq="D",
    )
    print(json.dumps({
        "version": vbt.__version__, "value": done.value().tolist(), "cash": done.cash().tolist(),
        "shares": done.assets().iloc[-1].tolist(), "fills": int(done.orders.count()),
    }))
"""


def make_cases() -> list[dict[str, Any]]:
    """Make panels of 60 sessions and 6 names; gaps are at most four sessions long.

    vectorbt buys no more than there is cash, the simulator lets cash go below zero: weights leave enough of it.
    """
    random = np.random.default_rng(11)
    cases: list[dict[str, Any]] = []
    for name, gross, fees, options in (
        ("daily, gross 0.99, 10 bps", 0.99, 0.001, {}),
        ("daily, gross 1, no fees", 1.0, 0.0, {}),
        (
            "every fifth session, gaps, a late listing, gross 0.7, 10 bps",
            0.7,
            0.001,
            {"has_gaps": True, "every": 5},
        ),
        ("long and short, gross 0.9, 10 bps", 0.9, 0.001, {"is_long_short": True}),
    ):
        close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, (60, 6)), axis=0))
        if options.get("has_gaps"):
            close[:20, 5] = np.nan
            close[23:27, 0] = close[31, 1] = close[35:38, 2] = np.nan
        targets = random.random(close.shape)
        if options.get("is_long_short"):
            targets -= targets.mean(axis=1, keepdims=True)
        targets *= gross / np.abs(targets).sum(axis=1, keepdims=True)
        cases.append(
            {
                "name": name,
                "capital": 1e6,
                "fees": fees,
                "close": [[None if math.isnan(price) else price for price in row] for row in close.tolist()],
                "targets": targets.tolist(),
                "decided": [t % options.get("every", 1) == 0 for t in range(len(close))],
            }
        )
    return cases


def main() -> None:
    cases = make_cases()
    result = subprocess.run(
        [str(PEER), "-c", VECTORBT], input=json.dumps(cases), stdout=subprocess.PIPE, text=True, check=True
    )
    for case, line in zip(cases, result.stdout.splitlines(), strict=True):
        case["vectorbt"] = json.loads(line)
    STORED.parent.mkdir(exist_ok=True)
    STORED.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(f"wrote {STORED.relative_to(ROOT)}: {len(cases)} cases, vectorbt {cases[0]['vectorbt']['version']}")


if __name__ == "__main__":
    main()
