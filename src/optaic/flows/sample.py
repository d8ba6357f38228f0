"""The samples that a model is trained on: features as they were known, beside the returns that followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.errors import InvalidInputError
from optaic.flows.context import RunContext
from optaic.flows.decision import decision_times
from optaic.flows.features import PRICES, Features, event_dates, read_features
from optaic.flows.grid import DATE, SYMBOL, Grid, number_column, refuse_prices, to_grid
from optaic.flows.universe import UNIVERSE, is_member, members_by
from optaic.quant.adjust import adjust_prices
from optaic.quant.labels import Transform, forward_returns, transform_labels

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIDDLE = {Transform.CS_RANK: 0.5}
"""Above which label a sample is of class 1, by transform; 0 for the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """All samples of a training, by date and symbol.

    Attributes
    ----------
    sessions : ndarray of shape (n_sessions,), datetime64[D]
        The dates of the prices.
    features
        The rows.
    values : ndarray of shape (n_rows, n_features), float64
        Their features; NaN where one is missing.
    places, names : ndarray of shape (n_rows,), int64
        The session of each row, and its symbol.
    labels : ndarray of shape (n_rows,), float64
        The transformed return that followed; NaN where it is not there, or not yet.
    """

    sessions: npt.NDArray[np.datetime64]
    features: Features
    values: Floats
    places: Ints
    names: Ints
    labels: Floats

    def classes(self, transform: str) -> Floats:
        """Give 1 for labels above the middle of the transform, 0 for others, NaN where there is none."""
        above = (self.labels > MIDDLE.get(Transform(transform), 0.0)).astype(np.float64)
        return np.where(np.isnan(self.labels), np.nan, above)


def read_samples(context: RunContext, target: Mapping[str, Any], *, calendar: str, keeps_gaps: bool) -> Samples:
    """Read the inputs of a training, and compute its labels.

    Parameters
    ----------
    context
        Of the run; `prices` is an input of it.
    target
        `horizon`, `lag`, `transform`, and perhaps `delisting_return`, a fraction.
    calendar
        Whose next open ends what a feature may know.
    keeps_gaps
        Whether rows may miss some of their features.

    Raises
    ------
    InvalidInputError
        If an input has not the columns that are needed, or no date has features and prices.
    NothingKnownError
        If no feature was known in time.
    """
    prices = read_prices(context)
    labels = forward_returns(
        prices.values,
        horizon=target["horizon"],
        lag=target["lag"],
        delisting_returns=np.full(len(prices.symbols), float(target.get("delisting_return") or 0.0)),
    )
    context.progress(5, "prices are read")
    sessions = pl.Series(DATE, prices.dates).cast(pl.Date)
    dates = event_dates(context)
    dates = dates.filter(dates.is_in(sessions.implode()))
    if not len(dates):
        raise InvalidInputError(
            f"the features of {context.instance} have no date in common with its prices",
            next_step="look at their dates with: optaic status",
        )
    features = read_features(context, dates, calendar=calendar, keeps_gaps=keeps_gaps)
    frame = features.frame
    places = np.searchsorted(prices.dates, frame[DATE].to_numpy().astype("datetime64[D]"))
    known = pl.DataFrame({SYMBOL: list(prices.symbols), "place": np.arange(len(prices.symbols))})
    found = frame.select(SYMBOL).join(known, on=SYMBOL, how="left", maintain_order="left")["place"]
    names = found.fill_null(-1).to_numpy().astype(np.int64)
    members: npt.NDArray[np.bool_] | None = None
    if UNIVERSE in context.inputs:
        # All members at t, also those without a feature: what a label is does not depend on the features.
        members = is_member(members_by(context, decision_times(dates, calendar)), prices.dates, prices.symbols)
    transformed = transform_labels(
        labels, target["transform"], members=members, prices=prices.values, horizon=target["horizon"]
    )
    return Samples(
        sessions=prices.dates,
        features=features,
        values=features.values(),
        places=places,
        names=names,
        labels=np.where(names >= 0, transformed[places, names], np.nan),
    )


def read_prices(context: RunContext) -> Grid:
    """Read the prices that labels are made of, adjusted if they come with dividends or splits.

    Raises
    ------
    InvalidInputError
        If it is not said which column is the price, or a price is zero, negative or infinite.
    """
    source = context.input(PRICES)
    column = number_column(source, "close")
    frame = source.frame()
    refuse_prices(frame, column)
    grid = to_grid(frame, column)
    events = {
        name: to_grid(frame, name, dates=grid.dates, symbols=grid.symbols).values
        for name in ("dividend", "split")
        if name in frame.columns
    }
    if not events:
        return grid
    values = adjust_prices(grid.values, dividends=events.get("dividend"), splits=events.get("split"))
    return Grid(dates=grid.dates, symbols=grid.symbols, values=values)
