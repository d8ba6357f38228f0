"""What is known of an input at an instant is the last row of each key that had become known by then."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from optaic.flows.known import Known

FIRST = dt.date(2024, 1, 1)
START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
SCHEMA = {
    "date": pl.Date,
    "symbol": pl.String,
    "close": pl.Float64,
    "known_at": pl.Datetime("us", "UTC"),
    "_deleted": pl.Boolean,
}

row = st.tuples(
    st.integers(0, 3), st.sampled_from("ABC"), st.sampled_from([1.0, 2.0, 3.0, None, np.nan]), st.integers(0, 9),
    st.booleans(),
)  # fmt: skip


@given(st.lists(row, max_size=25), st.lists(st.integers(-1, 10), min_size=1, max_size=5))
def test_the_last_row_known_by_an_instant_holds(
    given_rows: list[tuple[int, str, float, int, bool]], at: list[int]
) -> None:
    rows = sorted(given_rows, key=lambda one: one[3])
    table = [(FIRST + dt.timedelta(days=a), b, c, START + dt.timedelta(days=d), e) for a, b, c, d, e in rows]
    known = Known(pl.DataFrame(table, schema=SCHEMA, orient="row"), ["close"], ["A", "B"])
    for instant in sorted(at):
        known.advance(START + dt.timedelta(days=instant))
        last = {(day, name): (value, is_deleted) for day, name, value, when, is_deleted in rows if when <= instant}
        for place, date in enumerate(known.dates.astype(object)):
            for column, name in enumerate("AB"):
                value, is_deleted = last.get(((date - FIRST).days, name), (None, True))
                assert known.is_there[place, column] == (not is_deleted)
                expected = np.nan if is_deleted or value is None else value
                assert np.array_equal(known.values["close"][place, column], expected, equal_nan=True)
        assert known.is_blind == (not any(when <= instant for _, name, _, when, _ in rows if name in "AB")
                                  and any(name in "AB" for _, name, *_ in rows))  # fmt: skip
        found, has_row = known.last_rows("close", np.datetime64(FIRST + dt.timedelta(days=2)))
        for column in range(2):
            filled = [place for place, date in enumerate(known.dates.astype(object))
                      if (date - FIRST).days <= 2 and np.isfinite(known.values["close"][place, column])]  # fmt: skip
            assert has_row[column] == bool(filled)
            assert not filled or found[column] == filled[-1]


def test_nothing_is_known_at_first_and_all_of_it_without_an_instant() -> None:
    rows = pl.DataFrame([(FIRST, "A", 1.0, START, False)], schema=SCHEMA, orient="row")
    known = Known(rows, ["close"], ["A"])
    assert np.isnan(known.values["close"]).all()
    assert known.is_blind
    known.advance(None)
    assert known.values["close"].tolist() == [[1.0]]
    known.advance(START - dt.timedelta(days=1))  # time does not go back
    assert known.values["close"].tolist() == [[1.0]]
