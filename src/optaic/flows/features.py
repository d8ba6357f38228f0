"""The features of a model, joined by knowledge: each row as it was known when its date was decided on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from optaic.domain.known import DECLARE
from optaic.domain.version import KNOWN_AT
from optaic.errors import FeaturesChangedError, InvalidInputError, NothingKnownError
from optaic.flows.context import RunContext
from optaic.flows.decision import decision_times
from optaic.flows.grid import DATE, SYMBOL
from optaic.flows.in_sample import refuse_in_sample
from optaic.flows.input import Input
from optaic.flows.universe import UNIVERSE, members_by
from optaic.storage.dtype import parse_dtype

MODEL, PRICES, CASH = "model", "prices", "cash"
"""Roles with a meaning of their own, beside `universe`; every other input of a model is features."""

Schema = tuple[tuple[str, str], ...]
"""Names and dtypes of features, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Rows to train on, or to predict.

    Attributes
    ----------
    frame : DataFrame
        `date` (Date), `symbol` (String), one column for each feature (Float64, null where it is missing) and
        `known_at` (the latest of the row's features), sorted by date and symbol.
    schema
        The features as the datasets have them.
    members
        How many names could have had a row, over all dates: those with a row of any feature, or the universe's.
    """

    frame: pl.DataFrame
    schema: Schema
    members: int

    @property
    def names(self) -> list[str]:
        """The features, in order."""
        return [name for name, _ in self.schema]

    def values(self) -> npt.NDArray[np.float64]:
        """Give the features as an array of shape (n_rows, n_features), float64, NaN where one is missing."""
        return self.frame.select(self.names).cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)


def feature_roles(context: RunContext) -> list[str]:
    """Give the roles of a model's inputs that are features, sorted.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    roles = [role for role in context.inputs if role not in (MODEL, PRICES, UNIVERSE, CASH)]
    if not roles:
        raise InvalidInputError(f"{context.instance} has no features", next_step="declare an input of another role")
    return roles


def schema_of_features(context: RunContext) -> Schema:
    """Name the features that the inputs give, with their dtypes: by role, or `role_column` where it has several.

    Raises
    ------
    InvalidInputError
        If a feature is neither a number nor a truth value, or two would have one name.
    FeaturesChangedError
        If a declared column is not there any more.
    """
    found: list[tuple[str, str]] = []
    for role in feature_roles(context):
        source = context.input(role)
        types = source.types
        for column in source.columns:
            if column not in types:
                raise FeaturesChangedError(
                    f"{source.instance} has no column {column!r} any more; it has: {', '.join(source.all_columns)}",
                    next_step="give the column back its name, or change the inputs of the model and train it again",
                )
            dtype = types[column]
            if not (parse_dtype(dtype).is_numeric() or dtype == "Boolean"):
                raise InvalidInputError(
                    f"feature {source.instance}[{column}] is {dtype}, which is no number",
                    next_step=f"name the columns that are, as {role}: {source.instance}[a, b]",
                )
            found.append((_name(role, column, source), dtype))
    names = [name for name, _ in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInputError(f"two features are called {twice[0]}", next_step="give the inputs other roles")
    return tuple(found)


def _name(role: str, column: str, source: Input) -> str:
    return role if len(source.columns) == 1 else f"{role}_{column}"


def check_schema(now: Schema, trained: Sequence[Sequence[str]], *, model: str) -> None:
    """Compare the features that are there with those that a model was trained on.

    Raises
    ------
    FeaturesChangedError
        If one is missing, is new (renamed), or has another type; the message names them.
    """
    before = {str(name): str(dtype) for name, dtype in trained}
    after = dict(now)
    problems = [f"{name} is missing" for name in before if name not in after]
    problems += [f"{name} is new" for name in after if name not in before]
    problems += [
        f"{name} was {before[name]} and is {dtype}" for name, dtype in after.items() if before.get(name, dtype) != dtype
    ]
    if not problems and list(before) != list(after):
        problems = [f"their order was {', '.join(before)} and is {', '.join(after)}"]
    if problems:
        raise FeaturesChangedError(
            f"the features are not those that {model} was trained on: {'; '.join(problems)}",
            next_step="give the columns back their names and types, or train it again: "
            f"optaic run {model.partition(' ')[0]}",
        )


def event_dates(context: RunContext, *, start: dt.date | None = None, end: dt.date | None = None) -> pl.Series:
    """Give the dates on which any feature has a row, ascending."""
    parts = [
        context.input(role).lazy(start=start, end=end).select(pl.col(DATE).cast(pl.Date)).unique()
        for role in feature_roles(context)
    ]
    return pl.concat(parts).unique().sort(DATE).collect(engine="streaming")[DATE]


def read_features(context: RunContext, dates: pl.Series, *, calendar: str, keeps_gaps: bool) -> Features:
    """Read the features of some dates, each row as it was known before the next session opened.

    Parameters
    ----------
    context
        Of the run.
    dates
        Event dates, ascending, each once.
    calendar
        Whose opens end a decision.
    keeps_gaps
        Whether a row may miss some of its features; one that has none at all is left out in any case.

    Returns
    -------
    Features
        Of the members of `universe` at each date, where that input is declared.

    Raises
    ------
    InvalidInputError
        If the inputs are not datasets of dates and symbols with numbers.
    InSampleInputError
        If a feature is predictions for dates that their fit had seen.
    NothingKnownError
        If no row was known in time.
    """
    schema = schema_of_features(context)
    decisions = decision_times(dates, calendar)
    joined: pl.DataFrame | None = None
    known: list[str] = []
    for role in feature_roles(context):
        source = context.input(role)
        if source.keys != (DATE, SYMBOL):
            raise InvalidInputError(
                f"{source.instance} has the key {', '.join(source.keys)}; features are by date and symbol"
            )
        if len(dates):
            refuse_in_sample(source, start=dates[0], end=dates[-1])
        part = source.known_by(decisions).collect(engine="streaming")
        if part.is_empty() and len(dates) and not keeps_gaps:
            _refuse_blindness(context, source, dates)
        known.append(f"{KNOWN_AT}\0{role}")
        part = part.select(
            DATE,
            pl.col(SYMBOL).cast(pl.String),
            *(pl.col(column).cast(pl.Float64).alias(_name(role, column, source)) for column in source.columns),
            pl.col(KNOWN_AT).alias(known[-1]),
        )
        joined = part if joined is None else joined.join(part, on=[DATE, SYMBOL], how="full", coalesce=True)
    assert joined is not None  # noqa: S101 - there is at least one role
    names = [name for name, _ in schema]
    # NaN, inf and null are one: there is no value.
    joined = joined.with_columns(
        *(pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in names),
        pl.max_horizontal(known).alias(KNOWN_AT),
    )
    if UNIVERSE in context.inputs:
        joined = joined.join(members_by(context, decisions), on=[DATE, SYMBOL], how="semi")
    members = joined.height
    if joined.is_empty() and len(dates):
        raise NothingKnownError(
            f"no row of the features of {context.instance} was known when its date was decided on",
            next_step=DECLARE,
        )
    wanted = pl.any_horizontal if keeps_gaps else pl.all_horizontal
    rows = joined.filter(wanted(pl.col(name).is_not_null() for name in names))
    return Features(
        frame=rows.select(DATE, SYMBOL, *names, KNOWN_AT).sort(DATE, SYMBOL), schema=schema, members=members
    )


def _refuse_blindness(context: RunContext, source: Input, dates: pl.Series) -> None:
    """Name the feature that leaves no row whole, if it has rows and they were known too late."""
    since = source.lazy(start=dates[0], end=dates[-1]).select(pl.col(KNOWN_AT).min()).collect().item()
    if since is not None:
        raise NothingKnownError(
            f"no row of {source.instance}, a feature of {context.instance}, was known when its date was decided on: "
            f"the first was known at {since:%Y-%m-%d %H:%M} UTC",
            next_step='declare when its rows are known, known_at: {lag: "close + 2h"}, and give the dataset a new '
            "name: rows that are stored keep the instant that they have",
        )
