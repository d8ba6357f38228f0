"""The report of a backtest says what was read, what was allowed, and what it is measured against."""

from __future__ import annotations

import datetime as dt
import io
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from optaic.domain.kind import FlowKind
from optaic.flows.backtest import backtest
from optaic.flows.calendar import sessions
from optaic.flows.context import RunContext
from optaic.flows.task import PinnedInput
from optaic.procedures.simulator import simulate
from optaic.storage.objects import ObjectStore, open_store
from tests.contexts import Told
from tests.refreshing import Dataset

FIRST, LAST = dt.date(2024, 1, 2), dt.date(2024, 6, 28)
DAYS = sessions(FIRST, LAST, "XNYS")


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What came out of a backtest: its metrics, the words of its report, and its log."""

    metrics: Mapping[str, Any]
    words: list[str]
    lines: list[tuple[str, str, str]]
    returns: npt.NDArray[np.float64]

    def after(self, word: str) -> str:
        """Give the words that follow others in the report."""
        return self.words[self.words.index(word) + 1]


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


class Bench:
    """Backtests of two names through all of the flow, in this process."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.inputs: dict[str, PinnedInput] = {}
        self.pins = 0
        closes = np.random.default_rng(4).normal(0.001, 0.02, (len(DAYS), 2))
        self.pin("prices", _rows("close", 100.0 * np.cumprod(1.0 + closes, axis=0)))
        self.pin("signal", _rows("value", np.tile([2.0, 1.0], (len(DAYS), 1))))

    def pin(self, role: str, rows: pl.DataFrame) -> None:
        """Publish rows that are known at their close, and have them read in a role."""
        found = Dataset(self.store, known_at={"lag": "close"})
        self.pins += 1
        found.runs = 10 * self.pins
        found.refresh(rows)
        assert found.current is not None
        self.inputs[role] = PinnedInput(role=role, instance=f"my_{role}", version=found.current)

    def run(self, **params: Any) -> Ran:
        told = Told()
        params = {"adjusted": True, "view": "replay", "rebalance": "monthly", "top": 0.5, **params}
        task = replace(
            Dataset(self.store).task(),
            run_id=uuid.uuid4(),
            instance="mine",
            flow_kind=FlowKind.BACKTEST,
            params=params,
            inputs=tuple(self.inputs.values()),
        )
        context = RunContext(task, store=self.store, sink=told)
        try:
            done = backtest(task, simulate, context, self.store)
        finally:
            context.close()
        files = {item.name: self.store.get(item.stored) for item in done.artifacts}
        words = _Words()
        words.feed(files["report.html"].decode())
        returns = pl.read_parquet(io.BytesIO(files["returns.parquet"]))["return"].to_numpy()
        return Ran(metrics=done.metrics, words=words.words, lines=told.lines, returns=returns)


def _rows(name: str, values: Any) -> pl.DataFrame:
    keys = {"date": [day for day in DAYS for _ in "AB"], "symbol": ["A", "B"] * len(DAYS)}
    return pl.DataFrame({**keys, name: np.asarray(values).ravel()})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(open_store(tmp_path.as_uri()))


@pytest.mark.parametrize("view", ["replay", "latest"])
def test_a_backtest_that_used_in_sample_rows_says_so_in_its_report_metrics_and_log(bench: Bench, view: str) -> None:
    seen = pl.when(pl.col("date") < dt.date(2024, 3, 15)).then(pl.lit(dt.date(2024, 3, 15))).otherwise(pl.lit(FIRST))
    rows = _rows("prediction", np.tile([2.0, 1.0], (len(DAYS), 1))).with_columns(label_end=seen)
    bench.pin("signal", rows)
    done = bench.run(allow_in_sample=True, view=view)
    # Two months' ends lie before the middle of March: two names each.
    assert done.metrics["in_sample_rows"] == 4
    assert "in-sample" in done.words, "a chip"
    assert any(word.startswith("in_sample: 4 rows of predictions were used") for word in done.words), "a warning"
    assert done.after("Assumptions") == "in-sample:", "first among them"
    [(level, text, _)] = [line for line in done.lines if "in-sample" in line[1]]
    assert (level, text.split(",")[0]) == ("WARNING", "4 rows of my_signal are in-sample")


def test_in_sample_rows_that_were_allowed_and_not_there_are_no_label(bench: Bench) -> None:
    done = bench.run(allow_in_sample=True)
    assert done.metrics["in_sample_rows"] == 0
    assert not any("in-sample" in text or "in_sample" in text for text in done.words)
    assert not any("in-sample" in text for _, text, _ in done.lines)


def test_a_benchmark_beside_a_backtest_is_measured_in_excess_of_the_same_cash(bench: Bench) -> None:
    closes = 50.0 * np.cumprod(1.0 + np.random.default_rng(9).normal(0.001, 0.01, len(DAYS)))
    bench.pin("benchmark", pl.DataFrame({"date": DAYS, "symbol": "X", "close": closes}))
    bench.pin("cash", pl.DataFrame({"date": DAYS[:1], "symbol": "USD", "rate": [0.05]}))
    done = bench.run()
    returns = closes[1:] / closes[:-1] - 1.0
    days = np.diff(np.array(DAYS, dtype="datetime64[D]")).astype(float)
    excess = returns - 0.05 * days / 360.0
    ratio = np.sqrt(252) * excess.mean() / excess.std(ddof=1)
    compared = done.words[done.words.index("Compared") : done.words.index("Monthly returns")]
    row = compared[compared.index("my_benchmark[close] (dividends not stated)") :]
    assert row[3] == f"{ratio:.2f}" != f"{np.sqrt(252) * returns.mean() / returns.std(ddof=1):.2f}"
    assert not any("risk_free" in word for word in compared)
    ours = done.returns - 0.05 * days / 360.0
    slope = np.cov(ours, excess)[0, 1] / excess.var(ddof=1)
    assert done.metrics["beta"] == pytest.approx(slope, rel=1e-9)
    assert done.metrics["alpha"] == pytest.approx(252 * (ours.mean() - slope * excess.mean()), rel=1e-9)


def test_the_report_says_whose_members_are_bought(bench: Bench) -> None:
    assert bench.run().after("universe:").startswith("none declared")
    bench.pin("universe", pl.DataFrame({"date": DAYS[:1] * 2, "symbol": ["A", "B"], "member": True}))
    assert bench.run().after("universe:") == "only members of my_universe are bought, as was known at each decision"
    assert bench.run(view="latest").after("universe:").endswith("as the data are now")
    # Weights are nobody's selection: a universe says whose equal weight they are measured against.
    del bench.inputs["signal"]
    bench.pin("weights", pl.DataFrame({"date": DAYS[5:6], "symbol": "A", "weight": 1.0}))
    assert bench.run().after("universe:").endswith("are the benchmark; weights are held as given")


@pytest.mark.parametrize(
    ("kind", "said"),
    [("price", "price return"), ("total_return", "total return"), (None, "dividends not stated")],
)
def test_a_benchmark_is_named_and_says_whether_it_is_with_dividends(bench: Bench, kind: str | None, said: str) -> None:
    assert bench.run().metrics["benchmark"] == "equal weight of the universe"
    bench.pin("benchmark", pl.DataFrame({"date": DAYS, "symbol": "X", "close": 10.0}))
    done = bench.run(benchmark=kind)
    assert done.metrics["benchmark"] == f"my_benchmark[close] ({said})"
    assert done.after("benchmark:") == f"my_benchmark[close] ({said})"
