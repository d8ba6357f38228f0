"""Random panels as expressions meet them: gaps, ties, late listings, names that end, members that come and go."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl

from optaic.quant.expression import evaluate, parse
from optaic.quant.expression.tree import Expression, Kind
from tests.expression_reference import Panel

KINDS = {
    **dict.fromkeys(("open", "high", "low", "close", "volume", "score", "noise", "size"), Kind.NUMBER),
    "member": Kind.CONDITION,
    "sector": Kind.TEXT,
    "country": Kind.TEXT,
}


def make_panel(seed: int, *, sessions: int = 32, symbols: int = 9) -> tuple[pl.DataFrame, Panel]:
    """Make the same panel as a grid and as matrices of sessions x symbols."""
    rng = np.random.default_rng(seed)
    shape = (sessions, symbols)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.03, shape), axis=0)) * 10.0 ** rng.integers(-2, 4, symbols)
    inputs: dict[str, Any] = {
        "open": close * np.exp(rng.normal(0, 0.01, shape)),
        "high": close * np.exp(np.abs(rng.normal(0, 0.02, shape))),
        "low": close * np.exp(-np.abs(rng.normal(0, 0.02, shape))),
        "close": close,
        "volume": rng.lognormal(13, 1.5, shape),
        # Whole numbers with many ties, and constant stretches.
        "score": rng.integers(-2, 3, shape).astype(float),
        "noise": rng.normal(size=shape),
        "size": rng.lognormal(8, 1, shape),
    }
    inputs["score"][10:25, 0] = 1.0
    inputs["score"][5, :] = 2.0
    inputs["close"][sessions // 2 :, 1] = inputs["close"][sessions // 2, 1]
    for cells in inputs.values():
        cells[rng.random(shape) < 0.03] = np.nan
    inputs["volume"][rng.random(shape) < 0.02] = 0.0
    inputs["noise"][3, 3] = np.inf
    for cells in inputs.values():
        cells[: sessions // 3, 2] = np.nan
        cells[sessions // 2 :, 3] = np.nan
        cells[:, symbols - 1][rng.random(sessions) < 0.5] = np.nan
    # A session with one value, and one with none.
    for cells in inputs.values():
        cells[7, 1:] = np.nan
        cells[8, :] = np.nan
    sector = rng.choice(np.array(["Energy", "Tech", "Utilities"], dtype=object), shape)
    sector[rng.random(shape) < 0.05] = None
    country = np.tile(rng.choice(np.array(["DE", "US"], dtype=object), symbols), (sessions, 1))
    member = rng.random(shape) < 0.85
    inputs |= {"sector": sector, "country": country, "member": member.astype(float)}
    first = dt.date(2024, 1, 1)
    columns = {name: _column(name, cells) for name, cells in inputs.items()}
    grid = pl.DataFrame(
        {
            "date": [first + dt.timedelta(days=day) for day in range(sessions)] * symbols,
            "symbol": [f"S{number}" for number in range(symbols) for _ in range(sessions)],
            **columns,
        }
    )
    return grid, Panel(inputs=inputs, members=member)


def _column(name: str, cells: Any) -> pl.Series:
    flat = cells.T.reshape(-1)
    if KINDS[name] is Kind.TEXT:
        return pl.Series(name, flat.tolist(), dtype=pl.String)
    if KINDS[name] is Kind.CONDITION:
        return pl.Series(name, flat == 1)
    return pl.Series(name, flat, nan_to_null=True)


def evaluated(text: str, grid: pl.DataFrame, *, members: str | None = "member") -> Any:
    """Evaluate an expression, as a matrix of sessions x symbols with NaN for null."""
    result = evaluate(text, grid, members=members, allow_lead=True)
    symbols = grid["symbol"].n_unique()
    return result["value"].cast(pl.Float64).to_numpy().reshape(symbols, -1).T


def parsed(text: str) -> Expression:
    """Parse an expression over the panel's inputs."""
    return parse(text, names=KINDS, allow_lead=True)


def assert_same(found: Any, expected: Any, *, relative: float = 1e-9, of_largest: bool = False) -> None:
    """Refuse cells that exist in one alone, or that differ by more than a share of themselves.

    What is next to nothing is compared with 1, or with the largest cell: residuals are, whose rounding is that of the
    cells that were regressed.
    """
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    largest = float(np.nanmax(np.abs(expected), initial=0.0))
    scale = largest * 1e-2 if of_largest else min(largest, 1.0) * 1e-3
    np.testing.assert_allclose(found, expected, rtol=relative, atol=relative * scale)
