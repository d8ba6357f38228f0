"""What tracking costs a fit of about a second, against the same fit untracked.

A regression by stochastic gradient descent, epoch by epoch, as such programs are written: tracked, each epoch logs its
loss and its progress; at the end there are 10 metrics, the fitted coefficients as a table, and a line of log. Blocks
with and without tracking take turns in one process, each with as many epochs; the figure is the median over blocks of
the time of the tracked fit over that of the fit before it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import closing
from pathlib import Path

import _ledgers
import numpy as np
import polars as pl
from sklearn.linear_model import SGDRegressor

from optaic.bootstrap import open_runtime
from optaic.client import Ledger
from optaic.settings import Settings
from optaic.tracking import Tracked

ROWS, FEATURES = 20_000, 20
GOAL = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=15)
    given = parser.parse_args()
    generator = np.random.default_rng(0)
    features = generator.normal(size=(ROWS, FEATURES))
    target = features @ generator.normal(size=FEATURES) + generator.normal(size=ROWS)
    _fit(features, target, 3, None)  # loads what is loaded at the first use
    began = time.perf_counter()
    _fit(features, target, 10, None)
    epochs = max(int(10 / (time.perf_counter() - began)), 1)
    _ledgers.say_conditions(f"a fit of {epochs} epochs: medians of {given.blocks} blocks; goal {GOAL:.0%}")
    with _ledgers.servers() as servers, _ledgers.temporary_folder() as folder:
        for name, databases in servers.items():
            settings = Settings(
                project_root=folder,
                database_url=_ledgers.migrated(databases, "fit"),
                storage_url=str(Path(folder) / name / "objects"),
            )
            with closing(Ledger(open_runtime(settings))) as ledger:
                plain, slower = list[float](), list[float]()
                for number in range(given.blocks + 1):
                    began = time.perf_counter()
                    _fit(features, target, epochs, None)
                    without = time.perf_counter() - began
                    began = time.perf_counter()
                    with ledger.track("fit", params={"epochs": epochs, "alpha": 1e-4}, seed=number) as run:
                        _fit(features, target, epochs, run)
                    if number:  # the first warms connections
                        plain.append(without)
                        slower.append((time.perf_counter() - began) / without - 1)
            print(
                f"  {name:12} {statistics.median(plain):.2f} s untracked; tracked it takes "
                f"{statistics.median(slower):+.1%}, from {min(slower):+.1%} to {max(slower):+.1%}"
            )


def _fit(features: np.ndarray, target: np.ndarray, epochs: int, run: Tracked | None) -> None:
    model, loss = SGDRegressor(random_state=0), float("nan")
    for epoch in range(epochs):
        model.partial_fit(features, target)
        loss = float(np.mean((model.predict(features) - target) ** 2))
        if run is not None:
            run.log_metric("loss", loss, epoch)
            run.progress(100 * (epoch + 1) / epochs)
    if run is not None:
        for number in range(10):
            run.log_metric(f"metric_{number}", loss / (number + 1))
        run.log.info("%d epochs, loss %.6f", epochs, loss)
        run.log_frame("coefficients", pl.DataFrame({"feature": range(FEATURES), "coefficient": model.coef_}))


if __name__ == "__main__":
    main()
