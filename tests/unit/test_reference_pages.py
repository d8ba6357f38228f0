"""The reference pages say what the code has: every standard metric, every function of the language."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from optaic.domain.kind import RunType
from optaic.domain.metric import STANDARD_METRICS
from optaic.quant.expression import evaluate, parse, to_grid
from optaic.quant.expression.functions import CATALOGUE
from optaic.quant.expression.signature import Function, Shape
from optaic.quant.labels import Transform
from optaic.quant.panel import Panel, total_return_prices

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def section(page: str, title: str) -> str:
    """Give what stands below a title, up to the next of the same level."""
    text = (REFERENCE / page).read_text()
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {title}"
    return found[1]


@pytest.mark.parametrize("run_type", STANDARD_METRICS, ids=str)
def test_every_standard_metric_is_defined_in_the_section_of_its_type_of_run(run_type: RunType) -> None:
    named = set(re.findall(r"`(\w+)`", section("metrics.md", str(run_type))))
    assert {metric.name for metric in STANDARD_METRICS[run_type]} <= named


def test_every_transform_of_labels_is_defined() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", section("metrics.md", "Labels"), re.MULTILINE))
    assert named == set(Transform)


def row(function: Function) -> str:
    """Write what the page must say of a function: the words of the catalogue."""
    parts = [f"`{function.usage}`", function.meaning]
    if function.shape is Shape.TIME:
        parts.append(function.window)
    return "| " + " | ".join([*parts, function.nulls, f"`{function.example}`"]) + " |"


@pytest.mark.parametrize("shape", Shape, ids=str)
def test_every_function_stands_in_the_page_of_expressions_in_the_words_of_the_catalogue(shape: Shape) -> None:
    title = {
        Shape.ELEMENT: "Functions of each cell",
        Shape.TIME: "Functions along time",
        Shape.CROSS_SECTION: "Functions across symbols",
        Shape.GROUP: "Functions within groups",
    }[shape]
    rows = [line for line in section("expressions.md", title).splitlines() if line.startswith("| `")]
    assert rows == [row(function) for function in CATALOGUE.values() if function.shape is shape]


def test_the_adjustment_that_the_page_writes_out_is_the_total_return() -> None:
    text = (REFERENCE / "expressions.md").read_text()
    found = re.search(r"`(TS_PRODUCT\(\(close.*?)`", text)
    assert found
    chance = np.random.default_rng(5)
    dates = np.busday_offset(np.datetime64("2024-01-01"), np.arange(60)).astype("datetime64[D]")
    columns = {
        "close": 50 * np.exp(np.cumsum(chance.normal(0, 0.02, 60))),
        "split": np.where(chance.random(60) < 0.1, 2.0, np.nan),
        "dividend": np.where(chance.random(60) < 0.1, 0.5, np.nan),
    }
    days = pl.Series("date", dates).cast(pl.Date)
    inputs = {
        name: pl.DataFrame({"date": days, "symbol": "A", name: values}).with_columns(pl.col(name).fill_nan(None))
        for name, values in columns.items()
    }
    given = evaluate(parse(found[1]), to_grid(inputs, days.to_list())).sort("date")["value"].to_numpy()
    close, splits, dividends = (columns[name][:, None] for name in ("close", "split", "dividend"))
    prices = total_return_prices(Panel(dates=dates, close=close, splits=splits, dividends=dividends))[:, 0]
    np.testing.assert_allclose(given[21:], prices[21:] / prices[:-21] - 1, rtol=1e-12)
