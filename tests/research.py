"""What tests of research share: a project with random prices, signals, previews and backtests."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from optaic import bootstrap
from optaic.client import Ledger
from tests.processes import write_project

SOURCES = '''
"""Random prices: 30 names, 500 weekdays from 2021-01-04 on; what files beside this say is added or corrected."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl


def panel(days=500):
    sessions = np.busday_offset("2021-01-04", np.arange(days))
    moves = np.random.default_rng(7).normal(0.0005, 0.02, (1000, 30))[:days]
    return sessions, 100 * np.cumprod(1 + moves, axis=0)


def long(sessions, values, name):
    names = [f"S{number:02d}" for number in range(values.shape[1])]
    keys = {"date": np.repeat(sessions, len(names)), "symbol": names * len(sessions)}
    frame = pl.DataFrame({**keys, name: values.ravel()})
    return frame.with_columns(pl.col("date").cast(pl.Date)).filter(pl.col(name).is_finite())


def prices(ctx):
    path = Path("days")
    sessions, values = panel(int(path.read_text()) if path.exists() else 500)
    correction = Path("correction")
    if correction.exists():
        values[int(correction.read_text()), 0] *= 1.01
    return long(sessions, values, "close")


def tomorrow(ctx):
    """A signal that knows the return of the next session."""
    sessions, values = panel()
    ahead = np.full_like(values, np.nan)
    ahead[:-1] = values[1:] / values[:-1] - 1
    return long(sessions, ahead, "value")


def halves(ctx):
    """Weights: half in each of two names, decided twice."""
    days = [dt.date(2021, 3, 31), dt.date(2021, 9, 30)]
    return pl.DataFrame({"date": [days[0]] * 2 + [days[1]] * 2, "symbol": ["S00", "S01", "S02", "S03"], "weight": 0.5})


def members(ctx):
    """A universe: the first ten names."""
    frame = ctx.input("close").frame().select("date", "symbol")
    return frame.with_columns(member=pl.col("symbol") < "S10")


def market(ctx):
    frame = ctx.input("close").frame()
    return frame.filter(pl.col("symbol") == "S29").select("date", "symbol", "close")


def cash(ctx):
    return pl.DataFrame({"date": [dt.date(2020, 12, 31)], "symbol": ["USD"], "rate": [0.036]})


def nothing(ctx):
    return None


def two_values(ctx):
    return ctx.input("close").frame().select("date", "symbol", a="close", b="close")
'''

INSTANCES = """
  prices: {kind: dataset, definition: "sources:prices", known_at: {lag: "close + 2h"}}
  momentum:
    kind: dataset
    expression: "CS_ZSCORE(close / TS_REF(close, {n}) - 1)"
    params: {n: 20}
    inputs: {close: "prices[close]"}
  look:
    kind: experiment
    expression: "CS_RANK(-TS_DELTA(close, 5))"
    inputs: {close: "prices[close]", prices: prices}
  backtest:
    kind: backtest
    inputs: {signal: momentum, prices: prices}
    config: {start: 2021-02-01, end: 2022-06-30, rebalance: monthly, top: 0.2, adjusted: true, calendar: weekdays}
"""


class Research:
    """A project whose runs execute in processes of their own."""

    def __init__(self, root: Path, database_url: str) -> None:
        self.root = write_project(root)
        (root / "sources.py").write_text(SOURCES)
        (root / "optaic.yaml").write_text("project: research\n")
        variables = {"OPTAIC_DATABASE_URL": database_url}
        self.ledger = Ledger(bootstrap.open_runtime(bootstrap.locate(root, variables)))

    def declare(self, text: str = INSTANCES) -> None:
        """Write the instances of the project file, and apply it."""
        (self.root / "optaic.yaml").write_text(f"project: research\ninstances:{text}")
        self.ledger.apply()

    def freshness(self) -> dict[str, str]:
        """Give the freshness of every instance."""
        return {item["target"]: item["freshness"] for item in self.ledger.status()}


@contextmanager
def open_research(root: Path, database_url: str) -> Generator[Research]:
    """Make a project for the length of a block."""
    project = Research(root, database_url)
    try:
        yield project
    finally:
        project.ledger.close()
